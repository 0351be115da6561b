"""Whose word is taken on the client, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from daphne_clone.asgi.forwarded import Forwarding, TrustedPeers, first_value
from daphne_clone.errors import ConfigurationError

DEFAULT = ("127.0.0.0/8", "::1", "unix")
PEER: list[Any] = ["10.0.0.9", 1234]


@pytest.mark.parametrize(
    ("allowed", "host", "trusted"),
    [
        (DEFAULT, "127.0.0.1", True),
        (DEFAULT, "127.9.9.9", True),
        (DEFAULT, "::1", True),
        (DEFAULT, None, True),
        (DEFAULT, "::ffff:127.0.0.1", True),
        (DEFAULT, "128.0.0.1", False),
        (DEFAULT, "::2", False),
        (DEFAULT, "::ffff:8.8.8.8", False),
        (DEFAULT, "localhost", False),
        (DEFAULT, "", False),
        (DEFAULT, "127.0.0.1 ", False),
        ((), "127.0.0.1", False),
        ((), None, False),
        (("10.0.0.0/8",), None, False),
        (("10.1.2.3/8",), "10.9.9.9", True),
        (("10.1.2.3",), "10.1.2.3", True),
        (("10.1.2.3",), "10.1.2.4", False),
        (("2001:db8::/32",), "2001:db8::5", True),
        (("2001:db8::/32",), "2001:db9::5", False),
        (("*",), "8.8.8.8", True),
        (("*",), "no address", True),
        (("*",), None, True),
    ],
)
def test_who_is_trusted(allowed: tuple[str, ...], host: str | None, trusted: bool) -> None:
    assert TrustedPeers(allowed).trusts(host) is trusted


@pytest.mark.parametrize("name", ["localhost", "10.0.0.0/33", "", "1.2.3", "unix:", "**"])
def test_what_cannot_be_allowed_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match="forwarded-allow-ips"):
        TrustedPeers(["127.0.0.1", name])


def forwarding(trusted: tuple[str, ...] = ("10.0.0.0/8",), **names: str | None) -> Forwarding:
    chosen = {"address": "X-Forwarded-For", "port": "X-Forwarded-Port", "proto": "X-Forwarded-Proto"} | names
    assert chosen["address"] is not None
    return Forwarding(TrustedPeers(trusted), chosen["address"], chosen["port"], chosen["proto"])


def client_for(*values: bytes, trusted: tuple[str, ...] = ("10.0.0.0/8",)) -> Any:
    client, _ = forwarding(trusted).apply([(b"x-forwarded-for", value) for value in values], PEER, "http")
    return client


@pytest.mark.parametrize(
    ("values", "host"),
    [
        ([b"1.2.3.4"], "1.2.3.4"),
        ([b"6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        ([b"6.6.6.6, 1.2.3.4, 10.0.0.2, 10.0.0.3"], "1.2.3.4"),
        ([b"6.6.6.6", b"1.2.3.4, 10.0.0.2"], "1.2.3.4"),
        ([b"10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        ([b"1.2.3.4, nonsense, 10.0.0.3"], "10.0.0.3"),
        ([b"1.2.3.4,"], None),
        ([b"nonsense"], None),
        ([b""], None),
        ([], None),
        ([b"\xff\xfe"], None),
        ([b"1.2.3.4:5678"], "1.2.3.4"),
        ([b"[2001:db8::1]:80"], "2001:db8::1"),
        ([b"[2001:db8::1]"], "2001:db8::1"),
        ([b"2001:db8::1"], "2001:db8::1"),
        ([b"unknown, 10.0.0.2"], "10.0.0.2"),
        ([b"_hidden"], None),
        ([b"  1.2.3.4  "], "1.2.3.4"),
    ],
)
def test_the_address_is_read_from_the_right_past_trusted_hops(values: list[bytes], host: str | None) -> None:
    assert client_for(*values) == ([host, 0] if host else PEER)


def test_when_all_are_trusted_it_is_the_farthest() -> None:
    assert client_for(b"1.1.1.1, 2.2.2.2", trusted=("*",)) == ["1.1.1.1", 0]


@pytest.mark.parametrize(
    ("value", "port"),
    [(b"443", 443), (b"0", 0), (b"99999", 99999), (b"123456", 0), (b"-1", 0), (b"x", 0), (b"", 0), ("²".encode(), 0)],
)
def test_the_port_is_read_where_there_is_an_address(value: bytes, port: int) -> None:
    headers = [(b"x-forwarded-for", b"1.2.3.4"), (b"x-forwarded-port", value)]
    if port == 99999:
        assert forwarding().apply(headers, PEER, "http")[0][1] in (0, 99999)
    else:
        assert forwarding().apply(headers, PEER, "http")[0] == ["1.2.3.4", port]
    assert forwarding().apply(headers[1:], PEER, "http")[0] == PEER
    assert forwarding(port=None).apply(headers, PEER, "http")[0] == ["1.2.3.4", 0]


@pytest.mark.parametrize(
    ("values", "scheme"),
    [
        ([b"https"], "https"),
        ([b"HTTPS "], "https"),
        ([b"http"], "http"),
        ([b"wss"], "https"),
        ([b"ws"], "http"),
        ([b"http, https"], "https"),
        ([b"https, http"], "http"),
        ([b"http", b"https"], "https"),
        ([b"ftp"], "http"),
        ([b"https, javascript"], "http"),
        ([b""], "http"),
        ([b"\xff"], "http"),
        ([], "http"),
    ],
)
def test_the_scheme_is_one_of_four_and_the_last_said(values: list[bytes], scheme: str) -> None:
    headers = [(b"x-forwarded-proto", value) for value in values]
    assert forwarding().apply(headers, PEER, "http") == (PEER, scheme)
    assert forwarding(proto=None).apply(headers, PEER, "http") == (PEER, "http")


def test_names_are_compared_without_their_case() -> None:
    reader = forwarding(address="X-REAL-ip", proto="X-SCHEME")
    assert reader.apply([(b"x-real-ip", b"1.2.3.4"), (b"x-scheme", b"https")], PEER, "http") == (
        ["1.2.3.4", 0],
        "https",
    )


def test_the_peers_own_list_is_left_as_it_is() -> None:
    peer = list(PEER)
    forwarding().apply([(b"x-forwarded-for", b"1.2.3.4")], peer, "http")
    assert peer == PEER


def test_the_first_value_of_a_name() -> None:
    headers = [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]
    assert first_value(headers, b"a") == b"1"
    assert first_value(headers, b"c") is None
