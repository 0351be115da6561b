"""A Twisted-based ASGI server; importing the package imports nothing heavy.

`run` and `serve` are the ways in for programs; the command line is in `daphne_clone.cli`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__version__ = "0.1.0"


def run(app: Callable[..., object] | str, **options: object) -> int:
    """Serve an application until SIGTERM or SIGINT, in a reactor of its own: once in a process.

    Args:
        app: An application, or ``"module:attribute.path"`` of one.
        options: As on the command line, with underscores: ``bind``, ``port``, ``timeout_keep_alive``...

    Returns:
        What the process should exit with; 0 is a normal end.

    Raises:
        ConfigurationError: An option is unknown or has a value that cannot be used.
        ApplicationLoadError: There is no such application.
    """
    from daphne_clone import embedding  # noqa: PLC0415  # not before it is needed

    return embedding.run(app, options)


async def serve(
    app: Callable[..., object] | str,
    *,
    shutdown_trigger: Callable[[], Awaitable[object]] | None = None,
    **options: object,
) -> None:
    """Serve an application inside a loop that is running already, until told to stop.

    Args:
        app: As for `run`.
        shutdown_trigger: Awaited once; when it returns, the server stops gracefully. None is SIGTERM or SIGINT.
        options: As for `run`, but for those on logging and the loop, which are the caller's own.

    Raises:
        ConfigurationError: An option is unknown or has a value that cannot be used.
        ApplicationLoadError: There is no such application.
        ListenError: An endpoint cannot be listened on.
        LifespanFailed: The application refused to start.
    """
    from daphne_clone import embedding  # noqa: PLC0415  # not before it is needed

    await embedding.serve(app, shutdown_trigger, options)
