"""The server as a service of Twisted's: it starts, drains and stops with its parent, in a reactor that others run.

In a ``.tac`` file, beside other services::

    from twisted.application.service import Application
    from daphne_clone.service import ASGIService

    application = Application("mysite")
    ASGIService("mysite.asgi:application", bind="0.0.0.0", port=8000).setServiceParent(application)

What the parent does when, and what the service does then:

==========================  ========================================================================================
``privilegedStartService``  binds: as root, where twistd is to give that up, and before any code of the application's
``startService``            binds, unless it has; opens the log; imports the application. All errors so far are raised
the reactor runs            the application's startup, then connections. An error stops the reactor
``stopService``             stops as the server does on SIGTERM; one more signal cuts it short
==========================  ========================================================================================
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import signal
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import Deferred
from twisted.logger import Logger, LogLevel

from daphne_clone import reactor
from daphne_clone.access import make_access_logger
from daphne_clone.asgi.application import AnyApplication, adapt, load_application
from daphne_clone.cli import build_server, endpoint_strings, load_env_file
from daphne_clone.errors import ConfigurationError
from daphne_clone.observe import logs
from daphne_clone.settings import Settings, settings_from_options

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from asgiref.typing import ASGI3Application

    from daphne_clone.server import Server

_REACTOR_MODULE = "twisted.internet.reactor"

_DEFAULT_LOG_FMT = Settings().log_fmt


def asyncio_reactor(loop: str = "auto") -> AsyncioSelectorReactor:
    """Return the reactor on asyncio, installing it if there is none yet.

    Unlike `reactor.install` it replaces no other: whoever has imported that one would wait for it in vain.

    Args:
        loop: ``"uvloop"``, ``"asyncio"``, or ``"auto"`` for uvloop where it can be imported.

    Raises:
        ConfigurationError: Another reactor is installed already, or one on another loop than asked for.
    """
    installed = sys.modules.get(_REACTOR_MODULE)
    if installed is not None and not isinstance(installed, AsyncioSelectorReactor):
        raise ConfigurationError(
            "reactor",
            type(installed).__name__,
            "the one on asyncio: start with `twistd -r asyncio` or `twist --reactor=asyncio`, or name no reactor; in a "
            ".tac file or a program, make the service before anything imports twisted.internet.reactor",
        )
    found = reactor.install(loop)
    if loop not in ("auto", type(reactor.loop_of(found)).__module__.partition(".")[0]):
        raise ConfigurationError("--loop", loop, "auto: the reactor is installed already, on another loop")
    return found


class ASGIService(Service):
    """A server under a parent service.

    Making it installs the reactor on asyncio, unless that is there already. What else lives in that reactor uses
    Twisted's own transports, which on uvloop are not told of a peer that resets its connection, and process protocols,
    which there hear of no end: so its loop is asyncio's own, unless the options ask for uvloop by name.

    Args:
        app: An application, or ``"module:attribute.path"`` of one, which is imported when the service starts.
        settings: All options; None to make them of the keywords.
        options: As for `daphne_clone.run`.

    Attributes:
        settings: The options.
        server: The server, while the service runs; None before and after.

    Raises:
        ConfigurationError: An option is unknown or has a value that cannot be used, or another reactor is installed.
    """

    def __init__(self, app: AnyApplication | str, *, settings: Settings | None = None, **options: object) -> None:
        self.settings = settings_from_options(**options) if settings is None else settings
        self.server: Server | None = None
        self._app = app
        self._endpoints = endpoint_strings(self.settings)  # before a fork: sockets of systemd's are for this process id
        loop = self.settings.loop
        self._reactor = asyncio_reactor("asyncio" if loop == "auto" and _REACTOR_MODULE not in sys.modules else loop)
        self._loop = reactor.loop_of(self._reactor)
        self._stop_asked = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self._hangup: _Signals | None = None

    # IService

    def privilegedStartService(self) -> None:
        """Bind the endpoints.

        Raises:
            ListenError: One cannot be listened on.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]  # Twisted has not annotated it
        self._bind()

    def startService(self) -> None:
        """Load the application, and serve as soon as the reactor runs.

        Raises:
            ListenError: An endpoint cannot be listened on.
            ApplicationLoadError: There is no application.
            ConfigurationError: The log cannot be written as asked for.
        """
        self._bind()
        assert self.server is not None, "_bind makes it"
        try:
            logs.configure(self.settings, handler=_TwistedHandler(self.settings.log_fmt))
            self.server.application = self._load()
            self.server.action_logger = make_access_logger(self.settings)
        except BaseException:
            self._unbind()
            raise
        super().startService()  # type: ignore[no-untyped-call]  # see above
        self._reactor.callWhenRunning(self._begin)

    def stopService(self) -> Deferred[None] | None:
        """Stop gracefully.

        Returns:
            Fires when all has ended; None when there was nothing to stop.
        """
        super().stopService()  # type: ignore[no-untyped-call]  # see above
        if self._serving is None:
            self._unbind()
            return None
        self._stop_asked.set()
        serving = self._serving
        # Who sends a signal while a service stops does not want to wait. Twisted's own handlers would only complain.
        signals = _Signals(lambda: self._loop.call_soon_threadsafe(serving.cancel), signal.SIGTERM, signal.SIGINT)
        stopped: Deferred[None] = Deferred.fromFuture(asyncio.ensure_future(self._end(serving), loop=self._loop))
        return stopped.addBoth(signals.restore)

    def start_failed(self, status: int) -> None:
        """Stop the reactor, for a parent half of whose services are missing is of no use; an override may do otherwise.

        Args:
            status: What the process should exit with. Twisted's commands have no way to say so, and would exit with 0.
        """
        atexit.register(_exit, status)
        if self._reactor.running:
            self._reactor.stop()  # type: ignore[no-untyped-call]  # see above

    # Ours

    def _bind(self) -> None:
        if self.server is not None:
            return
        from daphne_clone.server import Server  # noqa: PLC0415  # its import replaces a reactor that is not on asyncio

        # The access log belongs to who serves, not to who binds.
        settings = replace(self.settings, access_log_enabled=False)
        server = build_server(Server, _no_application, self._endpoints, settings)
        if not self._loop.is_running():  # otherwise it binds when it begins
            self._loop.run_until_complete(server.bind(self._reactor))
        self.server = server

    def _unbind(self) -> None:
        server, self.server = self.server, None
        if server is not None and not self._loop.is_running():
            self._loop.run_until_complete(server.unbind())

    def _load(self) -> ASGI3Application:
        settings, app = self.settings, self._app
        if settings.env_file is not None:
            load_env_file(settings.env_file)
        if isinstance(app, str):
            app = load_application(app, factory=settings.factory, app_dir=settings.app_dir)
        elif settings.factory:
            made: Any = app()  # what it is, `adapt` finds out
            app = made
        return adapt(app, settings.interface)

    def _begin(self) -> None:
        if self.running and self._serving is None:
            asyncio.set_event_loop(self._loop)  # it may not be the one of `-r asyncio`
            self._stop_asked.clear()
            self._serving = self._loop.create_task(self._serve(), name="daphne_clone service")
            self._renew_on_hangup()

    def _renew_on_hangup(self) -> None:
        """Have SIGHUP read the certificates again, unless somebody else has a use for it."""
        server = self.server
        assert server is not None, "startService makes it"
        if not server.has_tls or sys.platform == "win32" or signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL:
            return
        self._hangup = _Signals(lambda: self._loop.call_soon_threadsafe(server.renew_certificates), signal.SIGHUP)

    async def _serve(self) -> None:
        from daphne_clone.server import tell_of_failed_start  # noqa: PLC0415  # see _bind

        assert self.server is not None, "startService makes it"
        try:
            await self.server.serve(self._stop_asked.wait, reactor=self._reactor)
        except Exception as error:  # noqa: BLE001  # the last line of a task
            self.start_failed(tell_of_failed_start(error))

    async def _end(self, serving: asyncio.Task[None]) -> None:
        await asyncio.wait({serving})
        self._serving = self.server = None
        if self._hangup is not None:
            self._hangup.restore()
            self._hangup = None


