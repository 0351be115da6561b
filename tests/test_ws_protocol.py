"""A WebSocket between one handshake and one application; no socket, and the test is the application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import pytest

from daphne_clone.asgi.forwarded import Forwarding, TrustedPeers
from daphne_clone.asgi.receive import ReceiveQueue
from daphne_clone.connection.shared import CoarseClock
from daphne_clone.connection.websocket import SessionOptions
from daphne_clone.errors import ApplicationProtocolError, ClientDisconnected, RequestRefused
from daphne_clone.http_protocol import HandshakeAnswer
from daphne_clone.interfaces import RequestHead
from daphne_clone.settings import Settings
from daphne_clone.ws_protocol import MAX_QUEUED, MAX_UNBROKEN, MESSAGE_OVERHEAD, WebSocketFactory, WebSocketProtocol
from tests.support import connections
from tests.support.ws_client import BINARY, CLOSE, COMPRESSED, KEY, TEXT, close_frame, frame
from tests.support.ws_sessions import SessionTransport, close_payload, compressed, server_frames

CONNECT = {"type": "websocket.connect"}
ACCEPTED = {"type": "websocket.accept"}
START = {"type": "websocket.http.response.start", "status": 401, "headers": [(b"content-length", b"4")]}
BODY = {"type": "websocket.http.response.body", "body": b"deny"}
STREAM = {"type": "websocket.http.response.start", "status": 200}

DEFLATE = (b"sec-websocket-extensions", b"permessage-deflate; client_max_window_bits")


def received(payload: str | bytes) -> dict[str, Any]:
    return {"type": "websocket.receive", "text" if isinstance(payload, str) else "bytes": payload}


def disconnect(code: int, reason: str = "") -> dict[str, Any]:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


class ChannelFactory(connections.Factory):
    """Makes the answers that are HTTP."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server
        self.clock = server.clock

    def call_soon(self, callback: Callable[[], None]) -> object:
        return asyncio.get_running_loop().call_soon(callback)

    def make_answer(self, channel: Any, head: RequestHead) -> HandshakeAnswer:
        return HandshakeAnswer(channel, head)


class Channel:
    """A `ResponseChannel` that keeps what it is told; sessions get a transport of its own.

    Attributes:
        sent: Calls in order: ``("start", status, headers)``, ``("body", data, more)``, ``("switch", key, headers)``.
        behind: What came in the same read as the handshake.
    """

    def __init__(self, server: Server) -> None:
        self.factory = ChannelFactory(server)
        self.extensions: dict[str, dict[str, object]] = {}
        self.scheme = "http"
        self.client: Any = ["192.0.2.1", 50_000]
        self.server: Any = ["192.0.2.2", 80]
        self.is_peer_trusted = False
        self.is_head_sent = False
        self.is_writing_paused = False
        self.is_aborted = False
        self.is_draining = False
        self.behind = b""
        self.sent: list[Any] = []
        self.transport = SessionTransport()

    def start_response(self, status: int, headers: Any, has_body: bool, trailers: bool) -> int | None:
        headers = self.encoded(headers)
        self.sent.append(("start", status, headers))
        return next((int(value) for name, value in headers if name.lower() == b"content-length"), None)

    def send_body(self, data: bytes, more: bool) -> None:
        self.is_head_sent = True
        self.sent.append(("body", data, more))

    def switch_to_websocket(self, session: Any, key: bytes | None, headers: Any) -> None:
        self.sent.append(("switch", key, self.encoded(headers)))
        self.transport.connect(session)
        if self.behind:
            session.dataReceived(self.behind)
        if self.is_draining:
            session.shutdown_started()

    def abort(self) -> None:
        self.is_aborted = True

    @staticmethod
    def encoded(headers: Any) -> list[tuple[bytes, bytes]]:
        headers = [(bytes(name), bytes(value)) for name, value in headers]
        if any(b"\n" in value for _, value in headers):
            raise ApplicationProtocolError("headers: a line end")
        return headers


class Server:
    """A `SessionServer` that starts no application: the test plays it.

    Attributes:
        known: Exchanges by what was told of them last: ``"connected"``, ``"disconnected"``.
        scopes: Of the applications started.
        on_create: Run by `create_application`; where it raises, that is the application's.
    """

    def __init__(self, **options: Any) -> None:
        self.settings = Settings(**options)
        self.action_logger: Any = lambda *arguments: self.actions.append(arguments)
        self.actions: list[tuple[str, str, dict[str, Any]]] = []
        self.clock = CoarseClock(1000.0)
        self.connections: dict[Any, dict[str, Any]] = {}
        self.forwarding: Forwarding | None = None
        self.http_timeout: float | None = None
        self.limit_concurrency: int | None = None
        self.ping_interval, self.ping_timeout = 0.0, 0.0
        self.request_buffer_size: int | None = None
        self.root_path = ""
        self.state: dict[str, Any] = {"started": True}
        self.websocket_connect_timeout, self.websocket_handshake_timeout = 20.0, 5.0
        self.websocket_max_frame_size = self.websocket_max_message_size = 1_048_576
        self.websocket_timeout = 86_400.0
        self.known: dict[Any, str] = {}
        self.scopes: list[dict[str, Any]] = []
        self.on_create: Callable[[WebSocketProtocol], None] | None = None

    def protocol_connected(self, protocol: Any) -> None:
        self.connections[protocol] = {}
        self.known[protocol] = "connected"

    def protocol_disconnected(self, protocol: Any) -> None:
        self.connections.pop(protocol, None)
        self.known[protocol] = "disconnected"

    def protocol_still_connected(self, protocol: Any) -> None:
        self.known[protocol] = "still connected"

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> ReceiveQueue | None:
        self.scopes.append(scope)
        protocol.application_queue = queue = ReceiveQueue(asyncio.get_running_loop())
        if self.on_create is not None:
            try:
                self.on_create(protocol)
            except RuntimeError as error:
                protocol.handle_exception(error)
                return None
        return queue

    def log_action(self, protocol: str, action: str, details: dict[str, Any]) -> None:
        self.action_logger(protocol, action, details)


