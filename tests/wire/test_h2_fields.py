"""Field blocks of HTTP/2, both ways; `hpack` is at the other end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import pytest
from hpack import Decoder, Encoder

from daphne_clone.errors import ApplicationProtocolError, H2ConnectionFault, H2StreamFault, RequestRefused
from daphne_clone.interfaces import Limits, RequestHead
from daphne_clone.wire.fields import VALUE_BYTES, DefaultFields
from daphne_clone.wire.h2_fields import (
    TABLE_OF_SIZE_0,
    H2HeadEncoder,
    KnownFields,
    RequestDecoder,
    encode_field,
)
from daphne_clone.wire.h2_frames import ErrorCode
from tests.support.h2_frames import (
    INCREMENTAL,
    NEVER,
    WITHOUT,
    field_block,
    huffman_string,
    indexed,
    integer,
    literal,
    request_fields,
    table_size,
)

Fields = list[tuple[bytes, bytes]]

BASIC = request_fields(b"/", authority=b"a")
# A whole request of four octets: GET, http, / and an empty authority would do, but a name is needed.
STATIC_GET = indexed(2) + indexed(6) + indexed(4)


def new_decoder(limits: Limits | None = None, known: KnownFields | None = None) -> RequestDecoder:
    return RequestDecoder(limits or Limits(), known if known is not None else KnownFields())


def head_of(fields: Iterable[tuple[bytes, bytes]], *, end: bool = True, limits: Limits | None = None) -> RequestHead:
    return new_decoder(limits).request(1, field_block(fields), end)


def with_fields(*fields: tuple[bytes, bytes]) -> Fields:
    return [*BASIC, *fields]


def malformed(fields: Iterable[tuple[bytes, bytes]], *, end: bool = True) -> bool:
    """Whether a request is refused with the error that RFC 9113 section 8.1.1 has for it."""
    try:
        head_of(fields, end=end)
    except H2StreamFault as fault:
        return (fault.stream_id, fault.code) == (1, ErrorCode.PROTOCOL_ERROR)
    return False


def refused(fields: Iterable[tuple[bytes, bytes]], *, end: bool = True, limits: Limits | None = None) -> int | None:
    try:
        head_of(fields, end=end, limits=limits)
    except RequestRefused as refusal:
        return refusal.status.value
    return None


# What a head is made of


def test_the_head_of_a_request() -> None:
    head = head_of(
        request_fields(b"/caf%C3%A9?a=b", [(b"accept", b"*/*"), (b"x-y", b"")], method=b"PUT", authority=b"b:80")
    )
    assert (head.method, head.raw_path, head.path, head.query_string) == ("PUT", b"/caf%C3%A9", "/café", b"a=b")
    assert head.http_version == "2"
    assert head.headers == [(b"host", b"b:80"), (b"accept", b"*/*"), (b"x-y", b"")]
    assert head.content_length == 0
    assert head.accepts_trailers
    assert head.keep_alive
    assert not head.expects_continue
    assert head.root_path is None
    assert head.upgrade == ()


def test_fields_keep_their_order_and_duplicates() -> None:
    fields = [(b"b", b"1"), (b"a", b"2"), (b"b", b"3"), (b"te", b"trailers"), (b"a", b"2")]
    assert head_of(with_fields(*fields)).headers == [(b"host", b"a"), *fields]


def test_methods_are_what_they_are_and_case_matters() -> None:
    for method in (b"GET", b"get", b"M-SEARCH", b"X!#$%&'*+-.^_`|~9"):
        assert head_of(request_fields(b"/", method=method)).method == method.decode()


def test_the_asterisk_is_a_target_of_options() -> None:
    head = head_of(request_fields(b"*", method=b"OPTIONS"))
    assert (head.raw_path, head.path, head.query_string) == (b"*", "*", b"")
    assert malformed(request_fields(b"*"))
    assert malformed(request_fields(b"*?a", method=b"OPTIONS"))


def test_pseudo_fields_come_in_any_order_among_themselves() -> None:
    for at in range(4):
        assert head_of([*BASIC[at:], *BASIC[:at], (b"x", b"y")]).headers == [(b"host", b"a"), (b"x", b"y")]


@pytest.mark.parametrize("scheme", [b"http", b"https", b"ftp", b"a+b-c.1"])
def test_any_scheme_will_do(scheme: bytes) -> None:
    """The scheme of the scope is the transport's: a proxy that ends TLS passes https on in the clear."""
    assert head_of(request_fields(b"/", scheme=scheme)).path == "/"


