"""HTTP/2 over every kind of endpoint, and on asyncio's own loop; TLS is in test_tls.py."""

from __future__ import annotations

import ast
from pathlib import Path
from urllib.parse import quote

from tests.support.h2_client import H2Connection
from tests.support.h2_frames import MAX_WINDOW, Code, Setting, rst_frame
from tests.support.h2_websocket import StreamSession
from tests.support.server_process import ServerProcess
from tests.support.ws_client import close_frame

APPLICATION = "h2_apps:application"
BODY = bytes(range(256)) * 8000


def opened(address, **options):
    connection = H2Connection(address, **options)
    connection.handshake()
    return connection


def scope_of(h2):
    return ast.literal_eval(h2.expect_response(h2.request("/scope_of/x")).body.decode())


def check_exchanges(h2):
    """Small ones and large ones, several at once, and a WebSocket among them; then one that is given up."""
    h2.change_settings((Setting.INITIAL_WINDOW_SIZE, MAX_WINDOW))
    h2.grant(0, MAX_WINDOW - 65_535)
    session = StreamSession(h2, "/echo/x")
    session.opened()
    download = h2.request("/large/x?3000000")
    upload = h2.request("/echo/x", method=b"POST", end=False)
    h2.send_body(upload, BODY)
    assert session.exchange("among others") == "among others"
    h2.expect_served()
    assert len(h2.expect_response(download).body) == 3_000_000
    assert h2.expect_response(upload).body == BODY
    session.send(close_frame(1000))
    assert session.read_close() == (1000, "")
    session.expect_end()
    h2.send(rst_frame(h2.request("/torrent/x?100000000"), Code.CANCEL))
    h2.expect_served()


def check_end(server):
    assert server.stop() == 0
    assert "Traceback" not in server.log


def test_loop_of_asyncio():
    with ServerProcess(APPLICATION, ["--loop", "asyncio"]) as server:
        with opened(server.address) as h2:
            check_exchanges(h2)
            h2.send(b"\x00\x00\x01\x06\x00\x00\x00\x00\x00x")
            h2.expect_goaway(Code.FRAME_SIZE_ERROR)
        check_end(server)


def test_unix_socket(tmp_path):
    path = str(tmp_path / "socket")
    with ServerProcess(APPLICATION, listen=["-u", path]) as server:
        with opened(path) as h2:
            scope = scope_of(h2)
            assert (scope["client"], scope["server"]) == (None, [path, None])
            check_exchanges(h2)
            server.wait_for_log("GET /scope_of/x")  # in the access log
            server.wait_for_log("WSDISCONNECT /echo/x")
        check_end(server)


def test_proxy_protocol_which_twisted_carries():
    """Its transport sends no files, so theirs are read and sent as all content is."""
    endpoint = "haproxy:tcp:0:interface=127.0.0.1"
    with ServerProcess(APPLICATION, listen=["-e", endpoint]) as server:
        prologue = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n"
        with opened(server.address, prologue=prologue) as h2:
            assert scope_of(h2)["client"] == ["192.0.2.7", 4711]
            check_exchanges(h2)
            steps = [
                {"type": "http.response.start", "status": 200, "headers": []},
                {"type": "http.response.pathsend", "path": __file__},
            ]
            response = h2.expect_response(h2.request(f"/script/x?{quote(repr(steps))}"))
            assert response.body == Path(__file__).read_bytes()
            h2.send(b"\x00\x00\x01\x06\x00\x00\x00\x00\x00x")
            h2.expect_goaway(Code.FRAME_SIZE_ERROR)
        with opened(server.address, prologue=prologue, receive_buffer=65_536) as h2:
            h2.change_settings((Setting.INITIAL_WINDOW_SIZE, MAX_WINDOW))
            h2.grant(0, MAX_WINDOW - 65_535)
            stream = h2.request("/torrent/slow?20000000")
            assert len(h2.expect_response(stream).body) == 20_000_000
        check_end(server)


def test_endpoint_of_twisted_with_tls(authority):
    files = authority.sign("endpoint", ["127.0.0.1", "localhost"])
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={files.key}:certKey={files.certificate}"
    context = authority.client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with ServerProcess(APPLICATION, listen=["-e", endpoint]) as server:
        with opened(server.address, context=context) as h2:
            assert scope_of(h2)["scheme"] == "https"
            check_exchanges(h2)
        check_end(server)
