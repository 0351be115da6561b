"""The access log: a line for each request and each turn of a WebSocket's life; it serves nothing and knows no clients.

What happened comes in as Daphne's ``(protocol, action, details)``. A renderer makes a line of it (Daphne's form, JSON,
or gunicorn's atoms), and `AccessLog` writes the line. Everything a client can choose is escaped in every form: it can
put no line break, quote or control character into the log.

CPU time of a line on CPython 3.11, write to a file included, with a browser's 14 headers: daphne 3.0 us, json 5.0 us,
gunicorn's combined atoms 5.5 us. ``logging`` alone takes 5.5 us for a line that is ready, so `AccessLog` goes past it
where nobody would notice.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Protocol, TextIO, TypedDict, cast
from weakref import WeakSet

from daphne_clone.errors import ConfigurationError

if TYPE_CHECKING:
    from daphne_clone.settings import Settings

LOGGER_NAME = "daphne_clone.access"

# The module's own name is that of the access log, where an error message would be taken for a request.
_log = logging.getLogger("daphne_clone")


class AccessDetails(TypedDict, total=False):
    """What is known of an exchange. The first six are Daphne's; the others may be missing, or be found in ``scope``.

    Attributes:
        path: The target as the client sent it, query included.
        method: Of an HTTP request.
        client: ``"address:port"``; None when there is none, as on a UNIX socket.
        status: Of the response.
        size: Octets of body sent.
        time_taken: In seconds.
        query_string: Counts when the path has no query.
        headers: The request's, names in lower case.
        response_headers: The response's, names in lower case.
        scope: The ASGI scope, asked for what is missing here.
    """

    path: str
    method: str
    client: str | None
    status: int
    size: int
    time_taken: float
    http_version: str
    query_string: bytes
    scheme: str
    headers: Sequence[tuple[bytes, bytes]]
    response_headers: Sequence[tuple[bytes, bytes]]
    scope: Mapping[str, object]


class ActionLogger(Protocol):
    """Daphne's action logger, for ``http complete`` and ``websocket connecting|connected|disconnected|rejected``."""

    def __call__(self, protocol: str, action: str, details: AccessDetails) -> None: ...


Renderer = Callable[[str, str, AccessDetails], str]
"""(protocol, action, details) to a line without its end."""

_VERBS = {
    ("http", "complete"): "",  # the request's own method
    ("websocket", "connecting"): "WSCONNECTING",
    ("websocket", "connected"): "WSCONNECT",
    ("websocket", "disconnected"): "WSDISCONNECT",
    ("websocket", "rejected"): "WSREJECT",
}

# not strftime's: the application may set a locale, and log readers know these
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class AccessLogGenerator:
    """Daphne's action logger: writes lines in Daphne's form to a text stream.

    A stream that fails is reported once, on logger ``daphne_clone``, until it works again; requests are served still.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._output = _Output(stream)
        self._second = 0
        self._date = datetime.fromtimestamp(0, UTC)
        self._stamp = ""

    def __call__(self, protocol: str, action: str, details: AccessDetails) -> None:
        if (protocol, action) not in _VERBS:
            return
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._date = _local(second)
            self._stamp = _clf_time(self._date)
        host, request, status, length = _daphne_facts(protocol, action, details)
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
        stamp = self._stamp if date is self._date else _clf_time(date)
        self._output.write_line(_common_line(host, ident, user, stamp, request, status, length))


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
        handler = AccessHandler(_Output(sys.stdout) if path is None else _FileOutput(path))
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
        if (protocol, action) not in _VERBS or logger.level > logging.INFO or logger.manager.disable >= logging.INFO:
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

    def __init__(self, output: _Output) -> None:
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


# What lines look like


def make_renderer(form: str) -> Renderer:
    """Return what makes the lines of a format.

    Args:
        form: ``daphne``, ``json``, or text with gunicorn's atoms, such as ``%(h)s "%(r)s" %(s)s``.

    Raises:
        ConfigurationError: An atom is not known, or a ``%`` begins none.
    """
    if form == "daphne":
        return _DaphneLine()
    if form == "json":
        return _JSONLine()
    return _AtomLine(form)


class _DaphneLine:
    """Daphne's form, with the time in local time and without its zone."""

    def __init__(self) -> None:
        self._stamp = _Stamp(lambda second: _clf_time(_local(second)))

    def __call__(self, protocol: str, action: str, details: AccessDetails) -> str:
        host, request, status, length = _daphne_facts(protocol, action, details)
        return _common_line(host, None, None, self._stamp(), request, status, length)


