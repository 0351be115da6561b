"""A fixture for pytest that starts servers; in a ``conftest.py``: ``pytest_plugins = ["daphne_clone.pytest_plugin"]``.

It is not an entry point: pytest would import it, and rewrite the assertions of this package, in every test run on a
machine where the server is installed.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import pytest

from daphne_clone.live import LiveServer, live_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daphne_clone.asgi.application import AnyApplication


class StartServer(Protocol):
    """What the fixture `asgi_server` is: a function with the arguments of `daphne_clone.live.live_server`."""

    def __call__(self, app: AnyApplication | str, *, start_timeout: float = ..., **options: object) -> LiveServer: ...


@pytest.fixture
def asgi_server() -> Iterator[StartServer]:
    """Start servers for the length of a test: ``asgi_server("mysite.asgi:application").url``.

    For servers that live longer, `daphne_clone.live.live_server` can be used in a fixture of another scope.
    """
    with ExitStack() as stack:

        def start(app: AnyApplication | str, **options: object) -> LiveServer:
            return stack.enter_context(live_server(app, **options))  # type: ignore[arg-type]  # start_timeout is among them

        yield start
