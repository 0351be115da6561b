"""What an application may say about an HTTP response (ASGI "HTTP"), message by message; it sends nothing.

Each function takes a message apart or raises `ApplicationProtocolError`. Unknown keys are no error, so that
applications may be newer than the server.
"""

from __future__ import annotations

import operator
from os.path import isabs
from typing import TYPE_CHECKING, Any, NoReturn

from daphne_clone.errors import ApplicationProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from daphne_clone.interfaces import Field


def wrong(message: Mapping[str, Any], key: str, expected: str) -> NoReturn:
    """Raise for a value of a message that cannot be used, or is missing."""
    kind = message.get("type")
    if key not in message:
        raise ApplicationProtocolError(f"{kind}: {key!r} is missing; expected {expected}")
    raise ApplicationProtocolError(f"{kind}: {key!r} is {message[key]!r}; expected {expected}")


def response_start(message: Mapping[str, Any]) -> tuple[int, Iterable[Field], bool]:
    """Status, headers and whether trailers will follow, of ``http.response.start``; headers are not looked into."""
    status = message.get("status")
    if type(status) is not int:
        try:
            # http.HTTPStatus and other integers by name; not booleans, floats or strings of digits.
            status = operator.index(status)  # type: ignore[arg-type]  # a TypeError is what this asks
        except TypeError:
            wrong(message, "status", "an integer from 200 to 999")
    if not 200 <= status <= 999:
        wrong(message, "status", "an integer from 200 to 999")
    trailers = message.get("trailers", False)
    if trailers is not False and trailers is not True:
        wrong(message, "trailers", "a boolean")
    return status, message.get("headers", ()), trailers


def header_list(headers: Any) -> list[Field]:  # noqa: ANN401  # whatever the application gave as headers
    """The headers of a message as a list; what is in it is not looked at."""
    try:
        return list(headers)
    except TypeError:
        raise ApplicationProtocolError(f"headers: {headers!r} cannot be used; expected pairs of bytes") from None


def response_body(message: Mapping[str, Any]) -> tuple[bytes, bool]:
    """Body and whether more follows, of ``http.response.body``."""
    body = message.get("body", b"")
    if type(body) is not bytes:
        if not isinstance(body, bytes | bytearray | memoryview):
            wrong(message, "body", "bytes")
        # The application may change the buffer as soon as send() returns.
        body = bytes(body)
    more = message.get("more_body", False)
    if more is not False and more is not True:
        wrong(message, "more_body", "a boolean")
    return body, more


def response_trailers(message: Mapping[str, Any]) -> tuple[Iterable[Field], bool]:
    """Trailers and whether more follow, of ``http.response.trailers`` (ASGI extensions "HTTP Trailers")."""
    more = message.get("more_trailers", False)
    if more is not False and more is not True:
        wrong(message, "more_trailers", "a boolean")
    return message.get("headers", ()), more


def response_path(message: Mapping[str, Any]) -> str:
    """The absolute path of ``http.response.pathsend`` (ASGI extensions "Path Send")."""
    path = message.get("path")
    if not isinstance(path, str) or not isabs(path):
        wrong(message, "path", "the absolute path of a file")
    return path


def response_file(message: Mapping[str, Any]) -> tuple[Any, int | None, int | None, bool]:
    """File, offset, count and whether more follows, of ``http.response.zerocopysend`` (ASGI extensions).

    Offset None is the file's current position, count None all up to its end.
    """
    file = message.get("file")
    if not callable(getattr(file, "fileno", None)):
        wrong(message, "file", "an open file with a descriptor")
    for key in ("offset", "count"):
        value = message.get(key)
        if value is not None and (type(value) is not int or value < 0):
            wrong(message, key, "an integer of at least 0, or None")
    more = message.get("more_body", False)
    if more is not False and more is not True:
        wrong(message, "more_body", "a boolean")
    return file, message.get("offset"), message.get("count"), more


def early_hint_links(message: Mapping[str, Any]) -> list[bytes]:
    """The ``Link`` values of ``http.response.early_hint`` (ASGI extensions "HTTP Early Hints")."""
    links = message.get("links")
    try:
        values = list(links)  # type: ignore[arg-type]  # a TypeError is what this asks
    except TypeError:
        wrong(message, "links", "an iterable of bytes")
    if isinstance(links, bytes | str) or not all(isinstance(value, bytes) for value in values):
        wrong(message, "links", "an iterable of bytes")
    return values
