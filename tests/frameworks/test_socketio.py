"""A python-socketio server, directly and through nginx, driven by its own client over each transport."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

socketio = pytest.importorskip("socketio", reason="the package python-socketio is not installed")
pytest.importorskip("aiohttp", reason="the package aiohttp is not installed: python-socketio's client needs it")

# The client leaves connections of its own open when its transport changes or the server closes.
pytestmark = pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning")

ALLOWED_S = 30.0  # for a test; each waits for what should take less than a second
Client = Any  # the library has no types

TRANSPORTS = {"websocket": ["websocket"], "polling": ["polling"], "upgrade": ["polling", "websocket"]}


@pytest.fixture(scope="module")
def running(serve: Any, reached: Any) -> Iterator[Any]:
    with serve("socketio_app:app") as server, reached(server):
        yield server


@pytest.fixture
def server(running: Any) -> Iterator[Any]:
    yield running
    assert not running.faults()


@pytest.fixture(autouse=True)
def collect_what_the_client_forgot() -> Iterator[None]:
    """Before a test elsewhere is blamed for it."""
    yield
    gc.collect()


@pytest.fixture(params=list(TRANSPORTS))
def transports(request: pytest.FixtureRequest) -> list[str]:
    return TRANSPORTS[request.param]


def talk(server: Any, transports: list[str], what: Callable[..., Awaitable[None]], *names: str) -> None:
    """Run a conversation of connected clients, one for each name."""

    async def conversation() -> None:
        clients = [socketio.AsyncSimpleClient() for _ in names]
        try:
            for client, name in zip(clients, names, strict=True):
                await client.connect(server.url, transports=transports, auth={"name": name}, wait_timeout=5)
                assert client.transport == transports[-1]
            await what(*clients)
        finally:
            await asyncio.gather(*(client.disconnect() for client in clients))

    asyncio.run(asyncio.wait_for(conversation(), ALLOWED_S))


def test_events_are_acknowledged(server: Any, transports: list[str]) -> None:
    async def conversation(client: Client) -> None:
        assert await client.call("whoami") == {"transport": transports[-1], "name": "Åsa"}
        for value in ("", "Åsa 🍵", [1, {"a": None}], {"nested": {"list": [True]}}):
            assert await client.call("echo", value) == value

    talk(server, transports, conversation, "Åsa")


def test_binary_data_arrive_whole(server: Any, transports: list[str]) -> None:
    async def conversation(client: Client) -> None:
        # Each bytes object travels as a message of its own.
        for value in (b"", b"\0\xff", {"first": os.urandom(100_000), "second": [os.urandom(1000), "text"]}):
            assert await client.call("echo", value) == value

    talk(server, transports, conversation, "Åsa")


def test_rooms_reach_their_members(server: Any, transports: list[str]) -> None:
    async def conversation(first: Client, second: Client, other: Client) -> None:
        for client in (first, second):
            await client.emit("join", "tea")
            assert await client.receive(timeout=5) == ["joined", "tea"]
        await other.emit("say", ("tea", "hello"))
        for client in (first, second):
            assert await client.receive(timeout=5) == ["said", "hello"]
        # What `other` receives next is its own: nothing of the room's came before it.
        await other.emit("join", "coffee")
        assert await other.receive(timeout=5) == ["joined", "coffee"]

    talk(server, transports, conversation, "Åsa", "Bo", "Eve")


def test_server_emits_by_itself(server: Any, transports: list[str]) -> None:
    async def conversation(client: Client) -> None:
        await client.emit("count", 50)
        assert [await client.receive(timeout=5) for _ in range(50)] == [["number", number] for number in range(50)]

    talk(server, transports, conversation, "Åsa")


def test_connection_outlives_heartbeats(server: Any, transports: list[str]) -> None:
    async def conversation(client: Client) -> None:
        # Without answers to its heartbeats the server would give up well before this is over.
        await asyncio.sleep(2)
        assert await client.call("echo", "still here") == "still here"

    talk(server, transports, conversation, "Åsa")


def test_refusal_reaches_the_client(server: Any, transports: list[str]) -> None:
    async def conversation() -> None:
        refusals: list[Any] = []
        client = socketio.AsyncClient(reconnection=False)
        client.on("connect_error", refusals.append)
        try:
            with pytest.raises(socketio.exceptions.ConnectionError):
                await client.connect(f"{server.url}?refuse", transports=transports, wait_timeout=5)
        finally:
            await client.disconnect()
        assert refusals == [{"message": "who are you?"}]

    asyncio.run(asyncio.wait_for(conversation(), ALLOWED_S))


def test_leaving_reaches_the_server(server: Any, transports: list[str]) -> None:
    name = f"leaving {transports}"

    async def conversation(client: Client) -> None:
        await client.call("echo", "hello")

    talk(server, transports, conversation, name)
    # Over a WebSocket the client closes the transport behind its packet, and either may be seen first. What must not be
    # needed is that heartbeats stay away.
    server.wait_for_log(f"left: {name} ")
    assert f"left: {name} ping timeout" not in server.log()


def test_disconnection_by_the_server_reaches_the_client(server: Any, transports: list[str]) -> None:
    name = f"sent away {transports}"

    async def conversation() -> None:
        gone = asyncio.Event()
        client = socketio.AsyncClient(reconnection=False)

        async def disconnected(reason: str) -> None:
            gone.set()

        client.on("disconnect", disconnected)
        await client.connect(server.url, transports=transports, auth={"name": name}, wait_timeout=5)
        await client.emit("leave")
        await asyncio.wait_for(gone.wait(), 5)
        await client.disconnect()

    asyncio.run(asyncio.wait_for(conversation(), ALLOWED_S))
    server.wait_for_log(f"left: {name} server disconnect")


@pytest.mark.parametrize("loop", ["auto", "asyncio"])
def test_server_stops_with_clients_connected(serve: Any, loop: str) -> None:
    async def conversation(first: Client, second: Client) -> None:
        assert await first.call("echo", 1) == await second.call("echo", 1)
        await asyncio.to_thread(server.terminate)  # the clients must be able to answer meanwhile

    with serve("socketio_app:app", "--loop", loop) as server:
        talk(server, ["websocket"], conversation, "Åsa", "Bo")
