"""HTTP exchanges: the factory that accepts connections, and the request that joins a channel and an application.

`WebRequest` is one exchange of any HTTP version: it makes the scope, feeds the application's queue, checks each reply
against ASGI and passes it to the channel. What differs between the versions is behind `ResponseChannel`.
"""

from __future__ import annotations

import asyncio
import os
from http import HTTPStatus
from time import time
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Factory

from daphne_clone.asgi import http_rules
from daphne_clone.asgi.extensions import http_extensions, tls_extension
from daphne_clone.asgi.forwarded import as_forwarded
from daphne_clone.asgi.receive import MAX_QUEUED, MESSAGE_OVERHEAD
from daphne_clone.asgi.room import MAX_UNBROKEN, Room
from daphne_clone.asgi.scope import http_scope
from daphne_clone.connection.h1 import H1Connection
from daphne_clone.connection.h2 import H2Options
from daphne_clone.connection.shared import Timeouts
from daphne_clone.errors import ApplicationProtocolError, ClientDisconnected, RequestRefused
from daphne_clone.interfaces import Limits
from daphne_clone.loggers import get_logger
from daphne_clone.wire.fields import DefaultFields
from daphne_clone.wire.h1_request import LineTable
from daphne_clone.wire.h1_response import H1HeadEncoder
from daphne_clone.wire.h2_fields import H2HeadEncoder, KnownFields

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from twisted.internet.interfaces import IAddress

    from daphne_clone.asgi.forwarded import Forwarding, TrustedPeers
    from daphne_clone.asgi.receive import ReceiveQueue
    from daphne_clone.connection.shared import CoarseClock
    from daphne_clone.interfaces import Exchange, Field, RequestHead, ResponseChannel
    from daphne_clone.settings import Settings

_log = get_logger(__name__)

_DISCONNECT = {"type": "http.disconnect"}

# States of a response.
_NOT_STARTED, _STARTED, _TRAILERS, _COMPLETE, _GONE = range(5)


class UpgradeFactory(Protocol):
    """Makes the exchanges of requests for another protocol."""

    def make_exchange(self, channel: ResponseChannel) -> Exchange: ...


class ExchangeServer(Protocol):
    """What exchanges and their factory need of the server, which is above this module."""

    action_logger: Callable[[str, str, Any], object] | None
    clock: CoarseClock
    connections: dict[Any, dict[str, Any]]
    forwarding: Forwarding | None
    http_timeout: float | None
    limit_concurrency: int | None
    request_buffer_size: int | None
    root_path: str
    server_name: str
    settings: Settings
    state: dict[str, Any]
    trusted_peers: TrustedPeers

    @property
    def ws_factory(self) -> UpgradeFactory: ...

    def protocol_connected(self, protocol: WebRequest) -> None: ...

    def protocol_disconnected(self, protocol: WebRequest) -> None: ...

    def protocol_still_connected(self, protocol: WebRequest) -> None: ...

    def create_application(self, protocol: WebRequest, scope: dict[str, Any]) -> ReceiveQueue | None: ...

    def log_action(self, protocol: str, action: str, details: dict[str, Any]) -> None: ...

    def call_soon(self, callback: Callable[[], None]) -> object: ...


def _no_body() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


