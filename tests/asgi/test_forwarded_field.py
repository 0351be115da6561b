"""The Forwarded field, element by element from the right."""

from __future__ import annotations

import pytest

from daphne_clone.asgi.forwarded_field import Element, elements_from_right


def elements(value: bytes) -> list[tuple[bytes | None, ...]]:
    return [tuple(element) for element in elements_from_right(value)]


def nodes(value: bytes) -> list[bytes | None]:
    return [element.node for element in elements_from_right(value)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # RFC 7239, sections 4, 6.1, 6.3 and 7.4
        (b'for="_gazonk"', [(b"_gazonk", None, None)]),
        (b'For="[2001:db8:cafe::17]:4711"', [(b"[2001:db8:cafe::17]:4711", None, None)]),
        (b"for=192.0.2.60;proto=http;by=203.0.113.43", [(b"192.0.2.60", b"http", None)]),
        (b"for=192.0.2.43, for=198.51.100.17", [(b"198.51.100.17", None, None), (b"192.0.2.43", None, None)]),
        (b"for=_hidden, for=_SEVKISEK", [(b"_SEVKISEK", None, None), (b"_hidden", None, None)]),
        (b'for="[2001:db8:cafe::17]",for=unknown', [(b"unknown", None, None), (b"[2001:db8:cafe::17]", None, None)]),
        (b'for=a, for="[2001:db8::17]";proto=https', [(b"[2001:db8::17]", b"https", None), (b"a", None, None)]),
        # Names in any case, values as they are
        (b"FOR=192.0.2.1;PROTO=HTTPS;Host=Example.org", [(b"192.0.2.1", b"HTTPS", b"Example.org")]),
        # Quotes
        (b'host="example.org:8080";proto="https"', [(None, b"https", b"example.org:8080")]),
        (b'host="a\\"b\\\\c"', [(None, None, b'a"b\\c')]),
        (b'for="a,b;c=d", for=e', [(b"e", None, None), (b"a,b;c=d", None, None)]),
        (b'for=e, for="a, b=c, d"', [(b"a, b=c, d", None, None), (b"e", None, None)]),
        (b'for=""', [(b"", None, None)]),
        # What proxies write though they should not
        (b"for=192.0.2.1 ; proto=https ;host=a", [(b"192.0.2.1", b"https", b"a")]),
        (b"for=192.0.2.1:80", [(b"192.0.2.1:80", None, None)]),
        (b"for=[2001:db8::1]:80", [(b"[2001:db8::1]:80", None, None)]),
        (b"for=2001:db8::1", [(b"2001:db8::1", None, None)]),
        # Nothing, and parts that are nothing (RFC 9110 section 5.6.1.2, RFC 7239 section 4)
        (b"", []),
        (b" , ,", []),
        (b"for=a,, for=b ,", [(b"b", None, None), (b"a", None, None)]),
        (b"for=a;;proto=b;", [(b"a", b"b", None)]),
        (b"by=a;secret=b", [(None, None, None)]),
    ],
)  # fmt: skip
def test_elements_are_taken_apart(value: bytes, expected: list[tuple[bytes | None, ...]]) -> None:
    assert elements(value) == expected


@pytest.mark.parametrize(
    "left",
    [
        b'for="',
        b'for="open',
        b'for="a" b',
        b"garbage",
        b"=",
        b"for",
        b"for=",
        b"for=a for=b",
        b"for=a;for=b",
        b"proto=http;PROTO=https",
        b";",
        b"for =a",
        b"for= a",
        b"f(r=a",
        b'for=a"b',
        b"\xff\xfe",
        b'x="\\',
    ],
)
def test_what_is_malformed_hides_nothing_that_stands_right_of_it(left: bytes) -> None:
    assert nodes(left) == []
    assert nodes(left + b", for=192.0.2.1") == [b"192.0.2.1"]
    assert nodes(left + b', for="[2001:db8::1]:80";host="a:80"') == [b"[2001:db8::1]:80"]
    assert nodes(b"for=6.6.6.6, " + left + b', for="_a", for=b') == [b"b", b"_a"]


def test_a_quote_left_open_takes_in_nothing_of_the_next_proxys() -> None:
    for end in (b'for="_x"', b'for="1.1.1.1";host="b"', b"for=1.1.1.1;host=b", b'host="b,c";for=1.1.1.1'):
        expected = elements(end)
        assert len(expected) == 1
        for begin in (
            b'for=6.6.6.6;host="',
            b'host="\\',
            b'host="x;for=',
            b'a=b,c="',
            b'"',
            b'for=6.6.6.6;a="b,c=d;e="',
        ):
            assert elements(begin + b"," + end)[0] == expected[0], (begin, end)


@pytest.mark.parametrize(
    "value",
    [
        b'for="' + b"," * 60_000,
        b'for=a;b="' + b",c=d e" * 12_000,
        b"a=b" + b" ;" * 30_000 + b'"',
        b'x="' + b"\\," * 30_000,
        b",".join([b'a="' + b"y" * 600 + b'"]'] * 100),
    ],
)
def test_no_field_takes_long(value: bytes) -> None:
    """Each of these would take minutes if what has failed were tried again in other ways."""
    assert nodes(value) == []


def test_only_so_many_are_looked_at() -> None:
    assert 50 <= len(nodes(b",".join([b"for=10.0.0.1"] * 5000))) <= 100


def test_an_element_names_its_parts() -> None:
    assert next(elements_from_right(b"for=a;proto=b;host=c")) == Element(node=b"a", proto=b"b", host=b"c")
