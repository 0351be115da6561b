"""Contract section 1, `tls`, and over TLS what HTTP/1.1 promises; certificates of the server and of clients."""

from __future__ import annotations

import ast
import os
from urllib.parse import quote

import pytest
from websockets.sync.client import connect as connect_websocket

from tests.support.certificates import Authority, pem_of
from tests.support.http1 import Connection, Truncated, head
from tests.support.server_process import ServerProcess
from tests.support.tls_client import TLSConnection


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def files(authority):
    """Of the server: one for an address, one for a name."""
    return authority.sign("first"), authority.sign("second", ["second.example"])


@pytest.fixture(scope="module")
def options(authority, files):
    options = ["--ssl-ca-certs", authority.file, "--ssl-cert-reqs", "optional"]
    for each in files:
        options += ["--ssl-certfile", each.certificate, "--ssl-keyfile", each.key]
    return options


@pytest.fixture(scope="module")
def server(options):
    with ServerProcess(options=options) as process:
        yield process


@pytest.fixture
def connect(server, authority):
    opened = []

    def opening(own=None, **options):
        context = options.pop("context", None) or authority.client_context(own)
        opened.append(TLSConnection(server.address, context, **options))
        return opened[-1]

    yield opening
    for each in opened:
        each.close()


def scope_in(response):
    return ast.literal_eval(response.body.decode())


# The extension


def test_scope_is_that_of_https(connect):
    scope = scope_in(connect().request("/scope_of/x"))
    assert scope["scheme"] == "https"
    assert scope["http_version"] == "1.1"


def test_extension_is_whole(connect, files):
    connection = connect()
    extension = scope_in(connection.request("/scope_of/x"))["extensions"]["tls"]
    cipher = connection.tls.cipher()
    assert extension == {
        "server_cert": pem_of(files[0].certificate)[0],
        "client_cert_chain": [],
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": 0x0304,
        "cipher_suite": {"TLS_AES_128_GCM_SHA256": 0x1301, "TLS_AES_256_GCM_SHA384": 0x1302}.get(cipher[0], 0x1303),
    }


def test_extension_tells_of_the_client_s_certificate(connect, authority, tmp_path):
    own = Authority(tmp_path, "intermediate", issuer=authority).sign("client, of ours")
    extension = scope_in(connect(own).request("/scope_of/x"))["extensions"]["tls"]
    assert extension["client_cert_chain"] == pem_of(own.certificate)
    assert extension["client_cert_name"] == "CN=client\\, of ours"
    assert extension["client_cert_error"] is None


def test_extension_tells_of_the_certificate_that_was_chosen_by_name(connect, files):
    scope = scope_in(connect(name="second.example").request("/scope_of/x"))
    assert scope["extensions"]["tls"]["server_cert"] == pem_of(files[1].certificate)[0]


def test_extension_is_there_for_every_request_of_a_connection(connect):
    connection = connect()
    first, second = (scope_in(connection.request("/scope_of/x"))["extensions"] for _ in range(2))
    assert first == second
    connection.send(b"GET /scope_of/x HTTP/1.0\r\nHost: x\r\n\r\n")
    assert scope_in(connection.read_response())["extensions"]["tls"] == first["tls"]


def test_extension_is_there_for_websockets(options, authority):
    context = authority.client_context(authority.sign("client"))
    with ServerProcess("ws_apps:application", options) as server:
        uri = "wss://{}:{}/scope_of/x".format(*server.address)
        with connect_websocket(uri, proxy=None, ssl=context) as websocket:
            scope = ast.literal_eval(websocket.recv(timeout=5))
    assert scope["scheme"] == "wss"
    assert scope["extensions"]["tls"]["client_cert_name"] == "CN=client"
    assert "websocket.http.response" in scope["extensions"]


def test_extension_is_not_there_without_tls():
    with ServerProcess() as plain, Connection(plain.address) as connection:
        connection.send(head("/scope_of/x"))
        assert "tls" not in scope_in(connection.read_response())["extensions"]


def test_certificate_of_a_stranger_ends_the_handshake(connect, tmp_path):
    stranger = Authority(tmp_path).sign("stranger")

    def answered():
        connection = connect()
        own = connection.tls.context
        own.load_cert_chain(stranger.certificate, stranger.key)
        return connect(context=own).request("/hello/x")

    with pytest.raises((OSError, Truncated)):
        answered()


# Plain text on this port


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
def test_request_in_plain_text_is_answered_with_400(server, method):
    with Connection(server.address) as connection:
        connection.send(head("/hello/x", method=method))
        response = connection.read_response(method)
        assert response.status == 400
        assert response.body == (b"" if method == b"HEAD" else b"This port speaks https, not http.\n")
        assert connection.is_closed()


def test_large_request_in_plain_text_does_not_lose_its_answer(server):
    with Connection(server.address) as connection:
        connection.send(head("/echo/x", [(b"Content-Length", b"300000")], method=b"POST"))
        connection.send(bytes(300_000))
        assert connection.read_response().status == 400


def test_plain_text_that_is_no_request_is_answered_with_400(server):
    with Connection(server.address) as connection:
        connection.send(b"EHLO there\r\n\r\n")
        assert connection.read_response().status == 400


# The rules of HTTP/1.1, where TLS could break them


def test_pipelined_requests_are_answered_in_order(connect):
    connection = connect()
    connection.send(b"".join(head(f"/count/x?{size}") for size in (1, 2, 3)))
    assert [connection.read_response().status for _ in range(3)] == [200] * 3


def test_large_bodies_go_both_ways_whole(connect):
    body = os.urandom(3_000_000)
    connection = connect()
    connection.send(head("/echo/x", [(b"Content-Length", b"%d" % len(body))], method=b"POST"))
    connection.send(body)
    assert connection.read_response().body == body


def test_file_is_sent_whole(connect, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(os.urandom(700_000))
    steps = [
        {"type": "http.response.start", "status": 200, "headers": []},
        {"type": "http.response.pathsend", "path": str(file)},
    ]
    assert connect().request(f"/script/x?{quote(repr(steps))}").body == file.read_bytes()


def test_client_sees_that_a_response_was_cut(connect):
    steps = [
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]},
        {"type": "http.response.body", "body": b"half", "more_body": True},
        "fail",
    ]
    connection = connect()
    connection.send(head(f"/script/x?{quote(repr(steps))}"))
    with pytest.raises(Truncated):
        connection.read_response()


# Sessions and versions


def test_session_is_resumed(connect, authority):
    context = authority.client_context()
    first = connect(context=context)
    first.request("/hello/x")
    second = connect(context=context, session=first.tls.session)
    assert second.tls.session_reused
    assert second.request("/hello/x").body == b"hello"


def test_protocol_is_chosen_by_what_the_client_offers(connect, authority):
    for offered, chosen in ((["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "h2"), (["other"], None), ([], None)):
        context = authority.client_context()
        if offered:
            context.set_alpn_protocols(offered)
        assert connect(context=context).tls.selected_alpn_protocol() == chosen
