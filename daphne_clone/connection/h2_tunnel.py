"""A stream of HTTP/2 as the transport of another protocol (RFC 8441), which is a WebSocket's session.

It gives the session what a TCP connection would, and knows nothing of its frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daphne_clone.connection.h2_stream import H2Stream


@implementer(ITransport, IConsumer, IPushProducer)
class H2Tunnel:
    """The transport of a protocol that has taken a stream over.

    Args:
        stream: Carries it.
        protocol: The IProtocol; it is told of the end once, whichever side makes it.
        transport: The connection's, for the addresses.
    """

    __slots__ = ("_is_closing", "_producer", "_protocol", "_stream", "_transport")

    def __init__(self, stream: H2Stream, protocol: Any, transport: Any) -> None:  # noqa: ANN401  # as IProtocol has it
        self._stream = stream
        self._protocol = protocol
        self._transport = transport
        self._producer: Any = None
        self._is_closing = False

    @property
    def is_over(self) -> bool:
        """The protocol has been told of the end; what it has written may still wait."""
        return self._protocol is None

    # What the stream tells

    def data_received(self, data: bytes) -> None:
        if self._protocol is not None and not self._is_closing:
            self._protocol.dataReceived(data)

    def peer_ended(self) -> None:
        """The peer says no more: what waits for it is still written, as on a TCP connection that is not half-closed."""
        self._is_closing = True
        self._stream.end_sending()
        self._tell_lost(ConnectionDone())

    def sending_ended(self) -> None:
        """All that was to be sent has been written."""
        if self._is_closing:
            self._stream.linger()
            self._tell_lost(ConnectionDone())

    def lost(self) -> None:
        """The stream was reset, or its connection is gone."""
        self._tell_lost(ConnectionLost())

    def pause_writing(self) -> None:
        if self._producer is not None:
            self._producer.pauseProducing()

    def resume_writing(self) -> None:
        if self._producer is not None:
            self._producer.resumeProducing()

    # ITransport

    def write(self, data: bytes) -> None:
        self._stream.send_data(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self._stream.send_data(b"".join(data))

    def loseConnection(self) -> None:
        """Close when all has been written; nothing more is read."""
        self._is_closing = True
        self._stream.resume_reading()  # so that the peer's own end is seen
        self._stream.end_sending()

    def loseWriteConnection(self) -> None:
        """Close our side when all has been written; reading goes on."""
        self._stream.end_sending()

    def abortConnection(self) -> None:
        self._stream.cancel()
        self._tell_lost(ConnectionLost())

    def getPeer(self) -> Any:  # noqa: ANN401  # any IAddress
        return self._transport.getPeer()

    def getHost(self) -> Any:  # noqa: ANN401  # any IAddress
        return self._transport.getHost()

    def getWriteBufferSize(self) -> int:
        return self._stream.waiting

    # IConsumer

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: ANN401  # any IPushProducer
        assert streaming, "sessions push"
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    # IPushProducer: reading from the stream

    def pauseProducing(self) -> None:
        self._stream.pause_reading()

    def resumeProducing(self) -> None:
        self._stream.resume_reading()

    def stopProducing(self) -> None:
        self.loseConnection()

    def _tell_lost(self, error: Exception) -> None:
        protocol, self._protocol = self._protocol, None
        self._producer = None
        if protocol is not None:
            protocol.connectionLost(Failure(error))  # type: ignore[no-untyped-call]  # Twisted has not annotated it