# RFC 9113 section 8.3.1: the authority


def test_host_stands_in_for_the_authority() -> None:
    head = head_of([*request_fields(b"/", authority=None), (b"host", b"c:1"), (b"x", b"y")])
    assert head.headers == [(b"host", b"c:1"), (b"x", b"y")]


def test_host_beside_the_authority_must_say_the_same() -> None:
    assert head_of(with_fields((b"host", b"A"))).headers == [(b"host", b"a")]
    assert malformed(with_fields((b"host", b"b")))
    assert malformed(with_fields((b"host", b"")))
    assert malformed(with_fields((b"host", b"a"), (b"host", b"a")))
    assert malformed([*request_fields(b"/", authority=None), (b"host", b"a"), (b"host", b"a")])


@pytest.mark.parametrize("authority", [b"a", b"a:80", b"[::1]:8", b"127.0.0.1", b"A.b-c_d", b"a:"])
def test_authorities(authority: bytes) -> None:
    assert head_of(request_fields(b"/", authority=authority)).headers == [(b"host", authority)]


@pytest.mark.parametrize(
    "authority",
    [b"", b" ", b"a b", b"user@a", b"a/b", b"a:x", b":80", b"a:123456", b"[::1", b"a\x00", b"\xc3\xa9"],
)
def test_what_is_no_authority(authority: bytes) -> None:
    assert malformed(request_fields(b"/", authority=authority))
    assert malformed([*request_fields(b"/", authority=None), (b"host", authority)])


def test_without_an_authority_there_is_no_request() -> None:
    assert malformed(request_fields(b"/", authority=None))


# RFC 9113 section 8.3: pseudo-fields


@pytest.mark.parametrize("name", [b":method", b":scheme", b":path"])
def test_a_pseudo_field_that_is_missing_empty_or_there_twice(name: bytes) -> None:
    assert malformed([field for field in BASIC if field[0] != name])
    assert malformed([(field[0], b"" if field[0] == name else field[1]) for field in BASIC])
    assert malformed([*BASIC, *(field for field in BASIC if field[0] == name)])


def test_the_authority_cannot_be_there_twice() -> None:
    assert malformed([*BASIC, (b":authority", b"a")])


@pytest.mark.parametrize("name", [b":status", b":foo", b":", b":Method", b":path ", b"::path"])
def test_a_pseudo_field_that_requests_do_not_have(name: bytes) -> None:
    assert malformed([*BASIC, (name, b"200")])


@pytest.mark.parametrize("before", [b"x", b"host", b"cookie", b"te", b"daphne-root-path", b"content-length", b"x_y"])
def test_pseudo_fields_come_first(before: bytes) -> None:
    value = {b"te": b"trailers", b"content-length": b"0", b"host": b"a"}.get(before, b"1")
    assert not malformed([*BASIC, (before, value)])
    for at in range(len(BASIC)):
        assert malformed([*BASIC[:at], (before, value), *BASIC[at:]])


def test_pseudo_fields_come_first_even_before_fields_that_are_known() -> None:
    known = KnownFields()
    decoder = new_decoder(known=known)
    decoder.request(1, field_block([*BASIC, (b"x", b"y")]), True)
    assert (b"x", b"y") in known
    with pytest.raises(H2StreamFault):
        decoder.request(3, field_block([(b"x", b"y"), *BASIC]), True)


@pytest.mark.parametrize("method", [b" GET", b"GE T", b"GET\x00", b"G\xc3", b"GET:", b"GET/"])
def test_what_is_no_method(method: bytes) -> None:
    assert malformed(request_fields(b"/", method=method))


