"""The helper functions that Daphne's users import, under Daphne's names; the server's own trust rules live elsewhere.

Nothing here asks who the peer is: a caller must have decided that the peer is a trusted proxy.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce

from twisted.web.http_headers import Headers

Address = list[str | int]
"""A two-item list, ``[host, port]``, as ``client`` and ``server`` are in an ASGI scope."""

HeaderValue = bytes | Sequence[bytes]
AnyHeaders = Headers | Mapping[bytes, HeaderValue] | Iterable[tuple[bytes, HeaderValue]]

_SCHEMES = frozenset({"http", "https", "ws", "wss"})
_MAX_PORT = 65535


def import_by_path(path: str) -> object:
    """Import what ``"module:attribute.path"`` names.

    The server itself loads applications with `asgi.application.load_application`, which explains what is wrong.

    Raises:
        ValueError: There is no colon in the path.
        ImportError: The module, or something it imports, does not exist.
        AttributeError: The module has no such attribute.
    """
    module_name, colon, attributes = path.partition(":")
    if not colon:
        raise ValueError(f"{path!r} is not of the form 'module:attribute.path'")
    return reduce(getattr, attributes.split("."), importlib.import_module(module_name))


def header_value(headers: Mapping[bytes, HeaderValue], header_name: bytes) -> str:
    """Return a header's value as text; of several values, the first.

    Args:
        headers: Values by name; the names are spelled as in ``header_name``.

    Raises:
        KeyError: There is no such header.
        UnicodeDecodeError: The value is not UTF-8.
    """
    value = headers[header_name]
    return (value if isinstance(value, bytes) else value[0]).decode("utf-8")


def parse_x_forwarded_for(
    headers: AnyHeaders,
    address_header_name: str | None = "X-Forwarded-For",
    port_header_name: str | None = "X-Forwarded-Port",
    proto_header_name: str | None = "X-Forwarded-Proto",
    original_addr: Address | None = None,
    original_scheme: str | None = None,
) -> tuple[Address | None, str | None]:
    """Return the client's address and scheme as a proxy's headers tell them.

    The address is the leftmost of the list, which is what Daphne takes. Port and scheme count only beside an address,
    so that the three never come from different hops. A value that cannot be decoded or understood is taken as absent.

    Args:
        headers: Twisted's ``Headers``, a mapping or pairs, of bytes; the case of names does not matter.
        address_header_name: None: nothing is read from the headers at all.
        port_header_name: None: the port is 0.
        proto_header_name: None: the scheme stays as it was.
        original_addr: Returned when the headers tell no address.
        original_scheme: Returned when the headers tell no scheme of http, https, ws or wss.

    Returns:
        ``([host, port], scheme)``; the port is 0 when it is not known.
    """
    if not address_header_name:
        return original_addr, original_scheme
    first_values = _first_values(headers)
    host = _first_item(first_values, address_header_name)
    if not host:
        return original_addr, original_scheme

    port_text = _first_item(first_values, port_header_name)
    # isdecimal alone would accept the digits of every script
    is_number = port_text.isascii() and port_text.isdecimal() and len(port_text) <= len(str(_MAX_PORT))
    port = int(port_text) if is_number else 0
    scheme = _first_item(first_values, proto_header_name).lower()
    return (
        [host, port if port <= _MAX_PORT else 0],
        scheme if scheme in _SCHEMES else original_scheme,
    )


def _first_values(headers: AnyHeaders) -> dict[bytes, bytes]:
    """Return the first value of each name, in lower case."""
    pairs: Iterable[tuple[bytes, HeaderValue]]
    if isinstance(headers, Headers):
        pairs = headers.getAllRawHeaders()
    elif isinstance(headers, Mapping):
        pairs = headers.items()
    else:
        pairs = headers
    first_values: dict[bytes, bytes] = {}
    for name, value in pairs:
        if not isinstance(value, bytes):
            value = value[0] if value else b""
        first_values.setdefault(name.lower(), value)
    return first_values


def _first_item(first_values: dict[bytes, bytes], name: str | None) -> str:
    """Return the first item of a list-valued header; ``""`` when it is absent, empty or not UTF-8."""
    if not name:
        return ""
    try:
        text = header_value(first_values, name.lower().encode())
    except (KeyError, UnicodeDecodeError):
        return ""
    return text.split(",", 1)[0].strip()
