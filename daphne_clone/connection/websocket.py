"""One WebSocket session behind its opening handshake, on any transport: messages in, messages out, close, ping.

It owns the frames, backpressure both ways and the deadlines; it does not know ASGI. A whole message in one frame is
parsed and written here, with no state kept; so are pings and pongs. Everything else is Autobahn's, in `FrameEngine`,
which is made when a session first needs it: for many that is when they close (docs/decisions/0010).

A session is always in one phase:

========  =====================================================  ===============================
phase     what happens                                           past the deadline
========  =====================================================  ===============================
OPEN      messages; pings when nothing comes                     cut (no sign of life), or closed
CLOSING   our Close is sent, the peer's awaited                  cut
ENDING    nothing more is read; the owner answers what it has    (a few turns of the loop)
LINGER    the last has been said; what still comes is dropped    cut
OVER      the connection is gone
========  =====================================================  ===============================

Writing has a deadline of its own, whatever the phase: a peer that does not read is cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from autobahn.exception import PayloadCorruptError, PayloadExceededError
from twisted.internet.interfaces import IProtocol, IPushProducer
from zope.interface import implementer

from daphne_clone.connection.autobahn_bridge import LONG_FROM, TOO_BIG, FrameEngine, unmask_long
from daphne_clone.connection.shared import LINGER_S, WriteDeadline
from daphne_clone.wire.ws_frames import BINARY, COMPRESSED, PING, PONG, TEXT, header, unmask

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from daphne_clone.connection.autobahn_bridge import Deflate
    from daphne_clone.connection.shared import ConnectionFactory

_OPEN, _CLOSING, _ENDING, _LINGER, _OVER = range(5)

# Close codes (RFC 6455 section 7.4.1).
NORMAL = 1000
NO_STATUS = 1005
ABNORMAL = 1006
INVALID_PAYLOAD = 1007
INTERNAL_ERROR = 1011
SERVICE_RESTART = 1012

# How long the peer may take to answer our Close, in seconds; as in `websockets`.
CLOSE_S = 10.0

# When a Close or a fault of the peer's is behind messages in the same read, the application has this many turns of the
# loop to answer those before the session ends.
_ENDING_TURNS = 4

# Frames taken in one turn of the loop: a read can hold 40,000 that are empty, half a second's work, and others want
# their turn too.
_MAX_TURN = 512

# Payloads from this size on are not copied to be joined with their header.
_JOIN_BELOW = 65_536

_MASKED = 0x80


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What all sessions of a server have in common.

    Attributes:
        max_message: Octets of a message, inflated; 0 is no limit. More is 1009.
        max_frame: Octets of a frame; 0 is no limit. More is 1009.
        ping_interval: Seconds without a sign of life after which a ping is sent; 0 sends none.
        ping_timeout: Seconds that then remain for a sign of life, of whatever kind; 0 waits for ever.
        lifetime: Seconds after which a session is closed; 0 is never.
        write_timeout: Seconds for a peer to take what waits for it; 0 waits for ever.
    """

    max_message: int = 1_048_576
    max_frame: int = 1_048_576
    ping_interval: float = 20.0
    ping_timeout: float = 30.0
    lifetime: float = 86_400.0
    write_timeout: float = 60.0


class SessionOwner(Protocol):
    """What a session tells, and whom: the exchange that the session belongs to."""

    def session_opened(self) -> None:
        """The handshake has been answered; messages may follow at once."""

    def message_received(self, payload: str | bytes) -> None:
        """A message has come; it may be the last that is wanted for now (`WebSocketSession.pause_receiving`)."""

    def call_when_idle(self, callback: Callable[[], None]) -> None:
        """Call back when the application waits for a message and has had all that there are; at once if it does."""

    def session_failed(self, code: int, reason: str) -> None:
        """The peer broke the protocol or a limit, and is told so with this code; `session_closed` follows."""

    def session_closed(self, code: int, reason: str) -> None:
        """No message will come any more; called once."""

    def writing_resumed(self) -> None:
        """There is room again, or nobody to have room for."""


