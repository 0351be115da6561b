"""RFC 9113 sections 5.1 and 5.4: what may be sent in which state of a stream, identifiers, concurrency, errors."""

from __future__ import annotations

import pytest

from tests.support.h2_frames import (
    CONTINUATION,
    RST_STREAM,
    UNKNOWN,
    Code,
    Setting,
    continuation_frame,
    data_frame,
    dependency,
    frame,
    headers_frame,
    priority_frame,
    push_frame,
    request_block,
    rst_frame,
    window_frame,
)

STREAM_ERROR = (Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)
EMPTY_BLOCK = b""


# Section 5.1: idle


@pytest.mark.parametrize("stream", [1, 2, 2**31 - 1], ids=["client's", "server's", "the last"])
@pytest.mark.parametrize(
    "make",
    [
        lambda stream: data_frame(stream, b"x"),
        lambda stream: rst_frame(stream),
        lambda stream: window_frame(stream, 100),
        lambda stream: continuation_frame(stream, request_block()),
        lambda stream: push_frame(stream, 2, request_block()),
    ],
    ids=["DATA", "RST_STREAM", "WINDOW_UPDATE", "CONTINUATION", "PUSH_PROMISE"],
)
def test_frame_on_an_idle_stream(h2, make, stream):
    h2.send(make(stream))
    h2.expect_goaway(Code.PROTOCOL_ERROR)


def test_idle_stream_above_the_last_one(h2):
    h2.expect_served()
    h2.send(data_frame(99, b"x"))
    h2.expect_goaway(Code.PROTOCOL_ERROR)


def test_priority_on_an_idle_stream_opens_nothing(h2):
    h2.send(priority_frame(9, depends_on=7))
    h2.expect_alive()
    h2.expect_served()  # on stream 1, which is no lower than any opened


# Section 5.1: open


def test_priority_within_an_open_stream(h2):
    stream = h2.request("/echo/x", method=b"POST", end=False)
    h2.send(priority_frame(stream, depends_on=3))
    h2.send_body(stream, b"body")
    assert h2.expect_response(stream).body == b"body"


def test_reset_of_an_open_stream(h2, app):
    stream = h2.request(app.path("events"), method=b"POST", end=False)
    h2.send(data_frame(stream, b"part"), rst_frame(stream, Code.CANCEL))
    h2.expect_ignored(stream)
    assert app.noted(2)[-1] == {"type": "http.disconnect"}


# Section 5.1: half-closed (remote)


@pytest.mark.parametrize(
    "make",
    [
        lambda stream: data_frame(stream, b"more"),
        lambda stream: data_frame(stream, end=True),
        lambda stream: headers_frame(stream, request_block()),
        lambda stream: headers_frame(stream, EMPTY_BLOCK),
    ],
    ids=["DATA", "empty DATA", "HEADERS", "trailers"],
)
def test_frame_on_a_half_closed_stream(h2, app, make):
    stream = h2.request(app.path("slow_answer"))
    app.noted(1)
    h2.send(make(stream))
    h2.expect_rst(stream, Code.STREAM_CLOSED, or_goaway=[Code.STREAM_CLOSED])


def test_continuation_on_a_half_closed_stream(h2):
    stream = h2.request("/slow_answer/x")
    h2.send(continuation_frame(stream, request_block()))
    h2.expect_goaway(Code.PROTOCOL_ERROR, Code.STREAM_CLOSED)


def test_window_update_and_priority_on_a_half_closed_stream(h2, app):
    stream = h2.request(app.path("slow_answer", "late"))
    h2.grant(stream, 100)
    h2.send(priority_frame(stream, depends_on=0), frame(UNKNOWN, 0, stream, b"x"))
    h2.expect_alive()
    app.release()
    assert h2.expect_response(stream).body == b"late"


def test_reset_of_a_half_closed_stream(h2, app):
    stream = h2.request(app.path("until_disconnect"))
    app.noted(1)
    h2.send(rst_frame(stream, Code.CANCEL))
    app.noted(4)
    h2.expect_ignored(stream)
    h2.expect_served()


