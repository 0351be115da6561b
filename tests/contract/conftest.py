"""One server for each module, and the clients that its tests run with: one for each HTTP version, when there are more.

A module may say which `APPLICATION` its server runs, and with which `OPTIONS`. Tests that use `client` hold for every
version of HTTP; those that use `connect` are about the bytes of HTTP/1.1. WebSockets are opened by `websocket`, a
client that knows the rules, and by `session`, one that sends whatever octets a test wants.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as connect_websocket

from tests.support.app_side import AppSide
from tests.support.h2_client import H2Connection
from tests.support.h2_exchanges import Client as H2Client
from tests.support.h2_websocket import StreamSession
from tests.support.http1 import Client, Connection, Field
from tests.support.server_process import ServerProcess
from tests.support.ws_client import Session, handshake

_keys = itertools.count()


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    application = getattr(request.module, "APPLICATION", "apps:application")
    with ServerProcess(application, getattr(request.module, "OPTIONS", ())) as process:
        yield process


@pytest.fixture(params=[Client, H2Client], ids=["h1", "h2"])
def client(request: pytest.FixtureRequest, server: ServerProcess) -> Client | H2Client:
    made: Client | H2Client = request.param(server.address)
    return made


@pytest.fixture
def connect(server: ServerProcess) -> Iterator[Callable[..., Connection]]:
    """Open connections to the server; they are closed behind the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Connection(server.address, **options))


@pytest.fixture
def websocket(server: ServerProcess) -> Iterator[Callable[..., ClientConnection]]:
    """Open WebSockets at a target of the server; they are closed behind the test."""
    with ExitStack() as stack:

        def opened(target: str, **options: Any) -> ClientConnection:
            uri = "ws://{}:{}".format(*server.address) + target
            client = connect_websocket(uri, proxy=None, **{"open_timeout": 5, "close_timeout": 5, **options})
            return stack.enter_context(client)

        yield opened


def open_on_h1(stack: ExitStack, server: ServerProcess, target: str, fields: Iterable[Field], options: Any) -> Session:
    session = stack.enter_context(Session(server.address, **options))
    session.send(handshake(target, fields))
    return session


def open_on_h2(
    stack: ExitStack, server: ServerProcess, target: str, fields: Iterable[Field], options: Any
) -> StreamSession:
    connection = stack.enter_context(H2Connection(server.address, **options))
    connection.handshake()
    return StreamSession(connection, target, fields)


OPENERS = {"h1": open_on_h1, "h2": open_on_h2}


@pytest.fixture(params=OPENERS)
def session(request: pytest.FixtureRequest, server: ServerProcess) -> Iterator[Callable[..., Session | StreamSession]]:
    """Open WebSockets at a target of the server, up to the answer; they are closed behind the test."""
    with ExitStack() as stack:

        def opened(target: str, fields: Iterable[Field] = (), **options: Any) -> Session | StreamSession:
            session: Session | StreamSession = OPENERS[request.param](stack, server, target, fields, options)
            session.opened()
            return session

        yield opened


@pytest.fixture
def app(server: ServerProcess) -> AppSide:
    return AppSide(server.address, f"k{next(_keys)}")
