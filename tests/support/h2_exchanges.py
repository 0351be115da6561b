"""The client of the version-neutral contract tests, as tests/support/http1.py has it, over HTTP/2."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.support.h2_client import H2Connection
from tests.support.h2_connection import ConnectionEnded
from tests.support.h2_frames import DATA, HEADERS, Code, request_fields, rst_frame

if TYPE_CHECKING:
    from tests.support.http1 import Field, Response


class Exchange:
    """A request under way, on a connection of its own.

    Args:
        body: None announces no body; a number announces that many octets, sent by `send_body`; bytes are sent at once.
    """

    def __init__(
        self,
        address: tuple[str, int],
        method: bytes,
        target: bytes | str,
        fields: Sequence[Field],
        body: bytes | int | None,
    ) -> None:
        self._connection = connection = H2Connection(address)
        self.client_address = connection.socket.getsockname()
        self._missing = 0
        authority = b"testserver"
        sent = []
        for name, value in fields:
            if name.lower() == b"host":
                authority = value
            else:
                sent.append((name.lower(), value))
        if body is not None:
            self._missing = body if isinstance(body, int) else len(body)
            sent.append((b"content-length", b"%d" % self._missing))
        try:
            connection.handshake()
            head = request_fields(target, sent, method=method, authority=authority)
            self._stream = connection.request_with(head, end=not self._missing)
            if isinstance(body, bytes) and body:
                self.send_body(body)
        except BaseException:
            connection.close()
            raise

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._connection.close()

    def send_body(self, data: bytes) -> None:
        self._missing -= len(data)
        with contextlib.suppress(ConnectionEnded, OSError):  # refused before it was whole: reading tells how
            self._connection.send_body(self._stream, data, end=not self._missing)

    def read_head(self) -> Response:
        """The next head, final or interim; `read_part` then reads a body."""
        return self._connection.read_head(self._stream)

    def read_part(self) -> bytes:
        """The next part of the body; ``b""`` is its end."""
        return self._connection.read_part(self._stream)

    def read_response(self) -> Response:
        response = self._connection.expect_response(self._stream)
        response.framing = "length" if response.get(b"content-length") is not None else "none"
        return response

    def disconnect(self) -> None:
        self._connection.close()

    def cut(self) -> None:
        """Give the request up rudely: a reset of its stream."""
        self._connection.send(rst_frame(self._stream, Code.CANCEL))

    def ends_without_response(self) -> bool:
        try:
            while not (frame := self._connection.next_on(self._stream)).ends_stream:
                if frame.kind not in (DATA, HEADERS):
                    return True
        except ConnectionEnded:
            return True
        return False


class Client:
    """Speaks HTTP/2 in the clear to a server, which it knows to do so.

    Args:
        address: Of the server.

    Attributes:
        version: What scopes say for its requests.
    """

    version = "2"

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address

    def open(
        self,
        target: bytes | str,
        *,
        method: bytes = b"GET",
        fields: Sequence[Field] = (),
        body: bytes | int | None = None,
    ) -> Exchange:
        """Begin an exchange; to be used in a ``with`` block."""
        return Exchange(self.address, method, target, fields, body)

    def request(
        self,
        target: bytes | str,
        *,
        method: bytes = b"GET",
        fields: Sequence[Field] = (),
        body: bytes | None = None,
    ) -> Response:
        """Make a request and read the response, whole."""
        with self.open(target, method=method, fields=fields, body=body) as exchange:
            return exchange.read_response()
