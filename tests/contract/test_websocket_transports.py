"""Contract, section 1, "Scope" and "WebSocket": sessions over every kind of endpoint, and on either loop."""

from __future__ import annotations

import ast
import importlib.util
import os
import socket
import ssl
import time

import pytest
from websockets.sync.client import connect, unix_connect

from tests.support.server_process import ServerProcess
from tests.support.streams import write_certificate
from tests.support.ws_client import BINARY, CLOSE, PING, PONG, TEXT, Session, close_frame, frame, handshake

APPLICATION = "ws_apps:application"

LOOPS = pytest.mark.parametrize(
    "loop",
    [
        "asyncio",
        pytest.param(
            "uvloop", marks=pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="no uvloop")
        ),
    ],
)


def check_messages(client):
    """Large and small ones come back, and a ping is answered."""
    for payload in ("é", b"\xff", "", os.urandom(1_000_000), "x" * 100_000):
        client.send(payload)
        assert client.recv(timeout=5) == payload
    assert client.ping().wait(5)


def tls_context(certificate):
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    return context


@LOOPS
def test_session_over_tcp(loop):
    with ServerProcess(APPLICATION, ["--loop", loop]) as server:
        with connect("ws://{}:{}/echo/x".format(*server.address), proxy=None) as client:
            check_messages(client)
        with connect("ws://{}:{}/echo/x".format(*server.address), proxy=None, compression=None) as client:
            check_messages(client)
        assert server.stop() == 0
        assert "Traceback" not in server.log


@LOOPS
def test_session_over_tls_has_the_scheme_wss(tmp_path, loop):
    key, certificate = write_certificate(tmp_path)
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    with ServerProcess(APPLICATION, ["--loop", loop], listen=["-e", endpoint]) as server:
        address = "wss://{}:{}".format(*server.address)
        with connect(f"{address}/scope_of/x", proxy=None, ssl=tls_context(certificate)) as client:
            scope = ast.literal_eval(client.recv(timeout=5))
            assert scope["scheme"] == "wss"
            assert scope["client"] == list(client.local_address)[:2]
        with connect(f"{address}/echo/x", proxy=None, ssl=tls_context(certificate)) as client:
            check_messages(client)
            client.close(4000, "bye")
            assert (client.close_code, client.close_reason) == (4000, "bye")
        for leave in ("unwrap", "close"):  # with and without TLS's own farewell
            with Session(server.address) as session:
                session.socket = tls_context(certificate).wrap_socket(session.socket)
                session.send(handshake(f"/events/{leave}"))
                session.opened()
                session.send(frame(TEXT, b"last"))
                server.wait_for_log(f"WSCONNECT /events/{leave}")
                getattr(session.socket, leave)()
                server.wait_for_log(f"WSDISCONNECT /events/{leave}")
        assert server.stop() == 0
        assert "Traceback" not in server.log


def test_fault_over_tls_is_told_by_a_close(tmp_path):
    key, certificate = write_certificate(tmp_path)
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    with ServerProcess(APPLICATION, listen=["-e", endpoint]) as server, Session(server.address) as session:
        session.socket = tls_context(certificate).wrap_socket(session.socket)
        session.send(handshake("/events/x"))
        session.opened()
        session.send(frame(TEXT, b"\xff"))
        assert session.read_close()[0] == 1007
        assert session.is_closed()


def test_session_over_a_unix_socket(tmp_path):
    path = tmp_path / "socket"
    with ServerProcess(APPLICATION, listen=["-u", str(path)]) as server:
        with unix_connect(str(path), "ws://localhost/scope_of/x") as client:
            scope = ast.literal_eval(client.recv(timeout=5))
            assert scope["scheme"] == "ws"
            assert scope["client"] is None
            assert scope["server"] == [str(path), None]
        with unix_connect(str(path), "ws://localhost/echo/x") as client:
            check_messages(client)
        server.wait_for_log("WSDISCONNECT /echo/x")
        assert server.stop() == 0


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as listener:
            listener.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_session_over_ipv6():
    with (
        ServerProcess(APPLICATION, listen=["-b", "::1", "-p", "0"]) as server,
        connect(f"ws://[::1]:{server.address[1]}/scope_of/x", proxy=None) as client,
    ):
        scope = ast.literal_eval(client.recv(timeout=5))
        assert scope["client"][0] == scope["server"][0] == "::1"


PROXY = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n"
OPTIONS_OF_PROXY = ["--ping-interval", "1", "--ping-timeout", "1", "--timeout-write", "1"]


def proxied(server, target, behind=b""):
    session = Session(server.address)
    session.send(PROXY + handshake(target) + behind)
    session.opened()
    return session


def test_session_behind_the_proxy_protocol_which_twisted_carries():
    """Its wrapper hands nothing over: the connection that answered the handshake passes everything on."""
    with ServerProcess(APPLICATION, OPTIONS_OF_PROXY, listen=["-e", "haproxy:tcp:0:interface=127.0.0.1"]) as server:
        with proxied(server, "/scope_of/x") as session:
            scope = ast.literal_eval(session.read_frame()[1].decode())
            assert scope["client"] == ["192.0.2.7", 4711]
        with proxied(server, "/echo/one", frame(TEXT, b"at once")) as session:
            assert session.read_frame() == (TEXT, b"at once")
            payload = os.urandom(900_000)
            session.send(frame(BINARY, payload))
            assert session.read_frame() == (BINARY, payload)
            session.send(frame(PING, b"?"))
            assert session.read_frame() == (PONG, b"?")
            session.send(close_frame(4000))
            assert session.read_close() == (4000, "")
            assert session.is_closed()
        for leave in ("send_fin", "reset", "close"):
            with proxied(server, f"/echo/{leave}") as session:
                getattr(session, leave)()
                server.wait_for_log(f"WSDISCONNECT /echo/{leave}")
                if leave == "send_fin":
                    assert session.is_closed()
        with proxied(server, "/events/fault") as session:
            session.send(frame(TEXT, b"x", mask=None))
            assert session.read_close()[0] == 1002
            assert session.is_closed()
        with proxied(server, "/events/dead") as session:
            begin = time.monotonic()
            assert session.frames_to_the_end() == [(PING, b"")]
            assert time.monotonic() - begin < 10
        with proxied(server, "/torrent/slow?200") as session:
            for _ in range(200):
                assert len(session.read_frame()[1]) == 65_536
            session.send(close_frame(1000))
            assert session.read_close() == (1000, "")
        with proxied(server, "/torrent/never?2000") as session:
            server.wait_for_log("WSDISCONNECT /torrent/never", 10)
        with proxied(server, "/echo/stop") as session:
            server.send_signal()
            while (received := session.read_frame())[0] != CLOSE:
                assert received[0] == PING
            assert received[1] == b"\x03\xf4"
            session.send(close_frame(1012))
            assert session.is_closed()
        assert server.wait() == 0
        assert "Traceback" not in server.log