class WebRequest:
    """One HTTP exchange.

    Args:
        channel: Where the response goes; its factory knows the server.

    Attributes:
        client_addr: ``[host, port]`` of the client, or None; as the scope has it, so after proxy headers.
        server_addr: ``[host, port]`` or ``[path, None]`` of our side, or None.
        application_queue: What the application's ``receive`` reads; None until it is started.
        request_start: Seconds since the epoch.
        is_complete: The response has been sent whole.
    """

    __slots__ = (
        "_declared_length",
        "_has_body",
        "_head",
        "_is_client_finished",
        "_is_sending_file",
        "_last_message",
        "_rebuffered",
        "_response_headers",
        "_room",
        "_scope",
        "_sends_trailers",
        "_sent",
        "_started",
        "_state",
        "_status",
        "_unbroken",
        "application_queue",
        "channel",
        "client_addr",
        "is_complete",
        "request_start",
        "server",
        "server_addr",
    )

    def __init__(self, channel: ResponseChannel) -> None:
        self.channel = channel
        self.server: ExchangeServer = channel.factory.server
        self.client_addr: list[Any] | None = None
        self.server_addr: list[Any] | None = None
        self.application_queue: ReceiveQueue | None = None
        self.request_start = time()
        self.is_complete = False
        self._head: RequestHead | None = None
        self._scope: dict[str, Any] | None = None
        self._started = 0.0  # on the server's clock: the time of day may be set forward
        self._state = _NOT_STARTED
        self._status = 0
        self._response_headers: Iterable[Field] = ()
        self._has_body = True
        self._sends_trailers = False
        self._declared_length: int | None = None
        self._sent = 0
        self._unbroken = 0  # octets sent since the loop had a turn
        self._is_sending_file = False
        self._is_client_finished = False
        self._last_message: dict[str, Any] | None = None
        self._rebuffered: bytearray | None = None
        self._room: Room | None = None
        self.server.protocol_connected(self)

    # Exchange: what the connection tells

    def request_received(self, head: RequestHead) -> None:
        server, channel = self.server, self.channel
        self._head = head
        self._started = server.clock.now
        self.client_addr = channel.client
        self.server_addr = channel.server
        scheme = channel.scheme
        root_path = server.root_path
        if channel.is_peer_trusted and (head.root_path is not None or server.forwarding is not None):
            head, self.client_addr, scheme, root_path = as_forwarded(
                head, self.client_addr, scheme, root_path, server.forwarding
            )
            self._head = head
        if server.limit_concurrency is not None and len(server.connections) > server.limit_concurrency:
            self.answer_error(HTTPStatus.SERVICE_UNAVAILABLE, [(b"retry-after", b"1")])
            self._end()
            return
        self._scope = scope = http_scope(
            head, scheme, self.client_addr, self.server_addr, root_path, server.state, channel.extensions
        )
        self.application_queue = queue = server.create_application(self, scope)
        if queue is None:
            return
        # The application may have run already, to its first wait or to its end: asyncio has eager tasks.
        if self._state >= _COMPLETE:
            queue.close(_DISCONNECT, True)
        elif head.content_length == 0:
            queue.put_first(_no_body)
        elif head.expects_continue:
            queue.watch(channel.send_continue)

    def body_received(self, data: bytes) -> None:
        queue = self.application_queue
        if queue is None or self._state >= _COMPLETE:
            return
        size = self.server.request_buffer_size
        if size:
            self._rebuffer(queue, data, size)
        else:
            self._queue_body(queue, data)
        if queue.pending_bytes > MAX_QUEUED and queue.on_taken is None:
            queue.on_taken = self._body_taken
            self.channel.pause_reading()

    def request_ended(self) -> None:
        queue = self.application_queue
        if queue is None:
            return
        if self._rebuffered:
            self._queue_body(queue, bytes(self._rebuffered))
            self._rebuffered = None
        if self._last_message is not None and queue.qsize():
            # Its last part has not been taken yet: it may just as well say that it is the last.
            self._last_message["more_body"] = False
        else:
            queue.put_nowait(_no_body())

    def request_refused(self, refusal: RequestRefused) -> None:
        if self._state == _NOT_STARTED:
            self._state = _GONE
            self._status = refusal.status.value
            self.channel.refuse(refusal.status)
            self._log_complete()
        else:
            self.channel.abort()
        self._end()

    def client_closed_writing(self) -> None:
        # A FIN may be a client that is gone or one that has said all and listens. The application hears of it, as
        # of any disconnect; its replies still go out, until it has heard.
        self._is_client_finished = True
        if self.application_queue is not None:
            self.application_queue.close(_DISCONNECT)
        self.server.protocol_disconnected(self)

    def connection_lost(self) -> None:
        self._end()

    def writing_resumed(self) -> None:
        if self._room is not None:
            self._room.release()

    # The server's side

    def handle_reply(self, message: dict[str, Any]) -> Awaitable[None] | None:
        """Take a message of the application's ``send``.

        Returns:
            What to await before the application goes on: room to write, or the end of a file; None for nothing.

        Raises:
            ApplicationProtocolError: The message breaks a rule of ASGI.
            ClientDisconnected: The client is gone.
        """
        state = self._state
        if state == _COMPLETE:
            return None  # ASGI "Disconnected Client": what comes after a complete response is ignored
        try:
            kind = message["type"]
        except (KeyError, TypeError):
            raise ApplicationProtocolError(f"expected a message with a 'type', got {message!r}") from None
        if state == _GONE or (self._is_client_finished and self.knows_of_disconnect):
            self._reply_to_nobody(kind, message)
            return None
        if self._is_sending_file:
            raise ApplicationProtocolError(f"{kind}: a file is still being sent")
        if kind == "http.response.body":
            body, more = message.get("body", b""), message.get("more_body", False)
            if type(body) is not bytes or (more is not False and more is not True):
                body, more = http_rules.response_body(message)  # an error, or the few that are neither
            if state != _STARTED:
                self._out_of_place(kind)
            if not self._has_body:
                body = b""
            size = len(body)
            if self._declared_length is not None and (more or self._sent + size != self._declared_length):
                self._check_length(size, more)
            self._sent += size
            self.channel.send_body(body, more)
            if self._is_client_finished:
                self.server.protocol_still_connected(self)
            if not more:
                if self._sends_trailers:
                    self._state = _TRAILERS
                else:
                    self._complete()
                return None
            self._unbroken += size + MESSAGE_OVERHEAD
            return self._wait_for_room() if self.channel.is_writing_paused or self._unbroken > MAX_UNBROKEN else None
        if kind == "http.response.start":
            if state != _NOT_STARTED:
                self._out_of_place(kind)
            status, headers, trailers = http_rules.response_start(message)
            self._start(status, headers, trailers)
            return None
        return self._handle_extension(kind, message)

    def handle_exception(self, exception: BaseException) -> None:
        """The application has raised: 500 if nothing was sent, or cut the response visibly."""
        self._fail()

    def application_returned(self) -> None:
        """The application is done: if its response is not, the client must not wait for it."""
        if self.knows_of_disconnect:
            pass  # it was told that nobody listens any more, and went home
        elif self._state in (_STARTED, _TRAILERS):
            _log.error("%s: the application returned in the middle of its response", self.describe())
        elif self._state == _NOT_STARTED:
            _log.error("%s: the application returned without a response", self.describe())
        self._fail()

    def answer_error(self, status: HTTPStatus, headers: list[Field] | None = None) -> None:
        """A whole response of the server's own; its text is the status alone, never what went wrong."""
        body = f"{status.value} {status.phrase}\n".encode()
        own = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
        self._start(status.value, own + (headers or []), trailers=False)
        self.channel.send_body(body if self._has_body else b"", more=False)
        self._sent = len(body)
        self._complete()

    def check_timeouts(self) -> None:
        """End an exchange whose application takes longer than ``http_timeout``."""
        limit = self.server.http_timeout
        if not limit or self._state >= _COMPLETE or self.server.clock.previous - self._started < limit:
            return
        if self._state == _NOT_STARTED:
            self.answer_error(HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            _log.warning("%s: the application timed out while sending its response", self.describe())
            self.channel.abort()
        self._end()

    def shutdown_started(self) -> None:
        """Tell an application that streams, by the event it listens for, that it should come to an end."""
        if self._state == _STARTED and self.application_queue is not None:
            self.application_queue.close(_DISCONNECT)

    @property
    def knows_of_disconnect(self) -> bool:
        """The application has been given ``http.disconnect``."""
        return self.application_queue is not None and self.application_queue.is_end_taken

    @property
    def waits_for_peer(self) -> bool:
        """The application is held until the peer has read; that has a deadline of its own."""
        return self._is_sending_file or (self._room is not None and self._room.is_waited_for)

    def describe(self) -> str:
        """Method and path, for the log."""
        return f"{self._head.method} {self._head.raw_path.decode('ascii')}" if self._head is not None else "a request"

    # Inside

    def _queue_body(self, queue: ReceiveQueue, data: bytes) -> None:
        self._last_message = message = {"type": "http.request", "body": data, "more_body": True}
        queue.put_nowait(message, len(data) + MESSAGE_OVERHEAD)

    def _rebuffer(self, queue: ReceiveQueue, data: bytes, size: int) -> None:
        """Queue the body in events of exactly ``size`` octets; what is less waits for more, or for the end."""
        if self._rebuffered is None:
            self._rebuffered = bytearray()
        self._rebuffered += data
        while len(self._rebuffered) > size:
            self._queue_body(queue, bytes(self._rebuffered[:size]))
            del self._rebuffered[:size]

    def _body_taken(self) -> None:
        queue = self.application_queue
        if queue is not None and queue.pending_bytes <= MAX_QUEUED // 2:
            queue.on_taken = None
            self.channel.resume_reading()

    def _reply_to_nobody(self, kind: str, message: dict[str, Any]) -> None:
        """The client is gone: an error, unless it had all it was promised.

        Many applications end with an empty message when every octet of the Content-Length is on its way; a client may
        well have read those, and closed, by then.
        """
        if kind != "http.response.body" or message.get("body") or message.get("more_body"):
            raise ClientDisconnected("the client is gone")
        if self._declared_length != self._sent or self._sends_trailers:
            raise ClientDisconnected("the client went away before it had all")
        if self._state != _GONE:
            self.channel.send_body(b"", False)  # nothing goes out, but this ends the connection
        self._complete()

    def _out_of_place(self, kind: str) -> NoReturn:
        when = {
            _NOT_STARTED: "before http.response.start",
            _STARTED: "when http.response.start has been sent, and before the body has ended",
            _TRAILERS: "between the body and the trailers",
        }
        raise ApplicationProtocolError(f"{kind}: not allowed {when[self._state]}")

    def _start(self, status: int, headers: Any, trailers: bool) -> None:  # noqa: ANN401  # checked by the encoder
        head = self._head
        assert head is not None, "an application replies to a request"
        # RFC 9110 section 6.4.1: some answers have no body, whatever the application sends as one.
        has_body = head.method != "HEAD" and status not in (204, 304)
        if self.server.action_logger is not None:
            if not isinstance(headers, list | tuple):
                headers = http_rules.header_list(headers)  # it may be read once only, and is for the log too
            self._response_headers = headers
        length = self.channel.start_response(status, headers, has_body, trailers)
        self._declared_length = length if has_body else None
        self._has_body = has_body
        self._state = _STARTED
        self._status = status
        self._sends_trailers = trailers

    def _check_length(self, size: int, more: bool) -> None:
        """Hold the body against its Content-Length (RFC 9110 section 8.6), with ``size`` octets more of it."""
        missing = (self._declared_length or 0) - self._sent - size
        if missing < 0:
            raise ApplicationProtocolError(f"body: more than the Content-Length of {self._declared_length}")
        if missing and not more:
            self.channel.abort()
            raise ApplicationProtocolError(f"body: {missing} octets less than its Content-Length")

    def _body_ended(self) -> None:
        if self._sends_trailers:
            self._state = _TRAILERS
        else:
            self._complete()

    def _complete(self) -> None:
        self._state = _COMPLETE
        self.is_complete = True
        if self.application_queue is not None:
            self.application_queue.close(_DISCONNECT, True)
        if self._room is not None:
            self._room.release()
        if self.server.action_logger is not None:
            self._log_complete()

    def _handle_extension(self, kind: str, message: dict[str, Any]) -> Awaitable[None] | None:
        """Messages that come with ASGI's extensions."""
        if kind == "http.response.early_hint":
            links = http_rules.early_hint_links(message)
            if self.channel.is_head_sent:
                raise ApplicationProtocolError(f"{kind}: the response is already on its way")
            self.channel.send_early_hint(links)
            return self._wait_for_room() if self.channel.is_writing_paused else None
        if kind == "http.response.trailers":
            trailers, more = http_rules.response_trailers(message)
            if self._state != _TRAILERS:
                self._out_of_place(kind)
            self.channel.send_trailers(trailers, more)
            if not more:
                self._complete()
            elif self.channel.is_writing_paused:
                return self._wait_for_room()
            return None
        if kind == "http.response.pathsend":
            if self._state != _STARTED:
                self._out_of_place(kind)
            return self._send_path(http_rules.response_path(message))
        if kind == "http.response.zerocopysend":
            file, offset, count, more = http_rules.response_file(message)
            if self._state != _STARTED:
                self._out_of_place(kind)
            return self._send_open_file(file, offset, count, more)
        raise ApplicationProtocolError(f"{kind!r} is no message of an HTTP response")

    async def _send_path(self, path: str) -> None:
        loop = asyncio.get_running_loop()
        self._is_sending_file = True
        try:
            # In a thread: opening may wait for a disk or a network. O_NONBLOCK: a FIFO must not hold it for ever.
            fileno = await loop.run_in_executor(None, os.open, path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        finally:
            self._is_sending_file = False
        try:
            await self._send_file(fileno, 0, os.fstat(fileno).st_size, more=False)
        finally:
            os.close(fileno)

    async def _send_open_file(self, file: Any, offset: int | None, count: int | None, more: bool) -> None:  # noqa: ANN401
        fileno = file.fileno()
        start = file.tell() if offset is None else offset
        if count is None:
            count = max(os.fstat(fileno).st_size - start, 0)
        await self._send_file(fileno, start, count, more=more)
        if offset is None:
            file.seek(start + count)

    async def _send_file(self, fileno: int, offset: int, count: int, *, more: bool) -> None:
        if self._state != _STARTED:
            raise ClientDisconnected("the exchange ended while a file was opened")
        if not self._has_body:
            count = 0
        if self._declared_length is not None:
            self._check_length(count, more)
        self._is_sending_file = True
        try:
            await self.channel.send_file(fileno, offset, count, more)
        except BaseException:
            self.channel.abort()  # part of it may be out: the response cannot be made whole
            raise
        finally:
            self._is_sending_file = False
        self._sent += count
        if not more:
            self._body_ended()
        elif self.channel.is_writing_paused:
            await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        self._unbroken = 0
        if self._room is None:
            self._room = Room()
        await self._room.wait(lambda: self.channel.is_writing_paused and self._state < _COMPLETE)
        if self._state == _GONE:
            raise ClientDisconnected("the client went away")

    def _fail(self) -> None:
        if self._state == _NOT_STARTED and not (self._is_client_finished and self.knows_of_disconnect):
            self.answer_error(HTTPStatus.INTERNAL_SERVER_ERROR)
        elif self._state < _COMPLETE:
            self.channel.abort()
        self._end()

    def _end(self) -> None:
        """Nothing more can be sent: let the application know, and whoever waits for room."""
        if self._state != _COMPLETE:
            self._state = _GONE
        if self.application_queue is not None:
            self.application_queue.close(_DISCONNECT, True)
        self.writing_resumed()
        self.server.protocol_disconnected(self)

    def _log_complete(self) -> None:
        if self.server.action_logger is None or self._head is None:
            return
        head, client = self._head, self.client_addr
        query = b"?" + head.query_string if head.query_string else b""
        self.server.log_action(
            "http",
            "complete",
            {
                "path": (head.raw_path + query).decode("ascii"),
                "status": self._status,
                "method": head.method,
                "client": f"{client[0]}:{client[1]}" if client else None,
                "time_taken": time() - self.request_start,
                "size": self._sent,
                "http_version": head.http_version,
                "query_string": head.query_string,
                "scheme": self._scope["scheme"] if self._scope is not None else self.channel.scheme,
                "headers": head.headers,
                "response_headers": self._response_headers,
                "scope": self._scope,
            },
        )


class HandshakeAnswer(WebRequest):
    """The HTTP response to a WebSocket handshake that is not accepted; its exchange is the WebSocket's.

    Args:
        channel: Where it goes.
        head: The handshake.
    """

    __slots__ = ()

    def __init__(self, channel: ResponseChannel, head: RequestHead) -> None:
        super().__init__(channel)
        self.server.protocol_disconnected(self)  # the application is the WebSocket's
        self._head = head

    def _log_complete(self) -> None:
        """The WebSocket's own lines tell of it."""


class HTTPFactory(Factory):
    """Makes the connections of a server, and holds what they share.

    Args:
        server: Whose application they serve.
    """

    noisy = False

    def __init__(self, server: ExchangeServer) -> None:
        settings = server.settings
        self.server = server
        self.clock = server.clock
        self.call_soon: Callable[[Callable[[], None]], object] = server.call_soon
        self.connections: set[Any] = set()
        self.limits = Limits(
            line=settings.limit_request_line,
            head=settings.limit_request_head,
            fields=settings.limit_request_fields,
            body=settings.limit_request_body,
        )
        self.timeouts = Timeouts(
            request_head=settings.timeout_request_head,
            request_body=settings.timeout_request_body,
            keep_alive=settings.timeout_keep_alive,
            write=settings.timeout_write,
        )
        self.line_table = LineTable()
        self.default_fields = DefaultFields(server.server_name, settings.headers, settings.date_header, time())
        self.head_encoder = H1HeadEncoder(self.default_fields)
        self.h2_head_encoder = H2HeadEncoder(self.default_fields)
        self.known_fields = KnownFields()
        self.http2 = (
            H2Options(
                settings.http2_max_concurrent_streams,
                settings.http2_initial_stream_window_size,
                settings.http2_initial_connection_window_size,
            )
            if settings.http2
            else None
        )

    def buildProtocol(self, addr: IAddress | None) -> Any:  # noqa: ANN401  # Twisted's stubs want its Protocol class
        """Make a connection; None, which turns the peer away, when there are too many."""
        limit = self.server.settings.limit_connections
        if limit is not None and len(self.connections) >= limit:
            _log.warning("%d connections are open (--limit-connections): one more is turned away", limit)
            return None
        return H1Connection(self)

    def describe(self, transport: Any) -> tuple[str, list[Any] | None, list[Any] | None]:  # noqa: ANN401
        """Scheme, client and server of a transport, as scopes have them."""
        peer, host = transport.getPeer(), transport.getHost()
        scheme = "https" if ISSLTransport.providedBy(transport) else "http"
        return scheme, _client_of(peer), _server_of(host)

    def trusts(self, client: list[Any] | None) -> bool:
        """Tell whether the peer may say who its client is."""
        return self.server.trusted_peers.trusts(client[0] if client is not None else None)

    def extensions_of(self, transport: Any, http_version: str) -> dict[str, dict[str, object]]:  # noqa: ANN401
        """The ASGI extensions that a request of this version can use on this transport."""
        can_send_files = http_version == "2" or hasattr(transport, "sendfile")
        extensions = http_extensions(http_version, can_send_files=can_send_files)
        session = getattr(transport, "session", None)
        return extensions if session is None else extensions | tls_extension(session)

    def make_exchange(self, channel: ResponseChannel, head: RequestHead) -> Exchange:
        """Make what serves a request."""
        if head.upgrade and b"websocket" in head.upgrade:
            return self.server.ws_factory.make_exchange(channel)
        return WebRequest(channel)

    def make_answer(self, channel: ResponseChannel, head: RequestHead) -> HandshakeAnswer:
        """Make what answers a WebSocket handshake with an HTTP response."""
        return HandshakeAnswer(channel, head)

    def request_refused(self, channel: Any, refusal: Exception) -> None:  # noqa: ANN401  # a channel, or a connection
        """Take notice of a peer's fault."""
        _log.debug("%s: refused: %s", channel.client, refusal)


def _client_of(peer: Any) -> list[Any] | None:  # noqa: ANN401  # any IAddress
    host = getattr(peer, "host", None)
    return [host, peer.port] if host is not None else None


def _server_of(host: Any) -> list[Any] | None:  # noqa: ANN401  # any IAddress
    if isinstance(host, UNIXAddress):
        return [os.fsdecode(host.name), None] if host.name else None
    return _client_of(host)
