"""Headers of the PROXY protocol: whole, in pieces, octet by octet, and with what comes behind them."""

from __future__ import annotations

from typing import Any

import pytest

from daphne_clone.wire.proxy_header import MalformedHeader, ProxyHeaderParser
from tests.support.requests import splits

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
IPV4_BLOCK = bytes([192, 0, 2, 1, 198, 51, 100, 7]) + (56324).to_bytes(2, "big") + (443).to_bytes(2, "big")
IPV6_BLOCK = (
    bytes.fromhex("20010db8000000000000000000000001 20010db8000000000000000000000002")
    + (56324).to_bytes(2, "big")
    + (443).to_bytes(2, "big")
)
UNIX_BLOCK = b"/run/client".ljust(108, b"\0") + b"/run/server".ljust(108, b"\0")
TLVS = b"\x01\x00\x02h2" + b"\x04\x00\x03abc"

IPV4 = (("192.0.2.1", 56324), ("198.51.100.7", 443))
IPV6 = (("2001:db8::1", 56324, 0, 0), ("2001:db8::2", 443, 0, 0))
UNIX = (b"/run/client", b"/run/server")

BEHIND = [b"", b"G", b"GET / HTTP/1.1\r\n\r\n", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", SIGNATURE, b"\x16\x03\x01"]


def version_2(command: int, family: int, block: bytes = b"", length: int | None = None) -> bytes:
    return SIGNATURE + bytes([command, family]) + (len(block) if length is None else length).to_bytes(2, "big") + block


VALID = {
    "TCP4": (b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", IPV4),
    "TCP6": (b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n", IPV6),
    "TCP6 in another form": (b"PROXY TCP6 2001:DB8:0:0::1 2001:0db8::2 56324 443\r\n", IPV6),
    "the longest TCP6": (
        b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n",
        (("ffff:" * 7 + "ffff", 65535, 0, 0),) * 2,
    ),
    "ports of 0": (b"PROXY TCP4 0.0.0.0 255.255.255.255 0 0\r\n", (("0.0.0.0", 0), ("255.255.255.255", 0))),
    "UNKNOWN": (b"PROXY UNKNOWN\r\n", None),
    "UNKNOWN with addresses": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
    "the longest UNKNOWN": (b"PROXY UNKNOWN ".ljust(105, b"x") + b"\r\n", None),
    "2: IPv4": (version_2(0x21, 0x11, IPV4_BLOCK), IPV4),
    "2: IPv4 with TLVs": (version_2(0x21, 0x11, IPV4_BLOCK + TLVS), IPV4),
    "2: IPv6": (version_2(0x21, 0x21, IPV6_BLOCK), IPV6),
    "2: IPv6 with TLVs": (version_2(0x21, 0x21, IPV6_BLOCK + TLVS), IPV6),
    "2: UNIX": (version_2(0x21, 0x31, UNIX_BLOCK), UNIX),
    "2: UNIX without names": (version_2(0x21, 0x31, bytes(216)), (b"", b"")),
    "2: UNIX with names of full length": (version_2(0x21, 0x31, b"a" * 216), (b"a" * 108, b"a" * 108)),
    "2: as large as it may be": (version_2(0x21, 0x11, IPV4_BLOCK.ljust(4080, b"\0")), IPV4),
    "2: LOCAL": (version_2(0x20, 0x00), None),
    "2: LOCAL with an address": (version_2(0x20, 0x11, IPV4_BLOCK), None),
    "2: LOCAL of a family that is not known": (version_2(0x20, 0xFF, b"abc"), None),
    "2: unspecified": (version_2(0x21, 0x00), None),
    "2: unspecified with TLVs": (version_2(0x21, 0x00, TLVS), None),
    "2: UDP": (version_2(0x21, 0x12, IPV4_BLOCK), None),
    "2: a family without a transport": (version_2(0x21, 0x10, IPV4_BLOCK), None),
}

MALFORMED = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP that begins alike": b"PUT / HTTP/1.1\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "lower case": b"proxy TCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
    "no family": b"PROXY \r\n",
    "another family": b"PROXY UDP4 192.0.2.1 198.51.100.7 56324 443\r\n",
    "a family in lower case": b"PROXY tcp4 192.0.2.1 198.51.100.7 56324 443\r\n",
    "UNKNOWN and more without a blank": b"PROXY UNKNOWNS\r\n",
    "an address of the other family": b"PROXY TCP4 2001:db8::1 2001:db8::2 56324 443\r\n",
    "an address of the other family, in TCP6": b"PROXY TCP6 192.0.2.1 198.51.100.7 56324 443\r\n",
    "no address": b"PROXY TCP4 192.0.2.256 198.51.100.7 56324 443\r\n",
    "an address with zeros in front": b"PROXY TCP4 192.0.02.1 198.51.100.7 56324 443\r\n",
    "an address with a zone": b"PROXY TCP6 fe80::1%1 2001:db8::2 56324 443\r\n",
    "a name": b"PROXY TCP4 localhost 198.51.100.7 56324 443\r\n",
    "too few ports": b"PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n",
    "a word too many": b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 1\r\n",
    "a port over 65535": b"PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n",
    "a port with a sign": b"PROXY TCP4 192.0.2.1 198.51.100.7 +1 443\r\n",
    "a port with zeros in front": b"PROXY TCP4 192.0.2.1 198.51.100.7 01 443\r\n",
    "a port in other digits": "PROXY TCP4 192.0.2.1 198.51.100.7 \N{DEVANAGARI DIGIT ONE} 443\r\n".encode(),
    "two blanks": b"PROXY  TCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
    "a blank at the end": b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 \r\n",
    "a tab": b"PROXY\tTCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
    "a bare LF": b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\n",
    "a bare LF, UNKNOWN": b"PROXY UNKNOWN\n",
    "a CR inside": b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\r\n",
    "not ASCII": b"PROXY UNKNOWN \xff\r\n",
    "a line over its limit": b"PROXY UNKNOWN ".ljust(106, b"x") + b"\r\n",
    "a line without an end": b"PROXY UNKNOWN ".ljust(200, b"x"),
    "2: a broken signature": SIGNATURE[:-1] + b"\r\x21\x11\x00\x0c" + IPV4_BLOCK,
    "2: version 1": version_2(0x11, 0x11, IPV4_BLOCK),
    "2: version 3": version_2(0x31, 0x11, IPV4_BLOCK),
    "2: another command": version_2(0x22, 0x11, IPV4_BLOCK),
    "2: another family": version_2(0x21, 0x41, IPV4_BLOCK),
    "2: another transport": version_2(0x21, 0x13, IPV4_BLOCK),
    "2: too short for IPv4": version_2(0x21, 0x11, IPV4_BLOCK[:-1]),
    "2: too short for IPv6": version_2(0x21, 0x21, IPV6_BLOCK[:-1]),
    "2: too short for UNIX": version_2(0x21, 0x31, UNIX_BLOCK[:-1]),
    "2: larger than it may be": version_2(0x21, 0x11, length=4081),
    "2: as large as can be said": version_2(0x21, 0x11, length=65535),
}


def parsed(pieces: list[bytes]) -> tuple[Any, bytes]:
    """The ends, and what the parser has left of the pieces; all of them must be needed until the header is whole."""
    parser = ProxyHeaderParser()
    rest = b""
    for piece in pieces:
        if parser.is_whole:
            rest += piece
            continue
        taken = parser.receive_data(piece)
        assert taken == len(piece) or parser.is_whole
        rest += piece[taken:]
    assert parser.is_whole
    return parser.ends, rest


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("name", VALID)
def test_a_header_is_told_from_what_is_behind_it(name: str, behind: bytes) -> None:
    header, ends = VALID[name]
    assert parsed([header + behind]) == (ends, behind)
    assert parsed([header, behind]) == (ends, behind)


@pytest.mark.parametrize("name", VALID)
def test_a_header_may_come_in_pieces(name: str) -> None:
    header, ends = VALID[name]
    stream = header + b"GET"
    assert parsed([stream[index : index + 1] for index in range(len(stream))]) == (ends, b"GET")
    for index in range(0, len(header), 1 if len(header) < 300 else 97):
        assert parsed([stream[:index], stream[index:]]) == (ends, b"GET")


@pytest.mark.parametrize("name", VALID)
def test_a_header_cut_short_is_not_whole(name: str) -> None:
    header, _ = VALID[name]
    parser = ProxyHeaderParser()
    assert parser.receive_data(header[:-1]) == len(header) - 1
    assert not parser.is_whole
    assert parser.ends is None


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_header_is_refused_however_it_is_cut(name: str) -> None:
    stream = MALFORMED[name]
    for pieces in splits(stream):
        with pytest.raises(MalformedHeader):
            parsed(pieces)


@pytest.mark.parametrize(
    ("stream", "needed"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 1),
        (b"\x16\x03\x01\x02\x00\x01", 1),
        (b"POST / HTTP/1.1\r\n\r\n", 2),
        (b"\r\nGET / HTTP/1.1\r\n\r\n", 3),
        (b"PROXY ".ljust(5000, b"x"), 107),
        (version_2(0x21, 0x11, length=65535), 16),
    ],
)
def test_what_is_no_header_is_refused_as_soon_as_that_shows(stream: bytes, needed: int) -> None:
    parser = ProxyHeaderParser()
    for index in range(needed - 1):
        assert parser.receive_data(stream[index : index + 1]) == 1
    with pytest.raises(MalformedHeader):
        parser.receive_data(stream[needed - 1 : needed])


def test_no_message_repeats_what_was_received() -> None:
    for stream in MALFORMED.values():
        with pytest.raises(MalformedHeader) as caught:
            ProxyHeaderParser().receive_data(stream)
        assert "192." not in str(caught.value)