class Case:
    """One WebSocket under test; `open` is what most need first."""

    def __init__(self, **options: Any) -> None:
        self.server = Server(**options)
        self.make()

    def make(self) -> None:
        """A new exchange on a new channel, for the same server."""
        self.channel = Channel(self.server)
        self.protocol = WebSocketFactory(self.server).make_exchange(self.channel)  # type: ignore[arg-type]

    @property
    def transport(self) -> SessionTransport:
        return self.channel.transport

    @property
    def actions(self) -> list[str]:
        return [action for _, action, _ in self.server.actions]

    def request(self, *fields: Any, **changes: Any) -> None:
        own = [(b"host", b"a"), (b"sec-websocket-version", b"13"), (b"sec-websocket-key", KEY)]
        head = RequestHead("GET", b"/p%20q", "/p q", b"a=b", "1.1", [*own, *fields])
        for name, value in changes.items():
            setattr(head, name, value)
        self.protocol.request_received(head)

    async def open(self, *fields: Any, **accept: Any) -> None:
        self.request(*fields)
        await self.send({**ACCEPTED, **accept})
        assert self.queued() == [CONNECT]

    async def send(self, message: Any) -> None:
        waiting = self.protocol.handle_reply(message)
        if waiting is not None:
            await waiting

    async def text(self, text: str) -> None:
        await self.send({"type": "websocket.send", "text": text})

    async def close(self, **message: Any) -> None:
        await self.send({"type": "websocket.close", **message})

    def receive(self, *pieces: bytes) -> None:
        for piece in pieces:
            assert self.transport.is_reading
            self.transport.protocol.dataReceived(piece)

    def frames(self) -> list[tuple[int, bytes]]:
        """What the session has sent since the last call."""
        return server_frames(self.transport.take())

    def queued(self) -> list[Any]:
        """What `receive` gives without waiting."""
        queue = self.protocol.application_queue
        assert queue is not None
        found: list[Any] = []
        while not found or found[-1]["type"] != "websocket.disconnect":
            try:
                found.append(queue.get_nowait())
            except asyncio.QueueEmpty:
                break
        return found

    async def rejects(self, message: Any, match: str | None = None, error: type[Exception] | None = None) -> None:
        """The message is refused, and nothing of it is sent."""
        before = list(self.channel.sent), self.transport.data
        with pytest.raises(error or ApplicationProtocolError, match=match):
            await self.send(message)
        assert (self.channel.sent, self.transport.data) == before

    def answered(self, status: HTTPStatus) -> None:
        """The handshake had a whole answer of the server's own, which says no more than its status."""
        (_, sent, headers), *bodies = self.channel.sent
        assert sent == status
        text = f"{status.value} {status.phrase}\n".encode()
        assert (b"content-length", b"%d" % len(text)) in headers
        assert bodies == [("body", text, False)]

    def is_over(self) -> bool:
        return self.protocol.is_complete and self.server.known[self.protocol] == "disconnected"


def on_loop(scenario: Callable[[Case], Awaitable[None]], **options: Any) -> Case:
    async def main() -> Case:
        case = Case(**options)
        async with asyncio.timeout(5):
            await scenario(case)
        return case

    return asyncio.run(main())


