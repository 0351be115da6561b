"""Requests of HTTP/1.1 and 1.0 from bytes to calls (RFC 9112); it knows no sockets, no time and no applications.

The parser walks each request through HEAD, then FIXED or CHUNKED where there is a body, to PARKED. There it stays,
keeping what the client pipelined, until `RequestParser.next_request`: so one request is under way at a time, and
what a broken one behind it deserves can never be taken for its answer.

What is refused, and with which status, is decided by the bytes in their order and never by how they were split: a
head that arrives whole takes a fast path, but both paths make the same checks in the same order, and limits are
measured on lines, whole or not.
"""

from __future__ import annotations

import functools
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from daphne_clone.errors import RequestRefused
from daphne_clone.interfaces import RequestHead
from daphne_clone.wire.fields import NEVER_KEPT, TOKEN, VALUE_BYTES
from daphne_clone.wire.h1_chunked import ChunkedDecoder
from daphne_clone.wire.target import decode_path, is_host, parse_target

if TYPE_CHECKING:
    from daphne_clone.interfaces import Field, Limits, RequestSink

_HEAD, _FIXED, _CHUNKED, _PARKED, _REFUSED = range(5)

_VERSIONS = {b"HTTP/1.1": "1.1", b"HTTP/1.0": "1.0"}
_VERSION = re.compile(rb"HTTP/([0-9])\.([0-9])")
_LENGTH = re.compile(rb"[0-9]{1,19}")
_MAX_LENGTH = 2**63 - 1

# A request without a body that repeats the one before it, byte for byte, is not parsed again (docs/decisions/0003).
# Longer ones are not remembered: the memory is each connection's.
_MAX_REMEMBERED = 1024

# Fields that decide framing, routing or the connection's life; all others only go through.
_SPECIAL = frozenset(
    (
        b"connection",
        b"content-length",
        b"daphne-root-path",
        b"expect",
        b"host",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    )
)
# Of these, the one that is part of our own dealings with a proxy, and none of the application's.
_ROOT_PATH = b"daphne-root-path"


def _bad(reason: str) -> RequestRefused:
    return RequestRefused(HTTPStatus.BAD_REQUEST, reason)


def _tokens(value: bytes) -> tuple[bytes, ...]:
    """The members of a list field, in lower case (RFC 9110 section 5.6.1)."""
    # A client may make up long ones, and what is remembered stays.
    return _short_tokens(value) if len(value) <= 64 else tuple(_split_list(value))


@functools.lru_cache(maxsize=256)
def _short_tokens(value: bytes) -> tuple[bytes, ...]:
    return tuple(_split_list(value))


def _split_list(value: bytes) -> list[bytes]:
    return [member.strip(b" \t") for member in value.lower().split(b",")]


class RequestLine(NamedTuple):
    """A request line, checked and taken apart."""

    method: str
    raw_path: bytes
    path: str
    query_string: bytes
    version: str
    authority: bytes | None


class LineTable:
    """Lines already checked and taken apart, kept for the next request that has the same one.

    Most lines of most requests are the same few (docs/decisions/0003 has what that saves). Fields that differ with
    every client or carry a secret are never kept, and lines that a client makes up only empty the table: it is
    cleared when it is full.

    Attributes:
        requests: Request lines.
        fields: Field lines, but for those that mean something to the server.
        names: Field names as sent, and in lower case.
    """

    __slots__ = ("fields", "names", "requests")

    MAX_LINES = 1024
    MAX_LINE = 200
    MAX_NAMES = 512
    MAX_NAME = 64

    NEVER_KEPT = _SPECIAL | NEVER_KEPT

    def __init__(self) -> None:
        self.requests: dict[bytes, RequestLine] = {}
        self.fields: dict[bytes, Field] = {}
        self.names: dict[bytes, bytes] = {}

    def name(self, raw: bytes) -> bytes:
        """Check a field name that the table does not have, and keep it; returns it in lower case.

        Raises:
            RequestRefused: 400 when it is no token; so for white space before the colon and for folded lines.
        """
        if TOKEN.fullmatch(raw) is None:
            raise _bad("a field name that is no token")
        if len(self.names) >= self.MAX_NAMES:
            self.names.clear()
        name = raw.lower()
        if len(raw) <= self.MAX_NAME:
            self.names[raw] = name
        return name

    def keep_field(self, line: bytes, field: Field) -> None:
        if field[0] not in self.NEVER_KEPT and len(line) <= self.MAX_LINE:
            if len(self.fields) >= self.MAX_LINES:
                self.fields.clear()
            self.fields[line] = field

    def keep_request(self, line: bytes, request: RequestLine) -> None:
        # A query is often a search, a token or a cache buster: not worth a place, and perhaps a secret.
        if not request.query_string and len(line) <= self.MAX_LINE:
            if len(self.requests) >= self.MAX_LINES:
                self.requests.clear()
            self.requests[line] = request


