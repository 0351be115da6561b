"""Frames of HTTP/2 and field blocks of HPACK as octets, well-formed or not: nothing is checked here."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum

Field = tuple[bytes, bytes]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Frame types (RFC 9113 section 6)
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
UNKNOWN = 0xBA  # reserved for nothing, and known to nobody

# Flags
END_STREAM = ACK = 0x01
END_HEADERS = 0x04
PADDED = 0x08
PRIORITIZED = 0x20

MAX_WINDOW = 2**31 - 1
DEFAULT_WINDOW = 65_535
DEFAULT_FRAME_SIZE = 16_384


class Code(IntEnum):
    """Error codes (RFC 9113 section 7)."""

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


def name_of(code: int) -> str:
    """An error code's name, or its number where it has none."""
    return Code(code).name if code in list(Code) else str(code)


class Setting(IntEnum):
    """Settings (RFC 9113 section 6.5.2, RFC 8441 section 3)."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6
    ENABLE_CONNECT_PROTOCOL = 0x8


# Frames


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """Any frame; ``length`` is what it says its payload has, where that is not what it has."""
    size = len(payload) if length is None else length
    return struct.pack("!BHBBI", size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def padded(payload: bytes, padding: int | None) -> bytes:
    """A payload with so many octets of padding behind it and their number in front; None: as it is."""
    return payload if padding is None else bytes((padding,)) + payload + bytes(padding)


def data_frame(stream: int, payload: bytes = b"", *, end: bool = False, padding: int | None = None) -> bytes:
    flags = (END_STREAM if end else 0) | (0 if padding is None else PADDED)
    return frame(DATA, flags, stream, padded(payload, padding))


def headers_frame(
    stream: int,
    block: bytes,
    *,
    end: bool = True,
    whole: bool = True,
    padding: int | None = None,
    priority: bytes = b"",
) -> bytes:
    """A HEADERS frame; ``end`` ends the stream, ``whole`` the field block; ``priority`` is five octets or none."""
    flags = (END_STREAM if end else 0) | (END_HEADERS if whole else 0)
    flags |= (0 if padding is None else PADDED) | (PRIORITIZED if priority else 0)
    return frame(HEADERS, flags, stream, padded(priority + block, padding))


def continuation_frame(stream: int, block: bytes, *, whole: bool = True) -> bytes:
    return frame(CONTINUATION, END_HEADERS if whole else 0, stream, block)


def dependency(stream: int, weight: int = 16, *, exclusive: bool = False) -> bytes:
    """What a PRIORITY frame holds, and a HEADERS frame with that flag."""
    return struct.pack("!IB", stream | (0x80000000 if exclusive else 0), weight - 1)


def priority_frame(stream: int, depends_on: int = 0) -> bytes:
    return frame(PRIORITY, 0, stream, dependency(depends_on))


def rst_frame(stream: int, code: int = Code.CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack("!I", code))


def settings_frame(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack("!HI", *pair) for pair in pairs))


SETTINGS_ACK = frame(SETTINGS, ACK)


def ping_frame(payload: bytes = b"12345678", *, ack: bool = False) -> bytes:
    return frame(PING, ACK if ack else 0, 0, payload)


def goaway_frame(last_stream: int = 0, code: int = Code.NO_ERROR, debug: bytes = b"") -> bytes:
    return frame(GOAWAY, 0, 0, struct.pack("!II", last_stream, code) + debug)


def window_frame(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack("!I", increment))


def push_frame(stream: int, promised: int, block: bytes) -> bytes:
    return frame(PUSH_PROMISE, END_HEADERS, stream, struct.pack("!I", promised) + block)


def frames_of(octets: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, stream and payload of each whole frame."""
    at = 0
    while at + 9 <= len(octets):
        high, low, kind, flags, stream = struct.unpack_from("!BHBBI", octets, at)
        at += 9 + (high << 16 | low)
        yield kind, flags, stream, octets[at - (high << 16 | low) : at]


# HPACK (RFC 7541)


def integer(value: int, prefix: int, first: int = 0) -> bytes:
    """Section 5.1: an integer with a prefix of so many bits; ``first`` has the bits before it."""
    limit = (1 << prefix) - 1
    if value < limit:
        return bytes((first | value,))
    octets = [first | limit]
    value -= limit
    while value >= 128:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*octets, value))


def string(octets: bytes) -> bytes:
    """Section 5.2, without Huffman's code."""
    return integer(len(octets), 7) + octets


def huffman_string(coded: bytes) -> bytes:
    """Section 5.2: octets that are said to be in Huffman's code."""
    return integer(len(coded), 7, 0x80) + coded


def indexed(index: int) -> bytes:
    """Section 6.1."""
    return integer(index, 7, 0x80)


# Section 6.2: how a literal goes with the dynamic table: the bits in front, and those of the index.
INCREMENTAL, WITHOUT, NEVER = (0x40, 6), (0x00, 4), (0x10, 4)


def literal(name: bytes | int, value: bytes, indexing: tuple[int, int] = WITHOUT) -> bytes:
    """Section 6.2: a literal field; a name is given by its octets, or by its index."""
    bits, prefix = indexing
    if isinstance(name, int):
        return integer(name, prefix, bits) + string(value)
    return bytes((bits,)) + string(name) + string(value)


def table_size(size: int) -> bytes:
    """Section 6.3: the dynamic table's new size."""
    return integer(size, 5, 0x20)


def field_block(fields: Iterable[Field]) -> bytes:
    """Fields without any compression, which leave the dynamic table as it is."""
    return b"".join(literal(name, value) for name, value in fields)


def request_fields(
    target: bytes | str = b"/hello/x",
    fields: Iterable[Field] = (),
    *,
    method: bytes = b"GET",
    scheme: bytes = b"http",
    authority: bytes | None = b"testserver",
) -> list[Field]:
    """A request's fields, the pseudo-fields first; ``authority=None`` leaves that out."""
    path = target.encode() if isinstance(target, str) else target
    own = [(b":method", method), (b":scheme", scheme), (b":path", path)]
    if authority is not None:
        own.append((b":authority", authority))
    return [*own, *fields]


def request_block(target: bytes | str = b"/hello/x", fields: Iterable[Field] = (), *, method: bytes = b"GET") -> bytes:
    """The field block of an ordinary request."""
    return field_block(request_fields(target, fields, method=method))
