"""The few bytes of HTTP/2 that a check needs: requests as a client writes them, frames and statuses as it reads them.

Sections are those of RFC 9113 and, for header compression, RFC 7541. Only the status of an answer is decoded: it comes
first and needs no dynamic table, as long as the answer is one of those that a check is about.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM = ACK = 0x01
END_HEADERS = 0x04
PADDED = 0x08
PRIORITY = 0x20

HEAD_BYTES = 9
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_WINDOW = 2**24
_ENABLE_PUSH, _INITIAL_WINDOW_SIZE = 2, 4

_STATUS_INDEXES = range(8, 15)
"""Entries of the static table (appendix A) whose name is ``:status``."""
_STATUSES = dict(zip(_STATUS_INDEXES, (200, 204, 206, 304, 400, 404, 500), strict=True))


@dataclass(frozen=True, slots=True)
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes

    def content(self) -> bytes:
        """The payload of a DATA or HEADERS frame without padding (6.1) and priority (6.2)."""
        start, end = 0, len(self.payload)
        if self.flags & PADDED:
            start, end = 1, end - self.payload[0]
        if self.kind == HEADERS and self.flags & PRIORITY:
            start += 5
        if start > end:
            raise ValueError("a frame that is all padding and more")
        return self.payload[start:end]


class Frames:
    """Cuts what arrives into frames."""

    def __init__(self) -> None:
        self._left = b""

    def receive(self, data: bytes) -> Iterator[Frame]:
        """The frames that ``data`` completes; what is behind the last of them is kept."""
        self._left += data
        while len(self._left) >= HEAD_BYTES:
            end = HEAD_BYTES + int.from_bytes(self._left[:3])
            if len(self._left) < end:
                return
            kind, flags, stream = struct.unpack_from(">BBI", self._left, 3)
            payload, self._left = self._left[HEAD_BYTES:end], self._left[end:]
            yield Frame(kind, flags, stream & 0x7FFFFFFF, payload)


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    """A frame as it is sent (4.1)."""
    return len(payload).to_bytes(3) + struct.pack(">BBI", kind, flags, stream) + payload


def opening() -> bytes:
    """What a client sends first (3.4), with windows that no answer of a scenario fills."""
    settings = struct.pack(">HIHI", _ENABLE_PUSH, 0, _INITIAL_WINDOW_SIZE, _WINDOW)
    return _PREFACE + frame(SETTINGS, settings) + frame(WINDOW_UPDATE, struct.pack(">I", _WINDOW))


def request(stream: int, *, scheme: str, authority: str, path: str) -> bytes:
    """A GET with the fields that h2load sends."""
    fields = [(":method", "GET"), (":scheme", scheme), (":authority", authority), (":path", path)]
    block = header_block([*fields, ("user-agent", "h2load")])
    return frame(HEADERS, block, flags=END_STREAM | END_HEADERS, stream=stream)


def header_block(fields: Sequence[tuple[str, str]]) -> bytes:
    """Literals without indexing (RFC 7541, 6.2.2), nothing compressed; no name or value has more than 126 bytes."""
    block = bytearray()
    for field in fields:
        block.append(0)
        for text in field:
            assert len(text) < 127, "its length takes one byte"
            block.append(len(text))
            block += text.encode("ascii")
    return bytes(block)


def status(block: bytes) -> int:
    """The status of an answer, from the first field of its header block.

    Raises:
        ValueError: the first field is another one, or refers to the dynamic table.
    """
    try:
        at = 0
        while block[at] & 0xE0 == 0x20:  # new size of the dynamic table (RFC 7541, 6.3)
            longer = block[at] & 0x1F == 0x1F
            at += 1
            while longer:
                longer = block[at] >= 0x80
                at += 1
        first = block[at]
        if first & 0x80:  # indexed (6.1)
            return _STATUSES[first & 0x7F]
        index = (
            first & 0x3F if first & 0x40 else first & 0x0F
        )  # literal, with (6.2.1) or without indexing (6.2.2, 6.2.3)
        if index not in _STATUS_INDEXES:
            raise ValueError("the answer does not begin with a status")
        compressed, length = block[at + 1] & 0x80, block[at + 1] & 0x7F
        value = block[at + 2 : at + 2 + length]
        return _compressed_status(value) if compressed else int(value)
    except LookupError as error:
        raise ValueError("the answer begins with no status that can be told") from error


def _compressed_status(value: bytes) -> int:
    """Three digits in the Huffman code of RFC 7541, appendix B: 0 to 2 have five bits, 3 to 9 have six."""
    bits = "".join(f"{byte:08b}" for byte in value)
    digits = ""
    for _ in range(3):
        if bits[:5] in ("00000", "00001", "00010"):
            digits, bits = digits + str(int(bits[:5], 2)), bits[5:]
        else:
            digits, bits = digits + str(int(bits[:6], 2) - 0b011001 + 3), bits[6:]
    return int(digits)