def watching(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.handler.setLevel(logging.DEBUG)
    return caplog.at_level(logging.DEBUG, logger="daphne_clone")


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# The handshake comes


def test_the_application_starts_with_the_handshake() -> None:
    async def scenario(case: Case) -> None:
        assert case.server.known == {case.protocol: "connected"}
        case.server.root_path = "/mounted"
        case.request((b"sec-websocket-protocol", b"b, a"))
        (scope,) = case.server.scopes
        assert scope["type"] == "websocket"
        assert scope["scheme"] == "ws"
        assert scope["path"] == "/p q"
        assert scope["subprotocols"] == ["b", "a"]
        assert scope["client"] == case.protocol.client_addr == ["192.0.2.1", 50_000]
        assert scope["server"] == case.protocol.server_addr == ["192.0.2.2", 80]
        assert scope["root_path"] == "/mounted"
        assert scope["state"] == {"started": True}
        assert scope["state"] is not case.server.state
        assert scope["extensions"] == {"websocket.http.response": {}}
        assert case.queued() == [CONNECT]
        assert case.channel.sent == []
        assert not case.protocol.is_complete

    on_loop(scenario)


def test_under_tls_the_scheme_is_wss() -> None:
    async def scenario(case: Case) -> None:
        case.channel.scheme = "https"
        case.request()
        assert case.server.scopes[0]["scheme"] == "wss"

    on_loop(scenario)


@pytest.mark.parametrize(("proto", "scheme"), [(b"https", "wss"), (b"wss", "wss"), (b"http", "ws"), (b"ws", "ws")])
def test_trusted_proxies_say_the_scheme_and_the_client(proto: bytes, scheme: str) -> None:
    fields = [(b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-proto", proto)]

    async def scenario(case: Case) -> None:
        trusted = TrustedPeers(("127.0.0.1",))
        case.server.forwarding = Forwarding(trusted, "X-Forwarded-For", None, "X-Forwarded-Proto")
        case.request(*fields)
        assert (case.server.scopes[-1]["scheme"], case.server.scopes[-1]["client"]) == ("ws", case.channel.client)
        case.make()
        case.channel.is_peer_trusted = True
        case.request(*fields)
        assert case.server.scopes[-1]["scheme"] == scheme
        assert case.server.scopes[-1]["client"] == case.protocol.client_addr == ["203.0.113.7", 0]
        assert case.server.actions[-1][2]["client"] == "203.0.113.7:0"

    on_loop(scenario)


def test_daphne_root_path_counts_from_trusted_peers_only() -> None:
    async def scenario(case: Case) -> None:
        for trusted in (False, True):
            case.make()
            case.channel.is_peer_trusted = trusted
            case.request(root_path=b"/mounted")
            assert case.server.scopes[-1]["root_path"] == ("/mounted" if trusted else "")

    on_loop(scenario)


def test_one_too_many_is_503_and_starts_no_application() -> None:
    async def scenario(case: Case) -> None:
        case.server.limit_concurrency = 1
        case.request()
        first = case.protocol
        case.make()
        case.request()
        assert len(case.server.scopes) == 1
        case.answered(HTTPStatus.SERVICE_UNAVAILABLE)
        assert (b"retry-after", b"1") in case.channel.sent[0][2]
        assert case.is_over()
        assert case.actions == ["connecting", "rejected"]
        assert list(case.server.connections) == [first]

    on_loop(scenario)


@pytest.mark.parametrize(
    ("changes", "fields", "status"),
    [
        ({"method": "POST"}, [], HTTPStatus.BAD_REQUEST),
        ({"content_length": 5}, [], HTTPStatus.BAD_REQUEST),
        ({}, [(b"sec-websocket-key", KEY)], HTTPStatus.BAD_REQUEST),
        ({}, [(b"sec-websocket-version", b"8")], HTTPStatus.UPGRADE_REQUIRED),
    ],
)
def test_a_handshake_that_is_none_is_refused(changes: dict[str, Any], fields: Any, status: HTTPStatus) -> None:
    async def scenario(case: Case) -> None:
        case.request(*fields, **changes)
        case.answered(status)
        assert ((b"sec-websocket-version", b"13") in case.channel.sent[0][2]) == (status == 426)
        assert [refusal.status for refusal in case.channel.factory.refusals] == [status]
        assert case.server.scopes == []
        assert case.is_over()
        assert case.actions == ["rejected"]
        # A body behind it is nobody's business.
        case.protocol.body_received(b"12345")
        case.protocol.request_ended()
        case.protocol.request_refused(RequestRefused(HTTPStatus.BAD_REQUEST, "chunks"))
        case.protocol.client_closed_writing()
        case.protocol.connection_lost()
        assert len(case.channel.sent) == 2
        assert case.actions == ["rejected"]

    on_loop(scenario)


def test_an_application_that_raises_when_called_is_500() -> None:
    async def scenario(case: Case) -> None:
        def fail(protocol: WebSocketProtocol) -> None:
            raise RuntimeError("secret")

        case.server.on_create = fail
        case.request()
        case.answered(HTTPStatus.INTERNAL_SERVER_ERROR)
        assert case.is_over()
        assert case.actions == ["connecting", "rejected"]
        case.protocol.connection_lost()

    on_loop(scenario)


def test_an_application_may_accept_and_be_done_before_its_call_returns() -> None:
    """As with asyncio's eager tasks."""

    async def scenario(case: Case) -> None:
        def run(protocol: WebSocketProtocol) -> None:
            protocol.handle_reply(ACCEPTED)
            protocol.handle_reply({"type": "websocket.send", "text": "at once"})
            protocol.handle_reply({"type": "websocket.close"})

        case.server.on_create = run
        case.channel.behind = frame(TEXT, b"in the same read")
        case.request()
        assert case.frames() == [(TEXT, b"at once"), (CLOSE, b"\x03\xe8")]
        assert case.queued() == [CONNECT, disconnect(1000)]
        assert case.actions == ["connecting", "connected", "disconnected"]

    on_loop(scenario)


# websocket.accept


def test_an_accept_answers_the_handshake() -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        assert case.channel.sent == [("switch", KEY, [])]
        assert case.server.known[case.protocol] == "connected"
        assert not case.protocol.is_complete
        assert case.actions == ["connecting", "connected"]

    on_loop(scenario)


def test_an_accept_has_a_subprotocol_and_headers() -> None:
    async def scenario(case: Case) -> None:
        headers = [(b"set-cookie", b"a"), (b"Set-Cookie", b"b"), (b"upgrade", b"no")]
        await case.open((b"sec-websocket-protocol", b"b, a"), subprotocol="a", headers=headers)
        assert case.channel.sent == [
            ("switch", KEY, [(b"set-cookie", b"a"), (b"Set-Cookie", b"b"), (b"sec-websocket-protocol", b"a")])
        ]

    on_loop(scenario)


@pytest.mark.parametrize("is_on", [True, False])
def test_compression_is_agreed_if_it_is_offered_and_on(is_on: bool) -> None:
    async def scenario(case: Case) -> None:
        await case.open(DEFLATE)
        value = b"permessage-deflate; client_max_window_bits=12"
        assert case.channel.sent == [("switch", KEY, [(b"sec-websocket-extensions", value)] if is_on else [])]
        await case.text("word " * 50)
        ((first, payload),) = case.frames()
        assert first == (TEXT | COMPRESSED if is_on else TEXT)
        assert len(payload) == 250 or is_on
        case.make()
        await case.open()
        assert case.channel.sent == [("switch", KEY, [])]

    on_loop(scenario, ws_per_message_deflate=is_on)


def test_the_limit_of_a_message_holds_for_what_is_inflated() -> None:
    async def scenario(case: Case) -> None:
        case.server.websocket_max_message_size = 1000
        case.make()
        await case.open(DEFLATE)
        case.receive(frame(BINARY | COMPRESSED, compressed(bytes(1000))))
        case.receive(frame(BINARY | COMPRESSED, compressed(bytes(1001))))
        await turns(10)
        assert case.queued() == [received(bytes(1000)), disconnect(1009, "the message is longer than allowed")]

    on_loop(scenario)


@pytest.mark.parametrize(
    "message",
    [
        {"subprotocol": "other"},
        {"subprotocol": 1},
        {"headers": [("a", "b")]},
        {"headers": [(b"a", b"x\ny")]},
        {"headers": 5},
    ],
)
def test_an_accept_that_cannot_be_sent_can_be_done_again(message: dict[str, Any]) -> None:
    async def scenario(case: Case) -> None:
        case.request((b"sec-websocket-protocol", b"chat"))
        await case.rejects({**ACCEPTED, **message})
        assert case.actions == ["connecting"]
        await case.rejects({"type": "websocket.send", "text": "a"}, r"not allowed before websocket\.accept")
        await case.send(ACCEPTED)
        assert case.channel.sent == [("switch", KEY, [])]

    on_loop(scenario)


def test_an_accept_that_cannot_be_sent_may_be_followed_by_a_denial() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.rejects({**ACCEPTED, "headers": [(b"a", b"x\ny")]})
        await case.close()
        case.answered(HTTPStatus.FORBIDDEN)

    on_loop(scenario)


def test_an_accept_comes_once() -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        await case.rejects(ACCEPTED, r"websocket\.accept: not allowed after websocket\.accept")
        await case.close()
        await case.rejects(ACCEPTED, error=ClientDisconnected)

    on_loop(scenario)


def test_what_came_behind_the_handshake_is_a_message() -> None:
    async def scenario(case: Case) -> None:
        case.channel.behind = frame(TEXT, b"early") + frame(BINARY, b"bird")
        case.request()
        await case.send(ACCEPTED)
        assert case.queued() == [CONNECT, received("early"), received(b"bird")]

    on_loop(scenario)


def test_a_session_accepted_while_the_server_stops_is_closed_with_1012() -> None:
    async def scenario(case: Case) -> None:
        case.channel.is_draining = True
        case.request()
        await case.send(ACCEPTED)
        assert case.queued() == [CONNECT, disconnect(1012)]
        assert case.frames() == [(CLOSE, b"\x03\xf4")]
        assert case.is_over()
        await case.rejects({"type": "websocket.send", "text": "a"}, error=ClientDisconnected)

    on_loop(scenario)


def test_what_is_for_the_handshake_alone_is_given_up_with_it() -> None:
    """A session may last a day, and wait most of it."""

    async def scenario(case: Case) -> None:
        await case.open()
        assert case.protocol._head is case.protocol._channel is case.protocol._handshake is None
        await case.close()
        assert case.protocol._session is None, "an application may go on for long"

    on_loop(scenario)


# websocket.receive


def test_messages_come_in_their_order_as_text_or_bytes() -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        case.receive(frame(TEXT, "é".encode()) + frame(BINARY, b"\xff"), frame(TEXT) + frame(BINARY))
        assert case.queued() == [received("é"), received(b"\xff"), received(""), received(b"")]

    on_loop(scenario)


def test_the_peer_waits_when_many_messages_do() -> None:
    """Until half of them have been taken."""

    async def scenario(case: Case) -> None:
        await case.open()
        case.receive(frame(TEXT, b"a") * 3)
        assert case.transport.is_reading
        case.receive(frame(TEXT, b"a") * 4)
        queue = case.protocol.application_queue
        assert queue is not None
        waiting = [queue.qsize()]
        while not case.transport.is_reading:
            assert queue.get_nowait() == received("a")
            await turns()
            waiting.append(queue.qsize())
        assert waiting == [4, 3, 4, 3, 3]
        case.receive(frame(TEXT, b"z"))
        assert case.queued() == [received("a")] * 3 + [received("z")]

    on_loop(scenario, ws_max_queue=4)


def test_the_peer_waits_when_many_octets_do() -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        case.receive(frame(BINARY, bytes(MAX_QUEUED // 2)))
        assert case.transport.is_reading
        case.receive(frame(BINARY, bytes(MAX_QUEUED // 2)))
        assert not case.transport.is_reading
        queue = case.protocol.application_queue
        assert queue is not None
        queue.get_nowait()
        await turns()
        assert not case.transport.is_reading
        queue.get_nowait()
        await turns()
        assert case.transport.is_reading

    on_loop(scenario, ws_max_queue=1000)


def test_one_message_of_more_than_the_queue_holds_passes() -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        case.receive(frame(BINARY, bytes(MAX_QUEUED * 2)))
        assert not case.transport.is_reading
        assert case.queued() == [received(bytes(MAX_QUEUED * 2))]
        await turns()
        assert case.transport.is_reading

    on_loop(scenario)


def test_a_queue_of_one_lets_each_message_be_taken_first() -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        case.receive(frame(TEXT, b"a") + frame(TEXT, b"b"))
        queue = case.protocol.application_queue
        assert queue is not None
        assert queue.qsize() == 1
        assert queue.get_nowait() == received("a")
        await turns()
        assert queue.get_nowait() == received("b")

    on_loop(scenario, ws_max_queue=1)


def test_a_queue_that_is_read_once_the_session_is_over_disturbs_nobody() -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        case.receive(frame(TEXT, b"a") * 4)
        assert not case.transport.is_reading
        case.transport.lose()
        assert case.queued() == [received("a")] * 4 + [disconnect(1006)]

    on_loop(scenario, ws_max_queue=4)


# The client ends


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (close_frame(), disconnect(1005)),
        (close_frame(1001), disconnect(1001)),
        (close_frame(4000, "bye"), disconnect(4000, "bye")),
    ],
)
def test_a_close_is_told_behind_the_messages_before_it(data: bytes, told: dict[str, Any]) -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        case.receive(frame(TEXT, b"last") + data)
        assert not case.protocol.is_complete, "the application has not had its last message"
        queue = case.protocol.application_queue
        assert queue is not None
        assert [await queue.get(), await queue.get(), await queue.get()] == [received("last"), told, told]
        assert case.protocol.knows_of_disconnect
        assert case.is_over()
        assert case.actions == ["connecting", "connected", "disconnected"]

    on_loop(scenario)


def test_an_application_has_the_time_to_answer_what_came_before_a_close() -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        case.receive(frame(TEXT, b"last") + close_frame(1001))
        queue = case.protocol.application_queue
        assert queue is not None
        assert await queue.get() == received("last")
        await case.text("answer")
        assert await queue.get() == disconnect(1001)
        assert case.frames() == [(TEXT, b"answer"), (CLOSE, b"\x03\xe9")]
        await case.rejects({"type": "websocket.send", "text": "late"}, error=ClientDisconnected)

    on_loop(scenario)


def test_an_application_that_waits_for_a_message_has_no_more_to_say() -> None:
    """So the peer's Close is answered at once, not after the turns that others have."""

    async def scenario(case: Case) -> None:
        await case.open()
        queue = case.protocol.application_queue
        assert queue is not None
        waiting = asyncio.create_task(queue.get())
        await turns()
        case.receive(close_frame(1001))
        assert case.frames() == [(CLOSE, b"\x03\xe9")]
        assert await waiting == disconnect(1001)

    on_loop(scenario)


def test_a_client_that_vanishes_is_1006() -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        case.transport.lose()
        assert not case.protocol.knows_of_disconnect, "it has been told, and has not read it"
        assert case.queued() == [disconnect(1006)]
        assert case.protocol.knows_of_disconnect
        assert case.is_over()
        assert case.actions[-1] == "disconnected"

    on_loop(scenario)


def test_a_send_to_a_client_that_is_gone_is_an_os_error() -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        case.transport.lose()
        for message in (
            {"type": "websocket.send", "text": "a"},
            ACCEPTED,
            START,
            BODY,
        ):
            await case.rejects(message, error=OSError)
        await case.close()
        await case.close(code=4000, reason="why")
        assert case.transport.lost_writes == []
        await case.rejects({"type": "websocket.nothing"}, "no message of a WebSocket")

    on_loop(scenario)


@pytest.mark.parametrize(
    ("data", "code", "level"),
    [
        (frame(BINARY, bytes(1001)), 1009, "WARNING"),
        (frame(0x83), 1002, "DEBUG"),
        (frame(TEXT, b"\xff"), 1007, "DEBUG"),
    ],
)
def test_a_fault_is_told_and_one_of_size_is_for_the_operator(
    caplog: pytest.LogCaptureFixture, data: bytes, code: int, level: str
) -> None:
    async def scenario(case: Case) -> None:
        case.server.websocket_max_message_size = 1000
        case.make()
        await case.open()
        with watching(caplog):
            case.receive(data)
            await turns(10)
        (told,) = case.queued()
        assert told["code"] == code
        ((first, payload),) = case.frames()
        assert (first, close_payload(payload)) == (CLOSE, (code, told["reason"]))

    on_loop(scenario)
    (record,) = [record for record in caplog.records if "closed with" in record.message]
    assert record.levelname == level
    assert record.message.startswith(f"WebSocket /p%20q: closed with {code}: ")


def test_a_close_with_1009_of_the_clients_own_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        with watching(caplog):
            case.receive(close_frame(1009))
            await turns(10)
        assert case.queued() == [disconnect(1009)]

    on_loop(scenario)
    assert not [record for record in caplog.records if record.levelno >= logging.INFO]


# websocket.send


def test_messages_go_out_as_text_or_bytes() -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        for message in (
            {"text": "é"},
            {"text": "", "bytes": None},
            {"bytes": b"\xff"},
            {"bytes": b"", "text": None},
            {"bytes": bytearray(b"b")},
        ):
            await case.send({"type": "websocket.send", **message})
        assert case.frames() == [(TEXT, "é".encode()), (TEXT, b""), (BINARY, b"\xff"), (BINARY, b""), (BINARY, b"b")]

    on_loop(scenario)


@pytest.mark.parametrize(
    ("message", "match"),
    [
        ({}, "neither"),
        ({"text": "a", "bytes": b"a"}, "both"),
        ({"text": b"a"}, "'text'"),
        ({"bytes": "a"}, "'bytes'"),
        ({"text": "\ud800"}, "cannot be sent"),
    ],
)
def test_a_message_that_cannot_be_sent_is_refused_and_the_session_goes_on(message: dict[str, Any], match: str) -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        await case.rejects({"type": "websocket.send", **message}, match)
        await case.text("next")
        assert case.frames() == [(TEXT, b"next")]

    on_loop(scenario)


@pytest.mark.parametrize(
    "message",
    [
        None,
        5,
        [],
        {},
        {"text": "a"},
        {"type": None},
        {"type": "websocket.sent"},
        {"type": "http.response.start", "status": 200},
        {"type": 5},
    ],
)
def test_what_is_no_message_is_refused_in_every_state(message: Any) -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.rejects(message)
        await case.send(ACCEPTED)
        await case.rejects(message)
        case.make()
        case.request()
        await case.send(STREAM)
        await case.rejects(message)

    on_loop(scenario)


def test_a_send_waits_while_the_peer_does_not_read() -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        await case.text("goes")
        session = case.transport.protocol
        session.pauseProducing()
        sends = [asyncio.create_task(case.text(text)) for text in ("one", "two")]
        await turns(10)
        assert not any(send.done() for send in sends)
        assert case.protocol.waits_for_peer
        assert case.frames() == [(TEXT, b"goes"), (TEXT, b"one"), (TEXT, b"two")], "it is written, and waits there"
        session.resumeProducing()
        await asyncio.gather(*sends)
        assert not case.protocol.waits_for_peer

    on_loop(scenario)


def test_a_peer_that_stops_reading_again_is_waited_for_again() -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        session = case.transport.protocol
        session.pauseProducing()
        send = asyncio.create_task(case.text("a"))
        await turns()
        session.resumeProducing()
        session.pauseProducing()
        await turns(10)
        assert not send.done()
        session.resumeProducing()
        await send

    on_loop(scenario)


@pytest.mark.parametrize("end", ["lost", "closed", "stopped", "cancelled"])
def test_a_send_that_waits_ends_with_the_session(end: str) -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        session = case.transport.protocol
        session.pauseProducing()
        send = asyncio.create_task(case.text("a"))
        await turns()
        if end == "cancelled":
            send.cancel()
            with pytest.raises(asyncio.CancelledError):
                await send
            session.resumeProducing()
            await case.text("b")
            return
        if end == "lost":
            case.transport.lose()
        elif end == "closed":
            await case.close()
        else:
            session.shutdown_started()
        with pytest.raises(ClientDisconnected):
            await send

    on_loop(scenario)


def test_an_application_that_only_sends_gives_others_a_turn() -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        others: list[int] = []

        async def count() -> None:
            while True:
                others.append(1)
                await asyncio.sleep(0)

        other = asyncio.create_task(count())
        size = 10_000
        for _ in range(10 * MAX_UNBROKEN // (size + MESSAGE_OVERHEAD)):
            await case.send({"type": "websocket.send", "bytes": bytes(size)})
        other.cancel()
        assert 8 <= len(others) <= 12

    on_loop(scenario)


def test_empty_messages_count_too_for_a_turn() -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        waits = [case.protocol.handle_reply({"type": "websocket.send", "text": ""}) for _ in range(3000)]
        waiting = [wait for wait in waits if wait is not None]
        assert waiting
        assert waits.index(waiting[0]) >= MAX_UNBROKEN // MESSAGE_OVERHEAD - 1
        for wait in waiting:
            await wait

    on_loop(scenario)


# websocket.close


@pytest.mark.parametrize("message", [{}, {"code": 4000, "reason": "why"}, {"code": "nonsense", "reason": 5}])
def test_a_close_before_the_accept_is_403(message: dict[str, Any]) -> None:
    """ASGI "Close - send event"; its code and reason go nowhere, so they need not be right."""

    async def scenario(case: Case) -> None:
        case.request()
        await case.close(**message)
        case.answered(HTTPStatus.FORBIDDEN)
        assert case.is_over()
        assert case.actions == ["connecting", "rejected"]
        assert case.queued() == [CONNECT, disconnect(1006)]
        case.protocol.application_returned()
        case.protocol.connection_lost()
        assert case.actions == ["connecting", "rejected"]
        assert len(case.channel.sent) == 2

    on_loop(scenario)


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ({}, 1000, ""),
        ({"code": 4000, "reason": "why"}, 4000, "why"),
        ({"code": None}, 1000, ""),
        ({"reason": "r" * 200}, 1000, "r" * 200),
    ],
)
def test_a_close_is_sent_and_followed_by_a_disconnect(message: dict[str, Any], code: int, reason: str) -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        case.receive(frame(TEXT, b"not taken"))
        await case.close(**message)
        ((first, payload),) = case.frames()
        assert (first, close_payload(payload)) == (CLOSE, (code, reason[:123]))
        assert case.queued() == [disconnect(code, reason)], "what has not been taken is no longer wanted"
        assert case.is_over()
        assert case.actions == ["connecting", "connected", "disconnected"]
        await case.rejects({"type": "websocket.send", "text": "a"}, error=ClientDisconnected)
        await case.close(code=4001)
        case.receive(frame(TEXT, b"late") + close_frame(code))
        assert case.frames() == []
        assert case.queued() == [disconnect(code, reason)]
        assert case.actions == ["connecting", "connected", "disconnected"]

    on_loop(scenario)


@pytest.mark.parametrize("message", [{"code": 1006}, {"code": 999}, {"code": "1000"}, {"reason": b"why"}])
def test_a_close_that_cannot_be_sent_leaves_the_session_open(message: dict[str, Any]) -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        await case.rejects({"type": "websocket.close", **message})
        await case.text("still here")
        assert case.frames() == [(TEXT, b"still here")]

    on_loop(scenario)


# An HTTP response instead (ASGI extensions, "WebSocket Denial Response")


def test_a_handshake_may_be_denied_with_any_response() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.send(START)
        assert not case.protocol.is_complete
        assert case.actions == ["connecting"]
        await case.send(BODY)
        assert case.channel.sent == [("start", 401, [(b"content-length", b"4")]), ("body", b"deny", False)]
        assert case.is_over()
        assert case.actions == ["connecting", "rejected"]
        assert case.queued() == [CONNECT, disconnect(1006)]
        await case.rejects(BODY, error=ClientDisconnected)
        case.protocol.application_returned()
        assert len(case.channel.sent) == 2

    on_loop(scenario)


def test_a_denial_may_be_streamed_and_waits_for_room() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.send(STREAM)
        case.channel.is_writing_paused = True
        send = asyncio.create_task(case.send({**BODY, "more_body": True}))
        await turns()
        assert not send.done()
        case.channel.is_writing_paused = False
        case.protocol.writing_resumed()
        await send
        await case.send(BODY)
        assert case.channel.sent[1:] == [("body", b"deny", True), ("body", b"deny", False)]
        assert case.is_over()

    on_loop(scenario)


def test_a_denial_follows_the_rules_of_http() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.rejects(BODY, r"not allowed before http\.response\.start")
        await case.rejects({**START, "status": 101})
        await case.rejects({**START, "headers": [(b"a", b"x\ny")]})
        await case.send(START)
        await case.rejects(START)
        await case.rejects({**BODY, "body": "text"})
        await case.rejects({**BODY, "body": b"too long"}, "more than the Content-Length")
        await case.rejects({"type": "websocket.http.response.trailers"}, "no message of a WebSocket")

    on_loop(scenario)


def test_a_denial_that_could_not_begin_may_become_an_accept() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.rejects({**START, "status": 101})
        await case.send(ACCEPTED)
        assert case.channel.sent == [("switch", KEY, [])]

    on_loop(scenario)


def test_a_denial_that_has_begun_leaves_no_other_way() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.send(START)
        for message in (ACCEPTED, {"type": "websocket.close"}, {"type": "websocket.send", "text": "a"}):
            await case.rejects(message, r"not allowed after websocket\.http\.response\.start")
        await case.send(BODY)

    on_loop(scenario)


def test_a_session_cannot_be_denied_any_more() -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        await case.rejects(START, r"start: not allowed after websocket\.accept")
        await case.rejects(BODY, r"body: not allowed after websocket\.accept")

    on_loop(scenario)


# The application ends


STATES = ["connecting", "denying", "open", "closed", "gone"]


async def bring_into(case: Case, state: str) -> None:
    case.request()
    if state == "denying":
        await case.send(STREAM)
        await case.send({**BODY, "more_body": True})
    elif state != "connecting":
        await case.send(ACCEPTED)
        if state == "closed":
            await case.close(code=4000)
            case.frames()
        elif state == "gone":
            case.transport.lose()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("raises", [True, False])
def test_an_application_that_ends_leaves_no_client_waiting(
    caplog: pytest.LogCaptureFixture, state: str, raises: bool
) -> None:
    async def scenario(case: Case) -> None:
        await bring_into(case, state)
        if raises:
            case.protocol.handle_exception(RuntimeError("secret"))
        else:
            case.protocol.application_returned()
        if state == "connecting":
            case.answered(HTTPStatus.INTERNAL_SERVER_ERROR)
        elif state == "denying":
            assert case.channel.is_aborted
        elif state == "open":
            assert case.frames() == [(CLOSE, b"\x03\xf3")]
        else:
            assert case.frames() == []
        assert case.is_over()
        case.protocol.connection_lost()

    with watching(caplog):
        case = on_loop(scenario)
    assert case.actions == {
        "connecting": ["connecting", "rejected"],
        "denying": ["connecting"],
    }.get(state, ["connecting", "connected", "disconnected"])
    errors = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
    expected = {
        "connecting": ["WebSocket /p%20q: the application returned without accepting or closing"],
        "denying": ["WebSocket /p%20q: the application returned in the middle of its response"],
        "open": ["WebSocket /p%20q: the application returned without closing"],
    }
    # Whoever caught the exception has logged it.
    assert errors == ([] if raises else expected.get(state, []))


# The client goes during the handshake


def test_a_client_that_goes_before_the_answer_is_told_to_the_application() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        case.protocol.connection_lost()
        assert case.queued() == [CONNECT, disconnect(1006)]
        assert case.is_over()
        await case.rejects(ACCEPTED, error=ClientDisconnected)
        await case.rejects(START, error=ClientDisconnected)
        await case.close()
        assert case.channel.sent == []

    on_loop(scenario)


def test_a_half_close_during_the_handshake_ends_the_connection() -> None:
    """Who will send nothing more can take no part in a session; nobody else would ever close it."""

    async def scenario(case: Case) -> None:
        case.request()
        case.protocol.client_closed_writing()
        case.answered(HTTPStatus.BAD_REQUEST)
        assert case.queued() == [CONNECT, disconnect(1006)]
        assert case.is_over()
        await case.rejects(ACCEPTED, error=ClientDisconnected)

    on_loop(scenario)


def test_a_half_closed_client_gets_the_rest_of_a_denial() -> None:
    async def scenario(case: Case) -> None:
        await bring_into(case, "denying")
        case.protocol.client_closed_writing()
        assert not case.channel.is_aborted
        assert case.server.known[case.protocol] == "disconnected", "the application has a limited time from now on"
        assert case.queued() == [CONNECT, disconnect(1006)]
        await case.send(BODY)
        assert case.channel.sent[-1] == ("body", b"deny", False)
        assert case.is_over()

    on_loop(scenario)


def test_a_client_that_goes_in_a_denial_is_told_to_the_application() -> None:
    async def scenario(case: Case) -> None:
        await bring_into(case, "denying")
        case.channel.is_writing_paused = True
        send = asyncio.create_task(case.send({**BODY, "more_body": True}))
        await turns()
        case.protocol.connection_lost()
        with pytest.raises(OSError, match="went away"):
            await send
        assert case.queued() == [CONNECT, disconnect(1006)]
        await case.rejects(BODY, error=ClientDisconnected)
        assert case.is_over()

    on_loop(scenario)


# Times


def pass_time(case: Case, seconds: float) -> None:
    clock = case.server.clock
    clock.tick(clock.now + seconds)
    clock.tick(clock.now)
    case.protocol.check_timeouts()


@pytest.mark.parametrize(
    ("handshake", "connect", "limit", "status"),
    [
        (5, 20, 5, HTTPStatus.SERVICE_UNAVAILABLE),
        (30, 20, 20, HTTPStatus.FORBIDDEN),
        (0, 20, 20, HTTPStatus.FORBIDDEN),
        (5, 0, 5, HTTPStatus.SERVICE_UNAVAILABLE),
        (20, 20, 20, HTTPStatus.SERVICE_UNAVAILABLE),
    ],
)
def test_a_handshake_that_is_not_answered_in_time_is_refused(
    caplog: pytest.LogCaptureFixture, handshake: float, connect: float, limit: float, status: HTTPStatus
) -> None:
    async def scenario(case: Case) -> None:
        case.server.websocket_handshake_timeout = handshake
        case.server.websocket_connect_timeout = connect
        case.request()
        pass_time(case, limit - 1)
        assert case.channel.sent == []
        pass_time(case, 1)
        case.answered(status)
        assert case.queued() == [CONNECT, disconnect(1006)]
        assert case.is_over()
        await case.rejects(ACCEPTED, error=ClientDisconnected)
        pass_time(case, 1000)
        assert len(case.channel.sent) == 2

    with watching(caplog):
        case = on_loop(scenario)
    assert case.actions == ["connecting", "rejected"]
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == (
        ["WebSocket /p%20q: the application has not answered the handshake in time"] if status == 503 else []
    )


def test_no_wait_ends_before_its_time() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        clock = case.server.clock
        clock.tick(clock.now + 5)
        case.protocol.check_timeouts()
        assert case.channel.sent == []
        clock.tick(clock.now + 1)
        case.protocol.check_timeouts()
        case.answered(HTTPStatus.SERVICE_UNAVAILABLE)

    on_loop(scenario)


@pytest.mark.parametrize("state", ["denying", "open", "closed"])
def test_the_times_of_the_handshake_are_for_the_handshake_alone(state: str) -> None:
    async def scenario(case: Case) -> None:
        await bring_into(case, state)
        sent = list(case.channel.sent)
        pass_time(case, 1e6)
        assert case.channel.sent == sent
        assert case.frames() == []

    on_loop(scenario)


def test_a_timeout_of_0_is_none() -> None:
    async def scenario(case: Case) -> None:
        case.server.websocket_handshake_timeout = case.server.websocket_connect_timeout = 0
        case.request()
        pass_time(case, 1e6)
        assert case.channel.sent == []

    on_loop(scenario)


# The server stops


@pytest.mark.parametrize("state", STATES)
def test_an_application_that_streams_a_denial_learns_of_the_stop(state: str) -> None:
    """Sessions have been closed by then, and a handshake has its own times."""

    async def scenario(case: Case) -> None:
        await bring_into(case, state)
        case.queued()
        before = case.queued()
        case.protocol.shutdown_started()
        assert case.queued() == ([disconnect(1006)] if state == "denying" else before)
        if state == "denying":
            await case.send(BODY)
            assert case.channel.sent[-1] == ("body", b"deny", False)

    on_loop(scenario)


def test_a_stop_ends_a_session_and_the_application_learns_of_it() -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        case.receive(frame(TEXT, b"taken before"))
        case.transport.protocol.shutdown_started()
        assert case.queued() == [received("taken before"), disconnect(1012)]
        assert case.actions[-1] == "disconnected"

    on_loop(scenario)


# The log


def test_actions_tell_of_path_and_client() -> None:
    async def scenario(case: Case) -> None:
        await case.open()
        assert case.server.actions == [
            ("websocket", action, {"path": "/p%20q?a=b", "client": "192.0.2.1:50000"})
            for action in ("connecting", "connected")
        ]
        case.make()
        case.channel.client = None
        case.request(query_string=b"")
        assert case.server.actions[-1] == ("websocket", "connecting", {"path": "/p%20q", "client": None})

    on_loop(scenario)


def test_without_a_log_nothing_is_logged() -> None:
    async def scenario(case: Case) -> None:
        case.server.action_logger = None
        await case.open()
        await case.close()
        case.make()
        case.request()
        await case.close()

    on_loop(scenario)


def test_it_is_described_by_its_path_without_the_query() -> None:
    """Queries hold secrets."""

    async def scenario(case: Case) -> None:
        case.request()
        assert case.protocol.describe() == "WebSocket /p%20q"

    on_loop(scenario)


def test_what_the_server_asks_is_answered_before_there_is_an_application() -> None:
    async def scenario(case: Case) -> None:
        assert not case.protocol.knows_of_disconnect
        assert not case.protocol.waits_for_peer
        case.protocol.writing_resumed()
        case.protocol.shutdown_started()

    on_loop(scenario)


# The factory


def test_sessions_have_the_options_of_their_server() -> None:
    server = Server(timeout_write=4.0, ws_max_queue=7, ws_per_message_deflate=False)
    server.websocket_max_message_size, server.websocket_max_frame_size = 1, 2
    server.ping_interval, server.ping_timeout, server.websocket_timeout = 3.0, 5.0, 6.0
    factory = WebSocketFactory(server)  # type: ignore[arg-type]
    assert factory.session_options == SessionOptions(
        max_message=1, max_frame=2, ping_interval=3.0, ping_timeout=5.0, lifetime=6.0, write_timeout=4.0
    )
    assert factory.max_queue == 7
    assert not factory.compresses
    assert WebSocketFactory(Server()).compresses  # type: ignore[arg-type]
