"""A FastAPI application's WebSockets, directly and through nginx, driven by the package websockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the package fastapi is not installed")
exceptions = pytest.importorskip("websockets.exceptions", reason="the package websockets is not installed")


@pytest.fixture(scope="module")
def running(serve: Any, reached: Any) -> Iterator[Any]:
    with serve("fastapi_ws_app:app") as server, reached(server):
        yield server


@pytest.fixture
def server(running: Any) -> Iterator[Any]:
    yield running
    assert not running.faults()


class TestParameters:
    @pytest.mark.parametrize(
        ("path", "fields"),
        [
            ("/items/7?token=%C3%85sa", {}),
            ("/items/7?cookie", {"cookie": "session=Eve"}),
            ("/items/7?header", {"x-token": "Bo"}),
        ],
    )
    def test_reach_the_view(self, server: Any, connect: Any, path: str, fields: dict[str, str]) -> None:
        order = {"item": "tea", "count": 10}
        with connect(server, path, additional_headers=fields) as websocket:
            websocket.send(json.dumps(order))
            told = json.loads(websocket.recv())
        name = next(iter(fields.values()), "Åsa").removeprefix("session=")
        assert told == {"number": 7, "name": name, "value": "connection", "order": order}

    @pytest.mark.parametrize("path", ["/items/x?token=Bo", "/items/7?token=Bo&limit=0", "/items/7"])
    def test_refused_before_accepting_are_403(self, server: Any, connect: Any, path: str) -> None:
        # FastAPI closes with 1008 for a parameter that does not fit, and with what a dependency says.
        with pytest.raises(exceptions.InvalidStatus) as caught, connect(server, path):
            pass
        assert caught.value.response.status_code == 403


class TestClosing:
    @pytest.mark.parametrize(
        ("order", "answer"),
        [({"item": "tea", "count": 11}, (4009, "too many")), ({"item": "", "count": 1}, (1008, "no item"))],
        ids=["exception handler", "WebSocketException"],
    )
    def test_by_an_exception_carries_its_code(
        self, server: Any, connect: Any, order: dict[str, Any], answer: tuple[int, str]
    ) -> None:
        with connect(server, "/items/8?token=Bo") as websocket:
            websocket.send(json.dumps(order))
            assert websocket.closed_with() == answer

    def test_by_an_error_is_1011(self, server: Any, connect: Any) -> None:
        with server.expecting("validation error for Order"), connect(server, "/items/9?token=Bo") as websocket:
            websocket.send('{"item": "tea", "count": "some"}')
            assert websocket.closed_with()[0] == 1011

    def test_by_the_client_reaches_the_view(self, server: Any, connect: Any) -> None:
        with connect(server, "/items/10?token=Bo") as websocket:
            websocket.close(4002, "lunch")
        server.wait_for_log("Bo left 10: 4002 'lunch'")

    @pytest.mark.parametrize("how", ["close", "vanish", "refused order"])
    def test_closes_dependencies(self, server: Any, connect: Any, how: str) -> None:
        mark = f"token=Bo&{how.replace(' ', '-')}"
        with connect(server, f"/items/11?{mark}") as websocket:
            server.wait_for_log(f"opened {mark}")
            assert f"closed {mark}" not in server.log()
            if how == "vanish":
                websocket.vanish()
            elif how == "refused order":
                websocket.send('{"item": "tea", "count": 11}')
                websocket.closed_with()
        server.wait_for_log(f"closed {mark}")


def test_chat_tells_everybody(server: Any, connect: Any) -> None:
    with connect(server, "/chat/first") as first:
        assert first.recv() == "first joined"
        with connect(server, "/chat/second") as second:
            assert first.recv() == second.recv() == "second joined"
            second.send("hello")
            assert second.recv() == "You wrote: hello"
            assert first.recv() == second.recv() == "second says: hello"
            second.vanish()
        assert first.recv() == "second left"
        first.send("anybody?")
        assert [first.recv(), first.recv()] == ["You wrote: anybody?", "first says: anybody?"]


def test_an_application_that_lets_the_disconnect_pass_is_no_fault(server: Any, connect: Any) -> None:
    with connect(server, "/echo") as websocket:
        websocket.send("hello")
        assert websocket.recv() == "hello"
    server.wait_for_log("WSDISCONNECT /echo")  # and the fixture looks for errors
