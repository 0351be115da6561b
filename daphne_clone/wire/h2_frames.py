"""Frames of HTTP/2 from bytes to calls and back (RFC 9113 sections 4 and 6); it knows no streams and no windows.

What can be said of a frame from itself alone is checked here: its length, the stream it may stand on, its padding, and
that nothing comes between the parts of a field block. What depends on the state of a stream is the sink's.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, NoReturn, Protocol

from daphne_clone.errors import H2ConnectionFault, H2StreamFault

if TYPE_CHECKING:
    from collections.abc import Iterable

# RFC 9113 section 3.4.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# RFC 9113 section 6.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

# END_STREAM and ACK are one bit, on different frames.
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
HAS_PRIORITY = 0x20

# What a frame may hold until the receiver allows more, and the least that it may allow (RFC 9113 section 4.2).
MIN_MAX_FRAME_SIZE = 16_384
MAX_MAX_FRAME_SIZE = 2**24 - 1

# RFC 9113 section 6.9.1.
MAX_WINDOW = 2**31 - 1
DEFAULT_WINDOW = 65_535

HEADER_SIZE = 9
_HEADER = Struct(">HBBBL")  # the upper 16 and the lower 8 bits of the length, type, flags, stream
_unpack_header = _HEADER.unpack_from
_pack_header = _HEADER.pack
_NUMBER = Struct(">L")
_SETTING = Struct(">HL")
_GOAWAY = Struct(">LL")
_STREAM_BITS = 0x7FFFFFFF

# A whole request without a body: most are just this.
_WHOLE_REQUEST = END_STREAM | END_HEADERS


class ErrorCode(IntEnum):
    """RFC 9113 section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class Setting(IntEnum):
    """RFC 9113 section 6.5.2, and RFC 8441 section 3."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6
    ENABLE_CONNECT_PROTOCOL = 0x8


class FrameSink(Protocol):
    """What a frame parser calls, in the order of the frames; each may raise the two faults of HTTP/2."""

    def headers_received(self, stream_id: int, block: bytes, end_stream: bool) -> None:
        """A field block, whole."""

    def data_received(self, stream_id: int, data: bytes, flow_size: int, end_stream: bool) -> None:
        """Content; ``flow_size`` is what it takes of the windows, so with its padding (RFC 9113 section 6.9.1)."""

    def reset_received(self, stream_id: int, code: int) -> None: ...

    def settings_received(self, settings: list[tuple[int, int]]) -> None: ...

    def settings_acknowledged(self) -> None: ...

    def ping_received(self, payload: bytes) -> None: ...

    def ping_acknowledged(self, payload: bytes) -> None: ...

    def goaway_received(self, last_stream_id: int, code: int) -> None: ...

    def window_updated(self, stream_id: int, increment: int) -> None:
        """Room for more content, on a stream or, as stream 0, on the connection."""

    def idle_frame_received(self) -> None:
        """A frame that asks for nothing: PRIORITY, a part of a field block, a type that is not known."""

    def stream_fault(self, fault: H2StreamFault) -> None:
        """A frame is malformed in a way that concerns its stream only."""


def _fault(code: ErrorCode, reason: str) -> NoReturn:
    raise H2ConnectionFault(code, reason)


class FrameParser:
    """Parses the frames of one connection.

    Args:
        sink: Receives the calls.
        max_frame_size: Octets a frame's payload may have (SETTINGS_MAX_FRAME_SIZE).
        max_block_size: Octets a field block may have, over all its frames.

    Attributes:
        open_block: What has come of a field block, while nothing but the rest of it may come; another object for each.
    """

    __slots__ = (
        "_block_ends_stream",
        "_is_stopped",
        "_block_stream",
        "_has_settings",
        "_max_block_size",
        "_max_frame_size",
        "_needed",
        "_partial",
        "_sink",
        "open_block",
    )

    def __init__(self, sink: FrameSink, max_frame_size: int, max_block_size: int) -> None:
        self._sink = sink
        self._max_frame_size = max_frame_size
        self._max_block_size = max_block_size
        self._partial = bytearray()
        self._needed = 0  # octets of `_partial` until a frame can be told, or is whole
        self._has_settings = False
        self._is_stopped = False
        self.open_block: bytearray | None = None
        self._block_stream = 0
        self._block_ends_stream = False

    def stop(self) -> None:
        """Take no frame more, not even from what is being parsed."""
        self._is_stopped = True

    def close(self) -> None:
        """Let go of the sink: else the two hold each other until the garbage collector comes."""
        self._is_stopped = True
        self._sink = None  # type: ignore[assignment]  # nothing is parsed any more

    def receive_data(self, data: bytes, max_frames: int) -> bytes:
        """Parse the next bytes.

        Args:
            data: Behind the preface, in any pieces.
            max_frames: How many small frames to take at most; those that take longer count for several.

        Returns:
            What is left to be passed in again, where there are more frames than wanted; ``b""`` otherwise.

        Raises:
            H2ConnectionFault: The connection cannot go on; the parser is of no use any more.
        """
        partial = self._partial
        if partial:
            partial += data
            if len(partial) < self._needed:
                return b""
            data = bytes(partial)
            partial.clear()
        position, size = 0, len(data)
        while max_frames > 0 and not self._is_stopped:
            start = position + HEADER_SIZE
            if start > size:
                self._needed = HEADER_SIZE
                break
            upper, lower, kind, flags, stream_id = _unpack_header(data, position)
            length = upper << 8 | lower
            if length > self._max_frame_size:
                _fault(ErrorCode.FRAME_SIZE_ERROR, "a frame over the limit")
            end = start + length
            if end > size:
                self._needed = end - position
                break
            # 256 octets of a field block take as long as a small frame, or longer.
            max_frames -= 1 if kind == DATA else 1 + (length >> 8)
            position = end
            try:
                if kind == HEADERS and flags == _WHOLE_REQUEST and self.open_block is None and self._has_settings:
                    self._sink.headers_received(stream_id & _STREAM_BITS, data[start:end], True)
                else:
                    self._frame(kind, flags, stream_id & _STREAM_BITS, data[start:end])
            except H2StreamFault as fault:
                self._sink.stream_fault(fault)
        if self._is_stopped:
            return b""
        rest = data[position:]
        if max_frames <= 0 and rest:
            return rest
        partial += rest
        return b""

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if not self._has_settings:
            # RFC 9113 section 3.4: the client's preface ends with a SETTINGS frame.
            if kind != SETTINGS or flags & ACK:
                _fault(ErrorCode.PROTOCOL_ERROR, "a first frame that is not SETTINGS")
            self._has_settings = True
        if self.open_block is not None and (kind != CONTINUATION or stream_id != self._block_stream):
            # RFC 9113 section 6.10: a field block is one, whatever the number of its frames.
            _fault(ErrorCode.PROTOCOL_ERROR, "a frame between those of a field block")
        if kind < len(_PARSERS):
            _PARSERS[kind](self, flags, stream_id, payload)
        else:
            self._sink.idle_frame_received()  # RFC 9113 section 5.5: an extension that we do not know

    def _data(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            _fault(ErrorCode.PROTOCOL_ERROR, "DATA on stream 0")
        flow_size = len(payload)
        if flags & PADDED:
            payload = _unpad(payload)
        self._sink.data_received(stream_id, payload, flow_size, bool(flags & END_STREAM))

    def _headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            _fault(ErrorCode.PROTOCOL_ERROR, "HEADERS on stream 0")
        if flags & PADDED:
            payload = _unpad(payload)
        if flags & HAS_PRIORITY:
            # RFC 9113 section 5.3.2: deprecated, and of no consequence here.
            if len(payload) < 5:
                _fault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for its priority")
            payload = payload[5:]
        if flags & END_HEADERS:
            self._sink.headers_received(stream_id, payload, bool(flags & END_STREAM))
            return
        self.open_block = bytearray(payload)
        self._block_stream = stream_id
        self._block_ends_stream = bool(flags & END_STREAM)

    def _continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        block = self.open_block
        if block is None:
            _fault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        block += payload
        if len(block) > self._max_block_size:
            _fault(ErrorCode.ENHANCE_YOUR_CALM, "a field block over the limit")
        if flags & END_HEADERS:
            self.open_block = None
            self._sink.headers_received(stream_id, bytes(block), self._block_ends_stream)
        else:
            self._sink.idle_frame_received()

    def _priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            _fault(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if len(payload) != 5:
            raise H2StreamFault(stream_id, ErrorCode.FRAME_SIZE_ERROR, "PRIORITY of another length than 5")
        self._sink.idle_frame_received()  # RFC 9113 section 5.3.2: nothing need be done about it

    def _rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            _fault(ErrorCode.PROTOCOL_ERROR, "RST_STREAM on stream 0")
        if len(payload) != 4:
            _fault(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM of another length than 4")
        self._sink.reset_received(stream_id, *_NUMBER.unpack(payload))

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            _fault(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & ACK:
            if payload:
                _fault(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS that is not empty")
            self._sink.settings_acknowledged()
            return
        if len(payload) % _SETTING.size:
            _fault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a length that is no multiple of 6")
        settings = list(_SETTING.iter_unpack(payload))
        for name, value in settings:
            if name == Setting.ENABLE_PUSH and value > 1:
                _fault(ErrorCode.PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH that is neither 0 nor 1")
            if name == Setting.INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
                _fault(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE over 2^31-1")
            if name == Setting.MAX_FRAME_SIZE and not MIN_MAX_FRAME_SIZE <= value <= MAX_MAX_FRAME_SIZE:
                _fault(ErrorCode.PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE out of bounds")
        self._sink.settings_received(settings)

    def _push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        _fault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE of a client")  # RFC 9113 section 8.4

    def _ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            _fault(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            _fault(ErrorCode.FRAME_SIZE_ERROR, "PING of another length than 8")
        if flags & ACK:
            self._sink.ping_acknowledged(payload)
        else:
            self._sink.ping_received(payload)

    def _goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            _fault(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < _GOAWAY.size:
            _fault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY shorter than 8")
        last_stream_id, code = _GOAWAY.unpack_from(payload)
        self._sink.goaway_received(last_stream_id & _STREAM_BITS, code)

    def _window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            _fault(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE of another length than 4")
        increment = _NUMBER.unpack(payload)[0] & _STREAM_BITS
        if not increment:
            # RFC 9113 section 6.9: an error of the stream, or of the connection.
            if stream_id:
                raise H2StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            _fault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
        self._sink.window_updated(stream_id, increment)


# By the type of the frame.
_PARSERS = (
    FrameParser._data,
    FrameParser._headers,
    FrameParser._priority,
    FrameParser._rst_stream,
    FrameParser._settings,
    FrameParser._push_promise,
    FrameParser._ping,
    FrameParser._goaway,
    FrameParser._window_update,
    FrameParser._continuation,
)


def _unpad(payload: bytes) -> bytes:
    """Take the padding off (RFC 9113 section 6.1)."""
    if not payload:
        _fault(ErrorCode.FRAME_SIZE_ERROR, "a frame too short for its padding's length")
    if payload[0] >= len(payload):
        _fault(ErrorCode.PROTOCOL_ERROR, "padding as long as the frame, or longer")
    return payload[1 : len(payload) - payload[0]]


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    size = len(payload)
    return _pack_header(size >> 8, size & 0xFF, kind, flags, stream_id) + payload


def frame_header(size: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The nine octets before a payload of ``size``."""
    return _pack_header(size >> 8, size & 0xFF, kind, flags, stream_id)


