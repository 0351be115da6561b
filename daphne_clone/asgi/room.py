"""Where an application's ``send`` waits while its peer does not read; whether it reads is for others to say."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# After this many octets an application that only sends gives the loop a turn, even to a peer that reads as fast: others
# want to be served, and the loss of its own connection can be told in no other way.
MAX_UNBROKEN = 1_048_576


class Room:
    """The waiting senders of one exchange; made when the first of them has to wait."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def is_waited_for(self) -> bool:
        return bool(self._waiters)

    async def wait(self, is_full: Callable[[], bool]) -> None:
        """Let others have a turn, and wait until there is room, asked anew whenever `release` was called."""
        if not is_full():
            await asyncio.sleep(0)
        while is_full():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def release(self) -> None:
        """There may be room, or nobody to have room for."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
