"""One HTTP exchange between a channel and a server, both stand-ins; and the factory that makes connections."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.interfaces import ISSLTransport
from zope.interface import implementer

from daphne_clone import http_protocol
from daphne_clone.asgi.extensions import http_extensions
from daphne_clone.asgi.forwarded import Forwarding, TrustedPeers
from daphne_clone.asgi.receive import ReceiveQueue
from daphne_clone.connection.h1 import H1Connection
from daphne_clone.connection.shared import CoarseClock
from daphne_clone.errors import ApplicationProtocolError, ClientDisconnected, RequestRefused
from daphne_clone.http_protocol import MAX_QUEUED, MAX_UNBROKEN, HTTPFactory, WebRequest
from daphne_clone.interfaces import RequestHead
from daphne_clone.settings import Settings
from tests.support.connections import Transport

DISCONNECT = {"type": "http.disconnect"}
START = {"type": "http.response.start", "status": 200}


class Channel:
    """A `ResponseChannel` that keeps what it is told.

    Attributes:
        sent: Calls in order: ``("start", status, headers, has_body, trailers)``, ``("body", data, more)``, ...
        failing: Raised by `send_file`, where set.
    """

    def __init__(self, server: Any) -> None:
        self.factory = SimpleNamespace(server=server)
        self.extensions = http_extensions("1.1", can_send_files=True)
        self.scheme = "http"
        self.client: Any = ["192.0.2.1", 50_000]
        self.server: Any = ["192.0.2.2", 80]
        self.is_peer_trusted = False
        self.is_head_sent = False
        self.is_writing_paused = False
        self.is_aborted = False
        self.sent: list[Any] = []
        self.reading: list[str] = []
        self.failing: BaseException | None = None
        self.on_file: Callable[[], Awaitable[None]] | None = None

    @property
    def body(self) -> bytes:
        return b"".join(call[1] for call in self.sent if call[0] == "body")

    def start_response(self, status: int, headers: Any, has_body: bool, trailers: bool) -> int | None:
        headers = [(bytes(name), bytes(value)) for name, value in headers]
        if any(b"\n" in value for _, value in headers):
            raise ApplicationProtocolError("headers: a line end")
        self.sent.append(("start", status, headers, has_body, trailers))
        return next((int(value) for name, value in headers if name.lower() == b"content-length"), None)

    def send_body(self, data: bytes, more: bool) -> None:
        self.is_head_sent = True
        self.sent.append(("body", data, more))

    def send_trailers(self, trailers: Any, more: bool) -> None:
        self.sent.append(("trailers", list(trailers), more))

    async def send_file(self, fileno: int, offset: int, count: int, more: bool) -> None:
        self.is_head_sent = True
        if self.on_file is not None:
            await self.on_file()
        if self.failing is not None:
            raise self.failing
        self.sent.append(("file", os.pread(fileno, count, offset), more))

    def send_early_hint(self, links: Any) -> None:
        self.sent.append(("hint", list(links)))

    def send_continue(self) -> None:
        self.sent.append(("continue",))

    def refuse(self, status: HTTPStatus) -> None:
        self.sent.append(("refuse", status.value))

    def pause_reading(self) -> None:
        self.reading.append("pause")

    def resume_reading(self) -> None:
        self.reading.append("resume")

    def abort(self) -> None:
        self.is_aborted = True


class Server:
    """An `ExchangeServer` that starts no application: the test plays it.

    Attributes:
        known: Exchanges by what was told of them last: ``"connected"``, ``"disconnected"``.
        scopes: Of the applications started.
        failing: `create_application` fails, as for an application that raises when it is called.
        on_create: Run by `create_application`.
    """

    def __init__(self) -> None:
        self.action_logger: Any = None
        self.actions: list[tuple[str, str, dict[str, Any]]] = []
        self.clock = CoarseClock(0.0)
        self.connections: dict[Any, dict[str, Any]] = {}
        self.forwarding: Forwarding | None = None
        self.http_timeout: float | None = None
        self.limit_concurrency: int | None = None
        self.request_buffer_size: int | None = None
        self.root_path = ""
        self.server_name = "daphne"
        self.settings = Settings()
        self.state: dict[str, Any] = {"started": True}
        self.trusted_peers = TrustedPeers(("127.0.0.1",))
        self.known: dict[Any, str] = {}
        self.scopes: list[dict[str, Any]] = []
        self.failing = False
        self.on_create: Callable[[WebRequest], None] | None = None

    def protocol_connected(self, protocol: WebRequest) -> None:
        self.connections[protocol] = {}
        self.known[protocol] = "connected"

    def protocol_disconnected(self, protocol: WebRequest) -> None:
        self.known[protocol] = "disconnected"

    def protocol_still_connected(self, protocol: WebRequest) -> None:
        self.known[protocol] = "still connected"

    def create_application(self, protocol: WebRequest, scope: dict[str, Any]) -> ReceiveQueue | None:
        self.scopes.append(scope)
        if self.failing:
            protocol.handle_exception(RuntimeError("secret"))
            return None
        if self.on_create is not None:
            self.on_create(protocol)
        return ReceiveQueue(asyncio.get_running_loop())

    def log_actions(self) -> None:
        self.action_logger = lambda *arguments: self.actions.append(arguments)

    def log_action(self, protocol: str, action: str, details: dict[str, Any]) -> None:
        self.action_logger(protocol, action, details)

    def call_soon(self, callback: Callable[[], None]) -> object:
        raise AssertionError("only connections need it")


class Case:
    """One exchange under test."""

    def __init__(self) -> None:
        self.server = Server()
        self.channel = Channel(self.server)
        self.exchange = WebRequest(self.channel)

    def request(self, method: str = "GET", length: int | None = 0, *headers: Any, **changes: Any) -> None:
        head = RequestHead(method, b"/p", "/p", b"q", "1.1", [(b"host", b"a"), *headers])
        head.content_length = length
        for name, value in changes.items():
            setattr(head, name, value)
        self.exchange.request_received(head)

    async def send(self, message: Any) -> None:
        waiting = self.exchange.handle_reply(message)
        if waiting is not None:
            await waiting

    async def start(self, status: int = 200, *headers: Any, **more: Any) -> None:
        await self.send({"type": "http.response.start", "status": status, "headers": list(headers), **more})

    async def body(self, body: bytes = b"", more: bool = False) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    def queued(self) -> list[Any]:
        """What `receive` gives without waiting."""
        queue = self.exchange.application_queue
        assert queue is not None
        found: list[Any] = []
        while DISCONNECT not in found:
            try:
                found.append(queue.get_nowait())
            except asyncio.QueueEmpty:
                break
        return found

    async def rejects(self, message: Any, match: str | None = None) -> None:
        """The message is refused, and nothing of it is sent."""
        before = list(self.channel.sent)
        with pytest.raises(ApplicationProtocolError, match=match):
            await self.send(message)
        assert self.channel.sent == before


def on_loop(scenario: Callable[[Case], Awaitable[None]]) -> Case:
    async def main() -> Case:
        case = Case()
        async with asyncio.timeout(5):
            await scenario(case)
        return case

    return asyncio.run(main())


def body_event(body: bytes, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


# The exchange begins


def test_a_stand_in_channel_makes_an_exchange_without_addresses() -> None:
    server = Server()
    exchange = WebRequest(Channel(server))
    assert exchange.client_addr is None
    assert exchange.server_addr is None
    assert server.known == {exchange: "connected"}


def test_the_application_starts_with_the_head() -> None:
    async def scenario(case: Case) -> None:
        case.server.root_path = "/mounted"
        case.request("POST", 5)
        (scope,) = case.server.scopes
        assert scope["method"] == "POST"
        assert scope["client"] == case.exchange.client_addr == ["192.0.2.1", 50_000]
        assert scope["server"] == case.exchange.server_addr == ["192.0.2.2", 80]
        assert scope["scheme"] == "http"
        assert scope["root_path"] == "/mounted"
        assert scope["state"] == {"started": True}
        assert scope["state"] is not case.server.state
        assert set(scope["extensions"]) == set(case.channel.extensions)
        assert case.channel.sent == []

    on_loop(scenario)


def test_proxy_headers_count_from_trusted_peers_only() -> None:
    headers = [(b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-proto", b"https")]

    async def scenario(case: Case) -> None:
        for trusted in (False, True):
            case.server.forwarding = Forwarding(case.server.trusted_peers, "X-Forwarded-For", None, "X-Forwarded-Proto")
            case.channel.is_peer_trusted = trusted
            case.exchange = WebRequest(case.channel)
            case.request("GET", 0, *headers)
            scope = case.server.scopes[-1]
            assert (
                scope["client"] == case.exchange.client_addr == (["203.0.113.7", 0] if trusted else case.channel.client)
            )
            assert scope["scheme"] == ("https" if trusted else "http")
            assert scope["headers"][1:] == headers

    on_loop(scenario)


def test_proxy_headers_count_only_if_they_are_on() -> None:
    async def scenario(case: Case) -> None:
        case.channel.is_peer_trusted = True
        case.request("GET", 0, (b"x-forwarded-for", b"203.0.113.7"))
        assert case.server.scopes[0]["client"] == case.channel.client

    on_loop(scenario)


def test_daphne_root_path_counts_from_trusted_peers_only() -> None:
    async def scenario(case: Case) -> None:
        case.server.root_path = "/own"
        for trusted in (False, True):
            case.channel.is_peer_trusted = trusted
            case.exchange = WebRequest(case.channel)
            case.request(root_path=b"/caf%C3%A9")
            assert case.server.scopes[-1]["root_path"] == ("/café" if trusted else "/own")

    on_loop(scenario)


def test_one_too_many_is_503_and_starts_no_application() -> None:
    async def scenario(case: Case) -> None:
        case.server.limit_concurrency = 1
        case.request()
        assert len(case.server.scopes) == 1
        second = Case()
        second.server = case.server
        second.channel.factory.server = case.server
        second.exchange = WebRequest(second.channel)
        second.request("POST", 5)
        assert len(case.server.scopes) == 1
        assert second.channel.sent[0][:2] == ("start", 503)
        assert (b"retry-after", b"1") in second.channel.sent[0][2]
        assert second.channel.sent[1] == ("body", b"503 Service Unavailable\n", False)
        assert case.server.known[second.exchange] == "disconnected"
        second.exchange.body_received(b"12345")
        second.exchange.request_ended()
        second.exchange.connection_lost()

    on_loop(scenario)


def test_an_application_may_be_done_before_its_request_is_whole() -> None:
    """As with asyncio's eager tasks."""

    async def scenario(case: Case) -> None:
        def run(protocol: WebRequest) -> None:
            protocol.handle_reply(START)
            protocol.handle_reply({"type": "http.response.body", "body": b"ok"})

        case.server.on_create = run
        case.request()
        assert case.channel.body == b"ok"
        assert case.queued() == [DISCONNECT]

    on_loop(scenario)


