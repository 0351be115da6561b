"""Look at what a connection has received without taking it, before any transport has the connection.

What is looked at may be the start of a TLS handshake, and the loop reads that by itself.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any


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
            pass  # and wait out here: who is cancelled inside would drag this exception along
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
    """How long tasks may wait for their peers, each for its own; less once the port they work for has stopped.

    A task that has no more time is cancelled. A timer for each, and not ``asyncio.timeout``: that takes ten times as
    long (1.3 us for 13), which would be a hundredth of what a new TLS connection costs.

    Args:
        loop: The running loop.
        seconds: What each has.
        seconds_at_end: What is left when the port stops, to those that wait and to those that come after.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, seconds_at_end: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._seconds_at_end = seconds_at_end
        self._timers: dict[asyncio.Task[Any], asyncio.TimerHandle] = {}

    def begin(self) -> None:
        """From now on the running task has so long to end."""
        task = asyncio.current_task()
        assert task is not None, "who waits is a task"
        self._timers[task] = self._loop.call_later(self._seconds, task.cancel)
        task.add_done_callback(self._ended)

    def end_soon(self) -> None:
        """The port has stopped."""
        self._seconds = min(self._seconds, self._seconds_at_end)
        end = self._loop.time() + self._seconds_at_end
        for task, timer in self._timers.items():
            if timer.when() > end:
                timer.cancel()
                self._timers[task] = self._loop.call_at(end, task.cancel)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._timers.pop(task).cancel()
