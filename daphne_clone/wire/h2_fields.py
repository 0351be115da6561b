"""Field blocks of HTTP/2: requests from HPACK (RFC 7541) and responses to it; it knows no frames but their blocks.

Decoding is `hpack`'s. Responses are written without the dynamic table: each field is then the same octets on every
connection, and can be kept ready made (docs/decisions/0012).
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, NoReturn

from hpack import Decoder, HPACKError, OversizedHeaderListError
from hpack.table import HeaderTable

from daphne_clone.errors import H2ConnectionFault, H2StreamFault, RequestRefused
from daphne_clone.interfaces import RequestHead
from daphne_clone.wire.fields import NEVER_KEPT, VALUE_BYTES
from daphne_clone.wire.h2_frames import ErrorCode
from daphne_clone.wire.response_head import HeadEncoder
from daphne_clone.wire.target import decode_path, is_host, parse_target

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from daphne_clone.interfaces import Field, Limits

# RFC 9113 section 8.2.1: a token, in lower case.
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*")  # RFC 3986 section 3.1
_LENGTH = re.compile(rb"[0-9]{1,19}")
_MAX_LENGTH = 2**63 - 1

_PSEUDO = frozenset((b":authority", b":method", b":path", b":protocol", b":scheme"))
_REQUIRED = (b":method", b":scheme", b":path")

# RFC 9113 section 8.2.2.
_CONNECTION_SPECIFIC = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))

# Fields that mean something to the server.
_SPECIAL = frozenset((b"content-length", b"cookie", b"daphne-root-path", b"expect", b"host", b"te"))

# RFC 9113 section 6.5.2: what SETTINGS_MAX_HEADER_LIST_SIZE counts for each field besides name and value.
_FIELD_OVERHEAD = 32

# Whether a field has been checked is one look-up, where checking takes 0.4 us. Bounded, for clients make them up.
_MAX_KNOWN = 1024
_MAX_KNOWN_SIZE = 200

# Blocks that leave HPACK's dynamic table as it is mean the same until it changes; they are then only indices.
_MAX_REMEMBERED = 32
_MAX_REMEMBERED_SIZE = 512


class KnownFields(dict["Field", "Field"]):
    """Fields of requests that have been checked, for all connections of a server."""

    def keep(self, field: Field) -> None:
        """Keep a field if it is likely to come again."""
        if field[0] not in NEVER_KEPT and len(field[1]) <= _MAX_KNOWN_SIZE:
            if len(self) >= _MAX_KNOWN:
                self.clear()
            self[field] = field


class _CountingTable(HeaderTable):
    """A dynamic table that tells when it has changed."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.changes += 1
        super().add(name, value)