class _JSONLine:
    """One JSON object in ASCII; the keys are always all there, null where nothing is known."""

    def __init__(self) -> None:
        self._stamp = _Stamp(lambda second: f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}")

    def __call__(self, protocol: str, action: str, details: AccessDetails) -> str:
        path, query = _target(details)
        seconds = details.get("time_taken")
        agent = referer = None
        for name, value in _headers(details):
            if name == b"user-agent":
                agent = value.decode("latin-1")
            elif name == b"referer":
                referer = value.decode("latin-1")
        text = _json_text
        # by hand: 2.8 us where the same values in a dict through json.JSONEncoder take 4.6 us (CPython 3.11)
        return (
            f'{{"time":"{self._stamp()}.{self._stamp.milliseconds:03d}Z","protocol":{text(protocol)},"event":{text(action)}'
            f',"client":{text(details.get("client"))},"method":{text(details.get("method"))},"path":{text(path)}'
            f',"query":{text(query)},"status":{_json_number(details.get("status"))}'
            f',"size":{_json_number(details.get("size"))}'
            f',"duration_ms":{"null" if seconds is None else f"{seconds * 1000:.3f}"}'
            f',"http_version":{text(_fact(details, "http_version"))},"scheme":{text(_fact(details, "scheme"))}'
            f',"user_agent":{text(agent)},"referer":{text(referer)}}}'
        )


class _AtomLine:
    """Text with gunicorn's atoms, compiled once.

    Raises:
        ConfigurationError: As `make_renderer`.
    """

    def __init__(self, form: str) -> None:
        template, position, getters = "", 0, []
        for match in _ATOM.finditer(form):
            template += form[position : match.start()] + (f"%{match['width']}s" if match["name"] else "%%")
            position = match.end()
            if match["name"]:
                getters.append(self._getter(form, match["name"]))
            elif match[0] != "%%":
                raise ConfigurationError("--access-log-format", form, "%(atom)s, or %% for the character itself")
        self._template = template + form[position:]
        self._getters = tuple(getters)
        self._stamp = _Stamp(lambda second: f"[{_clf_time(_local(second))} {_local(second):%z}]")

    def __call__(self, protocol: str, action: str, details: AccessDetails) -> str:
        verb = _VERBS[protocol, action] or details.get("method", "-")
        return self._template % tuple([get(verb, details) for get in self._getters])

    def _getter(self, form: str, name: str) -> Callable[[str, AccessDetails], object]:
        if match := _FIELD_ATOM.fullmatch(name):
            field = match["field"].lower().encode("latin-1", "replace")
            if match["where"] == "e":
                return lambda verb, details: "-"  # the process's environment is nobody's business in a log
            if match["where"] == "o":
                return lambda verb, details: _quoted_field(details.get("response_headers") or (), field)
            return lambda verb, details: _quoted_field(_headers(details), field)
        if name == "t":
            return lambda verb, details: self._stamp()
        if name not in _ATOMS:
            known = ", ".join([*_ATOMS, "t", "{header}i", "{header}o"])
            raise ConfigurationError("--access-log-format", form, f"no atom {name!r}, but any of {known}")
        return _ATOMS[name]


_ATOM = re.compile(r"%(?:%|\((?P<name>[^()]+)\)(?P<width>-?\d{0,3}(?:\.\d{1,3})?)[sd])?")
_FIELD_ATOM = re.compile(r"\{(?P<field>[^{}]+)\}(?P<where>[ioe])")

# gunicorn's atoms, https://docs.gunicorn.org/en/stable/settings.html#access-log-format; t and the fields are made above
_ATOMS: dict[str, Callable[[str, AccessDetails], object]] = {
    "h": lambda verb, details: _word((details.get("client") or "").rpartition(":")[0]),
    "l": lambda verb, details: "-",
    "u": lambda verb, details: _word(_basic_user(details)),
    "r": lambda verb, details: _quoted(f"{verb} {_whole_target(details)}{_protocol_suffix(details)}"),
    "m": lambda verb, details: _word(verb),
    "U": lambda verb, details: _quoted(_target(details)[0] or "-"),
    "q": lambda verb, details: _quoted(_target(details)[1] or ""),
    "H": lambda verb, details: _word(_protocol_suffix(details).lstrip()),
    "s": lambda verb, details: details.get("status", "-"),
    "B": lambda verb, details: details.get("size", "-"),
    "b": lambda verb, details: details.get("size") or "-",
    "f": lambda verb, details: _quoted_field(_headers(details), b"referer"),
    "a": lambda verb, details: _quoted_field(_headers(details), b"user-agent"),
    "T": lambda verb, details: _duration(details, 1, 0),
    "M": lambda verb, details: _duration(details, 1_000, 0),
    "D": lambda verb, details: _duration(details, 1_000_000, 0),
    "L": lambda verb, details: _duration(details, 1, 6),
    "p": lambda verb, details: f"<{os.getpid()}>",
}


