"""A server for tests of applications: on a free port, in a process of its own, for the length of a ``with`` block.

It is the server as users run it, with the options of the command line; Daphne's helpers are in `testing`.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from daphne_clone.asgi.application import AnyApplication, load_application
from daphne_clone.cli import build_server, endpoint_strings, load_env_file
from daphne_clone.errors import ConfigurationError
from daphne_clone.observe import logs
from daphne_clone.options.network import parse_bind
from daphne_clone.settings import DEFAULT_HOST, find_option, settings_from_options
from daphne_clone.testing import DRAIN_S, START_S, DaphneProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asgiref.typing import ASGI3Application

    from daphne_clone.server import Server
    from daphne_clone.settings import Settings

# Sockets that a test could not be told the address of.
_NOT_HERE = ("unix_socket", "file_descriptor", "endpoints")


@dataclass(frozen=True, slots=True)
class LiveServer:
    """Where a running server is.

    Attributes:
        host: The address it listens on.
        port: The TCP port.
    """

    host: str
    port: int

    @property
    def url(self) -> str:
        """``http://host:port``, without a slash behind."""
        return f"http://{self._authority}"

    @property
    def ws_url(self) -> str:
        """``ws://host:port``, likewise."""
        return f"ws://{self._authority}"

    @property
    def _authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@contextmanager
def live_server(
    app: AnyApplication | str, *, start_timeout: float = START_S, **options: object
) -> Iterator[LiveServer]:
    """Serve an application in another process while the block lasts; any number of them may run side by side.

    Args:
        app: An application, or ``"module:attribute.path"`` of one. Where `multiprocessing` does not fork (from Python
            3.14 on it does not unless told to), an object must be one that can be pickled.
        start_timeout: How long the server may take to listen, in seconds.
        options: As for `daphne_clone.run`. By default it listens on a free port of 127.0.0.1 and, when it stops, gives
            running requests a second to end.

    Raises:
        ConfigurationError: An option is unknown or has a value that cannot be used.
        RuntimeError: The server did not start; the traceback from its process is in the message.
    """
    process = _LiveServerProcess(app, _settings(options))
    process.start()
    try:
        process.wait_until_ready(start_timeout)
        yield LiveServer(process.host, process.port.value)
    finally:
        process.end()


def _settings(options: dict[str, object]) -> Settings:
    rows = {row.name: keyword for keyword in options if (row := find_option(keyword)) is not None}
    for name in _NOT_HERE:
        if name in rows:
            raise ConfigurationError(rows[name], options[rows[name]], "a TCP address, given by host and port")
    defaults = {"bind": DEFAULT_HOST, "port": 0, "timeout_graceful_shutdown": DRAIN_S}
    return settings_from_options(**options, **{name: value for name, value in defaults.items() if name not in rows})


class _LiveServerProcess(DaphneProcess):
    """A `DaphneProcess` with all the options of the server."""

    def __init__(self, app: AnyApplication | str, settings: Settings) -> None:
        target = parse_bind(settings.bind[0])
        if len(settings.bind) != 1 or target.host is None:
            raise ConfigurationError("bind", settings.bind, "one TCP address")
        super().__init__(target.host, partial(_load, app, settings))
        self.settings = settings
        self._loop = settings.loop

    def make_server(self, application: ASGI3Application) -> Server:
        from daphne_clone.server import Server  # noqa: PLC0415  # not before this process has its own reactor

        server = build_server(Server, application, endpoint_strings(self.settings), self.settings)
        server.signal_handlers = False
        server.ready_callable = self.announce
        return server


def _load(app: AnyApplication | str, settings: Settings) -> AnyApplication:
    logs.configure(settings)
    if settings.env_file is not None:
        load_env_file(settings.env_file)
    if isinstance(app, str):
        return load_application(app, factory=settings.factory, app_dir=settings.app_dir)
    if settings.factory:
        make: Callable[[], AnyApplication] = app  # type: ignore[assignment]  # what a factory is
        return make()
    return app
