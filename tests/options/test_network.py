"""Addresses, header fields, and the shapes of text they are made of."""

from __future__ import annotations

import pytest

from daphne_clone.options.kinds import Unusable
from daphne_clone.options.network import (
    ACCESS_FORMAT,
    ENDPOINT,
    TOKEN,
    BindAddress,
    BindTarget,
    HeaderField,
    TrustedPeer,
    parse_bind,
)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("127.0.0.1", BindTarget(host="127.0.0.1")),
        ("0.0.0.0:80", BindTarget(host="0.0.0.0", port=80)),
        ("localhost:0", BindTarget(host="localhost", port=0)),
        ("app_1.internal", BindTarget(host="app_1.internal")),
        ("::", BindTarget(host="::")),
        ("::1", BindTarget(host="::1")),
        ("[::1]", BindTarget(host="::1")),
        ("[::1]:65535", BindTarget(host="::1", port=65535)),
        ("[fe80::1%eth0]:80", BindTarget(host="fe80::1%eth0", port=80)),
        ("unix:/run/app.sock", BindTarget(unix_path="/run/app.sock")),
        ("unix:run/a:b.sock", BindTarget(unix_path="run/a:b.sock")),
        ("fd://0", BindTarget(file_descriptor=0)),
        ("fd://3", BindTarget(file_descriptor=3)),
    ],
)
def test_each_form_of_bind_is_taken_apart(text: str, target: BindTarget) -> None:
    assert parse_bind(text) == target
    assert BindAddress().check(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":8000",
        "host:",
        "host:http",
        "host:65536",
        "host:-1",
        "[::1",
        "[::1]8000",
        "[]:80",
        "[127.0.0.1]:80",
        "1:2:3:8000",
        "http://host",
        "tcp:port=80",
        "ho st",
        "host\n",
        "-p",
        "unix:",
        "unix:a\0b",
        "fd:3",
        "fd://",
        "fd://x",
        "fd://-1",
    ],
)
def test_other_text_is_no_bind(text: str) -> None:
    with pytest.raises(Unusable):
        parse_bind(text)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("X-Frame-Options: DENY", (b"x-frame-options", b"DENY")),
        ("x:y:z", (b"x", b"y:z")),
        ("X-Empty:", (b"x-empty", b"")),
        ("X-Tab: a\tb", (b"x-tab", b"a\tb")),
        ("X-Name: Ångström", (b"x-name", "Ångström".encode())),
        ("X-Raw: \udcff", (b"x-raw", b"\xff")),
        (("X", "y"), (b"x", b"y")),
        ([b"X", b"\xff"], (b"x", b"\xff")),
    ],
)
def test_a_header_field_is_a_pair_of_bytes_with_its_name_in_lower_case(
    value: object, field: tuple[bytes, bytes]
) -> None:
    assert HeaderField().check(value) == field
    assert HeaderField().check(field) == field


@pytest.mark.parametrize(
    "value",
    [
        "no colon",
        ": empty name",
        "X Y: blank in the name",
        "X : blank before the colon",
        "X\n: y",
        "X: a\r\nSet-Cookie: b",
        "X: a\nb",
        "X: a\0b",
        "Nåme: x",
        ("X",),
        ("X", "y", "z"),
        ("X", 1),
        (b"\xff", b"y"),
        5,
    ],
)
def test_what_would_break_a_head_is_no_header_field(value: object) -> None:
    with pytest.raises(Unusable):
        HeaderField().check(value)


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Connection"])
def test_fields_that_frame_the_message_are_left_to_the_server(name: str) -> None:
    with pytest.raises(Unusable, match="the server itself"):
        HeaderField().check(f"{name}: 5")


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("unix", "unix"),
        ("*", "*"),
    ],
)
def test_trusted_peers_are_addresses_ranges_and_two_words(text: str, held: str) -> None:
    assert TrustedPeer().check(text) == held
    assert TrustedPeer().check(held) == held


@pytest.mark.parametrize("value", ["localhost", "10.0.0.0/33", "10.0.0", "", "UNIX", 2130706433])
def test_names_and_numbers_are_no_trusted_peers(value: object) -> None:
    with pytest.raises(Unusable):
        TrustedPeer().check(value)


def test_a_number_is_no_bind() -> None:
    with pytest.raises(Unusable):
        BindAddress().check(8000)


def test_shapes_of_text() -> None:
    assert TOKEN.fullmatch("X-Real-IP")
    assert not TOKEN.fullmatch("X Real")
    assert ENDPOINT.fullmatch("tcp:8000")
    assert ENDPOINT.fullmatch(r"ssl:443:privateKey=a b")
    assert not ENDPOINT.fullmatch("8000")
    assert ENDPOINT.fullmatch("stdio:")  # Twisted knows which kinds need more
    assert ACCESS_FORMAT.fullmatch("json")
    assert ACCESS_FORMAT.fullmatch('%(h)s "%(r)s"')
    assert not ACCESS_FORMAT.fullmatch("jsno")
