"""Responses of HTTP/1.1 from values to bytes."""

from __future__ import annotations

import copy
import random
from http import HTTPStatus
from typing import Any

import pytest

from daphne_clone.errors import ApplicationProtocolError
from daphne_clone.wire.fields import VALUE_BYTES, DefaultFields
from daphne_clone.wire.h1_response import H1HeadEncoder, encode_fields, encode_refusal

DATE = b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"


def new_encoder(server_name: str = "", extra: Any = (), date: bool = False) -> H1HeadEncoder:
    return H1HeadEncoder(DefaultFields(server_name, extra, date, 0))


def encode(headers: Any, status: int = 200, **options: Any) -> tuple[bytes, int | None, bool]:
    return new_encoder().encode(status, headers, **options)


def lines(headers: Any) -> bytes:
    """The block without its status line."""
    return encode(headers)[0].partition(b"\r\n")[2]


# Status line


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (200, b"HTTP/1.1 200 OK\r\n"),
        (404, b"HTTP/1.1 404 Not Found\r\n"),
        (500, b"HTTP/1.1 500 Internal Server Error\r\n"),
        (299, b"HTTP/1.1 299 \r\n"),
        (999, b"HTTP/1.1 999 \r\n"),
        (HTTPStatus.CREATED, b"HTTP/1.1 201 Created\r\n"),
    ],
)
def test_a_status_has_its_phrase_or_none(status: int, line: bytes) -> None:
    assert encode([], status) == (line, None, False)


# Fields


def test_fields_keep_their_order_and_duplicates_and_are_lowered() -> None:
    fields = [(b"Set-Cookie", b"a"), (b"x", b"1"), (b"SET-COOKIE", b"b"), (b"X", b"")]
    assert lines(fields) == b"set-cookie: a\r\nx: 1\r\nset-cookie: b\r\nx: \r\n"


@pytest.mark.parametrize("pair", [(b"a", b"b"), [b"a", b"b"]], ids=["tuple", "list"])
@pytest.mark.parametrize("around", [list, tuple, iter, lambda pairs: (pair for pair in pairs)])
def test_a_field_is_any_iterable_of_two(pair: Any, around: Any) -> None:
    encoder = new_encoder()
    for _ in range(3):
        assert encoder.encode(200, around([pair]))[0] == b"HTTP/1.1 200 OK\r\na: b\r\n"


def test_a_pair_may_be_readable_once_only() -> None:
    encoder = new_encoder()
    for _ in range(2):
        assert encoder.encode(200, [iter((b"a", b"b"))])[0] == b"HTTP/1.1 200 OK\r\na: b\r\n"


@pytest.mark.parametrize("byte", range(256))
def test_bytes_of_names_and_values(byte: int) -> None:
    from daphne_clone.wire.fields import is_token

    char = bytes([byte])
    if is_token(char):
        assert lines([(b"x" + char, b"1")]) == b"x" + char.lower() + b": 1\r\n"
        assert encode_fields([(b"x" + char, b"1")], "headers") == b"x" + char.lower() + b": 1\r\n"
    else:
        with pytest.raises(ApplicationProtocolError):
            encode([(b"x" + char, b"1")])
        with pytest.raises(ApplicationProtocolError):
            encode_fields([(b"x" + char, b"1")], "headers")
    if byte in VALUE_BYTES:
        assert lines([(b"x", b"1" + char + b"2")]) == b"x: 1" + char + b"2\r\n"
        assert encode_fields([(b"x", char)], "headers") == b"x: " + char + b"\r\n"
    else:
        for name in (b"x", b"content-type", b"connection", b"transfer-encoding", b"server", b"set-cookie"):
            with pytest.raises(ApplicationProtocolError):
                encode([(name, b"1" + char + b"2")])
        with pytest.raises(ApplicationProtocolError):
            encode_fields([(b"x", char)], "headers")


@pytest.mark.parametrize(
    "headers",
    [
        [("a", b"b")],
        [(b"a", "b")],
        [(b"a", 1)],
        [(b"a", None)],
        [(None, b"b")],
        [(b"a", bytearray(b"b"))],
        [(b"a",)],
        [(b"a", b"b", b"c")],
        [b"ab"],
        [None],
        [1],
        ["ab"],
        {"a": "b"},
        {b"ab": b"c"},
        1,
        None,
        [[]],
        [[b"a"]],
        [["a", "b"]],
        [(b"", b"x")],
        [(b"content-length", b"1"), (b"Content-Length", b"1")],
        [(b"content-length", b"")],
        [(b"content-length", b"-1")],
        [(b"content-length", b"+1")],
        [(b"content-length", b" 1")],
        [(b"content-length", b"1 ")],
        [(b"content-length", b"0x1")],
        [(b"content-length", b"1_0")],
        [(b"content-length", b"1, 1")],
        [(b"content-length", "²".encode())],
        [(b"content-length", b"9" * 5000)],
    ],
    ids=repr,
)
def test_what_an_application_may_not_send(headers: Any) -> None:
    encoder = new_encoder()
    for _ in range(2):
        with pytest.raises(ApplicationProtocolError):
            encoder.encode(200, headers)
    encoder.encode(200, [(b"a", b"b"), (b"content-length", b"1")])
    with pytest.raises(ApplicationProtocolError):
        encoder.encode(200, headers)


