"""A real `Server` with its exchanges and connections, on a loop of the test's, over transports in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from daphne_clone.http_protocol import HTTPFactory
from daphne_clone.server import Server
from daphne_clone.settings import Settings
from tests.support.connections import FileTransport

# No settled state takes this many turns of the loop; whoever needs more hangs.
MAX_TURNS = 3000

# A state in which nothing has happened for this many turns is settled: an application's send and its end take two.
QUIET_TURNS = 6


class Harness:
    """Serves an application to connections in memory; no lifespan, no listening socket, no periodic work of its own.

    Attributes:
        failures: What the loop's exception handler was told.
    """

    def __init__(self, application: Any, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        # HTTP/1.1 alone, unless asked for: what streams of bytes begin with decides on nothing else then.
        settings = Settings(**{"date_header": False, "lifespan": "off", "http2": False, **options})
        self.server = Server(application, endpoints=["tcp:0"], server_name="", settings=settings)
        self.server._prepare(None, loop)
        self.loop = loop
        self.failures: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: self.failures.append(context))

    def forget(self) -> None:
        """Begin with empty caches."""
        self.server._http_factory = HTTPFactory(self.server)

    @property
    def factory(self) -> HTTPFactory:
        factory = self.server._http_factory
        assert factory is not None
        return factory

    def connect(self) -> FileTransport:
        transport = FileTransport()
        transport.connect(self.factory.buildProtocol(None))
        return transport

    async def settle(self, transport: FileTransport) -> None:
        """Turn the loop until nothing changes any more; the end of a connection is told to its protocol."""
        quiet = 0
        before: Any = None
        for _ in range(MAX_TURNS):
            await asyncio.sleep(0)
            if (transport.is_aborted or transport.is_closed) and not transport.is_lost:
                transport.lose()
            state = (len(transport.data), transport.is_open, transport.is_reading, len(self.server.connections))
            quiet = quiet + 1 if state == before else 0
            before = state
            if quiet >= QUIET_TURNS:
                return
        raise AssertionError("the connection does not settle")

    async def deliver(self, transport: FileTransport, pieces: Iterable[bytes], turns: int = 0) -> None:
        """Hand the pieces to the connection, as far as it reads, with this many turns of the loop between two."""
        for piece in pieces:
            if not transport.is_reading:
                await self.settle(transport)
            if not piece or transport.is_aborted or transport.is_closed:
                continue
            assert transport.is_reading, "the connection does not read on"
            transport.protocol.dataReceived(piece)
            for _ in range(turns):
                await asyncio.sleep(0)

    async def end_by_deadlines(self, transport: FileTransport) -> None:
        """Let all time pass: whatever state a connection is in, it must end."""
        clock = self.server.clock
        for _ in range(6):
            if transport.is_lost:
                return
            clock.tick(clock.now + 1000)
            clock.tick(clock.now)
            transport.protocol.check_deadlines()
            await self.settle(transport)
        raise AssertionError("no deadline has ended the connection")