def test_an_application_that_raises_when_called_is_500() -> None:
    async def scenario(case: Case) -> None:
        case.server.failing = True
        case.request("POST", 5)
        assert case.channel.sent[0][:2] == ("start", 500)
        assert case.channel.body == b"500 Internal Server Error\n"
        case.exchange.body_received(b"12345")
        case.exchange.request_ended()
        case.exchange.client_closed_writing()
        case.exchange.connection_lost()
        assert len(case.channel.sent) == 2

    on_loop(scenario)


# receive


def test_a_request_without_a_body_is_one_empty_event() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        queue = case.exchange.application_queue
        assert queue is not None
        assert await queue.get() == body_event(b"", False)
        with pytest.raises(asyncio.QueueEmpty):
            queue.get_nowait()
        case.exchange.connection_lost()
        assert await queue.get() == DISCONNECT

    on_loop(scenario)


def test_a_body_is_given_as_it_comes() -> None:
    async def scenario(case: Case) -> None:
        case.request("POST", 6)
        case.exchange.body_received(b"ab")
        assert case.queued() == [body_event(b"ab", True)]
        case.exchange.body_received(b"cd")
        case.exchange.body_received(b"ef")
        case.exchange.request_ended()
        assert case.queued() == [body_event(b"cd", True), body_event(b"ef", False)]

    on_loop(scenario)


