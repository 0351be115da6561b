"""What all connections of a server have in common, as they see it; the factory that fills it in is above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from daphne_clone.errors import RequestRefused
    from daphne_clone.interfaces import Exchange, Limits, RequestHead
    from daphne_clone.wire.fields import DefaultFields
    from daphne_clone.wire.h1_request import LineTable
    from daphne_clone.wire.h1_response import HeadEncoder


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


class ConnectionFactory(Protocol):
    """What a connection needs of the factory that made it.

    Attributes:
        call_soon: Runs a callable in the next turn of the loop, in the server's own context.
        connections: The open connections; each adds and removes itself.
    """

    limits: Limits
    timeouts: Timeouts
    clock: CoarseClock
    line_table: LineTable
    default_fields: DefaultFields
    head_encoder: HeadEncoder
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

    def request_refused(self, channel: Any, refusal: RequestRefused) -> None:  # noqa: ANN401
        """Take notice of a peer's fault, for the log."""
