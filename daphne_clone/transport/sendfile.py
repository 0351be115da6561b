"""Send part of a file through a connection: from the kernel where it can, through memory where it cannot.

It knows of its transport only what ``FileCarrier`` says, and nothing of the response that the file is part of.
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import Final, Protocol

from daphne_clone.errors import ClientDisconnected

# One system call moves at most this much, and the loop runs between two: a disk that has to be waited for blocks
# everybody, so it should be for the time of a few pages. The Linux pipe behind sendfile() holds 64 KiB; four of those
# keep a fast peer busy.
PIECE_MAX_BYTES: Final = 262144

# The file or the socket is of a kind that the kernel cannot join (sendfile(2), "EINVAL", "ENOSYS"; macOS: ENOTSUP,
# ENOTSOCK, EOPNOTSUPP).
_NOT_SUPPORTED: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTSOCK})

# Errors of the connection that Python does not already make a ConnectionError (socket(7), tcp(7)).
_UNREACHABLE: Final = frozenset(
    {errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN}
)


class FileCarrier(Protocol):
    """What is needed of a transport: ``LoopTransport`` documents each."""

    @property
    def connected(self) -> bool: ...
    @property
    def write(self) -> _Write: ...

    def abortConnection(self) -> None: ...
    def next_change(self) -> asyncio.Future[None]: ...
    def socket_fileno(self) -> int | None: ...
    async def flush(self) -> None: ...
    async def wait_for_room(self) -> None: ...


class _Write(Protocol):
    def __call__(self, data: bytes, /) -> None: ...


async def send(transport: FileCarrier, loop: asyncio.AbstractEventLoop, fileno: int, offset: int, count: int) -> None:
    """Send ``count`` bytes of the file from ``offset`` on; ``LoopTransport.sendfile`` says the rest."""
    if offset < 0 or count < 0:
        raise ValueError(f"offset and count must not be negative, got {offset} and {count}")
    await transport.wait_for_room()
    if hasattr(os, "sendfile") and transport.socket_fileno() is not None:
        await transport.flush()
        sent = await _send_from_kernel(transport, loop, fileno, offset, count)
        offset += sent
        count -= sent
    await _send_through_memory(transport, loop, fileno, offset, count)


async def _send_from_kernel(
    transport: FileCarrier, loop: asyncio.AbstractEventLoop, fileno: int, offset: int, count: int
) -> int:
    """Return how much was sent: ``count``, or less if the kernel cannot do it for this file."""
    socket_fileno = transport.socket_fileno()
    assert socket_fileno is not None, "send() has looked, and flush() raises when the connection is lost"
    # The loops refuse add_writer() on a descriptor that one of their transports uses. A duplicate is another number
    # for the same socket, and watched on its own.
    duplicate = os.dup(socket_fileno)
    sent = 0
    try:
        while sent < count:
            if not transport.connected:
                raise ClientDisconnected("the connection was lost")
            try:
                # Positional, and without headers or trailers, the call is the same on Linux and on macOS. A count of 0
                # would mean "to the end" on macOS; the loop's condition keeps it away.
                piece = os.sendfile(duplicate, fileno, offset + sent, min(count - sent, PIECE_MAX_BYTES))
            except (BlockingIOError, InterruptedError):
                await _writable(transport, loop, duplicate)
                continue
            except OSError as error:
                if error.errno in _NOT_SUPPORTED:
                    return sent
                if isinstance(error, ConnectionError) or error.errno in _UNREACHABLE:
                    transport.abortConnection()
                    raise ClientDisconnected("the connection was lost") from error
                raise
            if piece == 0:
                raise _file_too_short(offset + sent, count - sent)
            sent += piece
            await asyncio.sleep(0)
    finally:
        os.close(duplicate)
    return sent


async def _writable(transport: FileCarrier, loop: asyncio.AbstractEventLoop, fileno: int) -> None:
    ready = transport.next_change()
    loop.add_writer(fileno, _set, ready)
    try:
        await ready
    finally:
        loop.remove_writer(fileno)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


async def _send_through_memory(
    transport: FileCarrier, loop: asyncio.AbstractEventLoop, fileno: int, offset: int, count: int
) -> None:
    while count:
        piece = await loop.run_in_executor(None, os.pread, fileno, min(count, PIECE_MAX_BYTES), offset)
        if not piece:
            raise _file_too_short(offset, count)
        await transport.wait_for_room()  # raises if the connection went away while the file was read
        transport.write(piece)
        await transport.wait_for_room()
        offset += len(piece)
        count -= len(piece)


def _file_too_short(position: int, missing: int) -> EOFError:
    return EOFError(f"the file ends at byte {position}, {missing} bytes before what was promised")
