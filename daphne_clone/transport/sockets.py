"""Make and adopt listening sockets; it knows no loop, no endpoint string and no protocol.

Every function raises OSError with the kernel's own reason, but for `SocketFile.remove`, which only says so in the log;
``listen`` puts the endpoint's name to it.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from dataclasses import dataclass
from typing import Final

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.logger import Logger

_log = Logger()

# l_onoff=1, l_linger=0: close() answers with RST, so that the peer sees a truncation and not an end (socket(7)).
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


def address_of(name: object) -> IPv4Address | IPv6Address | UNIXAddress:
    """Return Twisted's address for what ``getsockname()`` or ``getpeername()`` gave.

    Args:
        name: ``(host, port)``, ``(host, port, flow, scope)``, or a UNIX path as str or bytes; empty or None when that
            end of a UNIX connection has no name.
    """
    if isinstance(name, tuple):
        if len(name) == 4:
            return IPv6Address("TCP", *name)
        return IPv4Address("TCP", *name)
    return UNIXAddress(name or None)  # type: ignore[arg-type]  # str is converted by it; its annotation has bytes only


def bind_tcp(family: socket.AddressFamily, address: tuple[object, ...]) -> socket.socket:
    """Return a non-blocking TCP socket bound to ``address``, which may have port 0 for any free one.

    Args:
        family: AF_INET or AF_INET6.
        address: As ``getaddrinfo`` gives it for that family.
    """
    # The protocol is named because asyncio sets TCP_NODELAY only where the socket says it is TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setblocking(False)
        # Connections of the former process in TIME_WAIT do not hold the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it: one system call for all of them.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            # "::" takes IPv4 too, whatever the system's default (net.ipv6.bindv6only): Twisted's ports and so Daphne's
            # do, and containers rely on it. For any other address the option changes nothing.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    return listener


@dataclass(frozen=True, slots=True)
class SocketFile:
    """The file of a UNIX socket that we made.

    Attributes:
        path: Absolute, so that it holds after a change of directory.
        device: With ``inode``, what tells our file from one that another server has put there since.
    """

    path: str
    device: int
    inode: int

    def remove(self) -> None:
        """Remove the file if it is still ours. One that may not be removed stays: nothing else depends on that."""
        try:
            status = os.lstat(self.path)
            if (status.st_dev, status.st_ino) == (self.device, self.inode):
                os.unlink(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            # A server that has given up root may be without the right to the directory.
            _log.warn("The socket file {path} is left behind: {reason}", path=self.path, reason=error.strerror)


def bind_unix(path: str, mode: int) -> tuple[socket.socket, SocketFile]:
    """Return a non-blocking UNIX socket bound to ``path``, and its file.

    A socket file that nobody listens on any more is replaced.

    Args:
        path: Where to put the file.
        mode: Its permissions. Nobody can connect before they are set: the socket does not listen yet.

    Raises:
        OSError: EADDRINUSE when a server listens on it, or when the file is no socket.
    """
    path = os.path.abspath(path)
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.bind(path)
        status = os.lstat(path)
        file = SocketFile(path, status.st_dev, status.st_ino)
        try:
            os.chmod(path, mode)
        except BaseException:
            file.remove()
            raise
    except BaseException:
        listener.close()
        raise
    return listener, file


def _remove_stale(path: str) -> None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise OSError(errno.EADDRINUSE, "a file that is not a socket is in the way")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A server whose backlog is full would block us; without blocking it answers EAGAIN, and lives.
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except FileNotFoundError:  # its owner has just removed it
            return
        except BlockingIOError:
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def adopt(fileno: int) -> socket.socket:
    """Return a non-blocking duplicate of an inherited listening socket, its family found from the socket itself.

    The original stays open and is the caller's: who handed it to us may still hold it as a Python socket, or hand it to
    another worker.

    Raises:
        OSError: EBADF; ENOTSOCK when it is no socket; EINVAL when it is not a listening stream socket.
    """
    duplicate = os.dup(fileno)
    try:
        listener = socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        raise
    try:
        if listener.type != socket.SOCK_STREAM or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError(errno.EINVAL, "not a listening stream socket")
        listener.setblocking(False)
        if listener.family in (socket.AF_INET, socket.AF_INET6):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        listener.close()
        raise
    return listener