def test_an_end_that_comes_alone_is_an_event_of_its_own() -> None:
    async def scenario(case: Case) -> None:
        case.request("POST", None)
        case.exchange.body_received(b"ab")
        assert case.queued() == [body_event(b"ab", True)]
        case.exchange.request_ended()
        assert case.queued() == [body_event(b"", False)]
        case.exchange = WebRequest(case.channel)
        case.request("POST", None)
        case.exchange.request_ended()
        assert case.queued() == [body_event(b"", False)]

    on_loop(scenario)


@pytest.mark.parametrize(
    ("pieces", "events"),
    [
        ([b"abcdefgh"], [b"abc", b"def", b"gh"]),
        ([b"abcdef"], [b"abc", b"def"]),
        ([b"a", b"b", b"c", b"d"], [b"abc", b"d"]),
        ([b"ab"], [b"ab"]),
        ([b"abc"], [b"abc"]),
        ([], [b""]),
    ],
)
def test_a_body_comes_in_events_of_the_size_asked_for(pieces: list[bytes], events: list[bytes]) -> None:
    async def scenario(case: Case) -> None:
        case.server.request_buffer_size = 3
        case.request("POST", None)
        for piece in pieces:
            case.exchange.body_received(piece)
        case.exchange.request_ended()
        expected = [body_event(event, True) for event in events]
        expected[-1]["more_body"] = False
        assert case.queued() == expected

    on_loop(scenario)


def test_the_last_event_of_a_size_is_not_an_empty_one() -> None:
    async def scenario(case: Case) -> None:
        case.server.request_buffer_size = 3
        case.request("POST", None)
        case.exchange.body_received(b"abcdef")
        assert case.queued() == [body_event(b"abc", True)]
        case.exchange.request_ended()
        assert case.queued() == [body_event(b"def", False)]

    on_loop(scenario)


def test_a_body_that_is_not_taken_makes_the_peer_wait() -> None:
    async def scenario(case: Case) -> None:
        case.request("POST", None)
        pieces = 0
        while not case.channel.reading:
            case.exchange.body_received(b"x" * 10_000)
            pieces += 1
            assert pieces * 10_000 < MAX_QUEUED + 10_001
        case.exchange.body_received(b"x" * 10_000)  # was on its way
        assert case.channel.reading == ["pause"]
        queue = case.exchange.application_queue
        assert queue is not None
        while case.channel.reading == ["pause"]:
            queue.get_nowait()
        assert case.channel.reading == ["pause", "resume"]
        assert 0 < queue.pending_bytes <= MAX_QUEUED // 2, "before it is empty, so that nobody waits for the other"
        case.queued()
        assert case.channel.reading == ["pause", "resume"]
        for _ in range(9):
            case.exchange.body_received(b"x" * 10_000)
        assert case.channel.reading == ["pause", "resume", "pause"]

    on_loop(scenario)


def test_octets_one_by_one_make_the_peer_wait_too() -> None:
    """Each event costs memory of its own."""

    async def scenario(case: Case) -> None:
        case.request("POST", None)
        for _ in range(1000):
            case.exchange.body_received(b"x")
            if case.channel.reading:
                return
        raise AssertionError("a thousand events are queued")

    on_loop(scenario)


def test_100_is_asked_for_when_the_application_first_waits() -> None:
    async def scenario(case: Case) -> None:
        case.request("POST", 2, expects_continue=True)
        queue = case.exchange.application_queue
        assert queue is not None
        assert case.channel.sent == []
        reader = asyncio.ensure_future(queue.get())
        await asyncio.sleep(0)
        assert case.channel.sent == [("continue",)]
        case.exchange.body_received(b"hi")
        assert await reader == body_event(b"hi", True)

    on_loop(scenario)


def test_no_100_is_asked_for_without_expect() -> None:
    async def scenario(case: Case) -> None:
        case.request("POST", 2)
        queue = case.exchange.application_queue
        assert queue is not None
        reader = asyncio.ensure_future(queue.get())
        await asyncio.sleep(0)
        case.exchange.connection_lost()
        assert await reader == DISCONNECT
        assert case.channel.sent == []

    on_loop(scenario)


def test_disconnect_comes_when_the_response_is_complete_at_once() -> None:
    async def scenario(case: Case) -> None:
        case.request("POST", 10)
        case.exchange.body_received(b"abc")
        queue = case.exchange.application_queue
        assert queue is not None
        await case.start()
        await case.body(b"done")
        assert await queue.get() == DISCONNECT, "what is left of the body is of no use any more"
        assert await queue.get() == DISCONNECT
        case.exchange.body_received(b"defghij")
        case.exchange.request_ended()
        assert await queue.get() == DISCONNECT

    on_loop(scenario)


def test_disconnect_wakes_who_waits_in_receive() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        queue = case.exchange.application_queue
        assert queue is not None
        await queue.get()
        reader = asyncio.ensure_future(queue.get())
        await asyncio.sleep(0)
        case.exchange.connection_lost()
        await asyncio.sleep(0)
        assert reader.done()
        assert reader.result() == DISCONNECT
        assert case.server.known[case.exchange] == "disconnected"

    on_loop(scenario)


# send: the start


def test_a_response_is_a_start_and_a_body() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start(201, (b"a", b"b"))
        await case.body(b"one", True)
        await case.body(b"two")
        assert case.channel.sent == [
            ("start", 201, [(b"a", b"b")], True, False),
            ("body", b"one", True),
            ("body", b"two", False),
        ]
        assert case.exchange.is_complete

    on_loop(scenario)


