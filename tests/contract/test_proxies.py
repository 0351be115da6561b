"""Contract, section 5, "Proxies": what is believed of a request's origin, and from whom."""

from __future__ import annotations

import ast
import http.client
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

from tests.support.http1 import Client, Connection, head
from tests.support.server_process import ServerProcess
from tests.support.streams import write_certificate
from tests.support.ws_client import TEXT, Session, close_frame, handshake

APPLICATION = "ws_apps:application"
OPTIONS = ["--proxy-headers", "--root-path", "/own", "--access-log-format", "json"]

FIELDS = [
    (b"X-Forwarded-For", b"6.6.6.6, 203.0.113.7, 127.0.0.2"),
    (b"X-Forwarded-Port", b"56324"),
    (b"X-Forwarded-Proto", b"https"),
    (b"X-Forwarded-Host", b"example.org"),
    (b"X-Forwarded-Prefix", b"/app"),
]
FORWARDED = [
    (b"Forwarded", b'for=6.6.6.6;host=evil, for="203.0.113.7:56324";proto=https;host=example.org'),
    (b"Forwarded", b"for=127.0.0.2;proto=http;host=inner"),
    (b"X-Forwarded-Prefix", b"/app"),
]
EVERYTHING = [*FIELDS, *FORWARDED, (b"Daphne-Root-Path", b"/daphne")]

Ask = Callable[..., dict[str, Any]]


def seen(scope: dict[str, Any]) -> dict[str, Any]:
    """What proxies can have a say in."""
    hosts = [value.decode() for name, value in scope["headers"] if name == b"host"]
    chosen = {name: scope[name] for name in ("client", "server", "root_path", "path", "raw_path")}
    return {"scheme": scope["scheme"].replace("ws", "http"), "hosts": hosts} | chosen


def over_http(address: Any, fields: Any = (), *, before: bytes = b"") -> dict[str, Any]:
    with Connection(address) as connection:
        connection.send(before + head("/scope_of/x", fields))
        response = connection.read_response()
    assert response.status == 200, response
    return seen(ast.literal_eval(response.body.decode()))


def over_websocket(address: Any, fields: Any = (), *, before: bytes = b"") -> dict[str, Any]:
    with Session(address) as session:
        session.send(before + handshake("/scope_of/x", fields))
        session.opened()
        first, payload = session.read_frame()
        assert first == TEXT
        session.send(close_frame(1000))
        scope = ast.literal_eval(payload.decode())
    assert scope["scheme"] in ("ws", "wss")
    return seen(scope)


@pytest.fixture(params=[over_http, over_websocket], ids=["http", "websocket"])
def ask(request: pytest.FixtureRequest) -> Ask:
    asked: Ask = request.param
    return asked


TOLD = {"client": ["203.0.113.7", 56324], "scheme": "https", "hosts": ["example.org"], "root_path": "/app"}


# Fields


@pytest.mark.parametrize("fields", [FIELDS, FORWARDED], ids=["X-Forwarded", "Forwarded"])
def test_trusted_proxy_is_believed(server: ServerProcess, ask: Ask, fields: Any) -> None:
    told = ask(server.address, fields)
    assert told == {**TOLD, "server": list(server.address), "path": "/scope_of/x", "raw_path": b"/scope_of/x"}


def test_forwarded_counts_for_nothing_beside_x_forwarded(server: ServerProcess, ask: Ask) -> None:
    own = [(b"X-Forwarded-For", b"203.0.113.7"), (b"Forwarded", b"for=6.6.6.6;proto=https;host=evil")]
    told = ask(server.address, own)
    assert (told["client"], told["scheme"], told["hosts"]) == (["203.0.113.7", 0], "http", ["testserver"])


def test_daphne_root_path_goes_before_all_others(server: ServerProcess, ask: Ask) -> None:
    assert ask(server.address, EVERYTHING)["root_path"] == "/daphne"
    assert ask(server.address)["root_path"] == "/own"


