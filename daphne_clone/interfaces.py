"""The seams between the layers, and the one value that crosses all of them; no behaviour lives here.

Reading order for a request: a connection drives a `wire` parser, which calls a `RequestSink`; the connection makes an
`Exchange` for each request and hands it a `ResponseChannel`; the exchange drives the application and answers through
that channel: an HTTP/1.1 connection is one, and so is a stream of HTTP/2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable
    from http import HTTPStatus

    from daphne_clone.errors import RequestRefused

Field = tuple[bytes, bytes]
"""A field line: (name in lower case, value), both undecoded."""


class RequestHead:
    """The head of one request, the same for every HTTP version; never changed once a sink has it.

    Attributes:
        method: As sent; methods are case-sensitive (RFC 9110 section 9.1).
        raw_path: The target's path, undecoded, without the query; ``b"*"`` for the asterisk form.
        path: The same, percent- and UTF-8-decoded.
        query_string: What follows the first ``?``, undecoded; ``b""`` when there is none.
        http_version: ``"1.0"``, ``"1.1"``, ``"2"`` or ``"3"``.
        headers: The fields in the order received, duplicates kept.
        content_length: Octets of body announced; 0: the request ends with its head; None: only its end will tell.
        expects_continue: The client waits for 100 (RFC 9110 section 10.1.1).
        accepts_trailers: The request said ``TE: trailers``, or its version always has them.
        root_path: The value of ``Daphne-Root-Path``, which is not among the headers; None without one.
        upgrade: The protocols offered in ``Upgrade``, in lower case, in the client's order, or the one of an extended
            CONNECT (RFC 8441); empty when none count.
        keep_alive: The client allows another request on this connection.
    """

    __slots__ = (
        "accepts_trailers",
        "content_length",
        "expects_continue",
        "headers",
        "http_version",
        "keep_alive",
        "method",
        "path",
        "query_string",
        "raw_path",
        "root_path",
        "upgrade",
    )

    def __init__(
        self,
        method: str,
        raw_path: bytes,
        path: str,
        query_string: bytes,
        http_version: str,
        headers: list[Field],
    ) -> None:
        self.method = method
        self.raw_path = raw_path
        self.path = path
        self.query_string = query_string
        self.http_version = http_version
        self.headers = headers
        self.content_length: int | None = 0
        self.expects_continue = False
        self.accepts_trailers = False
        self.root_path: bytes | None = None
        self.upgrade: tuple[bytes, ...] = ()
        self.keep_alive = http_version == "1.1"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one request may bring; all in octets but `fields`.

    Attributes:
        line: The request line, without its line end; more is 414.
        head: Request line and fields with all line ends, and a trailer section likewise; more is 431.
        fields: How many field lines a head, or a trailer section, may have; more is 431.
        body: The decoded body; more is 413; 0 is no limit.
    """

    line: int = 16_384
    head: int = 65_536
    fields: int = 100
    body: int = 0


class RequestSink(Protocol):
    """What a request parser calls for each request: the head, and where that announces a body, body* and the end."""

    def head_received(self, head: RequestHead) -> None: ...

    def body_received(self, data: bytes) -> None: ...

    def request_ended(self) -> None: ...


class Exchange(Protocol):
    """One request and its response, as the connection sees it."""

    def request_received(self, head: RequestHead) -> None:
        """The head is whole, and without a body so is the request: start the application."""

    def body_received(self, data: bytes) -> None:
        """A piece of the body has come; it has been counted against the limits, not against the backpressure."""

    def request_ended(self) -> None:
        """The body is complete."""

    def request_refused(self, refusal: RequestRefused) -> None:
        """The rest of the request breaks the protocol or a limit; the connection reads no more of it."""

    def client_closed_writing(self) -> None:
        """The client will send nothing more; it may still read (TCP half close)."""

    def connection_lost(self) -> None:
        """The connection is gone; nothing can be sent any more."""

    def writing_resumed(self) -> None:
        """There is room again."""

    def shutdown_started(self) -> None:
        """The server is stopping and the notice period for running exchanges is over."""


class ResponseChannel(Protocol):
    """Where an exchange's response goes, whatever the HTTP version.

    The exchange guarantees the order (early hints, one start, body parts and files, trailers) and checks what ASGI
    rules; the channel owns the framing and the connection.

    Attributes:
        factory: What made the connection; its ``server`` is the server.
        extensions: The ASGI extensions this channel can carry.
        scheme: ``"http"`` or ``"https"``.
        client: ``[host, port]`` of the peer, None on a UNIX socket.
        server: ``[host, port]`` or ``[path, None]`` of our side.
        is_peer_trusted: The peer is a proxy whose word on the client is taken.
        is_head_sent: The head of the current response has left.
        is_writing_paused: The peer does not read: what is written now piles up.
    """

    factory: Any  # HTTPFactory; it lives two layers up
    extensions: dict[str, dict[str, object]]
    scheme: str
    client: list[Any] | None  # a list of two, as ASGI has it
    server: list[Any] | None
    is_peer_trusted: bool
    is_head_sent: bool
    is_writing_paused: bool

    def start_response(self, status: int, headers: Iterable[Field], has_body: bool, trailers: bool) -> int | None:
        """Take the head; it leaves with the first part of the body.

        Args:
            status: 200 to 999.
            headers: The application's fields.
            has_body: False for answers that have none whatever their fields say (RFC 9110 section 6.4.1).
            trailers: `send_trailers` will follow the body.

        Returns:
            The Content-Length among the fields, or None.

        Raises:
            ApplicationProtocolError: A field is not bytes, no token, or holds CR, LF or NUL.
        """

    def send_body(self, data: bytes, more: bool) -> None:
        """Send a part of the body; with ``more=False`` it is the last, and unless trailers follow, all is sent."""

    def send_trailers(self, trailers: Iterable[Field], more: bool) -> None:
        """Send trailers, or drop them where the request cannot take them; with ``more=False`` all is sent."""

    async def send_file(self, fileno: int, offset: int, count: int, more: bool) -> None:
        """Send ``count`` octets of an open file as a part of the body; nothing else may be sent meanwhile.

        Raises:
            ClientDisconnected: The client went away.
            OSError: The file could not be read, or is shorter; what was sent cannot be made whole any more.
        """

    def send_early_hint(self, links: Iterable[bytes]) -> None:
        """Send a 103 response (RFC 8297) with these ``Link`` values, now."""

    def send_continue(self) -> None:
        """Send 100 (RFC 9110 section 15.2.1), now, if the client waits for it."""

    def refuse(self, status: HTTPStatus) -> None:
        """Answer with this status, before any start, and read no more of the request."""

    def switch_to_websocket(self, session: Any, key: bytes | None, headers: Iterable[Field]) -> None:  # noqa: ANN401
        """Accept a WebSocket: answer the handshake, and give the transport to ``session``, with what came behind it.

        Args:
            session: An IProtocol with ``shutdown_started``.
            key: ``Sec-WebSocket-Key``, where the HTTP version has one.
            headers: The application's fields, subprotocol and extensions.

        Raises:
            ApplicationProtocolError: As `start_response`; nothing has been sent.
        """

    def pause_reading(self) -> None:
        """Read no more of this request's body for now."""

    def resume_reading(self) -> None:
        """Read on."""

    def abort(self) -> None:
        """Cut the connection (the stream) at once, so that the peer sees that the response is not whole."""
