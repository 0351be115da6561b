"""A WebSocket on a stream of HTTP/2 (RFC 8441): any octets as its frames, and the server's taken apart."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tests.support.h2_frames import DATA, HEADERS
from tests.support.http1 import Field, Response
from tests.support.ws_client import CLOSE

if TYPE_CHECKING:
    from tests.support.h2_client import H2Connection


def connect_fields(
    target: bytes | str,
    fields: Iterable[Field] = (),
    *,
    scheme: bytes = b"http",
    protocol: bytes = b"websocket",
    version: bytes | None = b"13",
) -> list[Field]:
    """The extended CONNECT of RFC 8441 section 4."""
    own = [
        (b":method", b"CONNECT"),
        (b":protocol", protocol),
        (b":scheme", scheme),
        (b":path", target.encode() if isinstance(target, str) else target),
        (b":authority", b"testserver"),
    ]
    if version is not None:
        own.append((b"sec-websocket-version", version))
    return [*own, *fields]


class StreamSession:
    """A WebSocket whose request has been sent; `opened` reads the answer.

    Args:
        connection: Carries it.
        target: Of the request.
        fields: Beside its own.
    """

    def __init__(self, connection: H2Connection, target: bytes | str, fields: Iterable[Field] = ()) -> None:
        self.connection = connection
        self.stream = connection.request_with(connect_fields(target, fields, scheme=connection.scheme), end=False)
        self._pending = b""
        self.is_ended = False

    def opened(self) -> Response:
        """Read the answer, which must be a 200 that leaves the stream open."""
        frame = self.connection.next_on(self.stream)
        assert frame.kind == HEADERS and not frame.ends_stream, frame
        assert frame.fields[0] == (b":status", b"200"), frame.fields
        return Response(b"HTTP/2", 200, list(frame.fields[1:]))

    def send(self, *frames: bytes, end: bool = False) -> None:
        """Send frames in one DATA frame."""
        self.connection.send_data(self.stream, b"".join(frames), end=end)

    def read_exactly(self, count: int) -> bytes:
        while len(self._pending) < count:
            assert not self.is_ended, f"the stream has ended behind {self._pending!r}"
            frame = self.connection.next_on(self.stream)
            assert frame.kind == DATA, frame
            self._pending += frame.payload
            self.is_ended = frame.ends_stream
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken

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

    def expect_end(self) -> None:
        """The server ends the stream, without sending anything more."""
        assert not self._pending
        while not self.is_ended:
            frame = self.connection.next_on(self.stream)
            assert frame.kind == DATA and not frame.payload, frame
            self.is_ended = frame.ends_stream
