"""RFC 8441: WebSockets on streams, among other streams; what they carry is in tests/contract."""

from __future__ import annotations

import ast
import zlib

import pytest

from tests.support.h2_frames import RST_STREAM, Code, Setting, request_fields, rst_frame
from tests.support.h2_websocket import StreamSession, connect_fields
from tests.support.ws_client import BINARY, COMPRESSED, PING, PONG, TEXT, close_frame, frame

OPEN = {"type": "websocket.accept"}


@pytest.fixture
def session(h2):
    """Open a WebSocket on the connection."""

    def opened(target, fields=()):
        made = StreamSession(h2, target, fields)
        made.opened()
        return made

    return opened


def text(session):
    first, payload = session.read_frame()
    assert first == TEXT
    return payload.decode()


# Section 3: the setting


def test_server_says_that_it_takes_websockets(h2):
    assert h2.server_settings[Setting.ENABLE_CONNECT_PROTOCOL] == 1


# Section 4: the extended CONNECT


@pytest.mark.parametrize("name", [b":scheme", b":path", b":authority"])
def test_extended_connect_without_a_pseudo_field(h2, name):
    fields = [field for field in connect_fields("/echo/x") if field[0] != name]
    h2.expect_refused(h2.request_with(fields, end=False))


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_protocol_is_for_connect_only(h2, method):
    fields = [*request_fields("/hello/x", method=method), (b"sec-websocket-version", b"13")]
    h2.expect_malformed(h2.request_with([(b":protocol", b"websocket"), *fields]))


def test_protocol_twice(h2):
    h2.expect_malformed(h2.request_with([(b":protocol", b"websocket"), *connect_fields("/echo/x")], end=False))


@pytest.mark.parametrize("protocol", [b"connect-udp", b"h2c", b""])
def test_protocol_that_is_not_offered(h2, protocol):
    """RFC 9220 section 3 has 501 for it."""
    stream = h2.request_with(connect_fields("/echo/x", protocol=protocol), end=False)
    seen = h2.next_on(stream)
    if seen.kind == RST_STREAM:
        assert seen.number == Code.PROTOCOL_ERROR
    else:
        assert seen.fields[0] in ((b":status", b"400"), (b":status", b"501"))
    h2.expect_served()


@pytest.mark.parametrize("version", [None, b"8", b"14"])
def test_version_that_is_not_13(h2, app, version):
    """Contract, section 2: as over HTTP/1.1."""
    stream = h2.request_with(connect_fields(app.path("echo"), version=version), end=False)
    response = h2.expect_response(stream)
    assert response.status == 426 if version else response.status in (400, 426)
    if response.status == 426:
        assert response.get(b"sec-websocket-version") == b"13"
    h2.expect_served()


@pytest.mark.parametrize("name", [b"connection", b"upgrade"])
def test_fields_of_the_upgrade_are_malformed(h2, name):
    fields = connect_fields("/echo/x", [(name, b"websocket" if name == b"upgrade" else b"Upgrade")])
    h2.expect_malformed(h2.request_with(fields, end=False))


# Section 5: a session


def test_answer_has_no_field_of_http_1(h2, app):
    made = StreamSession(h2, app.path("echo"))
    response = made.opened()
    for name in (b"sec-websocket-accept", b"sec-websocket-protocol", b"content-length", b"upgrade", b"connection"):
        assert response.all(name) == []
    assert response.get(b"server") == b"daphne"


def test_subprotocol_and_headers_of_the_answer(h2, app):
    accept = {**OPEN, "subprotocol": "chat", "headers": [(b"x-a", b"1"), (b"set-cookie", b"a=b")]}
    fields = [(b"sec-websocket-protocol", b"other, chat")]
    response = StreamSession(h2, app.script(accept, "receive", "receive"), fields).opened()
    assert response.get(b"sec-websocket-protocol") == b"chat"
    assert (response.get(b"x-a"), response.get(b"set-cookie")) == (b"1", b"a=b")


def test_scope_of_a_session(session, h2):
    fields = [(b"sec-websocket-protocol", b"a, b"), (b"origin", b"http://o"), (b"cookie", b"a=1"), (b"cookie", b"b=2")]
    scope = ast.literal_eval(text(session("/scope_of/x/caf%C3%A9?q", fields)))
    assert scope["type"] == "websocket"
    assert (scope["http_version"], scope["scheme"]) == ("2", "ws")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (
        "/scope_of/x/café",
        b"/scope_of/x/caf%C3%A9",
        b"q",
    )
    assert scope["subprotocols"] == ["a", "b"]
    assert scope["headers"][0] == (b"host", b"testserver")
    assert (b"cookie", b"a=1; b=2") in scope["headers"]
    assert not [name for name, _ in scope["headers"] if name.startswith(b":")]
    assert scope["client"] == list(h2.socket.getsockname())


@pytest.mark.parametrize("size", [0, 1, 125, 126, 16_384, 65_536, 300_000])
def test_messages_of_any_size(session, h2, size):
    made = session("/echo/x")
    h2.send_body(made.stream, frame(BINARY, bytes(size)), end=False)
    assert made.read_frame() == (BINARY, bytes(size))


def test_frames_need_not_be_those_of_http_2(session, h2):
    """A frame in many DATA frames, and many in one; padding is no part of them."""
    made = session("/echo/x")
    for octet in frame(TEXT, b"apart"):
        h2.send_data(made.stream, bytes((octet,)), padding=octet % 3)
    assert text(made) == "apart"
    made.send(frame(TEXT, b"one"), frame(PING, b"ping"), frame(0x01, b"t"), frame(0x80, b"wo"))
    got = [made.read_frame() for _ in range(3)]
    assert sorted(got) == sorted([(TEXT, b"one"), (PONG, b"ping"), (TEXT, b"two")])


