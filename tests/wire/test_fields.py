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


EPOCH = (b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")


def test_defaults_are_server_date_and_those_of_the_operator_in_this_order() -> None:
    fields = DefaultFields("daphne", [(b"x-a", b"1"), (b"x-a", b"2")], True, 0)
    assert fields.fields == [(b"server", b"daphne"), EPOCH, (b"x-a", b"1"), (b"x-a", b"2")]


def test_server_and_date_can_be_left_out() -> None:
    assert DefaultFields("", [], False, 0).fields == []
    assert DefaultFields("", [], True, 0).fields == [EPOCH]
    assert DefaultFields("x", [], False, 0).fields == [(b"server", b"x")]


def test_the_date_is_that_of_the_last_refresh() -> None:
    fields = DefaultFields("", [], True, 0.9)
    assert fields.fields == [EPOCH]
    fields.refresh(0.99)
    assert fields.fields == [EPOCH]
    fields.refresh(1.0)
    assert fields.fields == [(b"date", b"Thu, 01 Jan 1970 00:00:01 GMT")]
    fields.refresh(784_111_777)  # the example of RFC 9110 section 5.6.7
    assert fields.fields == [(b"date", b"Sun, 06 Nov 1994 08:49:37 GMT")]


def test_within_a_second_nothing_is_made_anew() -> None:
    fields = DefaultFields("daphne", [], True, 5.0)
    before = fields.fields
    fields.refresh(5.9)
    assert fields.fields is before
    fields.refresh(6.0)
    assert fields.fields is not before  # who has written them looks for another list
