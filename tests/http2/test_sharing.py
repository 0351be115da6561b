"""What streams share, and must not take from each other: the connection's windows, its turns, its end.

RFC 9113 sections 5.2 and 6.9; the contract's "streams run side by side".
"""

from __future__ import annotations

import pytest

from tests.support.h2_connection import ConnectionEnded
from tests.support.h2_frames import (
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_WINDOW,
    RST_STREAM,
    SETTINGS,
    Code,
    Setting,
    data_frame,
    field_block,
    frame,
    goaway_frame,
    headers_frame,
    request_block,
    rst_frame,
    window_frame,
)


def is_data(frame):
    return frame.kind == DATA


def set_initial_window(connection, size):
    connection.change_settings((Setting.INITIAL_WINDOW_SIZE, size))
    connection.wait_for(lambda frame: frame.kind == SETTINGS, "SETTINGS acknowledged")


def data_until_the_window_is_used(connection):
    """The DATA frames that came, until the connection's window was used up."""
    frames = []
    while connection.receive_window > 0 or any(map(is_data, connection.inbox)):
        frames.append(connection.wait_for(is_data, "DATA"))
    return frames


def fill(connection, stream):
    """Use up the window of a stream, as far as the connection's allows."""
    while (room := min(connection.send_window, connection.send_windows[stream], 16_384)) > 0:
        connection.send_data(stream, bytes(room))
        connection.expect_alive()


# The connection's window for responses


@pytest.fixture
def narrow(h2):
    """A connection that only its own window holds up, and gives nothing back by itself."""
    set_initial_window(h2, MAX_WINDOW)
    h2.grants = False
    return h2


def test_downloads_share_the_connections_window(narrow):
    """Many clients leave that at 65,535 octets: each lot is for all that wait."""
    streams = [narrow.request("/large/x?200000") for _ in range(3)]
    for stream in streams:
        assert narrow.read_head(stream).status == 200  # from here on all of them wait
    came = dict.fromkeys(streams, 0)
    for _ in range(5):
        for seen in data_until_the_window_is_used(narrow):
            came[seen.stream] += len(seen.payload)
        narrow.grant(0, DEFAULT_WINDOW)
    assert min(came.values()) > max(came.values()) / 3, came


def test_small_answer_shares_the_connections_window_with_downloads(narrow):
    for _ in range(3):
        narrow.request("/large/x?2000000")
    data_until_the_window_is_used(narrow)
    small = narrow.request("/hello/x")
    assert narrow.read_head(small).status == 200
    narrow.grant(0, DEFAULT_WINDOW)
    assert narrow.read_part(small) == b"hello"


def test_streams_that_were_reset_while_they_waited_take_no_part(narrow):
    kept = narrow.request("/large/x?100000")
    data_until_the_window_is_used(narrow)
    others = [narrow.request("/large/x?100000") for _ in range(5)]
    narrow.send(*map(rst_frame, others))
    narrow.expect_alive()
    narrow.inbox.clear()
    narrow.grant(0, 34_465)
    total = 0
    while total < 34_465:
        seen = narrow.wait_for(is_data, "DATA")
        assert seen.stream == kept
        total += len(seen.payload)
    assert seen.ends_stream


def test_responses_without_content_need_no_window_of_the_connection(narrow, app):
    narrow.request("/large/x?100000")
    data_until_the_window_is_used(narrow)
    assert narrow.expect_response(narrow.request(app.path("hello"), method=b"HEAD")).status == 200
    assert narrow.expect_response(narrow.request("/large/x?0")).body == b""


# The connection's window for requests


