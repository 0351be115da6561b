"""Request targets and Host (RFC 9112 section 3.2, RFC 9110 section 7.2); knows nothing of scopes or applications."""

from __future__ import annotations

import re
from http import HTTPStatus
from urllib.parse import unquote

from daphne_clone.errors import RequestRefused

# Printable ASCII without what can never stand in a target. Brackets, braces, quotes and the like are let through, as
# browsers send them; "#" is not, for a fragment is never sent (RFC 9112 section 3.2).
_TARGET_BYTES = bytes(byte for byte in range(0x21, 0x7F) if byte != 0x23)

# RFC 3986 section 3.2.2, with an optional port. Empty is allowed: a target without an authority (RFC 9110 section 7.2).
_HOST = re.compile(rb"(?:\[[0-9A-Fa-fvV:.]+\]|[A-Za-z0-9\-._~!$&'()*+,;=%]*)(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?]+)(.*)")


def is_host(value: bytes) -> bool:
    """Tell whether ``value`` is a ``uri-host [":" port]`` (RFC 9110 section 7.2)."""
    return _HOST.fullmatch(value) is not None


def decode_path(path: bytes) -> str:
    """Percent- and UTF-8-decode a path; what is not UTF-8 becomes U+FFFD, as in WSGI servers.

    >>> decode_path(b"/caf%C3%A9")
    '/café'
    """
    text = path.decode("ascii")
    return unquote(text) if "%" in text else text


def parse_target(method: str, target: bytes) -> tuple[bytes, bytes, bytes | None]:
    """Take a request target apart (RFC 9112 section 3.2).

    Args:
        method: Decides which forms are allowed.
        target: As it stands in the request line.

    Returns:
        The undecoded path, the query without its ``?`` (``b""`` for none), and the authority of the absolute form,
        which replaces the Host field (None for the other forms).

    Raises:
        RequestRefused: 400 for a target that is malformed or of a form the method does not have; 501 for CONNECT.
    """
    if target.translate(None, _TARGET_BYTES):
        raise RequestRefused(HTTPStatus.BAD_REQUEST, "a byte in the target that no target may hold")
    if method == "CONNECT":
        # The authority form asks for a tunnel (RFC 9110 section 9.3.6); this is no proxy.
        raise RequestRefused(HTTPStatus.NOT_IMPLEMENTED, "CONNECT")
    if target.startswith(b"/"):
        path, _, query = target.partition(b"?")
        return path, query, None
    if target == b"*" and method == "OPTIONS":
        return target, b"", None
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise RequestRefused(HTTPStatus.BAD_REQUEST, "a target of no known form")
    authority, rest = absolute.groups()
    if not is_host(authority) or authority.startswith(b":"):
        raise RequestRefused(HTTPStatus.BAD_REQUEST, "an authority that is no host and port")
    path, _, query = rest.partition(b"?")
    return path or b"/", query, authority
