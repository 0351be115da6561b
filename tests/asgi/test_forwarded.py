"""Whose word is taken on the client, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from daphne_clone.asgi.forwarded import Forwarding, Told, TrustedPeers, as_forwarded
from daphne_clone.errors import ConfigurationError
from daphne_clone.interfaces import RequestHead

DEFAULT = ("127.0.0.0/8", "::1", "unix")
PEER: list[Any] = ["10.0.0.9", 1234]
Fields = list[tuple[bytes, bytes]]


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


# X-Forwarded-For and -Port


def client_for(*values: bytes, trusted: tuple[str, ...] = ("10.0.0.0/8",)) -> Any:
    return forwarding(trusted).read([(b"x-forwarded-for", value) for value in values]).client


@pytest.mark.parametrize(
    ("values", "client"),
    [
        ([b"1.2.3.4"], ["1.2.3.4", 0]),
        ([b"6.6.6.6, 1.2.3.4"], ["1.2.3.4", 0]),
        ([b"6.6.6.6, 1.2.3.4, 10.0.0.2, 10.0.0.3"], ["1.2.3.4", 0]),
        ([b"6.6.6.6", b"1.2.3.4, 10.0.0.2"], ["1.2.3.4", 0]),
        ([b"10.0.0.2, 10.0.0.3"], ["10.0.0.2", 0]),
        ([b"1.2.3.4, nonsense, 10.0.0.3"], ["10.0.0.3", 0]),
        ([b"1.2.3.4,"], None),
        ([b"nonsense"], None),
        ([b"999.2.3.4"], None),
        ([b"localhost"], None),
        ([b""], None),
        ([], None),
        ([b"\xff\xfe"], None),
        (["\N{DEVANAGARI DIGIT ONE}.2.3.4".encode()], None),
        ([b"1.2.3.4:5678"], ["1.2.3.4", 5678]),
        ([b"1.2.3.4:"], ["1.2.3.4", 0]),
        ([b"1.2.3.4:http"], ["1.2.3.4", 0]),
        ([b"1.2.3.4:70000"], ["1.2.3.4", 0]),
        ([b"[2001:db8::1]:80"], ["2001:db8::1", 80]),
        ([b"[2001:db8::1]"], ["2001:db8::1", 0]),
        ([b"[2001:db8::1]80"], None),
        ([b"[2001:db8::1"], None),
        ([b"2001:db8::1"], ["2001:db8::1", 0]),
        ([b"unknown, 10.0.0.2"], ["10.0.0.2", 0]),
        ([b"_hidden"], None),
        ([b"fe80::1%eth0"], None),
        ([b"6.6.6.6, fe80::1%<script>, 10.0.0.2"], ["10.0.0.2", 0]),
        ([b"  1.2.3.4  "], ["1.2.3.4", 0]),
        ([b"6.6.6.6," * 5000 + b"1.2.3.4"], ["1.2.3.4", 0]),
    ],
)
def test_the_address_is_read_from_the_right_past_trusted_hops(values: list[bytes], client: Any) -> None:
    assert client_for(*values) == client


def test_when_all_are_trusted_it_is_the_farthest() -> None:
    assert client_for(b"1.1.1.1, 2.2.2.2", trusted=("*",)) == ["1.1.1.1", 0]


def test_a_chain_of_proxies_without_an_end_is_not_followed_to_it() -> None:
    assert client_for(b"6.6.6.6" + b", 10.0.0.2" * 5000) == ["10.0.0.2", 0]


@pytest.mark.parametrize(
    ("values", "port"),
    [
        ([b"443"], 443),
        ([b"0"], 0),
        ([b"1, 443"], 443),
        ([b"1", b"443"], 443),
        ([b"65536"], 0),
        ([b"123456"], 0),
        ([b"-1"], 0),
        ([b"x"], 0),
        ([b""], 0),
        (["²".encode()], 0),
    ],
)
def test_the_port_is_read_where_there_is_an_address(values: list[bytes], port: int) -> None:
    ports = [(b"x-forwarded-port", value) for value in values]
    headers = [(b"x-forwarded-for", b"1.2.3.4"), *ports]
    assert forwarding().read(headers).client == ["1.2.3.4", port]
    assert forwarding().read(ports).client is None
    assert forwarding(port=None).read(headers).client == ["1.2.3.4", 0]
    assert forwarding().read([(b"x-forwarded-for", b"1.2.3.4:5678"), *ports]).client == ["1.2.3.4", 5678]


# X-Forwarded-Proto, -Host and -Prefix


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
        ([b"ftp"], None),
        ([b"https, javascript"], None),
        ([b"https,"], None),
        ([b""], None),
        ([b"\xff"], None),
        ([], None),
    ],
)
def test_the_scheme_is_one_of_four_and_the_last_said(values: list[bytes], scheme: str | None) -> None:
    headers = [(b"x-forwarded-proto", value) for value in values]
    assert forwarding().read(headers) == Told(scheme=scheme)
    assert forwarding(proto=None).read(headers) == Told()


@pytest.mark.parametrize(
    ("values", "host"),
    [
        ([b"example.org"], b"example.org"),
        ([b"Example.ORG:8080"], b"Example.ORG:8080"),
        ([b"192.0.2.1:80"], b"192.0.2.1:80"),
        ([b"[2001:db8::1]:8080"], b"[2001:db8::1]:8080"),
        ([b"_service.example.org"], b"_service.example.org"),
        ([b"a" * 252], b"a" * 252),
        ([b"a" * 300], None),
        ([b"6.6.6.6, example.org"], b"example.org"),
        ([b"6.6.6.6", b"example.org"], b"example.org"),
        ([b"_"], None),
        ([b""], None),
        ([b"example.org,"], None),
        ([b"example.org:port"], None),
        ([b"example.org:123456"], None),
        ([b"example.org/path"], None),
        ([b"https://example.org"], None),
        ([b"user@example.org"], None),
        ([b"a b"], None),
        ([b"a\tb"], None),
        ([b"[2001:db8::1"], None),
        ([b"..."], None),
        (["exämple.org".encode()], None),
        ([b"\xff"], None),
        ([b'"example.org"'], None),
        ([], None),
    ],
)
def test_the_host_is_a_name_or_an_address_and_the_last_said(values: list[bytes], host: bytes | None) -> None:
    assert forwarding().read([(b"x-forwarded-host", value) for value in values]) == Told(host=host)


@pytest.mark.parametrize(
    ("values", "prefix"),
    [
        ([b"/app"], "/app"),
        ([b"/app/"], "/app"),
        ([b"/a/b"], "/a/b"),
        ([b"/"], ""),
        ([b"/caf%C3%A9"], "/café"),
        (["/café".encode()], "/café"),
        ([b"/a%20b%3Fc"], "/a b?c"),
        ([b"/evil, /app"], "/app"),
        ([b"/evil", b"/app"], "/app"),
        ([b"app"], None),
        ([b"/app,"], None),
        ([b""], None),
        ([b"//evil.example"], None),
        ([b"/%2Fevil.example"], None),
        ([b"/%2f/evil.example"], None),
        ([b"/\\evil.example"], None),
        ([b"/%5Cevil.example"], None),
        ([b"https://evil.example"], None),
        ([b"/app?x"], None),
        ([b"/app#x"], None),
        ([b"/a%0d%0ab"], None),
        ([b"/a%00b"], None),
        ([b"/%ff"], None),
        ([b"/\xff"], None),
        ([], None),
    ],
)
def test_the_prefix_is_a_path_of_ours_and_the_last_said(values: list[bytes], prefix: str | None) -> None:
    assert forwarding().read([(b"x-forwarded-prefix", value) for value in values]) == Told(prefix=prefix)


def test_names_are_compared_without_their_case() -> None:
    reader = forwarding(address="X-REAL-ip", proto="X-SCHEME")
    told = reader.read([(b"x-real-ip", b"1.2.3.4"), (b"x-scheme", b"https")])
    assert told == Told(client=["1.2.3.4", 0], scheme="https")


# Forwarded (RFC 7239)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b"for=1.2.3.4"], Told(client=["1.2.3.4", 0])),
        ([b'for="1.2.3.4:5678"'], Told(client=["1.2.3.4", 5678])),
        ([b'for="[2001:db8::1]:5678"'], Told(client=["2001:db8::1", 5678])),
        ([b'for="[2001:db8::1]"'], Told(client=["2001:db8::1", 0])),
        ([b'for="1.2.3.4:_port"'], Told(client=["1.2.3.4", 0])),
        ([b"for=1.2.3.4;proto=https;host=a;by=10.0.0.9"], Told(["1.2.3.4", 0], "https", b"a")),
        ([b'proto=WSS;host="a:80"'], Told(None, "https", b"a:80")),
        ([b"by=10.0.0.9;proto=ftp;host=a/b"], Told()),
        # The nearest that is no proxy of ours; and with it what the proxy it has connected to says
        ([b"for=6.6.6.6;host=evil, for=1.2.3.4;host=a"], Told(["1.2.3.4", 0], None, b"a")),
        ([b"for=6.6.6.6;host=evil", b"for=1.2.3.4;host=a"], Told(["1.2.3.4", 0], None, b"a")),
        ([b"for=1.2.3.4;proto=https;host=a, for=10.0.0.2;proto=http;host=b"], Told(["1.2.3.4", 0], "https", b"a")),
        ([b"for=1.2.3.4, for=10.0.0.2;proto=https;host=b"], Told(["1.2.3.4", 0], "https", b"b")),
        ([b"for=6.6.6.6, for=1.2.3.4, for=10.0.0.2, for=10.0.0.3"], Told(["1.2.3.4", 0])),
        ([b"for=10.0.0.2, for=10.0.0.3"], Told(["10.0.0.2", 0])),
        # Whoever hides its address is not looked behind
        ([b"for=_hidden;proto=https"], Told(scheme="https")),
        ([b"for=unknown;proto=https"], Told(scheme="https")),
        ([b"for=1.2.3.4, for=_hidden"], Told()),
        ([b"for=1.2.3.4;proto=https, proto=http"], Told(scheme="http")),
        ([b"for=1.2.3.4, for=_hidden;host=a, for=10.0.0.2"], Told(["10.0.0.2", 0], None, b"a")),
        # What is malformed hides what is left of it, and nothing else
        ([b'for="6.6.6.6, for=1.2.3.4'], Told(["1.2.3.4", 0])),
        ([b"for=1.2.3.4, garbage, for=10.0.0.2"], Told(["10.0.0.2", 0])),
        ([b"for=1.2.3.4;for=1.2.3.5"], Told()),
        ([b"1.2.3.4"], Told()),
        ([b"\xff"], Told()),
        ([b""], Told()),
    ],
)
def test_forwarded_is_read_from_the_right_past_trusted_hops(values: list[bytes], expected: Told) -> None:
    headers = [(b"forwarded", value) for value in values]
    assert forwarding().read(headers) == expected
    assert forwarding(address="Forwarded").read(headers) == expected


OWN: Fields = [
    (b"x-forwarded-for", b"1.2.3.4"),
    (b"x-forwarded-port", b"80"),
    (b"x-forwarded-proto", b"http"),
    (b"x-forwarded-host", b"a"),
]
SPOOFED = (b"forwarded", b"for=6.6.6.6;proto=https;host=evil")


@pytest.mark.parametrize("own", [[field] for field in OWN] + [OWN])
def test_forwarded_counts_for_nothing_beside_a_field_that_says_the_same(own: Fields) -> None:
    """nginx writes X-Forwarded-For, and lets a client's Forwarded pass."""
    assert forwarding().read([SPOOFED, *own]) == forwarding().read(own)
    assert forwarding().read([*own, SPOOFED]) == forwarding().read(own)


