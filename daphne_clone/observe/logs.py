"""The server's own log: where it goes, from which level on, and how Twisted's log joins it; no access log here.

Daphne calls ``logging.basicConfig`` and throws Twisted's log away unless it is verbose. The first stays. Of Twisted's
log, errors are always shown: a failure in a callback is often told there and nowhere else.
"""

from __future__ import annotations

import importlib
import io
import json
import logging
import logging.config
import os
import sys
import tomllib
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from twisted.logger import ILogObserver, LogBeginner, LogLevel, formatEvent, globalLogBeginner
from zope.interface import implementer

from daphne_clone.errors import ConfigurationError

if TYPE_CHECKING:
    from twisted.logger import LogEvent
    from twisted.python.failure import Failure

    from daphne_clone.settings import Settings

# Daphne's levels, by verbosity
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG, logging.DEBUG)
_TRACE = 5
_VERBOSE = 2

_OUR_NAMESPACE = "daphne_clone"

# Of others, the one that tells what went wrong in a callback or task of the loop, and is told nowhere else.
_ASYNCIO = "asyncio"

# What both loops say, once for each write but the first few, when a connection is lost and its protocol will hear of it
# only in the next turn. A client that resets its connection could fill the log with it.
_NO_NEWS = frozenset({"SSL connection is closed", "socket.send() raised exception."})

# The handler that `configure` has given the root logger, to know it again.
_ours: list[logging.Handler] = []

_STDLIB_LEVELS = {
    LogLevel.debug: logging.DEBUG,
    LogLevel.info: logging.INFO,
    LogLevel.warn: logging.WARNING,
    LogLevel.error: logging.ERROR,
    LogLevel.critical: logging.CRITICAL,
}

# ECMA-48 "select graphic rendition", by level; the eight plain colours are readable on light and dark terminals
_COLOURS = {logging.DEBUG: 36, logging.INFO: 32, logging.WARNING: 33, logging.ERROR: 31, logging.CRITICAL: 35}


def configure(settings: Settings, *, handler: logging.Handler | None = None) -> None:
    """Configure ``logging`` and join Twisted's log to it; a further call replaces what the earlier one did.

    Args:
        settings: Those of the log.
        handler: Takes the place of the one for standard error, and has a formatter of its caller's. Twisted's log is
            then left to whoever has it: twistd, whose log this handler writes to.

    As with ``basicConfig``, a root logger that somebody else gave handlers keeps them and gets none from us.

    Raises:
        ConfigurationError: ``--log-fmt`` is no format, or the file of ``--log-config`` is missing, broken, or needs a
            package that is not installed.
    """
    root = logging.getLogger()
    for earlier in [each for each in root.handlers if each in _ours]:
        root.removeHandler(earlier)
        earlier.close()
    _ours.clear()
    joins_twisted = handler is None
    if settings.log_config is not None:
        _configure_from_file(settings.log_config)
    elif not root.handlers:
        if handler is None:
            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(_formatter(settings, sys.stderr))
        root.addHandler(handler)
        _ours.append(handler)
        root.setLevel(_LEVELS[settings.verbosity])
    if settings.log_level is not None:
        root.setLevel(_level(settings.log_level))
    logging.getLogger(_ASYNCIO).addFilter(_is_news)
    if joins_twisted:
        _join_twisted(settings.verbosity)


def keep_enabled() -> None:
    """Enable again the loggers that the server needs, after an application has configured ``logging``.

    These are asyncio's and all of this package that exist; a level that silences one stays. What `get_logger` made
    needs no call: it holds against configurations that come later, too. asyncio's own does not, hence this function.
    """
    manager = logging.Logger.manager
    for name, logger in list(manager.loggerDict.items()):
        is_needed = name == _ASYNCIO or name.partition(".")[0] == _OUR_NAMESPACE
        if is_needed and isinstance(logger, logging.Logger):
            logger.disabled = False


def _is_news(record: logging.LogRecord) -> bool:
    return record.msg not in _NO_NEWS


def _level(name: str) -> int:
    """Return the level of one of the names that ``Settings`` allows; logging itself has no ``trace``."""
    return _TRACE if name == "trace" else logging.getLevelNamesMapping()[name.upper()]


# The form of a line


