"""A raw WebSocket client: any handshake, any octets as frames; what the server sends is taken apart strictly."""

from __future__ import annotations

import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable

from tests.support.http1 import Connection, Field, Response, Truncated, head

# RFC 6455 section 1.3: the sample key and what answers it.
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
FIN = 0x80

END_S = 20.0  # for what may go on for a while, and has to end
COMPRESSED = 0x40


def handshake(
    target: bytes | str,
    fields: Iterable[Field] = (),
    *,
    key: bytes | None = KEY,
    version: bytes | None = b"13",
    method: bytes = b"GET",
    http: bytes = b"1.1",
) -> bytes:
    """A WebSocket request; None leaves a field out."""
    own = [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")]
    if key is not None:
        own.append((b"Sec-WebSocket-Key", key))
    if version is not None:
        own.append((b"Sec-WebSocket-Version", version))
    return head(target, [*own, *fields], method=method, version=http)


def frame(first: int, payload: bytes = b"", mask: bytes | None = b"\x11\x22\x33\x44") -> bytes:
    """A frame as a client sends it; ``first`` is its first octet, flags included. Without a mask it is malformed."""
    length = len(payload)
    bit = 0 if mask is None else 0x80
    if length < 126:
        start = bytes((first, bit | length))
    elif length < 65_536:
        start = struct.pack("!BBH", first, bit | 126, length)
    else:
        start = struct.pack("!BBQ", first, bit | 127, length)
    if mask is None:
        return start + payload
    pad = (mask * (length // 4 + 1))[:length]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")
    return start + mask + masked.to_bytes(length, "big")


def close_frame(code: int | None = None, reason: str = "") -> bytes:
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason.encode())


class FrameReader(ABC):
    """Takes the server's frames apart, whatever carries them."""

    @abstractmethod
    def read_exactly(self, count: int) -> bytes:
        """The next octets; raises Truncated at the end."""

    @abstractmethod
    def send(self, octets: bytes) -> None:
        """Send them."""

    def read_frame(self) -> tuple[int, bytes]:
        """The next frame: its first octet, and its payload."""
        first, length = self.read_exactly(2)
        assert length < 0x80, "a server masks nothing"
        if length == 126:
            (length,) = struct.unpack("!H", self.read_exactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self.read_exactly(8))
        return first, self.read_exactly(length)

    def read_close(self) -> tuple[int | None, str]:
        """Code and reason of a Close frame, which must be the next; None when it has no code."""
        first, payload = self.read_frame()
        assert first == CLOSE, (first, payload[:100])
        return (struct.unpack("!H", payload[:2])[0], payload[2:].decode()) if payload else (None, "")

    def frames_to_the_end(self) -> list[tuple[int, bytes]]:
        """The frames up to the end of what carries them, whether that is clean or not."""
        frames = []
        deadline = time.monotonic() + END_S
        while time.monotonic() < deadline:
            try:
                frames.append(self.read_frame())
            except Truncated:
                return frames
        raise TimeoutError(f"they have not ended within {END_S} s")

    def exchange(self, text: str) -> str:
        """Send a text and read the next, which is its echo."""
        self.send(frame(TEXT, text.encode()))
        first, payload = self.read_frame()
        assert first == TEXT, (first, payload[:100])
        return payload.decode()


class Session(Connection, FrameReader):
    """A connection whose handshake has been sent; `opened` reads the answer."""

    def opened(self) -> Response:
        """Read the answer, which must be a 101."""
        response = self.read_head()
        assert response.status == 101, response
        return response
