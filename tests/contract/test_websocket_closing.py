"""Contract, section 1, "WebSocket": how a session ends, by whomever, and what each side is told."""

from __future__ import annotations

import re
import struct

import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.ws_client import BINARY, CLOSE, COMPRESSED, PING, TEXT, close_frame, frame

APPLICATION = "ws_apps:application"

OPEN = {"type": "websocket.accept"}
SEND = {"type": "websocket.send"}
CLOSING = {"type": "websocket.close"}
DEFLATE = [(b"Sec-WebSocket-Extensions", b"permessage-deflate")]


def disconnect(code, reason=""):
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


# By the client


@pytest.mark.parametrize(
    ("code", "reason"),
    [(1000, ""), (1001, "leaving"), (1011, ""), (3000, "é" * 61), (4999, "x" * 123)],
)
def test_close_of_the_client_is_answered_and_its_code_and_reason_are_told(session, app, code, reason):
    connection = session(app.path("events"))
    connection.send(close_frame(code, reason))
    assert connection.read_close()[0] == code
    assert connection.is_closed()
    assert app.noted(3)[1:] == [disconnect(code, reason)] * 2


def test_close_without_a_code_is_a_1005(session, app):
    connection = session(app.path("events"))
    connection.send(close_frame())
    assert connection.read_close() == (None, "")
    assert connection.is_closed()
    assert app.noted(3)[1:] == [disconnect(1005)] * 2


@pytest.mark.parametrize("leave", ["close", "reset", "send_fin"])
def test_client_that_vanishes_is_a_1006(session, app, leave):
    connection = session(app.path("events"))
    app.noted(1)
    getattr(connection, leave)()
    assert app.noted(3)[1:] == [disconnect(1006)] * 2
    if leave == "send_fin":
        assert connection.is_closed()


@pytest.mark.parametrize("leave", [close_frame(4000), b""], ids=["close", "FIN"])
def test_messages_before_the_end_are_received_before_it(session, app, leave):
    connection = session(app.path("events"))
    connection.send(b"".join(frame(TEXT, b"%d" % number) for number in range(20)) + leave)
    connection.send_fin()
    notes = app.noted(22)
    assert [note["text"] for note in notes[1:21]] == [str(number) for number in range(20)]
    assert notes[21]["code"] == (4000 if leave else 1006)


@pytest.mark.parametrize("session", ["h1"], indirect=True)  # over HTTP/2 the window is less than the test sends
def test_messages_and_close_that_an_application_takes_late_are_all_there(session, app):
    """More than the queue holds: the Close is far behind, in the kernel."""
    connection = session(app.path("deaf"))
    app.noted(1)
    connection.send(b"".join(frame(BINARY, b"x" * 1000) for _ in range(1000)) + close_frame(4000, "late"))
    app.release()
    assert app.noted(2)[1] == [1000, 1_000_000, disconnect(4000, "late")]
    assert connection.read_close() == (4000, "late")


def test_answer_to_what_came_in_one_read_with_the_close_is_sent_before_it(session, app):
    connection = session(app.path("echo"))
    connection.send(frame(TEXT, b"last") + close_frame(1000))
    assert connection.read_frame() == (TEXT, b"last")
    assert connection.read_close() == (1000, "")


def test_nothing_behind_a_close_is_received(session, app):
    connection = session(app.path("events"))
    connection.send(close_frame(1000) + frame(TEXT, b"behind") + frame(PING) + close_frame(4000))
    assert connection.read_close() == (1000, "")
    assert connection.is_closed()
    assert app.noted(3) == ["accepted", disconnect(1000), disconnect(1000)]


# By the application


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ({}, 1000, ""),
        ({"code": None, "reason": None}, 1000, ""),
        ({"code": 4001, "reason": "enough"}, 4001, "enough"),
        ({"code": 1013}, 1013, ""),
        ({"code": 3000, "reason": "é" * 100}, 3000, "é" * 61),  # what a frame can hold, and no half character
    ],
)
def test_close_of_the_application_reaches_the_client_and_is_followed_by_a_disconnect(
    session, app, message, code, reason
):
    connection = session(app.script(OPEN, "receive", {**CLOSING, **message}, "receive", "receive"))
    assert connection.read_close() == (code, reason)
    notes = app.noted(5)
    assert notes[2] == "sent"
    for note in notes[3:]:
        assert (note["type"], note["code"]) == ("websocket.disconnect", code)
    connection.send(close_frame(code))
    assert connection.is_closed()


@pytest.mark.parametrize("session", ["h1"], indirect=True)  # over HTTP/2 the window is less than the test sends
def test_messages_on_their_way_are_dropped_once_the_application_has_closed(session, app):
    """And the client's Close behind them ends the connection."""
    connection = session(app.script(OPEN, "receive", "wait", CLOSING, "receive"))
    app.noted(3)
    connection.send(b"".join(frame(BINARY, b"x" * 10_000) for _ in range(100)))
    app.release()
    assert connection.read_close() == (1000, "")
    connection.send(frame(TEXT, b"late") + close_frame(1000))
    assert connection.is_closed()


