"""Contract, section 2: requests for an upgrade, right and wrong, and the octets behind them."""

from __future__ import annotations

import threading

import pytest

from tests.support.http1 import Client, head
from tests.support.server_process import ServerProcess
from tests.support.ws_client import KEY, PING, PONG, TEXT, Session, close_frame, frame, handshake

APPLICATION = "ws_apps:application"

UPGRADE = [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")]
WEBSOCKET = [(b"Sec-WebSocket-Key", KEY), (b"Sec-WebSocket-Version", b"13")]


def refusal_of(connect, app, *arguments, **options):
    connection = connect()
    connection.send(handshake(app.path("events"), *arguments, **options))
    response = connection.read_response(options.get("method", b"GET"))
    assert app.noted() == []  # nobody was called
    connection.send(head(app.path("hello")))
    assert connection.read_response().body == b"hello"
    return response


# Refused


@pytest.mark.parametrize("version", [b"12", b"8", b"14", b"", b"013", b"13, 8", None])
def test_wrong_version_is_a_426_that_says_which_is_right(connect, app, version):
    response = refusal_of(connect, app, version=version)
    assert response.status == 426
    assert response.get(b"sec-websocket-version") == b"13"
    assert response.get(b"upgrade") == b"websocket"


def test_two_versions_are_a_426(connect, app):
    assert refusal_of(connect, app, [(b"Sec-WebSocket-Version", b"13")]).status == 426


@pytest.mark.parametrize(
    "key",
    [
        *(None, b"", b"short", b"dGhlIHNhbXBsZSBub25jZQ", b"dGhlIHNhbXBsZSBub25jZ!==", b"dGhlIHNhbXBsZSBub25jZQ== x"),
        *(b"dGhlIHNhbXBsZSBub25jZWFiYw==", b"=" * 24),
    ],
)
def test_bad_key_is_a_400(connect, app, key):
    assert refusal_of(connect, app, key=key).status == 400


def test_two_keys_are_a_400(connect, app):
    assert refusal_of(connect, app, [(b"Sec-WebSocket-Key", KEY)]).status == 400


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"get", b"HEAD", b"OPTIONS"])
def test_other_method_than_get_is_a_400(connect, app, method):
    assert refusal_of(connect, app, method=method).status == 400


@pytest.mark.parametrize("protocols", [b"a b", b"a;b", b'"a"', "é".encode()])
def test_subprotocol_that_is_no_token_is_a_400(connect, app, protocols):
    assert refusal_of(connect, app, [(b"Sec-WebSocket-Protocol", protocols)]).status == 400


def test_handshake_with_a_body_is_a_400_and_the_body_is_no_request(connect, app):
    body = head(app.path("events"))
    connection = connect()
    connection.send(handshake(app.path("events"), [(b"Content-Length", b"%d" % len(body))]) + body)
    connection.send(head(app.path("hello")))
    assert connection.read_response().status == 400
    response = connection.read_response()
    assert (response.status, response.body) == (200, b"hello")
    assert app.noted(1) == ["called"]


@pytest.mark.parametrize("field", [(b"Content-Length", b"1000000"), (b"Transfer-Encoding", b"chunked")])
def test_unfinished_body_of_a_refused_handshake_closes_the_connection(connect, app, field):
    connection = connect()
    connection.send(handshake(app.path("events"), [field]) + b"5\r\n" + head(app.path("hello")))
    response = connection.read_response()
    assert (response.status, response.get(b"connection")) == (400, b"close")
    assert connection.is_closed()
    assert app.noted() == []


def test_broken_head_is_a_400_as_for_any_request(connect, app):
    for broken in (handshake(app.path("events")).replace(b"Host: testserver\r\n", b""), b"GET /\r\n\r\n"):
        connection = connect()
        connection.send(broken)
        assert connection.read_response().status == 400
        connection.send_fin()
        assert connection.read_to_end() == b""


# Not offered


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket2", b"TLS/1.3", b"x, h2c"])
def test_upgrade_that_is_not_offered_is_ignored(connect, app, upgrade):
    connection = connect()
    connection.send(head(app.path("hello"), [(b"Upgrade", upgrade), (b"Connection", b"Upgrade"), *WEBSOCKET]))
    assert connection.read_response().body == b"hello"
    connection.send(head(app.path("hello")))
    assert connection.read_response().body == b"hello"


def test_upgrade_that_connection_does_not_name_is_none(connect, app):
    connection = connect()
    connection.send(head(app.path("hello"), [(b"Upgrade", b"websocket"), *WEBSOCKET]))
    assert connection.read_response().body == b"hello"


