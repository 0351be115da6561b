"""Stand-ins around a WebSocket session and its state machine, which keep what they are told; frames taken apart.

Nothing here opens a socket, reads a clock or sleeps. Frames of a client come from `tests.support.ws_client`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

from daphne_clone.connection.autobahn_bridge import Deflate, FrameEngine
from daphne_clone.connection.websocket import SessionOptions, WebSocketSession
from tests.support.connections import Factory, Transport

TAIL = b"\x00\x00\xff\xff"  # RFC 7692 section 7.2.1

RSV1, RSV2, RSV3 = 0x40, 0x20, 0x10


def server_frames(data: bytes) -> list[tuple[int, bytes]]:
    """Take what a server has sent apart, strictly: first octet and payload of each frame (RFC 6455 section 5.2)."""
    frames = []
    while data:
        first, length = data[:2]
        start = 2
        assert length < 0x80, "a server masks nothing"
        if length >= 126:
            size = 2 if length == 126 else 8
            length = int.from_bytes(data[2 : 2 + size], "big")
            assert length > (125 if size == 2 else 65_535), "not the shortest encoding"
            start += size
        assert len(data) >= start + length, "a frame that is not whole"
        frames.append((first, data[start : start + length]))
        data = data[start + length :]
    return frames


def close_payload(payload: bytes) -> tuple[int | None, str]:
    """Code and reason in a Close frame."""
    return (struct.unpack("!H", payload[:2])[0], payload[2:].decode()) if payload else (None, "")


def compressed(payload: bytes, compressor: Any = None, level: int = -1) -> bytes:
    """A message as RFC 7692 section 7.2.1 has it; by a compressor with an empty window unless one is given."""
    if compressor is None:
        compressor = zlib.compressobj(level=level, wbits=-15)
    data: bytes = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    assert data.endswith(TAIL)
    return data.removesuffix(TAIL)


def deflate(
    max_message: int = 0, *, ours: bool = False, theirs: bool = False, window_bits: tuple[int, int] = (12, 15)
) -> Deflate:
    """The extension as if negotiated; ``ours`` and ``theirs``: that side's messages come without context takeover."""
    return Deflate((ours, theirs), window_bits, max_message)


class Listener:
    """A `FrameListener` that keeps what it is told."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.pongs: list[bytes] = []
        self.sent: list[tuple[int, bytes]] = []
        self.closed: tuple[int | None, str] | None = None
        self.failed_with: int | None = None
        self.reason = ""

    def close_made(self, frame: bytes) -> None:
        self.sent += server_frames(frame)

    def message_received(self, payload: bytes, is_binary: bool) -> None:
        assert type(payload) is bytes
        self.messages.append(payload if is_binary else payload.decode())

    def ping_received(self, payload: bytes) -> None:
        self.pongs.append(payload)

    def peer_closed(self, code: int | None, reason: str | None) -> None:
        assert self.closed is None
        self.closed = code, reason or ""

    def failed(self, code: int, reason: str) -> None:
        assert self.failed_with is None
        self.failed_with = code
        self.reason = reason


class Engine:
    """A `FrameEngine` under test, which is Autobahn's state machine alone."""

    def __init__(self, extension: Deflate | None = None, max_message: int = 0, max_frame: int = 0) -> None:
        self.listener = Listener()
        self.engine = FrameEngine(self.listener, extension, max_message, max_frame)

    @property
    def is_over(self) -> bool:
        return self.listener.closed is not None or self.listener.failed_with is not None

    def receive(self, *pieces: bytes) -> None:
        """As a session does: frame after frame, until it is over."""
        for piece in pieces:
            position = 0
            while position < len(piece) and not self.is_over:
                after = self.engine.receive(piece, position)
                assert position < after <= len(piece)
                position = after


class SessionTransport(Transport):
    """A transport that may be paused twice: a session pauses again while it still takes what it has held back."""

    def pauseProducing(self) -> None:
        self.is_reading = False

    def resumeProducing(self) -> None:
        self.is_reading = True


class Owner:
    """A `SessionOwner` that keeps what it is told.

    Attributes:
        events: ``("opened",)``, ``("message", payload)``, ``("failed", code)``, ``("closed", code, reason)``,
            ``("room",)``.
        on_message: Run with each message.
        is_idle: The application waits for messages; while it is not, `call_when_idle` keeps its callbacks in `waiting`.
    """

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.on_message: Callable[[str | bytes], None] = lambda _payload: None
        self.is_idle = True
        self.waiting: list[Callable[[], None]] = []

    @property
    def messages(self) -> list[str | bytes]:
        return [event[1] for event in self.events if event[0] == "message"]

    @property
    def closed(self) -> tuple[int, str] | None:
        """Code and reason it was told, once and as the last of the session."""
        told = [index for index, event in enumerate(self.events) if event[0] == "closed"]
        assert len(told) < 2, "told of the end twice"
        if not told:
            return None
        assert all(event[0] == "room" for event in self.events[told[0] + 1 :]), "told more behind the end"
        _, code, reason = self.events[told[0]]
        return code, reason

    def session_opened(self) -> None:
        self.events.append(("opened",))

    def message_received(self, payload: str | bytes) -> None:
        assert type(payload) in (str, bytes)
        self.events.append(("message", payload))
        self.on_message(payload)

    def call_when_idle(self, callback: Callable[[], None]) -> None:
        if self.is_idle:
            callback()
        else:
            self.waiting.append(callback)

    def session_failed(self, code: int, reason: str) -> None:
        self.events.append(("failed", code))

    def session_closed(self, code: int, reason: str) -> None:
        self.events.append(("closed", code, reason))

    def writing_resumed(self) -> None:
        self.events.append(("room",))


class Session:
    """A session under test, with its owner, factory and transport.

    Args:
        factory: Its factory; a new one unless given.
        extension: The negotiated permessage-deflate.
        options: Of `SessionOptions`.
    """

    def __init__(self, factory: Factory | None = None, extension: Deflate | None = None, **options: Any) -> None:
        self.factory = factory if factory is not None else Factory()
        self.owner = Owner()
        self.session = WebSocketSession(self.owner, self.factory, SessionOptions(**options), extension)
        self.transport = SessionTransport()
        self.transport.connect(self.session)

    def receive(self, *pieces: bytes) -> None:
        """Hand each piece to the session, one in a turn of the loop; what a closed transport would drop, is dropped."""
        for piece in pieces:
            if self.transport.is_lost or self.transport.is_closed:
                return
            assert self.transport.is_reading, "a transport that is paused delivers nothing"
            self.session.dataReceived(piece)
            self.factory.turn()

    def resume(self) -> None:
        """Have the owner take messages again; what has waited comes in the next turn of the loop."""
        self.session.resume_receiving()
        self.factory.turn()

    def take(self) -> list[tuple[int, bytes]]:
        """The frames sent since the last call."""
        assert self.transport.lost_writes == [], "written behind the end"
        return server_frames(self.transport.take())

    def take_close(self) -> tuple[int | None, str]:
        """Code and reason of a Close frame, which must be all that was sent."""
        ((first, payload),) = self.take()
        assert first == 0x88
        return close_payload(payload)
