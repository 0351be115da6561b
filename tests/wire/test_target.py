"""Request targets, paths and Host."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from daphne_clone.errors import RequestRefused
from daphne_clone.wire.target import decode_path, is_host, parse_target


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", b"/", (b"/", b"", None)),
        ("GET", b"/a?b", (b"/a", b"b", None)),
        ("GET", b"/a??b?", (b"/a", b"?b?", None)),
        ("GET", b"/?", (b"/", b"", None)),
        ("GET", b"//host/a", (b"//host/a", b"", None)),
        ("GET", b"/http://b/", (b"/http://b/", b"", None)),
        ("GET", b"/%00%ff%zz", (b"/%00%ff%zz", b"", None)),
        ("OPTIONS", b"*", (b"*", b"", None)),
        ("OPTIONS", b"/", (b"/", b"", None)),
        ("GET", b"http://b", (b"/", b"", b"b")),
        ("GET", b"http://b?q", (b"/", b"q", b"b")),
        ("GET", b"http://b/?q", (b"/", b"q", b"b")),
        ("GET", b"http://b/p/http://c/?d", (b"/p/http://c/", b"d", b"b")),
        ("GET", b"https://b:1/p", (b"/p", b"", b"b:1")),
        ("GET", b"HtTpS://B/P", (b"/P", b"", b"B")),
        ("GET", b"http://[::1]:8/p", (b"/p", b"", b"[::1]:8")),
    ],
)
def test_forms_of_a_target(method: str, target: bytes, expected: tuple[bytes, bytes, bytes | None]) -> None:
    assert parse_target(method, target) == expected


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", b""),
        ("GET", b"a"),
        ("GET", b"?q"),
        ("GET", b"*"),
        ("OPTIONS", b"**"),
        ("OPTIONS", b"*?q"),
        ("GET", b"a:80"),
        ("GET", b"ftp://b/"),
        ("GET", b"http:/b/"),
        ("GET", b"http://"),
        ("GET", b"http:///p"),
        ("GET", b"http://:80/"),
        ("GET", b"http://u@b/"),
        ("GET", b"http://u:p@b/"),
        ("GET", b"http://b:x/"),
        ("GET", b"http://b\\c/"),
        ("GET", b"http://[::1/"),
        ("GET", b"xhttp://b/"),
    ],
)
def test_what_is_no_target_is_400(method: str, target: bytes) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_target(method, target)
    assert caught.value.status is HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize("byte", range(256))
def test_bytes_of_a_target(byte: int) -> None:
    allowed = 0x21 <= byte <= 0x7E and byte != ord("#")
    for target in (b"/%c" % byte, b"/?%c" % byte, b"http://b/%c" % byte):
        if allowed:
            parse_target("GET", target)
        else:
            with pytest.raises(RequestRefused):
                parse_target("GET", target)


def test_connect_is_not_implemented_but_its_target_must_be_one() -> None:
    for target in (b"a:443", b"/", b"*"):
        with pytest.raises(RequestRefused) as caught:
            parse_target("CONNECT", target)
        assert caught.value.status is HTTPStatus.NOT_IMPLEMENTED
    with pytest.raises(RequestRefused) as caught:
        parse_target("CONNECT", b"a\x00:443")
    assert caught.value.status is HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"/", "/"),
        (b"/caf%C3%A9", "/café"),
        (b"/caf%c3%a9/%E2%82%AC", "/café/€"),
        (b"/%2F%25", "//%"),
        (b"/%2f..%2F", "//../"),
        (b"/%ff", "/\ufffd"),
        (b"/%C3", "/\ufffd"),
        (b"/%", "/%"),
        (b"/%zz%4", "/%zz%4"),
        (b"/a+b", "/a+b"),
        (b"/%2541", "/%41"),
        (b"/%00", "/\0"),
        (b"*", "*"),
    ],
)
def test_a_path_is_decoded_once_and_never_fails(path: bytes, text: str) -> None:
    assert decode_path(path) == text


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"a",
        b"A.example",
        b"a:80",
        b"a:",
        b":80",
        b"127.0.0.1:8000",
        b"[::1]",
        b"[::1]:80",
        b"[v1.a:b]",
        b"a_b",
        b"x%20y",
        b"a,b",
    ],
)
def test_hosts(host: bytes) -> None:
    if host == b"[v1.a:b]":
        assert is_host(host)  # RFC 3986 section 3.2.2, IPvFuture
    assert is_host(host)


@pytest.mark.parametrize(
    "host",
    [
        b" ",
        b"a b",
        b"a\t",
        b"a/",
        b"a?",
        b"a#",
        b"a@b",
        b"a:b",
        b"a:123456",
        b"a:-1",
        b"a:80:80",
        b"::1",
        b"[::1",
        b"::1]",
        b"[]",
        b"[::1]x",
        b"[::1]:x",
        b"[g]",
        b"a\x00",
        b"\xc3\xa5",
        b'"a"',
        b"<a>",
        b"a\\b",
        b"a\n",
    ],
)
def test_no_hosts(host: bytes) -> None:
    assert not is_host(host)