@pytest.mark.parametrize("own", [[field] for field in OWN] + [OWN])
def test_forwarded_alone_is_read_where_it_is_named(own: Fields) -> None:
    reader = forwarding(address="forwarded")
    assert reader.read(own) == Told()
    assert reader.read([*own, (b"forwarded", b"for=1.1.1.1")]) == Told(client=["1.1.1.1", 0])


def test_forwarded_is_not_read_where_another_field_is_named() -> None:
    assert forwarding(address="X-Real-IP").read([SPOOFED]) == Told()
    assert forwarding(proto=None).read([SPOOFED]) == Told()


def test_prefix_goes_with_either() -> None:
    prefix = (b"x-forwarded-prefix", b"/app")
    assert forwarding().read([*OWN, prefix]).prefix == "/app"
    assert forwarding().read([prefix, (b"forwarded", b"for=1.1.1.1")]) == Told(client=["1.1.1.1", 0], prefix="/app")
    assert forwarding(address="Forwarded").read([prefix]) == Told(prefix="/app")


# All of it together


def request(*headers: tuple[bytes, bytes], root_path: bytes | None = None) -> RequestHead:
    head = RequestHead("GET", b"/p", "/p", b"", "1.1", [(b"a", b"1"), (b"host", b"inner"), *headers])
    head.root_path = root_path
    head.upgrade = (b"websocket",)
    return head


