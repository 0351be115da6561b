"""Field names and values, and the fields that every response gets."""

from __future__ import annotations

import pytest

from daphne_clone.wire.fields import VALUE_BYTES, DefaultFields, is_token

# RFC 9110 section 5.6.2, spelled out.
TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize("byte", range(256))
def test_a_token_is_made_of_token_bytes(byte: int) -> None:
    assert is_token(bytes([byte])) == (byte in TOKEN_BYTES)
    assert is_token(b"a%cz" % byte) == (byte in TOKEN_BYTES)


def test_nothing_is_no_token() -> None:
    assert not is_token(b"")


def test_a_line_end_behind_a_token_makes_it_none() -> None:
    assert not is_token(b"a\n")
    assert not is_token(b"a\r\n")


def test_a_value_holds_visible_bytes_blanks_and_what_is_beyond_ascii() -> None:
    allowed = {0x09, *range(0x20, 0x7F), *range(0x80, 0x100)}
    assert set(VALUE_BYTES) == allowed
    for control in (b"\r", b"\n", b"\0", b"\x0b", b"\x0c", b"\x1c", b"\x1d", b"\x1e", b"\x7f"):
        assert control not in VALUE_BYTES


EPOCH = b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"


def test_defaults_are_server_date_and_those_of_the_operator_in_this_order() -> None:
    fields = DefaultFields("daphne", [(b"x-a", b"1"), (b"x-a", b"2")], True, 0)
    assert fields.block == b"server: daphne\r\n" + EPOCH + b"x-a: 1\r\nx-a: 2\r\n"
    assert [name for name, _ in fields.fields] == [b"server", b"date", b"x-a", b"x-a"]


def test_server_and_date_can_be_left_out() -> None:
    assert DefaultFields("", [], False, 0).block == b""
    assert DefaultFields("", [], True, 0).block == EPOCH
    assert DefaultFields("x", [], False, 0).block == b"server: x\r\n"


def test_the_date_is_that_of_the_last_refresh() -> None:
    fields = DefaultFields("", [], True, 0.9)
    assert fields.block == EPOCH
    fields.refresh(0.99)
    assert fields.block == EPOCH
    fields.refresh(1.0)
    assert fields.block == EPOCH.replace(b"00:00:00", b"00:00:01")
    fields.refresh(784_111_777)  # the example of RFC 9110 section 5.6.7
    assert fields.block == b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
    assert fields.fields == [(b"date", b"Sun, 06 Nov 1994 08:49:37 GMT")]


def test_within_a_second_nothing_is_made_anew() -> None:
    fields = DefaultFields("daphne", [], True, 5.0)
    block = fields.block
    fields.refresh(5.9)
    assert fields.block is block


def test_the_block_can_leave_out_what_the_application_gave() -> None:
    fields = DefaultFields("daphne", [(b"x-a", b"1")], True, 0)
    assert fields.block_without({b"server"}) == EPOCH + b"x-a: 1\r\n"
    assert fields.block_without({b"date", b"x-a", b"other"}) == b"server: daphne\r\n"
    assert fields.block_without(set()) == fields.block