@pytest.mark.parametrize(
    "headers", [1, None, [1], [(b"a",)], [("a", b"b")], [(b"a", "b")], [(b"a b", b"")], [(b"", b"")]], ids=repr
)
def test_fields_outside_a_head_are_checked_too(headers: Any) -> None:
    with pytest.raises(ApplicationProtocolError, match="links"):
        encode_fields(headers, "links")


def test_fields_outside_a_head() -> None:
    assert encode_fields([], "headers") == b""
    assert encode_fields([(b"A", b"1"), [b"a", b"\xff"]], "headers") == b"a: 1\r\na: \xff\r\n"


# Framing and persistence are the server's


def test_framing_fields_of_the_application_are_dropped() -> None:
    fields = [
        (b"Transfer-Encoding", b"gzip, chunked"),
        (b"transfer-encoding", b"chunked"),
        (b"Keep-Alive", b"timeout=5"),
    ]
    assert encode([*fields, (b"x", b"1")]) == (b"HTTP/1.1 200 OK\r\nx: 1\r\n", None, False)


@pytest.mark.parametrize(
    ("value", "close"),
    [
        (b"close", True),
        (b"Close", True),
        (b"keep-alive, CLOSE", True),
        (b"keep-alive", False),
        (b"upgrade", False),
        (b"", False),
    ],
)
def test_connection_is_not_sent_but_close_is_reported(value: bytes, close: bool) -> None:
    assert encode([(b"Connection", value)]) == (b"HTTP/1.1 200 OK\r\n", None, close)
    assert encode([(b"connection", value), (b"connection", b"x")])[2] is close


