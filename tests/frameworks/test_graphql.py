"""GraphQL subscriptions in both of their protocols, directly and through nginx, driven by the package websockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("strawberry", reason="the package strawberry-graphql is not installed")
httpx = pytest.importorskip("httpx", reason="the package httpx is not installed")

# Of each protocol: its name, the message that begins an operation, and the one that carries a result.
PROTOCOLS = {"graphql-transport-ws": ("subscribe", "next"), "graphql-ws": ("start", "data")}
NEW = "graphql-transport-ws"


@pytest.fixture(scope="module")
def running(serve: Any, reached: Any) -> Iterator[Any]:
    with serve("graphql_app:app") as server, reached(server):
        yield server


@pytest.fixture
def server(running: Any) -> Iterator[Any]:
    yield running
    assert not running.faults()


@pytest.fixture(params=list(PROTOCOLS))
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Session:
    """An acknowledged connection."""

    def __init__(self, websocket: Any) -> None:
        assert websocket.subprotocol in PROTOCOLS
        self.websocket = websocket
        self.begin, self.result = PROTOCOLS[websocket.subprotocol]
        self.send(type="connection_init")
        assert self.receive()["type"] == "connection_ack"

    def send(self, **message: Any) -> None:
        self.websocket.send(json.dumps(message))

    def receive(self) -> Any:
        return json.loads(self.websocket.recv())

    def subscribe(self, key: str, query: str, **variables: Any) -> None:
        self.send(type=self.begin, id=key, payload={"query": query, "variables": variables})

    def receive_result(self) -> Any:
        message = self.receive()
        assert message["type"] == self.result, message
        return message["id"], message["payload"]["data"]


def post(server: Any, query: str, **variables: Any) -> Any:
    """Ask by HTTP, as for anything but a subscription."""
    with httpx.Client(timeout=10, trust_env=False) as client:
        response = client.post(server.url, json={"query": query, "variables": variables})
        assert response.status_code == 200, response.text
        return response.json()["data"]


COUNT = "subscription ($to: Int!) { count(to: $to) }"
POSTS = "subscription ($mark: String!) { posts(mark: $mark) }"
POST = "mutation ($text: String!) { post(text: $text) }"


def test_query_goes_by_http(server: Any) -> None:
    assert post(server, "query ($name: String!) { hello(name: $name) }", name="Åsa") == {"hello": "Hello, Åsa!"}


def test_subscription_yields_and_completes(server: Any, connect: Any, protocol: str) -> None:
    with connect(server, "/", subprotocols=[protocol]) as websocket:
        session = Session(websocket)
        session.subscribe("1", COUNT, to=200)
        assert [session.receive_result() for _ in range(200)] == [("1", {"count": n}) for n in range(200)]
        assert session.receive() == {"type": "complete", "id": "1"}


def test_mutations_by_http_reach_all_subscribers(server: Any, connect: Any, protocol: str) -> None:
    marks = [f"{protocol} {number}" for number in (1, 2)]
    with (
        connect(server, "/", subprotocols=[protocol]) as first,
        connect(server, "/", subprotocols=[protocol]) as second,
    ):
        sessions = [Session(first), Session(second)]
        for session, mark in zip(sessions, marks, strict=True):
            session.subscribe(mark, POSTS, mark=mark)
            server.wait_for_log(f"subscribed {mark}")
        assert post(server, POST, text="Åsa was here") == {"post": 2}
        for session, mark in zip(sessions, marks, strict=True):
            assert session.receive_result() == (mark, {"posts": "Åsa was here"})
    for mark in marks:
        server.wait_for_log(f"ended {mark}")


def test_several_subscriptions_share_a_connection(server: Any, connect: Any, protocol: str) -> None:
    with connect(server, "/", subprotocols=[protocol]) as websocket:
        session = Session(websocket)
        session.subscribe("slow", POSTS, mark=f"shared {protocol}")
        server.wait_for_log(f"subscribed shared {protocol}")
        session.subscribe("fast", COUNT, to=2)
        assert [session.receive_result() for _ in range(2)] == [("fast", {"count": 0}), ("fast", {"count": 1})]
        assert session.receive() == {"type": "complete", "id": "fast"}
        assert post(server, POST, text="later") == {"post": 1}
        assert session.receive_result() == ("slow", {"posts": "later"})
    server.wait_for_log(f"ended shared {protocol}")


def test_unsubscribing_ends_the_generator(server: Any, connect: Any, protocol: str) -> None:
    mark = f"unsubscribed {protocol}"
    with connect(server, "/", subprotocols=[protocol]) as websocket:
        session = Session(websocket)
        session.subscribe("1", POSTS, mark=mark)
        server.wait_for_log(f"subscribed {mark}")
        session.send(type="complete" if protocol == NEW else "stop", id="1")
        server.wait_for_log(f"ended {mark}")
        session.subscribe("2", COUNT, to=1)
        while (message := session.receive())["type"] == "complete":
            assert message["id"] == "1"
        assert message["id"] == "2"


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_vanishing_ends_the_generator(server: Any, connect: Any, protocol: str, reset: bool) -> None:
    mark = f"vanished {protocol} {reset}"
    with connect(server, "/", subprotocols=[protocol]) as websocket:
        Session(websocket).subscribe("1", POSTS, mark=mark)
        server.wait_for_log(f"subscribed {mark}")
        websocket.vanish(reset=reset)
    server.wait_for_log(f"ended {mark}")


def test_error_in_a_subscription_leaves_the_connection_open(server: Any, connect: Any, protocol: str) -> None:
    with connect(server, "/", subprotocols=[protocol]) as websocket:
        session = Session(websocket)
        with server.expecting("the subscription broke"):
            session.subscribe("1", "subscription { broken }")
            assert session.receive_result() == ("1", {"broken": 1})
            assert "the subscription broke" in json.dumps(session.receive())
        session.subscribe("2", COUNT, to=1)
        while (message := session.receive())["id"] == "1":
            assert message["type"] == "complete"
        assert message["payload"]["data"] == {"count": 0}


def test_ping_of_the_protocol_is_answered(server: Any, connect: Any) -> None:
    with connect(server, "/", subprotocols=[NEW]) as websocket:
        session = Session(websocket)
        session.send(type="ping")
        assert session.receive() == {"type": "pong"}


class TestClosing:
    def test_without_a_known_protocol_is_4406(self, server: Any, connect: Any) -> None:
        with connect(server, "/", subprotocols=["soap"]) as websocket:
            assert websocket.subprotocol is None
            assert websocket.closed_with() == (4406, "Subprotocol not acceptable")

    def test_before_the_acknowledgement_is_4401(self, server: Any, connect: Any) -> None:
        with connect(server, "/", subprotocols=[NEW]) as websocket:
            websocket.send(json.dumps({"type": "subscribe", "id": "1", "payload": {"query": COUNT}}))
            assert websocket.closed_with() == (4401, "Unauthorized")

    def test_at_a_second_beginning_is_4429(self, server: Any, connect: Any) -> None:
        with connect(server, "/", subprotocols=[NEW]) as websocket:
            Session(websocket).send(type="connection_init")
            assert websocket.closed_with() == (4429, "Too many initialisation requests")

    def test_for_bytes_instead_of_text_is_4400(self, server: Any, connect: Any) -> None:
        # Strawberry tells them apart by which of the two keys the event has.
        with connect(server, "/", subprotocols=[NEW]) as websocket:
            Session(websocket)
            websocket.send(b"{}")
            assert websocket.closed_with() == (4400, "WebSocket message type must be text")
