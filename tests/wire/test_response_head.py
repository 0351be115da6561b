"""What the heads of responses have in common; how a version writes them is in test_h1_response and test_h2_fields."""

from __future__ import annotations

import copy
import random
from http import HTTPStatus
from typing import Any

import pytest

from daphne_clone.errors import ApplicationProtocolError
from daphne_clone.wire.fields import DefaultFields
from daphne_clone.wire.h1_response import H1HeadEncoder
from daphne_clone.wire.h2_fields import H2HeadEncoder
from daphne_clone.wire.response_head import HeadEncoder, checked_fields, refusal


class Encoder(HeadEncoder):
    """Writes a head so that tests can read it, and counts what it had to write."""

    __slots__ = ()

    writes = 0

    @staticmethod
    def write_status(status: int) -> bytes:
        return b"<%d>" % status

    @staticmethod
    def write_field(name: bytes, value: bytes) -> bytes:
        Encoder.writes += 1
        return b"[%b=%b]" % (name, value)


@pytest.fixture(autouse=True)
def _count() -> None:
    Encoder.writes = 0


def new_encoder(server_name: str = "", extra: Any = (), date: bool = False) -> Encoder:
    return Encoder(DefaultFields(server_name, extra, date, 0))


def test_a_head_is_its_status_the_applications_fields_and_the_defaults() -> None:
    encoder = new_encoder("s", [(b"x-op", b"1")])
    for _ in range(3):
        assert encoder.encode(200, [(b"A", b"b"), (b"Content-Length", b"7")]) == (
            b"<200>[a=b][content-length=7][server=s][x-op=1]",
            7,
            False,
        )
        assert encoder.encode(404, [(b"Server", b"t"), (b"connection", b"x, Close")]) == (
            b"<404>[server=t][x-op=1]",
            None,
            True,
        )


def test_a_head_that_is_said_again_is_not_written_again() -> None:
    encoder = new_encoder("s")
    headers = [(b"a", b"b"), (b"etag", b"c")]
    first = encoder.encode(200, headers)
    written = Encoder.writes
    assert encoder.encode(200, list(headers)) is first
    assert Encoder.writes == written


def test_a_field_that_is_said_again_is_not_written_again() -> None:
    encoder = new_encoder()
    encoder.encode(200, [(b"a", b"b"), (b"c", b"d")])
    encoder.encode(404, [(b"c", b"d"), (b"a", b"b")])
    assert Encoder.writes == 2


def test_defaults_are_written_once_until_they_change() -> None:
    defaults = DefaultFields("s", (), True, 0)
    encoder = Encoder(defaults)
    first = encoder.encode(200, [])[0]
    assert first == b"<200>[server=s][date=Thu, 01 Jan 1970 00:00:00 GMT]"
    encoder.encode(404, [])
    assert Encoder.writes == 2
    defaults.refresh(1)
    assert encoder.encode(404, [])[0] == b"<404>[server=s][date=Thu, 01 Jan 1970 00:00:01 GMT]"
    assert encoder.encode(200, [])[0] == b"<200>[server=s][date=Thu, 01 Jan 1970 00:00:01 GMT]"
    assert Encoder.writes == 4


def test_heads_that_are_no_list_of_tuples_are_read_each_time() -> None:
    encoder = new_encoder()
    pairs = [[b"a", b"b"]]
    for value in (b"b", b"c", b"d"):
        pairs[0][1] = value
        assert encoder.encode(200, pairs)[0] == b"<200>[a=%b]" % value
    assert encoder.encode(200, iter([(b"a", b"e")]))[0] == b"<200>[a=e]"
    assert encoder.encode(200, iter(()))[0] == b"<200>"


def test_a_long_head_is_not_kept() -> None:
    encoder = new_encoder()
    headers = [(b"a", b"%d" % number) for number in range(17)]
    assert encoder.encode(200, headers) is not encoder.encode(200, headers)
    assert encoder.encode(200, headers[:16]) is encoder.encode(200, headers[:16])


def test_what_the_server_owns_is_dropped() -> None:
    for name in Encoder.DROPPED | {b"connection"}:
        for spelling in (name, name.upper()):
            assert new_encoder().encode(200, [(spelling, b"x"), (b"a", b"b")])[0] == b"<200>[a=b]"


def test_what_is_kept_never_changes_what_is_written() -> None:
    chance = random.Random(3)
    names = [
        b"a",
        b"A",
        b"Content-Length",
        b"connection",
        b"server",
        b"etag",
        b"upgrade",
        b"x y",
        b"x-op",
        b"keep-alive",
    ]
    values = [b"1", b"2", b"close", b"", b"\xff", b"\n", b"x" * 300]

    def result(encoder: HeadEncoder, *arguments: Any) -> object:
        try:
            return encoder.encode(*arguments)
        except ApplicationProtocolError as error:
            return str(error)

    for kind in (Encoder, H1HeadEncoder, H2HeadEncoder):
        defaults = DefaultFields("s", [(b"x-op", b"1")], True, 0)
        encoder = kind(defaults)
        former: Any = (200, [], False)
        for second in range(1200):
            if second % 100 == 99:
                defaults.refresh(second)
            if chance.random() < 0.7:
                pairs = [
                    chance.choice([tuple, tuple, list])((chance.choice(names), chance.choice(values)))
                    for _ in range(chance.choice([0, 1, 1, 2, 3, 20]))
                ]
                former = (chance.choice([200, 204, 299]), pairs, chance.random() < 0.1)
            assert result(encoder, *copy.deepcopy(former)) == result(kind(defaults), *former)


# Fields outside a final head


def test_checked_fields_are_lowered() -> None:
    assert checked_fields([(b"A-b", b"1"), [b"c", b""], (b"A-b", b"\xff")], "headers") == [
        (b"a-b", b"1"),
        (b"c", b""),
        (b"a-b", b"\xff"),
    ]
    assert checked_fields(iter(()), "headers") == []


@pytest.mark.parametrize(
    "fields",
    [
        [(b"a b", b"")],
        [(b"", b"")],
        [(b"a", b"\n")],
        [(b"a", b"\x00")],
        [("a", b"b")],
        [(b"a", "b")],
        [(b"a",)],
        1,
        [None],
        [(b"a", None)],
        [(None, b"a")],
        [(b":status", b"200")],
        None,
        [(1, 2)],
        [(b"a", 5)],
    ],
    ids=repr,
)
def test_what_no_field_can_be(fields: Any) -> None:
    with pytest.raises(ApplicationProtocolError, match="^links: "):
        checked_fields(fields, "links")


@pytest.mark.parametrize(
    "name",
    [b"Connection", b"content-length", b"TE", b"trailer", b"transfer-encoding", b"upgrade", b"host", b"content-type"],
)
def test_what_comes_too_late_behind_the_content(name: bytes) -> None:
    """RFC 9110 section 6.5.1."""
    with pytest.raises(ApplicationProtocolError, match="only stand in a head"):
        checked_fields([(b"a", b"b"), (name, b"x")], "headers")


@pytest.mark.parametrize("status", [400, 408, 413, 414, 431, 501, 503])
def test_a_refusal_says_its_status_and_no_more(status: int) -> None:
    fields, body = refusal(HTTPStatus(status))
    assert body == b"%d %b\n" % (status, HTTPStatus(status).phrase.encode())
    assert fields == [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