def told(head: RequestHead, reader: Forwarding | None) -> tuple[RequestHead, list[Any] | None, str, str]:
    return as_forwarded(head, PEER, "http", "/own", reader)


def test_without_a_field_all_stays_as_it_is() -> None:
    head = request()
    for reader in (forwarding(), None):
        assert told(head, reader) == (head, PEER, "http", "/own")


def test_nothing_is_believed_where_proxy_headers_are_off() -> None:
    head = request(*OWN, (b"x-forwarded-prefix", b"/app"), (b"forwarded", b"for=1.1.1.1"))
    assert told(head, None) == (head, PEER, "http", "/own")


def test_host_is_replaced_in_a_head_of_its_own() -> None:
    head = request((b"x-forwarded-host", b"outer:8443"))
    fields = list(head.headers)
    changed, *_ = told(head, forwarding())
    assert changed.headers == [(b"host", b"outer:8443"), (b"a", b"1"), (b"x-forwarded-host", b"outer:8443")]
    assert head.headers == fields, "the parser keeps it, and gives it to the next request that is the same"
    others = [name for name in RequestHead.__slots__ if name != "headers"]
    assert [getattr(changed, name) for name in others] == [getattr(head, name) for name in others]


def test_host_that_is_the_same_makes_no_other_head() -> None:
    head = request((b"x-forwarded-host", b"inner"))
    assert told(head, forwarding())[0] is head


