"""RFC 9113 sections 5.2 and 6.9: flow control both ways, up to the very octet.

That the server sends no octet too many is what `H2Connection` looks at in every test; here it is made to come close.
"""

from __future__ import annotations

import pytest

from tests.support.h2_frames import (
    DATA,
    DEFAULT_FRAME_SIZE,
    DEFAULT_WINDOW,
    MAX_WINDOW,
    SETTINGS,
    Code,
    Setting,
    data_frame,
    rst_frame,
    settings_frame,
    window_frame,
)

FLOW_CONTROL = [Code.FLOW_CONTROL_ERROR]
BODY = bytes(range(256)) * 1024  # 256 KiB in which each octet has its place


@pytest.fixture
def by_hand(h2):
    """A connection that gives no window back by itself."""
    h2.grants = False
    return h2


def read_octets(connection, stream, count):
    """Exactly so many octets of a body, in whatever frames, and not one more."""
    octets = b""
    while len(octets) < count:
        octets += connection.read_part(stream)
    connection.expect_alive()
    more = [frame for frame in connection.inbox if frame.stream == stream and frame.payload and is_data(frame)]
    assert not more
    assert len(octets) == count
    return octets


def is_data(frame):
    return frame.kind == DATA


def set_initial_window(connection, size):
    connection.change_settings((Setting.INITIAL_WINDOW_SIZE, size))
    connection.wait_for(lambda frame: frame.kind == SETTINGS, "SETTINGS acknowledged")


# What the server sends: section 6.9.1


def test_response_stops_at_the_window_of_the_stream(by_hand):
    by_hand.grant(0, 1_000_000)
    stream = by_hand.request("/large/x?100000")
    assert by_hand.read_head(stream).status == 200
    assert len(read_octets(by_hand, stream, DEFAULT_WINDOW)) == DEFAULT_WINDOW
    by_hand.grant(stream, 1)
    assert read_octets(by_hand, stream, 1) == b"x"
    by_hand.grant(stream, 1_000_000)
    assert len(by_hand.read_part(stream)) > 0


def test_responses_stop_at_the_window_of_the_connection(by_hand):
    set_initial_window(by_hand, 1_000_000)
    streams = [by_hand.request("/large/x?50000") for _ in range(2)]
    frames = []
    while by_hand.receive_window > 0 or any(map(is_data, by_hand.inbox)):
        frames.append(by_hand.wait_for(is_data, "DATA"))
    by_hand.expect_alive()
    assert not any(map(is_data, by_hand.inbox))
    by_hand.grant(0, 34_465)
    while sum(frame.ends_stream for frame in frames) < 2:
        frames.append(by_hand.wait_for(is_data, "DATA"))
    for stream in streams:
        assert sum(len(frame.payload) for frame in frames if frame.stream == stream) == 50_000


def test_window_opened_in_pieces(by_hand):
    set_initial_window(by_hand, 0)
    stream = by_hand.request("/echo/x", method=b"POST", end=False)
    by_hand.send_body(stream, b"one by one")
    assert by_hand.read_head(stream).status == 200
    by_hand.expect_ignored(stream)
    for octet in b"one by one":
        by_hand.grant(stream, 1)
        assert read_octets(by_hand, stream, 1) == bytes((octet,))
    assert by_hand.read_part(stream) == b""


def test_window_updates_before_there_is_a_response_add_up(by_hand, app):
    set_initial_window(by_hand, 0)
    stream = by_hand.request(app.path("slow_answer", "x" * 20))
    for _ in range(10):
        by_hand.grant(stream, 1)
    app.release()
    assert by_hand.read_head(stream).status == 200
    assert read_octets(by_hand, stream, 10) == b"x" * 10


def test_responses_without_a_body_need_no_window(by_hand, app):
    set_initial_window(by_hand, 0)
    by_hand.send_window, stream = by_hand.send_window, by_hand.request(app.path("hello"), method=b"HEAD")
    assert by_hand.expect_response(stream).body == b""
    stream = by_hand.request(app.path("echo"))
    assert by_hand.expect_response(stream).body == b""


def test_stream_without_a_window_holds_up_no_other(by_hand):
    by_hand.grant(0, 1_000_000)
    held = by_hand.request("/large/x?100000")
    assert by_hand.read_head(held).status == 200
    read_octets(by_hand, held, DEFAULT_WINDOW)
    assert by_hand.expect_response(by_hand.request("/large/x?60000")).body == b"x" * 60_000
    by_hand.grant(held, 34_465)
    assert len(read_octets(by_hand, held, 34_465)) == 34_465


def test_reset_of_a_stream_that_waits_frees_the_application(by_hand, app):
    stream = by_hand.request(app.path("torrent", 1_000_000))
    assert app.noted(1)[0][0] == "blocked"
    by_hand.send(rst_frame(stream))
    assert app.noted(2)[1][0] == "cut"


