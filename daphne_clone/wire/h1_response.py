"""Responses of HTTP/1.1 from values to bytes (RFC 9112 sections 4, 6 and 7); it does not know who asks."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from daphne_clone.wire.response_head import HeadEncoder, checked_fields, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daphne_clone.interfaces import Field

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
CLOSE = b"connection: close\r\n"
KEEP_ALIVE = b"connection: keep-alive\r\n"
LAST_CHUNK = b"0\r\n"
# Capitals for those clients that compare it as it stands.
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"

_STATUS_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}


class H1HeadEncoder(HeadEncoder):
    """Writes the status line and the fields, without the empty line at their end."""

    __slots__ = ()

    @staticmethod
    def write_status(status: int) -> bytes:
        return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status

    @staticmethod
    def write_field(name: bytes, value: bytes) -> bytes:
        return b"%b: %b\r\n" % (name, value)


def encode_fields(headers: Iterable[Field], key: str) -> bytes:
    """Write fields that stand outside a final head; the rest as `checked_fields`."""
    return b"".join(H1HeadEncoder.write_field(*field) for field in checked_fields(headers, key))


def encode_refusal(status: HTTPStatus, encoder: HeadEncoder, *, head_only: bool = False) -> bytes:
    """A whole response of the server's own to what it will not serve; the connection closes behind it."""
    fields, body = refusal(status)
    head = encoder.encode(status.value, fields)[0] + CLOSE + b"\r\n"
    return head if head_only else head + body
