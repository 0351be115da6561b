"""What is sent to every server over WebSockets: the handshake and the messages of each scenario.

Knows no server and opens no socket. All messages are text: it is what most applications send, and a server has to make
sure that it is UTF-8 and to decode it. With and without compression the texts are the same.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import ClassVar, Literal

from bench import ws_frames

_PROSE = (
    "the of and a to in is you that it he was for on are as with his they at be this have from or one had by word but "
    "not what all were we when your can said there use an each which she do how their if will up other about out many "
    "then them these so some her would make like him into time has look two more write go see number no way could"
)
_ROOMS = ("lobby", "support", "random", "kitchen", "release", "night-shift")
_TOTAL_BYTES = 2**16
"""How much text the messages of a scenario hold together: as much as two windows of the compression, so that a message
is not compressed to a reference to the same one before it."""
_LEAST_MESSAGES = 16


@dataclass(frozen=True, slots=True)
class WebSocketScenario:
    """One way to use WebSocket connections; ``load_ws.c`` says what each mode does.

    Attributes:
        name: what ``--scenario`` and the report call it.
        title: one line for the report.
        message_bytes: length of each message before compression.
        deflate: whether the client offers per-message compression, and the server has to agree.
        connections: how many; ``None`` for as many as ``--connections`` says.
        unit: what is counted, in the report's words.
    """

    name: str
    title: str
    mode: Literal["echo", "fanout", "idle", "connect"]
    message_bytes: int = 64
    deflate: bool = False
    connections: int | None = None
    unit: str = "msg"
    tls: ClassVar[bool] = False

    @property
    def path(self) -> str:
        """One of the paths of ``bench.apps``."""
        return "/ws/fanout" if self.mode == "fanout" else "/ws/echo"

    def connections_for(self, asked: int) -> int:
        """How many connections to use where ``asked`` are asked for."""
        return self.connections or asked

    def request(self) -> bytes:
        return ws_frames.handshake(self.path, deflate=self.deflate)

    def plan(self) -> bytes:
        """All that ``load_ws.c`` needs to know, in the form that it says there."""
        expected_bytes = 0 if self.deflate else self.message_bytes
        spans = [self.request(), *_frames(self.message_bytes, deflate=self.deflate)]
        packed = [struct.pack("<I", len(span)) + span for span in spans]
        return struct.pack("<II", expected_bytes, len(packed) - 1) + b"".join(packed)


@cache
def messages(message_bytes: int) -> tuple[bytes, ...]:
    """Different texts of that length, always the same ones."""
    random = Random(message_bytes)
    count = max(_LEAST_MESSAGES, _TOTAL_BYTES // message_bytes)
    return tuple(_records(random, message_bytes).encode("ascii") for _ in range(count))


def _records(random: Random, length: int) -> str:
    """What a chat would send as JSON, records behind each other, cut off at ``length`` characters."""
    words, text = _PROSE.split(), ""
    while len(text) < length:
        said = " ".join(random.choices(words, k=random.randint(3, 24)))
        room, number = random.choice(_ROOMS), random.randrange(10**8)
        text += f'{{"id":{number},"room":"{room}","text":"{said}","user":{random.randrange(10**4)},"edited":false}},'
    return text[:length]


@cache
def _frames(message_bytes: int, *, deflate: bool) -> tuple[bytes, ...]:
    """The messages as frames, each with a mask of its own."""
    random = Random(message_bytes)
    return tuple(
        ws_frames.frame(ws_frames.compress(message) if deflate else message, random.randbytes(4), compressed=deflate)
        for message in messages(message_bytes)
    )


WEBSOCKET_SCENARIOS = (
    WebSocketScenario("ws-echo-64", "64 bytes of text, echoed", "echo"),
    WebSocketScenario("ws-echo-16k", "16 KiB of text, echoed", "echo", message_bytes=16 * 1024),
    WebSocketScenario("ws-echo-64-deflate", "64 bytes of text, compressed, echoed", "echo", deflate=True),
    WebSocketScenario(
        "ws-echo-16k-deflate", "16 KiB of text, compressed, echoed", "echo", message_bytes=16 * 1024, deflate=True
    ),
    WebSocketScenario(
        "ws-fanout",
        "64 bytes of text from one connection to 1,000 others; what they receive is counted",
        "fanout",
        connections=1001,
    ),
    WebSocketScenario("ws-connect", "handshake, 64 bytes echoed, close handshake, again", "connect", unit="conn"),
    WebSocketScenario(
        "ws-idle", "what each of 5,000 connections takes that says nothing", "idle", connections=5000, unit="conn"
    ),
)