@pytest.mark.parametrize(
    "path",
    [b"a", b"http://a/", b"//"[:1] + b"#", b"/ ", b"/\x00", b"/\xc3\xa9", b"/\r\n", b"?a", b"/\x7f", b" /", b"/\t"],
)
def test_what_is_no_path(path: bytes) -> None:
    assert malformed(request_fields(path))


@pytest.mark.parametrize("byte", b"\x00\r\n \t\x7f")
def test_octets_that_no_pseudo_field_holds(byte: int) -> None:
    for name in (b":method", b":scheme", b":path", b":authority"):
        fields = [(field[0], field[1] + bytes([byte]) if field[0] == name else field[1]) for field in BASIC]
        assert malformed(fields), name


# RFC 9113 section 8.2: fields


@pytest.mark.parametrize("byte", range(256))
def test_octets_of_names_and_values(byte: int) -> None:
    octet = bytes([byte])
    is_token = (octet.isalnum() and byte < 0x80) or octet in b"!#$%&'*+-.^_`|~"
    assert malformed(with_fields((b"x" + octet + b"y", b"1"))) == (not is_token or octet.isupper())
    assert malformed(with_fields((b"x", b"1" + octet + b"2"))) == (byte not in VALUE_BYTES)


@pytest.mark.parametrize("name", [b"x", b"cookie", b"x_y", b"host", b"user-agent"])
@pytest.mark.parametrize("value", [b" a", b"a ", b"\ta", b"a\t", b" "])
def test_no_white_space_stands_around_a_value(name: bytes, value: bytes) -> None:
    assert malformed(with_fields((name, value)))


def test_a_name_cannot_be_empty() -> None:
    assert malformed(with_fields((b"", b"x")))


@pytest.mark.parametrize("name", [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"])
def test_fields_of_a_connection(name: bytes) -> None:
    assert malformed(with_fields((name, b"x")))
    assert malformed(with_fields((name, b"")))


def test_te_says_trailers_or_nothing() -> None:
    assert head_of(with_fields((b"te", b"trailers"))).headers[1:] == [(b"te", b"trailers")]
    for value in (b"gzip", b"trailers, gzip", b"trailers;q=1", b""):
        assert malformed(with_fields((b"te", value)))
    assert malformed(with_fields((b"te", b"trailers"), (b"te", b"gzip")))


def test_the_crumbs_of_a_cookie_are_joined_where_the_first_was() -> None:
    """RFC 9113 section 8.2.3."""
    fields = [(b"a", b"1"), (b"cookie", b"b=2"), (b"c", b"3"), (b"cookie", b"d=4"), (b"cookie", b""), (b"e", b"5")]
    assert head_of(with_fields(*fields)).headers[1:] == [
        (b"a", b"1"),
        (b"cookie", b"b=2; d=4; "),
        (b"c", b"3"),
        (b"e", b"5"),
    ]
    assert head_of(with_fields((b"cookie", b"a=b"))).headers[1:] == [(b"cookie", b"a=b")]


def test_names_with_an_underscore_are_dropped() -> None:
    """CVE-2015-0219: in CGI's names they cannot be told from those with a hyphen."""
    assert head_of(with_fields((b"x_y", b"1"), (b"x-y", b"2"))).headers[1:] == [(b"x-y", b"2")]


def test_the_root_path_is_taken_out() -> None:
    head = head_of(with_fields((b"daphne-root-path", b"/r"), (b"x", b"y"), (b"daphne-root-path", b"/s")))
    assert head.root_path == b"/r"
    assert head.headers[1:] == [(b"x", b"y")]


# RFC 9113 section 8.1.1: Content-Length


@pytest.mark.parametrize("end", [False, True])
def test_a_length_announces_content_or_its_lack(end: bool) -> None:
    assert head_of(with_fields((b"content-length", b"0")), end=True).content_length == 0
    assert head_of(BASIC, end=True).content_length == 0
    assert head_of(BASIC, end=False).content_length is None
    head = head_of(with_fields((b"content-length", b"007"), (b"content-length", b"007")), end=False)
    assert head.content_length == 7
    assert malformed(with_fields((b"content-length", b"1")), end=True)


@pytest.mark.parametrize(
    "values",
    [
        *([value] for value in (b"", b"+1", b"-1", b"1 1", b"1,1", b"0x1", b"1.0", b"\xb2", b"9" * 20, b"%d" % 2**63)),
        [b"1", b"2"],
        [b"1", b"01"],
    ],
    ids=repr,
)
def test_what_is_no_length(values: list[bytes]) -> None:
    assert malformed(with_fields(*((b"content-length", value) for value in values)), end=False)


def test_the_longest_length() -> None:
    head = head_of(with_fields((b"content-length", b"9223372036854775807")), end=False)
    assert head.content_length == 2**63 - 1


@pytest.mark.parametrize(("value", "expected"), [(b"100-continue", True), (b"100-Continue", True), (b"x", False)])
def test_expectations_are_of_those_who_send_content(value: bytes, expected: bool) -> None:
    assert head_of(with_fields((b"expect", value)), end=False).expects_continue == expected
    assert not head_of(with_fields((b"expect", value)), end=True).expects_continue


# RFC 9113 section 8.5 and RFC 8441: CONNECT

WEBSOCKET = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"https"), (b":path", b"/chat?a")]


