"""What all connections of a server have in common, as they see it; the factory that fills it in is above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from daphne_clone.connection.h2 import H2Options
    from daphne_clone.interfaces import Exchange, Limits, RequestHead
    from daphne_clone.wire.fields import DefaultFields
    from daphne_clone.wire.h1_request import LineTable
    from daphne_clone.wire.h1_response import H1HeadEncoder
    from daphne_clone.wire.h2_fields import H2HeadEncoder, KnownFields


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a connection may wait, in seconds; 0 is for ever.

    Attributes:
        request_head: For a head, from its first byte; for the first of a connection, from the accept.
        request_body: For more of a body, while it is being read.
        keep_alive: For another request. Not 5 s, as some have it: pools behind proxies then meet closing sockets.
        write: For a peer to take what is written.
    """

    request_head: float = 30.0
    request_body: float = 60.0
    keep_alive: float = 75.0
    write: float = 60.0


class CoarseClock:
    """The time as of the last tick: deadlines are set without asking a clock for each request.

    Attributes:
        now: Monotonic seconds as of the last tick; what deadlines are set from.
        previous: As of the tick before. Deadlines are held against it, for they may have been set from a `now` that was
            one tick old: so no wait ends before its time, and none later than two ticks after it.
    """

    __slots__ = ("now", "previous")

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.previous = now

    def tick(self, now: float) -> None:
        """Advance to ``now``; the server does so about once a second."""
        self.previous, self.now = self.now, now


# A body, or a reader, slower than this is cut even if it never stalls: Kestrel's minimum, in octets a second.
MIN_RATE = 240

# How long a peer may take to read the last of what is sent to it, and close; as nginx's lingering_timeout.
LINGER_S = 5.0


class WriteDeadline:
    """Until when a peer has to take some of what waits for it; made whenever something begins to wait.

    Args:
        clock: The server's.
        seconds: What it has; each time it has taken enough of it in time, it gets as much again.
        transport: Where the octets wait.
    """

    __slots__ = ("_at", "_clock", "_last_backlog", "_seconds", "_transport")

    def __init__(self, clock: CoarseClock, seconds: float, transport: Any) -> None:  # noqa: ANN401  # any ITransport
        self._clock = clock
        self._seconds = seconds
        self._transport = transport
        self._at = clock.now + seconds
        self._last_backlog: int | None = None  # octets not taken by the kernel, when the deadline was first looked at

    def is_missed(self) -> bool:
        """Tell whether the deadline has passed without the peer having taken enough: that sets the next one."""
        # Twisted's own transports do not tell their backlog: there all of it must have gone by the deadline.
        size = getattr(self._transport, "getWriteBufferSize", None)
        backlog = size() if size is not None else 0
        if self._last_backlog is None:
            self._last_backlog = backlog  # at the first look, not when it was made: most do not live so long
        if self._clock.previous < self._at:
            return False
        if self._last_backlog - backlog < MIN_RATE * self._seconds:
            return True
        self._last_backlog = backlog
        self._at = self._clock.now + self._seconds
        return False


class ConnectionFactory(Protocol):
    """What a connection needs of the factory that made it.

    Attributes:
        call_soon: Runs a callable in the next turn of the loop, in the server's own context.
        connections: The open connections; each adds and removes itself.
        http2: What HTTP/2 is spoken with; None where it is not.
    """

    limits: Limits
    timeouts: Timeouts
    clock: CoarseClock
    line_table: LineTable
    default_fields: DefaultFields
    head_encoder: H1HeadEncoder
    h2_head_encoder: H2HeadEncoder
    known_fields: KnownFields
    http2: H2Options | None
    connections: set[Any]
    call_soon: Callable[[Callable[[], None]], object]

    def describe(self, transport: Any) -> tuple[str, list[Any] | None, list[Any] | None]:  # noqa: ANN401
        """Scheme, client and server of a transport, as scopes have them."""

    def trusts(self, client: list[Any] | None) -> bool:
        """Tell whether the peer may say who its client is."""

    def extensions_of(self, transport: Any, http_version: str) -> dict[str, dict[str, object]]:  # noqa: ANN401
        """The ASGI extensions that a request of this version can use on this transport."""

    def make_exchange(self, channel: Any, head: RequestHead) -> Exchange:  # noqa: ANN401
        """Make what serves a request; it answers through ``channel``."""

    def request_refused(self, channel: Any, refusal: Exception) -> None:  # noqa: ANN401
        """Take notice of a peer's fault, for the log."""