def _formatter(settings: Settings, stream: TextIO) -> logging.Formatter:
    """Return the formatter for a stream.

    Raises:
        ConfigurationError: The format cannot format a record.
    """
    kind = _ColourFormatter if _wants_colours(settings.use_colors, stream) else logging.Formatter
    try:
        formatter = kind(settings.log_fmt)
        formatter.format(logging.makeLogRecord({"levelname": "INFO", "msg": "a record of the usual kind"}))
    except (ValueError, KeyError, TypeError) as error:
        allowed = f"a format for logging.Formatter ({type(error).__name__}: {error})"
        raise ConfigurationError("--log-fmt", settings.log_fmt, allowed) from error
    return formatter


def _wants_colours(chosen: bool | None, stream: TextIO) -> bool:
    if chosen is not None:
        return chosen
    # https://no-color.org: set to anything but the empty string
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class _ColourFormatter(logging.Formatter):
    """Colours the level's name, after it has been padded: escape codes must take up no width."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # logging's name
        line = super().formatMessage(record)
        colour = _COLOURS.get(record.levelno)
        if colour is None or "%(levelname)" not in (self._fmt or ""):
            return line
        return line.replace(record.levelname, f"\x1b[{colour}m{record.levelname}\x1b[0m", 1)


# --log-config


def _configure_from_file(path: str) -> None:
    """Apply a configuration file: .json, .yaml, .yml and .toml as ``dictConfig`` has it, any other name as ini.

    Loggers that exist already stay enabled unless the file says otherwise: ours are made on import.

    Raises:
        ConfigurationError: Whatever is wrong with the file.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path, f"a file that can be read ({error})") from error
    suffix = os.path.splitext(path)[1].lower()
    try:
        if suffix in _PARSERS:
            config = _PARSERS[suffix](text)
            if not isinstance(config, dict):
                raise _unusable(path, "a table at its top level")
            config.setdefault("disable_existing_loggers", False)
            logging.config.dictConfig(config)
        else:
            logging.config.fileConfig(io.StringIO(text), disable_existing_loggers=False)
    except ConfigurationError:
        raise
    except ModuleNotFoundError as error:
        raise _unusable(
            path, f"{error.name} to be installed; pip install 'daphne-clone[yaml]' brings PyYAML"
        ) from error
    except Exception as error:  # what a configuration names may be any code, and raise anything; always chained
        reason = str(error.__cause__ or error) or type(error).__name__
        raise _unusable(path, f"a configuration for logging ({type(error).__name__}: {reason})") from error


def _parse_yaml(text: str) -> object:
    yaml = importlib.import_module("yaml")  # an optional extra, without type hints
    return yaml.safe_load(text)


_PARSERS: dict[str, Callable[[str], object]] = {
    ".json": json.loads,
    ".toml": tomllib.loads,
    ".yaml": _parse_yaml,
    ".yml": _parse_yaml,
}


def _unusable(path: str, allowed: str) -> ConfigurationError:
    return ConfigurationError("--log-config", path, allowed)


# Twisted's log


@implementer(ILogObserver)
class _TwistedBridge:
    """Hands Twisted's events to the logger named after their namespace.

    Attributes:
        is_verbose: Everything goes through; otherwise errors and what this package says.
    """

    def __init__(self) -> None:
        self.is_verbose = False
        self._is_joined = False

    def join(self, beginner: LogBeginner) -> None:
        """Begin logging here, once: Twisted complains of a second beginning."""
        if self._is_joined:
            return
        self._is_joined = True
        showwarning = warnings.showwarning
        beginner.beginLoggingTo([self], redirectStandardIO=False)
        # Twisted takes Python's warnings for its own log, where they would be filtered out with the rest of it.
        warnings.showwarning = showwarning

    def __call__(self, event: LogEvent) -> None:
        level = _STDLIB_LEVELS.get(event.get("log_level"), logging.INFO)
        namespace = str(event.get("log_namespace") or "twisted")
        is_wanted = level >= logging.ERROR or namespace.partition(".")[0] == _OUR_NAMESPACE
        if not (is_wanted or self.is_verbose):
            return
        logger = logging.getLogger(namespace)
        if is_wanted:
            logger.disabled = False  # as in `get_logger`
        if not logger.isEnabledFor(level):
            return
        failure: Failure | None = event.get("log_failure")
        exc_info = None
        if failure is not None and failure.value is not None:
            trace = failure.getTracebackObject()  # type: ignore[no-untyped-call]  # Twisted's has no annotations
            exc_info = (type(failure.value), failure.value, trace)
        logger.log(level, "%s", formatEvent(event), exc_info=exc_info)


_bridge = _TwistedBridge()


def _join_twisted(verbosity: int) -> None:
    _bridge.is_verbose = verbosity >= _VERBOSE
    _bridge.join(globalLogBeginner)
