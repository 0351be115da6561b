"""A WebSocket on a stream of HTTP/2 (RFC 8441): any octets as its frames, and the server's taken apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from tests.support.h2_connection import ConnectionEnded
from tests.support.h2_frames import DATA, HEADERS, Code, rst_frame
from tests.support.http1 import Field, Response, Truncated
from tests.support.ws_client import FrameReader

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


class StreamSession(FrameReader):
    """A WebSocket whose request has been sent; `opened` reads the answer. To be used as `ws_client.Session` is.

    Args:
        connection: Carries it.
        target: Of the request.
        fields: Beside its own.
    """

    def __init__(self, connection: H2Connection, target: bytes | str, fields: Iterable[Field] = ()) -> None:
        self.connection = connection
        self.socket = connection.socket
        own = [(name.lower(), value.strip()) for name, value in fields]
        self.stream = connection.request_with(connect_fields(target, own, scheme=connection.scheme), end=False)
        self._pending = b""
        self._end: Truncated | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, whatever else it carries."""
        self.connection.close()

    def reset(self) -> None:
        """End the stream without a word."""
        self.connection.send(rst_frame(self.stream, Code.CANCEL))

    def opened(self) -> Response:
        """Read the answer, which must be a 200 that leaves the stream open."""
        frame = self.connection.next_on(self.stream)
        assert frame.kind == HEADERS and not frame.ends_stream, frame
        assert frame.fields[0] == (b":status", b"200"), frame.fields
        return Response(b"HTTP/2", 200, list(frame.fields[1:]))

    def send(self, *frames: bytes, end: bool = False) -> None:
        """Send frames, as far as the windows allow in one DATA frame."""
        octets = b"".join(frames)
        if len(octets) <= min(self.connection.send_window, self.connection.send_windows[self.stream], 16_384):
            self.connection.send_data(self.stream, octets, end=end)
        else:
            self.connection.send_body(self.stream, octets, end=end)

    def send_fin(self) -> None:
        """End the stream from this side."""
        self.send(end=True)

    def read_exactly(self, count: int) -> bytes:
        """So many octets.

        Raises:
            Truncated: The stream, or the connection, has ended before.
        """
        while len(self._pending) < count:
            self._read_more()
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken

    def _read_more(self) -> None:
        if self._end is not None:
            raise self._end
        try:
            frame = self.connection.next_on(self.stream)
        except ConnectionEnded:
            self._end = Truncated(self._pending, clean=False)
            return
        self._pending += frame.payload if frame.kind == DATA else b""
        if frame.kind != DATA or frame.ends_stream:
            self._end = Truncated(self._pending, clean=frame.kind == DATA)

    def is_closed(self) -> bool:
        """Tell whether the server ends the stream, cleanly or not, without sending anything more; waits for either."""
        while not self._pending and self._end is None:
            self._read_more()
        return not self._pending

    def expect_end(self) -> None:
        """The server ends the stream, cleanly and without sending anything more."""
        assert self.is_closed()
        assert self._end is not None and self._end.clean, "a reset"