class RequestDecoder:
    """Makes request heads of one connection's field blocks.

    Args:
        limits: Bounds of a request.
        known: Shared by all decoders of a server.
    """

    __slots__ = ("_decoder", "_known", "_limits", "_remembered", "_table")

    def __init__(self, limits: Limits, known: KnownFields) -> None:
        self._limits = limits
        self._known = known
        # What is over our limit is refused with 431, which needs the table to stay in step; what is over twice that
        # ends the connection, for there the decoder gives up.
        self._decoder = Decoder(max_header_list_size=2 * limits.head)
        self._table = self._decoder.header_table = _CountingTable()
        self._remembered: dict[bytes, RequestHead] = {}

    def request(self, stream_id: int, block: bytes, end_stream: bool) -> RequestHead:
        """Make the head of a request.

        Args:
            end_stream: The request ends with it.

        Raises:
            H2ConnectionFault: The block cannot be decoded.
            H2StreamFault: The request is malformed (RFC 9113 section 8.1.1).
            RequestRefused: It is over a limit, or asks for what is not served.
        """
        if end_stream:
            head = self._remembered.get(block)
            if head is not None:
                return head
        changes = self._table.changes
        head = self._head(stream_id, self._decode(block), end_stream)
        if end_stream and self._table.changes == changes and len(block) <= _MAX_REMEMBERED_SIZE:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[block] = head
        return head

    def trailers(self, stream_id: int, block: bytes) -> None:
        """Check a trailer section; nobody reads it (ASGI has no way to pass it on).

        Raises:
            H2ConnectionFault: The block cannot be decoded.
            H2StreamFault: It is malformed.
        """
        fields = self._decode(block)
        size = sum(len(name) + len(value) + _FIELD_OVERHEAD for name, value in fields)
        if size > self._limits.head or len(fields) > self._limits.fields:
            raise H2StreamFault(stream_id, ErrorCode.ENHANCE_YOUR_CALM, "trailers over the limit")
        for name, value in fields:
            if name[:1] == b":":
                _malformed(stream_id, "a pseudo-field among the trailers")
            _check_field(stream_id, name, value)

    def skip(self, block: bytes) -> int:
        """Decode a block for the sake of those that follow it, which build on the same table.

        Returns:
            The number of its fields, each of which has been some work.
        """
        return len(self._decode(block))

    def forget(self) -> None:
        """Give back what is remembered; for a connection that idles."""
        self._remembered.clear()

    def _decode(self, block: bytes) -> Sequence[Field]:
        table = self._table
        changes = table.changes
        if block and block[0] & 0xE0 == 0x20:
            table.changes += 1  # it gives the table another size
        try:
            fields: Sequence[Field] = self._decoder.decode(block, raw=True)  # type: ignore[assignment]  # it is a list
            return fields
        except OversizedHeaderListError as error:
            raise H2ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "fields of more than twice the limit") from error
        except (HPACKError, IndexError, ValueError) as error:
            # hpack raises the latter two of its own where a block ends too early.
            raise H2ConnectionFault(ErrorCode.COMPRESSION_ERROR, "a field block that cannot be decoded") from error
        finally:
            if table.changes != changes:
                self._remembered.clear()

    def _head(self, stream_id: int, decoded: Iterable[Field], end_stream: bool) -> RequestHead:
        pseudo: dict[bytes, bytes] = {}
        special: dict[bytes, list[bytes]] = {}
        fields: list[Field] = []
        known = self._known.get
        size = count = 0
        is_behind_pseudo = False
        for pair in decoded:
            name, value = pair
            size += len(name) + len(value) + _FIELD_OVERHEAD
            count += 1
            field = known(pair)
            if field is not None:
                is_behind_pseudo = True
                fields.append(field)
            elif name[:1] == b":":
                if name not in _PSEUDO or name in pseudo or is_behind_pseudo:
                    _malformed(stream_id, "a pseudo-field that is unknown, repeated or out of place")
                pseudo[name] = value
            else:
                is_behind_pseudo = True
                _check_field(stream_id, name, value)
                if name in _SPECIAL:
                    special.setdefault(name, []).append(value)
                    if name == b"cookie":
                        if len(special[name]) > 1:
                            count -= 1  # RFC 9113 section 8.2.3: crumbs of one field
                            continue
                    elif name in (b"host", b"daphne-root-path"):
                        continue
                    fields.append((name, value))
                elif b"_" not in name:  # CVE-2015-0219, as in HTTP/1.1
                    field = (name, value)
                    fields.append(field)
                    self._known.keep(field)
        if len(pseudo.get(b":path", b"")) > self._limits.line:
            raise RequestRefused(HTTPStatus.REQUEST_URI_TOO_LONG, "a path over the limit")
        if size > self._limits.head or count > self._limits.fields + len(pseudo):
            raise RequestRefused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "fields over the limit")
        head = _with_target(stream_id, pseudo, special.get(b"host", []), fields)
        head.accepts_trailers = True
        if special:
            self._apply_special(stream_id, head, special, end_stream)
        elif not end_stream:
            head.content_length = None
        return head

    def _apply_special(
        self, stream_id: int, head: RequestHead, special: dict[bytes, list[bytes]], end_stream: bool
    ) -> None:
        cookies = special.get(b"cookie")
        if cookies is not None and len(cookies) > 1:
            joined = (b"cookie", b"; ".join(cookies))
            head.headers[:] = [joined if field[0] == b"cookie" else field for field in head.headers]
        if any(value != b"trailers" for value in special.get(b"te", ())):
            _malformed(stream_id, "a TE other than trailers")
        if b"daphne-root-path" in special:
            head.root_path = special[b"daphne-root-path"][0]
        length = self._length(stream_id, special.get(b"content-length", []), end_stream)
        if not end_stream:
            head.content_length = length
            values = special.get(b"expect", ())
            head.expects_continue = any(value.lower() == b"100-continue" for value in values)

    def _length(self, stream_id: int, values: list[bytes], end_stream: bool) -> int | None:
        if not values:
            return None
        if len(set(values)) > 1 or _LENGTH.fullmatch(values[0]) is None or (length := int(values[0])) > _MAX_LENGTH:
            _malformed(stream_id, "an invalid Content-Length")
        if end_stream and length:
            _malformed(stream_id, "a Content-Length, and no content")  # RFC 9113 section 8.1.1
        if 0 < self._limits.body < length:
            raise RequestRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a Content-Length over the limit")
        return length


def _malformed(stream_id: int, reason: str) -> NoReturn:
    raise H2StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, reason)


def _check_field(stream_id: int, name: bytes, value: bytes) -> None:
    """RFC 9113 sections 8.2.1 and 8.2.2."""
    if _NAME.fullmatch(name) is None:
        _malformed(stream_id, "a field name that is no token in lower case")
    if value.translate(None, VALUE_BYTES):
        _malformed(stream_id, "a control byte in a field value")
    if value[:1] in (b" ", b"\t") or value[-1:] in (b" ", b"\t"):
        _malformed(stream_id, "white space around a field value")
    if name in _CONNECTION_SPECIFIC:
        _malformed(stream_id, "a connection-specific field")