def test_uploads_that_nobody_takes_leave_the_window_to_others(h2, app):
    """As long as they do not hold all of it: what others give back is not kept in the meantime."""
    room = h2.send_windows[h2.request(app.path("slow_answer"), method=b"POST", end=False)]
    for _ in range(h2.send_window // room - 1):
        held = h2.request(app.path("slow_answer"), method=b"POST", end=False)
        fill(h2, held)
    body = bytes(range(256)) * 8000
    stream = h2.request("/echo/x", method=b"POST", end=False)
    h2.send_body(stream, body)
    assert h2.expect_response(stream).body == body


def test_upload_that_is_reset_gives_its_window_back(h2, app):
    total = 0
    while total < 3_000_000:
        stream = h2.request(app.path("slow_answer"), method=b"POST", end=False)
        size = h2.send_windows[stream]
        while size > 0:
            part = min(size, 16_384)
            h2.wait_for_room(stream, part)
            h2.send_data(stream, bytes(part))
            size -= part
            total += part
        h2.send(rst_frame(stream))
        h2.inbox.clear()
    h2.expect_served()


def test_body_behind_an_answer_is_asked_to_stay_away(h2):
    """Section 8.1: with NO_ERROR, and not before the answer is whole; a little of it is read and thrown away."""
    stream = h2.request("/hello/x", method=b"POST", end=False)
    assert h2.expect_response(stream).body == b"hello"
    sent = 0
    while not [seen for seen in h2.inbox if seen.kind == RST_STREAM]:
        part = min(h2.send_window, h2.send_windows[stream], 16_384)
        assert part > 0, "the client is neither stopped nor read from"
        h2.send_data(stream, bytes(part))
        h2.expect_alive()
        sent += part
        assert sent < 2_000_000
    (reset,) = [seen for seen in h2.inbox if seen.kind == RST_STREAM]
    assert reset.number == Code.NO_ERROR
    h2.expect_served()


# Ends


def test_whole_requests_are_answered_when_the_client_closes_its_side(h2):
    """More of them than fit in a turn, and the FIN right behind."""
    streams = [h2.new_stream() for _ in range(90)]
    noise = window_frame(0, 1) * 300
    h2.send(noise, *(headers_frame(stream, request_block()) for stream in streams))
    h2.granted(0, 300)
    h2.socket.shutdown(1)
    for stream in streams:
        assert h2.expect_response(stream).body == b"hello"
    h2.expect_closed()


def test_body_is_whole_when_the_client_closes_its_side(h2, app):
    stream = h2.request(app.path("reads_when_released"), method=b"POST", end=False)
    app.noted(1)
    h2.send_body(stream, bytes(200_000))
    h2.socket.shutdown(1)
    app.release()
    assert h2.expect_response(stream).body == b"200000"


def test_request_behind_a_goaway_is_served_or_was_not_named(h2, app):
    """A client that leaves, and asks once more in the same breath."""
    stream = h2.new_stream()
    h2.send(goaway_frame(), headers_frame(stream, request_block(app.path("hello"))))
    h2.inbox.clear()
    seen = []
    try:
        while not seen:
            seen.append(h2.next_on(stream))
    except ConnectionEnded:
        assert "called" not in app.noted()
    else:
        assert seen[0].kind == HEADERS


# Heads at the edge of a frame


def test_head_of_a_response_as_large_as_a_frame(h2):
    """The client sees to it that none is larger, and that it is in one piece."""
    frames = set()
    for size in range(16_240, 16_420, 4):
        stream = h2.request(f"/large_head/x?1,{size}")
        head = h2.next_on(stream)
        assert dict(head.fields)[b"x-0"] == b"v" * size
        frames.add(head.frames)
        assert h2.read_part(stream) == b"end"
    assert frames == {1, 2}


@pytest.mark.parametrize("table", [0, 4096], ids=["no table", "table"])
def test_head_of_a_response_behind_a_change_of_the_table(h2, table):
    for size in range(16_240, 16_420, 20):
        h2.change_settings((Setting.HEADER_TABLE_SIZE, 0), (Setting.HEADER_TABLE_SIZE, table))
        stream = h2.request(f"/large_head/x?1,{size}")
        assert h2.expect_response(stream).get(b"x-0") == b"v" * size


# Answers to requests that are refused


@pytest.mark.parametrize(
    ("target", "fields", "status"),
    [("/hello/" + "x" * 20_000, [], 414), ("/hello/x", [(b"x%d" % number, b"y") for number in range(200)], 431)],
    ids=["414", "431"],
)
def test_refusal_of_a_head_request_has_no_content(h2, target, fields, status):
    block = request_block(target, fields, method=b"HEAD")
    stream = h2.new_stream()
    h2.send(frame(HEADERS, END_STREAM, stream, block[:16_000]), frame(0x9, END_HEADERS, stream, block[16_000:]))
    response = h2.expect_response(stream)
    assert (response.status, response.body) == (status, b"")
    h2.expect_served()


def test_fields_before_the_pseudo_fields_are_malformed_whatever_they_are(h2):
    """Also those that are dropped for their names."""
    own = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/hello/x"), (b":authority", b"testserver")]
    h2.expect_malformed(h2.request_with([(b"x_y", b"1"), *own]))
    h2.expect_malformed(h2.request_with([*own[:2], (b"x_y", b"1"), *own[2:]]))


def test_trailers_have_limits_too(h2, app):
    """As heads, and as trailers of HTTP/1.1: a reset of the stream, or 431."""
    stream = h2.request(app.path("events"), method=b"POST", end=False)
    trailers = field_block([(b"x%d" % number, b"y") for number in range(1000)])
    h2.send(data_frame(stream, b"x"), headers_frame(stream, trailers))
    seen = h2.next_on(stream)
    assert seen.kind == RST_STREAM or dict(seen.fields)[b":status"] == b"431"
    assert app.noted(2)[-1] == {"type": "http.disconnect"}
    h2.expect_served()