UNUSABLE = [b"", b"\xff\xfe", b'"', b"%ff", b"javascript:", b"//evil", b"\t", "Å".encode(), b",,,", b"[", b"x" * 9000]


@pytest.mark.parametrize("value", UNUSABLE, ids=range(len(UNUSABLE)))
def test_value_that_cannot_be_used_is_ignored(server: ServerProcess, value: bytes) -> None:
    plain = over_http(server.address)
    for name, _ in [*FIELDS, FORWARDED[0]]:
        told = over_http(server.address, [(name, value)])
        assert told["client"][0] == "127.0.0.1"
        assert told == {**plain, "client": told["client"]}


def test_root_path_that_is_no_utf_8_is_ignored(server: ServerProcess) -> None:
    for value in (b"/%ff", b"/\xff"):
        assert over_http(server.address, [(b"Daphne-Root-Path", value)])["root_path"] == "/own"


def test_client_of_the_access_log_is_the_real_one(server: ServerProcess) -> None:
    over_http(server.address, FIELDS)
    line = json.loads(server.wait_for_log(r"\{.*203\.0\.113\.7.*\}")[0])
    assert "203.0.113.7:56324" in line.values()


def test_same_head_again_is_read_anew(server: ServerProcess) -> None:
    """The parser remembers the last head of a connection: what was put in its place must not stay there."""
    forwarded, plain = head("/scope_of/x", FIELDS), head("/scope_of/x")
    with Connection(server.address) as connection:
        for request, host in ((forwarded, b"example.org"), (forwarded, b"example.org"), (plain, b"testserver")) * 2:
            connection.send(request)
            scope = ast.literal_eval(connection.read_response().body.decode())
            assert [value for name, value in scope["headers"] if name == b"host"] == [host]


# Trust