@implementer(IProtocol, IPushProducer)
class WebSocketSession:
    """A session; its transport is handed over with `makeConnection` when the handshake has been answered.

    Args:
        owner: Is told of messages and of the end.
        factory: Supplies the clock and keeps the set of connections.
        options: See there.
        deflate: The negotiated extension, or None.

    Attributes:
        is_writing_paused: The peer does not read: what is written now piles up.
    """

    __slots__ = (
        "_deadline",
        "_deflate",
        "_ending",
        "_engine",
        "_factory",
        "_has_failed",
        "_heard",
        "_held",
        "_held_position",
        "_is_receiving_paused",
        "_last_frame",
        "_life_deadline",
        "_max_whole",
        "_options",
        "_owner",
        "_phase",
        "_pinged",
        "_turns_left",
        "_unsent_pong",
        "_write_deadline",
        "is_writing_paused",
        "transport",
    )

    def __init__(
        self, owner: SessionOwner, factory: ConnectionFactory, options: SessionOptions, deflate: Deflate | None
    ) -> None:
        self.transport: Any = None  # ITransport
        self.is_writing_paused = False
        self._owner: SessionOwner | None = owner
        self._factory = factory
        self._options = options
        self._deflate = deflate
        self._engine: FrameEngine | None = None
        self._phase = _OPEN
        self._max_whole = min(options.max_message or inf, options.max_frame or inf)
        self._held: bytes | None = None  # received, and not wanted yet
        self._held_position = 0
        self._is_receiving_paused = False
        self._heard = self._pinged = factory.clock.now
        self._life_deadline = self._heard + options.lifetime if options.lifetime > 0 else inf
        self._deadline = inf  # of closing and lingering
        self._unsent_pong: bytes | None = None
        self._ending: tuple[int, str] | None = None  # code and reason, once the peer has given cause for an end
        self._has_failed = False
        self._last_frame: bytes | None = None
        self._turns_left = 0
        self._write_deadline: WriteDeadline | None = None

    # IProtocol

    def makeConnection(self, transport: Any) -> None:  # noqa: ANN401  # see `transport`
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        self._factory.connections.add(self)
        self.transport.registerProducer(self, True)
        assert self._owner is not None, "a session begins with an owner"
        self._owner.session_opened()

    def dataReceived(self, data: bytes) -> None:
        self._heard = self._factory.clock.now
        if self._held is not None:
            # What was on its way when reading was paused.
            self._held = self._held[self._held_position :] + data
            self._held_position = 0
        elif self._phase <= _CLOSING:
            self._receive(data, 0)

    def connectionLost(self, reason: Failure) -> None:
        self._factory.connections.discard(self)
        self._phase = _OVER
        self._deadline = self._life_deadline = inf
        self._write_deadline = None
        self._held = None
        if self._engine is not None:
            self._engine.forget()
            self._engine = None
        self._tell_closed(*(self._ending or (ABNORMAL, "")))

    # IPushProducer: the transport's buffer is full, or has drained

    def pauseProducing(self) -> None:
        self.is_writing_paused = True
        self._arm_write_deadline()

    def resumeProducing(self) -> None:
        self.is_writing_paused = False
        self._write_deadline = None
        if self._unsent_pong is not None:
            payload, self._unsent_pong = self._unsent_pong, None
            self.ping_received(payload)
        if self._owner is not None:
            self._owner.writing_resumed()

    def stopProducing(self) -> None:
        """The connection is lost; `connectionLost` follows."""

    # For the owner

    @property
    def is_open(self) -> bool:
        """Messages can be sent."""
        return self._phase == _OPEN

    def send(self, payload: str | bytes) -> None:
        """Send a message in one frame.

        Raises:
            UnicodeEncodeError: The text holds lone surrogates.
        """
        if isinstance(payload, str):
            first, payload = TEXT, payload.encode()
        else:
            first = BINARY
        if self._deflate is not None:
            compressed = self._deflate.compress(payload)
            if compressed is not None:
                first, payload = first | COMPRESSED, compressed
        size = len(payload)
        if size < _JOIN_BELOW:
            self.transport.write(header(first, size) + payload)
        else:
            self.transport.writeSequence((header(first, size), payload))

    def close(self, code: int, reason: str = "") -> None:
        """Begin to close; the owner hears nothing more of the session but `writing_resumed`."""
        if self._phase == _ENDING:
            self._finish()
        if self._phase != _OPEN:
            return
        self._phase = _CLOSING
        self._deadline = self._factory.clock.now + CLOSE_S
        self._frames().close(code, reason)
        self._release_owner()
        self.resume_receiving()  # the peer's Close may be behind messages that nobody wants any more

    def pause_receiving(self) -> None:
        """Take no more messages for now; what is here waits, and the peer has to wait with the rest."""
        if not self._is_receiving_paused:
            self._is_receiving_paused = True
            self.transport.pauseProducing()

    def resume_receiving(self) -> None:
        if not self._is_receiving_paused:
            return
        self._is_receiving_paused = False
        self._heard = self._factory.clock.now  # it could not be heard until now
        if self._held is None:
            self.transport.resumeProducing()
        else:
            # In another turn: an application that only reads would have all of a read in this one.
            self._factory.call_soon(self._receive_held)

    def abort(self) -> None:
        """Cut the connection at once; `connectionLost` follows."""
        self.transport.abortConnection()

    # FrameListener: what the engine calls

    def close_made(self, frame: bytes) -> None:
        if self._phase == _OPEN:
            self._last_frame = frame  # in answer to what has come: `_finish` sends it
        else:
            self.transport.write(frame)

    def message_received(self, payload: bytes, is_binary: bool) -> None:
        if self._owner is not None:
            self._owner.message_received(payload if is_binary else payload.decode())

    def ping_received(self, payload: bytes) -> None:
        if self._phase != _OPEN:
            return
        if self.is_writing_paused:
            # RFC 6455 section 5.5.3: only the latest ping need be answered. So pings without end take no memory.
            self._unsent_pong = payload
        else:
            self.transport.write(header(PONG, len(payload)) + payload)

    def peer_closed(self, code: int | None, reason: str | None) -> None:
        self._end_soon(NO_STATUS if code is None else code, reason or "")

    def failed(self, code: int, reason: str) -> None:
        self._has_failed = True
        if self._owner is not None:
            self._owner.session_failed(code, reason)
        self._end_soon(code, reason)

    # The server's periodic work

    def check_deadlines(self) -> None:
        """Act on what has waited too long; called about once a second."""
        clock, options = self._factory.clock, self._options
        writing = self._write_deadline
        if clock.previous >= self._deadline or (writing is not None and writing.is_missed()):
            self.abort()
        elif self._phase != _OPEN:
            return
        elif clock.previous >= self._life_deadline:
            self._end(NORMAL, "")
        elif self.is_writing_paused:
            return  # it reads, or it is cut by its write deadline; a ping would wait behind the rest
        elif self._pinged > self._heard:
            # What we do not read, we cannot hear: then the ping only finds out whether there is a connection.
            if self._is_receiving_paused:
                if options.ping_interval and clock.previous - self._pinged >= options.ping_interval:
                    self._ping()
            elif options.ping_timeout and clock.previous - self._pinged >= options.ping_timeout:
                self.abort()
        elif options.ping_interval and clock.previous - self._heard >= options.ping_interval:
            self._ping()

    def shutdown_started(self) -> None:
        """The server is stopping: the client is to come again, to whoever takes over."""
        self._end(SERVICE_RESTART, "")
        if self._phase == _CLOSING:
            self._deadline = min(self._deadline, self._factory.clock.now + LINGER_S)  # a stop has not all the time

    # Inside

    def _receive(self, data: bytes, position: int) -> None:
        """Take the frames in ``data`` from ``position`` on, until it ends or no more are wanted."""
        end = len(data)
        left = _MAX_TURN
        while position < end and self._phase <= _CLOSING:
            if self._is_receiving_paused or not left:
                self._held, self._held_position = data, position
                if not left:
                    self.transport.pauseProducing()
                    self._factory.call_soon(self._receive_held)
                return
            left -= 1
            engine = self._engine
            if engine is None or engine.is_idle:
                after = self._receive_whole(data, position, end)
                if after:
                    position = after
                    continue
                engine = self._frames()
            position = engine.receive(data, position)

    def _receive_held(self) -> None:
        """Go on with what was left of a read, and then read on."""
        if self._is_receiving_paused:
            return
        held, self._held = self._held, None
        if held is not None and self._phase <= _CLOSING:
            self._receive(held, self._held_position)
        if self._held is None and not self._is_receiving_paused and self._phase != _OVER:
            self.transport.resumeProducing()

    def _receive_whole(self, data: bytes, position: int, end: int) -> int:
        """Take one frame that is a whole message, a ping or a pong.

        Returns:
            The position behind it; 0 when what is there is something else, which is left to the engine.
        """
        if end - position < 6:
            return 0
        first = data[position]
        length = data[position + 1] - _MASKED
        start = position + 6
        if length >= 126:
            if length == 126:
                length = int.from_bytes(data[position + 2 : position + 4], "big")
                start += 2
                if length < 126:
                    return 0  # not the shortest encoding
            else:
                length = int.from_bytes(data[position + 2 : position + 10], "big")
                start += 8
                if length < 65_536:
                    return 0
        stop = start + length
        if length < 0 or stop > end or length > self._max_whole:
            return 0
        if first in (PING, PONG):
            if length > 125:
                return 0
            if first == PING:
                self.ping_received(unmask(data[start:stop], data[start - 4 : start]))
            return stop
        deflate = None
        if first != TEXT and first != BINARY:
            deflate = self._deflate
            if deflate is None or (first != TEXT | COMPRESSED and first != BINARY | COMPRESSED):
                return 0
        mask = data[start - 4 : start]
        payload: bytes | bytearray
        if length < LONG_FROM:
            payload = unmask(data[start:stop], mask)
        else:
            payload = unmask_long(data, start, stop, mask)
        try:
            if deflate is not None:
                payload = deflate.decompress(payload)
            message = payload.decode() if first & 0x0F == 1 else bytes(payload)
        except UnicodeDecodeError:
            self._frames().fail(INVALID_PAYLOAD, "text that is not UTF-8")
        except PayloadExceededError:
            self._frames().fail(TOO_BIG, "the message is longer than allowed")
        except PayloadCorruptError:
            self._frames().fail(INVALID_PAYLOAD, "the compressed data is invalid")
        else:
            assert self._owner is not None, "without an owner, messages go to the engine"
            self._owner.message_received(message)
        return stop

    def _frames(self) -> FrameEngine:
        engine = self._engine
        if engine is None:
            options = self._options
            self._engine = engine = FrameEngine(self, self._deflate, options.max_message, options.max_frame)
        return engine

    def _ping(self) -> None:
        self._pinged = self._factory.clock.now
        self.transport.write(header(PING, 0))

    def _end(self, code: int, reason: str) -> None:
        """Close from our side, and say so to the owner as well."""
        owner = self._owner
        self.close(code, reason)
        if owner is not None and self._phase == _CLOSING:
            owner.session_closed(code, reason)

    def _end_soon(self, code: int, reason: str) -> None:
        """The peer has closed, or is not listened to any longer: see to what it said before, and end."""
        self._ending = (code, reason)
        if self._phase != _OPEN or self._owner is None:
            self._finish()
            return
        self._phase = _ENDING
        self._turns_left = _ENDING_TURNS
        self._owner.call_when_idle(self._finish)
        self._turn_over()

    def _turn_over(self) -> None:
        if self._phase != _ENDING:
            return
        if self._turns_left:
            self._turns_left -= 1
            self._factory.call_soon(self._turn_over)
        else:
            self._finish()

    def _finish(self) -> None:
        """Say the last word, and close."""
        if self._phase >= _LINGER:
            return
        if self._last_frame is not None:
            self.transport.write(self._last_frame)
        self._phase = _LINGER
        self.transport.unregisterProducer()
        if self._has_failed:
            # The peer may still be sending: closing now would make the kernel reset the connection, and with it take
            # our Close frame from the peer. So only our side is closed.
            self._deadline = self._factory.clock.now + LINGER_S
            self.transport.loseWriteConnection()
        else:
            self._deadline = inf
            self._arm_write_deadline()
            self.transport.loseConnection()
        assert self._ending is not None, "there is a cause to end"
        self._tell_closed(*self._ending)

    def _tell_closed(self, code: int, reason: str) -> None:
        owner = self._owner
        if owner is not None:
            self._release_owner()
            owner.session_closed(code, reason)

    def _release_owner(self) -> None:
        """Tell the owner nothing any more; whoever waits for room must not wait for ever."""
        owner, self._owner = self._owner, None
        assert owner is not None, "an owner is released once"
        owner.writing_resumed()

    def _arm_write_deadline(self) -> None:
        seconds = self._options.write_timeout
        self._write_deadline = WriteDeadline(self._factory.clock, seconds, self.transport) if seconds else None
