"""Contract, section 1, "Extensions": a handshake answered with an HTTP response (ASGI "WebSocket Denial Response")."""

from __future__ import annotations

import pytest

from tests.support.apps import SECRET
from tests.support.http1 import Truncated, head
from tests.support.ws_client import handshake

APPLICATION = "ws_apps:application"

OPEN = {"type": "websocket.accept"}
START = {"type": "websocket.http.response.start", "status": 401, "headers": []}
BODY = {"type": "websocket.http.response.body"}
CLOSED = {"type": "websocket.disconnect", "code": 1006, "reason": ""}


@pytest.fixture
def denied(connect, app):
    """Send a handshake for an application that does these steps; return the connection."""

    def begin(*steps, **options):
        connection = connect()
        connection.send(handshake(app.script(*steps), **options))
        return connection

    return begin


@pytest.mark.parametrize("status", [200, 302, 401, 404, 503, 599])
def test_any_status_and_headers_are_answered_apart_and_in_order(denied, status):
    headers = [(b"set-cookie", b"a=1"), (b"x-why", "Å".encode()), (b"set-cookie", b"b=2")]
    response = denied({**START, "status": status, "headers": headers}, {**BODY, "body": b"no"}).read_response()
    assert (response.status, response.body) == (status, b"no")
    assert response.all(b"set-cookie") == [b"a=1", b"b=2"]
    assert response.get(b"x-why") == "Å".encode()
    assert response.get(b"date")
    assert response.all(b"upgrade") == response.all(b"sec-websocket-accept") == []


def test_response_is_streamed_and_each_part_reaches_the_client_at_once(denied, app):
    connection = denied("receive", START, {**BODY, "body": b"one", "more_body": True}, "wait", {**BODY, "body": b"two"})
    response = connection.read_head()
    assert response.status == 401
    assert response.get(b"transfer-encoding") == b"chunked"
    assert connection.read_chunk() == b"one"
    app.release()
    assert connection.read_chunk() == b"two"
    assert connection.read_chunk() == b""


def test_connection_goes_on_with_another_request_and_another_handshake(connect, app):
    connection = connect()
    for _ in range(2):
        steps = [START, {**BODY, "body": b"no", "more_body": True}, {**BODY, "body": b"pe"}]
        connection.send(handshake(app.script(*steps)))
        response = connection.read_response()
        assert (response.status, response.body) == (401, b"nope")
        connection.send(head(app.path("hello")))
        assert connection.read_response().body == b"hello"
    connection.send(handshake(app.script({"type": "websocket.close"})))
    assert connection.read_response().status == 403
    connection.send(handshake(app.script("fail")))
    assert connection.read_response().status == 500
    connection.send(handshake(app.script(OPEN, "receive", "receive")))
    assert connection.read_head().status == 101


def test_requests_pipelined_behind_a_denied_handshake_are_answered(connect, app):
    connection = connect()
    connection.send(handshake(app.script("receive", START, "wait", BODY)) + head(app.path("hello")))
    app.noted(3)
    app.release()
    assert connection.read_response().status == 401
    assert connection.read_response().body == b"hello"


def test_disconnect_follows_the_response(denied, app):
    connection = denied("receive", START, {**BODY, "body": b"no"}, "receive", "receive")
    assert connection.read_response().body == b"no"
    assert app.noted(5)[3:] == [CLOSED] * 2


def test_client_that_leaves_before_the_response_is_whole_is_a_disconnect(denied, app):
    more = {**BODY, "body": b"x", "more_body": True}
    connection = denied("receive", START, more, "receive", BODY)
    app.noted(3)
    connection.reset()
    notes = app.noted(5)
    assert notes[3] == CLOSED
    assert "OSError" in notes[4]


def test_messages_of_a_session_raise_once_a_response_has_begun(denied, app):
    out_of_place = [OPEN, {"type": "websocket.send", "text": "x"}, {"type": "websocket.close"}, START]
    connection = denied(START, *out_of_place, {**BODY, "body": b"no"})
    assert connection.read_response().body == b"no"
    notes = app.noted(6)
    assert notes[0] == notes[5] == "sent"
    for note in notes[1:5]:
        assert "ApplicationProtocolError" in note


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": START["type"]},
        {**START, "status": "401"},
        {**START, "status": 101},
        {**START, "headers": [(b"x", b"a\r\nInjected: yes")]},
        {**BODY, "body": b"without a start"},
    ],
)
def test_wrong_response_raises_and_a_right_one_is_still_answered(denied, app, wrong):
    response = denied(wrong, START, {**BODY, "body": b"no"}).read_response()
    assert (response.status, response.body) == (401, b"no")
    assert response.all(b"injected") == []
    notes = app.noted(3)
    assert "ApplicationProtocolError" in notes[0] and notes[1:] == ["sent", "sent"]


def test_session_can_begin_where_a_response_could_not(denied, app):
    connection = denied({**START, "status": "401"}, OPEN, "receive")
    assert connection.read_head().status == 101


@pytest.mark.parametrize("last", ["fail", None])
def test_response_that_breaks_off_shows_as_truncated(denied, server, app, last):
    more = {**BODY, "body": b"x", "more_body": True}
    connection = denied(START, more, *filter(None, [last]))
    with pytest.raises(Truncated):
        connection.read_response()
    server.wait_for_log(rf"ERROR.*/script/{app.key}")


@pytest.mark.parametrize("last", ["fail", None])
def test_response_that_has_a_head_alone_never_looks_whole(denied, last):
    """The head leaves with the first of the body: nothing has been sent, or what has been is cut."""
    connection = denied(START, *filter(None, [last]))
    with pytest.raises(Truncated) as caught:
        connection.read_response()
    assert SECRET.encode() not in caught.value.received


def test_body_longer_than_its_length_raises_and_is_not_sent(denied, app):
    start = {**START, "headers": [(b"content-length", b"2")]}
    response = denied(start, {**BODY, "body": b"long"}, {**BODY, "body": b"no"}).read_response()
    assert response.body == b"no"
    notes = app.noted(3)
    assert notes[0] == notes[2] == "sent"
    assert "ApplicationProtocolError" in notes[1]
