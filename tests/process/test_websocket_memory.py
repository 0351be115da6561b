"""Contract, section 3, over WebSockets: nothing that a client does, or leaves undone, makes the server grow.

Each test has a server of its own, warms it up, and lets its resident memory grow by less than 10 MB; meanwhile, and
afterwards, others are answered.
"""

from __future__ import annotations

import contextlib
import select
import time
import zlib
from collections.abc import Iterator

import pytest

from tests.support.http1 import Client
from tests.support.server_process import ServerProcess, until
from tests.support.ws_client import BINARY, COMPRESSED, PING, PONG, TEXT, Session, close_frame, frame, handshake

MB = 1024 * 1024
MAX_GROWTH = 10 * MB
ANSWER_S = 2.0  # within which others are answered meanwhile
FLOOD_S = 4.0  # floods that are never made to wait last so long
CHECK_S = 0.5
FLOOD_BYTES = 100 * MB

# Most applications here wait for ever: no test waits for them.
OPTIONS = ["--no-access-log", "--timeout-graceful-shutdown", "0.2"]

DEFLATE = [(b"Sec-WebSocket-Extensions", b"permessage-deflate")]


class Watched:
    """A server whose memory is looked at.

    Attributes:
        slowest_s: What another client had to wait at most for an answer.
    """

    def __init__(self, process: ServerProcess) -> None:
        self.process = process
        self.client = Client(process.address)
        self.slowest_s = 0.0
        with self.session("/echo/warm") as session:
            for size in (64, 1_000_000):
                for _ in range(20):
                    session.send(frame(BINARY, b"x" * size))
                    session.read_frame()
        self.client.request("/hello/warm")
        self._before = process.resident_bytes()

    def session(self, target: str, fields: object = (), **options: object) -> Session:
        session = Session(self.process.address, **options)
        session.send(handshake(target, fields))
        session.opened()
        return session

    def check(self) -> None:
        """The server has not grown, and others are answered."""
        grown = self.process.resident_bytes() - self._before
        assert grown < MAX_GROWTH, f"grown by {grown / MB:.1f} MB"
        begin = time.monotonic()
        assert self.client.request("/hello/others").body == b"hello"
        self.slowest_s = max(self.slowest_s, time.monotonic() - begin)
        assert self.slowest_s < ANSWER_S

    def noted(self, key: str, count: int = 0) -> str:
        return self.client.request(f"/noted/{key}?{count}").body.decode()

    def flood(self, session: Session, data: bytes, *, stall_s: float = 0.5) -> int:
        """Send ``data`` again and again, until the server takes no more or time is up; return how many octets."""
        view, sent = memoryview(data), 0
        end = time.monotonic() + FLOOD_S
        next_check = time.monotonic() + CHECK_S
        session.socket.setblocking(False)
        while time.monotonic() < end and sent < FLOOD_BYTES:
            _, writable, _ = select.select([], [session.socket], [], stall_s)
            if not writable:
                break
            with contextlib.suppress(BlockingIOError):
                sent += session.socket.send(view[sent % len(data) :])
            if time.monotonic() >= next_check:
                self.check()
                next_check = time.monotonic() + CHECK_S
        session.socket.settimeout(5)
        self.check()
        return sent


@pytest.fixture
def server() -> Iterator[Watched]:
    with ServerProcess("ws_apps:application", OPTIONS) as process:
        yield Watched(process)
        process.stop()
        assert "Traceback" not in process.log


# An application that never receives


