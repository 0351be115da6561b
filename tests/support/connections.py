"""Stand-ins around an `H1Connection`: a transport that keeps what is written, exchanges that keep what they are told.

Nothing here opens a socket, reads a clock or sleeps. Time is `Factory.clock`, the turn of the loop is `Factory.turn`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from daphne_clone.asgi.extensions import http_extensions
from daphne_clone.connection.h1 import H1Connection
from daphne_clone.connection.h2 import H2Options
from daphne_clone.connection.shared import CoarseClock, Timeouts
from daphne_clone.interfaces import Limits, RequestHead
from daphne_clone.wire.fields import DefaultFields
from daphne_clone.wire.h1_request import LineTable
from daphne_clone.wire.h1_response import H1HeadEncoder
from daphne_clone.wire.h2_fields import H2HeadEncoder, KnownFields

if TYPE_CHECKING:
    from daphne_clone.errors import RequestRefused

PEER = IPv4Address("TCP", "192.0.2.1", 50_000)
HOST = IPv4Address("TCP", "192.0.2.2", 80)


class Transport:
    """What `H1Connection` needs of a `LoopTransport`, in memory; it can send no files.

    Attributes:
        written: Every piece written while writing was possible.
        calls: How often `write` or `writeSequence` was called.
        lost_writes: Pieces written after the end, which a real transport drops.
        is_reading: False while reading is paused.
        backlog: What `getWriteBufferSize` answers; set by the test.
        is_closed: `loseConnection` was called and no producer is registered any more.
        is_write_closed: Likewise `loseWriteConnection`.
        is_aborted: `abortConnection` was called.
    """

    def __init__(self, peer: Any = PEER, host: Any = HOST) -> None:
        self.protocol: Any = None
        self.peer, self.host = peer, host
        self.written: list[bytes] = []
        self.calls = 0
        self.lost_writes: list[bytes] = []
        self.producer: Any = None
        self.is_reading = True
        self.backlog = 0
        self.is_aborted = False
        self.is_lost = False
        self._is_closing = False
        self._is_write_closing = False

    def switch_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    @property
    def data(self) -> bytes:
        """All that was written."""
        return b"".join(self.written)

    def take(self) -> bytes:
        """All that was written since the last call."""
        data = self.data
        self.written.clear()
        return data

    @property
    def is_closed(self) -> bool:
        return self._is_closing and self.producer is None

    @property
    def is_write_closed(self) -> bool:
        return self._is_write_closing and self.producer is None

    @property
    def is_open(self) -> bool:
        return not (self._is_closing or self._is_write_closing or self.is_aborted or self.is_lost)

    def connect(self, connection: Any) -> None:
        self.protocol = connection
        connection.makeConnection(self)

    def lose(self) -> None:
        """The connection is gone."""
        self.is_lost = True
        self.protocol.connectionLost(Failure(ConnectionDone()))

    # ITransport and IConsumer

    def write(self, data: bytes) -> None:
        self.calls += 1
        self._write(data)

    def _write(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        (self.written if self.is_open else self.lost_writes).append(data)

    def writeSequence(self, data: Any) -> None:
        self.calls += 1
        for piece in data:
            self._write(piece)

    def loseConnection(self) -> None:
        self._is_closing = True

    def loseWriteConnection(self) -> None:
        self._is_write_closing = True

    def abortConnection(self) -> None:
        self.is_aborted = True

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        assert self.producer is None
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        assert self.is_reading, "paused twice"
        self.is_reading = False

    def resumeProducing(self) -> None:
        assert not self.is_reading, "resumed twice"
        self.is_reading = True

    def getPeer(self) -> Any:
        return self.peer

    def getHost(self) -> Any:
        return self.host

    def getWriteBufferSize(self) -> int:
        return self.backlog


class FileTransport(Transport):
    """One that sends files too.

    Attributes:
        hold: Where set, `sendfile` waits for this future before it sends anything.
        pieces: ``(offset, count)`` of each call.
    """

    def __init__(self, peer: Any = PEER, host: Any = HOST) -> None:
        super().__init__(peer, host)
        self.hold: asyncio.Future[None] | None = None
        self.pieces: list[tuple[int, int]] = []

    async def sendfile(self, fileno: int, offset: int, count: int) -> None:
        self.pieces.append((offset, count))
        if self.hold is not None:
            await self.hold
        data = os.pread(fileno, count, offset)
        self.write(data)
        if len(data) < count:
            raise EOFError("the file is shorter")


class Exchange:
    """Keeps what a connection tells it.

    Attributes:
        events: Names of the calls, with their arguments where they have any.
        body: All octets of body.
    """

    def __init__(self, channel: H1Connection) -> None:
        self.channel = channel
        self.head: RequestHead | None = None
        self.events: list[Any] = []
        self.on_request: Callable[[Exchange], None] | None = None

    @property
    def body(self) -> bytes:
        return b"".join(event[1] for event in self.events if event[0] == "body")

    @property
    def names(self) -> list[str]:
        return [event[0] for event in self.events]

    def request_received(self, head: RequestHead) -> None:
        self.head = head
        self.events.append(("request",))
        if self.on_request is not None:
            self.on_request(self)

    def body_received(self, data: bytes) -> None:
        assert data, "an empty piece of body tells nothing"
        self.events.append(("body", data))

    def request_ended(self) -> None:
        self.events.append(("ended",))

    def request_refused(self, refusal: RequestRefused) -> None:
        self.events.append(("refused", refusal.status.value))

    def client_closed_writing(self) -> None:
        self.events.append(("client closed writing",))

    def connection_lost(self) -> None:
        self.events.append(("lost",))

    def writing_resumed(self) -> None:
        self.events.append(("writing resumed",))

    def shutdown_started(self) -> None:
        self.events.append(("shutdown",))

    # What an application would have it do

    def start(self, status: int = 200, headers: Any = (), has_body: bool = True, trailers: bool = False) -> int | None:
        return self.channel.start_response(status, headers, has_body, trailers)

    def answer(self, body: bytes = b"ok", status: int = 200, headers: Any = ()) -> None:
        """A whole response."""
        self.start(status, headers)
        self.channel.send_body(body, False)


class Factory:
    """The `ConnectionFactory` of a test.

    Attributes:
        exchanges: Those made, in order.
        on_request: Run by each exchange as soon as its request is there.
        refusals: What connections have reported.
    """

    def __init__(self, limits: Limits | None = None, timeouts: Timeouts | None = None, **fields: Any) -> None:
        self.limits = limits if limits is not None else Limits()
        self.timeouts = timeouts if timeouts is not None else Timeouts()
        self.clock = CoarseClock(1000.0)
        self.line_table = LineTable()
        self.default_fields = DefaultFields(fields.get("server_name", ""), fields.get("extra", ()), False, 0)
        self.head_encoder = H1HeadEncoder(self.default_fields)
        self.h2_head_encoder = H2HeadEncoder(self.default_fields)
        self.known_fields = KnownFields()
        self.http2: H2Options | None = fields.get("http2", H2Options())
        self.connections: set[Any] = set()
        self.exchanges: list[Exchange] = []
        self.refusals: list[RequestRefused] = []
        self.on_request: Callable[[Exchange], None] | None = None
        self._callbacks: list[Callable[[], None]] = []

    def connect(self, transport: Transport | None = None) -> Transport:
        """Make a connection; returns its transport."""
        transport = transport if transport is not None else Transport()
        transport.connect(H1Connection(self))
        return transport

    def call_soon(self, callback: Callable[[], None]) -> object:
        self._callbacks.append(callback)
        return None

    def turn(self) -> None:
        """One turn of the loop, and as many more as it takes until nothing is left to do."""
        while self._callbacks:
            callbacks, self._callbacks = self._callbacks, []
            for callback in callbacks:
                callback()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and have every connection look at its deadlines.

        Two ticks: deadlines are held against the one before the last.
        """
        self.clock.tick(self.clock.now + seconds)
        self.clock.tick(self.clock.now)
        for connection in list(self.connections):
            connection.check_deadlines()

    def describe(self, transport: Any) -> tuple[str, list[Any] | None, list[Any] | None]:
        peer, host = transport.getPeer(), transport.getHost()
        return "http", [peer.host, peer.port], [host.host, host.port]

    def trusts(self, client: list[Any] | None) -> bool:
        return False

    def extensions_of(self, transport: Any, http_version: str) -> dict[str, dict[str, object]]:
        return http_extensions(http_version, can_send_files=hasattr(transport, "sendfile"))

    def make_exchange(self, channel: Any, head: RequestHead) -> Exchange:
        exchange = Exchange(channel)
        exchange.on_request = self.on_request
        self.exchanges.append(exchange)
        return exchange

    def request_refused(self, channel: Any, refusal: RequestRefused) -> None:
        self.refusals.append(refusal)
