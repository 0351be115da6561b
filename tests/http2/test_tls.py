"""RFC 9113 sections 3.2 and 9.2: HTTP/2 over TLS, chosen by ALPN."""

from __future__ import annotations

import ast
import socket
import ssl

import pytest

from tests.support.h2_client import H2Connection
from tests.support.h2_frames import PREFACE, Code
from tests.support.h2_websocket import StreamSession
from tests.support.http1 import head
from tests.support.server_process import ServerProcess
from tests.support.ws_client import TEXT, frame


@pytest.fixture
def context(authority):
    made = authority.client_context()
    made.set_alpn_protocols(["h2", "http/1.1"])
    return made


@pytest.fixture
def h2(tls_server, context):
    with H2Connection(tls_server.address, context=context) as connection:
        connection.handshake()
        yield connection


class Notes:
    """As AppSide, over TLS and HTTP/2."""

    def __init__(self, connection, key):
        self._connection = connection
        self._key = key

    def path(self, name):
        return f"/{name}/{self._key}"

    def noted(self, count):
        response = self._connection.expect_response(self._connection.request(f"{self.path('noted')}?{count}"), 12)
        return ast.literal_eval(response.body.decode())


@pytest.fixture
def tls_notes(tls_server, context):
    with H2Connection(tls_server.address, context=context) as connection:
        connection.handshake()
        yield Notes(connection, "tls")


def handshake(server, context):
    plain = socket.create_connection(server.address, timeout=5)
    return context.wrap_socket(plain, server_hostname="localhost")


# Section 3.2: ALPN


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["h2"], "h2"),
        (["h2", "http/1.1"], "h2"),
        (["http/1.1", "h2"], "h2"),
        (["http/1.1"], "http/1.1"),
        (["h2c"], None),
        ([], None),
    ],
    ids=str,
)
def test_protocol_is_chosen_by_alpn(tls_server, authority, offered, chosen):
    context = authority.client_context()
    if offered:
        context.set_alpn_protocols(offered)
    with handshake(tls_server, context) as client:
        assert client.selected_alpn_protocol() == chosen


@pytest.mark.parametrize("offered", [["http/1.1"], []], ids=str)
def test_client_that_does_not_offer_h2_speaks_http_1(tls_server, authority, offered):
    context = authority.client_context()
    if offered:
        context.set_alpn_protocols(offered)
    with handshake(tls_server, context) as client:
        client.sendall(head("/hello/x", [(b"Connection", b"close")]))
        answer = b""
        while part := client.recv(65_536):
            answer += part
        assert answer.startswith(b"HTTP/1.1 200 ")


def test_client_that_chose_h2_and_does_not_speak_it(tls_server, context):
    """Section 3.4: it gets no answer of HTTP/1.1."""
    with handshake(tls_server, context) as client:
        client.sendall(head("/hello/x"))
        answer = b""
        while part := client.recv(65_536):
            answer += part
        assert not answer.startswith(b"HTTP/")


def test_client_that_chose_http_1_and_speaks_http_2(tls_server, authority):
    context = authority.client_context()
    context.set_alpn_protocols(["http/1.1"])
    with handshake(tls_server, context) as client:
        client.sendall(PREFACE)
        assert client.recv(65_536).startswith(b"HTTP/1.1 ")


def test_http_2_that_is_switched_off_is_not_offered(authority, context):
    files = authority.sign("plain", ["127.0.0.1", "localhost"])
    options = ["--ssl-certfile", files.certificate, "--ssl-keyfile", files.key, "--no-http2"]
    with ServerProcess(options=options) as server, handshake(server, context) as client:
        assert client.selected_alpn_protocol() == "http/1.1"


# Section 9.2: what TLS has to be


def test_version_of_tls_is_at_least_1_2(tls_server, context):
    with handshake(tls_server, context) as client:
        assert client.version() in ("TLSv1.2", "TLSv1.3")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(tls_server, context)


def test_ciphers_of_tls_1_2_are_none_of_the_bad_ones(tls_server, context):
    """Section 9.2.2 and appendix A: only ephemeral key exchange with AEAD is left."""
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with handshake(tls_server, context) as client:
        assert client.selected_alpn_protocol() == "h2"
        name = client.cipher()[0]
        assert name.startswith("ECDHE-") and ("GCM" in name or "CHACHA20" in name)


# Exchanges


def test_exchanges_over_tls(h2):
    h2.expect_served()
    stream = h2.request("/echo/x", method=b"POST", end=False)
    h2.send_body(stream, bytes(1_000_000))
    assert h2.expect_response(stream).body == bytes(1_000_000)


def test_scope_over_tls(h2):
    scope = ast.literal_eval(h2.expect_response(h2.request("/scope_of/x")).body.decode())
    assert (scope["http_version"], scope["scheme"]) == ("2", "https")
    assert scope["extensions"]["tls"]["tls_version"] in (0x0303, 0x0304)
    assert scope["extensions"]["tls"]["server_cert"].startswith("-----BEGIN CERTIFICATE-----")


def test_websocket_over_tls(h2):
    session = StreamSession(h2, "/scope_of/x")
    session.opened()
    first, payload = session.read_frame()
    scope = ast.literal_eval(payload.decode())
    assert (first, scope["scheme"], scope["http_version"]) == (TEXT, "wss", "2")
    assert "tls" in scope["extensions"]
    echo = StreamSession(h2, "/echo/x")
    echo.opened()
    echo.send(frame(TEXT, b"hello"))
    assert echo.read_frame() == (TEXT, b"hello")


def test_errors_over_tls(h2):
    h2.expect_malformed(h2.request(fields=[(b"Upper", b"case")]))
    h2.send(b"\x00\x00\x01\x06\x00\x00\x00\x00\x00x")
    h2.expect_goaway(Code.FRAME_SIZE_ERROR)


def test_client_that_vanishes_is_a_disconnect(h2, tls_notes):
    h2.request(tls_notes.path("until_disconnect"))
    tls_notes.noted(1)
    h2.close()
    assert "http.disconnect" in tls_notes.noted(3)
