"""A connection of HTTP/2, frame by frame: any octets are sent, and what the server sends is taken apart strictly.

Whatever a test is about, the client holds the server to RFC 9113: the first frame is SETTINGS, no frame is larger than
allowed, no DATA goes past a window, field blocks are in one piece, and nothing follows the end of a stream.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import hpack

from tests.support.h2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    DEFAULT_FRAME_SIZE,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    SETTINGS_ACK,
    WINDOW_UPDATE,
    Code,
    Setting,
    data_frame,
    name_of,
    ping_frame,
    settings_frame,
    window_frame,
)
from tests.support.server_process import WAIT_S

if TYPE_CHECKING:
    from tests.support.h2_frames import Field
    from tests.support.http1 import Address

FRAME_HEAD = 9  # octets

# RFC 9113 section 8.2.2
CONNECTION_FIELDS = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}


class ConnectionEnded(Exception):
    """The server has closed the connection, or has said that it is broken; ``goaway`` is the code it gave, if any."""

    def __init__(self, what: str, goaway: int | None) -> None:
        super().__init__(f"{what}; GOAWAY: {None if goaway is None else name_of(goaway)}")
        self.goaway = goaway


@dataclass
class Frame:
    """A frame from the server.

    Attributes:
        payload: Of DATA without its padding.
        fields: Of HEADERS, with those of its CONTINUATIONs.
        frames: How many frames the field block came in.
    """

    kind: int
    flags: int
    stream: int
    payload: bytes
    fields: tuple[Field, ...] = ()
    frames: int = 1

    @property
    def ends_stream(self) -> bool:
        return self.kind in (DATA, HEADERS) and bool(self.flags & END_STREAM)

    @property
    def number(self) -> int:
        """The error code of RST_STREAM, the increment of WINDOW_UPDATE."""
        return int(struct.unpack("!I", self.payload)[0])


class FrameConnection:
    """One connection; every wait has a deadline.

    Args:
        address: ``(host, port)`` or the path of a UNIX socket.
        context: For TLS; by ALPN it has to choose h2.
        prologue: What goes before everything else, TLS included.
        settings: What `handshake` announces.
        receive_buffer: Octets the kernel may hold for us; None is the system's choice.
        timeout_s: The deadline of each wait.

    Attributes:
        server_settings: What the server has announced.
        inbox: Frames received and not taken yet.
        goaway: The code of the last GOAWAY.
        grants: Give back windows as DATA is read; tests of flow control do that themselves.
    """

    def __init__(
        self,
        address: Address,
        *,
        context: ssl.SSLContext | None = None,
        prologue: bytes = b"",
        settings: Iterable[tuple[int, int]] = (),
        receive_buffer: int | None = None,
        timeout_s: float = WAIT_S,
    ) -> None:
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
        else:
            self.socket = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.timeout_s = timeout_s
        self.socket.settimeout(timeout_s)
        try:
            self.socket.connect(address)
            self.socket.sendall(prologue)
            if context is not None:
                self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        except BaseException:
            self.socket.close()
            raise
        self.scheme = b"http" if context is None else b"https"
        self.server_settings: dict[int, int] = {}
        self.inbox: list[Frame] = []
        self.grants = True
        self.max_frame_size = DEFAULT_FRAME_SIZE
        self.receive_window = DEFAULT_WINDOW
        self.receive_windows: dict[int, int] = {}
        self.send_window = DEFAULT_WINDOW
        self.send_windows: dict[int, int] = {}
        self.decoder = hpack.Decoder(max_header_list_size=2**24)
        self._own_settings = tuple(settings)
        self._unacknowledged: list[tuple[tuple[int, int], ...]] = []
        self._initial_window = DEFAULT_WINDOW
        self._next_stream = 1
        self._ended: set[int] = set()
        self._pending = bytearray()
        self.goaway: int | None = None
        self._is_first = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Close with a reset instead of a FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # Sending

    def send(self, *frames: bytes) -> None:
        """Send octets as they are."""
        self.socket.settimeout(self.timeout_s)
        self.socket.sendall(b"".join(frames))

    def handshake(self) -> None:
        """Open the connection, and wait until each side has the other's settings."""
        self.send(PREFACE)
        self.change_settings(*self._own_settings)
        self.wait_for(lambda frame: frame.kind == SETTINGS and not frame.flags & ACK, "the server's SETTINGS")
        self.wait_for(lambda frame: frame.kind == SETTINGS and bool(frame.flags & ACK), "SETTINGS acknowledged")

    def change_settings(self, *pairs: tuple[int, int]) -> None:
        """Announce settings; they hold from their acknowledgement on."""
        for name, value in pairs:
            if name == Setting.MAX_FRAME_SIZE:
                self.max_frame_size = max(self.max_frame_size, value)  # the smaller of the two holds later only
            elif name == Setting.HEADER_TABLE_SIZE:
                self.decoder.max_allowed_table_size = value
        self.announced(*pairs)
        self.send(settings_frame(*pairs))

    def announced(self, *pairs: tuple[int, int]) -> None:
        """Take notice of SETTINGS that a test sends itself."""
        self._unacknowledged.append(pairs)

    def new_stream(self) -> int:
        """The next identifier of a stream."""
        stream = self._next_stream
        self._next_stream += 2
        self.opened(stream)
        return stream

    def opened(self, stream: int) -> int:
        """Take notice of a stream whose identifier a test chose itself."""
        self.receive_windows[stream] = self._initial_window
        self.send_windows[stream] = self.server_settings.get(Setting.INITIAL_WINDOW_SIZE, DEFAULT_WINDOW)
        self._next_stream = max(self._next_stream, stream + 2)
        return stream

    def send_body(self, stream: int, body: bytes, *, end: bool = True) -> None:
        """Send a body within the server's windows, waiting for them where it has to."""
        limit = self.server_settings.get(Setting.MAX_FRAME_SIZE, DEFAULT_FRAME_SIZE)
        at = 0
        while at < len(body):
            room = min(self.send_window, self.send_windows[stream], limit)
            if room > 0:
                part = body[at : at + room]
                at += len(part)
                self.send_data(stream, part, end=end and at == len(body))
            else:
                self.wait_for_room(stream, 1)
        if end and not body:
            self.send_data(stream, b"", end=True)

    def wait_for_room(self, stream: int, count: int) -> None:
        """Wait until the server's windows have room for so many octets."""
        deadline = self.deadline()
        try:
            while min(self.send_window, self.send_windows[stream]) < count:
                self.take(self.receive_frame(deadline))
        except TimeoutError:
            windows = (self.send_window, self.send_windows[stream])
            raise AssertionError(f"waited in vain for room for {count} octets: {windows}") from None

    def send_data(self, stream: int, payload: bytes, *, end: bool = False, padding: int | None = None) -> None:
        """Send one DATA frame, whatever the windows, and count it against them."""
        octets = data_frame(stream, payload, end=end, padding=padding)
        self.send_window -= len(octets) - FRAME_HEAD
        self.send_windows[stream] -= len(octets) - FRAME_HEAD
        self.send(octets)

    def grant(self, stream: int, increment: int) -> None:
        """Open a window for the server; stream 0 is the connection."""
        self.granted(stream, increment)
        self.send(window_frame(stream, increment))

    def granted(self, stream: int, increment: int) -> None:
        """Take notice of a window that a test opened with a frame of its own."""
        if stream:
            self.receive_windows[stream] += increment
        else:
            self.receive_window += increment

    # Receiving

    def take(self, frame: Frame) -> None:
        """Keep a frame for whoever waits for it."""
        self.inbox.append(frame)

    def wait_for(self, is_wanted: Callable[[Frame], bool], what: str, timeout_s: float | None = None) -> Frame:
        """Take the first frame that is wanted out of the inbox, or wait for it.

        Raises:
            ConnectionEnded: Or the server says that the connection is broken.
            AssertionError: It did not come in time.
        """
        deadline = self.deadline(timeout_s)
        for at, frame in enumerate(self.inbox):
            if is_wanted(frame):
                return self.inbox.pop(at)
        while True:
            try:
                frame = self.receive_frame(deadline)
            except TimeoutError:
                raise AssertionError(f"waited in vain for {what}; came: {self.inbox[-10:]}") from None
            if is_wanted(frame):
                return frame
            self.take(frame)
            if frame.kind == GOAWAY and self.goaway != Code.NO_ERROR:
                raise ConnectionEnded(f"GOAWAY {frame.payload[8:]!r} where {what} was to come", self.goaway)

    def deadline(self, timeout_s: float | None = None) -> float:
        return time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)

    # Taking frames apart

    def _read(self, count: int, deadline: float) -> bytes:
        while len(self._pending) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.socket.settimeout(left)
            try:
                octets = self.socket.recv(262_144)
            except (ConnectionError, ssl.SSLEOFError) as error:
                raise ConnectionEnded(f"reset: {error!r}", self.goaway) from None
            if not octets:
                assert not self._pending, f"closed within a frame: {bytes(self._pending[:100])!r}"
                raise ConnectionEnded("closed", self.goaway)
            self._pending += octets
        taken = bytes(self._pending[:count])
        del self._pending[:count]
        return taken

    def _peek(self, count: int, deadline: float) -> bytes:
        octets = self._read(count, deadline)
        self._pending[:0] = octets
        return octets

    def receive_frame(self, deadline: float) -> Frame:
        frame = self._read_frame(deadline)
        if self._is_first:
            # RFC 9113 section 3.4
            assert frame.kind == SETTINGS and not frame.flags & ACK, f"the first frame is no SETTINGS: {frame}"
            self._is_first = False
        if frame.kind == DATA:
            self._data_received(frame)
        elif frame.kind == HEADERS:
            self._headers_received(frame, deadline)
        elif frame.kind == SETTINGS:
            self._settings_received(frame)
        elif frame.kind == PING:
            assert frame.stream == 0 and len(frame.payload) == 8, frame
            if not frame.flags & ACK:
                self._answer(ping_frame(frame.payload, ack=True))
        elif frame.kind == GOAWAY:
            assert frame.stream == 0 and len(frame.payload) >= 8, frame
            (self.goaway,) = struct.unpack("!I", frame.payload[4:8])
        elif frame.kind == WINDOW_UPDATE:
            self._window_received(frame)
        else:
            assert frame.kind == RST_STREAM, f"a server sends no such frame unasked: {frame}"
            assert frame.stream in self.receive_windows and len(frame.payload) == 4, frame
        if frame.ends_stream:
            self._ended.add(frame.stream)
        return frame

    def _read_frame(self, deadline: float) -> Frame:
        # The head stays where it is until all of the frame is there: a deadline may pass in between.
        head = self._peek(FRAME_HEAD, deadline)
        high, low, kind, flags, stream = struct.unpack("!BHBBI", head)
        length = high << 16 | low
        assert length <= self.max_frame_size, f"a frame of {length} octets"
        assert stream < 2**31, "the reserved bit is set"
        return Frame(kind, flags, stream, self._read(FRAME_HEAD + length, deadline)[FRAME_HEAD:])

    def _data_received(self, frame: Frame) -> None:
        assert frame.stream in self.receive_windows, f"DATA on stream {frame.stream}"
        assert frame.stream not in self._ended, "DATA behind the end of its stream"
        size = len(frame.payload)
        self.receive_window -= size
        self.receive_windows[frame.stream] -= size
        # Section 6.9: an empty frame needs no window.
        assert not size or self.receive_window >= 0, "DATA past the connection's window"
        assert not size or self.receive_windows[frame.stream] >= 0, "DATA past the stream's window"
        if frame.flags & PADDED:
            padding = frame.payload[0]
            assert padding < size and not any(frame.payload[size - padding :]), "bad padding"
            frame.payload = frame.payload[1 : size - padding]
        if self.grants and size:
            self.granted(0, size)
            self._answer(window_frame(0, size))
            if not frame.ends_stream:
                self.granted(frame.stream, size)
                self._answer(window_frame(frame.stream, size))

    def _answer(self, octets: bytes) -> None:
        """Send what nobody asked for; the server may have closed meanwhile, and reading tells that."""
        with contextlib.suppress(OSError):
            self.send(octets)

    def _headers_received(self, frame: Frame, deadline: float) -> None:
        assert frame.stream in self.receive_windows, f"HEADERS on stream {frame.stream}"
        assert frame.stream not in self._ended, "HEADERS behind the end of their stream"
        assert not frame.flags & PADDED
        block, last = frame.payload, frame
        while not last.flags & END_HEADERS:
            last = self._read_frame(deadline)
            assert (last.kind, last.stream) == (CONTINUATION, frame.stream), f"{last} within a field block"
            block += last.payload
            frame.frames += 1
        frame.fields = tuple((bytes(name), bytes(value)) for name, value in self.decoder.decode(block, raw=True))
        # Section 8.2
        for name, value in frame.fields:
            assert re.fullmatch(rb":status|[!#$%&'*+.^_`|~0-9a-z-]+", name), f"the name {name!r}"
            assert not re.search(rb"[\0\r\n]|\A[ \t]|[ \t]\Z", value), f"the value {value!r}"
            assert name not in CONNECTION_FIELDS, f"the connection's field {name!r}"

    def _settings_received(self, frame: Frame) -> None:
        assert frame.stream == 0 and len(frame.payload) % 6 == 0, frame
        if frame.flags & ACK:
            assert not frame.payload and self._unacknowledged, "an acknowledgement of nothing"
            for name, value in self._unacknowledged.pop(0):
                if name == Setting.INITIAL_WINDOW_SIZE:
                    for stream in self.receive_windows:
                        self.receive_windows[stream] += value - self._initial_window
                    self._initial_window = value
                elif name == Setting.MAX_FRAME_SIZE:
                    self.max_frame_size = value
            return
        for name, value in struct.iter_unpack("!HI", frame.payload):
            if name == Setting.INITIAL_WINDOW_SIZE:
                for stream in self.send_windows:
                    self.send_windows[stream] += value - self.server_settings.get(name, DEFAULT_WINDOW)
            self.server_settings[name] = value
        self._answer(SETTINGS_ACK)

    def _window_received(self, frame: Frame) -> None:
        assert 0 < frame.number < 2**31, frame
        if frame.stream:
            assert frame.stream in self.send_windows, f"WINDOW_UPDATE on stream {frame.stream}"
            self.send_windows[frame.stream] += frame.number
        else:
            self.send_window += frame.number
