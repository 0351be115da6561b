"""One connection of HTTP/1.1 or 1.0: requests in, responses out, one exchange at a time.

It joins a `wire` parser, a transport and an exchange, and owns what is between them: framing and persistence, the
order of pipelined requests, backpressure both ways, and the deadlines of reading and writing. It does not know ASGI.

A connection is always in one phase, which says what a deadline passed means:

========  ==========================================================  ===================================
phase     it waits for                                                past the deadline
========  ==========================================================  ===================================
HEAD      the rest of a head (from the accept on: all of the first)   408 if anything has come, then close
IDLE      another request                                             close
BODY      more of the request's body                                  408, or cut if a response has begun
ANSWER    the application: no deadline here
LINGER    the peer to close, after the last answer                    close
========  ==========================================================  ===================================

Writing has a deadline of its own, whatever the phase: a peer that does not read is cut.
"""

from __future__ import annotations

from http import HTTPStatus
from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer
from zope.interface import implementer

from daphne_clone.connection.h2 import H2Connection
from daphne_clone.connection.negotiate import is_http2
from daphne_clone.connection.shared import LINGER_S, MIN_RATE, WriteDeadline
from daphne_clone.errors import ClientDisconnected, RequestRefused
from daphne_clone.wire.h1_request import RequestParser
from daphne_clone.wire.h1_response import (
    CHUNKED,
    CLOSE,
    CONTINUE,
    KEEP_ALIVE,
    LAST_CHUNK,
    UPGRADE,
    encode_fields,
    encode_refusal,
)
from daphne_clone.wire.ws_handshake import accept_token

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.python.failure import Failure

    from daphne_clone.connection.shared import ConnectionFactory
    from daphne_clone.interfaces import Exchange, Field, RequestHead

_HEAD, _IDLE, _BODY, _ANSWER, _LINGER = range(5)

# How the end of a response's body is told (RFC 9112 section 6).
_NO_BODY, _BY_LENGTH, _BY_CHUNKS, _BY_CLOSE = range(4)

# What is read of a body that no application wants, to keep the connection; closing is cheaper for more.
MAX_DISCARDED = 65_536

# What may wait unparsed behind the current request before reading stops.
MAX_PIPELINED = 65_536

# Octets parsed in one turn of the loop where each may cost much: heads and chunks, not bodies of known length.
_MAX_TURN = 32_768

# A file is sent in pieces of this many octets, so that a reader has the write timeout for each, not for the whole.
_FILE_PIECE = 65_536

# Parts of a body gathered into one write: as much as the transports' high-water mark.
_MAX_BURST = 65_536

# Below this a copy into one buffer is cheaper than another item for the transport to write.
_JOIN_BELOW = 65_536


