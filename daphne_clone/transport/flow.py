"""The write side's flow control: the loop's high-water mark, made known to producers and to coroutines that wait.

This module does not know how a connection begins and ends; ``stream`` does.

Source: the docstrings of IConsumer, IPushProducer and IPullProducer in ``twisted.internet.interfaces``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, cast

from twisted.internet.interfaces import IProducer, IPullProducer, IPushProducer
from twisted.logger import Logger

from daphne_clone.errors import ClientDisconnected

_log = Logger()

# Up to this many bytes are copied into one piece to save a system call, on loops without a gathering write. It is the
# loop's own high-water mark: what is larger is about to wait for the peer anyway.
_JOIN_MAX_BYTES: Final = 65536

# The loops' own mark for a socket. Theirs for TLS is 512 KiB: 500 MB for a thousand clients that do not read.
HIGH_WATER_BYTES: Final = 65536


def drop(_data: object) -> None:
    """Stand in for ``write``, ``writeSequence`` and ``data_received`` when there is no connection to speak of."""


class WriteFlow(asyncio.BaseProtocol):
    """The part of a transport that follows the loop transport's write buffer.

    Args:
        loop: The loop that carries the connection.

    Attributes:
        write: ``(bytes) -> None``; the loop transport's own while the connection can be written to, ``drop`` before and
            after. Read it from here for each use: a bound ``write`` kept from before outlives ``loseConnection``.
        writeSequence: ``(Iterable[bytes]) -> None``; large pieces are not joined.
        connected: True from ``makeConnection`` until just before ``connectionLost``.
        disconnecting: True once the connection was told to close, by either side; it may still be flushing.
        writing_paused: True while more than the high-water mark (64 KiB) waits to be sent.
    """

    __slots__ = (
        "_loop",
        "_producer",
        "_producer_paused",
        "_pull_handle",
        "_streaming",
        "_transport",
        "_waiters",
        "connected",
        "disconnecting",
        "write",
        "writeSequence",
        "writing_paused",
    )

    write: Callable[[bytes], None]
    writeSequence: Callable[[Iterable[bytes]], None]

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport = cast(asyncio.Transport, None)  # set by connection_made, before anything can read it
        self._producer: IPushProducer | IPullProducer | None = None
        self._producer_paused = False
        self._streaming = False
        self._pull_handle: asyncio.Handle | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self.connected = False
        self.disconnecting = False
        self.writing_paused = False
        self.write = self.writeSequence = drop

    def _producer_gone(self) -> None:
        """Called when the producer was unregistered: a close that waited for it can happen."""
        raise NotImplementedError

    # asyncio.BaseProtocol: called by the loop

    def pause_writing(self) -> None:
        self.writing_paused = True
        producer = self._producer
        if producer is not None and self._streaming and not self._producer_paused:
            self._producer_paused = True
            cast(IPushProducer, producer).pauseProducing()  # streaming: IPushProducer

    def resume_writing(self) -> None:
        self.writing_paused = False
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self._producer is None:
            return
        if not self._streaming:
            self._pull()
        elif self._producer_paused:
            self._producer_paused = False
            self._producer.resumeProducing()

    # IConsumer

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let ``producer`` follow the write buffer; while it is registered the connection is not closed by us.

        Args:
            producer: An IPushProducer, or an IPullProducer that is asked whenever the write buffer is empty.
            streaming: True for an IPushProducer. It is paused at once if the buffer is over its mark already.

        Raises:
            RuntimeError: Another producer is registered.
        """
        if self._producer is not None:
            raise RuntimeError(f"cannot register {producer!r}: {self._producer!r} was never unregistered")
        if self.disconnecting or not self.connected:
            producer.stopProducing()
            return
        self._streaming = streaming
        self._producer_paused = False
        if streaming:
            self._producer = cast(IPushProducer, producer)  # the caller says so
            if self.writing_paused:
                self.pause_writing()
            return
        self._producer = cast(IPullProducer, producer)  # the caller says so
        self.write = self._write_pulled
        self.writeSequence = self._write_each
        self._transport.set_write_buffer_limits(high=0)  # resume_writing() then means: all is sent
        self._pull()

    def unregisterProducer(self) -> None:
        """Forget the producer; a close that waited for it happens now."""
        if self._producer is None:
            return
        self._producer = None
        if self.write is drop:
            return
        if not self._streaming:
            self._forget_pull()
            self._bind_writes()
            self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self._producer_gone()

    # Ours

    def getWriteBufferSize(self) -> int:
        """Return how many bytes were written and are not yet with the kernel; 0 after the connection is lost."""
        return self._transport.get_write_buffer_size() if self.connected else 0

    async def wait_for_room(self) -> None:
        """Return when the write buffer is below its mark again, at once if it is.

        Raises:
            ClientDisconnected: The connection is lost or closing: what is written goes nowhere.
        """
        while True:
            if self.write is drop:
                raise ClientDisconnected("the connection is closed")
            if not self.writing_paused:
                return
            await self.next_change()

    async def flush(self) -> None:
        """Return when everything written is with the kernel. A streaming producer is paused until then.

        Raises:
            ClientDisconnected: The connection is lost or closing.
        """
        if self.write is drop:
            raise ClientDisconnected("the connection is closed")
        if not self._transport.get_write_buffer_size():
            return
        self._transport.set_write_buffer_limits(high=0)  # resume_writing() then means: all is sent
        try:
            await self.wait_for_room()
        finally:
            if self.connected:
                self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)

    def next_change(self) -> asyncio.Future[None]:
        """Return a future that is done when the buffer has room again; ClientDisconnected when the connection is lost.

        Its receiver may set it too, if it waits for something else and for the loss of the connection.
        """
        waiter = self._loop.create_future()
        self._waiters.add(waiter)
        waiter.add_done_callback(self._waiters.discard)
        return waiter

    # For the transport

    def _bind_writes(self) -> None:
        """Put the loop transport's own methods into the slots."""
        transport = self._transport
        self.write = transport.write
        if isinstance(self._loop, asyncio.SelectorEventLoop) and transport.can_write_eof():
            # asyncio's plain sockets: writelines() joins whatever it is given before Python 3.12, and does not call
            # pause_writing() in 3.12.0 to 3.12.8 and 3.13.0 to 3.13.1 (CVE-2024-12254).
            self.writeSequence = self._write_each
        else:
            self.writeSequence = transport.writelines

    def _stop_writing(self) -> None:
        self.write = self.writeSequence = drop

    def _fail_waiters(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(ClientDisconnected("the connection was lost"))

    def _stop_producer(self) -> None:
        self._forget_pull()
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                producer.stopProducing()
            except Exception:  # noqa: BLE001 - connectionLost must follow
                _log.failure("stopProducing of {producer} failed", producer=producer)

    def _write_each(self, pieces: Iterable[bytes]) -> None:
        pieces = list(pieces)
        if sum(map(len, pieces)) <= _JOIN_MAX_BYTES:
            self.write(b"".join(pieces))
            return
        for piece in pieces:
            self.write(piece)

    def _write_pulled(self, data: bytes) -> None:
        self._transport.write(data)
        if not self.writing_paused and self._pull_handle is None:
            # All of it went to the kernel. Ask for more from the loop: a producer that is asked inside its own
            # resumeProducing() recurses.
            self._pull_handle = self._loop.call_soon(self._pull)

    def _pull(self) -> None:
        self._forget_pull()
        if self._producer is not None and not self.writing_paused:
            self._producer.resumeProducing()

    def _forget_pull(self) -> None:
        if self._pull_handle is not None:
            self._pull_handle.cancel()
            self._pull_handle = None