def test_the_content_length_is_reported_and_sent() -> None:
    assert encode([(b"Content-Length", b"12")]) == (b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n", 12, False)
    assert encode([(b"content-length", b"0")])[1] == 0
    assert encode([(b"content-length", b"007")])[1] == 7


def test_the_content_length_can_be_left_out() -> None:
    encoder = new_encoder()
    fields = [(b"a", b"b"), (b"content-length", b"12")]
    for _ in range(2):
        assert encoder.encode(204, fields, drop_length=True) == (b"HTTP/1.1 204 No Content\r\na: b\r\n", 12, False)
        assert encoder.encode(204, fields)[0].endswith(b"content-length: 12\r\n")


def test_a_length_to_be_left_out_is_checked_all_the_same() -> None:
    with pytest.raises(ApplicationProtocolError):
        encode([(b"content-length", b"x")], drop_length=True)


# Defaults


def test_defaults_come_behind_unless_the_application_gave_them() -> None:
    encoder = new_encoder("daphne", [(b"x-op", b"1")], True)
    for _ in range(2):
        assert encoder.encode(200, [(b"a", b"b")])[0] == (
            b"HTTP/1.1 200 OK\r\na: b\r\nserver: daphne\r\n" + DATE + b"x-op: 1\r\n"
        )
        assert encoder.encode(200, [(b"SERVER", b"mine"), (b"Date", b"then")])[0] == (
            b"HTTP/1.1 200 OK\r\nserver: mine\r\ndate: then\r\nx-op: 1\r\n"
        )
        assert encoder.encode(200, [(b"X-Op", b"2"), (b"x-op", b"3")])[0] == (
            b"HTTP/1.1 200 OK\r\nx-op: 2\r\nx-op: 3\r\nserver: daphne\r\n" + DATE
        )


def test_the_date_of_a_repeated_head_is_new() -> None:
    defaults = DefaultFields("", [], True, 0)
    encoder = H1HeadEncoder(defaults)
    assert encoder.encode(200, [(b"a", b"b")])[0].endswith(DATE)
    defaults.refresh(1)
    assert encoder.encode(200, [(b"a", b"b")])[0].endswith(b"00:00:01 GMT\r\n")


# What is kept for the next response


def test_another_status_or_list_is_another_head() -> None:
    encoder = new_encoder()
    assert encoder.encode(200, [(b"a", b"b")])[0] == b"HTTP/1.1 200 OK\r\na: b\r\n"
    assert encoder.encode(404, [(b"a", b"b")])[0] == b"HTTP/1.1 404 Not Found\r\na: b\r\n"
    assert encoder.encode(404, [(b"a", b"c")])[0] == b"HTTP/1.1 404 Not Found\r\na: c\r\n"
    assert encoder.encode(404, [])[0] == b"HTTP/1.1 404 Not Found\r\n"


def test_a_list_that_the_application_changes_is_read_again() -> None:
    encoder = new_encoder()
    fields: list[Any] = [(b"a", b"b")]
    encoder.encode(200, fields)
    fields.append((b"c", b"d"))
    assert encoder.encode(200, fields)[0] == b"HTTP/1.1 200 OK\r\na: b\r\nc: d\r\n"
    pairs = [[b"a", b"b"]]
    encoder.encode(200, pairs)
    pairs[0][1] = b"x\r\nevil: 1"
    with pytest.raises(ApplicationProtocolError):
        encoder.encode(200, pairs)
    pairs[0][1] = b"c"
    assert encoder.encode(200, pairs)[0] == b"HTTP/1.1 200 OK\r\na: c\r\n"


def test_a_broken_head_leaves_the_one_before_as_it_was() -> None:
    encoder = new_encoder()
    good = encoder.encode(200, [(b"a", b"b"), (b"content-length", b"5")])
    with pytest.raises(ApplicationProtocolError):
        encoder.encode(200, [(b"a", b"b"), (b"c", b"\n")])
    assert encoder.encode(200, [(b"a", b"b"), (b"content-length", b"5")]) == good


def test_names_in_any_case_are_one_name() -> None:
    encoder = new_encoder("daphne")
    for name in (b"CONTENT-LENGTH", b"Content-Length", b"content-length") * 2:
        assert encoder.encode(200, [(name, b"1")])[1] == 1
    for name in (b"TRANSFER-ENCODING", b"Transfer-Encoding") * 2:
        assert encoder.encode(200, [(name, b"chunked")])[0] == b"HTTP/1.1 200 OK\r\nserver: daphne\r\n"
    for name in (b"SERVER", b"Server") * 2:
        assert encoder.encode(200, [(name, b"x")])[0] == b"HTTP/1.1 200 OK\r\nserver: x\r\n"


def test_what_is_kept_is_bounded() -> None:
    encoder = new_encoder()
    for number in range(H1HeadEncoder.MAX_LINES + 100):
        encoder.encode(200, [(b"x-%d" % number, b"1"), (b"y", b"%d" % number)])
        assert len(encoder._lines) <= H1HeadEncoder.MAX_LINES
        assert len(encoder._kinds) <= H1HeadEncoder.MAX_NAMES
    assert encoder.encode(200, [(b"x-9", b"2"), (b"new", b"3")])[0].endswith(b"x-9: 2\r\nnew: 3\r\n")
    with pytest.raises(ApplicationProtocolError):
        encoder.encode(200, [(b"no token", b"1")])


def test_long_fields_and_secrets_are_not_kept() -> None:
    encoder = new_encoder()
    encoder.encode(
        200, [(b"x", b"y" * 300), (b"Set-Cookie", b"secret"), (b"location", b"secret"), (b"etag", b"secret")]
    )
    assert not any(b"secret" in line or len(line) > H1HeadEncoder.MAX_LINE for line in encoder._lines.values())


def test_what_is_kept_never_changes_what_is_written() -> None:
    """Heads of all kinds through one encoder, against each through a new one."""
    chance = random.Random(5)
    names = [
        b"a",
        b"A",
        b"content-type",
        b"Content-Length",
        b"content-length",
        b"connection",
        b"server",
        b"Date",
        b"x y",
    ]
    names += [b"transfer-encoding", b"set-cookie", b"x-op", b""]
    values = [b"1", b"2", b"close", b"", b"\xff", b"a\r\nb", b"x" * 300]

    def new() -> H1HeadEncoder:
        return new_encoder("daphne", [(b"x-op", b"1")], True)

    def result(encoder: H1HeadEncoder, *arguments: Any) -> object:
        try:
            return encoder.encode(*arguments)
        except ApplicationProtocolError as error:
            return str(error)

    encoder = new()
    former: Any = (200, [], False)
    for _ in range(4000):
        if chance.random() < 0.3:
            status, headers, drop = former
        else:
            headers = [
                chance.choice([tuple, list])((chance.choice(names), chance.choice(values)))
                for _ in range(chance.choice([0, 1, 1, 2, 3, 20]))
            ]
            status, drop = chance.choice([200, 204, 299]), chance.random() < 0.1
        former = (status, headers, drop)
        assert result(encoder, status, copy.deepcopy(headers), drop) == result(new(), status, headers, drop)


# Refusals


def test_a_refusal_says_its_status_and_closes() -> None:
    defaults = DefaultFields("daphne", [], True, 0)
    assert encode_refusal(HTTPStatus.BAD_REQUEST, H1HeadEncoder(defaults)) == (
        b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 16\r\n"
        b"server: daphne\r\n" + DATE + b"connection: close\r\n\r\n400 Bad Request\n"
    )


def test_a_refusal_of_head_has_no_body_but_its_length() -> None:
    defaults = DefaultFields("", [], False, 0)
    whole = encode_refusal(HTTPStatus.NOT_IMPLEMENTED, H1HeadEncoder(defaults))
    head = encode_refusal(HTTPStatus.NOT_IMPLEMENTED, H1HeadEncoder(defaults), head_only=True)
    assert whole == head + b"501 Not Implemented\n"
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("name", [b"content-length", b"Transfer-Encoding", b"host"])
def test_a_field_that_only_a_head_can_have_is_no_trailer(name: bytes) -> None:
    with pytest.raises(ApplicationProtocolError, match="only stand in a head"):
        encode_fields([(name, b"1")], "headers")
