"""What is known of an exchange, and how it is read; what a line looks like is not known here."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Protocol, TypedDict, cast

# The actions that have a line, with the verb that stands where a request has its method
VERBS = {
    ("http", "complete"): "",  # the request's own method
    ("websocket", "connecting"): "WSCONNECTING",
    ("websocket", "connected"): "WSCONNECT",
    ("websocket", "disconnected"): "WSDISCONNECT",
    ("websocket", "rejected"): "WSREJECT",
}


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


def fact(details: AccessDetails, key: str) -> object:
    """Return a detail, or what the scope says of it; None when neither knows."""
    value = cast("Mapping[str, object]", details).get(key)  # a TypedDict takes literal keys only
    if value is None and (scope := details.get("scope")) is not None:
        value = scope.get(key)
    return value


def request_headers(details: AccessDetails) -> Sequence[tuple[bytes, bytes]]:
    """Return the request's fields; none when they are not known."""
    return cast("Sequence[tuple[bytes, bytes]] | None", fact(details, "headers")) or ()


def field_value(headers: Sequence[tuple[bytes, bytes]], wanted: bytes) -> str | None:
    """Return the first value under a name in lower case; None when there is none."""
    for name, value in headers:
        if name == wanted:
            return value.decode("latin-1")
    return None


def target(details: AccessDetails) -> tuple[str | None, str | None]:
    """Return path and query, the query None when there is none."""
    path = details.get("path")
    if path is None:
        return None, None
    path, mark, query = path.partition("?")
    if mark:
        return path, query
    query_string = cast("bytes | None", fact(details, "query_string"))
    return path, query_string.decode("latin-1") if query_string else None


def whole_target(details: AccessDetails) -> str:
    """Return path and query as one; ``-`` when the path is not known."""
    path, query = target(details)
    return "-" if path is None else path if query is None else f"{path}?{query}"


def protocol_suffix(details: AccessDetails) -> str:
    """Return what a request line ends with, such as ``" HTTP/1.1"``; empty when the version is not known."""
    version = fact(details, "http_version")
    return "" if version is None else f" HTTP/{version}"


def basic_user(details: AccessDetails) -> str | None:
    """Return the user of basic authentication (RFC 7617), without the password; None when there is none."""
    scheme, _, credentials = (field_value(request_headers(details), b"authorization") or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, _ = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeError, ValueError):
        return None
    # without a colon it may be a password alone
    return user if colon else None
