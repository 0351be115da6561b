"""The server from Python: `daphne_clone.run` and `daphne_clone.serve`, whose docstrings say what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daphne_clone import reactor
from daphne_clone.asgi.application import adapt, load_application
from daphne_clone.cli import build_server, endpoint_strings, load_env_file
from daphne_clone.errors import ConfigurationError
from daphne_clone.observe import logs
from daphne_clone.settings import settings_from_options

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from daphne_clone.server import Server
    from daphne_clone.settings import Settings

# What belongs to whoever runs the loop.
_NOT_FOR_GUESTS = ("loop", "log_config", "log_fmt", "log_level", "use_colors", "env_file")


def run(app: Callable[..., object] | str, options: Mapping[str, object]) -> int:
    settings = settings_from_options(**options)
    if settings.env_file is not None:
        load_env_file(settings.env_file)
    logs.configure(settings)
    reactor.install(settings.loop)
    server = _make_server(app, settings)
    server.run()
    return server.exit_status


async def serve(
    app: Callable[..., object] | str,
    shutdown_trigger: Callable[[], Awaitable[object]] | None,
    options: Mapping[str, object],
) -> None:
    for name in _NOT_FOR_GUESTS:
        if name in options:
            raise ConfigurationError(name, options[name], "nothing: serve() leaves the loop and logging to its caller")
    await _make_server(app, settings_from_options(**options)).serve(shutdown_trigger)


def _make_server(app: Callable[..., object] | str, settings: Settings) -> Server:
    from daphne_clone.server import Server  # noqa: PLC0415  # its import installs a reactor, if there is none yet

    if isinstance(app, str):
        app = load_application(app, factory=settings.factory, app_dir=settings.app_dir)
    elif settings.factory:
        app = app()  # type: ignore[assignment]  # what a factory returns is found out by adapt
    return build_server(Server, adapt(app, settings.interface), endpoint_strings(settings), settings)
