"""Contract, sections 3 and 7, over HTTP/2: nothing that a client does, or leaves undone, makes the server grow.

Each test has a server of its own, warms it up, and lets its resident memory grow by less than 20 MB; meanwhile, and
afterwards, others are answered.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from tests.support.h2_client import H2Connection
from tests.support.h2_connection import ConnectionEnded
from tests.support.h2_flood import flood
from tests.support.h2_frames import (
    DEFAULT_FRAME_SIZE,
    INCREMENTAL,
    MAX_WINDOW,
    Code,
    Setting,
    continuation_frame,
    data_frame,
    field_block,
    headers_frame,
    indexed,
    literal,
    ping_frame,
    request_block,
    rst_frame,
    settings_frame,
    window_frame,
)
from tests.support.h2_websocket import StreamSession, connect_fields
from tests.support.server_process import ServerProcess
from tests.support.watched_server import MB, WatchedServer
from tests.support.ws_client import BINARY, PING, frame

FLOOD_S = 1.2

# Most applications here wait for ever: no test waits for them.
OPTIONS = ["--no-access-log", "--timeout-graceful-shutdown", "0.2"]
WIDE = settings_frame((Setting.INITIAL_WINDOW_SIZE, MAX_WINDOW)) + window_frame(0, MAX_WINDOW - 65_535)


class Watched(WatchedServer):
    """With what these tests do to it."""

    def connect(self, **options: object) -> H2Connection:
        connection = H2Connection(self.process.address, **options)
        connection.handshake()
        return connection

    def hold(self, octets: bytes, *, seconds: float = FLOOD_S, reads: bool = True) -> None:
        """Send this on one connection, and look for a while at what comes of it."""
        with self.connect(receive_buffer=65_536) as connection:
            flood(connection, iter([octets]), seconds=seconds, look=self.check, reads=reads)
            self.check()

    def flood(self, make: Callable[[], Iterator[bytes]], **options: bool) -> None:
        """Flood the server, and begin again on another connection when it has ended one."""
        deadline = time.monotonic() + FLOOD_S
        while (left := deadline - time.monotonic()) > 0:
            with self.connect(receive_buffer=65_536) as connection:
                flood(connection, make(), seconds=left, look=self.check, **options)
            self.check()


@pytest.fixture
def server() -> Iterator[Watched]:
    with ServerProcess("h2_apps:application", OPTIONS) as process:
        yield Watched(process)
        process.stop()
        assert "Traceback" not in process.log


def streams() -> Iterator[int]:
    return iter(range(1, 2**31, 2))


def requests(block: bytes, *, end: bool = True) -> Iterator[bytes]:
    return (headers_frame(stream, block, end=end) for stream in streams())


# Clients that do not read


def test_hundred_downloads_that_are_not_read(server):
    begin = WIDE + b"".join(itertools.islice(requests(request_block(f"/torrent/x?{200 * MB}")), 100))
    server.hold(begin, seconds=2, reads=False)


def test_hundred_downloads_without_a_window(server):
    """CVE-2019-9517"""
    begin = settings_frame((Setting.INITIAL_WINDOW_SIZE, 0))
    begin += b"".join(itertools.islice(requests(request_block(f"/torrent/x?{200 * MB}")), 100))
    server.hold(begin)


def test_files_for_clients_without_a_window(server, tmp_path):
    """They are read as the windows open."""
    file = tmp_path / "file"
    with file.open("wb") as sparse:
        sparse.truncate(200 * MB)
    steps = [
        {"type": "http.response.start", "status": 200, "headers": []},
        {"type": "http.response.pathsend", "path": str(file)},
    ]
    block = request_block(f"/script/x?{quote(repr(steps))}")
    server.hold(settings_frame((Setting.INITIAL_WINDOW_SIZE, 0)) + b"".join(itertools.islice(requests(block), 50)))
    server.hold(WIDE + b"".join(itertools.islice(requests(block), 50)), reads=False)


def test_answers_that_are_not_read(server):
    server.flood(lambda: itertools.chain([WIDE], requests(request_block("/large/x?100000"))), reads=False)


@pytest.mark.parametrize("octets", [ping_frame(), settings_frame()], ids=["PING", "SETTINGS"])
def test_acknowledgements_that_are_not_read(server, octets):
    server.flood(lambda: itertools.repeat(octets), reads=False)


def test_answers_that_wait_for_the_connections_window_are_reset(server):
    """Each is complete for its application by then: nothing of it may be kept for a window that never comes."""

    def requests_and_resets() -> Iterator[bytes]:
        yield headers_frame(1, request_block("/large/x?100000"))
        fields = [(b"x-%d" % number, b"y" * 100) for number in range(50)]
        block = request_block("/large/x?1000", fields)
        for stream in range(3, 2**31, 2):
            yield headers_frame(stream, block) + ping_frame() + rst_frame(stream)

    server.flood(requests_and_resets)


# Uploads


def test_200_mb_uploaded_to_an_application_that_reads_slowly(server):
    with server.connect(timeout_s=10) as connection:
        stream = connection.request("/slow_reader/x?0.002", method=b"POST", end=False)
        for _ in range(8):
            connection.send_body(stream, bytes(25 * MB), end=False)
            connection.inbox.clear()
            server.check()
        connection.send_data(stream, b"", end=True)
        assert connection.expect_response(stream).body == b"%d" % (200 * MB)


@pytest.mark.parametrize(("size", "padding"), [(1, None), (1, 255), (DEFAULT_FRAME_SIZE, None)])
def test_uploads_to_applications_that_never_read(server, size, padding):
    """As much as the windows allow, in frames each of which is an event that is larger than what it carries."""
    with server.connect() as connection:
        part = bytes(size)
        cost = len(part) + (0 if padding is None else padding + 1)
        connection.expect_served()
        uploads = [connection.request("/slow_answer/x", method=b"POST", end=False) for _ in range(50)]
        left = connection.send_window
        deadline = time.monotonic() + FLOOD_S
        for stream in itertools.cycle(uploads):
            count = min(200, left // cost, connection.send_windows[stream] // cost)
            if count <= 0 or time.monotonic() > deadline:
                break
            connection.send_windows[stream] -= count * cost
            left -= count * cost
            connection.send(data_frame(stream, part, padding=padding) * count)
        expect_read(connection)
        server.check()


def expect_read(connection):
    """All of it has been read, or is refused."""
    with contextlib.suppress(ConnectionEnded):
        connection.expect_alive()
    assert connection.goaway in (None, Code.ENHANCE_YOUR_CALM)


def test_uploads_to_applications_that_have_answered_already(server):
    with server.connect(timeout_s=10) as connection:
        for _ in range(200):
            stream = connection.request("/hello/x", method=b"POST", end=False)
            size = min(200_000, connection.send_windows[stream])
            while size > 0:
                part = min(size, DEFAULT_FRAME_SIZE)
                connection.wait_for_room(stream, part)
                connection.send_data(stream, bytes(part))
                size -= part
            connection.send(rst_frame(stream))
            connection.inbox.clear()
            connection.expect_alive()
        server.check()


def test_uploads_that_are_aborted(server):
    for number in range(200):
        connection = server.connect()
        stream = connection.request("/waits_for_the_end/x", method=b"POST", end=False)
        connection.send_data(stream, bytes(16_000))
        if number % 2:
            connection.reset()
        else:
            connection.close()
    server.check()


# Floods


def test_rapid_reset(server):
    block = request_block("/waits_for_the_end/x")
    server.flood(lambda: (headers_frame(stream, block) + rst_frame(stream) for stream in streams()))


def test_made_you_reset(server):
    block = request_block("/waits_for_the_end/x")
    server.flood(lambda: (headers_frame(stream, block) + window_frame(stream, 0) for stream in streams()))


@pytest.mark.parametrize("part", [b"", bytes(16_000)], ids=["empty", "16 kB"])
def test_field_block_without_an_end(server, part):
    begin = headers_frame(1, request_block(), whole=False)
    parts = continuation_frame(1, part, whole=False)
    server.flood(lambda: itertools.chain([begin], itertools.repeat(parts)))


def test_heads_that_inflate_a_thousandfold(server):
    """CVE-2016-6581"""

    def heads() -> Iterator[bytes]:
        yield headers_frame(1, request_block() + literal(b"x", b"y" * 4000, INCREMENTAL))
        bomb = request_block() + indexed(62) * 16_000
        for stream in range(3, 2000, 2):
            yield headers_frame(stream, bomb)

    server.flood(heads)


def test_heads_that_never_repeat(server):
    """Nothing that is remembered to be faster is remembered without a bound."""

    def heads() -> Iterator[bytes]:
        for stream in streams():
            fields = [(b"x-%d-%d" % (stream, number), b"%d" % stream * 20) for number in range(50)]
            yield headers_frame(stream, request_block(f"/missing/{stream}", fields))

    server.flood(heads)


def test_heads_that_never_repeat_and_are_to_be_remembered(server):
    def heads() -> Iterator[bytes]:
        for stream in streams():
            fields = [literal(b"x-%d-%d" % (stream, n), b"%d" % stream * 20, INCREMENTAL) for n in range(50)]
            yield headers_frame(stream, request_block(f"/missing/{stream}") + b"".join(fields))

    server.flood(heads)


def test_connections_one_after_another(server):
    for _ in range(300):
        with server.connect() as connection:
            connection.request("/hello/x")
            connection.request("/waits_for_the_end/x")
    server.check()


def test_300_connections_at_once(server):
    connections = [server.connect() for _ in range(300)]
    for connection in connections:
        connection.request("/until_disconnect/x")
    server.check()
    for connection in connections:
        connection.close()
    server.check()


# WebSockets


@pytest.mark.parametrize("octets", [frame(BINARY, b"x") * 100, frame(PING) * 100], ids=["messages", "pings"])
def test_small_frames_to_an_application_that_never_receives(server, octets):
    with server.connect() as connection:
        session = StreamSession(connection, "/deaf/x")
        session.opened()
        deadline = time.monotonic() + FLOOD_S
        while time.monotonic() < deadline and not connection.goaway:
            if min(connection.send_window, connection.send_windows[session.stream]) < len(octets):
                break
            session.send(octets)
        server.check()


def test_hundred_websockets_to_a_client_that_never_reads(server):
    block = field_block(connect_fields("/torrent/x?1000"))
    begin = WIDE + b"".join(itertools.islice(requests(block, end=False), 100))
    server.hold(begin, seconds=2, reads=False)