def test_an_extended_connect_for_a_websocket() -> None:
    head = head_of([*WEBSOCKET, (b":authority", b"a"), (b"x", b"y")], end=False)
    assert (head.method, head.raw_path, head.query_string) == ("CONNECT", b"/chat", b"a")
    assert head.upgrade == (b"websocket",)
    assert head.content_length is None
    assert head.headers == [(b"host", b"a"), (b"x", b"y")]


def test_connect_is_not_served_but_for_a_websocket() -> None:
    assert refused([(b":method", b"CONNECT"), (b":authority", b"a:443")], end=False) == 501
    for protocol in (b"connect-udp", b"WebSocket", b""):
        fields = [*WEBSOCKET, (b":authority", b"a")]
        fields[1] = (b":protocol", protocol)
        assert refused(fields, end=False) == 501


def test_a_malformed_connect() -> None:
    connect = [(b":method", b"CONNECT"), (b":authority", b"a:443")]
    assert malformed(connect[:1])
    assert malformed([*connect, (b":path", b"/")])
    assert malformed([*connect, (b":scheme", b"http")])
    assert malformed([connect[0], (b":authority", b"")])
    assert malformed([*BASIC, (b":protocol", b"websocket")])  # RFC 8441 section 4: with CONNECT only
    for name in (b":scheme", b":path"):
        assert malformed([*(field for field in WEBSOCKET if field[0] != name), (b":authority", b"a")])
    assert malformed([*WEBSOCKET[:3], (b":path", b"*"), (b":authority", b"a")])
    assert malformed(WEBSOCKET)


# Limits


def test_a_path_over_the_limit_is_414() -> None:
    limits = Limits(line=10)
    assert refused(request_fields(b"/" + b"x" * 9), limits=limits) is None
    assert refused(request_fields(b"/" + b"x" * 10), limits=limits) == 414


def test_fields_over_the_limit_are_431() -> None:
    limits = Limits(fields=3)
    assert refused(with_fields(*[(b"x", b"y")] * 3), limits=limits) is None
    assert refused(with_fields(*[(b"x", b"y")] * 4), limits=limits) == 431
    assert refused(with_fields(*[(b"x_y", b"y")] * 4), limits=limits) == 431
    assert refused(with_fields(*[(b"cookie", b"y")] * 4), limits=limits) is None  # crumbs of one field


def size_of(fields: Fields) -> int:
    """RFC 9113 section 6.5.2."""
    return sum(len(name) + len(value) + 32 for name, value in fields)