@pytest.mark.parametrize("message", [None, 1, "x", [], {}, {"status": 200}, b"x"])
def test_a_message_has_a_type(message: Any) -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.rejects(message, "type")
        await case.start()
        await case.rejects(message, "type")

    on_loop(scenario)


@pytest.mark.parametrize(
    "kind", ["", "http.response", "http.response.Start", "websocket.send", "http.request", None, 1, b"x", ("a",)]
)
def test_an_unknown_type_is_refused(kind: Any) -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.rejects({"type": kind})
        await case.start()
        await case.rejects({"type": kind})
        await case.body(b"still fine")
        assert case.channel.body == b"still fine"

    on_loop(scenario)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "http.response.start"},
        {"type": "http.response.start", "status": "200"},
        {"type": "http.response.start", "status": 100},
        {"type": "http.response.start", "status": 200, "trailers": 1},
        {"type": "http.response.start", "status": 200, "headers": [(b"a", b"\n")]},
        {"type": "http.response.body"},
        {"type": "http.response.body", "body": "text"},
        {"type": "http.response.trailers"},
        {"type": "http.response.pathsend", "path": "/dev/null"},
        {"type": "http.response.zerocopysend", "file": 1},
        {"type": "http.response.early_hint"},
        {"type": "http.response.early_hint", "links": [1]},
        {"type": "http.response.push", "path": "/", "headers": []},
        {"type": "http.response.debug", "info": {}},
    ],
)
def test_what_an_application_may_not_begin_with(message: dict[str, Any]) -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.rejects(message)
        await case.start()
        await case.body(b"ok")
        assert case.exchange.is_complete

    on_loop(scenario)


def test_extra_keys_are_no_error() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.send({**START, "extra": 1})
        await case.send({"type": "http.response.body", "body": b"x", "extra": object()})
        assert case.channel.sent == [("start", 200, [], True, False), ("body", b"x", False)]

    on_loop(scenario)


def test_a_response_starts_once() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start()
        await case.rejects(START, "not allowed")
        await case.body(b"x", True)
        await case.rejects(START, "not allowed")

    on_loop(scenario)


def test_a_refused_start_leaves_nothing_behind() -> None:
    bad = [(b"a", b"b\nc"), (b"content-length", b"1")]

    async def scenario(case: Case) -> None:
        case.request()
        await case.rejects({**START, "status": 204, "headers": bad, "trailers": True})
        await case.start(200, (b"content-length", b"2"))
        await case.body(b"ok")
        assert case.channel.sent == [("start", 200, [(b"content-length", b"2")], True, False), ("body", b"ok", False)]

        case.exchange = WebRequest(case.channel)
        case.channel.sent.clear()
        case.request()
        await case.rejects({**START, "status": 304, "headers": bad})
        case.exchange.handle_exception(ValueError("secret"))
        assert case.channel.sent[0][:2] == ("start", 500)
        assert case.channel.body == b"500 Internal Server Error\n"

    on_loop(scenario)


def test_headers_that_can_be_read_once_are_sent_and_logged() -> None:
    async def scenario(case: Case) -> None:
        case.server.log_actions()
        case.request()
        await case.send({**START, "headers": iter([(b"a", b"b")])})
        await case.body()
        assert case.channel.sent[0][2] == [(b"a", b"b")]
        assert list(case.server.actions[0][2]["response_headers"]) == [(b"a", b"b")]

    on_loop(scenario)


@pytest.mark.parametrize("headers", [1, None])
def test_headers_that_are_none_are_refused_with_a_log_too(headers: Any) -> None:
    async def scenario(case: Case) -> None:
        case.server.log_actions()
        case.request()
        with pytest.raises((ApplicationProtocolError, TypeError)):
            await case.send({**START, "headers": headers})
        await case.start()

    on_loop(scenario)


# send: the body and its length


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 404)])
def test_answers_without_a_body(method: str, status: int) -> None:
    async def scenario(case: Case) -> None:
        case.request(method)
        await case.start(status, (b"content-length", b"5"))
        await case.body(b"abc", True)
        await case.body(b"defgh")
        assert case.channel.sent[0][3] is False
        assert case.channel.body == b""
        assert case.channel.sent[-1] == ("body", b"", False)
        assert not case.channel.is_aborted
        assert case.exchange.is_complete

    on_loop(scenario)


def test_more_than_the_content_length_is_refused_and_not_sent() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start(200, (b"Content-Length", b"5"))
        await case.rejects({"type": "http.response.body", "body": b"123456"}, "Content-Length")
        await case.body(b"123", True)
        await case.rejects({"type": "http.response.body", "body": b"456", "more_body": True}, "Content-Length")
        await case.body(b"45")
        assert case.channel.body == b"12345"
        assert not case.channel.is_aborted

    on_loop(scenario)


def test_less_than_the_content_length_cuts_the_connection() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start(200, (b"content-length", b"5"))
        await case.body(b"12", True)
        await case.rejects({"type": "http.response.body", "body": b"34"}, "Content-Length")
        assert case.channel.is_aborted
        assert not case.exchange.is_complete

    on_loop(scenario)


def test_what_comes_behind_a_complete_response_is_ignored() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start()
        await case.body(b"x")
        sent = list(case.channel.sent)
        for message in (START, {"type": "http.response.body", "body": b"y"}, {"type": "nonsense"}, {}, None):
            await case.send(message)
        case.exchange.handle_exception(RuntimeError())
        case.exchange.application_returned()
        assert case.channel.sent == sent
        assert not case.channel.is_aborted

    on_loop(scenario)


def test_send_waits_while_the_peer_does_not_read() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start()
        case.channel.is_writing_paused = True
        sending = asyncio.ensure_future(case.body(b"x", True))
        await asyncio.sleep(0.001)
        assert not sending.done()
        assert case.channel.body == b"x"
        case.exchange.writing_resumed()  # but it is full again at once
        await asyncio.sleep(0.001)
        assert not sending.done()
        case.channel.is_writing_paused = False
        case.exchange.writing_resumed()
        await sending

    on_loop(scenario)


