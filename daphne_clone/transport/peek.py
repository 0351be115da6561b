"""Look at what a connection has received without taking it, before any transport has the connection.

What is looked at may be the start of a TLS handshake, and the loop reads that by itself.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


async def peek(connection: socket.socket, loop: asyncio.AbstractEventLoop, at_most: int) -> bytes:
    """Return the first octets that wait to be read, as soon as there are any; empty at the end of the stream.

    Args:
        connection: Non-blocking, and with no transport.
        loop: The running loop.
        at_most: How many octets, 1 or more.

    Raises:
        OSError: The connection is lost.
    """
    while True:
        try:
            return connection.recv(at_most, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            await _readable(connection, loop)


async def _readable(connection: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
    readable = loop.create_future()
    loop.add_reader(connection.fileno(), _set, readable)
    try:
        await readable
    finally:
        loop.remove_reader(connection.fileno())


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Patience:
    """How long the peers of one port are waited for, each on its own; less once the port has stopped.

    Args:
        loop: The running loop.
        seconds: What each has.
        seconds_at_end: What is left when the port stops, to those that are waited for and to those that come after.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, seconds_at_end: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._seconds_at_end = seconds_at_end
        self._timeouts: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        """Wait for one peer inside this block.

        Raises:
            TimeoutError: Its time is over.
        """
        async with asyncio.timeout(self._seconds) as timeout:
            self._timeouts.add(timeout)
            try:
                yield
            finally:
                self._timeouts.discard(timeout)

    def end_soon(self) -> None:
        """The port has stopped."""
        self._seconds = min(self._seconds, self._seconds_at_end)
        end = self._loop.time() + self._seconds_at_end
        for timeout in self._timeouts:
            if not timeout.expired():  # it may be so, and its task not know yet
                timeout.reschedule(min(timeout.when() or end, end))