def test_sessions_and_requests_side_by_side(session, h2, app):
    sessions = [session("/echo/x") for _ in range(10)]
    late = h2.request(app.path("slow_answer", "late"))
    for turn in range(10):
        for number, made in enumerate(sessions):
            made.send(frame(TEXT, b"%d-%d" % (turn, number)))
        h2.expect_served()
        for number, made in enumerate(sessions):
            assert text(made) == f"{turn}-{number}"
    app.release()
    assert h2.expect_response(late).body == b"late"


def test_messages_are_compressed_where_the_client_offers_it(h2):
    made = StreamSession(h2, "/echo/x", [(b"sec-websocket-extensions", b"permessage-deflate")])
    assert made.opened().get(b"sec-websocket-extensions").startswith(b"permessage-deflate")
    compressor = zlib.compressobj(wbits=-15)
    payload = compressor.compress(b"x" * 10_000) + compressor.flush(zlib.Z_SYNC_FLUSH)[:-4]
    made.send(frame(TEXT | COMPRESSED, payload))
    first, answer = made.read_frame()
    if first & COMPRESSED:
        answer = zlib.decompressobj(wbits=-15).decompress(answer + b"\x00\x00\xff\xff")
    assert answer == b"x" * 10_000


# Instead of a session


def test_close_before_accept_is_403(h2, app):
    steps = ["receive", {"type": "websocket.close"}, "receive"]
    assert h2.expect_response(StreamSession(h2, app.script(*steps)).stream).status == 403
    assert app.noted(3)[2] == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
    h2.expect_served()


def test_crash_before_accept_is_500(h2, app):
    assert h2.expect_response(StreamSession(h2, app.script("fail")).stream).status == 500
    h2.expect_served()


def test_denial_is_any_response(h2, app):
    start = {"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-why", b"no")]}
    body = {"type": "websocket.http.response.body", "body": b"denied"}
    response = h2.expect_response(StreamSession(h2, app.script(start, body)).stream)
    assert (response.status, response.get(b"x-why"), response.body) == (401, b"no", b"denied")
    h2.expect_served()


# Section 5: the end of a session is the end of the stream


def test_client_closes(session, h2, app):
    made = session(app.path("echo"))
    made.send(close_frame(3001, "bye"))
    assert made.read_close() == (3001, "bye")
    made.expect_end()
    assert app.noted(1) == [{"type": "websocket.disconnect", "code": 3001, "reason": "bye"}]
    h2.expect_served()


def test_application_closes(session, h2, app):
    made = session(app.script(OPEN, {"type": "websocket.close", "code": 4001, "reason": "no"}, "receive", "receive"))
    assert made.read_close() == (4001, "no")
    made.send(close_frame(4001, "no"), end=True)
    made.expect_end()
    assert app.noted(4)[3]["type"] == "websocket.disconnect"
    h2.expect_served()


def test_application_crashes(session, h2, app):
    made = session(app.script(OPEN, "fail"))
    assert made.read_close()[0] == 1011
    h2.expect_served()


def test_frame_that_breaks_the_protocol_ends_this_session_only(session, h2):
    other, broken = session("/echo/x"), session("/echo/x")
    broken.send(frame(TEXT, b"not masked", mask=None))
    assert broken.read_close()[0] == 1002
    other.send(frame(TEXT, b"here"))
    assert text(other) == "here"


def test_reset_by_the_client_is_a_disconnect(session, h2, app):
    """Section 5: like a reset of TCP."""
    made = session(app.path("echo"))
    h2.send(rst_frame(made.stream, Code.CANCEL))
    assert app.noted(1) == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]
    h2.expect_ignored(made.stream)
    h2.expect_served()


def test_end_of_the_stream_without_a_close_is_a_disconnect(session, h2, app):
    """Section 5: like a FIN of TCP."""
    made = session(app.path("echo"))
    made.send(end=True)
    assert app.noted(1) == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]
    h2.expect_served()


def test_reset_during_the_handshake_is_a_disconnect(h2, app):
    made = StreamSession(h2, app.script("receive", "wait", "receive"))
    app.noted(2)
    h2.send(rst_frame(made.stream, Code.CANCEL))
    app.release()
    assert app.noted(3)[2] == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
    h2.expect_served()


def test_connection_that_is_lost_is_a_disconnect_for_each_session(session, h2, app):
    for _ in range(3):
        session(app.path("echo"))
    h2.reset()
    assert app.noted(3) == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}] * 3


def test_message_too_large_is_1009(session, h2):
    made = session("/echo/x")
    h2.send_body(made.stream, frame(BINARY, bytes(1_100_000))[:1_048_600], end=False)
    assert made.read_close()[0] == 1009
    h2.expect_served()


# Flow control


def test_client_that_gives_no_window_holds_the_application(session, h2, app):
    h2.grants = False
    h2.grant(0, 1_000_000)
    made = session(app.path("torrent", 1000))
    assert app.noted(1)[0][0] == "blocked"
    h2.expect_served()
    assert len(app.noted()) == 1
    h2.send(rst_frame(made.stream))
    assert app.noted(2)[1][0] == "cut"


def test_application_that_does_not_receive_holds_the_client(session, h2, app):
    made = session(app.path("deaf"))
    message, sent = frame(BINARY, bytes(1000)), 0
    while min(h2.send_window, h2.send_windows[made.stream]) >= len(message):
        h2.send_data(made.stream, message)
        sent += 1
        if not sent % 50:
            h2.expect_alive()
        assert sent < 4000, "nothing holds the client"
    h2.expect_served()
    app.release()
    h2.wait_for_room(made.stream, len(message))
    h2.send_data(made.stream, close_frame(1000), end=True)
    assert app.noted(2)[1][:2] == [sent, sent * 1000]
