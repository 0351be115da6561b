"""WebSocket servers to load and to check: the `websockets` library's for right answers, fixed bytes for wrong ones."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

Conversation = Callable[[ServerConnection], Awaitable[None]]


@contextmanager
def serving(conversation: Conversation, **options: Any) -> Iterator[int]:
    """A port where every WebSocket connection runs ``conversation``; ``options`` are those of ``websockets.serve``."""
    options = {"compression": None} | options
    ports: list[int] = []
    ready = threading.Event()
    stopped = asyncio.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        async with serve(conversation, "127.0.0.1", 0, backlog=1024, **options) as server:
            ports.append(next(iter(server.sockets)).getsockname()[1])
            ready.set()
            await stopped.wait()

    def in_thread() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(run())

    thread = threading.Thread(target=in_thread)
    thread.start()
    try:
        assert ready.wait(10)
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(30)
        assert not thread.is_alive()


class Echo:
    """Sends every message back, through ``change`` where there is one, and remembers all that came."""

    def __init__(self, change: Callable[[str], Any] = lambda text: text) -> None:
        self.received: list[str] = []
        self.close_codes: list[int | None] = []
        self._change = change

    async def __call__(self, connection: ServerConnection) -> None:
        try:
            async for message in connection:
                assert isinstance(message, str)
                self.received.append(message)
                await connection.send(self._change(message))
        except ConnectionClosed:
            pass
        finally:
            self.close_codes.append(connection.close_code)


class Fanout:
    """Sends every message to all other connections.

    Args:
        also_back: send it to the connection that it came from too, and there first.
    """

    def __init__(self, *, also_back: bool = False) -> None:
        self.received: list[str] = []
        self._also_back = also_back
        self._all: set[ServerConnection] = set()

    async def __call__(self, connection: ServerConnection) -> None:
        self._all.add(connection)
        try:
            async for message in connection:
                assert isinstance(message, str)
                self.received.append(message)
                if self._also_back:
                    broadcast({connection}, message)
                broadcast(self._all - {connection}, message)
        except ConnectionClosed:
            pass
        finally:
            self._all.discard(connection)


@contextmanager
def answering(
    *answers: bytes, to: Sequence[int] = (), received: list[bytes] | None = None, receive_buffer: int | None = None
) -> Iterator[int]:
    """A port where the first connection gets one of ``answers`` for each thing it sends, and is then closed.

    Args:
        to: how many bytes each thing has, where it may come in pieces or together with the next.
        received: a list that takes all that came.
        receive_buffer: size of the connection's receive buffer in bytes; ``None`` for the system's own.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if receive_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                for one, size in zip_longest(answers, to):
                    came = connection.recv(65536) if size is None else connection.recv(size, socket.MSG_WAITALL)
                    if received is not None:
                        received.append(came)
                    connection.sendall(one)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join(5)