def test_application_waits_for_the_window(by_hand, app):
    """What is not sent is not piled up either."""
    stream = by_hand.request(app.path("torrent", 100_000_000))
    assert app.noted(1)[0][1] < 1_000_000
    by_hand.expect_alive()
    assert app.noted()[1:] == []
    by_hand.send(rst_frame(stream))


# Section 6.9.2: the initial window changes


def test_larger_initial_window_opens_streams_that_wait(by_hand):
    set_initial_window(by_hand, 1)
    stream = by_hand.request("/large/x?10")
    assert by_hand.read_head(stream).status == 200
    read_octets(by_hand, stream, 1)
    by_hand.change_settings((Setting.INITIAL_WINDOW_SIZE, 4))
    assert read_octets(by_hand, stream, 3) == b"xxx"


@pytest.mark.parametrize(("new", "grant", "more"), [(4, 6, 0), (4, 7, 1), (0, 11, 1), (9, 2, 1), (10, 1, 1)])
def test_smaller_initial_window_makes_windows_negative(by_hand, new, grant, more):
    """All of a window of 10 is used; with a smaller one as much has to be made good before more may come."""
    set_initial_window(by_hand, 10)
    stream = by_hand.request("/large/x?20")
    assert by_hand.read_head(stream).status == 200
    read_octets(by_hand, stream, 10)
    set_initial_window(by_hand, new)
    assert by_hand.receive_windows[stream] == new - 10
    by_hand.grant(stream, grant)
    assert len(read_octets(by_hand, stream, more)) == more
    by_hand.grant(stream, 10 - more + 1)
    assert len(read_octets(by_hand, stream, 10 - more)) == 10 - more


def test_initial_window_is_none_of_the_connections(by_hand):
    """Section 6.9.2: only WINDOW_UPDATE changes that one."""
    set_initial_window(by_hand, 1_000_000)
    stream = by_hand.request("/large/x?100000")
    assert by_hand.read_head(stream).status == 200
    read_octets(by_hand, stream, DEFAULT_WINDOW)
    by_hand.grant(0, 34_465)
    assert len(read_octets(by_hand, stream, 34_465)) == 34_465


def test_initial_window_that_takes_a_window_past_its_end(by_hand):
    stream = by_hand.request("/slow_answer/x")
    by_hand.grant(stream, MAX_WINDOW - DEFAULT_WINDOW)
    by_hand.expect_alive()
    by_hand.send(settings_frame((Setting.INITIAL_WINDOW_SIZE, DEFAULT_WINDOW + 1)))
    by_hand.expect_goaway(Code.FLOW_CONTROL_ERROR)


# Section 6.9.1: windows too large


@pytest.mark.parametrize("increments", [[MAX_WINDOW], [MAX_WINDOW - DEFAULT_WINDOW, 1]], ids=["at once", "by 1"])
def test_window_of_the_connection_too_large(by_hand, increments):
    by_hand.send(*(window_frame(0, increment) for increment in increments))
    by_hand.expect_goaway(Code.FLOW_CONTROL_ERROR)


@pytest.mark.parametrize("increments", [[MAX_WINDOW], [MAX_WINDOW - DEFAULT_WINDOW, 1]], ids=["at once", "by 1"])
def test_window_of_a_stream_too_large(by_hand, increments):
    stream = by_hand.request("/slow_answer/x")
    by_hand.send(*(window_frame(stream, increment) for increment in increments))
    by_hand.expect_rst(stream, Code.FLOW_CONTROL_ERROR)


def test_window_of_a_stream_that_is_waiting_too_large(by_hand, app):
    stream = by_hand.request(app.path("torrent", 1_000_000))
    app.noted(1)
    by_hand.send(window_frame(stream, MAX_WINDOW), window_frame(stream, 1))
    by_hand.granted(stream, MAX_WINDOW)
    by_hand.expect_rst(stream, Code.FLOW_CONTROL_ERROR)
    assert app.noted(2)[1][0] == "cut"


# Section 6.5.2: the size of frames


def test_frames_stay_small_until_the_client_allows_larger_ones(h2):
    set_initial_window(h2, 1_000_000)
    h2.grant(0, 1_000_000)
    assert h2.max_frame_size == DEFAULT_FRAME_SIZE
    assert h2.expect_response(h2.request("/large/x?500000")).body == b"x" * 500_000


@pytest.mark.parametrize("size", [DEFAULT_FRAME_SIZE + 1, 2**24 - 1])
def test_client_that_allows_larger_frames(h2, size):
    h2.change_settings((Setting.MAX_FRAME_SIZE, size), (Setting.INITIAL_WINDOW_SIZE, 1_000_000))
    h2.grant(0, 1_000_000)
    assert h2.expect_response(h2.request("/large/x?500000")).body == b"x" * 500_000


# What the server receives


def test_upload_of_many_windows(h2):
    stream = h2.request("/echo/x", method=b"POST", end=False)
    h2.send_body(stream, BODY * 4)
    assert h2.expect_response(stream).body == BODY * 4


