"""RFC 7541: field blocks, right and wrong; any fault in one is COMPRESSION_ERROR on the connection (RFC 9113, 4.3)."""

from __future__ import annotations

import ast

import hpack
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from tests.support.h2_frames import (
    INCREMENTAL,
    NEVER,
    WITHOUT,
    Code,
    Setting,
    field_block,
    huffman_string,
    indexed,
    integer,
    literal,
    request_block,
    request_fields,
    string,
    table_size,
)

TARGET = "/scope_of/x"
SCOPE_REQUEST = request_block(TARGET)
FIRST = 62  # the index of the dynamic table's newest entry


def headers_of(h2, block):
    """The headers that an application sees of a request with this block behind the pseudo-fields."""
    response = h2.expect_response(h2.request_block(SCOPE_REQUEST + block))
    assert response.status == 200
    return ast.literal_eval(response.body.decode())["headers"][1:]


def expect_broken(h2, block):
    h2.request_block(SCOPE_REQUEST + block)
    h2.expect_goaway(Code.COMPRESSION_ERROR)


# Section 2.3: the tables


def test_every_entry_of_the_static_table(h2):
    """Appendix A, as the package hpack has it; those that are no request's are in the next test."""
    own = {b"connection", b"transfer-encoding", b"te", b"host", b"content-length", b"expect"}
    for at, (name, value) in enumerate(hpack.table.HeaderTable.STATIC_TABLE, 1):
        if not name.startswith(b":") and name not in own:
            assert headers_of(h2, indexed(at)) == [(name, value)]


def test_pseudo_fields_of_the_static_table(h2):
    for method, path in [(2, literal(4, b"/scope_of/x")), (3, literal(5, b"/scope_of/x"))]:
        block = indexed(method) + indexed(6) + path + literal(1, b"testserver")
        assert h2.expect_response(h2.request_block(block)).status == 200
    h2.expect_malformed(h2.request_block(request_block() + indexed(8)))  # :status


def test_newest_entry_has_the_lowest_index(h2):
    """Section 2.3.3"""
    assert headers_of(h2, literal(b"a", b"1", INCREMENTAL) + literal(b"b", b"2", INCREMENTAL))
    assert headers_of(h2, indexed(FIRST) + indexed(FIRST + 1)) == [(b"b", b"2"), (b"a", b"1")]


@pytest.mark.parametrize("index", [0, FIRST, FIRST + 1000, 2**20], ids=str)
def test_index_of_nothing(h2, index):
    """Section 6.1, and 2.3.3: neither 0 nor past the end of both tables."""
    expect_broken(h2, indexed(index))


@pytest.mark.parametrize("indexing", [INCREMENTAL, WITHOUT, NEVER], ids=["incremental", "without", "never"])
def test_index_of_no_name(h2, indexing):
    expect_broken(h2, literal(FIRST + 1, b"x", indexing))


# Section 3.2: what is in a block changes the table for the next one, whatever becomes of the request


@pytest.mark.parametrize("fields", [[(b"Upper", b"case")], [(b"connection", b"close")], [(b":path", b"/")]])
def test_block_of_a_malformed_request_still_changes_the_table(h2, fields):
    h2.expect_malformed(h2.request_block(request_block(fields=fields) + literal(b"x-a", b"1", INCREMENTAL)))
    assert headers_of(h2, indexed(FIRST)) == [(b"x-a", b"1")]


def test_block_of_a_head_that_is_too_large_still_changes_the_table(h2):
    block = literal(b"x-a", b"1", INCREMENTAL)
    large = request_block(fields=[(b"y%d" % number, b"z") for number in range(300)])
    assert h2.expect_response(h2.request_block(large + block)).status == 431
    assert headers_of(h2, indexed(FIRST)) == [(b"x-a", b"1")]


def test_table_is_the_connections(h2, connect):
    headers_of(h2, literal(b"x-a", b"1", INCREMENTAL))
    other = connect()
    expect_broken(other, indexed(FIRST))
    assert headers_of(h2, indexed(FIRST)) == [(b"x-a", b"1")]


# Section 4: the size of the dynamic table


