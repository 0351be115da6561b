"""WebSockets: the factory that makes them, and the protocol that joins one session and an application.

`WebSocketProtocol` is the exchange of a WebSocket request on any carrier: it checks the handshake, makes the scope,
feeds the application's queue and holds each reply against ASGI. Until the application accepts, the answer is HTTP: that
is left to an `HTTPAnswer`. From then on a `WebSocketSession` has the frames.
"""

from __future__ import annotations

from http import HTTPStatus
from time import time
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from daphne_clone.asgi import websocket_rules
from daphne_clone.asgi.forwarded import as_forwarded
from daphne_clone.asgi.receive import MAX_QUEUED, MESSAGE_OVERHEAD
from daphne_clone.asgi.room import MAX_UNBROKEN, Room
from daphne_clone.asgi.scope import websocket_scope
from daphne_clone.connection.autobahn_bridge import TOO_BIG, negotiate_deflate
from daphne_clone.connection.websocket import (
    ABNORMAL,
    INTERNAL_ERROR,
    SessionOptions,
    WebSocketSession,
)
from daphne_clone.errors import ApplicationProtocolError, ClientDisconnected, RequestRefused
from daphne_clone.loggers import get_logger
from daphne_clone.wire import ws_handshake

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from daphne_clone.asgi.forwarded import Forwarding
    from daphne_clone.asgi.receive import ReceiveQueue
    from daphne_clone.connection.shared import CoarseClock
    from daphne_clone.interfaces import Field, RequestHead, ResponseChannel
    from daphne_clone.settings import Settings
    from daphne_clone.wire.ws_handshake import Handshake

_log = get_logger(__name__)

_EXTENSIONS: dict[str, dict[str, object]] = {"websocket.http.response": {}}

# States: what the application may say, and whether anybody listens.
_CONNECTING, _DENYING, _OPEN, _CLOSED = range(4)


class HTTPAnswer(Protocol):
    """The HTTP response to a handshake that is not accepted; `WebRequest` writes it."""

    is_complete: bool

    def answer_error(self, status: HTTPStatus, headers: list[Field] | None = None) -> None:
        """A whole response of the server's own."""

    def handle_reply(self, message: dict[str, Any]) -> Awaitable[None] | None:
        """A message of the application's, as for an HTTP response."""

    def handle_exception(self, exception: BaseException) -> None:
        """There will be no more: answer 500, or cut what has begun."""

    def client_closed_writing(self) -> None: ...

    def connection_lost(self) -> None: ...

    def writing_resumed(self) -> None: ...


class SessionServer(Protocol):
    """What WebSockets need of the server, which is above this module."""

    action_logger: Callable[[str, str, Any], object] | None
    clock: CoarseClock
    connections: dict[Any, dict[str, Any]]
    forwarding: Forwarding | None
    limit_concurrency: int | None
    ping_interval: float
    ping_timeout: float
    root_path: str
    settings: Settings
    state: dict[str, Any]
    websocket_connect_timeout: float
    websocket_handshake_timeout: float
    websocket_max_frame_size: int
    websocket_max_message_size: int
    websocket_timeout: float

    def protocol_connected(self, protocol: WebSocketProtocol) -> None: ...

    def protocol_disconnected(self, protocol: WebSocketProtocol) -> None: ...

    def create_application(self, protocol: WebSocketProtocol, scope: dict[str, Any]) -> ReceiveQueue | None: ...

    def log_action(self, protocol: str, action: str, details: dict[str, Any]) -> None: ...