def test_a_head_over_the_limit_is_431_and_over_twice_of_it_the_end() -> None:
    fields = with_fields((b"x", b"y" * 100))
    size = size_of(fields)
    assert refused(fields, limits=Limits(head=size)) is None
    assert refused(fields, limits=Limits(head=size - 1)) == 431
    assert refused(fields, limits=Limits(head=(size + 1) // 2)) == 431
    with pytest.raises(H2ConnectionFault) as caught:
        head_of(fields, limits=Limits(head=(size - 1) // 2))
    assert caught.value.code == ErrorCode.ENHANCE_YOUR_CALM


def test_an_index_can_stand_for_much_and_counts_as_much() -> None:
    decoder = new_decoder(Limits(head=10_000))
    decoder.request(1, field_block(BASIC) + literal(b"x", b"y" * 3_000, INCREMENTAL), True)
    with pytest.raises(RequestRefused):
        decoder.request(3, field_block(BASIC) + indexed(62) * 4, True)
    with pytest.raises(H2ConnectionFault):
        decoder.request(5, field_block(BASIC) + indexed(62) * 10_000, True)


def test_a_length_over_the_limit_is_413() -> None:
    limits = Limits(body=5)
    assert refused(with_fields((b"content-length", b"5")), end=False, limits=limits) is None
    assert refused(with_fields((b"content-length", b"6")), end=False, limits=limits) == 413
    assert refused(with_fields((b"content-length", b"6")), end=False, limits=Limits(body=0)) is None


def test_behind_what_was_refused_the_table_is_in_step() -> None:
    decoder = new_decoder(Limits(fields=1, line=20))
    with pytest.raises(RequestRefused):
        decoder.request(
            1, field_block(BASIC) + literal(b"x", b"y", INCREMENTAL) + literal(b"z", b"1", INCREMENTAL), True
        )
    with pytest.raises(H2StreamFault):
        decoder.request(3, field_block(BASIC) + literal(b"X", b"Y", INCREMENTAL), True)
    decoder.skip(literal(b"s", b"t", INCREMENTAL))
    assert decoder.request(5, field_block(BASIC) + indexed(64), True).headers[1:] == [(b"z", b"1")]
    assert decoder.request(7, field_block(BASIC) + indexed(62), True).headers[1:] == [(b"s", b"t")]


# RFC 7541: what encoders may do


def test_blocks_of_an_encoder_with_its_table() -> None:
    encoder, decoder = Encoder(), new_decoder()
    sent = [
        request_fields(b"/a", [(b"cookie", b"a=b"), (b"user-agent", b"x" * 50)]),
        request_fields(b"/a", [(b"cookie", b"a=b"), (b"user-agent", b"x" * 50)]),
        request_fields(b"/b?%20", [(b"cookie", b"a=c"), (b"authorization", b"secret")]),
        request_fields(b"/a", [(b"x" * 30, bytes(range(0x80, 0x100)))]),
    ]
    for stream, fields in enumerate(sent * 5):
        if stream % 7 == 3:
            encoder.header_table_size = 4096 if encoder.header_table_size < 4096 else 100
        head = decoder.request(stream, encoder.encode(fields, huffman=stream % 2 == 0), stream % 3 == 0)
        assert [(b":path", head.raw_path + (b"?" + head.query_string if head.query_string else b""))] == fields[2:3]
        assert head.headers == [(b"host", b"testserver"), *fields[4:]]


@pytest.mark.parametrize("form", [INCREMENTAL, WITHOUT, NEVER], ids=["incremental", "without", "never"])
def test_every_form_of_a_literal(form: tuple[int, int]) -> None:
    block = field_block(BASIC) + literal(b"x-y", b"1", form) + literal(58, b"agent", form)
    for _ in range(2):
        assert new_decoder().request(1, block, True).headers[1:] == [(b"x-y", b"1"), (b"user-agent", b"agent")]


def test_what_the_dynamic_table_holds_is_taken_from_it() -> None:
    decoder = new_decoder()
    decoder.request(1, field_block(BASIC) + literal(b"x", b"1", INCREMENTAL), True)
    assert decoder.request(3, field_block(BASIC) + indexed(62), True).headers[1:] == [(b"x", b"1")]
    decoder.request(5, field_block(BASIC) + literal(b"z", b"2", INCREMENTAL), True)
    assert decoder.request(7, field_block(BASIC) + indexed(62) + indexed(63), True).headers[1:] == [
        (b"z", b"2"),
        (b"x", b"1"),
    ]


@pytest.mark.parametrize(
    "block",
    [
        indexed(0),
        indexed(62),
        integer(0x7FFFFFFF, 7, 0x80),
        b"\xff" * 20,
        table_size(4097),
        field_block(BASIC) + table_size(0),
        literal(b"x", b"y")[:-1],
        literal(b"x", b"y")[:2],
        literal(b"x", b"y", INCREMENTAL)[:1],
        b"\x00\x7f",
        b"\x00" + huffman_string(b"\xff\xff\xff\xff") + b"\x01a",
        b"\x00\x01a" + huffman_string(b"\x00"),
        literal(63, b"x"),
        b"\x80",
        b"\x40",
        b"\x0f",
    ],
    ids=range(16),
)
def test_what_cannot_be_decoded_ends_the_connection(block: bytes) -> None:
    """RFC 9113 section 4.3: the table is not in step any more."""
    for call in (
        lambda decoder: decoder.request(1, block, True),
        lambda decoder: decoder.trailers(1, block),
        lambda decoder: decoder.skip(block),
    ):
        with pytest.raises(H2ConnectionFault) as caught:
            call(new_decoder())
        assert caught.value.code == ErrorCode.COMPRESSION_ERROR


def test_no_octets_make_another_error() -> None:
    """Every beginning of a good block, and every octet in the place of each of its own."""
    good = Encoder().encode(with_fields((b"x", b"yz")), huffman=True)
    for at in range(len(good)):
        for block in (good[:at], *(good[:at] + bytes([octet]) + good[at + 1 :] for octet in range(0, 256, 3))):
            with contextlib.suppress(H2ConnectionFault, H2StreamFault, RequestRefused):
                new_decoder().request(1, block, True)


# What is remembered


def heads_of(decoder: RequestDecoder, *blocks: bytes, end: bool = True) -> list[RequestHead]:
    return [decoder.request(2 * number + 1, block, end) for number, block in enumerate(blocks)]


def test_a_block_that_leaves_the_table_alone_is_decoded_once() -> None:
    block = field_block(BASIC)
    one, two = heads_of(new_decoder(), block, block)
    assert one is two


def test_a_block_is_remembered_only_where_nothing_comes_behind_it() -> None:
    block = field_block(BASIC)
    decoder = new_decoder()
    (one,) = heads_of(decoder, block)
    two, three = heads_of(decoder, block, block, end=False)
    assert two is not three
    assert (one.content_length, two.content_length, three.content_length) == (0, None, None)
    assert heads_of(decoder, block)[0] is one


def test_a_block_that_changes_the_table_is_never_remembered() -> None:
    block = field_block(BASIC) + literal(b"x", b"y", INCREMENTAL)
    one, two = heads_of(new_decoder(), block, block)
    assert one is not two
    sized = table_size(4096) + field_block(BASIC)
    one, two = heads_of(new_decoder(), sized, sized)
    assert one is not two


def test_what_an_index_stood_for_is_forgotten_when_the_table_changes() -> None:
    decoder = new_decoder()
    block = field_block(BASIC) + indexed(62)

    def seen() -> bytes:
        return decoder.request(1, block, True).headers[1][1]

    decoder.skip(literal(b"x", b"1", INCREMENTAL))
    assert [seen(), seen()] == [b"1", b"1"]
    decoder.skip(literal(b"x", b"2", INCREMENTAL))
    assert [seen(), seen()] == [b"2", b"2"]
    decoder.trailers(1, literal(b"x", b"3", INCREMENTAL))
    assert [seen(), seen()] == [b"3", b"3"]
    decoder.request(1, field_block(BASIC) + literal(b"x", b"4", INCREMENTAL), False)
    assert [seen(), seen()] == [b"4", b"4"]
    with pytest.raises(H2StreamFault):
        decoder.request(1, literal(b"x", b"5", INCREMENTAL), True)
    assert [seen(), seen()] == [b"5", b"5"]
    # An entry larger than the table empties it (RFC 7541 section 4.4).
    decoder.skip(literal(b"x", b"6" * 5000, INCREMENTAL))
    with pytest.raises(H2ConnectionFault):
        seen()


def test_what_an_index_stood_for_is_forgotten_when_the_table_gets_another_size() -> None:
    for update in (table_size(0), table_size(0) + table_size(4096), table_size(33)):
        decoder = new_decoder()
        decoder.skip(literal(b"x", b"1", INCREMENTAL))
        block = field_block(BASIC) + indexed(62)
        assert decoder.request(1, block, True).headers[1] == (b"x", b"1")
        decoder.skip(update)
        with pytest.raises(H2ConnectionFault):
            decoder.request(3, block, True)


def test_what_is_remembered_is_bounded_and_can_be_given_back() -> None:
    decoder = new_decoder()
    blocks = [field_block(with_fields((b"x", b"%d" % number))) for number in range(1000)]
    for block in blocks:
        decoder.request(1, block, True)
    assert len(decoder._remembered) <= 32
    last = decoder.request(1, blocks[-1], True)
    assert decoder.request(1, blocks[-1], True) is last
    decoder.forget()
    assert decoder.request(1, blocks[-1], True) is not last
    long = field_block(with_fields((b"x", b"y" * 600)))
    assert decoder.request(1, long, True) is not decoder.request(1, long, True)


def test_a_refusal_is_not_remembered_as_a_head() -> None:
    decoder = new_decoder(Limits(line=5))
    for _ in range(2):
        with pytest.raises(RequestRefused):
            decoder.request(1, field_block(request_fields(b"/123456")), True)


def test_fields_that_have_been_checked_are_known_to_all_connections() -> None:
    known = KnownFields()
    one = new_decoder(known=known).request(1, field_block(with_fields((b"x", b"y"))), False)
    two = new_decoder(known=known).request(1, field_block(with_fields((b"x", b"y"))), False)
    assert one.headers[1] is two.headers[1]
    assert type(two.headers[1]) is tuple


def test_known_fields_are_bounded_and_hold_no_secrets() -> None:
    known = KnownFields()
    for name in (b"authorization", b"referer", b"x-request-id", b"range", b"cookie", b"host", b"te", b"x_y"):
        value = b"trailers" if name == b"te" else b"a"
        new_decoder(known=known).request(1, field_block(with_fields((name, value))), True)
    assert not known
    known.keep((b"x", b"y" * 201))
    assert not known
    for number in range(3000):
        known.keep((b"x", b"%d" % number))
        assert len(known) <= 1024
    assert (b"x", b"2999") in known


def test_only_good_fields_are_known() -> None:
    known = KnownFields()
    for field in ((b"X", b"y"), (b"x", b"\x00"), (b"x", b" y"), (b"upgrade", b"y"), (b":x", b"y")):
        with pytest.raises(H2StreamFault):
            new_decoder(known=known).request(1, field_block(with_fields(field)), True)
    assert not known


# Trailers


def test_trailers_are_checked_and_thrown_away() -> None:
    decoder = new_decoder()
    decoder.trailers(1, b"")
    decoder.trailers(1, field_block([(b"a", b"b"), (b"a", b"c")]))
    for field in ((b":path", b"/"), (b":foo", b""), (b"A", b"b"), (b"a", b"\n"), (b"a", b" b"), (b"connection", b"x")):
        with pytest.raises(H2StreamFault) as caught:
            decoder.trailers(7, field_block([(b"a", b"b"), field]))
        assert (caught.value.stream_id, caught.value.code) == (7, ErrorCode.PROTOCOL_ERROR)


# Writing


def test_a_written_field_is_read_by_hpack_and_leaves_its_table_alone() -> None:
    values = [b"", b"a", b"x" * 126, b"x" * 127, b"x" * 128, b"y" * 5000, bytes(range(0x80, 0x100))]
    names = [
        b"x",
        b"content-type",
        b"set-cookie",
        b"www-authenticate",
        b"authorization",
        b"n" * 200,
        b":status",
        b"age",
    ]
    for name in names:
        for value in values:
            decoder = Decoder()
            assert [tuple(field) for field in decoder.decode(encode_field(name, value), raw=True)] == [(name, value)]
            assert not decoder.header_table.dynamic_entries


@pytest.mark.parametrize("status", [200, 204, 206, 304, 400, 404, 500])
def test_the_static_table_has_some_statuses(status: int) -> None:
    block = H2HeadEncoder.write_status(status)
    assert len(block) == 1
    assert Decoder().decode(block, raw=True) == [(b":status", b"%d" % status)]


@pytest.mark.parametrize("status", [100, 101, 103, 201, 299, 302, 418, 503, 999])
def test_any_other_status_is_a_literal(status: int) -> None:
    block = H2HeadEncoder.write_status(status)
    assert Decoder().decode(block, raw=True) == [(b":status", b"%d" % status)]


def test_secrets_are_never_to_be_indexed() -> None:
    """RFC 7541 section 7.1.3."""
    for name in (b"set-cookie", b"authorization", b"proxy-authorization"):
        assert encode_field(name, b"x")[0] & 0xF0 == 0x10
    for name in (b"content-type", b"x"):
        assert encode_field(name, b"x")[0] & 0xF0 == 0x00


def test_whole_fields_of_the_static_table_are_one_octet() -> None:
    assert encode_field(b"accept-encoding", b"gzip, deflate") == b"\x90"
    assert encode_field(b":path", b"/index.html") == b"\x85"


def test_the_table_size_update() -> None:
    decoder = Decoder()
    decoder.max_allowed_table_size = 0
    assert decoder.decode(TABLE_OF_SIZE_0 + H2HeadEncoder.write_status(200), raw=True) == [(b":status", b"200")]
    assert decoder.header_table_size == 0


def new_encoder(server_name: str = "", extra: Any = ()) -> H2HeadEncoder:
    return H2HeadEncoder(DefaultFields(server_name, extra, False, 0))


def decoded(block: bytes) -> Fields:
    return [(bytes(name), bytes(value)) for name, value in Decoder().decode(block, raw=True)]


def test_a_head_has_its_status_first_and_names_in_lower_case() -> None:
    encoder = new_encoder("s")
    for _ in range(3):
        block, length, close = encoder.encode(
            HTTPStatus.CREATED, [(b"Content-Length", b"5"), (b"X", b"Y"), (b"set-cookie", b"a"), (b"set-cookie", b"b")]
        )
        assert decoded(block) == [
            (b":status", b"201"),
            (b"content-length", b"5"),
            (b"x", b"Y"),
            (b"set-cookie", b"a"),
            (b"set-cookie", b"b"),
            (b"server", b"s"),
        ]
        assert (length, close) == (5, False)


@pytest.mark.parametrize("name", [b"Connection", b"keep-alive", b"Transfer-Encoding", b"upgrade", b"Proxy-Connection"])
def test_fields_of_a_connection_are_not_sent(name: bytes) -> None:
    """RFC 9113 section 8.2.2."""
    encoder = new_encoder()
    for _ in range(2):
        assert decoded(encoder.encode(200, [(b"a", b"b"), (name, b"x"), (b"c", b"d")])[0]) == [
            (b":status", b"200"),
            (b"a", b"b"),
            (b"c", b"d"),
        ]


@pytest.mark.parametrize("headers", [[(b"a", b"\n")], [(b"a b", b"c")], [("a", b"b")], [(b":status", b"200")], [b"a"]])
def test_what_no_head_may_hold(headers: Any) -> None:
    with pytest.raises(ApplicationProtocolError):
        new_encoder().encode(200, headers)
