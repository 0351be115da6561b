"""``twistd daphne_clone`` and ``twist daphne_clone``: the server's command line, as the options of Twisted's commands.

Twisted's plugin (twisted/plugins/daphne_clone_plugin.py) names this module, and Twisted looks for `Options` and
`makeService` in it. There is one parser for both command lines, that of `daphne_clone.arguments`.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from twisted.logger import Logger
from twisted.python import usage

from daphne_clone.arguments import build_parser, resolve
from daphne_clone.asgi.application import load_application
from daphne_clone.cli import describe, endpoint_strings
from daphne_clone.config_sources import unknown_variables
from daphne_clone.errors import ApplicationLoadError, ConfigurationError
from daphne_clone.service import ASGIService, asyncio_reactor
from daphne_clone.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME = "daphne_clone"

_log = Logger()


class Options(usage.Options):
    """All options of the server, and the reactor it needs.

    The reactor is installed here, because twist installs the default one right behind.

    Attributes:
        settings: What `parseOptions` made of the arguments, the environment and the config file.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted has not annotated it
        self.settings = Settings()
        command = os.path.basename(sys.argv[0])
        self._parser = build_parser("ASGI server for HTTP and WebSockets, as a service of Twisted's")
        self._parser.prog = f"{command} {_NAME}"
        self._parser.usage = f"{command} [options of {command}] {_NAME} [options] module:attribute"
        self._parser.error = _refuse  # type: ignore[method-assign]  # Twisted's commands catch usage.UsageError

    def __str__(self) -> str:
        return self._parser.format_help()

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse the arguments behind the name of the plugin.

        Raises:
            UsageError: They cannot be used, or another reactor than the one on asyncio is installed.
        """
        try:
            namespace = self._parser.parse_args(None if options is None else list(options))
            resolved = resolve(namespace, os.environ)
            self.settings = settings = resolved.settings
            if not settings.application:
                _refuse("the application is missing: give it as module:attribute")
            asyncio_reactor(settings.loop)
            if namespace.check_config:
                load_application(settings.application, factory=settings.factory, app_dir=settings.app_dir)
                sys.stdout.write(describe(resolved, endpoint_strings(settings)) + "\n")
                sys.exit(0)
        except (ConfigurationError, ApplicationLoadError) as error:
            raise usage.UsageError(str(error)) from error
        for variable, expected in unknown_variables(os.environ).items():
            _log.warn("{variable} has no effect: expected {expected}", variable=variable, expected=expected)


def makeService(options: Options) -> ASGIService:
    """Make the service that the options describe."""
    return ASGIService(options.settings.application, settings=options.settings)


def _refuse(message: str) -> NoReturn:
    raise usage.UsageError(message)