def test_entries_are_evicted(h2):
    """Section 4.1: each takes 32 octets more than its name and value; section 4.4: the oldest goes first."""
    for number in range(4096 // 64):
        headers_of(h2, literal(b"%08d" % number, b"v" * 24, INCREMENTAL))
    assert headers_of(h2, indexed(FIRST + 63)) == [(b"00000000", b"v" * 24)]
    headers_of(h2, literal(b"%08d" % 64, b"v" * 24, INCREMENTAL))
    assert headers_of(h2, indexed(FIRST + 63)) == [(b"00000001", b"v" * 24)]
    expect_broken(h2, indexed(FIRST + 64))


def test_entry_larger_than_the_table_empties_it(h2):
    """Section 4.4: that is no error."""
    headers_of(h2, literal(b"x-a", b"1", INCREMENTAL))
    assert headers_of(h2, literal(b"x-b", b"v" * 5000, INCREMENTAL)) == [(b"x-b", b"v" * 5000)]
    expect_broken(h2, indexed(FIRST))


def test_table_is_made_smaller_and_larger_again(h2):
    headers_of(h2, literal(b"x-a", b"1", INCREMENTAL))
    block = table_size(0) + table_size(4096) + SCOPE_REQUEST + literal(b"x-b", b"2", INCREMENTAL)
    assert h2.expect_response(h2.request_block(block)).status == 200
    assert headers_of(h2, indexed(FIRST)) == [(b"x-b", b"2")]
    expect_broken(h2, indexed(FIRST + 1))


def test_table_larger_than_allowed(h2):
    """Sections 4.2 and 6.3"""
    limit = h2.server_settings.get(Setting.HEADER_TABLE_SIZE, 4096)
    h2.request_block(table_size(limit + 1) + SCOPE_REQUEST)
    h2.expect_goaway(Code.COMPRESSION_ERROR)


def test_size_of_the_table_behind_a_field(h2):
    """Section 4.2: at the beginning of a block only."""
    expect_broken(h2, table_size(100))


# Section 5.1: integers


@pytest.mark.parametrize(
    "block",
    [
        b"\xff" + b"\xff" * 10 + b"\x7f",
        b"\x7f" + b"\x80" * 20 + b"\x01",
        b"\x00\x7f" + b"\xff" * 9 + b"\x01",
        b"\x00\x01a\x7f" + b"\xff" * 9 + b"\x01",
    ],
    ids=["index", "index of a name", "length of a name", "length of a value"],
)
def test_integer_that_is_far_too_large(h2, block):
    expect_broken(h2, block)


@pytest.mark.parametrize("block", [b"\xff", b"\xff\x80", b"\x7f", b"\x00\x7f"], ids=str)
def test_integer_without_an_end(h2, block):
    expect_broken(h2, block)


def test_integer_longer_than_it_needs_to_be(h2):
    """Section 5.1 allows zeros behind it; a decoder may refuse what is excessively long."""
    assert headers_of(h2, b"\x0f" + b"\x82\x80\x00" + string(b"v")) == [(b"accept-language", b"v")]


# Section 5.2: strings


@pytest.mark.parametrize(
    "block",
    [b"\x00", b"\x00\x05abc", b"\x00\x01a", b"\x00\x01a\x05v", b"\x40\x01a", b"\x10\x7f\x90\x4e" + b"a"],
    ids=["no name", "name too short", "no value", "value too short", "incremental", "far too short"],
)
def test_string_past_the_end_of_the_block(h2, block):
    expect_broken(h2, block)


def test_strings_in_huffmans_code(h2):
    """Appendix C.4.1 and C.4.3"""
    name, value = bytes.fromhex("25a849e95ba97d7f"), bytes.fromhex("25a849e95bb8e8b4bf")
    block = b"\x00" + huffman_string(name) + huffman_string(value)
    assert headers_of(h2, block) == [(b"custom-key", b"custom-value")]


def test_all_octets_in_huffmans_code(h2):
    value = bytes((*range(0x21, 0x7F), 9, 0x20, *range(0x80, 0x100)))  # a field's
    encoder = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
    block = b"\x00" + string(b"x") + huffman_string(encoder.encode(value))
    assert headers_of(h2, block) == [(b"x", value)]


@pytest.mark.parametrize(
    "coded",
    [b"\x1f\xff", b"\x1f\xff\xff", b"\x1e", b"\x18", b"\xff\xff\xff\xff", b"\x1f\xff\xff\xff\xff", b"\xff\xff\xff\xfc"],
    ids=["8 bits", "16 bits", "not of ones", "of zeros", "EOS", "EOS behind a letter", "part of EOS"],
)
def test_padding_of_huffmans_code(h2, coded):
    """At most seven bits, the first ones of EOS; and EOS itself is never in a string. ``1f`` is an ``a``."""
    expect_broken(h2, b"\x00" + string(b"x") + huffman_string(coded))


def test_right_padding_of_huffmans_code(h2):
    assert headers_of(h2, b"\x00" + string(b"x") + huffman_string(b"\x1f")) == [(b"x", b"a")]
    assert headers_of(h2, b"\x00" + string(b"x") + huffman_string(b"")) == [(b"x", b"")]


# Section 6: representations


@pytest.mark.parametrize("indexing", [INCREMENTAL, WITHOUT, NEVER], ids=["incremental", "without", "never"])
def test_literals(h2, indexing):
    """Appendix C.2"""
    block = literal(b"x-a", b"1", indexing) + literal(19, b"text/html", indexing) + literal(b"x-b", b"", indexing)
    assert headers_of(h2, block) == [(b"x-a", b"1"), (b"accept", b"text/html"), (b"x-b", b"")]


@pytest.mark.parametrize("indexing", [WITHOUT, NEVER], ids=["without", "never"])
def test_literals_that_are_not_indexed(h2, indexing):
    headers_of(h2, literal(b"x-a", b"1", indexing))
    expect_broken(h2, indexed(FIRST))


def test_name_from_the_dynamic_table(h2):
    headers_of(h2, literal(b"x-a", b"1", INCREMENTAL))
    assert headers_of(h2, literal(FIRST, b"2", WITHOUT)) == [(b"x-a", b"2")]
    assert headers_of(h2, literal(FIRST, b"3", INCREMENTAL)) == [(b"x-a", b"3")]
    assert headers_of(h2, indexed(FIRST) + indexed(FIRST + 1)) == [(b"x-a", b"3"), (b"x-a", b"1")]


def test_same_block_means_what_the_table_says_by_then(h2):
    """Whoever remembers what a block meant has to forget it when the table changes."""
    headers_of(h2, literal(b"x-a", b"1", INCREMENTAL))
    for value in (b"2", b"3"):
        assert headers_of(h2, indexed(FIRST)) == headers_of(h2, indexed(FIRST))
        headers_of(h2, literal(b"x-a", value, INCREMENTAL))
        assert headers_of(h2, indexed(FIRST)) == [(b"x-a", value)]


def test_same_block_that_changes_the_table_does_so_each_time(h2):
    block = literal(b"x-a", b"1", INCREMENTAL)
    for _ in range(3):
        assert headers_of(h2, block) == [(b"x-a", b"1")]
    assert headers_of(h2, indexed(FIRST + 2)) == [(b"x-a", b"1")]
    expect_broken(h2, indexed(FIRST + 3))


@pytest.mark.parametrize("huffman", [True, False])
def test_encoder_of_another_make(h2, huffman):
    encoder = hpack.Encoder()
    for number in range(100):
        fields = [(b"x-same", b"same"), (b"x-%d" % (number % 7), b"%d" % number), (b"x-long", b"v" * number * 10)]
        stream = h2.request_block(encoder.encode(request_fields(TARGET, fields), huffman=huffman))
        response = h2.expect_response(stream)
        assert ast.literal_eval(response.body.decode())["headers"][1:] == fields


# What the server encodes


@pytest.mark.parametrize("size", [0, 50, 4096, 65_536])
def test_client_that_sets_the_size_of_its_table(h2, size):
    """Section 4.2: the encoder stays within it, which the client's decoder sees to."""
    h2.change_settings((Setting.HEADER_TABLE_SIZE, size))
    for _ in range(3):
        response = h2.expect_response(h2.request())
        assert (response.status, response.get(b"content-type")) == (200, b"text/plain")


@pytest.mark.parametrize("size", [1, 126, 127, 128, 254, 255, 256, 16_384])
def test_values_of_any_length_in_a_response(h2, size):
    response = h2.expect_response(h2.request(f"/large_head/x?1,{size}"))
    assert response.get(b"x-0") == b"v" * size


def test_integers_around_their_prefix():
    """Of the test's own tools: section 5.1, appendix C.1."""
    assert integer(10, 5) == b"\x0a"
    assert integer(1337, 5) == b"\x1f\x9a\x0a"
    assert integer(42, 8) == b"\x2a"
    assert field_block([(b"a", b"b")]) == b"\x00\x01a\x01b"