def test_the_last_part_waits_for_nobody() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start()
        case.channel.is_writing_paused = True
        assert case.exchange.handle_reply({"type": "http.response.body", "body": b"x"}) is None
        assert case.exchange.is_complete

    on_loop(scenario)


def test_an_application_that_only_sends_lets_others_run() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start()
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.ensure_future(other())
        rounds = 5
        for _ in range(rounds * MAX_UNBROKEN // 10_000):
            await case.body(b"x" * 10_000, True)
        for _ in range(rounds * MAX_UNBROKEN // 512):
            await case.body(b"", True)
        task.cancel()
        assert turns >= 2 * rounds - 1

    on_loop(scenario)


def test_who_waits_for_room_hears_that_the_client_is_gone() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start()
        case.channel.is_writing_paused = True
        senders = [asyncio.ensure_future(case.body(b"x", True)) for _ in range(2)]
        await asyncio.sleep(0.001)
        case.exchange.connection_lost()
        for sender in senders:
            with pytest.raises(ClientDisconnected):
                await sender

    on_loop(scenario)


def test_completion_wakes_whoever_waits_for_room() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start()
        case.channel.is_writing_paused = True
        sender = asyncio.ensure_future(case.body(b"x", True))
        await asyncio.sleep(0.001)
        await case.body(b"y")
        await sender

    on_loop(scenario)


def test_hints_and_trailers_wait_for_room_too() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        case.channel.is_writing_paused = True
        hint = asyncio.ensure_future(case.send({"type": "http.response.early_hint", "links": [b"</a>"]}))
        await asyncio.sleep(0.001)
        assert not hint.done()
        case.channel.is_writing_paused = False
        case.exchange.writing_resumed()
        await hint
        await case.start(trailers=True)
        await case.body(b"x")
        case.channel.is_writing_paused = True
        trailers = asyncio.ensure_future(case.send({"type": "http.response.trailers", "more_trailers": True}))
        await asyncio.sleep(0.001)
        assert not trailers.done()
        case.exchange.connection_lost()
        with pytest.raises(ClientDisconnected):
            await trailers

    on_loop(scenario)


# The client goes


@pytest.mark.parametrize("before", ["nothing", "start", "body"])
def test_send_after_a_disconnect_is_an_os_error(before: str) -> None:
    async def scenario(case: Case) -> None:
        case.request()
        if before != "nothing":
            await case.start()
        if before == "body":
            await case.body(b"x", True)
        case.exchange.connection_lost()
        sent = list(case.channel.sent)
        for message in (
            {"type": "http.response.body", "body": b"x"},
            {"type": "http.response.body", "body": b"", "more_body": True},
        ):
            with pytest.raises(OSError, match="client") as caught:
                await case.send(message)
            assert isinstance(caught.value, ClientDisconnected)
        assert case.channel.sent == sent

    on_loop(scenario)


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (b"2", {"body": b"", "more_body": True}),
        (b"2", {"body": b"more"}),
        (b"3", {"body": b""}),
        (None, {"body": b""}),
    ],
)
def test_an_end_that_is_none_is_an_error(length: bytes | None, message: dict[str, Any]) -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start(200, *([(b"content-length", length)] if length else []))
        await case.body(b"ok", True)
        case.exchange.connection_lost()
        with pytest.raises(ClientDisconnected):
            await case.send({"type": "http.response.body", **message})
        assert not case.exchange.is_complete

    on_loop(scenario)


def test_an_empty_end_after_all_of_the_content_length_is_no_error() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start(200, (b"content-length", b"2"))
        await case.body(b"ok", True)
        case.exchange.connection_lost()
        await case.body(b"")
        assert case.exchange.is_complete

    on_loop(scenario)


def test_a_half_closed_client_is_answered_until_the_application_has_heard() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        case.exchange.client_closed_writing()
        await case.start()
        await case.body(b"x", True)
        assert case.channel.body == b"x"
        queue = case.exchange.application_queue
        assert queue is not None
        assert await queue.get() == body_event(b"", False)
        await case.body(b"y", True)
        assert await queue.get() == DISCONNECT
        with pytest.raises(ClientDisconnected):
            await case.body(b"z", True)
        assert case.channel.body == b"xy"

    on_loop(scenario)


def test_a_half_closed_client_that_takes_its_answer_keeps_its_application() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        case.exchange.client_closed_writing()
        assert case.server.known[case.exchange] == "disconnected"
        await case.start()
        await case.body(b"x", True)
        assert case.server.known[case.exchange] == "still connected"

    on_loop(scenario)


def test_an_application_told_of_the_disconnect_that_returns_gets_no_500() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        case.exchange.client_closed_writing()
        case.queued()
        case.exchange.application_returned()
        assert case.channel.sent == []

    on_loop(scenario)


# The request is refused while the application runs


def test_a_refusal_before_the_start_is_answered() -> None:
    async def scenario(case: Case) -> None:
        case.server.log_actions()
        case.request("POST", None)
        case.exchange.body_received(b"abc")
        case.exchange.request_refused(RequestRefused(HTTPStatus.BAD_REQUEST, "chunks"))
        assert case.channel.sent == [("refuse", 400)]
        assert case.queued() == [DISCONNECT]
        with pytest.raises(ClientDisconnected):
            await case.start()
        assert case.server.known[case.exchange] == "disconnected"
        ((_, action, details),) = case.server.actions
        assert (action, details["status"]) == ("complete", 400)

    on_loop(scenario)


def test_a_refusal_behind_the_start_cuts_the_connection() -> None:
    async def scenario(case: Case) -> None:
        case.request("POST", None)
        await case.start()
        await case.body(b"x", True)
        case.exchange.request_refused(RequestRefused(HTTPStatus.BAD_REQUEST, "chunks"))
        assert case.channel.is_aborted
        assert ("refuse", 400) not in case.channel.sent
        with pytest.raises(ClientDisconnected):
            await case.body(b"y", True)

    on_loop(scenario)


# The application ends


