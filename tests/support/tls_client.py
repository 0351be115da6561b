"""The raw HTTP/1.1 client, over TLS."""

from __future__ import annotations

import ssl

from tests.support.http1 import Address, Connection, Field, Response, Truncated, head


class TLSConnection(Connection):
    """A connection whose handshake is complete.

    Args:
        context: The client's.
        name: The host name to ask for and to check.
        session: Of an earlier connection, to be resumed.

    Attributes:
        tls: The socket, with what the standard library tells of the session.
    """

    def __init__(
        self,
        address: Address,
        context: ssl.SSLContext,
        *,
        name: str | None = "127.0.0.1",
        session: ssl.SSLSession | None = None,
    ) -> None:
        super().__init__(address)
        try:
            self.tls = context.wrap_socket(self.socket, server_hostname=name, session=session)
        except BaseException:
            self.socket.close()
            raise
        self.socket = self.tls

    def request(self, target: str, *, method: bytes = b"GET", fields: tuple[Field, ...] = ()) -> Response:
        self.send(head(target, fields, method=method))
        return self.read_response(method)

    def _receive(self) -> None:
        try:
            super()._receive()
        except ssl.SSLEOFError:  # the end of the connection without the end of the session: a truncation
            received, self.pending = self.pending, b""
            raise Truncated(received, clean=False) from None


def request(address: Address, context: ssl.SSLContext, target: str, **options: object) -> Response:
    """Make one request on a connection of its own."""
    with TLSConnection(address, context, **options) as connection:  # type: ignore[arg-type]
        return connection.request(target)
