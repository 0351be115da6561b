"""The opening handshake of a WebSocket, from a request that is parsed already (RFC 6455 section 4.2).

It says what is wrong, never how that is answered on the wire: the head is neither written out nor parsed again
(docs/decisions/0002).
"""

from __future__ import annotations

import binascii
from base64 import b64encode
from hashlib import sha1
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from daphne_clone.errors import RequestRefused
from daphne_clone.wire.fields import is_token

if TYPE_CHECKING:
    from daphne_clone.interfaces import Field, RequestHead

VERSION = b"13"

# RFC 6455 section 1.3.
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

# What a 426 says besides (RFC 6455 section 4.2.2, RFC 9110 section 15.5.22).
_UPGRADE_REQUIRED: list[Field] = [(b"sec-websocket-version", VERSION), (b"upgrade", b"websocket")]


class Handshake(NamedTuple):
    """What a client asks for.

    Attributes:
        key: ``Sec-WebSocket-Key``; None where the HTTP version has no use for one.
        subprotocols: In the client's order of preference.
        extensions: The offers of ``Sec-WebSocket-Extensions``, its fields joined; empty without any.
    """

    key: bytes | None
    subprotocols: list[str]
    extensions: str


def accept_token(key: bytes) -> bytes:
    """The value of ``Sec-WebSocket-Accept`` for a key (RFC 6455 section 4.2.2)."""
    return b64encode(sha1(key + _MAGIC, usedforsecurity=False).digest())


def check(head: RequestHead) -> Handshake:
    """Read a WebSocket request.

    Raises:
        RequestRefused: 400 for what is malformed, 426 for another version than 13.
    """
    # RFC 8441 section 5: in HTTP/2 it is an extended CONNECT, on a stream that stays open, and without a key.
    is_1 = head.http_version == "1.1"
    if head.method != ("GET" if is_1 else "CONNECT"):
        raise RequestRefused(HTTPStatus.BAD_REQUEST, "a WebSocket handshake of another method")
    if head.content_length != (0 if is_1 else None):
        raise RequestRefused(HTTPStatus.BAD_REQUEST, "a WebSocket handshake with a body, or without a stream")
    versions, keys, protocols, extensions = [], [], [], []
    for name, value in head.headers:
        if not name.startswith(b"sec-websocket-"):
            continue
        if name == b"sec-websocket-version":
            versions.append(value)
        elif name == b"sec-websocket-key":
            keys.append(value)
        elif name == b"sec-websocket-protocol":
            protocols.append(value)
        elif name == b"sec-websocket-extensions":
            extensions.append(value)
    # The version first: what follows from the others is another version's business.
    if versions != [VERSION]:
        raise RequestRefused(HTTPStatus.UPGRADE_REQUIRED, "a WebSocket version other than 13")
    if is_1 and (len(keys) != 1 or not _is_key(keys[0])):
        raise RequestRefused(HTTPStatus.BAD_REQUEST, "no valid Sec-WebSocket-Key, or more than one")
    return Handshake(keys[0] if is_1 else None, _subprotocols(protocols), b",".join(extensions).decode("latin-1"))


def refusal_fields(status: HTTPStatus) -> list[Field]:
    """The fields that a refusal with this status has besides the usual ones."""
    return _UPGRADE_REQUIRED if status == HTTPStatus.UPGRADE_REQUIRED else []


def _is_key(value: bytes) -> bool:
    """Tell whether this is base64 of 16 octets (RFC 6455 section 4.2.1 item 5)."""
    try:
        return len(binascii.a2b_base64(value, strict_mode=True)) == 16
    except binascii.Error:
        return False


def _subprotocols(values: list[bytes]) -> list[str]:
    """The members of ``Sec-WebSocket-Protocol``, over all its fields (RFC 6455 section 11.3.4)."""
    if not values:
        return []
    members = [member.strip(b" \t") for member in b",".join(values).split(b",")]
    members = [member for member in members if member]  # RFC 9110 section 5.6.1: empty members are ignored
    if not all(map(is_token, members)):
        raise RequestRefused(HTTPStatus.BAD_REQUEST, "a subprotocol that is no token")
    return [member.decode("ascii") for member in members]