def _with_target(stream_id: int, pseudo: dict[bytes, bytes], hosts: list[bytes], fields: list[Field]) -> RequestHead:
    """Make the head from the pseudo-fields (RFC 9113 section 8.3.1) and Host."""
    method = pseudo.get(b":method", b"")
    if _METHOD.fullmatch(method) is None:
        _malformed(stream_id, "no method, or none that is a token")
    protocol = pseudo.get(b":protocol")
    is_connect = method == b"CONNECT"
    if is_connect and protocol is None:
        # RFC 9113 section 8.5: an authority, and nothing else.
        if b":scheme" in pseudo or b":path" in pseudo or not pseudo.get(b":authority"):
            _malformed(stream_id, "a malformed CONNECT")
        raise RequestRefused(HTTPStatus.NOT_IMPLEMENTED, "CONNECT")
    if protocol is not None and not is_connect:
        _malformed(stream_id, ":protocol without CONNECT")  # RFC 8441 section 4
    if not all(map(pseudo.get, _REQUIRED)):
        _malformed(stream_id, "a pseudo-field that is missing or empty")
    if _SCHEME.fullmatch(pseudo[b":scheme"]) is None:
        _malformed(stream_id, "a scheme that is none")
    path = pseudo[b":path"]
    if path[:1] != b"/" and path != b"*":
        _malformed(stream_id, "a path that does not begin with a slash")
    try:
        raw_path, query_string, _ = parse_target("GET" if is_connect else method.decode("ascii"), path)
    except RequestRefused as refusal:
        _malformed(stream_id, refusal.reason)
    authority = _authority(stream_id, pseudo.get(b":authority"), hosts)
    head = RequestHead(
        method.decode("ascii"), raw_path, decode_path(raw_path), query_string, "2", [(b"host", authority), *fields]
    )
    head.keep_alive = True
    if protocol is not None:
        if protocol != b"websocket":
            raise RequestRefused(HTTPStatus.NOT_IMPLEMENTED, "CONNECT for another protocol than WebSocket")
        head.upgrade = (protocol,)
    return head


def _authority(stream_id: int, authority: bytes | None, hosts: list[bytes]) -> bytes:
    """``:authority``, or Host where there is none; both must say the same (RFC 9113 section 8.3.1)."""
    if len(hosts) > 1 or (hosts and authority is not None and hosts[0].lower() != authority.lower()):
        _malformed(stream_id, "a Host beside another authority")
    if authority is None and hosts:
        authority = hosts[0]
    if not authority or not is_host(authority) or authority.startswith(b":"):
        _malformed(stream_id, "no valid authority")
    return authority


# RFC 7541 appendix A.
_STATIC = {field: index for index, field in enumerate(HeaderTable.STATIC_TABLE, 1)}
_STATIC_NAMES: dict[bytes, int] = {}
for _index, (_name, _) in enumerate(HeaderTable.STATIC_TABLE, 1):
    _STATIC_NAMES.setdefault(_name, _index)

# RFC 7541 section 7.1.3: what no intermediary may put into a table of its own.
_SENSITIVE = frozenset((b"authorization", b"proxy-authorization", b"set-cookie"))

# RFC 7541 section 6.3: the first block after the peer has shrunk the table has to say that it is; ours is never used.
TABLE_OF_SIZE_0 = b"\x20"


def encode_field(name: bytes, value: bytes) -> bytes:
    """A field, its name in lower case, as an index of the static table or a literal that no table keeps.

    Without Huffman's code: what it saves on the wire, it takes in time for each field that is not ready made.
    """
    index = _STATIC.get((name, value))
    if index is not None:
        return bytes((0x80 | index,))
    first = 0x10 if name in _SENSITIVE else 0x00
    index = _STATIC_NAMES.get(name)
    if index is not None:
        return _integer(index, 4, first) + _integer(len(value), 7) + value
    return b"%b%b%b%b%b" % (_integer(0, 4, first), _integer(len(name), 7), name, _integer(len(value), 7), value)


class H2HeadEncoder(HeadEncoder):
    """Writes the field block of a response."""

    __slots__ = ()

    DROPPED = _CONNECTION_SPECIFIC

    @staticmethod
    def write_status(status: int) -> bytes:
        """The pseudo-field that a response begins with (RFC 9113 section 8.3.2)."""
        return encode_field(b":status", b"%d" % status)

    @staticmethod
    def write_field(name: bytes, value: bytes) -> bytes:
        return encode_field(name, value)


def _integer(number: int, prefix_bits: int, first: int = 0) -> bytes:
    """RFC 7541 section 5.1; ``first`` holds the bits above the prefix."""
    limit = (1 << prefix_bits) - 1
    if number < limit:
        return bytes((first | number,))
    octets = [first | limit]
    number -= limit
    while number >= 0x80:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets)