# Section 5.1: closed


@pytest.fixture(params=["END_STREAM", "reset by the client", "reset by the server", "never used"])
def closed(request, h2, app):
    """A stream that is closed, and how it came to be."""
    if request.param == "END_STREAM":
        stream = h2.request()
        h2.expect_response(stream)
    elif request.param == "reset by the client":
        stream = h2.request(app.path("until_disconnect"), method=b"POST", end=False)
        h2.send(rst_frame(stream))
        app.noted(4)
    elif request.param == "reset by the server":
        stream = h2.request(fields=[(b"UPPER", b"case")], method=b"POST", end=False)
        h2.expect_malformed(stream)
    else:
        stream = h2.new_stream()
        h2.expect_served()
    h2.inbox.clear()
    return stream


def test_data_on_a_closed_stream(h2, closed):
    h2.send(data_frame(closed, b"late", end=True))
    h2.expect_tolerated(closed, *STREAM_ERROR)


def test_head_on_a_closed_stream_is_no_second_request(h2, app, closed):
    before = app.noted().count("called")
    h2.send(headers_frame(closed, request_block(app.path("hello"))))
    h2.expect_tolerated(closed, *STREAM_ERROR)
    assert app.noted().count("called") == before


def test_continuation_on_a_closed_stream(h2, closed):
    h2.send(frame(CONTINUATION, 0x04, closed, request_block()))
    h2.expect_goaway(*STREAM_ERROR)


@pytest.mark.parametrize(
    "make", [lambda stream: rst_frame(stream), lambda stream: window_frame(stream, 1)], ids=["RST_STREAM", "WINDOW"]
)
@pytest.mark.parametrize("closed", ["END_STREAM", "reset by the server"], indirect=True)
def test_frame_that_may_have_crossed_the_one_that_closed_a_stream(h2, closed, make):
    h2.send(make(closed))
    h2.expect_ignored(closed)
    h2.expect_served()


@pytest.mark.parametrize(
    "make", [lambda stream: rst_frame(stream), lambda stream: window_frame(stream, 1)], ids=["RST_STREAM", "WINDOW"]
)
@pytest.mark.parametrize("closed", ["reset by the client", "never used"], indirect=True)
def test_frame_on_a_stream_that_the_client_has_closed(h2, closed, make):
    h2.send(make(closed))
    h2.expect_tolerated(closed, *STREAM_ERROR)


def test_priority_on_a_closed_stream(h2, closed):
    h2.send(priority_frame(closed, depends_on=0))
    h2.expect_ignored(closed)
    h2.expect_served()


def test_trailers_on_a_stream_that_was_reset_keep_the_tables_alike(h2):
    """Section 5.1: what is discarded still changes the state of the compression."""
    stream = h2.request(fields=[(b"UPPER", b"case")], method=b"POST", end=False)
    h2.send(headers_frame(stream, b"\x40\x03x-a\x03abc"))
    h2.expect_rst(stream, Code.PROTOCOL_ERROR)
    again = h2.request_block(request_block("/scope_of/x") + bytes((0x80 | 62,)))
    assert b"(b'x-a', b'abc')" in h2.expect_response(again).body


# Section 5.1.1: identifiers


@pytest.mark.parametrize("stream", [2, 100, 2**31 - 2])
def test_even_identifier(h2, stream):
    h2.send(headers_frame(h2.opened(stream), request_block()))
    h2.expect_goaway(Code.PROTOCOL_ERROR)


def test_identifier_lower_than_one_before(h2):
    h2.send(headers_frame(h2.opened(5), request_block()))
    assert h2.expect_response(5).status == 200
    h2.send(headers_frame(3, request_block()))
    h2.expect_goaway(*STREAM_ERROR)


def test_identifiers_may_leave_gaps(h2):
    for stream in (3, 9, 1001, 2**31 - 1):
        h2.send(headers_frame(h2.opened(stream), request_block()))
        assert h2.expect_response(stream).body == b"hello"


# Section 5.1.2: concurrency