@implementer(IProtocol, IHalfCloseableProtocol, IPushProducer)
class H1Connection:
    """A connection speaking HTTP/1.1; also the `ResponseChannel` of its current exchange.

    Args:
        factory: Supplies the exchanges and everything that connections share.
    """

    __slots__ = (
        "_awaits_trailers",
        "_block",
        "_burst",
        "_burst_size",
        "_close_after",
        "_discarded",
        "_encode",
        "_exchange",
        "_first",
        "_framing",
        "_head",
        "_heir",
        "_held",
        "_is_body_paused",
        "_is_continue_due",
        "_is_described",
        "_is_draining",
        "_is_error",
        "_is_in_burst",
        "_is_next_scheduled",
        "_is_peer_finished",
        "_is_reading_paused",
        "_is_receiving",
        "_is_sending_file",
        "_keep_alive",
        "_make_exchange",
        "_parser",
        "_phase",
        "_read_deadline",
        "_receive",
        "_sends_trailers",
        "_successor",
        "_version",
        "_write_deadline",
        "client",
        "extensions",
        "is_head_sent",
        "is_peer_trusted",
        "factory",
        "is_writing_paused",
        "scheme",
        "server",
        "transport",
    )

    def __init__(self, factory: ConnectionFactory) -> None:
        self.factory = factory
        self.transport: Any = None  # ITCPTransport, with more on a LoopTransport; zope interfaces have no common type
        self.scheme = "http"
        self.client: list[Any] | None = None
        self.server: list[Any] | None = None
        self.extensions: dict[str, dict[str, object]] = {}
        self.is_writing_paused = False
        self._parser = parser = RequestParser(self, factory.limits, factory.line_table)
        self._receive = parser.receive_data if factory.http2 is None else self._receive_first
        self._first = b""  # of the connection, while it may be HTTP/2
        self._encode = factory.head_encoder.encode
        self._make_exchange = factory.make_exchange
        self._exchange: Exchange | None = None
        self._head: RequestHead | None = None
        self._keep_alive = factory.timeouts.keep_alive or inf
        self._block: bytes | None = None  # the response's head, until it leaves with the first of its body
        self._framing = _NO_BODY
        self._awaits_trailers = False  # the application has announced some
        self._sends_trailers = False  # and the client takes them
        self._close_after = False
        self._discarded = 0
        self._is_continue_due = False
        self._burst: list[bytes] = []  # parts of a body, gathered in this turn of the loop
        self._burst_size = 0
        self._is_in_burst = False
        self._held = b""  # received, and to be parsed in the next turn
        self._is_body_paused = False
        self._is_reading_paused = False
        self._is_receiving = False
        self._is_sending_file = False
        self._is_peer_finished = False
        self._is_described = False
        self._is_draining = False
        self._is_error = False
        self.is_head_sent = False
        self.is_peer_trusted = False
        self._is_next_scheduled = False
        self._version = "1.1"  # of the last request: what `extensions` are for
        self._phase = _HEAD
        self._read_deadline = inf
        self._write_deadline: WriteDeadline | None = None
        self._heir: Any = None  # the IProtocol that has taken over, until it has what came behind the request
        self._successor: Any = None  # the IProtocol that has taken over from us, where the transport still calls us

    # IProtocol

    def makeConnection(self, transport: Any) -> None:  # noqa: ANN401  # see `transport`
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        transport = self.transport
        self.extensions = self.factory.extensions_of(transport, self._version)
        self.factory.connections.add(self)
        self._wait_for(_HEAD, self.factory.timeouts.request_head)
        transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        if self._phase == _LINGER:
            if self._successor is not None:
                self._successor.dataReceived(data)
            return
        if self._held:
            self._held += data
            return
        if len(data) > _MAX_TURN and (self._phase != _BODY or self._parser.remaining_bytes is None):
            # A read can hold 40,000 chunks of one octet, a tenth of a second's work: others have their turn in between.
            self._held = data[_MAX_TURN:]
            data = data[:_MAX_TURN]
            self._update_reading()
            self.factory.call_soon(self._receive_held)
        self._is_receiving = True
        try:
            self._receive(data)
        except RequestRefused as refusal:
            self._refused(refusal)
        finally:
            self._is_receiving = False
        if self._exchange is None:
            self._between_requests()
        if self._parser.pending and self._phase != _LINGER:
            self._update_reading()

    def _receive_first(self, data: bytes) -> None:
        """The first bytes tell the version of HTTP: one connection is made for both, and the other takes it over."""
        first = self._first + data
        is_2 = is_http2(self.transport, first)
        if is_2 is None:
            self._first = first
            return
        self._first = b""
        self._receive = self._parser.receive_data
        if not is_2:
            self._receive(first)
            return
        first += self._held
        self._held = b""
        connection = H2Connection(self.factory)
        self._switch_protocol(connection)
        self._heir = None
        self._parser.close()
        connection.dataReceived(first)

    def _receive_held(self) -> None:
        held, self._held = self._held, b""
        self.dataReceived(held)
        if self._phase != _LINGER:
            self._update_reading()

    def connectionLost(self, reason: Failure) -> None:
        if self._successor is not None:
            self._successor.connectionLost(reason)
            return
        self.factory.connections.discard(self)
        self._phase = _LINGER
        self._read_deadline = inf
        self._write_deadline = None
        self._receive = self._parser.receive_data
        self._parser.close()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.connection_lost()

    # IHalfCloseableProtocol

    def readConnectionLost(self) -> None:
        """The peer will send no more, but may still read: what it asked for in whole is answered."""
        self._is_peer_finished = True
        if self._successor is not None:
            self.transport.loseConnection()
        elif self._exchange is not None:
            self._tell_of_half_close(self._exchange)
        elif self._phase == _LINGER or not (self._parser.is_request_whole and self._parser.pending):
            self._close()

    def _tell_of_half_close(self, exchange: Exchange) -> None:
        if self._parser.is_request_whole:
            exchange.client_closed_writing()
        elif self.is_head_sent:
            self.abort()  # the request can never be whole, and its response has begun
        else:
            # Not a reset: it could take the answer to the request before from a peer that still reads.
            self._exchange = None
            exchange.connection_lost()
            self._close()

    def writeConnectionLost(self) -> None:
        """Our side is closed for writing, as `_linger` asked."""

    # IPushProducer: the transport's buffer is full, or has drained

    def pauseProducing(self) -> None:
        if self.is_writing_paused:
            return
        self.is_writing_paused = True
        self._arm_write_deadline()

    def resumeProducing(self) -> None:
        if not self.is_writing_paused:
            return
        self.is_writing_paused = False
        if self._is_sending_file:
            self._arm_write_deadline()
            return
        self._write_deadline = None
        if self._exchange is not None:
            self._exchange.writing_resumed()
        elif self._parser.is_request_whole:
            self._schedule_next()

    def stopProducing(self) -> None:
        """The connection is lost; `connectionLost` follows."""

    # RequestSink

    def head_received(self, head: RequestHead) -> None:
        if not self._is_described:
            # Not when the connection is made: behind the PROXY protocol its addresses are known with the first bytes.
            self._is_described = True
            self.scheme, self.client, self.server = self.factory.describe(self.transport)
            self.is_peer_trusted = self.factory.trusts(self.client)
        self._head = head
        self._close_after = not head.keep_alive or self._is_draining
        self._is_continue_due = head.expects_continue
        self.is_head_sent = False
        if head.http_version != self._version:
            self._version = head.http_version
            self.extensions = self.factory.extensions_of(self.transport, self._version)
        if head.content_length == 0:
            self._phase = _ANSWER
            self._read_deadline = inf
        else:
            self._discarded = 0
            self._wait_for(_BODY, self.factory.timeouts.request_body)
        self._exchange = exchange = self._make_exchange(self, head)
        exchange.request_received(head)

    def body_received(self, data: bytes) -> None:
        if self._phase == _LINGER:
            return  # given up between two pieces of the same data
        self._is_continue_due = False
        if self._read_deadline is not inf:
            # Stall and trickle in one: time is earned by octets, and never more than the stall allows.
            clock = self.factory.clock
            self._read_deadline = min(
                self._read_deadline + len(data) / MIN_RATE, clock.now + self.factory.timeouts.request_body
            )
        if self._exchange is not None:
            self._exchange.body_received(data)
            return
        self._discarded += len(data)
        if self._discarded > MAX_DISCARDED:
            self._linger()

    def request_ended(self) -> None:
        if self._phase == _LINGER:
            return
        self._is_continue_due = False
        self._phase = _ANSWER
        self._read_deadline = inf
        if self._is_body_paused:
            # All of it is here: what still waits for the application no longer needs the peer to wait.
            self._is_body_paused = False
            self._update_reading()
        if self._exchange is not None:
            self._exchange.request_ended()

    # ResponseChannel

    def start_response(self, status: int, headers: Iterable[Field], has_body: bool, trailers: bool) -> int | None:
        head = self._head
        assert head is not None, "a response without a request"
        self._awaits_trailers = trailers
        self._sends_trailers = sends_trailers = trailers and has_body and head.accepts_trailers
        # RFC 9110 section 8.6: no Content-Length in a 204; nor beside the chunks that trailers need.
        self._block, length, close = self._encode(status, headers, sends_trailers or status == 204)
        self._is_error = status >= 400
        if close or self._is_continue_due:
            # A client that was never told to continue may send its body or not: only closing tells requests apart.
            self._close_after = True
        if not has_body:
            self._framing = _NO_BODY
        elif length is not None and not sends_trailers:
            self._framing = _BY_LENGTH
        elif head.http_version == "1.1":
            self._framing = _BY_CHUNKS
        else:
            self._framing = _BY_CLOSE
        return length

    def send_body(self, data: bytes, more: bool) -> None:
        if (
            self._block is not None
            and self._framing <= _BY_LENGTH
            and not (more or self._close_after or self._awaits_trailers or self._burst)
            and self._parser.is_request_whole
            and self._version == "1.1"
            and len(data) < _JOIN_BELOW
        ):
            # Most responses: whole, of known length, on a connection that goes on. As below, without its questions: 3 %
            # fewer instructions for all of a small request.
            block, self._block = self._block, None
            self.is_head_sent = True
            self.transport.write(b"".join((block, b"\r\n", data)))
            self._response_ended()
            return
        head = b"" if self._block is None else self._take_head(None if more else len(data))
        end = b""
        if self._framing == _BY_CHUNKS:
            if data:
                head = b"%b%x\r\n" % (head, len(data))
                end = b"\r\n"
            if not more:
                end += LAST_CHUNK if self._sends_trailers else LAST_CHUNK + b"\r\n"
        if len(data) >= _JOIN_BELOW:
            self._flush()
            self.transport.writeSequence((head, data, end))
        elif more:
            self._write_in_burst(b"%b%b%b" % (head, data, end) if head or end else data)
        else:
            self._write(head + data + end)
        if not more and not self._awaits_trailers:
            self._response_ended()

    def send_trailers(self, trailers: Iterable[Field], more: bool) -> None:
        block = encode_fields(trailers, "headers")
        if self._sends_trailers:
            self._write(block if more else block + b"\r\n")
        if not more:
            self._response_ended()

    async def send_file(self, fileno: int, offset: int, count: int, more: bool) -> None:
        head = self._take_head(None if more else count) if self._block is not None else b""
        is_chunk = self._framing == _BY_CHUNKS and count > 0
        if is_chunk:
            head += b"%x\r\n" % count
        self._write(head)
        end = offset + count if self._framing != _NO_BODY else offset
        self._is_sending_file = True
        try:
            for start in range(offset, end, _FILE_PIECE):
                self._arm_write_deadline()
                await self.transport.sendfile(fileno, start, min(_FILE_PIECE, end - start))
        except EOFError as error:
            raise OSError(str(error)) from error
        finally:
            self._is_sending_file = False
            self._write_deadline = None
        if self._phase == _LINGER:
            raise ClientDisconnected("the client went away while a file was sent")
        if is_chunk:
            self._write(b"\r\n")
        if not more:
            self.send_body(b"", more=False)

    def send_early_hint(self, links: Iterable[bytes]) -> None:
        if self._head is not None and self._head.http_version == "1.1":
            fields = encode_fields([(b"link", link) for link in links], "links")
            self.transport.write(b"HTTP/1.1 103 Early Hints\r\n%b\r\n" % fields)

    def send_continue(self) -> None:
        if self._is_continue_due and not self.is_head_sent:
            self._is_continue_due = False
            self.transport.write(CONTINUE)

    def refuse(self, status: HTTPStatus) -> None:
        self._exchange = None
        self._answer_refusal(status, head_only=self._head is not None and self._head.method == "HEAD")

    def pause_reading(self) -> None:
        self._is_body_paused = True
        self._read_deadline = inf
        self._update_reading()

    def resume_reading(self) -> None:
        if not self._is_body_paused:
            return
        self._is_body_paused = False
        if self._phase == _BODY:
            self._wait_for(_BODY, self.factory.timeouts.request_body)
        self._update_reading()

    def abort(self) -> None:
        self._phase = _LINGER
        self.transport.abortConnection()

    def switch_to_websocket(self, session: Any, key: bytes | None, headers: Iterable[Field]) -> None:  # noqa: ANN401
        assert key is not None, "RFC 6455 section 4.2.1: the handshake has been checked"
        block, _, _ = self._encode(HTTPStatus.SWITCHING_PROTOCOLS.value, headers, True)
        self.transport.write(b"%b%bSec-WebSocket-Accept: %b\r\n\r\n" % (block, UPGRADE, accept_token(key)))
        self._switch_protocol(session)
        if self._is_draining:
            session.shutdown_started()

    def _switch_protocol(self, protocol: Any) -> None:  # noqa: ANN401  # any IProtocol
        """Hand the transport over to ``protocol``, with what came behind the request (RFC 9110 section 7.8)."""
        self._exchange = None
        self._phase = _LINGER
        self._read_deadline = inf
        self._write_deadline = None
        self.factory.connections.discard(self)
        self.transport.unregisterProducer()
        if self._is_reading_paused:
            self.transport.resumeProducing()
        switch = getattr(self.transport, "switch_protocol", None)
        if switch is not None:
            switch(protocol)
        else:
            self._successor = protocol  # Twisted's wrappers, such as the PROXY protocol's, know no other than us
        protocol.makeConnection(self.transport)
        self._heir = protocol
        if not self._is_receiving:
            self._hand_over_rest()
        # Otherwise it was an eager task: what is behind the request in this read is still in the parser's hands.

    def _hand_over_rest(self) -> None:
        """Give what came behind the request to the protocol that has taken over."""
        heir, self._heir = self._heir, None
        pending = self._parser.take_pending() + self._held
        self._parser.close()
        self._held = b""
        if pending:
            heir.dataReceived(pending)

    # The server's periodic work

    def check_deadlines(self) -> None:
        """Act on what has waited too long; called about once a second."""
        clock = self.factory.clock
        if self._phase == _IDLE:
            self._parser.forget()
        if self._write_deadline is not None and self._write_deadline.is_missed():
            self.abort()
        elif clock.previous >= self._read_deadline:
            self._read_deadline = inf
            if self._phase == _BODY:
                self._refused(RequestRefused(HTTPStatus.REQUEST_TIMEOUT, "the body came too slowly"))
            elif self._phase == _HEAD and not self._parser.is_between_requests:
                self._answer_refusal(HTTPStatus.REQUEST_TIMEOUT)
            else:
                self._close()

    def shutdown_started(self) -> None:
        """Take no further request; close at once if none is under way.

        Where a response has begun without ``Connection: close``, what is pipelined behind it is answered too: the
        client has no way to know that it should ask again.
        """
        self._is_draining = True
        if not self.is_head_sent:
            self._close_after = True
        if self._exchange is None:
            if self._parser.is_between_requests:
                self._close()
            else:
                # A head under way is waited for, but not as long as it might otherwise take.
                self._read_deadline = min(self._read_deadline, self.factory.clock.now + LINGER_S)

    # Inside

    def _write(self, data: bytes) -> None:
        if self._burst:
            self._flush()
        if data:
            self.transport.write(data)

    def _write_in_burst(self, data: bytes) -> None:
        """Write a part of a body that will have more.

        The first of a turn of the loop goes out at once; those that follow in the same turn are gathered, for a system
        call each costs more than all the rest of a part (1 MiB in 64 parts: 15 to 25 % less CPU).
        """
        if not self._is_in_burst:
            self._is_in_burst = True
            self.factory.call_soon(self._burst_over)
            if data:
                self.transport.write(data)
        elif data:
            self._burst.append(data)
            self._burst_size += len(data)
            if self._burst_size >= _MAX_BURST:
                self._flush()

    def _burst_over(self) -> None:
        self._is_in_burst = False
        self._flush()

    def _flush(self) -> None:
        if self._burst:
            burst, self._burst = self._burst, []
            self._burst_size = 0
            self.transport.writeSequence(burst)

    def _wait_for(self, phase: int, seconds: float) -> None:
        """Enter a phase with a deadline; 0 seconds is none."""
        self._phase = phase
        self._read_deadline = self.factory.clock.now + seconds if seconds else inf

    def _arm_write_deadline(self) -> None:
        seconds = self.factory.timeouts.write
        self._write_deadline = WriteDeadline(self.factory.clock, seconds, self.transport) if seconds else None

    def _update_reading(self) -> None:
        pause = self._is_body_paused or bool(self._held) or len(self._parser.pending) > MAX_PIPELINED
        if pause != self._is_reading_paused:
            self._is_reading_paused = pause
            if pause:
                self.transport.pauseProducing()
            else:
                self.transport.resumeProducing()

    def _between_requests(self) -> None:
        """Data has come and no exchange runs: a head has begun, or what nobody wants of a body has ended."""
        if self._heir is not None:
            self._hand_over_rest()
        elif self._phase == _IDLE and not self._parser.is_between_requests:
            self._wait_for(_HEAD, self.factory.timeouts.request_head)
        elif self._parser.is_request_whole:
            self._schedule_next()

    def _schedule_next(self) -> None:
        """Go on in the next turn of the loop.

        Not at once: the next request is to have neither the stack nor the context variables of the application that
        has just answered, and a thousand pipelined ones are to take turns with other connections.
        """
        if not self._is_next_scheduled:
            self._is_next_scheduled = True
            self.factory.call_soon(self._next_scheduled)

    def _next_scheduled(self) -> None:
        self._is_next_scheduled = False
        if self._exchange is None and self._phase != _LINGER and self._parser.is_request_whole:
            self._next_request()

    def _next_request(self) -> None:
        """The exchange is over and its request whole: go on, with what was pipelined if there is any."""
        if self.is_writing_paused:
            return  # resumeProducing comes back here: no answer is made for who does not read
        self._wait_for(_IDLE, self.factory.timeouts.keep_alive)
        self._is_receiving = True
        try:
            self._parser.next_request()
        except RequestRefused as refusal:
            self._refused(refusal)
        finally:
            self._is_receiving = False
        if self._heir is not None:
            self._hand_over_rest()
            return
        if self._is_reading_paused:
            self._update_reading()
        if self._exchange is not None:
            if self._is_peer_finished:
                self._tell_of_half_close(self._exchange)
        elif self._phase != _LINGER:
            if self._parser.is_request_whole:
                self._schedule_next()  # it was answered at once: what is behind it has its turn
            elif self._is_peer_finished or (self._is_draining and self._parser.is_between_requests):
                self._close()
            else:
                self._between_requests()

    def _refused(self, refusal: RequestRefused) -> None:
        self.factory.request_refused(self, refusal)
        if self._exchange is not None:
            self._exchange.request_refused(refusal)
        elif self._phase == _BODY:
            self._linger()  # the request has had its answer already
        else:
            self._answer_refusal(refusal.status)

    def _answer_refusal(self, status: HTTPStatus, *, head_only: bool = False) -> None:
        if self._phase != _LINGER:
            self.transport.write(encode_refusal(status, self.factory.head_encoder, head_only=head_only))
            self._linger()

    def _take_head(self, length: int | None) -> bytes:
        """The head with its framing, for a body of ``length`` octets, or of a length not known yet."""
        head, block = self._head, self._block
        assert head is not None and block is not None, "a head is taken once"
        self._block = None
        self.is_head_sent = True
        if self._framing >= _BY_CHUNKS:
            if length is not None and not self._sends_trailers:
                self._framing = _BY_LENGTH
                block += b"content-length: %d\r\n" % length
            elif self._framing == _BY_CHUNKS:
                block += CHUNKED
            else:
                self._close_after = True
        if not self._parser.is_request_whole and (length is not None or self._is_error):
            # RFC 9112 section 9.6: say that the connection closes, where `_response_ended` is going to close it. Who
            # refuses a request does not go on to read it.
            remaining = self._parser.remaining_bytes
            self._close_after = self._close_after or remaining is None or remaining > MAX_DISCARDED
        if self._close_after:
            return block + CLOSE + b"\r\n"
        if head.http_version == "1.0":
            return block + KEEP_ALIVE + b"\r\n"
        return block + b"\r\n"

    def _response_ended(self) -> None:
        """The response is complete: what becomes of the connection?"""
        self._exchange = None
        if self._phase == _LINGER:
            return
        parser = self._parser
        if parser.is_request_whole:
            if self._close_after:
                self._linger() if parser.pending else self._close()
            elif self._is_receiving or parser.pending:
                self._schedule_next()
            elif self._is_draining or self._is_peer_finished or self.is_writing_paused:
                self._next_request()
            else:
                parser.next_request()
                self._phase = _IDLE
                self._read_deadline = self.factory.clock.now + self._keep_alive
        elif self._close_after or (parser.remaining_bytes or 0) > MAX_DISCARDED:
            self._linger()
        else:
            self.resume_reading()

    def _linger(self) -> None:
        """Close, but let the peer read the last answer first.

        Closing a socket with unread data makes the kernel send RST, which can take the answer from a peer that is
        still sending (RFC 9112 section 9.6). So only our side is closed, and what comes is read and dropped.
        """
        if self._phase == _LINGER:
            return
        self._wait_for(_LINGER, LINGER_S)
        if self._is_reading_paused:
            self.transport.resumeProducing()
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()
        if self._is_peer_finished:
            self._close()

    def _close(self) -> None:
        """Close when all has been written; a peer that does not read is cut at the write deadline."""
        self._phase = _LINGER
        self._read_deadline = inf
        self._arm_write_deadline()
        self.transport.unregisterProducer()
        self.transport.loseConnection()
