"""What an application may say on a WebSocket (ASGI "WebSocket"), message by message; it sends nothing.

Each function takes a message apart or raises `ApplicationProtocolError`. Unknown keys are no error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daphne_clone.asgi.http_rules import header_list, wrong
from daphne_clone.errors import ApplicationProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daphne_clone.interfaces import Field

# These belong to the handshake itself; what an application says of them would break it.
_OWN = frozenset(
    (
        b"connection",
        b"content-length",
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-version",
        b"transfer-encoding",
        b"upgrade",
    )
)

# RFC 6455 section 7.4: what a Close frame may carry. 1004 means nothing yet; 1005, 1006 and 1015 are never sent.
_SENDABLE = frozenset((1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)))


def accept(message: Mapping[str, Any], offered: Sequence[str]) -> tuple[str | None, list[Field]]:
    """Subprotocol and fields of ``websocket.accept``, without those that are the server's.

    Args:
        message: The message.
        offered: The subprotocols of the client; the application's must be one of them (RFC 6455 section 4.2.2).
    """
    subprotocol = message.get("subprotocol")
    if subprotocol is not None and not isinstance(subprotocol, str):
        wrong(message, "subprotocol", "a string or None")
    headers = []
    for pair in header_list(message.get("headers", ())):
        try:
            name, value = pair
        except (TypeError, ValueError):
            raise ApplicationProtocolError(f"headers: {pair!r} is no pair of a name and a value") from None
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise ApplicationProtocolError(f"headers: expected a name and a value of bytes, got {pair!r}")
        if name.lower() == b"sec-websocket-protocol":
            # Some applications choose it here.
            if subprotocol is not None:
                raise ApplicationProtocolError("websocket.accept: a subprotocol is given twice")
            subprotocol = value.decode("latin-1")
        elif name.lower() not in _OWN:
            headers.append((name, value))
    if subprotocol is not None and subprotocol not in offered:
        expected = "one that the client offers" if offered else "None, for the client offers none"
        raise ApplicationProtocolError(f"websocket.accept: 'subprotocol' is {subprotocol!r}; expected {expected}")
    return subprotocol, headers


def send(message: Mapping[str, Any]) -> str | bytes:
    """The payload of ``websocket.send``: text as str, or bytes."""
    text, data = message.get("text"), message.get("bytes")
    if text is not None:
        if data is not None:
            raise ApplicationProtocolError("websocket.send: both 'text' and 'bytes' are given; expected one of them")
        if not isinstance(text, str):
            wrong(message, "text", "a string")
        return text
    if data is None:
        raise ApplicationProtocolError("websocket.send: neither 'text' nor 'bytes' is given")
    if not isinstance(data, bytes | bytearray | memoryview):
        wrong(message, "bytes", "bytes")
    return bytes(data)


def close(message: Mapping[str, Any]) -> tuple[int, str]:
    """Code and reason of ``websocket.close``; a reason is cut to what a frame can hold (123 octets)."""
    code = message.get("code", 1000)
    if code is None:
        code = 1000
    if isinstance(code, bool) or not isinstance(code, int) or code not in _SENDABLE:
        wrong(message, "code", "1000 to 1003, 1007 to 1014 or 3000 to 4999")
    reason = message.get("reason")
    if reason is None:
        reason = ""
    if not isinstance(reason, str):
        wrong(message, "reason", "a string")
    try:
        reason.encode()
    except UnicodeEncodeError:
        wrong(message, "reason", "text without lone surrogates")
    return int(code), reason
