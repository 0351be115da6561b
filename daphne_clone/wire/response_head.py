"""Heads of responses, as far as every HTTP version has the same: which fields go out, but not how they are written.

The application's fields are its own but for those that belong to the connection: framing and persistence are decided
by whoever sends the body.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from daphne_clone.errors import ApplicationProtocolError
from daphne_clone.wire.fields import VALUE_BYTES, is_token

if TYPE_CHECKING:
    from collections.abc import Iterable
    from http import HTTPStatus

    from daphne_clone.interfaces import Field
    from daphne_clone.wire.fields import DefaultFields

# What becomes of a response field, by its name; _PLAIN, which most are, is 0.
_PLAIN, _DROPPED, _LENGTH, _CONNECTION, _DEFAULT = range(5)


# RFC 9110 section 6.5.1: what decides on framing, routing or how the content is read comes too late in a trailer.
_NEVER_TRAILERS = frozenset(
    (
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"host",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)

# Longer heads are seldom the same twice, and comparing them takes time too.
_MAX_LAST = 16

# Fields whose values are seldom sent twice, or are a secret of one client's.
_NEVER_KEPT = frozenset((b"etag", b"last-modified", b"location", b"set-cookie", b"x-request-id"))


@functools.lru_cache(maxsize=512)
def _number(value: bytes) -> int:
    if not value.isdigit():
        raise ApplicationProtocolError(f"headers: content-length: expected digits, got {value!r}")
    return int(value)


class HeadEncoder(ABC):
    """Checks the heads of a server's responses and writes them; what a field looks like is its subclasses'.

    Args:
        defaults: Fields added where the application gave none of that name.
    """

    __slots__ = (
        "_default_block",
        "_default_fields",
        "_defaults",
        "_kinds",
        "_last",
        "_last_block",
        "_last_default_block",
        "_last_headers",
        "_last_status",
        "_lines",
        "_status_lines",
    )

    # The server owns framing; and "keep-alive" would promise what only the server knows.
    DROPPED = frozenset((b"keep-alive", b"transfer-encoding"))

    MAX_NAMES = 512
    MAX_LINES = 1024
    MAX_LINE = 200

    def __init__(self, defaults: DefaultFields) -> None:
        self._defaults = defaults
        self._default_fields: list[Field] = []
        self._default_block = b""  # these, written
        self._status_lines: dict[int, bytes] = {}
        # A name is in here once it has been seen to be a token.
        self._kinds = {
            **{name: _DEFAULT for name, _ in defaults.fields},
            b"content-length": _LENGTH,
            **dict.fromkeys(self.DROPPED, _DROPPED),
            b"connection": _CONNECTION,
        }
        # Plain fields as they are written: a dict look-up each where checking and writing takes 0.3 us.
        self._lines: dict[Field, bytes] = {}
        # The last head: an application that answers one thing in one way says so in equal headers.
        self._last_status = 0
        self._last_headers: list[Field] | None = None
        self._last_block = b""  # without the default fields, which change with the Date
        self._last_default_block = b""
        self._last: tuple[bytes, int | None, bool] = (b"", None, False)

    @staticmethod
    @abstractmethod
    def write_status(status: int) -> bytes:
        """What a head begins with."""

    @staticmethod
    @abstractmethod
    def write_field(name: bytes, value: bytes) -> bytes:
        """A field, its name in lower case."""

    def encode(
        self, status: int, headers: Iterable[Field], drop_length: bool = False
    ) -> tuple[bytes, int | None, bool]:
        """Check and write the head of a final response, or of 101.

        Args:
            status: 200 to 999, or 101.
            headers: Pairs of bytes; names in any case.
            drop_length: Check a Content-Length and return it, but do not write it.

        Returns:
            Status and fields, so that framing can be added where there is some; the Content-Length among the fields, or
            None; whether ``Connection: close`` was among them.

        Raises:
            ApplicationProtocolError: A pair that is not two bytes, a name that is no token, a value with CR, LF, NUL
                or another control byte, a Content-Length that is no number or stands there twice.
        """
        if status == self._last_status and headers == self._last_headers and not drop_length:
            if self._default_fields is not self._defaults.fields:
                self._write_defaults()
            if self._last_default_block is not self._default_block:
                self._last_default_block = self._default_block
                self._last = (self._last_block + self._default_block, *self._last[1:])
            return self._last
        if self._default_fields is not self._defaults.fields:
            self._write_defaults()
        block = self._status_lines.get(status) or self._status_line(status)
        known = self._lines.get
        content_length = None
        close = False
        is_constant = True  # a list of tuples: an equal one later is equal to the last octet
        given: set[bytes] = set()  # names of default fields that the application gives itself
        try:
            for pair in headers:
                if type(pair) is not tuple:  # any iterable of two will do (ASGI "Response Start")
                    name, value = pair
                    pair = (name, value)
                    is_constant = False
                line = known(pair)
                if line is None:
                    name, value, kind = self._check(pair)
                    if kind == _CONNECTION:
                        close = close or b"close" in value.lower()
                        continue
                    if kind == _DROPPED:
                        continue
                    if kind == _LENGTH:
                        if content_length is not None:
                            raise ApplicationProtocolError("headers: content-length is given twice")
                        content_length = _number(value)
                        if drop_length:
                            continue
                    elif kind == _DEFAULT:
                        given.add(name)
                    line = self.write_field(name, value)
                    if kind == _PLAIN:
                        self._keep(name, pair, line)
                block += line
        except (TypeError, ValueError) as error:
            if isinstance(error, ApplicationProtocolError):
                raise
            raise ApplicationProtocolError("headers: expected an iterable of pairs of bytes") from error
        if given:
            rest = [self.write_field(*field) for field in self._default_fields if field[0] not in given]
            return block + b"".join(rest), content_length, close
        if is_constant and isinstance(headers, list) and len(headers) <= _MAX_LAST and not drop_length:
            self._last_status = status
            self._last_headers = headers.copy()
            self._last_block = block
            self._last_default_block = self._default_block
            self._last = result = (block + self._default_block, content_length, close)
            return result
        return block + self._default_block, content_length, close

    def _write_defaults(self) -> None:
        """The default fields are others than before: they change with the Date."""
        self._default_fields = fields = self._defaults.fields
        self._default_block = b"".join(self.write_field(*field) for field in fields)

    def _status_line(self, status: int) -> bytes:
        self._status_lines[status] = line = self.write_status(status)  # there are 900 at most
        return line

    def _check(self, pair: Field) -> tuple[bytes, bytes, int]:
        """Name in lower case, value and kind of a field that is not known as it is."""
        try:
            name, value = pair
        except ValueError:
            raise ApplicationProtocolError(f"headers: {pair!r} is no pair of a name and a value") from None
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise ApplicationProtocolError(f"headers: expected a name and a value of bytes, got {pair!r}")
        kind = self._kinds.get(name)
        if kind is None:
            name, kind = self._learn(name)
        if value.translate(None, VALUE_BYTES):
            raise ApplicationProtocolError(f"headers: the value of {name!r} holds CR, LF, NUL or another control byte")
        return name, value, kind

    def _keep(self, name: bytes, pair: Field, line: bytes) -> None:
        if len(line) <= self.MAX_LINE and name not in _NEVER_KEPT:
            if len(self._lines) >= self.MAX_LINES:
                self._lines.clear()
            self._lines[pair] = line

    def _learn(self, name: bytes) -> tuple[bytes, int]:
        """Check a name not seen before, or one in upper case."""
        if not is_token(name):
            raise ApplicationProtocolError(f"headers: {name!r} is no field name")
        lower = name.lower()
        kind = self._kinds.get(lower, _PLAIN)
        if len(self._kinds) < self.MAX_NAMES:  # bounded, for an application may make names up
            self._kinds[lower] = kind
        return lower, kind


def checked_fields(headers: Iterable[Field], key: str) -> list[Field]:
    """Check fields that stand outside a final head: trailers, and those of interim responses.

    Returns:
        The fields, their names in lower case.

    Raises:
        ApplicationProtocolError: As `HeadEncoder.encode`; ``key`` is the message's key, for the error.
    """
    fields = []
    try:
        for name, value in headers:
            if not is_token(name):
                raise ApplicationProtocolError(f"{key}: {name!r} is no field name")
            if value.translate(None, VALUE_BYTES):
                raise ApplicationProtocolError(f"{key}: the value of {name!r} holds a control byte")
            if name.lower() in _NEVER_TRAILERS:
                raise ApplicationProtocolError(f"{key}: {name!r} can only stand in a head")
            fields.append((name.lower(), value))
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ApplicationProtocolError):
            raise
        raise ApplicationProtocolError(f"{key}: expected an iterable of pairs of bytes") from error
    return fields


def refusal(status: HTTPStatus) -> tuple[list[Field], bytes]:
    """Fields and body of a response of the server's own to what it will not serve.

    The text is the status alone: what exactly was wrong is for the log, not for whoever probes (contract: messages of
    errors hold no exception text).
    """
    body = b"%d %b\n" % (status.value, status.phrase.encode())
    return [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))], body
