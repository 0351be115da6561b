"""Responses of HTTP/1.1 from values to bytes (RFC 9112 sections 4, 6 and 7); it does not know who asks.

The application's fields are its own but for those that belong to the connection: framing and persistence are decided
by whoever sends the body.
"""

from __future__ import annotations

import functools
from http import HTTPStatus
from typing import TYPE_CHECKING

from daphne_clone.errors import ApplicationProtocolError
from daphne_clone.wire.fields import VALUE_BYTES, is_token

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daphne_clone.interfaces import Field
    from daphne_clone.wire.fields import DefaultFields

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
CLOSE = b"connection: close\r\n"
KEEP_ALIVE = b"connection: keep-alive\r\n"
LAST_CHUNK = b"0\r\n"
# Capitals for those clients that compare it as it stands.
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"

_STATUS_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}

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


class HeadEncoder:
    """Writes the heads of a server's responses.

    Args:
        defaults: Fields added where the application gave none of that name.
    """

    __slots__ = (
        "_defaults",
        "_kinds",
        "_last",
        "_last_block",
        "_last_defaults",
        "_last_headers",
        "_last_status",
        "_lines",
    )

    MAX_NAMES = 512
    MAX_LINES = 1024
    MAX_LINE = 200

    def __init__(self, defaults: DefaultFields) -> None:
        self._defaults = defaults
        # A name is in here once it has been seen to be a token.
        self._kinds = {
            **{name: _DEFAULT for name, _ in defaults.fields},
            b"content-length": _LENGTH,
            b"connection": _CONNECTION,
            # The server owns framing; "keep-alive" would promise what only the server knows.
            b"transfer-encoding": _DROPPED,
            b"keep-alive": _DROPPED,
        }
        # Plain fields as they are written: a dict look-up each where checking and writing takes 0.3 us.
        self._lines: dict[Field, bytes] = {}
        # The last head: an application that answers one thing in one way says so in equal headers.
        self._last_status = 0
        self._last_headers: list[Field] | None = None
        self._last_block = b""  # without the default fields, which change with the Date
        self._last_defaults = b""
        self._last: tuple[bytes, int | None, bool] = (b"", None, False)

    def encode(
        self, status: int, headers: Iterable[Field], drop_length: bool = False
    ) -> tuple[bytes, int | None, bool]:
        """Check and write the head of a final response, or of 101.

        Args:
            status: 200 to 999, or 101.
            headers: Pairs of bytes; names in any case.
            drop_length: Check a Content-Length and return it, but do not write it.

        Returns:
            Status line and fields without the empty line at the end, so that framing can be added; the Content-Length
            among the fields, or None; whether ``Connection: close`` was among them.

        Raises:
            ApplicationProtocolError: A pair that is not two bytes, a name that is no token, a value with CR, LF, NUL
                or another control byte, a Content-Length that is no number or stands there twice.
        """
        if status == self._last_status and headers == self._last_headers and not drop_length:
            defaults = self._defaults.block
            if self._last_defaults is not defaults:
                self._last_defaults = defaults
                self._last = (self._last_block + defaults, *self._last[1:])
            return self._last
        block = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
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
                    line = b"%b: %b\r\n" % (name, value)
                    if kind == _PLAIN:
                        self._keep(name, pair, line)
                block += line
        except (TypeError, ValueError) as error:
            if isinstance(error, ApplicationProtocolError):
                raise
            raise ApplicationProtocolError("headers: expected an iterable of pairs of bytes") from error
        if given:
            return block + self._defaults.block_without(given), content_length, close
        if is_constant and isinstance(headers, list) and len(headers) <= _MAX_LAST and not drop_length:
            self._last_status = status
            self._last_headers = headers.copy()
            self._last_block = block
            self._last_defaults = self._defaults.block
            self._last = result = (block + self._last_defaults, content_length, close)
            return result
        return block + self._defaults.block, content_length, close

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


def encode_fields(headers: Iterable[Field], key: str) -> bytes:
    """Write fields that stand outside a final head: trailers, and those of interim responses.

    Raises:
        ApplicationProtocolError: As `HeadEncoder.encode`; ``key`` is the message's key, for the error.
    """
    lines = []
    try:
        for name, value in headers:
            if not is_token(name):
                raise ApplicationProtocolError(f"{key}: {name!r} is no field name")
            if value.translate(None, VALUE_BYTES):
                raise ApplicationProtocolError(f"{key}: the value of {name!r} holds a control byte")
            if name.lower() in _NEVER_TRAILERS:
                raise ApplicationProtocolError(f"{key}: {name!r} can only stand in a head")
            lines.append(b"%b: %b\r\n" % (name.lower(), value))
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ApplicationProtocolError):
            raise
        raise ApplicationProtocolError(f"{key}: expected an iterable of pairs of bytes") from error
    return b"".join(lines)


def encode_refusal(status: HTTPStatus, defaults: DefaultFields, *, head_only: bool = False) -> bytes:
    """A whole response of the server's own to what it will not serve; the connection closes behind it.

    The text is the status alone: what exactly was wrong is for the log, not for whoever probes (contract: messages of
    errors hold no exception text).
    """
    body = b"%d %b\n" % (status.value, status.phrase.encode())
    head = b"%bcontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n%bconnection: close\r\n\r\n" % (
        _STATUS_LINES[status.value],
        len(body),
        defaults.block,
    )
    return head if head_only else head + body