def test_more_streams_at_once_than_announced(h2, app):
    """One stream too many is refused and may be tried again; the others know nothing of it."""
    limit = h2.server_settings[Setting.MAX_CONCURRENT_STREAMS]
    assert 100 <= limit <= 1000  # section 6.5.2 recommends no fewer
    streams = [h2.request(app.path("slow_answer", "late")) for _ in range(limit)]
    h2.expect_rst(h2.request(app.path("slow_answer")), Code.REFUSED_STREAM, Code.PROTOCOL_ERROR)
    assert app.noted(limit).count("called") == limit
    app.release()
    for stream in streams:
        assert h2.expect_response(stream).body == b"late"
    h2.expect_served()


@pytest.mark.parametrize("end", ["response", "reset"])
def test_streams_that_end_make_room_for_others(h2, app, end):
    for _ in range(3):
        streams = []
        for _ in range(h2.server_settings[Setting.MAX_CONCURRENT_STREAMS] // 2):
            if end == "response":
                streams.append(h2.request())
            else:
                h2.send(rst_frame(h2.request(app.path("slow_answer"))))
        for stream in streams:
            assert h2.expect_response(stream).status == 200
    h2.expect_served()


def test_refused_stream_keeps_the_tables_alike(h2, app):
    limit = h2.server_settings[Setting.MAX_CONCURRENT_STREAMS]
    streams = [h2.request(app.path("slow_answer")) for _ in range(limit)]
    refused = h2.request_block(request_block(app.path("slow_answer")) + b"\x40\x03x-a\x03abc")
    h2.expect_rst(refused, Code.REFUSED_STREAM, Code.PROTOCOL_ERROR)
    app.release()
    for stream in streams:
        h2.expect_response(stream)
    again = h2.request_block(request_block(app.path("scope_of")) + bytes((0x80 | 62,)))
    assert b"(b'x-a', b'abc')" in h2.expect_response(again).body


# Section 5.3: priority is a thing of the past (5.3.2), and noise in it is none of ours


def test_stream_that_depends_on_itself(h2):
    h2.send(priority_frame(1, depends_on=1))
    stream = h2.new_stream()
    h2.send(headers_frame(stream, request_block(), priority=dependency(stream, exclusive=True)))
    assert h2.expect_response(stream).body == b"hello"


def test_streams_that_depend_on_each_other(h2):
    h2.send(priority_frame(1, 3), priority_frame(3, 5), priority_frame(5, 1), priority_frame(2, 4))
    h2.expect_served()


# Section 5.4: errors


def test_error_of_a_connection_tells_the_last_stream_and_ends_all(h2, app):
    h2.expect_served()
    stream = h2.request(app.path("until_disconnect"))
    app.noted(1)
    h2.send(frame(0x06, 0, 1, b"12345678"))
    assert h2.expect_goaway(Code.PROTOCOL_ERROR) == stream
    assert app.noted(3)[2] == "http.disconnect"


def test_error_of_a_stream_leaves_others_alone(h2, app):
    running = h2.request(app.path("slow_answer", "late"))
    broken = h2.request(fields=[(b"UPPER", b"case")])
    h2.expect_malformed(broken)
    app.release()
    assert h2.expect_response(running).body == b"late"


def test_reset_is_never_answered_by_a_reset(h2):
    """Section 5.4.2; whatever state the stream is in."""
    open_stream = h2.request("/slow_answer/x", method=b"POST", end=False)
    done = h2.request()
    h2.expect_response(done)
    for stream in (open_stream, done):
        h2.send(rst_frame(stream, Code.STREAM_CLOSED), rst_frame(stream, Code.STREAM_CLOSED))
    h2.expect_alive()
    assert not [seen for seen in h2.inbox if seen.kind == RST_STREAM]


@pytest.mark.parametrize("code", [Code.HTTP_1_1_REQUIRED, 0xBA, 2**32 - 1])
def test_reset_with_any_code(h2, app, code):
    """Section 7: an unknown code has no meaning of its own."""
    stream = h2.request(app.path("until_disconnect"))
    app.noted(1)
    h2.send(rst_frame(stream, code))
    app.noted(4)
    h2.expect_served()
