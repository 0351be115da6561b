"""Frames of WebSocket as octets: headers of what a server sends, and the masking of what a client sends."""

from __future__ import annotations

import pytest

from daphne_clone.wire.ws_frames import BINARY, COMPRESSED, PING, PONG, TEXT, header, unmask

DATA = [TEXT, BINARY, TEXT | COMPRESSED, BINARY | COMPRESSED]


def test_first_octets_are_those_of_the_rfc() -> None:
    """RFC 6455 section 5.2 and RFC 7692 section 6: FIN is 0x80, RSV1 0x40."""
    assert (TEXT, BINARY, PING, PONG, COMPRESSED) == (0x80 | 1, 0x80 | 2, 0x80 | 9, 0x80 | 10, 0x40)


@pytest.mark.parametrize("first", [*DATA, PING, PONG])
@pytest.mark.parametrize("length", [0, 1, 124, 125])
def test_a_short_payload_has_a_header_of_two_octets(first: int, length: int) -> None:
    assert header(first, length) == bytes((first, length))


@pytest.mark.parametrize("first", DATA)
@pytest.mark.parametrize(
    ("length", "encoded"),
    [
        (126, "7e 007e"),
        (127, "7e 007f"),
        (256, "7e 0100"),
        (65_535, "7e ffff"),
        (65_536, "7f 0000000000010000"),
        (2**32, "7f 0000000100000000"),
        (2**63 - 1, "7f 7fffffffffffffff"),
    ],
)
def test_a_longer_payload_has_the_shortest_length_that_will_do(first: int, length: int, encoded: str) -> None:
    assert header(first, length) == bytes((first,)) + bytes.fromhex(encoded)


def test_the_masking_of_the_rfcs_example_is_undone() -> None:
    """RFC 6455 section 5.7: a single-frame masked text message that contains "Hello"."""
    assert unmask(bytes.fromhex("7f9f4d5158"), bytes.fromhex("37fa213d")) == b"Hello"


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 7, 8, 125, 126, 4095, 65_537])
@pytest.mark.parametrize("mask", [b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x01\x02\x03\x04", b"\x80\x00\x00\x00"])
def test_each_octet_is_changed_by_the_octet_of_the_mask_in_its_place(size: int, mask: bytes) -> None:
    payload = bytes(index * 7 % 256 for index in range(size))
    masked = bytes(octet ^ mask[index % 4] for index, octet in enumerate(payload))
    assert unmask(masked, mask) == payload


def test_leading_and_trailing_zeroes_are_kept() -> None:
    mask = b"\x11\x22\x33\x44"
    assert unmask(mask + b"\x11\x22", mask) == bytes(6)
    assert unmask(bytes(6), mask) == mask + b"\x11\x22"