def test_returning_without_a_response_is_500_and_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(case: Case) -> None:
        case.request()
        case.exchange.application_returned()
        assert case.channel.sent[0][:2] == ("start", 500)
        assert case.channel.body == b"500 Internal Server Error\n"
        assert case.exchange.is_complete

    with watching(caplog):
        on_loop(scenario)
    assert "GET /p: the application returned without a response" in caplog.text


def test_returning_in_the_middle_cuts_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(case: Case) -> None:
        for stage in range(3):
            case.exchange = WebRequest(case.channel)
            case.channel.is_aborted = False
            case.request()
            await case.start(trailers=stage == 2)
            if stage:
                await case.body(b"x", stage == 1)
            case.exchange.application_returned()
            assert case.channel.is_aborted
            assert not case.exchange.is_complete

    with watching(caplog):
        on_loop(scenario)
    assert caplog.text.count("returned in the middle of its response") == 3


def test_an_exception_before_the_start_is_500_without_its_text() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        case.exchange.handle_exception(RuntimeError("the password is secret"))
        assert case.channel.sent == [
            ("start", 500, [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"26")], True, False),
            ("body", b"500 Internal Server Error\n", False),
        ]
        assert case.server.known[case.exchange] == "disconnected"

    on_loop(scenario)


def test_an_exception_behind_the_start_cuts_the_connection() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start(200, (b"content-length", b"5"))
        await case.body(b"12", True)
        case.exchange.handle_exception(RuntimeError())
        assert case.channel.is_aborted
        assert case.channel.body == b"12"

    on_loop(scenario)


def test_a_500_to_head_has_no_body() -> None:
    async def scenario(case: Case) -> None:
        case.request("HEAD")
        case.exchange.handle_exception(RuntimeError())
        assert case.channel.sent[0][3] is False
        assert case.channel.body == b""

    on_loop(scenario)