def headers(stream_id: int, block: bytes, end_stream: bool, max_frame_size: int) -> bytes:
    """A field block, in as many frames as it takes (RFC 9113 section 6.10)."""
    flags = END_STREAM if end_stream else 0
    if len(block) <= max_frame_size:
        return frame(HEADERS, flags | END_HEADERS, stream_id, block)
    parts = [frame(HEADERS, flags, stream_id, block[:max_frame_size])]
    last = (len(block) - 1) // max_frame_size * max_frame_size
    for start in range(max_frame_size, len(block), max_frame_size):
        part = block[start : start + max_frame_size]
        parts.append(frame(CONTINUATION, END_HEADERS if start == last else 0, stream_id, part))
    return b"".join(parts)


def rst_stream(stream_id: int, code: int) -> bytes:
    """RFC 9113 section 6.4."""
    return frame(RST_STREAM, 0, stream_id, _NUMBER.pack(code))


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    """RFC 9113 section 6.5."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in values))


SETTINGS_ACK = frame(SETTINGS, ACK, 0)


def ping(payload: bytes, ack: bool) -> bytes:
    """RFC 9113 section 6.7; ``payload`` has eight octets."""
    return frame(PING, ACK if ack else 0, 0, payload)


def goaway(last_stream_id: int, code: int) -> bytes:
    """RFC 9113 section 6.8; without debug data: what exactly was wrong is for our log."""
    return frame(GOAWAY, 0, 0, _GOAWAY.pack(last_stream_id, code))


def window_update(stream_id: int, increment: int) -> bytes:
    """RFC 9113 section 6.9."""
    return frame(WINDOW_UPDATE, 0, stream_id, _NUMBER.pack(increment))