class WebSocketProtocol:
    """One WebSocket, from the request to the end of the session.

    Args:
        factory: What all WebSockets of a server share.
        channel: Where the handshake is answered.

    Attributes:
        client_addr: ``[host, port]`` of the client, or None; as the scope has it, so after proxy headers.
        server_addr: ``[host, port]`` or ``[path, None]`` of our side, or None.
        application_queue: What the application's ``receive`` reads; None until it is started.
        request_start: Seconds since the epoch.
        is_complete: Nothing more is expected of the application.
    """

    __slots__ = (
        "_answer",
        "_channel",
        "_deflate_response",
        "_factory",
        "_handshake",
        "_head",
        "_path",
        "_room",
        "_session",
        "_started",
        "_state",
        "_unbroken",
        "application_queue",
        "client_addr",
        "is_complete",
        "request_start",
        "server",
        "server_addr",
    )

    def __init__(self, factory: WebSocketFactory, channel: ResponseChannel) -> None:
        self._factory = factory
        self.server = factory.server
        self.client_addr: list[Any] | None = None
        self.server_addr: list[Any] | None = None
        self.application_queue: ReceiveQueue | None = None
        self.request_start = time()
        self.is_complete = False
        # These four are for the handshake alone, and given up with it.
        self._channel: ResponseChannel | None = channel
        self._head: RequestHead | None = None
        self._handshake: Handshake | None = None
        self._answer: HTTPAnswer | None = None
        self._path = "?"
        self._started = self.server.clock.now
        self._state = _CONNECTING
        self._session: WebSocketSession | None = None
        self._unbroken = 0
        self._room: Room | None = None
        self.server.protocol_connected(self)

    # Exchange: what the connection tells, until the session begins

    def request_received(self, head: RequestHead) -> None:
        server, channel = self.server, self._channel
        assert channel is not None, "the handshake comes first"
        self._head = head
        query = b"?" + head.query_string if head.query_string else b""
        self._path = (head.raw_path + query).decode("ascii")
        self.client_addr, self.server_addr = channel.client, channel.server
        scheme, root_path = channel.scheme, server.root_path
        if channel.is_peer_trusted:
            head, self.client_addr, scheme, root_path = as_forwarded(
                head, self.client_addr, scheme, root_path, server.forwarding
            )
            self._head = head
        if server.limit_concurrency is not None and len(server.connections) > server.limit_concurrency:
            self._reject(HTTPStatus.SERVICE_UNAVAILABLE, [(b"retry-after", b"1")])
            return
        try:
            self._handshake = handshake = ws_handshake.check(head)
        except RequestRefused as refusal:
            channel.factory.request_refused(channel, refusal)
            self._reject(refusal.status, ws_handshake.refusal_fields(refusal.status))
            return
        self._log("connecting")
        scope = websocket_scope(
            head,
            "wss" if scheme == "https" else "ws",
            self.client_addr,
            self.server_addr,
            root_path,
            handshake.subprotocols,
            server.state,
            _EXTENSIONS | {name: value for name, value in channel.extensions.items() if name == "tls"},
        )
        self.application_queue = queue = server.create_application(self, scope)
        if queue is not None:
            # Behind nothing, not even behind a disconnect: asyncio has eager tasks, and the application may have run to
            # its end already.
            queue.put_first(_connect)

    def body_received(self, data: bytes) -> None:
        """A handshake with a body has been refused: nobody wants it."""

    def request_ended(self) -> None:
        """As `body_received`."""

    def request_refused(self, refusal: RequestRefused) -> None:
        """The body of a handshake that has been refused is malformed as well."""
        self.connection_lost()

    def client_closed_writing(self) -> None:
        if self._answer is not None:
            # It may have said all that it has to say, and listen: as with any HTTP response.
            self._answer.client_closed_writing()
            assert self.application_queue is not None, "it is an application that denies"
            self.application_queue.close(_disconnect(ABNORMAL, ""))
            self.server.protocol_disconnected(self)
        elif self._state == _CONNECTING:
            # It can take no part in a session, nor in a closing handshake. Answered, not reset: that could take the
            # answer to the request before from it.
            self._reject(HTTPStatus.BAD_REQUEST)

    def connection_lost(self) -> None:
        if self._answer is not None:
            self._answer.connection_lost()
        self._end(ABNORMAL, "")

    def writing_resumed(self) -> None:
        if self._answer is not None:
            self._answer.writing_resumed()
        if self._room is not None:
            self._room.release()

    def shutdown_started(self) -> None:
        """Sessions have been closed when the stop began; an application that answers with HTTP learns of it now."""
        if self._state == _DENYING and self.application_queue is not None:
            self.application_queue.close(_disconnect(ABNORMAL, ""))

    # SessionOwner: what the session tells

    def session_opened(self) -> None:
        self._forget_handshake()
        self._log("connected")

    def message_received(self, payload: str | bytes) -> None:
        queue, session = self.application_queue, self._session
        assert queue is not None and session is not None, "a session has an application"
        key = "text" if isinstance(payload, str) else "bytes"
        queue.put_nowait({"type": "websocket.receive", key: payload}, len(payload) + MESSAGE_OVERHEAD)
        pending = queue.pending_bytes
        if pending >= self._factory.few and (pending > MAX_QUEUED or queue.qsize() >= self._factory.max_queue):
            queue.on_taken = self._message_taken
            session.pause_receiving()

    def call_when_idle(self, callback: Callable[[], None]) -> None:
        assert self.application_queue is not None, "a session has an application"
        self.application_queue.watch(callback)

    def session_failed(self, code: int, reason: str) -> None:
        if code == TOO_BIG:
            _log.warning("%s: closed with 1009: %s", self.describe(), reason)
        else:
            _log.debug("%s: closed with %d: %s", self.describe(), code, reason)

    def session_closed(self, code: int, reason: str) -> None:
        self._end(code, reason)

    # The server's side

    def handle_reply(self, message: dict[str, Any]) -> Awaitable[None] | None:
        """Take a message of the application's ``send``.

        Returns:
            What to await before the application goes on: room to write; None for nothing.

        Raises:
            ApplicationProtocolError: The message breaks a rule of ASGI.
            ClientDisconnected: The client is gone, or the session closed.
        """
        try:
            kind = message["type"]
        except (KeyError, TypeError):
            raise ApplicationProtocolError(f"expected a message with a 'type', got {message!r}") from None
        if kind == "websocket.send":
            session = self._session
            if self._state != _OPEN or session is None:
                self._out_of_place(kind)
            payload = message.get("bytes")
            if type(payload) is not bytes or message.get("text") is not None:
                payload = websocket_rules.send(message)
            try:
                session.send(payload)
            except UnicodeEncodeError as error:
                raise ApplicationProtocolError(f"websocket.send: the text cannot be sent: {error.reason}") from error
            self._unbroken += len(payload) + MESSAGE_OVERHEAD
            return self._wait_for_room(session) if session.is_writing_paused or self._unbroken > MAX_UNBROKEN else None
        if kind == "websocket.close":
            if self._state == _CONNECTING:
                self._reject(HTTPStatus.FORBIDDEN)  # ASGI "Close - send event"; code and reason go nowhere
            else:
                self._close(*websocket_rules.close(message))
        elif kind == "websocket.accept":
            if self._state != _CONNECTING:
                self._out_of_place(kind)
            self._accept(message)
        elif kind in ("websocket.http.response.start", "websocket.http.response.body"):
            return self._deny(kind, message)
        else:
            raise ApplicationProtocolError(f"{kind!r} is no message of a WebSocket")
        return None

    def handle_exception(self, exception: BaseException) -> None:
        """The application has raised: 500 before it accepted, 1011 afterwards."""
        self._fail()

    def application_returned(self) -> None:
        """The application is done: if it has not closed the session, the client must not wait for it."""
        if self._state != _CLOSED:
            what = {_CONNECTING: "without accepting or closing", _DENYING: "in the middle of its response"}
            _log.error("%s: the application returned %s", self.describe(), what.get(self._state, "without closing"))
        self._fail()

    def check_timeouts(self) -> None:
        """End a handshake that the application leaves unanswered for too long."""
        if self._state != _CONNECTING:
            return
        waited = self.server.clock.previous - self._started
        if 0 < self.server.websocket_handshake_timeout <= waited:
            _log.warning("%s: the application has not answered the handshake in time", self.describe())
            self._reject(HTTPStatus.SERVICE_UNAVAILABLE)
        elif 0 < self.server.websocket_connect_timeout <= waited:
            self._reject(HTTPStatus.FORBIDDEN)

    @property
    def knows_of_disconnect(self) -> bool:
        """The application has been given ``websocket.disconnect``."""
        return self.application_queue is not None and self.application_queue.is_end_taken

    @property
    def waits_for_peer(self) -> bool:
        """The application is held until the peer has read; that has a deadline of its own."""
        return self._room is not None and self._room.is_waited_for

    def describe(self) -> str:
        """What it is and its path, for the log."""
        return f"WebSocket {self._path.partition('?')[0]}"

    # Inside

    def _accept(self, message: dict[str, Any]) -> None:
        channel, handshake = self._channel, self._handshake
        assert channel is not None and handshake is not None, "a handshake is answered once"
        subprotocol, headers = websocket_rules.accept(message, handshake.subprotocols)
        if subprotocol is not None:
            headers.append((b"sec-websocket-protocol", subprotocol.encode("ascii")))
        deflate = None
        if self._factory.compresses:
            deflate, extension = negotiate_deflate(handshake.extensions, self._factory.session_options.max_message)
            if deflate is not None:
                headers.append((b"sec-websocket-extensions", extension))
        self._session = WebSocketSession(self, channel.factory, self._factory.session_options, deflate)
        self._state = _OPEN
        try:
            channel.switch_to_websocket(self._session, handshake.key, headers)
        except ApplicationProtocolError:
            self._state = _CONNECTING
            self._session = None
            raise

    def _close(self, code: int, reason: str) -> None:
        if self._state == _DENYING:
            self._out_of_place("websocket.close")
        elif self._state == _OPEN and self._session is not None:
            self._session.close(code, reason)
            self._end(code, reason, discard=True)

    def _deny(self, kind: str, message: dict[str, Any]) -> Awaitable[None] | None:
        """ASGI extensions "WebSocket Denial Response": an HTTP response instead of the session."""
        if self._state == _CONNECTING:
            self._answer = self._http_answer()
        elif self._state != _DENYING:
            self._out_of_place(kind)
        answer = self._answer
        assert answer is not None, "it is made with the first message"
        waiting = answer.handle_reply({**message, "type": kind.removeprefix("websocket.")})
        self._state = _DENYING
        if answer.is_complete:
            self._log("rejected")
            self._end(ABNORMAL, "")
        return waiting

    def _reject(self, status: HTTPStatus, headers: list[Field] | None = None) -> None:
        """Answer the handshake with a response of the server's own, and let the application know."""
        self._http_answer().answer_error(status, headers)
        self._log("rejected")
        self._end(ABNORMAL, "")

    def _http_answer(self) -> HTTPAnswer:
        channel, head = self._channel, self._head
        assert channel is not None and head is not None, "a handshake is answered once"
        answer: HTTPAnswer = channel.factory.make_answer(channel, head)
        return answer

    def _out_of_place(self, kind: str) -> NoReturn:
        if self._state == _CLOSED:
            raise ClientDisconnected(f"{kind}: the WebSocket is closed")
        when = {
            _CONNECTING: "before websocket.accept",
            _DENYING: "after websocket.http.response.start",
            _OPEN: "after websocket.accept",
        }
        raise ApplicationProtocolError(f"{kind}: not allowed {when[self._state]}")

    def _message_taken(self) -> None:
        queue = self.application_queue
        assert queue is not None and self._session is not None, "`_end` stops the queue from telling"
        if queue.pending_bytes <= MAX_QUEUED // 2 and queue.qsize() <= self._factory.max_queue // 2:
            queue.on_taken = None
            self._session.resume_receiving()

    async def _wait_for_room(self, session: WebSocketSession) -> None:
        self._unbroken = 0
        if self._room is None:
            self._room = Room()
        await self._room.wait(lambda: session.is_writing_paused and self._state == _OPEN)
        if self._state != _OPEN:
            raise ClientDisconnected("the WebSocket was closed before the peer had read the message")

    def _fail(self) -> None:
        if self._state == _CONNECTING:
            self._reject(HTTPStatus.INTERNAL_SERVER_ERROR)
        elif self._state == _DENYING and self._answer is not None:
            self._answer.handle_exception(RuntimeError("the application has ended"))
            self._end(ABNORMAL, "")
        elif self._state == _OPEN:
            self._close(INTERNAL_ERROR, "")

    def _end(self, code: int, reason: str, *, discard: bool = False) -> None:
        """Nothing more can be sent: let the application know, and whoever waits for room.

        Args:
            discard: What has been received before is no longer wanted: the application itself has closed.
        """
        if self._state == _CLOSED:
            return
        was_open = self._state == _OPEN
        self._state = _CLOSED
        self.is_complete = True
        self._session = None
        self._forget_handshake()
        if self.application_queue is not None:
            self.application_queue.on_taken = None
            self.application_queue.close(_disconnect(code, reason), discard)
        self.writing_resumed()
        self.server.protocol_disconnected(self)
        if was_open:
            self._log("disconnected")

    def _forget_handshake(self) -> None:
        self._channel = self._head = self._handshake = self._answer = None

    def _log(self, action: str) -> None:
        if self.server.action_logger is not None:
            client = self.client_addr
            details = {"path": self._path, "client": f"{client[0]}:{client[1]}" if client else None}
            self.server.log_action("websocket", action, details)


class WebSocketFactory:
    """Makes the WebSockets of a server, and holds what they share.

    Args:
        server: Whose application they serve.
    """

    def __init__(self, server: SessionServer) -> None:
        settings = server.settings
        self.server = server
        self.compresses = settings.ws_per_message_deflate
        self.max_queue = settings.ws_max_queue
        # With less in the queue there is no need to count the messages.
        self.few = min(self.max_queue * MESSAGE_OVERHEAD, MAX_QUEUED)
        self.session_options = SessionOptions(
            max_message=server.websocket_max_message_size,
            max_frame=server.websocket_max_frame_size,
            ping_interval=server.ping_interval,
            ping_timeout=server.ping_timeout,
            lifetime=server.websocket_timeout,
            write_timeout=settings.timeout_write,
        )

    def make_exchange(self, channel: ResponseChannel) -> WebSocketProtocol:
        """Make what serves a WebSocket request."""
        return WebSocketProtocol(self, channel)


def _connect() -> dict[str, Any]:
    return {"type": "websocket.connect"}


def _disconnect(code: int, reason: str) -> dict[str, Any]:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}
