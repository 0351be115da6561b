"""The client's end of an `H2Connection` on a transport in memory: frames in, and what is written as values to compare.

It takes part in nothing: no window is given back and no SETTINGS acknowledged unless the test does so.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

from hpack import Decoder

from daphne_clone.connection.h2 import H2Connection
from tests.support.connections import Exchange, Factory, Transport
from tests.support.h2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    field_block,
    headers_frame,
    request_fields,
    settings_frame,
)


class Headers(NamedTuple):
    """A field block, whole."""

    stream: int
    fields: list[tuple[bytes, bytes]]
    ends: bool = False


class Data(NamedTuple):
    stream: int
    data: bytes
    ends: bool = False


class Reset(NamedTuple):
    stream: int
    code: int


class Settings(NamedTuple):
    pairs: list[tuple[int, int]]


class SettingsAck(NamedTuple):
    pass


class Ping(NamedTuple):
    payload: bytes
    is_ack: bool = False


class Goaway(NamedTuple):
    last_stream: int
    code: int


class Window(NamedTuple):
    stream: int
    increment: int


class FrameReader:
    """Makes values of the frames that a server writes; a field block counts as one."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._buffer = b""
        self._block: tuple[int, bytes, bool] | None = None

    def set_table_size(self, size: int) -> None:
        """Allow the server's encoder no larger table than this from now on (RFC 7541 section 4.2)."""
        self._decoder.max_allowed_table_size = size

    def read(self, data: bytes) -> list[Any]:
        """The frames that are whole with ``data``."""
        self._buffer += data
        values = []
        while len(self._buffer) >= 9:
            upper, lower, kind, flags, stream = struct.unpack_from("!BHBBI", self._buffer)
            end = 9 + (upper << 16 | lower)
            if len(self._buffer) < end:
                break
            payload, self._buffer = self._buffer[9:end], self._buffer[end:]
            value = self._value(kind, flags, stream, payload)
            if value is not None:
                values.append(value)
        return values

    @property
    def is_between_frames(self) -> bool:
        return not self._buffer and self._block is None

    def _value(self, kind: int, flags: int, stream: int, payload: bytes) -> Any:
        if kind in (HEADERS, CONTINUATION):
            return self._block_part(kind, flags, stream, payload)
        assert self._block is None, "a frame between those of a field block"
        if kind == DATA:
            return Data(stream, payload, bool(flags & END_STREAM))
        if kind == RST_STREAM:
            return Reset(stream, *struct.unpack("!I", payload))
        if kind == SETTINGS:
            return SettingsAck() if flags & ACK else Settings(list(struct.iter_unpack("!HI", payload)))
        if kind == PING:
            return Ping(payload, bool(flags & ACK))
        if kind == GOAWAY:
            return Goaway(*struct.unpack_from("!II", payload))
        assert kind == WINDOW_UPDATE, f"a server has no cause to send a frame of type {kind}"
        return Window(stream, *struct.unpack("!I", payload))

    def _block_part(self, kind: int, flags: int, stream: int, payload: bytes) -> Headers | None:
        if kind == HEADERS:
            assert self._block is None, "a field block in another"
            self._block = (stream, payload, bool(flags & END_STREAM))
        else:
            assert self._block is not None and self._block[0] == stream, "CONTINUATION of nothing"
            self._block = (stream, self._block[1] + payload, self._block[2])
        if not flags & END_HEADERS:
            return None
        _, block, ends = self._block
        self._block = None
        return Headers(
            stream, [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)], ends
        )


class Peer:
    """A client on a transport in memory.

    Args:
        factory: Makes the connection, and turns its loop.
        transport: Instead of an ordinary one.
        settings: What its first SETTINGS frame says.
        greets: False: it says nothing yet, and the test takes what the server says first.
    """

    def __init__(
        self,
        factory: Factory,
        transport: Transport | None = None,
        settings: Iterable[tuple[int, int]] = (),
        greets: bool = True,
    ) -> None:
        self.factory = factory
        self.transport = transport if transport is not None else Transport()
        self.connection = H2Connection(factory)
        self.transport.connect(self.connection)
        self.frames = FrameReader()
        if greets:
            self.send(PREFACE, settings_frame(*settings))
            assert SettingsAck() in self.take()

    def send(self, *data: bytes) -> None:
        """Have the connection receive this, in one piece."""
        assert self.transport.is_reading, "a transport that is paused delivers nothing"
        self.connection.dataReceived(b"".join(data))

    def take(self) -> list[Any]:
        """What has been written since the last call, by the end of this turn of the loop."""
        self.factory.turn()
        return self.frames.read(self.transport.take())

    def request(
        self,
        stream: int = 1,
        target: bytes = b"/",
        fields: Iterable[tuple[bytes, bytes]] = (),
        *,
        method: bytes = b"GET",
        end: bool = True,
        behind: bytes = b"",
    ) -> Exchange:
        """Make a request, with other frames behind it in the same read; returns its exchange."""
        self.send(request_frame(stream, target, fields, method=method, end=end), behind)
        return self.factory.exchanges[-1]


def request_frame(
    stream: int = 1,
    target: bytes = b"/",
    fields: Iterable[tuple[bytes, bytes]] = (),
    *,
    method: bytes = b"GET",
    end: bool = True,
) -> bytes:
    """A request's HEADERS frame."""
    return headers_frame(stream, field_block(request_fields(target, fields, method=method)), end=end)


def websocket_frame(stream: int = 1, fields: Iterable[tuple[bytes, bytes]] = (), *, end: bool = False) -> bytes:
    """The HEADERS frame of a WebSocket handshake (RFC 8441 section 5)."""
    own = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"http"), (b":path", b"/ws")]
    rest = [(b":authority", b"testserver"), (b"sec-websocket-version", b"13"), *fields]
    return headers_frame(stream, field_block([*own, *rest]), end=end)