def test_upgrade_of_http_1_0_is_ignored(connect, app):
    connection = connect()
    connection.send(handshake(app.path("hello"), http=b"1.0"))
    response = connection.read_response()
    assert (response.status, response.body) == (200, b"hello")


def test_body_behind_an_upgrade_that_is_not_offered_is_still_the_body(connect, app):
    connection = connect()
    fields = [(b"Upgrade", b"h2c"), (b"Connection", b"Upgrade"), (b"Content-Length", b"4")]
    connection.send(head(app.path("echo"), fields, method=b"POST") + b"body" + head(app.path("hello")))
    assert connection.read_response().body == b"body"
    assert connection.read_response().body == b"hello"


# Taken


@pytest.mark.parametrize(
    "fields",
    [
        [(b"Upgrade", b"WebSocket"), (b"Connection", b"upgrade")],
        [(b"Upgrade", b"websocket"), (b"Connection", b"keep-alive, Upgrade")],
        [(b"Upgrade", b"websocket"), (b"Connection", b"keep-alive"), (b"Connection", b"UPGRADE")],
        [(b"Upgrade", b"h2c, websocket"), (b"Connection", b"Upgrade")],
        [*UPGRADE, (b"Content-Length", b"0")],
    ],
)
def test_handshake_may_be_written_in_many_ways(server, app, fields):
    with Session(server.address) as session:
        session.send(head(app.path("echo"), [*fields, *WEBSOCKET]))
        session.opened()
        assert session.exchange("x") == "x"


def test_handshake_that_comes_octet_by_octet(server, app):
    with Session(server.address) as session:
        for octet in handshake(app.path("echo")):
            session.send(bytes([octet]))
        session.opened()
        assert session.exchange("x") == "x"


def test_session_may_follow_requests_on_the_same_connection(server, app):
    with Session(server.address) as session:
        session.send(head(app.path("hello")) * 2 + handshake(app.path("echo")) + frame(TEXT, b"x"))
        for _ in range(2):
            assert session.read_response().body == b"hello"
        session.opened()
        assert session.read_frame() == (TEXT, b"x")


@pytest.mark.parametrize("size", [5, 60_000, 1_000_000])
def test_answer_before_a_handshake_survives_a_half_close(server, app, size):
    """A client that has closed its side can have no session, but it may still read what it asked for before."""
    with Session(server.address, receive_buffer=4096) as session:
        session.send(head(app.path("large", size)) + handshake(app.script("receive", "receive")))
        session.send_fin()
        notes = app.noted(2)
        assert notes[1] == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        assert len(session.read_response().body) == size
        assert session.read_response().status == 400
        assert session.is_closed()


@pytest.mark.parametrize("count", [1, 5000])
def test_bytes_behind_the_request_reach_the_session(server, app, count):
    """At once, and while the application has not accepted yet: more than the server keeps, and less."""
    frames = b"".join(frame(TEXT, b"%030d" % number) for number in range(count))
    open_late = app.script("receive", "wait", {"type": "websocket.accept"}, *["receive"] * 3)
    with Session(server.address) as session:
        sender = threading.Thread(target=session.send, args=(handshake(open_late) + frames,))
        sender.start()
        app.noted(2)
        app.release()
        session.opened()
        notes = app.noted(4 + min(count, 3) - 1)
        assert notes[3]["text"] == "0" * 30
        sender.join(5)
    with Session(server.address) as session:
        sender = threading.Thread(target=session.send, args=(handshake(app.path("echo")) + frames + frame(PING),))
        sender.start()
        session.opened()
        seen = [session.read_frame() for _ in range(count + 1)]
        seen.remove((PONG, b""))
        assert seen == [(TEXT, b"%030d" % number) for number in range(count)]
        sender.join(5)


def test_request_that_looks_pipelined_behind_a_taken_upgrade_is_no_request(server, app):
    with Session(server.address) as session:
        session.send(handshake(app.path("events")) + head(app.path("hello")))
        session.opened()
        assert session.read_close()[0] == 1002
        assert session.is_closed()
    assert "called" not in app.noted(3)


# --limit-concurrency


def test_session_over_the_limit_of_concurrency_is_a_503_until_another_ends():
    with (
        ServerProcess(APPLICATION, ["--limit-concurrency", "1"]) as server,
        Session(server.address) as first,
        Session(server.address) as second,
    ):
        first.send(handshake("/echo/x"))
        first.opened()
        second.send(handshake("/echo/x"))
        response = second.read_response()
        assert (response.status, response.get(b"retry-after")) == (503, b"1")
        assert Client(server.address).request("/hello/x").status == 503
        first.send(close_frame(1000))
        assert first.read_close()[0] == 1000
        assert first.is_closed()
        second.send(handshake("/echo/x"))
        second.opened()
        assert second.exchange("x") == "x"