def test_host_is_put_where_there_was_none() -> None:
    head = request((b"forwarded", b"host=outer"))
    head.headers = head.headers[2:]
    assert told(head, forwarding())[0].headers[0] == (b"host", b"outer")


def test_prefix_goes_before_our_own_root_path_and_daphnes_before_both() -> None:
    prefix = (b"x-forwarded-prefix", b"/app")
    assert told(request(prefix), forwarding())[3] == "/app"
    assert told(request(prefix), None)[3] == "/own"
    assert told(request(prefix, root_path=b"/d"), forwarding())[3] == "/d"
    assert told(request(root_path=b"/d"), None)[3] == "/d"
    assert told(request(root_path=b""), None)[3] == ""


@pytest.mark.parametrize(
    ("given", "root_path"),
    [
        (b"/caf%C3%A9", "/café"),
        ("/café".encode(), "/café"),
        (b"forum", "forum"),  # as Daphne
        (b"/", "/"),
        (b"/%ff", "/own"),
        (b"\xff", "/own"),
        (b"//evil.example", "/own"),
        (b"/%2Fevil.example", "/own"),
        (b"/%5Cevil.example", "/own"),
        (b"%5C%5Cevil.example", "/own"),
        (b"/a%0D%0ASet-Cookie:%20a=b", "/own"),
        (b"/%7F", "/own"),
    ],
)
def test_daphne_root_path_is_decoded_or_left_alone(given: bytes, root_path: str) -> None:
    assert told(request(root_path=given), None)[3] == root_path


def test_the_peers_own_list_is_left_as_it_is() -> None:
    peer = list(PEER)
    as_forwarded(request((b"x-forwarded-for", b"1.2.3.4")), peer, "http", "", forwarding())
    assert peer == PEER


def test_each_request_has_a_list_of_its_own() -> None:
    head = request((b"x-forwarded-for", b"1.2.3.4"))
    first, second = told(head, forwarding())[1], told(head, forwarding())[1]
    assert first == second
    assert first is not second
