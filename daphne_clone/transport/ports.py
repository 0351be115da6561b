"""Listening ports: one whose connections the loop carries, and one around a port of Twisted's own.

This module knows no endpoint strings; ``listen`` makes the sockets and the contexts.

Who accepts. On uvloop, the loop does (``create_server``): in C, and with no descriptor left libuv accepts and closes
what waits, so that it neither spins nor stops. On asyncio we do: its own accept loop tries ``backlog`` times for each
wake-up, and with no descriptor left logs a traceback for each try (measured: 875 in five seconds with a backlog of
100); and in 3.11 a connection accepted in the iteration in which its server is closed is dropped (``Server._attach``
asserts). Accepting is a dozen lines, and ``stopListening`` needs them anyway. Where the PROXY protocol or TLS is
spoken, we accept on both loops: what a connection begins with has to be looked at before the loop reads anything, and a
context that was made anew has to be the next connection's.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from zope.interface import implementer

from daphne_clone.errors import ListenError
from daphne_clone.transport import tls
from daphne_clone.transport.alerts import handshaking
from daphne_clone.transport.peek import Patience, peek
from daphne_clone.transport.proxied import HeaderReader
from daphne_clone.transport.sockets import SocketFile, address_of
from daphne_clone.transport.stream import LoopTransport, TLSLoopTransport

if TYPE_CHECKING:
    from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

    from daphne_clone.transport.proxied import ProxyProtocol

_log = Logger()

# Connections taken for one wake-up of the loop, so that a flood of them leaves time for those that are there.
_ACCEPTS_PER_WAKE_UP: Final = 64

# How long to leave the accept queue alone when the system has no descriptor or memory left for a connection; the same
# as asyncio.constants.ACCEPT_RETRY_DELAY.
_ACCEPT_RETRY_S: Final = 1.0


# What is left for handshakes when the port stops, in seconds: two round trips on a bad line.
_STOP_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Security:
    """How a port speaks TLS.

    Attributes:
        context: Whose current context the next connection takes.
        handshake_timeout_s: What a peer has for its handshake, its first octet included.
        plain_factory: Makes the protocols of connections that begin in plain text; None: they fail as handshakes do.
    """

    context: tls.RenewableContext
    handshake_timeout_s: float = tls.HANDSHAKE_TIMEOUT_S
    plain_factory: IProtocolFactory | None = None


@implementer(IListeningPort)
class LoopPort:
    """A socket that is listened on, whose connections are ``LoopTransport``s of the loop.

    Args:
        description: The endpoint string it was made from.
        listener: A bound, non-blocking stream socket; the port closes it.
        factory: Builds a protocol for each connection.
        loop: The loop that accepts and carries.
        security: Speak TLS; None for plain connections.
        file: The socket's file, to be removed when the port stops; None where there is none of ours.
        backlog: How many completed connections the kernel may queue.
        proxy_protocol: Each connection begins with a PROXY header, in front of TLS; None for none.
    """

    def __init__(
        self,
        description: str,
        listener: socket.socket,
        factory: IProtocolFactory,
        loop: asyncio.AbstractEventLoop,
        *,
        security: Security | None,
        file: SocketFile | None,
        backlog: int,
        proxy_protocol: ProxyProtocol | None = None,
    ) -> None:
        self.description = description
        self._listener = listener
        self._factory = factory
        self._loop = loop
        self._file = file
        self._backlog = backlog
        self._host = address_of(listener.getsockname())
        self._security = security
        self._make_transport = functools.partial(LoopTransport if security is None else TLSLoopTransport, factory, loop)
        self._headers = HeaderReader(description, loop, proxy_protocol) if proxy_protocol is not None else None
        self._patience: Patience | None = None
        if security is not None:
            self._patience = Patience(loop, security.handshake_timeout_s, _STOP_TIMEOUT_S)
        self._server: asyncio.AbstractServer | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._handovers: set[asyncio.Task[None]] = set()
        self._listening = False
        self._stopped: Deferred[None] | None = None

    async def start(self) -> None:
        """Begin to accept. The loop must be running.

        Raises:
            ListenError: The kernel refuses; the socket is then closed and its file removed.
        """
        self._factory.doStart()
        try:
            with telling_of(self.description):
                is_looked_at = self._headers is not None or self._security is not None
                if isinstance(self._loop, asyncio.SelectorEventLoop) or is_looked_at:
                    self._listener.listen(self._backlog)
                    self._loop.add_reader(self._listener.fileno(), self._accept_ready)
                else:
                    self._server = await self._loop.create_server(
                        self._make_transport, sock=self._listener, backlog=self._backlog
                    )
        except BaseException:
            self._close()
            self._factory.doStop()
            raise
        self._listening = True

    # IListeningPort

    def startListening(self) -> None:
        """Do nothing: ``listen`` returns ports that listen already.

        Raises:
            ListenError: The port was stopped; its socket is gone, ``listen`` makes another.
        """
        if not self._listening:
            raise ListenError(f"{self.description} was stopped; listen again to open it")

    def stopListening(self) -> Deferred[None]:
        """Accept no more; the connections that are there live on.

        What the kernel has completed by now is accepted first, since closing the socket would reset it: those clients
        may have sent their request already, and were told of no refusal.

        Returns:
            Fires when each of these connections has its protocol. Over TLS that is after the handshake, at most
            two seconds from now, and behind the PROXY protocol a second later.
        """
        if self._stopped is None:
            self._stopped = self._stop()
        done: Deferred[None] = Deferred()
        self._stopped.addCallback(_also, done)
        return done

    def getHost(self) -> IPv4Address | IPv6Address | UNIXAddress:
        """Return the address with the port that was really given; it stays known when the port has stopped."""
        return self._host

    # Ours

    @property
    def context(self) -> tls.RenewableContext | None:
        """What TLS is spoken with; None for plain connections."""
        return None if self._security is None else self._security.context

    def _stop(self) -> Deferred[None]:
        if not self._listening:
            self._close()  # it was never started
            return succeed(None)
        self._listening = False
        if self._server is None:
            self._loop.remove_reader(self._listener.fileno())
            if self._retry is not None:
                self._retry.cancel()
        if self._loop.is_running():
            try:
                # Clients that keep coming must not keep us: what the queue can hold was there when we began.
                self._accept(self._backlog)
            except OSError as error:
                _log.warn(
                    "{description}: connections that were not yet accepted are lost: {error}",
                    description=self.description,
                    error=error,
                )
        self._close()
        if self._headers is not None:
            self._headers.stop_soon()
        if self._patience is not None:
            self._patience.end_soon()
        if not self._handovers:
            self._factory.doStop()
            return succeed(None)
        # A handover that failed has told so; nobody is helped if the port's end fails with it.
        handed_over = Deferred.fromFuture(asyncio.gather(*self._handovers, return_exceptions=True))
        return handed_over.addCallback(lambda _: self._factory.doStop())

    def _close(self) -> None:
        if self._file is not None:
            self._file.remove()
            self._file = None
        if self._server is not None:
            self._server.close()  # and with it the socket
        else:
            self._listener.close()

    def _accept_ready(self) -> None:
        try:
            self._accept(_ACCEPTS_PER_WAKE_UP)
        except OSError as error:
            # Out of descriptors or memory, mostly. The socket stays readable: a loop that looks again at once spins.
            _log.warn(
                "{description}: cannot accept, will try again in {seconds} s: {error}",
                description=self.description,
                seconds=_ACCEPT_RETRY_S,
                error=error,
            )
            self._loop.remove_reader(self._listener.fileno())
            self._retry = self._loop.call_later(_ACCEPT_RETRY_S, self._accept_again)

    def _accept_again(self) -> None:
        self._retry = None
        self._loop.add_reader(self._listener.fileno(), self._accept_ready)

    def _accept(self, at_most: int) -> None:
        """Accept what is in the queue."""
        for _ in range(at_most):
            try:
                connection, peer = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:  # this one went away while it waited; the next may be fine
                continue
            connection.setblocking(False)
            task = self._loop.create_task(self._hand_over(connection, peer))
            self._handovers.add(task)
            task.add_done_callback(self._handovers.discard)

    async def _hand_over(self, connection: socket.socket, peer: object) -> None:
        make_transport = self._make_transport
        try:
            if self._headers is not None:
                make_transport = functools.partial(make_transport, await self._headers.ends_of(connection, peer))
            if self._security is None:
                await self._loop.connect_accepted_socket(make_transport, connection)
            else:
                await self._hand_over_secured(connection, make_transport, self._security)
        except OSError as error:  # a handshake that failed or took too long, a peer that is gone: all the peer's doing
            connection.close()
            _log.debug("{description}: a connection was not made: {error}", description=self.description, error=error)
        except asyncio.CancelledError:
            connection.close()
            raise

    async def _hand_over_secured(
        self, connection: socket.socket, make_transport: functools.partial[LoopTransport], security: Security
    ) -> None:
        assert self._patience is not None, "it goes with the security"
        self._patience.begin()
        if security.plain_factory is not None:
            # A TLS record begins with its type, 22 (RFC 8446 section 5.1); a request in plain text with a letter.
            first = await peek(connection, self._loop, 1)
            if first.isalpha():
                ends = make_transport.args[2:]
                make_transport = functools.partial(LoopTransport, security.plain_factory, self._loop, *ends)
                await self._loop.connect_accepted_socket(make_transport, connection)
                return
        handshaking.set(connection)
        await self._loop.connect_accepted_socket(
            make_transport,
            connection,
            ssl=security.context.current,
            ssl_handshake_timeout=security.handshake_timeout_s,
            ssl_shutdown_timeout=tls.SHUTDOWN_TIMEOUT_S,
        )


@implementer(IListeningPort)
class ReactorPort:
    """A port of Twisted's own, with the description it is made from.

    Args:
        description: The endpoint string.
        endpoint: What it means to Twisted.
        factory: Builds a protocol for each connection.
        loop: The running loop.
    """

    def __init__(
        self,
        description: str,
        endpoint: IStreamServerEndpoint,
        factory: IProtocolFactory,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.description = description
        self._endpoint = endpoint
        self._factory = factory
        self._loop = loop
        self._port: IListeningPort | None = None

    async def start(self) -> None:
        """Open the port and listen; Twisted's endpoints have but this one step.

        Raises:
            ListenError: It cannot.
        """
        with telling_of(self.description):
            try:
                self._port = await self._endpoint.listen(self._factory).asFuture(self._loop)
            except CannotListenError as error:
                # Its own text repeats the address; the description has it.
                raise ListenError(str(error.socketError)) from error

    # IListeningPort

    def startListening(self) -> None:
        self._started.startListening()

    def stopListening(self) -> Deferred[None]:
        stopped = None if self._port is None else self._port.stopListening()
        return succeed(None) if stopped is None else stopped

    def getHost(self) -> IAddress:
        return self._started.getHost()

    @property
    def _started(self) -> IListeningPort:
        if self._port is None:
            raise ListenError(f"{self.description} was not started")
        return self._port


@contextmanager
def telling_of(description: str) -> Iterator[None]:
    """Turn what opening a port fails with into a ListenError that names its description."""
    try:
        yield
    except ListenError as error:
        raise ListenError(f"cannot listen on {description}: {error}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ListenError(f"cannot listen on {description}: {reason[:1].lower()}{reason[1:]}") from error


def _also(result: None, other: Deferred[None]) -> None:
    """Fire another Deferred with a result on its way past."""
    other.callback(result)