class RequestParser:
    """Parses the requests of one connection, one after another.

    Args:
        sink: Receives the calls; it must not call back from within them.
        limits: Bounds of a request.
        table: Shared by all parsers of a server.

    Attributes:
        is_between_requests: No byte of another request has been seen.
        is_request_whole: The current request has been received to its end, and `next_request` not been called yet.
        pending: What came behind the current request.
    """

    __slots__ = (
        "_chunked",
        "_fast_limit",
        "_fields",
        "_head_bytes",
        "_known_host",
        "_limits",
        "_line",
        "_line_count",
        "_partial",
        "_remaining",
        "_remembered",
        "_remembered_head",
        "_scanned",
        "_sink",
        "_special",
        "_state",
        "_table",
        "is_between_requests",
        "is_request_whole",
        "pending",
    )

    def __init__(self, sink: RequestSink, limits: Limits, table: LineTable) -> None:
        self._sink = sink
        self._limits = limits
        self._table = table
        self._fast_limit = min(limits.line, limits.head - 4)
        self._state = _HEAD
        self.is_between_requests = True
        self.is_request_whole = False
        self.pending = b""
        self._remembered: bytes | None = None
        self._remembered_head: RequestHead | None = None
        self._partial = bytearray()  # the line of the head that is not whole yet
        self._scanned = 0  # bytes of it that hold no LF
        self._head_bytes = 0  # of the lines before it
        self._line: RequestLine | None = None
        self._line_count = 0  # field lines, those dropped included
        self._fields: list[Field] = []
        self._special: dict[bytes, list[bytes]] = {}
        self._known_host = b""
        self._remaining = 0
        self._chunked: ChunkedDecoder | None = None

    @property
    def remaining_bytes(self) -> int | None:
        """Octets of the current body still to come; None when only its end will tell."""
        return None if self._state == _CHUNKED else self._remaining

    def receive_data(self, data: bytes) -> None:
        """Parse the next bytes, as far as the current request goes.

        Raises:
            RequestRefused: What is wrong; the parser ignores everything from then on. What the sink was told before
                stands.
        """
        if data == self._remembered and self.is_between_requests and not self._head_bytes:
            assert self._remembered_head is not None, "the head is remembered with its bytes"
            self.is_between_requests = False
            self.is_request_whole = True
            self._state = _PARKED
            self._sink.head_received(self._remembered_head)
            return
        try:
            while data:
                state = self._state
                if state == _HEAD:
                    data = self._receive_head(data)
                elif state == _FIXED:
                    data = self._receive_fixed(data)
                elif state == _CHUNKED:
                    data = self._receive_chunked(data)
                elif state == _REFUSED:
                    return
                else:
                    self.pending += data
                    return
        except RequestRefused:
            self._state = _REFUSED
            raise

    def next_request(self) -> None:
        """Go on to the next request, which may be there already.

        Raises:
            RequestRefused: As `receive_data`.
        """
        assert self.is_request_whole, "the current request has not ended"
        self._state = _HEAD
        self.is_request_whole = False
        self.is_between_requests = True
        if self.pending:
            pending, self.pending = self.pending, b""
            self.receive_data(pending)

    def forget(self) -> None:
        """Give back what is remembered of the last request; for a connection that idles."""
        self._remembered = None
        self._remembered_head = None

    def close(self) -> None:
        """Let go of the sink: else the two hold each other until the garbage collector comes."""
        self._sink = None  # type: ignore[assignment]  # nothing is parsed any more

    def take_pending(self) -> bytes:
        """Hand over, once, what came behind the current request: the connection changes its protocol."""
        assert self.is_request_whole, "the current request has not ended"
        pending, self.pending = self.pending, b""
        return pending

    def _receive_head(self, data: bytes) -> bytes:
        """Parse from the head; returns what lies behind it."""
        if self.is_between_requests and not self._head_bytes:
            self.is_between_requests = False
            end = data.find(b"\r\n\r\n")
            if 0 < end <= self._fast_limit:
                lines = data[:end].split(b"\r\n")
                if lines[0] and len(lines) - 1 <= self._limits.fields:
                    self._line = self._table.requests.get(lines[0]) or self._request_line(lines[0])
                    known = self._table.fields.get
                    fields = self._fields
                    for line in lines[1:]:
                        field = known(line) or self._field(line)
                        if field is not None:
                            fields.append(field)
                    head = self._head_ended()
                    rest = data[end + 4 :]
                    if not rest and self.is_request_whole and len(data) <= _MAX_REMEMBERED:
                        self._remembered = data
                        self._remembered_head = head
                    self._sink.head_received(head)
                    return rest
        return self._receive_lines(data)

    def _receive_lines(self, data: bytes) -> bytes:
        """The general path: a head in pieces, or one that may pass a limit; line by line as they become whole."""
        self.is_between_requests = False
        partial = self._partial
        partial += data
        while True:
            if self._line is None and partial and partial[0] not in b"\r\n" and not TOKEN.match(partial[:1]):
                # Say so at once to what does not speak HTTP (TLS on a plain port, say): it may never send a line.
                raise _bad("a first byte that begins no method")
            end = partial.find(b"\n", self._scanned)
            self._check_length(len(partial) if end < 0 else end)
            if end < 0:
                self._scanned = len(partial)
                return b""
            line = bytes(partial[:end])
            del partial[: end + 1]
            self._scanned = 0
            self._head_bytes += end + 1
            if not line.endswith(b"\r"):
                raise _bad("a bare LF")
            line = line[:-1]
            if self._line is None:
                if line:
                    self._line = self._request_line(line)
                elif not partial:
                    # RFC 9112 section 2.2: empty lines before a request line are ignored. They count towards the
                    # head's limit, but begin nothing.
                    self.is_between_requests = True
            elif line:
                self._line_count += 1
                if self._line_count > self._limits.fields:
                    raise RequestRefused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too many fields")
                field = self._table.fields.get(line) or self._field(line)
                if field is not None:
                    self._fields.append(field)
            else:
                rest = bytes(partial)
                partial.clear()
                self._sink.head_received(self._head_ended())
                return rest

    def _check_length(self, length: int) -> None:
        """Bound the current line by the bytes before its LF, be they all there yet or not."""
        if self._line is None and length > self._limits.line + 1:
            raise RequestRefused(HTTPStatus.REQUEST_URI_TOO_LONG, "a request line over the limit")
        if self._head_bytes + length >= self._limits.head:
            raise RequestRefused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "a head over the limit")

    def _request_line(self, line: bytes) -> RequestLine:
        """A request line that the table does not have (RFC 9112 section 3)."""
        if b"\n" in line:
            raise _bad("a bare LF")  # before all else, for in pieces the line would have ended there
        parts = line.split(b" ")
        if len(parts) != 3 or TOKEN.fullmatch(parts[0]) is None:
            raise _bad("a malformed request line")
        version = _VERSIONS.get(parts[2])
        if version is None:
            match = _VERSION.fullmatch(parts[2])
            if match is None:
                raise _bad("a malformed version")
            if match[1] != b"1":
                raise RequestRefused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "a major version other than 1")
            # RFC 9110 section 2.5: a higher minor version is served as the highest known.
            version = "1.1"
        method = parts[0].decode("ascii")
        raw_path, query_string, authority = parse_target(method, parts[1])
        request = RequestLine(method, raw_path, decode_path(raw_path), query_string, version, authority)
        self._table.keep_request(line, request)
        return request

    def _parse_field(self, line: bytes) -> Field:
        """Check a field line and take it apart.

        Nothing is trimmed from the name: white space around it, a folded line or one without a colon is refused
        (RFC 9112 sections 5.1 and 5.2).
        """
        raw_name, colon, value = line.partition(b":")
        if not colon:
            raise _bad("a field line without a colon")
        name = self._table.names.get(raw_name) or self._table.name(raw_name)
        value = value.strip(b" \t")
        if value.translate(None, VALUE_BYTES):
            raise _bad("a control byte in a field value")
        return name, value

    def _field(self, line: bytes) -> Field | None:
        """A field of the head that the table does not have; None for one to be dropped."""
        field = self._parse_field(line)
        name, value = field
        if name in _SPECIAL:
            self._special.setdefault(name, []).append(value)
            if name == _ROOT_PATH:
                return None
        elif b"_" in name:
            # CVE-2015-0219: "X_Auth" and "X-Auth" are one variable to WSGI and CGI applications.
            return None
        else:
            self._table.keep_field(line, field)
        return field

    def _head_ended(self) -> RequestHead:
        """All lines are in: make the head, and decide the framing of what follows."""
        assert self._line is not None, "a head without a request line cannot end"
        method, raw_path, path, query_string, version, authority = self._line
        fields, special = self._fields, self._special
        self._line, self._fields, self._special = None, [], {}
        self._head_bytes = self._line_count = 0
        head = RequestHead(method, raw_path, path, query_string, version, fields)
        self._apply_host(head, special, authority)
        if len(special) > 1 or b"host" not in special:
            self._apply_special(head, special)
        length = head.content_length
        if length == 0:
            self._state = _PARKED
            self.is_request_whole = True
        elif length is None:
            self._state = _CHUNKED
            self._chunked = ChunkedDecoder(self._limits, self._parse_field)
        else:
            self._state = _FIXED
            self._remaining = length
        return head

    def _apply_host(self, head: RequestHead, special: dict[bytes, list[bytes]], authority: bytes | None) -> None:
        """RFC 9112 section 3.2: one valid Host in HTTP/1.1, and the target's authority wins over it."""
        hosts = special.get(b"host", ())
        if len(hosts) != 1 and (hosts or head.http_version == "1.1"):
            raise _bad("no Host" if not hosts else "more than one Host")
        for host in hosts:
            if host != self._known_host:
                if not is_host(host):
                    raise _bad("an invalid Host")
                self._known_host = host
        if authority is not None:
            head.headers[:] = [(b"host", authority), *(field for field in head.headers if field[0] != b"host")]

    def _apply_special(self, head: RequestHead, special: dict[bytes, list[bytes]]) -> None:
        """Framing and the connection's life from the fields that decide them."""
        is_1_1 = head.http_version == "1.1"
        if b"connection" in special:
            options = _tokens(b",".join(special[b"connection"]))
            head.keep_alive = b"close" not in options and (is_1_1 or b"keep-alive" in options)
            # RFC 9110 section 7.8: no upgrade for HTTP/1.0, and none that Connection does not name.
            if is_1_1 and b"upgrade" in options and b"upgrade" in special:
                head.upgrade = tuple(filter(None, _tokens(b",".join(special[b"upgrade"]))))
        if _ROOT_PATH in special:
            head.root_path = special[_ROOT_PATH][0]
        if b"te" in special:
            head.accepts_trailers = is_1_1 and b"trailers" in _tokens(b",".join(special[b"te"]))
        if b"content-length" in special or b"transfer-encoding" in special:
            head.content_length = self._body_length(special, is_1_1)
            # RFC 9110 section 10.1.1: no 100 for HTTP/1.0, nor where there is no body.
            if is_1_1 and head.content_length != 0 and b"expect" in special:
                head.expects_continue = b"100-continue" in _tokens(b",".join(special[b"expect"]))

    def _body_length(self, special: dict[bytes, list[bytes]], is_1_1: bool) -> int | None:
        """The length of the body, or None for a chunked one (RFC 9112 section 6.3)."""
        lengths = special.get(b"content-length", [])
        codings = special.get(b"transfer-encoding")
        if codings is not None:
            if lengths:
                raise _bad("Content-Length with Transfer-Encoding")
            if not is_1_1:
                raise _bad("Transfer-Encoding in HTTP/1.0")
            members = _tokens(b",".join(codings))
            if members[-1] != b"chunked" or b"chunked" in members[:-1]:
                raise _bad("a Transfer-Encoding that does not end in one chunked")
            if len(members) > 1:
                raise RequestRefused(HTTPStatus.NOT_IMPLEMENTED, "a transfer coding that is not known")
            return None
        if len(set(lengths)) > 1:
            raise _bad("Content-Lengths that differ")
        if _LENGTH.fullmatch(lengths[0]) is None or (length := int(lengths[0])) > _MAX_LENGTH:
            raise _bad("an invalid Content-Length")
        if 0 < self._limits.body < length:
            raise RequestRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a Content-Length over the limit")
        return length

    def _receive_fixed(self, data: bytes) -> bytes:
        """A body of known length; returns what lies behind it."""
        rest = b""
        if len(data) > self._remaining:
            data, rest = data[: self._remaining], data[self._remaining :]
        self._remaining -= len(data)
        if self._remaining:
            self._sink.body_received(data)
        else:
            self._state = _PARKED
            self.is_request_whole = True
            self._sink.body_received(data)
            self._sink.request_ended()
        return rest

    def _receive_chunked(self, data: bytes) -> bytes:
        """A chunked body; returns what lies behind it."""
        decoder = self._chunked
        assert decoder is not None, "a chunked body has a decoder"
        body = decoder.receive_data(data)
        if decoder.ended:
            self._state = _PARKED
            self.is_request_whole = True
            self._chunked = None
        if body:
            self._sink.body_received(body)
        if decoder.ended:
            self._sink.request_ended()
        return decoder.rest
