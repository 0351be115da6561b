"""One connection of HTTP/2 (RFC 9113): what comes in, the streams it is for, and how it ends.

It joins the frame parser, the transport, the writer and the streams, and owns what belongs to all of them: settings,
the window for what comes in, PING, GOAWAY, deadlines. It does not know ASGI.

A connection ends in one of three ways: the server drains it (GOAWAY twice, RFC 9113 section 6.8, so that no request on
its way is lost), the peer breaks the protocol or asks for too much (GOAWAY with an error code), or nobody has asked for
anything for the keep-alive time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer
from zope.interface import implementer

from daphne_clone.connection.h2_allowance import Allowance
from daphne_clone.connection.h2_stream import H2Stream
from daphne_clone.connection.h2_writer import H2Writer
from daphne_clone.connection.shared import LINGER_S, WriteDeadline
from daphne_clone.errors import H2ConnectionFault, H2StreamFault, RequestRefused
from daphne_clone.wire import h2_frames
from daphne_clone.wire.h2_fields import TABLE_OF_SIZE_0, RequestDecoder
from daphne_clone.wire.h2_frames import DEFAULT_WINDOW, MAX_WINDOW, MIN_MAX_FRAME_SIZE, PREFACE, ErrorCode, Setting

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from daphne_clone.connection.shared import ConnectionFactory

# Frames taken in one turn of the loop: a read can hold 25,000 small ones, and other connections want their turn too.
_MAX_TURN = 256

# Content worth an acknowledgement, and more.
_LARGE_CONTENT = 1_024

# What is read and dropped behind the last GOAWAY: enough for what was on its way.
_MAX_LINGER = 1_048_576

# Streams that we have reset: the peer may not know yet, so what it still sends on them is no fault of it.
_MAX_RESET_REMEMBERED = 200

# Numbers of streams that the peer has passed over are remembered as so many ranges, to tell what was never opened from
# what is closed.
_MAX_SKIPPED = 16

_DRAIN_PING = b"draining"
# How long its answer may take: some never answer.
_DRAIN_PING_S = 2.0

# More would be unfair to the other streams, and gains nothing.
_MAX_FRAME_SIZE = 65_536

# SETTINGS_HEADER_TABLE_SIZE as long as the peer has not said otherwise.
_TABLE_SIZE = 4_096


@dataclass(frozen=True, slots=True)
class H2Options:
    """What all HTTP/2 connections of a server have in common.

    Attributes:
        max_streams: Requests that may be under way at a time on a connection.
        stream_window: Octets of a request's body that may be on their way.
        connection_window: Octets of all bodies that may be on their way, or wait for applications to take them.
    """

    max_streams: int = 100
    stream_window: int = 262_144
    connection_window: int = 1_048_576


@implementer(IProtocol, IHalfCloseableProtocol, IPushProducer)
class H2Connection:
    """A connection speaking HTTP/2.

    Args:
        factory: Supplies the exchanges and everything that connections share.

    Attributes:
        options: The server's.
        initial_window: What the peer gives each new stream (SETTINGS_INITIAL_WINDOW_SIZE).
        writer: Writes, for the connection and for its streams.
        is_draining: The server is stopping.
    """

    __slots__ = (
        "_allowance",
        "_block_deadline",
        "_decoder",
        "_drain_deadline",
        "_held",
        "_is_described",
        "_is_last",
        "_is_last_known",
        "_is_lingering",
        "_is_peer_finished",
        "_is_reading_paused",
        "_last_stream_id",
        "_linger_left",
        "_make_exchange",
        "_parser",
        "_preface",
        "_read_deadline",
        "_receive_window",
        "_reset_ids",
        "_seen_block",
        "_skipped",
        "_streams",
        "_uncredited",
        "_write_deadline",
        "client",
        "encode",
        "extensions",
        "factory",
        "initial_window",
        "is_draining",
        "is_peer_trusted",
        "options",
        "scheme",
        "server",
        "transport",
        "writer",
    )

    def __init__(self, factory: ConnectionFactory) -> None:
        assert factory.http2 is not None, "HTTP/2 is on"
        self.factory = factory
        self.options = options = factory.http2
        self.transport: Any = None  # as H1Connection's
        self.scheme = "http"
        self.client: list[Any] | None = None
        self.server: list[Any] | None = None
        self.extensions: dict[str, dict[str, object]] = {}
        self.is_peer_trusted = False
        self.initial_window = DEFAULT_WINDOW
        self.is_draining = False
        self._allowance = Allowance()
        self.writer = H2Writer(factory.call_soon, self._allowance)
        self.encode = factory.h2_head_encoder.encode
        self._make_exchange = factory.make_exchange
        self._parser = h2_frames.FrameParser(self, MIN_MAX_FRAME_SIZE, factory.limits.head)
        self._decoder = RequestDecoder(factory.limits, factory.known_fields)
        self._streams: dict[int, H2Stream] = {}
        self._last_stream_id = -1
        self._skipped: list[range] = []
        self._reset_ids: dict[int, None] = {}  # in their order
        self._receive_window = options.connection_window
        self._uncredited = 0
        self._preface: bytes | None = b""  # what has come of it
        self._held = b""  # received, and to be parsed in the next turn
        self._is_described = False
        self._is_last_known = False  # the peer has been told which request is the last that is served
        self._is_lingering = False
        self._linger_left = _MAX_LINGER
        self._is_peer_finished = False
        self._is_reading_paused = False
        self._drain_deadline = inf
        self._is_last = False  # no request will come any more
        self._seen_block: bytearray | None = None
        self._block_deadline = inf
        self._read_deadline = inf
        self._write_deadline: WriteDeadline | None = None

    # IProtocol

    def makeConnection(self, transport: Any) -> None:  # noqa: ANN401  # see `transport`
        self.transport = self.writer.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        self.factory.connections.add(self)
        self._wait(self.factory.timeouts.request_head)
        self.transport.registerProducer(self, True)
        options = self.options
        # RFC 9113 section 3.4: it may be sent before the client's has come.
        self.writer.write(
            h2_frames.settings(
                (
                    (Setting.MAX_CONCURRENT_STREAMS, options.max_streams),
                    (Setting.INITIAL_WINDOW_SIZE, options.stream_window),
                    (Setting.MAX_HEADER_LIST_SIZE, self.factory.limits.head),
                    (Setting.ENABLE_CONNECT_PROTOCOL, 1),
                )
            )
        )
        if options.connection_window > DEFAULT_WINDOW:
            self.writer.write(h2_frames.window_update(0, options.connection_window - DEFAULT_WINDOW))

    def dataReceived(self, data: bytes) -> None:
        if self._is_lingering:
            self._linger_left -= len(data)
            if self._linger_left < 0:
                self.abort()
            return
        if self._held:
            self._held += data
            return
        try:
            if self._preface is not None:
                data = self._take_preface(data)
            held = self._parser.receive_data(data, _MAX_TURN) if data else b""
        except H2ConnectionFault as fault:
            self._fail(fault)
            return
        if held:
            self._held = held
            if not self._is_reading_paused:
                self._is_reading_paused = True
                self.transport.pauseProducing()
            self.factory.call_soon(self._receive_held)

    def _receive_held(self) -> None:
        held, self._held = self._held, b""
        self.dataReceived(held)
        if not self._held:
            self._is_reading_paused = False
            self.transport.resumeProducing()
            if self._is_peer_finished:
                self._peer_finished()

    def connectionLost(self, reason: Failure) -> None:
        self.factory.connections.discard(self)
        self._is_lingering = True
        self._read_deadline = inf
        self._write_deadline = None
        self._held = b""
        self._close_streams()
        self._parser.close()

    # IHalfCloseableProtocol

    def readConnectionLost(self) -> None:
        """The peer will send no more; requests that are whole are answered, as far as the windows allow."""
        self._is_peer_finished = True
        if not self._held:
            self._peer_finished()

    def _peer_finished(self) -> None:
        self._is_last = True
        for stream in list(self._streams.values()):
            stream.client_closed_writing()
        if not self._streams or self._is_lingering:
            self._close()

    def writeConnectionLost(self) -> None:
        """Our side is closed for writing, as `_say_goodbye` asked."""

    # IPushProducer: the transport's buffer is full, or has drained

    def pauseProducing(self) -> None:
        if not self.writer.is_paused:
            self.writer.is_paused = True
            seconds = self.factory.timeouts.write
            self._write_deadline = WriteDeadline(self.factory.clock, seconds, self.transport) if seconds else None

    def resumeProducing(self) -> None:
        if self.writer.is_paused:
            self.writer.is_paused = False
            self._write_deadline = None
            self.writer.write_in_turns()

    def stopProducing(self) -> None:
        """The connection is lost; `connectionLost` follows."""

    # FrameSink

    def headers_received(self, stream_id: int, block: bytes, end_stream: bool) -> None:
        last = self._last_stream_id
        if stream_id <= last:
            self._trailers_received(stream_id, block, end_stream)
            return
        if not stream_id & 1:
            raise H2ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream of even number opened by a client")
        if self._is_last_known:
            self._skip(block)
            return  # RFC 9113 section 6.8: it has been told that this will not be served
        if stream_id != last + 2:
            # At most `_MAX_SKIPPED`: what is older is taken for closed, which is as much of an error.
            self._skipped.append(range(last + 2, stream_id, 2))
            del self._skipped[:-_MAX_SKIPPED]
        self._last_stream_id = stream_id
        if not self._is_described:
            # As H1Connection: not when the connection is made.
            self._is_described = True
            self.scheme, self.client, self.server = self.factory.describe(self.transport)
            self.is_peer_trusted = self.factory.trusts(self.client)
            self.extensions = self.factory.extensions_of(self.transport, "2")
        if len(self._streams) >= self.options.max_streams:
            # RFC 9113 section 5.1.2: it may ask again.
            self._skip(block)
            self._reset_id(stream_id, ErrorCode.REFUSED_STREAM)
            return
        self._allowance.earn()
        try:
            head = self._decoder.request(stream_id, block, end_stream)
        except RequestRefused as refusal:
            self.factory.request_refused(self, refusal)
            self._allowance.spend_reset()
            stream = self._streams[stream_id] = H2Stream(self, stream_id, None, end_stream)
            stream.refuse(refusal.status)
            return
        stream = self._streams[stream_id] = H2Stream(self, stream_id, head, end_stream)
        stream.exchange = exchange = self._make_exchange(stream, head)
        exchange.request_received(head)

    def _trailers_received(self, stream_id: int, block: bytes, end_stream: bool) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            if stream.has_peer_ended:
                self._skip(block)
                raise H2StreamFault(stream_id, ErrorCode.STREAM_CLOSED, "HEADERS behind the end of the stream")
            self._decoder.trailers(stream_id, block)
            if not end_stream:
                raise H2StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "trailers that do not end the stream")
            stream.trailers_received()
            return
        self._skip(block)
        if stream_id in self._reset_ids:
            return
        # RFC 9113 section 5.1.1: numbers only grow; section 5.1: nothing comes on a closed stream.
        if not stream_id & 1 or any(stream_id in numbers for numbers in self._skipped):
            raise H2ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream with a lower number than the last")
        raise H2ConnectionFault(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream")

    def data_received(self, stream_id: int, data: bytes, flow_size: int, end_stream: bool) -> None:
        self._receive_window -= flow_size
        if self._receive_window < 0:
            raise H2ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "DATA over the connection's window")
        if not data and not end_stream:
            self._allowance.spend()  # CVE-2019-9518
        elif flow_size >= _LARGE_CONTENT:
            self._allowance.earn()
        stream = self._streams.get(stream_id)
        if stream is None:
            is_new = self._is_new(stream_id)
            self.credit(flow_size)
            if not is_new and stream_id not in self._reset_ids:
                raise H2ConnectionFault(ErrorCode.STREAM_CLOSED, "DATA on a closed stream")
            self._allowance.spend()
            return
        try:
            stream.data_received(data, flow_size, end_stream)
        except H2StreamFault:
            self.credit(flow_size)
            raise

    def reset_received(self, stream_id: int, code: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            self._is_new(stream_id)
            self._allowance.spend()
            return
        if stream.is_unanswered:
            self._allowance.spend_reset()
        self.remove(stream)
        stream.closed()

    def settings_received(self, settings: list[tuple[int, int]]) -> None:
        self._allowance.spend(len(settings))
        values = dict(settings)  # RFC 9113 section 6.5.3: of a setting that is there twice, the last value counts
        max_frame_size = values.get(Setting.MAX_FRAME_SIZE, self.writer.max_frame_size)
        self.writer.max_frame_size = min(max_frame_size, _MAX_FRAME_SIZE)
        if any(name == Setting.HEADER_TABLE_SIZE and value < _TABLE_SIZE for name, value in settings):
            self.writer.block_prefix = TABLE_OF_SIZE_0
        if Setting.INITIAL_WINDOW_SIZE in values:
            change = values[Setting.INITIAL_WINDOW_SIZE] - self.initial_window
            self.initial_window += change
            for stream in self._streams.values():
                try:
                    if stream.window_changed(change):
                        self.writer.add(stream)
                except H2StreamFault as fault:
                    # RFC 9113 section 6.9.2: here it is an error of the connection.
                    raise H2ConnectionFault(fault.code, fault.reason) from fault
        # The acknowledgement before what it allows: there are clients to which nothing has changed until then.
        self.writer.write(h2_frames.SETTINGS_ACK)
        self.writer.write_in_turns()

    def settings_acknowledged(self) -> None:
        self._allowance.spend()

    def ping_received(self, payload: bytes) -> None:
        self._allowance.spend()
        self.writer.write(h2_frames.ping(payload, True))

    def ping_acknowledged(self, payload: bytes) -> None:
        self._allowance.spend()
        if payload == _DRAIN_PING and self.is_draining:
            self._tell_last()

    def goaway_received(self, last_stream_id: int, code: int) -> None:
        """The peer takes no streams of ours, which we never open; what else it means by it, it does itself."""
        self._allowance.spend()

    def window_updated(self, stream_id: int, increment: int) -> None:
        self._allowance.spend()
        if not stream_id:
            self.writer.window_updated(increment)
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            self._is_new(stream_id)
        elif stream.window_changed(increment):
            self.writer.schedule(stream)

    def idle_frame_received(self) -> None:
        self._allowance.spend()

    def stream_fault(self, fault: H2StreamFault) -> None:
        self.factory.request_refused(self, fault)
        self._allowance.spend_reset()
        stream = self._streams.get(fault.stream_id)
        if stream is None:
            if not self._is_new(fault.stream_id):
                self._reset_id(fault.stream_id, fault.code)
        else:
            self.reset(stream, fault.code)
            stream.closed()

    # For the streams

    def credit(self, size: int) -> None:
        """Give octets of the connection's window back, in lots."""
        self._uncredited += size
        # Or when the peer has little left, for applications that do not read may hold all the rest.
        if self._uncredited >= min(self.options.connection_window // 2, max(self._receive_window, 1)):
            self.writer.write(h2_frames.window_update(0, self._uncredited))
            self._receive_window += self._uncredited
            self._uncredited = 0

    def reset(self, stream: H2Stream, code: int) -> None:
        """Close a stream from our side (RFC 9113 section 5.4.2)."""
        self._reset_id(stream.id, code)
        self.remove(stream)

    def remove(self, stream: H2Stream) -> None:
        """A stream is closed, in whichever way."""
        if self._streams.pop(stream.id, None) is None:
            return
        self.writer.remove(stream)
        stream.let_go()
        if not self._streams:
            self._wait(self.factory.timeouts.keep_alive)
            if self._is_last:
                self._say_goodbye(ErrorCode.NO_ERROR)

    # The server's periodic work

    def check_deadlines(self) -> None:
        """Act on what has waited too long; called about once a second."""
        clock = self.factory.clock
        self._allowance.tick()
        if self._write_deadline is not None and self._write_deadline.is_missed():
            self.abort()
        elif self._is_lingering:
            if clock.previous >= self._read_deadline:
                self._close()
        elif clock.previous >= self._drain_deadline:
            self._drain_deadline = inf
            self._tell_last()  # it does not answer our PING
        elif self._is_block_late():
            self._fail(H2ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a field block that came too slowly"))
        elif not self._streams:
            self._decoder.forget()
            if clock.previous >= self._read_deadline:
                self._say_goodbye(ErrorCode.NO_ERROR)
        else:
            for stream in list(self._streams.values()):
                stream.check_deadlines()

    def shutdown_started(self) -> None:
        """Serve what is on its way, and take nothing more.

        RFC 9113 section 6.8: first a GOAWAY that asks for no more requests, and when a PING has come back, so that the
        peer must have read it, a second one that says which was the last.
        """
        if self.is_draining or self._is_lingering:
            return
        self.is_draining = True
        self.writer.write(h2_frames.goaway(MAX_WINDOW, ErrorCode.NO_ERROR) + h2_frames.ping(_DRAIN_PING, False))
        self._drain_deadline = self.factory.clock.now + _DRAIN_PING_S

    def abort(self) -> None:
        """Cut the connection at once."""
        self._is_lingering = True
        self.transport.abortConnection()

    # Inside

    def _take_preface(self, data: bytes) -> bytes:
        """Take the client's preface (RFC 9113 section 3.4); returns what lies behind it."""
        assert self._preface is not None, "it comes once"
        self._preface += data
        if not PREFACE.startswith(self._preface[: len(PREFACE)]):
            raise H2ConnectionFault(ErrorCode.PROTOCOL_ERROR, "no preface of HTTP/2")
        if len(self._preface) < len(PREFACE):
            return b""
        rest = self._preface[len(PREFACE) :]
        self._preface = None
        return rest

    def _wait(self, seconds: float) -> None:
        self._read_deadline = self.factory.clock.now + seconds if seconds else inf

    def _skip(self, block: bytes) -> None:
        """Take a field block that nobody wants."""
        self._allowance.spend(self._decoder.skip(block))

    def _is_new(self, stream_id: int) -> bool:
        """Tell whether a stream that is not there was opened when that was too late (RFC 9113 section 6.8).

        Raises:
            H2ConnectionFault: It was never opened: on an idle stream, only HEADERS and PRIORITY can come (section 5.1).
        """
        if stream_id & 1 and stream_id <= self._last_stream_id:
            return False
        if stream_id & 1 and self._is_last_known:
            return True
        raise H2ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame on a stream that was never opened")

    def _reset_id(self, stream_id: int, code: int) -> None:
        self.writer.write(h2_frames.rst_stream(stream_id, code))
        self._reset_ids[stream_id] = None
        if len(self._reset_ids) > _MAX_RESET_REMEMBERED:
            del self._reset_ids[next(iter(self._reset_ids))]

    def _is_block_late(self) -> bool:
        """Tell whether one field block has been on its way for longer than a head may be."""
        block = self._parser.open_block
        if block is not self._seen_block:
            self._seen_block = block
            seconds = self.factory.timeouts.request_head
            self._block_deadline = self.factory.clock.now + seconds if block is not None and seconds else inf
        return self.factory.clock.previous >= self._block_deadline

    def _tell_last(self) -> None:
        """Say which request is the last that is served, and close when it has been."""
        if not self._is_last_known:
            self._is_last_known = True
            self.writer.write(h2_frames.goaway(max(self._last_stream_id, 0), ErrorCode.NO_ERROR))
            self._is_last = True
            if not self._streams:
                self._say_goodbye(ErrorCode.NO_ERROR)

    def _fail(self, fault: H2ConnectionFault) -> None:
        """RFC 9113 section 5.4.1."""
        self.factory.request_refused(self, fault)
        self._say_goodbye(fault.code)

    def _say_goodbye(self, code: int) -> None:
        """End the connection with GOAWAY, and let the peer read it: as `H1Connection._linger`."""
        if self._is_lingering:
            return
        if code or not self._is_last_known:
            self.writer.write(h2_frames.goaway(max(self._last_stream_id, 0), code))
        self.writer.flush()
        self._is_lingering = True
        self._parser.stop()
        self._close_streams()
        self._wait(LINGER_S)
        self._held = b""  # reading goes on in `_receive_held`
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()
        if self._is_peer_finished:
            self._close()

    def _close_streams(self) -> None:
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.closed()
        self.writer.close()

    def _close(self) -> None:
        """Close when all has been written; a peer that does not read is cut at the write deadline."""
        self.writer.flush()
        self._is_lingering = True
        self._read_deadline = inf
        seconds = self.factory.timeouts.write
        self._write_deadline = WriteDeadline(self.factory.clock, seconds, self.transport) if seconds else None
        self.transport.unregisterProducer()
        self.transport.loseConnection()
