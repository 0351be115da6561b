"""Made-up words of clients in front of those of a proxy, and made-up PROXY headers, whole and in pieces.

``FUZZ_EXAMPLES=20000 pytest tests/fuzz`` searches for longer, and at random; without it every run is the same one.
"""

from __future__ import annotations

import random
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daphne_clone.asgi.forwarded import Forwarding, TrustedPeers
from daphne_clone.wire.proxy_header import MalformedHeader, ProxyHeaderParser
from tests.support.fuzzing import budget
from tests.support.requests import random_splits

# What a field's value may hold: the parser of the head refuses all else.
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f")).map(
    lambda text: text.encode("latin-1").strip()
)
# Pieces of the fields' grammar, joined at random, find more than random octets do.
PIECES = [
    *(b"for=", b"host=", b"proto=", b"a=", b'"', b'\\"', b"\\", b",", b";", b"=", b" ", b"\t", b"[", b"]", b":"),
    *(b"127.0.0.1", b"6.6.6.6", b"2001:db8::1", b":80", b"https", b"evil", b"unknown", b"_x", b"/", b"%2f", b"\xff"),
]
SHAPED = st.lists(st.sampled_from(PIECES), max_size=40).map(lambda pieces: b"".join(pieces).strip())

TRUSTED = TrustedPeers(["127.0.0.0/8"])
READER = Forwarding(TRUSTED, "X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto")


@budget(600)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    *(b"x-forwarded-for", b"x-forwarded-port", b"x-forwarded-proto", b"x-forwarded-host"),
                    *(b"x-forwarded-prefix", b"forwarded", b"cookie"),
                ]
            ),
            st.one_of(VALUES, SHAPED),
        ),
        max_size=8,
    )
)
def test_whatever_the_fields_hold_what_is_told_is_well_formed(headers: list[tuple[bytes, bytes]]) -> None:
    told = READER.read(headers)
    if told.client is not None:
        host, port = told.client
        ip_address(host)
        assert 0 <= port <= 65535
    assert told.scheme in (None, "http", "https")
    assert told.host is None or (told.host.isascii() and not set(told.host) & set(b' "\\/,;@?#\t'))
    assert told.prefix is None or told.prefix == "" or (told.prefix[0] == "/" and told.prefix[1] not in "/\\")
    assert told.prefix is None or not any(char < " " or char == "\x7f" for char in told.prefix)


@budget(600)
@given(st.one_of(VALUES, SHAPED), st.booleans())
@example(b'for="', False)
@example(b"6.6.6.6, 127.0.0.1", False)
def test_no_client_gets_behind_what_the_nearest_proxy_has_written(spoofed: bytes, own_line: bool) -> None:
    """The proxy appends: to the client's line, or in a line of its own."""
    for name, own in (
        (b"x-forwarded-for", b"203.0.113.7"),
        (b"forwarded", b'for="203.0.113.7:5";proto=https;host="a.example:8443"'),
        (b"forwarded", b'proto=https;for="[2001:db8::7]:5";host=a.example'),
    ):
        lines = [(name, spoofed), (name, own)] if own_line else [(name, spoofed + b", " + own)]
        assert READER.read(lines) == READER.read([(name, own)])
    for name, own in ((b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"a"), (b"x-forwarded-prefix", b"/a")):
        assert READER.read([(name, spoofed), (name, own)]) == READER.read([(name, own)])


SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
WORDS = [b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"1.2.3.4 ", b"::1 ", b"80 ", b"443\r\n", b"\r\n"]


def binary_header(command: int, family: int, length: int | None, block: bytes) -> bytes:
    size = len(block) if length is None else length
    return SIGNATURE + bytes([command, family]) + size.to_bytes(2, "big") + block


HEADERS = st.one_of(
    st.binary(max_size=120),
    st.binary(max_size=60).map(lambda data: b"PROXY " + data),
    st.lists(st.sampled_from(WORDS), max_size=12).map(b"".join),
    st.builds(
        binary_header,
        st.sampled_from([0x20, 0x21, 0x22, 0x11]),
        st.one_of(st.integers(0, 255), st.sampled_from([0x00, 0x11, 0x12, 0x21, 0x31])),
        st.one_of(st.none(), st.integers(0, 5000)),
        st.binary(max_size=300),
    ),
)


def outcome(pieces: list[bytes]) -> Any:
    """Ends and rest, or that the header is malformed, or not whole."""
    parser = ProxyHeaderParser()
    rest = b""
    try:
        for piece in pieces:
            if parser.is_whole:
                rest += piece
            else:
                rest = piece[parser.receive_data(piece) :]
    except MalformedHeader:
        return "malformed"
    return (parser.ends, rest) if parser.is_whole else "not whole"


@budget(1000)
@given(HEADERS, st.binary(max_size=20), st.integers(0, 2**32))
def test_proxy_header_is_the_same_however_it_is_cut(header: bytes, behind: bytes, seed: int) -> None:
    stream = header + behind
    whole = outcome([stream])
    assert outcome([stream[index : index + 1] for index in range(len(stream))]) == whole
    for pieces in random_splits(stream, 3, seed):
        assert outcome(pieces) == whole
    if isinstance(whole, tuple) and whole[0] is not None:
        for end in whole[0]:
            assert isinstance(end, bytes) or (ip_address(end[0]) and 0 <= end[1] <= 65535)


@pytest.mark.parametrize("seed", range(3))
def test_flood_of_elements_is_bounded_work(seed: int) -> None:
    """A field as large as a head may be, of whatever the grammar has."""
    chance = random.Random(seed)
    value = b"".join(chance.choices(PIECES, k=15_000))
    assert READER.read([(b"forwarded", value + b", for=203.0.113.7")]).client == ["203.0.113.7", 0]
