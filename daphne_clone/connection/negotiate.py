"""Which version of HTTP a connection speaks, by ALPN or by its first bytes; it does not know how either is spoken."""

from __future__ import annotations

from typing import Any

from daphne_clone.wire.h2_frames import PREFACE

# RFC 9113 section 3.1.
ALPN_HTTP_2 = b"h2"


def is_http2(transport: Any, first: bytes) -> bool | None:  # noqa: ANN401  # any ITransport
    """Tell whether HTTP/2 is spoken.

    Args:
        transport: Knows what was negotiated, if anything was (`INegotiated`).
        first: The first bytes of the connection.

    Returns:
        None while they may be the beginning of HTTP/2's preface, which is the way to speak it without ALPN (RFC 9113
        section 3.3).
    """
    negotiated = getattr(transport, "negotiatedProtocol", None)
    if negotiated is not None:
        return bool(negotiated == ALPN_HTTP_2)
    if first.startswith(PREFACE):
        return True
    return None if PREFACE.startswith(first) else False