# Time


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds since the epoch that the exchanges see; change the item."""
    seconds = [1_000_000.0]
    monkeypatch.setattr(http_protocol, "time", lambda: seconds[0])
    return seconds


def test_a_request_that_takes_too_long_is_503() -> None:
    async def scenario(case: Case) -> None:
        case.server.http_timeout = 10
        case.request()
        case.server.clock.previous += 9.9
        case.exchange.check_timeouts()
        assert case.channel.sent == []
        case.server.clock.previous += 0.1
        case.exchange.check_timeouts()
        assert case.channel.sent[0][:2] == ("start", 503)
        assert case.queued() == [DISCONNECT]
        assert case.server.known[case.exchange] == "disconnected"
        sent = list(case.channel.sent)
        case.exchange.check_timeouts()
        assert case.channel.sent == sent

    on_loop(scenario)


def test_a_response_that_is_complete_is_never_too_late() -> None:
    async def scenario(case: Case) -> None:
        case.server.http_timeout = 10
        case.request()
        await case.start()
        await case.body(b"x")
        case.server.clock.previous += 100
        case.exchange.check_timeouts()
        assert not case.channel.is_aborted
        assert case.server.known[case.exchange] == "connected"

    on_loop(scenario)


def test_a_response_that_takes_too_long_is_cut() -> None:
    async def scenario(case: Case) -> None:
        case.server.http_timeout = 10
        case.request()
        await case.start()
        await case.body(b"x", True)
        case.server.clock.previous += 10
        case.exchange.check_timeouts()
        assert case.channel.is_aborted
        with pytest.raises(ClientDisconnected):
            await case.body(b"y", True)

    on_loop(scenario)


@pytest.mark.parametrize("limit", [None, 0])
def test_without_a_timeout_a_request_has_all_the_time(limit: float | None) -> None:
    async def scenario(case: Case) -> None:
        case.server.http_timeout = limit
        case.request()
        case.server.clock.previous += 1e9
        case.exchange.check_timeouts()
        assert case.channel.sent == []

    on_loop(scenario)


def test_a_stop_tells_a_streaming_application_only() -> None:
    async def scenario(case: Case) -> None:
        case.request("POST", 5)
        case.exchange.shutdown_started()
        assert case.queued() == []
        case.exchange.body_received(b"abc")
        await case.start()
        await case.body(b"x", True)
        case.exchange.shutdown_started()
        assert case.queued() == [body_event(b"abc", True), DISCONNECT]
        await case.body(b"bye")
        assert case.exchange.is_complete

    on_loop(scenario)


# Extensions: trailers


def test_trailers_follow_the_body_they_were_announced_for() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        trailers = {"type": "http.response.trailers", "headers": [(b"a", b"1")]}
        await case.start(trailers=True)
        await case.rejects(trailers, "not allowed")
        await case.body(b"x")
        assert not case.exchange.is_complete
        await case.rejects({"type": "http.response.body", "body": b"y"}, "not allowed")
        await case.send({**trailers, "more_trailers": True})
        assert not case.exchange.is_complete
        await case.send(trailers)
        assert case.exchange.is_complete
        assert case.channel.sent[2:] == [("trailers", [(b"a", b"1")], True), ("trailers", [(b"a", b"1")], False)]

    on_loop(scenario)


def test_trailers_that_were_not_announced_come_too_late() -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start()
        await case.rejects({"type": "http.response.trailers"}, "not allowed")
        await case.body(b"x")
        await case.send({"type": "http.response.trailers"})
        assert len(case.channel.sent) == 2

    on_loop(scenario)


# Extensions: early hints


def test_hints_go_out_until_the_head_has_left() -> None:
    async def scenario(case: Case) -> None:
        hint = {"type": "http.response.early_hint", "links": [b"</a>"]}
        case.request()
        await case.send(hint)
        await case.start()
        await case.send(hint)
        await case.body(b"x", True)
        await case.rejects(hint, "on its way")
        assert [call[0] for call in case.channel.sent] == ["hint", "start", "hint", "body"]

    on_loop(scenario)


# Extensions: files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    return path


def pathsend(path: Path) -> dict[str, Any]:
    return {"type": "http.response.pathsend", "path": str(path)}


def test_a_path_is_the_whole_body(path: Path) -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start(200, (b"content-length", b"10"))
        await case.send(pathsend(path))
        assert case.channel.sent[-1] == ("file", b"0123456789", False)
        assert case.exchange.is_complete
        assert case.queued() == [DISCONNECT]

    descriptors = len(os.listdir("/dev/fd"))
    on_loop(scenario)
    assert len(os.listdir("/dev/fd")) == descriptors


def test_a_path_that_cannot_be_opened_leaves_the_response_as_it_was(path: Path) -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start()
        with pytest.raises(FileNotFoundError):
            await case.send(pathsend(path.parent / "none"))
        assert not case.channel.is_aborted
        await case.body(b"sorry")
        assert case.channel.body == b"sorry"

    on_loop(scenario)


def test_a_path_of_another_length_than_announced(path: Path) -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start(200, (b"content-length", b"9"))
        with pytest.raises(ApplicationProtocolError, match="Content-Length"):
            await case.send(pathsend(path))
        assert case.channel.sent[1:] == []

    on_loop(scenario)


def test_a_path_to_head_sends_nothing(path: Path) -> None:
    async def scenario(case: Case) -> None:
        case.request("HEAD")
        await case.start(200, (b"content-length", b"10"))
        await case.send(pathsend(path))
        assert case.channel.sent[-1] == ("file", b"", False)
        assert case.exchange.is_complete

    on_loop(scenario)


def test_nothing_is_sent_while_a_path_is_being_opened(path: Path) -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start()
        sending = asyncio.ensure_future(case.send(pathsend(path)))
        await asyncio.sleep(0)
        with pytest.raises(ApplicationProtocolError, match="file is still being sent"):
            await case.body(b"x")
        await sending
        assert case.channel.sent[1:] == [("file", b"0123456789", False)]

    on_loop(scenario)


def test_a_client_that_goes_while_a_path_is_being_opened(path: Path) -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start()
        sending = asyncio.ensure_future(case.send(pathsend(path)))
        await asyncio.sleep(0)
        case.exchange.connection_lost()
        with pytest.raises(ClientDisconnected):
            await sending
        assert len(case.channel.sent) == 1

    descriptors = len(os.listdir("/dev/fd"))
    on_loop(scenario)
    assert len(os.listdir("/dev/fd")) == descriptors


def test_open_files_mix_with_bodies(path: Path) -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start(200, (b"content-length", b"9"))
        with path.open("rb") as file:
            send = {"type": "http.response.zerocopysend", "file": file, "more_body": True}
            file.seek(2)
            await case.send({**send, "count": 3})
            assert file.tell() == 5, "the position moves as by reading"
            await case.body(b"<>", True)
            await case.send({**send, "offset": 0, "count": 1})
            assert file.tell() == 5, "but not for an offset"
            await case.send({**send, "offset": 7, "more_body": False})
            assert not file.closed
        assert case.channel.sent[1:] == [
            ("file", b"234", True),
            ("body", b"<>", True),
            ("file", b"0", True),
            ("file", b"789", False),
        ]
        assert case.exchange.is_complete

    on_loop(scenario)


def test_an_open_file_past_its_end_is_empty(path: Path) -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start()
        with path.open("rb") as file:
            await case.send({"type": "http.response.zerocopysend", "file": file, "offset": 50})
        assert case.channel.sent[-1] == ("file", b"", False)

    on_loop(scenario)


def test_files_count_against_the_content_length(path: Path) -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start(200, (b"content-length", b"12"))
        with path.open("rb") as file:
            message = {"type": "http.response.zerocopysend", "file": file, "offset": 0, "more_body": True}
            await case.send(message)
            await case.rejects(message, "Content-Length")
            await case.rejects({**message, "count": 1, "more_body": False}, "Content-Length")
            assert case.channel.is_aborted

    on_loop(scenario)


@pytest.mark.parametrize("kind", ["pathsend", "zerocopysend"])
def test_files_come_behind_the_start(path: Path, kind: str) -> None:
    async def scenario(case: Case) -> None:
        case.request()
        with path.open("rb") as file:
            message = {"type": f"http.response.{kind}", "path": str(path), "file": file}
            await case.rejects(message, "not allowed before")
            await case.start(trailers=True)
            await case.body(b"x")
            await case.rejects(message, "not allowed between")

    on_loop(scenario)


def test_one_file_at_a_time(path: Path) -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start()
        gate = asyncio.Event()
        case.channel.on_file = gate.wait  # type: ignore[assignment]
        with path.open("rb") as file:
            message = {"type": "http.response.zerocopysend", "file": file, "more_body": True}
            sending = asyncio.ensure_future(case.send(message))
            await asyncio.sleep(0)
            for other in (message, {"type": "http.response.body"}, {"type": "http.response.early_hint", "links": []}):
                with pytest.raises(ApplicationProtocolError, match="file is still being sent"):
                    await case.send(other)
            gate.set()
            await sending
            await case.body(b"end")
        assert case.channel.sent[1:] == [("file", b"0123456789", True), ("body", b"end", False)]

    on_loop(scenario)


@pytest.mark.parametrize(
    "error", [OSError("disk"), EOFError("short"), ClientDisconnected("gone"), asyncio.CancelledError()]
)
def test_a_file_that_fails_cuts_the_response(path: Path, error: BaseException) -> None:
    """Part of it may be out: whatever the application makes of the error, nothing can be put behind it."""

    async def scenario(case: Case) -> None:
        case.request()
        await case.start()
        case.channel.failing = error
        with pytest.raises(type(error)):
            await case.send(pathsend(path))
        assert case.channel.is_aborted
        assert not case.exchange.is_complete

    on_loop(scenario)


def test_send_waits_for_room_behind_a_file(path: Path) -> None:
    async def scenario(case: Case) -> None:
        case.request()
        await case.start()
        case.channel.is_writing_paused = True
        with path.open("rb") as file:
            sending = asyncio.ensure_future(
                case.send({"type": "http.response.zerocopysend", "file": file, "more_body": True})
            )
            await asyncio.sleep(0.001)
            assert not sending.done()
            case.channel.is_writing_paused = False
            case.exchange.writing_resumed()
            await sending

    on_loop(scenario)


# The action log


def test_a_complete_response_is_logged_once(now: list[float]) -> None:
    async def scenario(case: Case) -> None:
        case.server.log_actions()
        case.request("GET", 0, (b"user-agent", b"x"))
        now[0] += 1.5
        await case.start(202, (b"a", b"b"))
        await case.body(b"123", True)
        assert case.server.actions == []
        await case.body(b"45")
        case.exchange.connection_lost()
        ((protocol, action, details),) = case.server.actions
        assert (protocol, action) == ("http", "complete")
        expected = {
            "path": "/p?q",
            "status": 202,
            "method": "GET",
            "client": "192.0.2.1:50000",
            "time_taken": 1.5,
            "size": 5,
            "http_version": "1.1",
            "query_string": b"q",
            "scheme": "http",
            "headers": [(b"host", b"a"), (b"user-agent", b"x")],
        }
        assert {key: details[key] for key in expected} == expected
        assert list(details["response_headers"]) == [(b"a", b"b")]
        assert details["scope"] is case.server.scopes[0]

    on_loop(scenario)


def test_the_log_has_the_size_of_files_and_of_nothing_not_sent(path: Path) -> None:
    async def scenario(case: Case) -> None:
        case.server.log_actions()
        case.request()
        await case.start()
        await case.send(pathsend(path))
        case.exchange = WebRequest(case.channel)
        case.channel.client = None
        case.request("HEAD")
        await case.start()
        await case.body(b"123")
        assert [details["size"] for _, _, details in case.server.actions] == [10, 0]
        assert case.server.actions[1][2]["client"] is None

    on_loop(scenario)


def test_the_log_says_500_for_an_exception() -> None:
    async def scenario(case: Case) -> None:
        case.server.log_actions()
        case.request()
        case.exchange.handle_exception(RuntimeError())
        ((_, _, details),) = case.server.actions
        assert (details["status"], details["size"]) == (500, 26)

    on_loop(scenario)


def watching(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.handler.setLevel(logging.DEBUG)
    return caplog.at_level(logging.DEBUG, logger="daphne_clone")


# The factory


def test_the_factory_makes_connections_with_the_settings_of_its_server() -> None:
    server = Server()
    server.settings = Settings(
        limit_request_line=100,
        limit_request_head=2000,
        limit_request_fields=7,
        limit_request_body=9,
        timeout_request_head=1.0,
        timeout_request_body=2.0,
        timeout_keep_alive=3.0,
        timeout_write=4.0,
        headers=((b"x-op", b"1"),),
        date_header=False,
    )
    factory = HTTPFactory(server)  # type: ignore[arg-type]
    assert isinstance(factory.buildProtocol(None), H1Connection)
    limits, timeouts = factory.limits, factory.timeouts
    assert (limits.line, limits.head, limits.fields, limits.body) == (100, 2000, 7, 9)
    assert (timeouts.request_head, timeouts.request_body, timeouts.keep_alive, timeouts.write) == (1, 2, 3, 4)
    assert factory.default_fields.fields == [(b"server", b"daphne"), (b"x-op", b"1")]
    head = RequestHead("GET", b"/", "/", b"", "1.1", [])
    head.upgrade = (b"h2c",)
    assert isinstance(factory.make_exchange(Channel(server), head), WebRequest)  # type: ignore[arg-type]


def test_every_response_has_a_date_unless_it_is_off() -> None:
    assert b"date" in dict(HTTPFactory(Server()).default_fields.fields)  # type: ignore[arg-type]


def test_one_connection_too_many_is_turned_away(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    server.settings = Settings(limit_connections=2)
    factory = HTTPFactory(server)  # type: ignore[arg-type]
    transports = []
    for _ in range(2):
        transports.append(Transport())
        transports[-1].connect(factory.buildProtocol(None))
    with watching(caplog):
        assert factory.buildProtocol(None) is None
    assert "2 connections are open" in caplog.text
    transports[0].lose()
    assert factory.buildProtocol(None) is not None


@implementer(ISSLTransport)
class TLSTransport(Transport):
    """Says that it is encrypted."""


@pytest.mark.parametrize(
    ("transport", "expected"),
    [
        (Transport(), ("http", ["192.0.2.1", 50_000], ["192.0.2.2", 80])),
        (TLSTransport(), ("https", ["192.0.2.1", 50_000], ["192.0.2.2", 80])),
        (Transport(UNIXAddress(None), UNIXAddress(b"/run/a.sock")), ("http", None, ["/run/a.sock", None])),
        (Transport(UNIXAddress(None), UNIXAddress(None)), ("http", None, None)),
        (Transport(IPv4Address("TCP", "::1", 5), IPv4Address("TCP", "::1", 6)), ("http", ["::1", 5], ["::1", 6])),
    ],
)
def test_the_ends_of_a_connection(transport: Transport, expected: Any) -> None:
    assert HTTPFactory(Server()).describe(transport) == expected  # type: ignore[arg-type]


def test_who_is_trusted_is_the_servers_choice() -> None:
    factory = HTTPFactory(Server())  # type: ignore[arg-type]
    assert factory.trusts(["127.0.0.1", 5])
    assert not factory.trusts(["127.0.0.2", 5])
    assert not factory.trusts(None)


def test_extensions_are_those_of_the_transport() -> None:
    factory = HTTPFactory(Server())  # type: ignore[arg-type]
    assert "http.response.pathsend" not in factory.extensions_of(Transport(), "1.1")
    assert factory.extensions_of(Transport(), "1.0") == {}


def test_a_fault_of_the_peer_is_for_debugging_only(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    factory = HTTPFactory(server)  # type: ignore[arg-type]
    with watching(caplog):
        factory.request_refused(Channel(server), RequestRefused(HTTPStatus.BAD_REQUEST, "no Host"))  # type: ignore[arg-type]
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert "no Host" in caplog.text
