"""Contract, section 3, over HTTP/2: every wait has an end. The limits are a second here, and looked at each second.

Since each test waits for a second or two, those that may wait for several things at once do so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from tests.support.h2_connection import ConnectionEnded
from tests.support.h2_frames import (
    DEFAULT_WINDOW,
    HEADERS,
    MAX_WINDOW,
    PREFACE,
    RST_STREAM,
    WINDOW_UPDATE,
    Code,
    Setting,
    continuation_frame,
    data_frame,
    headers_frame,
    request_block,
    settings_frame,
    window_frame,
)

OPTIONS = (
    *("--timeout-request-head", "1", "--timeout-keep-alive", "1", "--timeout-request-body", "1"),
    *("--timeout-write", "1"),
)
SOON_S = 6.0  # a limit, two looks at it, and a busy machine


def keep_on(seconds: float, acts: Iterable[Callable[[], None]]) -> None:
    """Do these ten times a second, each as long as the server takes it."""
    deadline = time.monotonic() + seconds
    left = list(acts)
    while left and time.monotonic() < deadline:
        for act in list(left):
            try:
                act()
            except (ConnectionEnded, ConnectionError):
                left.remove(act)
        time.sleep(0.1)


def test_connections_without_a_request_are_closed(connect):
    connections = []
    for octets in (b"", PREFACE[:10], PREFACE, PREFACE + settings_frame()):
        connections.append(connect(handshake=False))
        connections[-1].send(octets)
        connections[-1].announced()
    for connection in connections:
        connection.expect_closed(SOON_S)
        assert connection.goaway in (None, Code.NO_ERROR, Code.PROTOCOL_ERROR)


def test_idle_connections_are_closed_politely_whatever_pings_they_send(connect):
    idle, pinging = connect(), connect()
    for connection in (idle, pinging):
        connection.expect_served()
    begin = time.monotonic()
    keep_on(SOON_S, [pinging.expect_alive])
    assert time.monotonic() - begin > 0.9
    for connection in (idle, pinging):
        assert connection.expect_goaway(Code.NO_ERROR) == 1


def test_streams_that_wait_for_an_application_keep_the_connection(h2, app):
    """A client is not late with a body that nobody takes."""
    silent = h2.request(app.path("slow_answer", "late"))
    full = h2.request(app.path("slow_answer", "late"), method=b"POST", end=False)
    while (room := min(h2.send_window, h2.send_windows[full], 16_384)) > 0:
        h2.send_data(full, b"x" * room)
        h2.expect_alive()
    keep_on(2.6, [h2.expect_alive])
    app.release()
    for stream in (silent, full):
        assert h2.expect_response(stream).body == b"late"


def test_heads_that_do_not_come_to_an_end(connect):
    """An error of the connection, not of the stream: nothing else may come before the end of a field block."""
    block = request_block(fields=[(b"x", b"y" * 1000)])
    unfinished, slow, continued = connections = [connect() for _ in range(3)]
    for connection in connections:
        connection.opened(1)
    octets = iter(headers_frame(1, block))
    unfinished.send(headers_frame(1, block[:20], whole=False))
    continued.send(headers_frame(1, block[:1], whole=False))
    keep_on(
        2.5,
        [
            lambda: slow.send(bytes((next(octets),))),
            lambda: continued.send(continuation_frame(1, b"", whole=False)),
        ],
    )
    for connection in connections:
        connection.expect_closed(SOON_S - 2.5)


def test_body_that_stalls_ends_its_stream_alone(h2, app):
    stalled = h2.request(app.path("events"), [(b"content-length", b"100")], method=b"POST", end=False)
    h2.send_data(stalled, b"some")
    running = h2.request(app.path("slow_answer", "late"))
    seen = h2.next_on(stalled, SOON_S)
    if seen.kind == HEADERS:
        assert (b":status", b"408") in seen.fields
    else:
        assert seen.kind == RST_STREAM
    assert app.noted(4)[-1] == {"type": "http.disconnect"}
    app.release()
    assert h2.expect_response(running).body == b"late"


def test_trickles_are_cut(connect, app):
    """Contract, section 3: a minimum rate. Neither padding nor empty frames are content; a window is no reading."""
    names = ("octets", "padding", "empty", "window")
    octets, padding, empty, window = connections = [connect() for _ in names]
    uploads = [connection.request(app.path("events"), method=b"POST", end=False) for connection in connections[:3]]
    window.grants = False
    window.change_settings((Setting.INITIAL_WINDOW_SIZE, 0))
    download = window.request(app.path("torrent", 1_000_000))
    keep_on(
        SOON_S,
        [
            lambda: trickle(octets, data_frame(uploads[0], b"x")),
            lambda: trickle(padding, data_frame(uploads[1], padding=200)),
            lambda: trickle(empty, data_frame(uploads[2])),
            lambda: trickle(window, window_frame(download, 1)),
        ],
    )
    for name, connection in zip(names, connections, strict=True):
        assert is_cut(connection), name


def trickle(connection, frame):
    """Send a frame more, unless the stream has been cut by now."""
    if is_cut(connection):
        raise ConnectionEnded("as it should be", connection.goaway)
    if frame[3] == WINDOW_UPDATE:
        connection.granted(1, 1)
    connection.send(frame)
    connection.expect_alive()


def is_cut(connection):
    return any(seen.kind == RST_STREAM or (b":status", b"408") in seen.fields for seen in connection.inbox)


def test_clients_that_take_nothing_are_cut(connect, app):
    """Whether it is the stream's window, or the connection's, or the socket that is full."""
    stream_window, connection_window, unread = connect(), connect(), connect(receive_buffer=65_536)
    for connection in (stream_window, connection_window, unread):
        connection.grants = False
    stream_window.grant(0, 1_000_000)
    connection_window.change_settings((Setting.INITIAL_WINDOW_SIZE, MAX_WINDOW))
    unread.change_settings((Setting.INITIAL_WINDOW_SIZE, MAX_WINDOW))
    unread.grant(0, MAX_WINDOW - DEFAULT_WINDOW)
    stalled = stream_window.request(app.path("torrent", 100_000_000))
    for connection in (connection_window, unread):
        connection.request(app.path("torrent", 100_000_000))
    notes = app.noted(6)
    assert sorted(note[0] for note in notes) == ["blocked"] * 3 + ["cut"] * 3
    while (frame := stream_window.next_on(stalled)).kind != RST_STREAM:
        pass
    assert frame.number != Code.NO_ERROR
    stream_window.expect_served()
