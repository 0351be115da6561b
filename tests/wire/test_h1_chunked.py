"""The chunked coding by itself; through a parser it is tested in ``cases/``."""

from __future__ import annotations

import itertools

import pytest

from daphne_clone.errors import RequestRefused
from daphne_clone.interfaces import Limits
from daphne_clone.wire.h1_chunked import ChunkedDecoder
from daphne_clone.wire.h1_response import LAST_CHUNK
from tests.support.requests import splits


class Decoded:
    """What a decoder made of some pieces, fed until it has ended."""

    def __init__(self, pieces: list[bytes], limits: Limits | None = None) -> None:
        self.trailers: list[bytes] = []
        decoder = ChunkedDecoder(limits or Limits(), self.trailers.append)
        self.body = b""
        self.rest = b""
        for piece in pieces:
            if decoder.ended:
                self.rest += piece
                continue
            self.body += decoder.receive_data(piece)
            if decoder.ended:
                self.rest = decoder.rest
        self.ended = decoder.ended


def status_of(pieces: list[bytes], limits: Limits | None = None) -> int | None:
    try:
        Decoded(pieces, limits)
    except RequestRefused as refusal:
        return refusal.status.value
    return None


@pytest.mark.parametrize(
    ("data", "body", "trailers"),
    [
        (b"0\r\n\r\n", b"", []),
        (b"000000\r\n\r\n", b"", []),
        (b"3\r\nabc\r\n0\r\n\r\n", b"abc", []),
        (b"3\r\n\r\n\n\r\n0\r\n\r\n", b"\r\n\n", []),
        (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2, []),
        (b"0000000000000001\r\nx\r\n0\r\n\r\n", b"x", []),
        (b'1;ext="v";x\r\nx\r\n0;last\r\n\r\n', b"x", []),
        (b"1;\r\nx\r\n0;\r\n\r\n", b"x", []),
        (b"1;a b\tc\xff\r\nx\r\n0\r\n\r\n", b"x", []),
        (b"1\r\nx\r\n0\r\nA: 1\r\nB: 2\r\n\r\n", b"x", [b"A: 1", b"B: 2"]),
        (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n", []),
    ],
)
def test_bodies_in_any_split_and_with_bytes_behind(data: bytes, body: bytes, trailers: list[bytes]) -> None:
    for behind in (b"", b"\r\n", b"GET / HTTP/1.1\r\n", b"0\r\n\r\n"):
        for pieces in splits(data + behind):
            decoded = Decoded(pieces)
            assert (decoded.body, decoded.trailers) == (body, trailers)
            assert decoded.ended
            assert decoded.rest == behind


def test_chunks_of_many_sizes() -> None:
    bodies = [b"x", b"y" * 15, b"z" * 16, b"\r\n" * 100, bytes(range(256))]
    data = b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in bodies) + LAST_CHUNK + b"\r\n"
    for pieces in splits(data):
        assert Decoded(pieces).body == b"".join(bodies)


def test_until_its_end_it_has_not_ended() -> None:
    data = b"3\r\nabc\r\n0\r\nA: b\r\n\r\n"
    for end in range(len(data)):
        assert not Decoded([data[:end]]).ended


SIZE_BYTES = b"0123456789abcdefABCDEF"


@pytest.mark.parametrize("byte", range(256))
def test_bytes_of_a_size_and_of_an_extension(byte: int) -> None:
    assert (status_of([b"0%c\r\n" % byte]) is None) == (byte in SIZE_BYTES or byte == ord(";"))
    is_text = byte == 9 or 0x20 <= byte <= 0x7E or byte >= 0x80
    assert (status_of([b"0;%c\r\n\r\n" % byte]) is None) == is_text


@pytest.mark.parametrize(
    "size",
    [
        b"",
        b" 1",
        b"1 ",
        b"\t1",
        b"1\t",
        b"+1",
        b"-1",
        b"0x1",
        b"1_0",
        b"1.0",
        b"g",
        b"1,",
        b"1 ;x",
        b"00000000000000001",
        b"1\r",
        b"\xd9\xa3",
    ],
)
def test_no_size(size: bytes) -> None:
    for pieces in splits(size + b"\r\nx\r\n0\r\n\r\n"):
        assert status_of(pieces) == 400