def test_padding_counts_and_is_given_back(h2):
    """Section 6.9.1: all of the frame counts, and so the windows would run dry if any of it were forgotten."""
    stream = h2.request("/echo/x", method=b"POST", end=False)
    total = 3 * max(h2.send_window, h2.send_windows[stream])
    frames = min(total // 1256, 3000)
    for _ in range(frames):
        h2.wait_for_room(stream, 1256)
        h2.send_data(stream, b"x" * 1000, padding=255)
    h2.send_data(stream, b"", end=True)
    assert len(h2.expect_response(stream).body) == frames * 1000


def fill(connection, stream):
    """Use up the window of a stream, and return how many octets that were."""
    sent = 0
    while (room := min(connection.send_window, connection.send_windows[stream], DEFAULT_FRAME_SIZE)) > 0:
        connection.send_data(stream, b"x" * room)
        sent += room
        connection.expect_alive()
    return sent


def test_application_that_does_not_receive_keeps_the_window_closed(h2, app):
    stream = h2.request(app.path("slow_answer", "late"), method=b"POST", end=False)
    app.noted(1)
    sent = fill(h2, stream)
    assert sent < 4_000_000
    assert h2.send_windows[stream] == 0 or h2.send_window == 0
    app.release()
    assert h2.expect_response(stream).body == b"late"


def test_application_that_does_not_receive_holds_up_no_other_upload(h2, app):
    held = h2.request(app.path("slow_answer"), method=b"POST", end=False)
    app.noted(1)
    fill(h2, held)
    stream = h2.request("/echo/x", method=b"POST", end=False)
    h2.send_body(stream, BODY)
    assert h2.expect_response(stream).body == BODY


def test_data_past_the_window_of_a_stream(h2, app):
    stream = h2.request(app.path("slow_answer"), method=b"POST", end=False)
    app.noted(1)
    fill(h2, stream)
    h2.send(data_frame(stream, b"x"))
    h2.expect_rst(stream, Code.FLOW_CONTROL_ERROR, or_goaway=FLOW_CONTROL)


def test_empty_data_needs_no_window(h2, app):
    stream = h2.request(app.path("slow_answer", "late"), method=b"POST", end=False)
    app.noted(1)
    fill(h2, stream)
    h2.send(data_frame(stream, end=True))
    h2.expect_ignored(stream)
    app.release()
    assert h2.expect_response(stream).body == b"late"


@pytest.mark.parametrize("kind", ["answered", "refused", "reset", "crashed"])
def test_data_for_nobody_is_given_back_to_the_connection(h2, app, kind):
    """Sections 5.1 and 6.9: what is discarded counts too, or the connection would run dry."""
    total, sent = 3 * h2.send_window, 0
    while sent < total:
        fields, target = (), app.path("hello")
        if kind == "refused":
            fields = [(b"UPPER", b"case")]
        elif kind == "crashed":
            target = app.script("fail")
        elif kind == "reset":
            target = app.path("slow_answer")
        stream = h2.request(target, fields, method=b"POST", end=False)
        part = min(h2.send_windows[stream], DEFAULT_FRAME_SIZE)
        h2.wait_for_room(stream, part)
        h2.send_data(stream, b"x" * part)
        sent += part
        if kind == "reset":
            h2.send(rst_frame(stream))
        elif kind != "refused":
            assert h2.expect_response(stream).status == (200 if kind == "answered" else 500)
            h2.send(rst_frame(stream))
        h2.expect_alive()
        h2.inbox.clear()
    h2.expect_served()


def test_slow_reader_bounds_what_is_taken(h2, app):
    """Windows follow what the application takes: never more than one window ahead of it."""
    stream = h2.request(app.path("slow_reader", "0.05"), method=b"POST", end=False)
    body = b"x" * 500_000
    h2.timeout_s = 10
    h2.send_body(stream, body)
    assert h2.expect_response(stream).body == b"500000"


@pytest.fixture
def wide(connect):
    """A connection on which only the kernel's buffers are a limit, and those not by much."""
    connection = connect(receive_buffer=65_536)
    connection.grants = False
    set_initial_window(connection, MAX_WINDOW)
    connection.grant(0, MAX_WINDOW - DEFAULT_WINDOW)
    return connection


def test_small_answer_does_not_wait_for_a_large_download(wide, app):
    """What the kernel holds by then, 4 MB and a bit, goes first; nothing else does."""
    size = 40_000_000
    large = wide.request(app.path("large", size))
    assert wide.read_head(large).status == 200
    small = wide.request(app.path("hello"))
    assert wide.expect_response(small).body == b"hello"
    came = sum(len(frame.payload) for frame in wide.inbox if frame.stream == large)
    assert came < size / 2, f"{came} octets of the download came first"


def test_downloads_side_by_side_share_the_connection(wide, app):
    """Of two equal ones neither is half done before the other has begun."""
    size = 40_000_000
    came = dict.fromkeys([wide.request(app.path("large", size)) for _ in range(2)], 0)
    while not all(came.values()):
        frame = wide.wait_for(is_data, "DATA")
        came[frame.stream] += len(frame.payload)
    assert max(came.values()) < size / 2