async def _no_application(scope: object, receive: object, send: object) -> None:
    """Stand in until the application is loaded; nobody calls it."""


class _Signals:
    """Signals that are taken for a while, from whoever had them before.

    Args:
        callback: Called for each, in a signal handler.
        numbers: Which they are.
    """

    def __init__(self, callback: Callable[[], object], *numbers: int) -> None:
        self._before: dict[int, Any] = {}
        if threading.current_thread() is not threading.main_thread():
            return

        def handle(signum: int, frame: FrameType | None) -> None:
            callback()

        # Not the loop's: adding a handler there takes the wake-up descriptor from Twisted, which then hears of no
        # child's end. Other services may wait for one.
        for signum in numbers:
            self._before[signum] = signal.signal(signum, handle)

    def restore(self, result: object = None) -> object:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        return result


class _TwistedHandler(logging.Handler):
    """Hands the records of ``logging`` to Twisted's log, which here is twistd's.

    Args:
        log_fmt: The form of a line, unless it is the default: that begins with the time, and so do Twisted's lines.
    """

    def __init__(self, log_fmt: str) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s" if log_fmt == _DEFAULT_LOG_FMT else log_fmt))
        self._is_busy = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; called with the handler's lock held."""
        if self._is_busy:
            return  # Twisted's log goes to `logging`, which is where this came from
        self._is_busy = True
        try:
            log = Logger(namespace=record.name)
            log.emit(_level(record.levelno), "{text}", text=self.format(record))
        except Exception:  # noqa: BLE001  # as every handler of logging
            self.handleError(record)
        finally:
            self._is_busy = False


def _level(number: int) -> Any:  # noqa: ANN401  # a constant of constantly's, which has no type
    for least, level in (
        (logging.CRITICAL, LogLevel.critical),
        (logging.ERROR, LogLevel.error),
        (logging.WARNING, LogLevel.warn),
        (logging.INFO, LogLevel.info),
    ):
        if number >= least:
            return level
    return LogLevel.debug


def _exit(status: int) -> None:
    """Exit with a status from within ``atexit``, when all others that are registered there have had their turn."""
    atexit.unregister(_exit)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(status)