class _Stamp:
    """The time as text, made once a second.

    Attributes:
        milliseconds: Of the moment of the last call.
    """

    def __init__(self, render: Callable[[int], str]) -> None:
        self.milliseconds = 0
        self._render = render
        self._second = -1
        self._text = ""

    def __call__(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._text = self._render(second)
        self.milliseconds = int((now - second) * 1000)
        return self._text


def _daphne_facts(protocol: str, action: str, details: AccessDetails) -> tuple[str | None, str, int | None, int | None]:
    """Return host, request, status and length as Daphne logs them."""
    host, path = details.get("client"), details.get("path", "-")
    if verb := _VERBS[protocol, action]:
        return host, f"{verb} {path}", None, None
    return host, f"{details.get('method', '-')} {path}", details.get("status"), details.get("size")


def _common_line(
    host: str | None,
    ident: str | None,
    user: str | None,
    stamp: str,
    request: str,
    status: int | None,
    length: int | None,
) -> str:
    who = f"{_word(host)} {_word(ident) if ident else '-'} {_word(user) if user else '-'}"
    return f'{who} [{stamp}] "{_quoted(request)}" {status or "-"} {length or "-"}'


def _local(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC).astimezone()


def _clf_time(date: datetime) -> str:
    return f"{date.day:02}/{_MONTHS[date.month - 1]}/{date.year:04}:{date.hour:02}:{date.minute:02}:{date.second:02}"


def _quoted(text: str) -> str:
    """Return text that is safe between double quotes: what is not printable, quotes and backslashes become escapes."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join([each if each.isprintable() and each not in '"\\' else _escape(each) for each in text])


def _word(text: str | None) -> str:
    """Return text that is safe where a blank ends it; ``-`` when there is none."""
    return _quoted(text).replace(" ", r"\x20") if text else "-"


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_text(value: object) -> str:
    return "null" if value is None else encode_basestring_ascii(str(value))


def _json_number(value: int | None) -> str:
    return "null" if value is None else str(int(value))


# What a line tells


def _fact(details: AccessDetails, key: str) -> object:
    """Return a detail, or what the scope says of it; None when neither knows."""
    value = cast("Mapping[str, object]", details).get(key)  # a TypedDict takes literal keys only
    if value is None and (scope := details.get("scope")) is not None:
        value = scope.get(key)
    return value


def _headers(details: AccessDetails) -> Sequence[tuple[bytes, bytes]]:
    return cast("Sequence[tuple[bytes, bytes]] | None", _fact(details, "headers")) or ()


def _field(headers: Sequence[tuple[bytes, bytes]], wanted: bytes) -> str | None:
    for name, value in headers:
        if name == wanted:
            return value.decode("latin-1")
    return None


def _quoted_field(headers: Sequence[tuple[bytes, bytes]], wanted: bytes) -> str:
    return _quoted(_field(headers, wanted) or "-")


def _target(details: AccessDetails) -> tuple[str | None, str | None]:
    """Return path and query, the query None when there is none."""
    path = details.get("path")
    if path is None:
        return None, None
    path, mark, query = path.partition("?")
    if mark:
        return path, query
    query_string = cast("bytes | None", _fact(details, "query_string"))
    return path, query_string.decode("latin-1") if query_string else None


def _whole_target(details: AccessDetails) -> str:
    path, query = _target(details)
    return "-" if path is None else path if query is None else f"{path}?{query}"


def _protocol_suffix(details: AccessDetails) -> str:
    version = _fact(details, "http_version")
    return "" if version is None else f" HTTP/{version}"


def _basic_user(details: AccessDetails) -> str | None:
    """Return the user of basic authentication (RFC 7617), without the password; None when there is none."""
    scheme, _, credentials = (_field(_headers(details), b"authorization") or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, _ = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeError, ValueError):
        return None
    # without a colon it may be a password alone
    return user if colon else None


def _duration(details: AccessDetails, factor: int, digits: int) -> str:
    seconds = details.get("time_taken")
    return "-" if seconds is None else f"{int(seconds * factor)}" if not digits else f"{seconds * factor:.{digits}f}"


# Where lines go


class _Output:
    """A text stream that takes whole lines, and whose failures are reported once."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._is_failing = False

    def write_line(self, line: str) -> None:
        try:
            self._put(f"{line}\n")
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            if not self._is_failing:
                self._is_failing = True
                _log.error("The access log cannot be written: %s; requests are served without it", error)
        else:
            self._is_failing = False

    def _put(self, text: str) -> None:
        stream = self._open()
        try:
            stream.write(text)
        except UnicodeEncodeError:  # standard output in the C locale
            stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))
        stream.flush()

    def _open(self) -> TextIO:
        assert self._stream is not None, "a stream that was handed in stays"
        return self._stream

    def close(self) -> None:
        """Close a file; a stream stays open, for it is somebody else's."""


class _FileOutput(_Output):
    """A file that is opened anew when it has been moved away, looked for once a second, or when it is closed.

    Raises:
        OSError: The file cannot be opened for appending.
    """

    def __init__(self, path: str) -> None:
        super().__init__(None)
        self._path = os.path.abspath(path)  # the application may change the working directory
        self._checked_at = 0
        self._open()

    def _open(self) -> TextIO:
        second = int(time.monotonic())
        if self._stream is not None and second != self._checked_at and self._was_moved(self._stream):
            self.close()
        self._checked_at = second
        if self._stream is None:
            self._stream = open(self._path, "a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115  # kept open
        return self._stream

    def _was_moved(self, stream: TextIO) -> bool:
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return True
        return not os.path.samestat(there, os.fstat(stream.fileno()))

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        try:
            stream.close()
        except OSError as error:
            if not self._is_failing:  # closing writes what a failed write left behind, and fails as that did
                _log.error("The access log could not be closed: %s", error)


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
