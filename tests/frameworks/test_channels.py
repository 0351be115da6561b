"""The chat of Channels' tutorial over each layer, directly and through nginx, driven by the package websockets."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("channels", reason="the package channels is not installed")
exceptions = pytest.importorskip("websockets.exceptions", reason="the package websockets is not installed")

APP = "chat_site.asgi:application"
APPS = Path(__file__).resolve().parent / "apps"
MEMORY = "channels.layers.InMemoryChannelLayer"
REDIS_LAYERS = ["channels_redis.core.RedisChannelLayer", "channels_redis.pubsub.RedisPubSubChannelLayer"]
KINDS = ["chat", "sync"]  # the two forms of the consumer


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a server, with a database that has the tables."""
    path = tmp_path_factory.mktemp("chat") / "db.sqlite3"
    environment = {"DATABASE": str(path), "DJANGO_SETTINGS_MODULE": "chat_site.settings"}
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--verbosity", "0"],
        env={**os.environ, **environment, "PYTHONPATH": str(APPS)},
        check=True,
        timeout=60,
    )
    return environment


@pytest.fixture(scope="module", params=[MEMORY, *REDIS_LAYERS], ids=lambda layer: layer.rpartition(".")[2])
def servers(request: pytest.FixtureRequest, serve: Any, reached: Any, database: dict[str, str]) -> Iterator[list[Any]]:
    """Two processes that share a layer, of which the first may be behind nginx; with the one in memory, one process."""
    environment = dict(database)
    if request.param != MEMORY:
        environment |= {"CHANNEL_LAYER": request.param, "REDIS_SOCKET": request.getfixturevalue("redis_socket")}
    with contextlib.ExitStack() as stack:
        # Now and then channels_redis swallows the one cancellation that a consumer leaves with, under Daphne just as
        # here: then it lives on until the server's patience is at its end, which a test need not wait ten seconds for.
        options = ("--application-close-timeout", "1")
        first = stack.enter_context(serve(APP, *options, environment=environment))
        second = first
        if request.param != MEMORY:
            second = stack.enter_context(serve(APP, *options, environment=environment))
            first.tolerated = second.tolerated = "its application was still running 1 s after the client had gone"
        stack.enter_context(reached(first))
        yield [first, second]


@pytest.fixture
def rooms(servers: list[Any]) -> Iterator[list[Any]]:
    yield servers
    for server in servers:
        assert not server.faults()


@pytest.fixture
def join(connect: Any) -> Callable[..., Any]:
    """Connect as a page of the site would: without an Origin the validator lets nobody in."""
    return functools.partial(connect, origin="http://127.0.0.1")


def say(websocket: Any, message: str) -> None:
    websocket.send(json.dumps({"message": message}))


def heard(websocket: Any) -> dict[str, str]:
    told: dict[str, str] = json.loads(websocket.recv())
    return told


def test_page_of_a_room_is_served(rooms: list[Any]) -> None:
    with urllib.request.urlopen(f"{rooms[0].url}/chat/lobby/", timeout=10) as response:
        assert b'<script id="room-name" type="application/json">"lobby"</script>' in response.read()


@pytest.mark.parametrize("kind", KINDS)
def test_both_clients_of_a_room_see_each_message(rooms: list[Any], join: Any, kind: str) -> None:
    path = f"/ws/{kind}/lobby/"
    with join(rooms[0], path) as first, join(rooms[1], path) as second:
        for speaker, message in ((first, "hello"), (second, "Åsa 🍵"), (first, ""), (second, "x" * 100_000)):
            say(speaker, message)
            assert heard(first) == heard(second) == {"message": message, "by": "AnonymousUser"}


@pytest.mark.parametrize("kind", KINDS)
def test_messages_keep_their_order(rooms: list[Any], join: Any, kind: str) -> None:
    with join(rooms[0], f"/ws/{kind}/order/") as first, join(rooms[1], f"/ws/{kind}/order/") as second:
        for number in range(50):
            say(first, str(number))
        for websocket in (first, second):
            assert [heard(websocket)["message"] for _ in range(50)] == [str(number) for number in range(50)]


@pytest.mark.parametrize("kind", KINDS)
def test_other_rooms_see_nothing(rooms: list[Any], join: Any, kind: str) -> None:
    with join(rooms[0], f"/ws/{kind}/one/") as one, join(rooms[1], f"/ws/{kind}/other/") as other:
        say(one, "only here")
        assert heard(one)["message"] == "only here"
        say(other, "there")
        assert heard(other)["message"] == "there"


@pytest.mark.parametrize("kind", KINDS)
def test_user_of_the_session_speaks(rooms: list[Any], join: Any, kind: str) -> None:
    with urllib.request.urlopen(f"{rooms[0].url}/login/Bo/", timeout=10) as response:
        cookie = next(value for value in response.headers.get_all("set-cookie") if value.startswith("sessionid="))
    fields = {"cookie": cookie.partition(";")[0]}
    with join(rooms[0], f"/ws/{kind}/user/", additional_headers=fields) as websocket:
        say(websocket, "hello")
        assert heard(websocket) == {"message": "hello", "by": "Bo"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["close", "FIN", "RST"])
def test_client_that_leaves_is_missed_by_nobody(rooms: list[Any], join: Any, kind: str, how: str) -> None:
    room = f"leaving_{kind}_{how}"
    with join(rooms[0], f"/ws/{kind}/{room}/") as first:
        with join(rooms[1], f"/ws/{kind}/{room}/") as second:
            if how == "close":
                second.close(1000)
            else:
                second.vanish(reset=how == "RST")
        rooms[1].wait_for_log(f"left {room}: {1000 if how == 'close' else 1006}")
        say(first, "still here")
        assert heard(first)["message"] == "still here"


@pytest.fixture(scope="module")
def server_without_redis(serve: Any, database: dict[str, str]) -> Iterator[Any]:
    # Of a consumer that was refused at once channels_redis swallows the cancellation, and it lives on under any server.
    with serve(APP, environment=database) as server:
        yield server


@pytest.mark.parametrize("origin", ["http://evil.example", "null", None])
def test_other_origins_are_403(server_without_redis: Any, join: Any, origin: str | None) -> None:
    with pytest.raises(exceptions.InvalidStatus) as caught, join(server_without_redis, "/ws/chat/room/", origin=origin):
        pass
    assert caught.value.response.status_code == 403
    assert not server_without_redis.faults()


def test_unknown_path_is_an_error_of_the_routing(rooms: list[Any], join: Any) -> None:
    # Channels' URLRouter raises, before anything was accepted.
    with rooms[0].expecting("No route found for path 'ws/nothing/'"):
        with pytest.raises(exceptions.InvalidStatus) as caught, join(rooms[0], "/ws/nothing/"):
            pass
        assert caught.value.response.status_code == 500


@pytest.mark.parametrize("loop", ["auto", "asyncio"])
def test_server_stops_with_people_in_the_room(serve: Any, join: Any, database: dict[str, str], loop: str) -> None:
    with serve(APP, "--loop", loop, environment=database) as server:
        with join(server, "/ws/chat/last/") as first, join(server, "/ws/sync/last/") as second:
            say(first, "hello")
            assert heard(first) == heard(second)
            server.terminate()
            assert first.closed_with()[0] == second.closed_with()[0] == 1012
        assert server.log().count("left last: 1012") == 2
