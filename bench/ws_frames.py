"""The WebSocket bytes that a client sends and understands (RFC 6455), with per-message compression (RFC 7692). No I/O.

As much of the two as a comparison needs: the server's side of a closing handshake or a fragmented ping is left to the
tests of servers.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from dataclasses import dataclass

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
_CONTINUATION, _FINAL, _COMPRESSED, _MASKED = 0x0, 0x80, 0x40, 0x80

# What the browsers offer, word for word.
OFFER = b"permessage-deflate; client_max_window_bits"
WINDOW_BITS = 12
"""Of what is compressed here. A server may ask for less than zlib's 15, and some of the peers ask for 12: frames made
with 12 are right for all of them, so that everybody inflates the same bytes."""

_KEY = base64.b64encode(b"side by side run")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_FLUSHED = b"\x00\x00\xff\xff"  # RFC 7692, 7.2.1: the end of a flushed block, which is not sent


def handshake(path: str, *, deflate: bool) -> bytes:
    """The opening request, with the headers it must have and no others."""
    lines = [
        b"GET " + path.encode("ascii") + b" HTTP/1.1",
        b"Host: 127.0.0.1",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Key: " + _KEY,
        b"Sec-WebSocket-Version: 13",
    ]
    if deflate:
        lines.append(b"Sec-WebSocket-Extensions: " + OFFER)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def right_accept() -> str:
    """What ``Sec-WebSocket-Accept`` has to be in the answer to :func:`handshake`."""
    return base64.b64encode(hashlib.sha1(_KEY + _GUID).digest()).decode("ascii")


def frame(payload: bytes, mask: bytes, *, opcode: int = TEXT, compressed: bool = False) -> bytes:
    """A whole message in one frame, as a client sends it.

    Args:
        payload: its bytes as they travel, below 64 KiB; with ``compressed`` what :func:`compress` made.
        mask: 4 bytes.
    """
    first = _FINAL | opcode | (_COMPRESSED if compressed else 0)
    if len(payload) < 126:
        head = struct.pack("!BB", first, _MASKED | len(payload))
    else:
        head = struct.pack("!BBH", first, _MASKED | 126, len(payload))
    return head + mask + _masked(payload, mask)


def _masked(payload: bytes, mask: bytes) -> bytes:
    repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload) ^ int.from_bytes(repeated)).to_bytes(len(payload))


def compress(payload: bytes) -> bytes:
    """``payload`` compressed with a window that is empty at first.

    It refers to nothing sent before, so it may be sent at any place in a connection, and more than once, also where the
    server keeps its window from message to message.
    """
    compressor = zlib.compressobj(wbits=-WINDOW_BITS)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_FLUSHED)


class Inflater:
    """Inflates the messages of one connection in their order; the window is kept unless the server said otherwise."""

    def __init__(self, *, keep_window: bool) -> None:
        self._keep_window = keep_window
        self._window = zlib.decompressobj(wbits=-15)

    def inflate(self, payload: bytes) -> bytes:
        """One message.

        Raises:
            zlib.error: it is not compressed in the way that was agreed on.
        """
        message = self._window.decompress(payload + _FLUSHED)
        if not self._keep_window:
            self._window = zlib.decompressobj(wbits=-15)
        return message


@dataclass(frozen=True, slots=True)
class Message:
    """What a server has sent: a data message put together from its frames, or a control frame.

    Attributes:
        payload: as it travelled.
    """

    opcode: int
    payload: bytes
    compressed: bool


class Messages:
    """Puts messages together from bytes as they arrive."""

    def __init__(self) -> None:
        self._received = b""
        self._begun: Message | None = None

    def receive(self, data: bytes) -> list[Message]:
        """Take the next bytes; returns the messages that are complete with them.

        Raises:
            ValueError: a frame is masked, or continues nothing.
        """
        self._received += data
        messages = []
        while (length := self._frame_length()) is not None:
            whole, self._received = self._received[: sum(length)], self._received[sum(length) :]
            message = self._join(whole[0], whole[length[0] :])
            if message:
                messages.append(message)
        return messages

    def _frame_length(self) -> tuple[int, int] | None:
        """The lengths of the first frame's head and payload, ``None`` as long as it is not all here."""
        received = self._received
        if len(received) < 2:
            return None
        if received[1] & _MASKED:
            raise ValueError("a masked frame from the server")
        head = {126: 4, 127: 10}.get(received[1], 2)
        if len(received) < head:
            return None
        payload = int.from_bytes(received[2:head]) if head > 2 else received[1]
        return (head, payload) if len(received) >= head + payload else None

    def _join(self, first: int, payload: bytes) -> Message | None:
        message = Message(first & 0x0F, payload, bool(first & _COMPRESSED))
        if message.opcode & 0x8:
            return message
        if message.opcode == _CONTINUATION:
            if self._begun is None:
                raise ValueError("a frame that continues nothing")
            message = Message(self._begun.opcode, self._begun.payload + payload, self._begun.compressed)
        self._begun = None if first & _FINAL else message
        return message if first & _FINAL else None
