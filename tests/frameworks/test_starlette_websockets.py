"""A Starlette application's WebSockets, directly and through nginx, driven by the package websockets."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the package starlette is not installed")
exceptions = pytest.importorskip("websockets.exceptions", reason="the package websockets is not installed")

APP = "starlette_ws_app:app"


@pytest.fixture(scope="module")
def running(serve: Any, reached: Any) -> Iterator[Any]:
    with serve(APP, "--lifespan", "on") as server, reached(server):
        yield server


@pytest.fixture
def server(running: Any) -> Iterator[Any]:
    yield running
    assert not running.faults()


@pytest.fixture(params=["", "/wrapped"], ids=["plain", "BaseHTTPMiddleware"])
def prefix(request: pytest.FixtureRequest) -> str:
    """Where the routes are mounted: bare, and under middleware that is made for HTTP."""
    return str(request.param)


def refusal(server: Any, connect: Any, path: str, **options: Any) -> Any:
    """The answer that was not 101."""
    with pytest.raises(exceptions.InvalidStatus) as caught, connect(server, path, **options):
        pass
    return caught.value.response


class TestHandshake:
    def test_view_sees_what_was_asked(self, server: Any, connect: Any, prefix: str) -> None:
        fields = [("x-repeated", "1"), ("x-repeated", "2"), ("cookie", "a=1; b=2")]
        with connect(
            server,
            f"{prefix}/scope/%C3%85sa?q=%26&q=2",
            additional_headers=fields,
            origin="null",
            subprotocols=["one", "two"],
        ) as websocket:
            told = json.loads(websocket.recv())
            assert told == {
                "scheme": "ws",
                "path": f"{prefix}/scope/Åsa",
                "name": "Åsa",
                "query": [["q", "&"], ["q", "2"]],
                "subprotocols": ["one", "two"],
                "cookies": {"a": "1", "b": "2"},
                "origin": "null",
                "repeated": ["1", "2"],
                "client": "127.0.0.1",
                "session": {},
            }
            assert websocket.closed_with() == (1000, "")
            assert websocket.subprotocol is None

    def test_protocol_and_fields_of_the_view_reach_the_client(self, server: Any, connect: Any, prefix: str) -> None:
        with connect(server, f"{prefix}/accepted", subprotocols=["one", "two"]) as websocket:
            assert websocket.subprotocol == "two"
            assert websocket.response.headers.get_all("x-repeated") == ["1", "2"]
            assert websocket.response.headers["set-cookie"] == "seen=yes; HttpOnly"

    def test_close_before_accepting_is_403(self, server: Any, connect: Any, prefix: str) -> None:
        assert refusal(server, connect, f"{prefix}/refuse").status_code == 403

    def test_unknown_path_is_403(self, server: Any, connect: Any, prefix: str) -> None:
        # Starlette's router closes what it does not know.
        assert refusal(server, connect, f"{prefix}/nothing").status_code == 403

    def test_error_before_accepting_is_500(self, server: Any, connect: Any, prefix: str) -> None:
        with server.expecting("the view broke"):
            answer = refusal(server, connect, f"{prefix}/crash/connecting")
        assert answer.status_code == 500
        assert b"the view broke" not in answer.body

    def test_http_route_is_not_a_websocket(self, server: Any, connect: Any) -> None:
        assert refusal(server, connect, "/").status_code == 403
        with urllib.request.urlopen(f"{server.url}/", timeout=10) as response:
            assert response.read() == b"home"


class TestDenial:
    def test_has_status_fields_and_body_of_the_response(self, server: Any, connect: Any, prefix: str) -> None:
        answer = refusal(server, connect, f"{prefix}/deny/json")
        assert (answer.status_code, answer.body) == (401, b'{"detail":"who are you?"}')
        assert (answer.headers["www-authenticate"], answer.headers["content-length"]) == ("Basic", "25")

    def test_may_be_a_stream(self, server: Any, connect: Any, prefix: str) -> None:
        answer = refusal(server, connect, f"{prefix}/deny/stream")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
        assert answer.body == b"".join(b"part %d\n" % number for number in range(5))

    def test_may_be_empty(self, server: Any, connect: Any, prefix: str) -> None:
        answer = refusal(server, connect, f"{prefix}/deny/empty")
        assert (answer.status_code, answer.body) == (404, b"")

    def test_may_be_a_redirect_which_the_client_follows(self, server: Any, connect: Any, prefix: str) -> None:
        with connect(server, f"{prefix}/deny/redirect") as websocket:
            websocket.send("hello")
            assert websocket.recv() == "hello"


class TestMessages:
    @pytest.mark.parametrize("compression", ["deflate", None])
    def test_come_back_as_they_came(self, server: Any, connect: Any, prefix: str, compression: str | None) -> None:
        messages = ["", b"", "hello", b"\0\xff", "Åsa 🍵", "x" * 65_536, os.urandom(300_000), "ab" * 400_000]
        with connect(server, f"{prefix}/echo", compression=compression) as websocket:
            assert ("sec-websocket-extensions" in websocket.response.headers) == (compression is not None)
            for message in messages:
                websocket.send(message)
                assert websocket.recv() == message

    def test_in_fragments_come_back_whole(self, server: Any, connect: Any) -> None:
        with connect(server, "/echo") as websocket:
            websocket.send(["Å", "sa", "", " & Bo"])
            assert websocket.recv() == "Åsa & Bo"
            websocket.send([b"\0" * 70_000, b"\1" * 70_000])
            assert websocket.recv() == b"\0" * 70_000 + b"\1" * 70_000

    def test_keep_their_order(self, server: Any, connect: Any) -> None:
        with connect(server, "/echo") as websocket:
            for number in range(500):
                websocket.send(str(number))
            assert [websocket.recv() for _ in range(500)] == [str(number) for number in range(500)]

    def test_json_in_texts(self, server: Any, connect: Any) -> None:
        with connect(server, "/json?json") as websocket:
            websocket.send('{"number": 21}')
            assert json.loads(websocket.recv()) == {"twice": 42}
        server.wait_for_log("endpoint left json: 1000")

    def test_json_in_bytes(self, server: Any, connect: Any, prefix: str) -> None:
        with connect(server, f"{prefix}/json/binary") as websocket:
            websocket.send(b'{"number": 4}')
            assert json.loads(websocket.recv(decode=False)) == {"twice": 8}

    def test_of_another_kind_than_the_view_wants_close_1003(self, server: Any, connect: Any) -> None:
        # Starlette's endpoint closes with 1003, and raises.
        with server.expecting("Malformed JSON data received"), connect(server, "/json") as websocket:
            websocket.send("{")
            assert websocket.closed_with()[0] == 1003

    def test_too_large_ones_close_1009(self, server: Any, connect: Any, prefix: str) -> None:
        with server.expecting("closed with 1009"), connect(server, f"{prefix}/echo?large{prefix}") as websocket:
            websocket.send(b"x" * 1_048_577)
            assert websocket.closed_with()[0] == 1009
        server.wait_for_log(f"disconnected large{prefix}: 1009")

    def test_ping_is_answered(self, server: Any, connect: Any) -> None:
        with connect(server, "/echo") as websocket:
            assert websocket.ping(b"are you there?").wait(5)

    def test_reach_all_members_of_a_room(self, server: Any, connect: Any, prefix: str) -> None:
        with connect(server, f"{prefix}/room?first") as first, connect(server, f"{prefix}/room?second") as second:
            first.send("Åsa")
            second_greeting = second.recv()
            second.send("Bo")
            assert sorted([first.recv(), first.recv(), first.recv()]) == ["1 here", "Bo", "Åsa"]
            assert {second_greeting, second.recv(), second.recv()} == {"2 here", "Åsa", "Bo"}
        server.wait_for_log("left the room first")
        server.wait_for_log("left the room second")


class TestClosing:
    @pytest.mark.parametrize(
        ("code", "reason"), [(1000, ""), (1001, "going"), (1011, "å" * 61), (3000, "x"), (4999, "x" * 123)]
    )
    def test_code_and_reason_of_the_view_reach_the_client(
        self, server: Any, connect: Any, prefix: str, code: int, reason: str
    ) -> None:
        with connect(server, f"{prefix}/leave") as websocket:
            websocket.send(json.dumps({"code": code, "reason": reason}))
            assert websocket.closed_with() == (code, reason)

    @pytest.mark.parametrize(("code", "reason"), [(1000, "done"), (1001, ""), (4001, "Åsa left")])
    def test_code_and_reason_of_the_client_reach_the_view(
        self, server: Any, connect: Any, prefix: str, code: int, reason: str
    ) -> None:
        with connect(server, f"{prefix}/echo?{prefix}{code}") as websocket:
            websocket.close(code, reason)
            assert websocket.close_code == code, "a Close is answered with its own code"
        server.wait_for_log(f"disconnected {prefix}{code}: {code} {reason!r}")

    @pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
    def test_client_that_vanishes_is_1006(self, server: Any, connect: Any, prefix: str, reset: bool) -> None:
        with connect(server, f"{prefix}/echo?{prefix}{reset}") as websocket:
            websocket.vanish(reset=reset)
        server.wait_for_log(f"disconnected {prefix}{reset}: 1006")

    @pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
    def test_view_that_sends_learns_that_nobody_is_there(
        self, server: Any, connect: Any, prefix: str, reset: bool
    ) -> None:
        with connect(server, f"{prefix}/flood?{prefix}{reset}") as websocket:
            assert len(websocket.recv()) == 10_000
            websocket.vanish(reset=reset)
        server.wait_for_log(f"flood ended {prefix}{reset}")

    def test_error_in_the_view_is_1011(self, server: Any, connect: Any, prefix: str) -> None:
        with server.expecting("the view broke"), connect(server, f"{prefix}/crash/accepted") as websocket:
            code, reason = websocket.closed_with()
        assert code == 1011
        assert "the view broke" not in reason

    @pytest.mark.parametrize("loop", ["auto", "asyncio"])
    @pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
    def test_server_that_stops_says_so(self, serve: Any, connect: Any, loop: str, sign: signal.Signals) -> None:
        with serve(APP, "--loop", loop) as server, connect(server, "/echo?stopping") as websocket:
            websocket.send("hello")
            assert websocket.recv() == "hello"
            server.process.send_signal(sign)
            assert websocket.closed_with()[0] == 1012
            assert server.process.wait(timeout=10) == 0
            assert "disconnected stopping: 1012" in server.log()
