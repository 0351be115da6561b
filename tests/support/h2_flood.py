"""Floods of frames, as fast as a server takes them, with a look at how it serves others meanwhile."""

from __future__ import annotations

import select
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.h2_frames import GOAWAY

if TYPE_CHECKING:
    from tests.support.h2_client import H2Connection

LOOK_S = 0.25  # how often others are looked at
BATCH = 32_768  # octets put together for a write


@dataclass
class Outcome:
    """What came of a flood.

    Attributes:
        sent: Octets that went out.
        seconds: How long it went on.
        received: How many frames of each type came.
        goaway: The code of the last GOAWAY; None without one.
        is_closed: The server has ended the connection.
    """

    sent: int = 0
    seconds: float = 0.0
    received: Counter[int] = field(default_factory=Counter)
    goaway: int | None = None
    is_closed: bool = False


class _Answers:
    """Counts the frames in what is received, and keeps none of them."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._pending = b""
        self._skip = 0

    def take(self, octets: bytes) -> None:
        if self._skip:
            passed = min(self._skip, len(octets))
            self._skip -= passed
            octets = octets[passed:]
        data = self._pending + octets
        at = 0
        while at + 9 <= len(data):
            high, low, kind, _, _ = struct.unpack_from("!BHBBI", data, at)
            length = high << 16 | low
            if kind == GOAWAY:
                if at + 9 + length > len(data):
                    break
                (self._outcome.goaway,) = struct.unpack_from("!I", data, at + 13)
            self._outcome.received[kind] += 1
            at += 9 + length
        self._skip = max(at - len(data), 0)
        self._pending = data[at:]


def flood(
    connection: H2Connection,
    frames: Iterator[bytes],
    *,
    seconds: float,
    reads: bool = True,
    look: Callable[[], None] | None = None,
) -> Outcome:
    """Send frames until the server ends the connection, or time is up.

    Args:
        connection: Whose handshake is done; nothing else is read from it any more.
        frames: What to send, in order.
        seconds: For how long.
        reads: Read what the server answers; without, only the end of the connection is noticed.
        look: Called several times a second; it fails when others are not served.
    """
    outcome = Outcome()
    answers = _Answers(outcome)
    begin = time.monotonic()
    next_look = begin + LOOK_S
    pending = memoryview(b"")
    is_exhausted = False
    connection.socket.setblocking(False)
    while (now := time.monotonic()) < begin + seconds:
        if look is not None and now >= next_look:
            look()
            next_look = time.monotonic() + LOOK_S
        if not pending and not is_exhausted:
            batch = bytearray()
            while len(batch) < BATCH and (part := next(frames, b"")):
                batch += part
            is_exhausted = len(batch) < BATCH
            pending = memoryview(bytes(batch))
        readable, writable, _ = select.select(
            [connection.socket] if reads else [], [connection.socket] if pending else [], [], 0.1
        )
        try:
            if readable:
                octets = connection.socket.recv(1_048_576)
                if not octets:
                    outcome.is_closed = True
                    break
                answers.take(octets)
            if writable:
                count = connection.socket.send(pending)
                outcome.sent += count
                pending = pending[count:]
        except BlockingIOError:
            continue
        except ConnectionError:
            outcome.is_closed = True
            break
    outcome.seconds = time.monotonic() - begin
    return outcome