@pytest.fixture(
    scope="module",
    params=[
        ["--proxy-headers", "--forwarded-allow-ips", "10.0.0.0/8,unix"],
        ["--proxy-headers", "--forwarded-allow-ips", "::1"],
    ],
)
def distrustful(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with ServerProcess(APPLICATION, [*request.param, "--root-path", "/own"]) as process:
        yield process


def test_spoofed_fields_change_nothing(distrustful: ServerProcess, ask: Ask) -> None:
    for fields in (EVERYTHING, *([field] for field in EVERYTHING)):
        told, plain = ask(distrustful.address, fields), ask(distrustful.address)
        assert told.pop("client")[0] == plain.pop("client")[0] == "127.0.0.1"
        assert told == plain
        assert (told["scheme"], told["hosts"], told["root_path"]) == ("http", ["testserver"], "/own")


def test_nothing_but_daphne_root_path_is_believed_without_the_option(ask: Ask) -> None:
    with ServerProcess(APPLICATION) as server:
        told, plain = ask(server.address, EVERYTHING), ask(server.address)
        assert told.pop("client")[0] == plain.pop("client")[0] == "127.0.0.1"
        assert told == {**plain, "root_path": "/daphne"}


@pytest.mark.parametrize(("allowed", "trusted"), [("unix", True), ("127.0.0.1", False)])
def test_peers_of_a_unix_socket_are_trusted_by_that_word(tmp_path: Any, ask: Ask, allowed: str, trusted: bool) -> None:
    path = str(tmp_path / "s")
    with ServerProcess(APPLICATION, ["--proxy-headers", "--forwarded-allow-ips", allowed], listen=["-u", path]):
        told = ask(path, FIELDS)
        assert told["client"] == (["127.0.0.2", 56324] if trusted else None)
        assert told["hosts"] == ["example.org" if trusted else "testserver"]
        assert told["server"] == [path, None]


def test_forwarded_can_be_all_that_is_read() -> None:
    with ServerProcess(APPLICATION, ["--proxy-headers", "--proxy-headers-host", "Forwarded"]) as server:
        spoofed = [(name, b"6.6.6.6" if name != b"X-Forwarded-Prefix" else b"/app") for name, _ in FIELDS]
        told = over_http(server.address, [*spoofed, *FORWARDED[:2]])
        assert {name: told[name] for name in TOLD} == TOLD


# PROXY protocol

LINE = b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\n"
BINARY = bytes.fromhex("0d0a0d0a000d0a515549540a 2111 000c cb007107 c6336401 dc04 01bb")
LOCAL = BINARY[:12] + b"\x20\x00\x00\x00"
BEHIND_IT = {"client": ["203.0.113.7", 56324], "server": ["198.51.100.1", 443]}


@pytest.fixture(scope="module", params=["asyncio", "auto"])
def behind_proxy(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    options = ["--proxy-protocol", "--proxy-headers", "--forwarded-allow-ips", "127.0.0.0/8,unix,203.0.113.9"]
    with ServerProcess(APPLICATION, [*options, "--loop", request.param]) as process:
        yield process


@pytest.mark.parametrize("header", [LINE, BINARY], ids=["v1", "v2"])
def test_addresses_are_those_of_the_header(behind_proxy: ServerProcess, ask: Ask, header: bytes) -> None:
    told = ask(behind_proxy.address, before=header)
    assert {name: told[name] for name in BEHIND_IT} == BEHIND_IT
    assert (told["scheme"], told["hosts"]) == ("http", ["testserver"])


def test_proxys_own_connections_have_their_own_addresses(behind_proxy: ServerProcess, ask: Ask) -> None:
    for header in (LOCAL, b"PROXY UNKNOWN\r\n"):
        told = ask(behind_proxy.address, before=header)
        assert told["client"][0] == "127.0.0.1"
        assert told["server"] == list(behind_proxy.address)


def test_header_counts_for_all_requests_of_its_connection(behind_proxy: ServerProcess) -> None:
    with Connection(behind_proxy.address) as connection:
        connection.send(LINE + head("/scope_of/x") * 3)
        for _ in range(3):
            told = seen(ast.literal_eval(connection.read_response().body.decode()))
            assert {name: told[name] for name in BEHIND_IT} == BEHIND_IT
        connection.send(LINE)
        assert connection.read_response().status == 400, "there is one header for each connection"


def test_fields_are_believed_from_whom_the_header_names(behind_proxy: ServerProcess, ask: Ask) -> None:
    """A load balancer that writes PROXY headers passes on what clients write: its own address vouches for nothing."""
    client = ask(behind_proxy.address, EVERYTHING, before=LINE)
    assert (client["client"], client["scheme"], client["hosts"]) == (["203.0.113.7", 56324], "http", ["testserver"])
    assert client["root_path"] == ""
    proxy = ask(behind_proxy.address, FIELDS, before=LINE.replace(b"203.0.113.7", b"203.0.113.9"))
    assert {name: proxy[name] for name in TOLD} == TOLD
    assert ask(behind_proxy.address, FIELDS[1:], before=LOCAL)["scheme"] == "https"


@pytest.mark.parametrize(
    "data", [head("/scope_of/x"), b"PROXY TCP4 x\r\n", b"\x16\x03\x01\x00\xa5", BINARY[:12] + b"\x99" * 4]
)
def test_connection_without_a_header_is_cut(behind_proxy: ServerProcess, data: bytes) -> None:
    with Connection(behind_proxy.address) as connection:
        connection.send(data)
        assert connection.is_closed()
    assert "203.0.113.7" in repr(over_http(behind_proxy.address, before=LINE))


def test_connection_of_a_stranger_is_refused_and_told() -> None:
    with ServerProcess(APPLICATION, ["--proxy-protocol", "--forwarded-allow-ips", "10.0.0.1"]) as server:
        with suppress(ConnectionResetError), Connection(server.address) as connection:  # it may be while it connects
            assert connection.is_closed()
        server.wait_for_log(r"(?i)warning.*refused a connection from 127\.0\.0\.1 .*--forwarded-allow-ips")
        assert server.stop() == 0


@pytest.mark.parametrize("loop", ["asyncio", "auto"])
@pytest.mark.parametrize("header", [LINE, BINARY], ids=["v1", "v2"])
def test_header_stands_in_front_of_tls(tmp_path: Any, loop: str, header: bytes) -> None:
    key, certificate = write_certificate(tmp_path)
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    with ServerProcess(APPLICATION, ["--proxy-protocol", "--loop", loop], listen=["-e", endpoint]) as server:
        plain = socket.create_connection(server.address, timeout=5)
        plain.sendall(header)
        context = ssl.create_default_context(cafile=certificate)
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
            secure.sendall(head("/scope_of/x"))
            with closing(http.client.HTTPResponse(secure)) as response:
                response.begin()
                told = seen(ast.literal_eval(response.read().decode()))
        assert {name: told[name] for name in BEHIND_IT} == BEHIND_IT
        assert told["scheme"] == "https"
        assert server.stop() == 0


def test_header_on_a_unix_socket(tmp_path: Any, ask: Ask) -> None:
    path = str(tmp_path / "s")
    with ServerProcess(APPLICATION, ["--proxy-protocol"], listen=["-u", path]) as server:
        told = ask(path, before=LINE)
        assert {name: told[name] for name in BEHIND_IT} == BEHIND_IT
        assert server.stop() == 0


def test_silent_connection_does_not_keep_a_stop() -> None:
    with ServerProcess(APPLICATION, ["--proxy-protocol"]) as server, Connection(server.address) as silent:
        assert over_http(server.address, before=LINE)["client"][0] == "203.0.113.7", (
            "the silent one is waited for by now"
        )
        server.send_signal()
        assert server.wait(5) == 0
        assert silent.is_closed()


def test_endpoint_of_twisteds_own_and_the_option_are_one_too_many() -> None:
    listen = ["-e", "haproxy:tcp:0:interface=127.0.0.1"]
    with ServerProcess(APPLICATION, ["--proxy-protocol"], listen=listen, wait=False) as server:
        assert server.wait() == 1
        assert "--proxy-protocol goes with the endpoints tcp," in server.log


# Twisted's own endpoint


@pytest.fixture(scope="module")
def haproxy() -> Iterator[ServerProcess]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    listen = ["-e", f"haproxy:tcp:{port}:interface=127.0.0.1"]
    with ServerProcess(APPLICATION, ["--proxy-headers"], listen=listen) as process:
        process.addresses = [("127.0.0.1", port)]
        yield process


@pytest.mark.parametrize("header", [LINE, BINARY], ids=["v1", "v2"])
def test_twisteds_haproxy_endpoint_tells_addresses_too(haproxy: ServerProcess, ask: Ask, header: bytes) -> None:
    told = ask(haproxy.address, FIELDS, before=header)
    assert {name: told[name] for name in BEHIND_IT} == BEHIND_IT
    assert told["hosts"] == ["testserver"]


def test_websocket_lives_behind_twisteds_haproxy_endpoint(haproxy: ServerProcess) -> None:
    with Session(haproxy.address) as session:
        session.send(LINE + handshake("/echo/x"))
        session.opened()
        for text in ("one", "two" * 40_000):
            assert session.exchange(text) == text
        session.send(close_frame(4000, "bye"))
        assert session.read_close() == (4000, "bye")
        assert session.is_closed()
    with Session(haproxy.address) as session:
        session.send(LINE)
        session.send(handshake("/events/gone"))
        session.opened()
    haproxy.wait_for_log("WSDISCONNECT /events/gone")


def test_requests_keep_a_connection_behind_twisteds_haproxy_endpoint(haproxy: ServerProcess) -> None:
    client = Client(haproxy.address)
    with Connection(client.address) as connection:
        connection.send(LINE + head("/hello/x") * 2)
        assert [connection.read_response().status for _ in range(2)] == [200, 200]
        connection.send(head("/hello/x"))
        assert connection.read_response().status == 200
