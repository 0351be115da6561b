"""One connection of the event loop, presented to a Twisted protocol as its TCP transport.

The loop calls the Twisted protocol's ``dataReceived`` itself, and the Twisted protocol calls the loop transport's
``write`` itself: both are bound methods kept in slots, so that no frame of this module is on the way of a byte. What is
left to do here happens seldom: open, close, half-close, socket options.

This module does not know which protocol it carries, nor how the listening socket came to be.

Sources: the docstrings of ITransport, ITCPTransport and IHalfCloseableProtocol in ``twisted.internet.interfaces`` for
what a protocol may expect; the "Transports and Protocols" page of asyncio for what the loop promises.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final, cast

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    INegotiated,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    ITCPTransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from daphne_clone.transport import sendfile
from daphne_clone.transport.flow import HIGH_WATER_BYTES, WriteFlow, drop
from daphne_clone.transport.sockets import RESET_ON_CLOSE, address_of
from daphne_clone.transport.tls_session import TLSSession

_log = Logger()


def _failure(error: Exception) -> Failure:
    return Failure(error)  # type: ignore[no-untyped-call]  # Twisted has not annotated it


_Address = IPv4Address | IPv6Address | UNIXAddress

# Most connections end this way; one Failure serves them all, as in twisted.internet.main.CONNECTION_DONE.
_CLOSED_CLEANLY: Final = _failure(ConnectionDone())

# In place of the loop's transport once the connection is lost: it knows nothing.
_NO_TRANSPORT: Final = asyncio.Transport()


@implementer(ITCPTransport, IPushProducer, IConsumer)
class LoopTransport(WriteFlow):
    """The loop's protocol and the Twisted protocol's transport, in one object a connection.

    Args:
        factory: Builds the Twisted protocol when the connection is made; None from ``buildProtocol`` aborts it.
        loop: The loop that carries the connection.
        ends: What to tell as peer and host, where a proxy has told it; None is what the socket says.

    Attributes:
        data_received: The Twisted protocol's ``dataReceived``; the loop calls it. If it raises, the loop closes the
            connection, and ``connectionLost`` follows.
    """

    __slots__ = (
        "_aborted",
        "_ends",
        "_factory",
        "_host",
        "_peer",
        "_protocol",
        "_read_ended",
        "_write_ended",
        "_write_ending",
        "data_received",
    )

    data_received: Callable[[bytes], None]

    def __init__(
        self,
        factory: IProtocolFactory,
        loop: asyncio.AbstractEventLoop,
        ends: tuple[_Address, _Address] | None = None,
    ) -> None:
        super().__init__(loop)
        self._factory = factory
        self._ends = ends
        self._protocol: IProtocol | None = None
        self._peer: _Address | None = None
        self._host: _Address | None = None
        self._aborted = False
        self._read_ended = False
        self._write_ended = False
        self._write_ending = False
        self.data_received = drop  # uvloop reads it when the socket is accepted, before the protocol exists

    # asyncio.BaseProtocol, asyncio.Protocol: called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = loop_transport = cast(asyncio.Transport, transport)  # stream servers make no other kind
        self.connected = True
        peer_name = loop_transport.get_extra_info("peername")
        if peer_name is None and isinstance(loop_transport.get_extra_info("sockname"), tuple):
            # getpeername() gave ENOTCONN: the peer reset the connection while it was in the accept queue.
            self.abortConnection()
            return
        self._peer = address_of(peer_name) if self._ends is None else self._ends[0]
        self._bind_writes()
        try:
            protocol = self._factory.buildProtocol(self._peer)
            if protocol is None:
                self.abortConnection()
                return
            self.switch_protocol(protocol)
            protocol.makeConnection(self)
        except Exception:  # noqa: BLE001 - whatever the factory raises, the socket must not stay open without an owner
            _log.failure("A protocol could not be connected to {peer}", peer=self._peer)
            self.abortConnection()

    def eof_received(self) -> bool:
        """The peer sent its FIN. Returns True to keep the write side open; asyncio has no such thing over TLS."""
        self._read_ended = True
        protocol = self._protocol
        if protocol is not None and IHalfCloseableProtocol.providedBy(protocol) and self._transport.can_write_eof():
            cast(IHalfCloseableProtocol, protocol).readConnectionLost()  # providedBy() above
            return True
        # What is already in the buffer is still sent: the loop closes after that.
        self.disconnecting = True
        self._stop_writing()
        self._stop_producer()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.connected = False
        self.disconnecting = True
        self.data_received = drop
        self._stop_writing()
        self._fail_waiters()
        self._stop_producer()
        # Let go of the protocol: else the two hold each other until the garbage collector comes.
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            try:
                protocol.connectionLost(self._reason(exc))
            except Exception:  # noqa: BLE001 - the last line of a callback
                _log.failure("connectionLost of {protocol} failed", protocol=protocol)
        # And of the loop's transport, with the buffers of its TLS: the protocol, which holds us, may go on for long, or
        # be a part of some cycle itself.
        self.getHost()
        self._transport = _NO_TRANSPORT

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_ended:
            self._write_connection_lost()

    # ITransport, ITCPTransport

    def loseConnection(self) -> None:
        """Close once all pending data is sent and no producer is registered; nothing more is read."""
        if self.disconnecting:
            return
        self.disconnecting = True
        if self._producer is None:
            self._close()
        else:
            self._transport.pause_reading()

    def abortConnection(self) -> None:
        """Close at once: pending data is discarded, and over TCP the peer gets a reset."""
        if self._aborted or not self.connected:
            return
        self._aborted = True
        self.disconnecting = True
        self._stop_writing()
        # The reset is a courtesy, and a socket that is broken already has sent its own.
        # Under TLS on asyncio there may be no socket any more, though nobody has been told of the loss yet.
        own_socket = self._transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            if own_socket is not None and own_socket.family != socket.AF_UNIX:
                own_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._transport.abort()

    def loseWriteConnection(self) -> None:
        """Send a FIN once all pending data is sent and no producer is registered; reading goes on.

        asyncio cannot half-close TLS: there the whole connection is closed, as by ``loseConnection``.
        """
        if self.disconnecting or self._write_ended or self._write_ending:
            return
        self._write_ending = True
        if self._producer is None:
            self._end_writing()

    def getPeer(self) -> _Address:  # type: ignore[override]  # UNIX sockets come here too
        assert self._peer is not None, "a protocol has its transport only after connection_made"
        return self._peer

    def getHost(self) -> _Address:  # type: ignore[override]  # UNIX sockets come here too
        # Kept: it is asked for by every connection, and after its loss there is nobody to ask.
        if self._host is None:
            ends = self._ends
            self._host = address_of(self._transport.get_extra_info("sockname")) if ends is None else ends[1]
        return self._host

    def getTcpNoDelay(self) -> bool:
        """Return whether small writes leave at once; True unless changed. As all options, OSError on a UNIX socket."""
        return bool(self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(enabled))

    def getTcpKeepAlive(self) -> bool:
        return bool(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(enabled))

    # IPushProducer: the transport produces what the protocol consumes

    def pauseProducing(self) -> None:
        """Stop reading; harmless when already paused, at the end of the stream, or closed."""
        if self.connected and not self._read_ended:
            self._transport.pause_reading()

    def resumeProducing(self) -> None:
        """Read again; harmless when not paused, at the end of the stream, or closed."""
        # After the peer's FIN the loops would read that end once more, and call eof_received again.
        if self.connected and not self._read_ended and not self.disconnecting:
            self._transport.resume_reading()

    def stopProducing(self) -> None:
        self.loseConnection()

    # Ours

    @property
    def protocol(self) -> IProtocol | None:
        """The Twisted protocol; None before it is built and after its connection is lost."""
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: IProtocol) -> None:
        self.switch_protocol(protocol)

    def switch_protocol(self, protocol: IProtocol) -> None:
        """Give the connection to another protocol, for an upgrade; ``makeConnection`` is left to the caller.

        What arrives from now on goes to ``protocol.dataReceived``; the former protocol hears nothing more, not even
        ``connectionLost``.
        """
        self._protocol = protocol
        self.data_received = protocol.dataReceived
        if self.connected:
            self._transport.set_protocol(self)  # uvloop keeps the bound method: make it look again

    async def sendfile(self, fileno: int, offset: int, count: int) -> None:
        """Send part of a file behind what is written already, without copying it through Python where that can be done.

        Nothing else may be written to the transport until this returns. When it raises, or is cancelled, an unknown
        part was sent: the connection can only be aborted.

        Args:
            fileno: An open file that can be read at any position; it stays open, and its own position unchanged.
            offset: Position of the first byte, 0 or more.
            count: Number of bytes, 0 or more.

        Raises:
            ClientDisconnected: The connection was lost, or closed, meanwhile.
            EOFError: The file ends before ``offset + count``.
            OSError: The file cannot be read.
        """
        await sendfile.send(self, self._loop, fileno, offset, count)

    def socket_fileno(self) -> int | None:
        """Return the file descriptor to which plain bytes may be sent, None where they must go through ``write``."""
        return self._socket.fileno() if self.connected else None

    # Inside

    @property
    def _socket(self) -> socket.socket:
        # asyncio's TransportSocket or uvloop's PseudoSocket; both have the few methods used here.
        return cast(socket.socket, self._transport.get_extra_info("socket"))

    def _close(self) -> None:
        self._stop_writing()
        self._transport.close()

    def _producer_gone(self) -> None:
        if self.disconnecting:
            self._close()
        elif self._write_ending:
            self._end_writing()

    def _end_writing(self) -> None:
        if not self._transport.can_write_eof():
            self.loseConnection()
            return
        self._write_ending = False
        self._write_ended = True
        self._stop_writing()
        try:
            self._transport.write_eof()
            self._transport.set_write_buffer_limits(high=0)  # resume_writing() then means: all is sent
        except OSError:
            # ENOTCONN: the peer has reset the connection, and nobody has read that yet.
            self.abortConnection()
            return
        if not self._transport.get_write_buffer_size():
            self._loop.call_soon(self._write_connection_lost)

    def _write_connection_lost(self) -> None:
        if self.connected and self._protocol is not None and IHalfCloseableProtocol.providedBy(self._protocol):
            cast(IHalfCloseableProtocol, self._protocol).writeConnectionLost()  # providedBy() above

    def _reason(self, exc: Exception | None) -> Failure:
        if self._aborted:
            return _failure(ConnectionAborted())
        if exc is None:
            return _CLOSED_CLEANLY
        if not isinstance(exc, OSError):
            # Not from the network: the protocol's dataReceived (or readConnectionLost) raised, and the loop closed.
            _log.failure("A protocol failed, and its connection was closed", _failure(exc))
        lost = ConnectionLost(str(exc))
        lost.__cause__ = exc
        return _failure(lost)


@implementer(INegotiated)
class TLSLoopTransport(LoopTransport):  # type: ignore[override]  # as getPeer and getHost of LoopTransport
    """A connection under TLS; the handshake is over before the protocol is built."""

    __slots__ = ("_session",)

    @property
    def session(self) -> TLSSession:
        """What the handshake has agreed on; to be asked for before the connection ends, and made only then."""
        try:
            return self._session
        except AttributeError:
            self._session: TLSSession = TLSSession(self.ssl_object)
            return self._session

    @property
    def ssl_object(self) -> ssl.SSLObject:
        """The session, with all that the standard library tells of it, until the connection is lost."""
        # Both loops set it before connection_made.
        return cast(ssl.SSLObject, self._transport.get_extra_info("ssl_object"))

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """The protocol chosen by ALPN, such as ``b"http/1.1"``; None when the peer offered none of ours."""
        chosen = self.ssl_object.selected_alpn_protocol()
        return None if chosen is None else chosen.encode("ascii")

    def _bind_writes(self) -> None:
        super()._bind_writes()
        self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)

    def getPeerCertificate(self) -> bytes | None:
        """Return the peer's certificate as DER, None when it sent none (or was not asked for one)."""
        return self.ssl_object.getpeercert(binary_form=True)

    def socket_fileno(self) -> None:
        return None
