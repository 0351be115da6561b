"""One server for all these tests, and connections of HTTP/2 to it, one or more for each test.

A module whose server needs other options says which, as `OPTIONS`; it then has one of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support.app_side import AppSide
from tests.support.certificates import Authority
from tests.support.h2_client import H2Connection
from tests.support.server_process import ServerProcess

_keys = itertools.count()

# Applications that never end are in many tests: no test waits for them when the server stops.
PLAIN = ("--timeout-graceful-shutdown", "0.2", "--no-access-log")


@pytest.fixture(scope="session")
def plain_server() -> Iterator[ServerProcess]:
    with ServerProcess("h2_apps:application", PLAIN) as process:
        yield process


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    options = getattr(request.module, "OPTIONS", None)
    if options is None:
        yield request.getfixturevalue("plain_server")
    else:
        with ServerProcess("h2_apps:application", [*PLAIN, *options]) as process:
            yield process


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def tls_server(authority: Authority) -> Iterator[ServerProcess]:
    """The same behind TLS."""
    files = authority.sign("server", ["127.0.0.1", "localhost"])
    options = ["--ssl-certfile", files.certificate, "--ssl-keyfile", files.key]
    with ServerProcess("h2_apps:application", [*PLAIN, *options]) as process:
        yield process


@pytest.fixture
def connect(server: ServerProcess) -> Iterator[Callable[..., H2Connection]]:
    """Open connections to the server; they are closed behind the test."""
    with ExitStack() as stack:

        def opened(*, handshake: bool = True, **options: object) -> H2Connection:
            connection = stack.enter_context(H2Connection(server.address, **options))
            if handshake:
                connection.handshake()
            return connection

        yield opened


@pytest.fixture
def h2(connect: Callable[..., H2Connection]) -> H2Connection:
    """A connection whose handshake is done."""
    return connect()


@pytest.fixture
def app(server: ServerProcess) -> AppSide:
    """What the applications under this test's own key tell."""
    return AppSide(server.address, f"h{next(_keys)}")