@pytest.mark.parametrize(
    "wrong",
    [
        *({"code": code} for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 70_000, "1000", 1000.0, True)),
        {"reason": b"bytes"},
        {"reason": "\ud800"},
        {"reason": 5},
    ],
    ids=str,
)
def test_wrong_close_raises_and_the_session_goes_on(session, app, wrong):
    connection = session(app.script(OPEN, {**CLOSING, **wrong}, {**SEND, "text": "next"}, "receive"))
    assert connection.read_frame() == (TEXT, b"next")
    assert "ApplicationProtocolError" in app.noted(3)[1]


# Both, or neither, listen any more


def test_send_after_a_disconnect_raises_a_subclass_of_os_error(session, app):
    more = [{**SEND, "text": "x"}, {**SEND, "bytes": b""}, OPEN]
    connection = session(app.script(OPEN, "receive", "receive", *more, CLOSING))
    connection.send(close_frame(1000))
    notes = app.noted(7)
    for note in notes[3:6]:
        assert "OSError" in note and note[0] != "OSError"
    assert notes[6] == "sent"  # closing what is closed is no fault


def test_send_after_its_own_close_raises_a_subclass_of_os_error(session, app):
    session(app.script(OPEN, CLOSING, {**SEND, "text": "x"}, CLOSING, "receive"))
    notes = app.noted(4)
    assert "OSError" in notes[2] and notes[2][0] != "OSError"
    assert notes[3] == "sent"


@pytest.mark.parametrize("leave", [close_frame(1000), None], ids=["close", "reset"])
def test_error_of_a_message_to_nobody_is_none_in_the_log(session, app, server, client, leave):
    connection = session(app.path("reply_to_nobody"))
    if leave:
        connection.send(leave)
    else:
        connection.reset()
    app.noted(2)
    assert client.request(app.script("fail")).status == 500
    server.wait_for_log(rf"ERROR.*/script/{app.key}")  # behind it in the log
    assert not re.search(rf"(ERROR|WARNING).*/reply_to_nobody/{app.key}", server.log)


# For a fault of the client's


@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, b"x", mask=None),
        frame(TEXT | 0x40, b"x"),
        frame(TEXT | 0x20, b"x"),
        frame(TEXT | 0x10, b"x"),
        frame(0x83, b"x"),
        frame(0x8B, b"x"),
        frame(0x80, b"x"),  # continues nothing
        frame(0x01, b"x") + frame(TEXT, b"x"),
        frame(0x09),  # a ping in fragments
        frame(PING, b"x" * 126),
        frame(CLOSE, b"x"),
        *(frame(CLOSE, struct.pack("!H", code)) for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_535)),
        b"\x81\xfe\x00\x01maskx",  # not the shortest form of a length
        b"\x81\xff\x00\x00\x00\x00\x00\x00\xff\xffmaskx",
        b"\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00mask",
    ],
)
def test_breach_of_the_protocol_is_a_1002(session, app, data):
    connection = session(app.path("events"))
    connection.send(frame(TEXT, b"before") + data + frame(TEXT, b"behind"))
    assert connection.read_close()[0] == 1002
    assert connection.is_closed()
    notes = app.noted(4)
    assert notes[1]["text"] == "before"
    assert [(note["type"], note["code"]) for note in notes[2:]] == [("websocket.disconnect", 1002)] * 2


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (frame(TEXT, b"\xff"), []),
        (frame(TEXT, b"\xed\xa0\x80"), []),  # a surrogate
        (frame(TEXT, "é".encode()[:1]), []),
        (frame(0x01, b"\xc3") + frame(0x00, b"\x28"), []),  # at once, though the message has not ended
        (frame(TEXT, b"x\xff" + b"x" * 1000)[:20], []),  # at once, though the frame has not
        (frame(CLOSE, b"\x03\xe8\xff"), []),
        (frame(BINARY | COMPRESSED, b"\xff\xff\xff"), DEFLATE),
        (frame(0x02 | COMPRESSED, b"\xff") + frame(0x80, b"\xff\xff"), DEFLATE),
    ],
    ids=["octet", "surrogate", "end", "fragment", "part", "reason", "deflate", "deflate fragments"],
)
def test_payload_that_is_not_what_it_says_is_a_1007(session, app, data, fields):
    connection = session(app.path("events"), fields)
    connection.send(data)
    assert connection.read_close()[0] == 1007
    assert connection.is_closed()
    assert app.noted(2)[1]["code"] == 1007


def test_peer_that_goes_on_sending_still_reads_why_it_was_closed(session, app):
    """Its data must not make the kernel reset the connection, and take the Close from it."""
    connection = session(app.path("events"))
    connection.send(frame(TEXT, b"x", mask=None))
    for _ in range(50):
        connection.send(frame(BINARY, b"x" * 10_000))
    assert connection.read_close()[0] == 1002
    assert connection.is_closed()


def test_fault_behind_a_close_of_ours_ends_the_session_without_another(websocket, session, app):
    connection = session(app.script(OPEN, CLOSING, "receive"))
    assert connection.read_close() == (1000, "")
    connection.send(frame(TEXT, b"x", mask=None))
    assert connection.is_closed()
    client = websocket(app.path("echo"))  # and all is well
    client.send("x")
    assert client.recv(timeout=5) == "x"
    client.close(3000, "é")
    with pytest.raises(ConnectionClosed):
        client.recv(timeout=5)
