"""The action loggers, which write a line for what happened: Daphne's, and the one that goes through ``logging``.

CPU time of a line on CPython 3.11, write to a file included, with a browser's 14 headers: daphne 3.0 us, json 5.0 us,
gunicorn's combined atoms 5.5 us. ``logging`` alone takes 5.5 us for a line that is ready, so `AccessLog` goes past it
where nobody would notice.
"""

from __future__ import annotations

import logging
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO
from weakref import WeakSet

from daphne_clone.access.details import VERBS, AccessDetails
from daphne_clone.access.formats import Renderer, clf_time, common_line, daphne_facts, local, make_renderer
from daphne_clone.access.outputs import FileOutput, Output
from daphne_clone.errors import ConfigurationError
from daphne_clone.loggers import get_logger

if TYPE_CHECKING:
    from daphne_clone.settings import Settings

LOGGER_NAME = "daphne_clone.access"

# The package's own name is that of the access log, where an error message would be taken for a request.
_log = get_logger("daphne_clone")


class AccessLogGenerator:
    """Daphne's action logger: writes lines in Daphne's form to a text stream.

    A stream that fails is reported once, on logger ``daphne_clone``, until it works again; requests are served still.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._output = Output(stream)
        self._second = 0
        self._date = datetime.fromtimestamp(0, UTC)
        self._stamp = ""

    def __call__(self, protocol: str, action: str, details: AccessDetails) -> None:
        if (protocol, action) not in VERBS:
            return
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._date = local(second)
            self._stamp = clf_time(self._date)
        host, request, status, length = daphne_facts(protocol, action, details)
        self.write_entry(host=host, date=self._date, request=request, status=status, length=length)

    def write_entry(
        self,
        host: str | None,
        date: datetime,
        request: str,
        status: int | None = None,
        length: int | None = None,
        ident: str | None = None,
        user: str | None = None,
    ) -> None:
        """Write one line in the form of NCSA's common log; None, empty and 0 are written as ``-``, as Daphne does."""
        # the cached text belongs to that very object
        stamp = self._stamp if date is self._date else clf_time(date)
        self._output.write_line(common_line(host, ident, user, stamp, request, status, length))


def make_access_logger(settings: Settings) -> AccessLog | None:
    """Return what writes the access log that the settings ask for; None when they ask for none.

    Raises:
        ConfigurationError: The file cannot be written, or the format holds an atom that is not known.
    """
    enabled = settings.access_log_enabled
    if enabled is None:
        enabled = settings.access_log is not None or settings.verbosity >= 1
    path = settings.access_log if settings.access_log not in (None, "-") else None
    if not enabled or (path is None and sys.stdout is None):
        return None
    renderer = make_renderer(settings.access_log_format)
    try:
        handler = AccessHandler(Output(sys.stdout) if path is None else FileOutput(path))
    except OSError as error:
        raise ConfigurationError("--access-log", path, f"a file that can be written ({error.strerror})") from error
    logger = logging.getLogger(LOGGER_NAME)
    for earlier in [each for each in logger.handlers if isinstance(each, AccessHandler)]:
        logger.removeHandler(earlier)
        earlier.close()
    # Handlers that --log-config gave this logger take the place of standard output, not of a file that was asked for.
    if path is not None or not logger.handlers:
        logger.addHandler(handler)
        logger.propagate = False
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    return AccessLog(logger, handler, renderer)


def reopen_logs() -> None:
    """Open every log file anew under its name, after a rotation: the access log's and those of ``logging``."""
    for ours in list(_access_handlers):
        ours.reopen()
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    handlers = {each for logger in loggers if isinstance(logger, logging.Logger) for each in logger.handlers}
    for handler in handlers:
        if isinstance(handler, logging.FileHandler):
            _reopen(handler)


class AccessLog:
    """An action logger that goes through ``logging``, whatever the application does to its configuration.

    ``dictConfig`` and Django's setup disable loggers, or take their handlers away. So the handler is held here: unless
    the logger has been given handlers of its own, lines go straight to it, and a logger that was disabled is enabled
    again. A level above INFO, and ``logging.disable``, are meant, and silence it.
    """

    def __init__(self, logger: logging.Logger, handler: AccessHandler, renderer: Renderer) -> None:
        self._logger = logger
        self._handler = handler
        self._render = renderer

    def __call__(self, protocol: str, action: str, details: AccessDetails) -> None:
        logger = self._logger
        if (protocol, action) not in VERBS or logger.level > logging.INFO or logger.manager.disable >= logging.INFO:
            return
        line = self._render(protocol, action, details)
        handlers = logger.handlers
        if not logger.filters and (not handlers or (len(handlers) == 1 and handlers[0] is self._handler)):
            self._handler.write_line(line)
            return
        logger.disabled = False
        logger.handle(logger.makeRecord(logger.name, logging.INFO, __file__, 0, line, (), None))

    def close(self) -> None:
        """Take the handler away and close its file; after ``dictConfig``, ``logging`` no longer does so at exit."""
        self._logger.removeHandler(self._handler)
        self._handler.close()


class AccessHandler(logging.Handler):
    """Writes the access log's lines; a record is written as its message alone."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self.output = output
        _access_handlers.add(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.output.write_line(self.format(record))

    def write_line(self, line: str) -> None:
        """Write a line that is ready, without a record."""
        self.acquire()
        try:
            self.output.write_line(line)
        finally:
            self.release()

    def reopen(self) -> None:
        """Let the next line open the file anew under its name."""
        self.acquire()
        try:
            self.output.close()
        finally:
            self.release()

    def close(self) -> None:
        """Close the file. ``dictConfig`` closes every handler there is: the next line opens it again."""
        self.output.close()
        super().close()


_access_handlers: WeakSet[AccessHandler] = WeakSet()


def _reopen(handler: logging.FileHandler) -> None:
    handler.acquire()
    try:
        earlier = handler.setStream(handler._open())
        if earlier is not None:
            earlier.close()
    except OSError as error:
        _log.error("The log file %s cannot be opened again: %s", handler.baseFilename, error)
    finally:
        handler.release()
