"""The chunked transfer coding, receiving side (RFC 9112 section 7.1); it does not know what a request is.

A chunked body is a line with a size in hex, that many octets, CRLF, and so on until a size of 0, behind which come
trailer fields and an empty line. Everything a lenient reader might take in two ways is refused: that is how requests
are smuggled past a proxy that reads the same bytes in the other way.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from daphne_clone.errors import RequestRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from daphne_clone.interfaces import Limits

_SIZE, _DATA, _DATA_END, _TRAILERS, _ENDED = range(5)

# A size, then perhaps extensions (RFC 9112 section 7.1.1), which nobody reads. Blanks before ";" are in the grammar as
# "bad white space" and refused here. 16 digits hold more than any body may have.
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]*)?")
_MAX_SIZE_LINE = 256
_MAX_BODY = 2**63 - 1

# Extensions of all chunks of a body together: else a byte of body could cost _MAX_SIZE_LINE bytes (CVE-2023-39326).
_MAX_EXTENSIONS = 16_384


def _bad(reason: str) -> RequestRefused:
    return RequestRefused(HTTPStatus.BAD_REQUEST, reason)


class ChunkedDecoder:
    """Decodes one chunked body.

    Args:
        limits: ``body`` bounds the decoded body, ``head`` and ``fields`` the trailer section.
        check_field: Called with each trailer line, without its line end; raises what is wrong with it. The trailers
            themselves are dropped: ASGI has no place for those of a request, and they must never become headers
            (RFC 9110 section 6.5.1).

    Attributes:
        ended: The whole body has been seen.
        rest: What came behind the body, once it ended.
    """

    __slots__ = (
        "_check_field",
        "_extension_bytes",
        "_limits",
        "_partial",
        "_received",
        "_remaining",
        "_state",
        "_trailer_bytes",
        "_trailers",
        "ended",
        "rest",
    )

    def __init__(self, limits: Limits, check_field: Callable[[bytes], object]) -> None:
        self._limits = limits
        self._check_field = check_field
        self._state = _SIZE
        self._partial = b""  # the begin of a line, or of the CRLF behind a chunk
        self._remaining = 0  # octets of the current chunk still to come
        self._received = 0  # octets of body, the current chunk counted whole
        self._extension_bytes = 0
        self._trailer_bytes = 0
        self._trailers = 0
        self.ended = False
        self.rest = b""

    def receive_data(self, data: bytes) -> bytes:
        """Decode the next bytes.

        Returns:
            The octets of body among them; often ``b""``.

        Raises:
            RequestRefused: 400 for what breaks the grammar, 413 or 431 for what passes a limit; the decoder is of no
                use afterwards.
        """
        if self._partial:
            data = self._partial + data
            self._partial = b""
        parts = []
        at = 0
        while at < len(data) and not self.ended:
            if self._state == _DATA:
                part = data[at : at + self._remaining]
                parts.append(part)
                at += len(part)
                self._remaining -= len(part)
                if not self._remaining:
                    self._state = _DATA_END
            elif self._state == _DATA_END:
                line_end = data[at : at + 2]
                if not b"\r\n".startswith(line_end):
                    raise _bad("a chunk that is longer than its size")
                if len(line_end) < 2:
                    self._partial = line_end
                    break
                at += 2
                self._state = _SIZE
            else:
                line_end_at = data.find(b"\n", at)
                self._check_length((len(data) if line_end_at < 0 else line_end_at) - at)
                if line_end_at < 0:
                    self._partial = data[at:]
                    break
                line = data[at:line_end_at]
                at = line_end_at + 1
                if not line.endswith(b"\r"):
                    raise _bad("a bare LF in chunked framing")
                if self._state == _SIZE:
                    self._size_line(line[:-1])
                else:
                    self._trailer_line(line[:-1])
        if self.ended:
            self.rest = data[at:]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _check_length(self, length: int) -> None:
        """Bound a line by the bytes before its LF, be they all there yet or not, so that splits change nothing."""
        if self._state == _SIZE:
            if length > _MAX_SIZE_LINE:
                raise _bad("a chunk size line that is too long")
        elif self._trailer_bytes + length >= self._limits.head:
            raise RequestRefused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "trailers over the limit")

    def _size_line(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise _bad("a malformed chunk size")
        digits = match[1]
        self._extension_bytes += len(line) - len(digits)
        if self._extension_bytes > _MAX_EXTENSIONS:
            raise _bad("chunk extensions over the limit")
        size = int(digits, 16)
        self._received += size
        if self._received > _MAX_BODY:
            raise _bad("a chunk size out of range")
        if 0 < self._limits.body < self._received:
            raise RequestRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a chunked body over the limit")
        self._remaining = size
        self._state = _DATA if size else _TRAILERS

    def _trailer_line(self, line: bytes) -> None:
        self._trailer_bytes += len(line) + 2
        if not line:
            self._state = _ENDED
            self.ended = True
            return
        self._trailers += 1
        if self._trailers > self._limits.fields:
            raise RequestRefused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too many trailers")
        self._check_field(line)