@pytest.mark.parametrize(
    "message",
    [
        frame(BINARY, b"x" * 64),
        frame(TEXT, b"x"),
        frame(TEXT),
        frame(BINARY, b"x" * 60_000),
        frame(0x01, b"x") + frame(0x00, b"x") * 62 + frame(0x80, b"x"),
        frame(TEXT, b"x") + frame(PING) * 10,
    ],
    ids=["64 octets", "1 octet", "empty", "60 kB", "1-octet fragments", "among pings"],
)
def test_messages_to_an_application_that_never_receives(server, message):
    with server.session("/deaf/x") as session:
        sent = server.flood(session, message * (262_144 // len(message) + 1))
        assert sent < 20 * MB  # what the kernel holds; the client is made to wait
    assert "'websocket" not in server.noted("x", 1)


def test_message_that_never_ends_in_1_octet_fragments(server):
    with server.session("/deaf/x") as session:
        session.send(frame(0x02, b"x"))
        server.flood(session, frame(0x00, b"x") * 30_000, stall_s=FLOOD_S)


def test_message_that_never_ends_in_empty_fragments(server):
    with server.session("/deaf/x") as session:
        session.send(frame(0x02, b"x"))
        server.flood(session, frame(0x00) * 30_000, stall_s=FLOOD_S)


def test_message_that_is_longer_than_allowed_in_fragments(server):
    with server.session("/deaf/x") as session:
        session.send(frame(0x02, b"x" * 500_000) + frame(0x00, b"x" * 500_000) + frame(0x80, b"x" * 500_000))
        assert session.read_close()[0] == 1009
        server.check()
    assert server.noted("x", 1) == "['accepted']"


# A client that does not read


def test_pings_whose_pongs_are_not_read(server):
    with server.session("/deaf/x", receive_buffer=65536) as session:
        server.flood(session, frame(PING, b"x" * 125) * 2000, stall_s=FLOOD_S)


def test_small_pings_whose_pongs_are_not_read(server):
    with server.session("/deaf/x", receive_buffer=65536) as session:
        server.flood(session, frame(PING) * 40_000, stall_s=FLOOD_S)


def test_pongs_that_nobody_asked_for(server):
    with server.session("/deaf/x") as session:
        server.flood(session, frame(PONG, b"x" * 125) * 2000, stall_s=FLOOD_S)


def test_messages_of_64_kb_to_a_client_that_never_reads(server):
    with server.session("/torrent/x?2000", receive_buffer=65536):
        assert "blocked" in server.noted("x", 1)
        server.check()
        assert "done" not in server.noted("x", 1)


def test_echoes_that_are_not_read(server):
    with server.session("/echo/x", receive_buffer=65536) as session:
        assert server.flood(session, frame(BINARY, b"x" * 10_000) * 20) < 20 * MB


def test_frames_that_nobody_wants_any_more(server):
    """The application has closed, and the client sends on instead of answering."""
    with server.session("/script/x?[{'type':'websocket.accept'},{'type':'websocket.close'},'wait']") as session:
        assert session.read_close()[0] == 1000
        server.flood(session, frame(BINARY, b"x" * 1000) * 200, stall_s=FLOOD_S)


# Compression


def deflated_zeros(size: int) -> bytes:
    """So many zeros, compressed as RFC 7692 has it."""
    compressor = zlib.compressobj(9, wbits=-15)
    parts = [compressor.compress(bytes(min(MB, size - at))) for at in range(0, size, MB)]
    return b"".join([*parts, compressor.flush(zlib.Z_SYNC_FLUSH)]).removesuffix(b"\x00\x00\xff\xff")


def test_frame_of_22_octets_that_inflates_past_the_limit_never_reaches_the_application():
    bomb = frame(BINARY | COMPRESSED, deflated_zeros(1000))
    assert len(bomb) <= 22
    options = ["--websocket-max-message-size", "999", *OPTIONS]
    with ServerProcess("ws_apps:application", options) as process, Session(process.address) as session:
        session.send(handshake("/events/x", DEFLATE))
        session.opened()
        session.send(bomb)
        assert session.read_close()[0] == 1009
        client = Client(process.address)
        until(lambda: b"1009" in client.request("/noted/x?2").body, "the application knows")
        assert b"websocket.receive" not in client.request("/noted/x").body


@pytest.mark.parametrize("in_fragments", [False, True], ids=["whole", "fragments"])
def test_frame_that_inflates_to_100_mb(server, in_fragments):
    payload = deflated_zeros(100 * MB)
    data = frame(BINARY | COMPRESSED, payload)
    assert len(data) < MB  # so that its own length is allowed
    if in_fragments:
        data = frame(0x02 | COMPRESSED, payload[:10]) + frame(0x00) + frame(0x80, payload[10:])
    for number in range(4):
        with server.session(f"/events/{number}", DEFLATE) as session:
            session.send(data)
            assert session.read_close()[0] == 1009
        server.check()
        assert "websocket.receive" not in server.noted(str(number), 2)


def test_compressed_messages_to_an_application_that_never_receives(server):
    """A small frame is a large message: what counts is what it takes inflated."""
    with server.session("/deaf/x", DEFLATE) as session:
        assert server.flood(session, frame(BINARY | COMPRESSED, deflated_zeros(MB)) * 200) < 20 * MB


# Ends


def test_sessions_that_end_abruptly_leave_nothing_behind(server):
    for number in range(300):
        with server.session("/echo/x", DEFLATE) as session:
            session.send(frame(0x02, b"x" * 10_000) + frame(BINARY, b"x" * 100_000)[: number * 300 % 90_000])
            session.reset()
    server.check()


def test_handshakes_that_are_abandoned_leave_nothing_behind(server):
    for number in range(300):
        with Session(server.process.address) as session:
            session.send(handshake(f"/script/x/{number}?['receive','receive']", [(b"X", b"x" * 4000)]))
            session.reset()
    server.check()


def test_sessions_one_after_another(server):
    for _ in range(300):
        with server.session("/echo/x", DEFLATE) as session:
            session.send(frame(TEXT, b"x" * 1000) + close_frame(1000))
            session.frames_to_the_end()
    server.check()