def test_sizes_over_2_63_are_refused_alone_and_together() -> None:
    assert status_of([b"7fffffffffffffff\r\n"]) is None
    assert status_of([b"8000000000000000\r\n"]) == 400
    assert status_of([b"ffffffffffffffff\r\n"]) == 400
    assert status_of([b"1\r\nx\r\n7ffffffffffffffe\r\n"]) is None
    assert status_of([b"1\r\nx\r\n7fffffffffffffff\r\n"]) == 400


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\n\r", b"x\r\n", b"\rx", b"0\r\n\r\n", b" \r\n"])
def test_behind_a_chunk_comes_a_line_end_and_nothing_else(end: bytes) -> None:
    for pieces in splits(b"1\r\nx" + end + b"0\r\n\r\n"):
        assert status_of(pieces) == 400


def test_a_wrong_end_is_refused_as_soon_as_its_byte_is_there() -> None:
    decoder = ChunkedDecoder(Limits(), print)
    decoder.receive_data(b"1\r\nx")
    with pytest.raises(RequestRefused):
        decoder.receive_data(b"y")


@pytest.mark.parametrize("data", [b"1\nx\r\n0\r\n\r\n", b"0\n\n", b"0\r\n\n", b"0\r\nA: b\n\r\n", b"0\nA: b\r\n\r\n"])
def test_bare_line_feeds_are_refused(data: bytes) -> None:
    for pieces in splits(data):
        assert status_of(pieces) == 400


def test_a_size_line_is_bounded_whole_or_not() -> None:
    at_limit = b"0;" + b"x" * 253  # 255 and CR: 256 before the LF
    for pieces in splits(at_limit + b"\r\n\r\n"):
        assert Decoded(pieces).ended
    for pieces in splits(at_limit + b"x\r\n\r\n", 4):
        assert status_of(pieces) == 400
    assert status_of([b"x" * 256]) is None  # undecided: no line end yet
    assert status_of([b"x" * 257]) == 400


def test_extensions_of_a_whole_body_are_bounded() -> None:
    """CVE-2023-39326: an octet of body must not cost the reading of 256 for ever."""
    chunk = b"1;" + b"e" * 99 + b"\r\nx\r\n"  # 100 octets of extension
    decoder = ChunkedDecoder(Limits(), print)
    assert decoder.receive_data(chunk * 163) == b"x" * 163
    with pytest.raises(RequestRefused) as caught:
        decoder.receive_data(chunk)
    assert caught.value.status == 400


def test_the_body_is_bounded_by_what_its_sizes_announce() -> None:
    for pieces in splits(b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"):
        assert Decoded(pieces, Limits(body=3)).body == b"abc"
        assert status_of(pieces, Limits(body=2)) == 413
    assert status_of([b"4\r\n"], Limits(body=3)) == 413
    assert status_of([b"ffffff\r\n"], Limits(body=0)) is None


def test_trailers_are_bounded_in_octets_with_their_line_ends() -> None:
    section = b"A: 1\r\nB: 2\r\n\r\n"
    for pieces in splits(b"0\r\n" + section):
        assert Decoded(pieces, Limits(head=len(section))).ended
        assert status_of(pieces, Limits(head=len(section) - 1)) == 431


def test_trailers_are_bounded_in_number() -> None:
    for pieces in splits(b"0\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"):
        assert Decoded(pieces, Limits(fields=3)).ended
        assert status_of(pieces, Limits(fields=2)) == 431


def test_an_endless_trailer_ends() -> None:
    for piece in (b"x", b"X: y\r\n"):
        endless = itertools.chain([b"0\r\n"], itertools.repeat(piece, 30_000))
        assert status_of(list(endless), Limits(head=1000)) == 431


def test_a_large_body_is_handed_on_without_a_copy() -> None:
    decoder = ChunkedDecoder(Limits(), print)
    decoder.receive_data(b"ffff\r\n")
    data = b"x" * 1000
    assert decoder.receive_data(data) is data
