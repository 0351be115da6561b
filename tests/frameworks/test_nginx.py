"""A server behind nginx, which reaches it over TCP and over a UNIX socket: WebSockets, and HTTP beside them."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.nginx import Nginx, running_nginx

pytest.importorskip("starlette", reason="the package starlette is not installed")
exceptions = pytest.importorskip("websockets.exceptions", reason="the package websockets is not installed")

APP = "starlette_ws_app:app"
PROXIED = ("--proxy-headers", "--forwarded-allow-ips", "127.0.0.1,unix")


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short name: that of a UNIX socket may have 107 bytes at most."""
    path = Path(tempfile.mkdtemp(prefix="nginx-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=["TCP", "UNIX"])
def server(request: pytest.FixtureRequest, serve: Any, directory: Path) -> Iterator[Any]:
    """The server, and where nginx finds it."""
    path = directory / "server.sock"
    with serve(APP, "-u", str(path), *PROXIED) as running:
        running.upstream = f"unix:{path}" if request.param == "UNIX" else f"127.0.0.1:{running.port}"
        yield running


@pytest.fixture
def nginx(server: Any, directory: Path) -> Iterator[Nginx]:
    with running_nginx(server.upstream, directory) as running:
        yield running


@pytest.fixture(params=["ws", "wss"])
def join(request: pytest.FixtureRequest, nginx: Nginx, connect: Any) -> Callable[..., Any]:
    """Connect to nginx, without TLS and with it."""

    def through(path: str, **options: Any) -> Any:
        if request.param == "ws":
            return connect(SimpleNamespace(port=nginx.port), path, **options)
        trust = ssl.create_default_context(cafile=nginx.certificate)
        return connect(SimpleNamespace(port=nginx.tls_port), path, ssl=trust, **options)

    through.scheme = request.param  # type: ignore[attr-defined]
    return through


def test_view_sees_the_client(join: Any) -> None:
    with join("/scope/nginx?q=1", subprotocols=["one"], origin="https://example.org") as websocket:
        told = json.loads(websocket.recv())
        assert told | {"path": "/scope/nginx", "query": [["q", "1"]], "subprotocols": ["one"]} == told
        assert (told["scheme"], told["client"], told["origin"]) == (join.scheme, "127.0.0.1", "https://example.org")
        assert websocket.closed_with() == (1000, "")


def test_messages_come_back_as_they_came(join: Any) -> None:
    messages = ["", b"", "Åsa 🍵", b"\0\xff", os.urandom(1_000_000), "ab" * 400_000]
    for compression in ("deflate", None):
        with join("/echo", compression=compression) as websocket:
            assert ("sec-websocket-extensions" in websocket.response.headers) == (compression is not None)
            for message in messages:
                websocket.send(message)
                assert websocket.recv() == message


def test_protocol_and_fields_of_the_view_reach_the_client(join: Any) -> None:
    with join("/accepted", subprotocols=["one", "two"]) as websocket:
        assert websocket.subprotocol == "two"
        assert websocket.response.headers.get_all("x-repeated") == ["1", "2"]


def test_refusals_reach_the_client(join: Any) -> None:
    for path, status, body in (
        ("/refuse", 403, None),
        ("/deny/json", 401, b'{"detail":"who are you?"}'),
        ("/deny/stream", 503, b"".join(b"part %d\n" % number for number in range(5))),
    ):
        with pytest.raises(exceptions.InvalidStatus) as caught, join(path):
            pass
        assert caught.value.response.status_code == status
        assert body is None or caught.value.response.body == body


def test_codes_and_reasons_pass_both_ways(join: Any, server: Any) -> None:
    with join("/leave") as websocket:
        websocket.send('{"code": 4321, "reason": "Åsa left"}')
        assert websocket.closed_with() == (4321, "Åsa left")
    with join("/echo?closing") as websocket:
        websocket.close(4002, "lunch")
    server.wait_for_log("disconnected closing: 4002 'lunch'")


def test_client_that_vanishes_is_1006(join: Any, server: Any) -> None:
    with join("/echo?vanishing") as websocket:
        websocket.vanish()
    server.wait_for_log("disconnected vanishing: 1006")


def test_server_that_stops_says_so(join: Any, server: Any) -> None:
    with join("/echo") as websocket:
        websocket.send("hello")
        assert websocket.recv() == "hello"
        assert server.terminate() == 0
        assert websocket.closed_with()[0] == 1012


def test_http_goes_the_same_way(nginx: Nginx) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{nginx.port}/", timeout=10) as response:
        assert response.read() == b"home"
