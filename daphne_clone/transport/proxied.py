"""Read the PROXY header of an accepted connection from its socket, before any transport has it.

Only the header's own octets are taken, for what is behind them may be a TLS handshake, and the loop reads that by
itself. So each read is a look (MSG_PEEK) first. This module knows the rules of a port and not the form of a header.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from twisted.logger import Logger

from daphne_clone.transport.peek import peek
from daphne_clone.transport.sockets import RESET_ON_CLOSE, address_of

if TYPE_CHECKING:
    from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

    Ends = tuple[IPv4Address | IPv6Address | UNIXAddress, IPv4Address | IPv6Address | UNIXAddress]

_log = Logger()

# A proxy sends the header with the first packet. Ten seconds are time for a packet that is lost twice, and the same as
# for a TLS handshake.
HEADER_TIMEOUT_S: Final = 10.0

# What is left of it when the port stops.
STOP_TIMEOUT_S: Final = 1.0

# A proxy that is set up wrongly is told of, but not for each of its connections.
_WARN_EVERY_S: Final = 10.0

_LOOK_BYTES: Final = 4096


class HeaderParser(Protocol):
    """What takes a header apart; `wire.proxy_header` has one."""

    @property
    def is_whole(self) -> bool:
        """The header is complete."""

    @property
    def ends(self) -> tuple[object, object] | None:
        """Source and destination, in the form of ``getsockname()``; None where those of the socket hold."""

    def receive_data(self, data: bytes) -> int:
        """Take octets, and tell how many belong to the header.

        Raises:
            ValueError: They are no header; its text says so without quoting them.
        """


@dataclass(frozen=True, slots=True)
class ProxyProtocol:
    """What a port needs in order to speak it.

    Attributes:
        trusts: Tells whether connections from an address are taken; None is a UNIX socket.
        make_parser: Makes the parser of one header.
    """

    trusts: Callable[[str | None], bool]
    make_parser: Callable[[], HeaderParser]


class HeaderReader:
    """Reads the headers of one port's connections.

    Args:
        description: The port's, for the log.
        loop: The running loop.
        rules: Who may connect, and how a header looks.
    """

    def __init__(self, description: str, loop: asyncio.AbstractEventLoop, rules: ProxyProtocol) -> None:
        self._description = description
        self._loop = loop
        self._rules = rules
        self._timeout_s = HEADER_TIMEOUT_S
        self._timeouts: set[asyncio.Timeout] = set()
        self._last_warning = -inf

    async def ends_of(self, connection: socket.socket, peer: object) -> Ends | None:
        """Read the header of a connection that has just been accepted.

        Args:
            connection: Non-blocking; what is behind the header stays in it.
            peer: As ``accept()`` gave it.

        Returns:
            What the transport shall tell as its peer and its host; None: the truth.

        Raises:
            OSError: The connection is lost, or it is to be closed: the peer is not trusted, or sent no header.
        """
        host = peer[0] if isinstance(peer, tuple) else None
        if not self._rules.trusts(host):
            self._refuse(connection, host, "no trusted proxy (--forwarded-allow-ips)")
        parser = self._rules.make_parser()
        try:
            async with asyncio.timeout(self._timeout_s) as timeout:
                self._timeouts.add(timeout)
                try:
                    await self._read(connection, parser)
                finally:
                    self._timeouts.discard(timeout)
        except TimeoutError:
            self._refuse(connection, host, "no whole PROXY header in time")
        except ValueError as error:
            self._refuse(connection, host, str(error))
        if parser.ends is None:
            return None
        source, destination = parser.ends
        return address_of(source), address_of(destination)

    def stop_soon(self) -> None:
        """The port has stopped: what is waited for, now and from now on, has `STOP_TIMEOUT_S` at most."""
        self._timeout_s = STOP_TIMEOUT_S
        end = self._loop.time() + STOP_TIMEOUT_S
        for timeout in self._timeouts:
            if not timeout.expired():  # it may be so, and its task not know yet
                timeout.reschedule(min(timeout.when() or end, end))

    async def _read(self, connection: socket.socket, parser: HeaderParser) -> None:
        while not parser.is_whole:
            seen = await peek(connection, self._loop, _LOOK_BYTES)
            if not seen:
                raise ConnectionResetError("closed before its PROXY header was whole")
            count = parser.receive_data(seen)
            while count:
                count -= len(connection.recv(count))

    def _refuse(self, connection: socket.socket, host: str | None, reason: str) -> NoReturn:
        """Have the connection reset, and tell whoever set the proxy up."""
        now = self._loop.time()
        if now - self._last_warning >= _WARN_EVERY_S:
            self._last_warning = now
            _log.warn(
                "{description}: refused a connection from {peer} (--proxy-protocol): {reason}",
                description=self._description,
                peer=host or "a UNIX socket",
                reason=reason,
            )
        if connection.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):  # a socket that is broken has been reset already
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        raise ConnectionAbortedError(reason)
