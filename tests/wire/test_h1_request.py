"""Requests of HTTP/1.1 from bytes to calls. What is accepted and refused is in ``cases/``; here is how."""

from __future__ import annotations

import random
import time
import tracemalloc

import pytest

from daphne_clone.errors import RequestRefused
from daphne_clone.interfaces import Limits
from daphne_clone.wire import h1_request
from daphne_clone.wire.h1_request import LineTable, RequestParser
from tests.support.requests import Case, Sink, load_cases, parse, random_splits, splits

VALID = load_cases("valid")
INVALID = load_cases("invalid")

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
BEHIND = b"GET /behind HTTP/1.1\r\nHost: z\r\n\r\n"


def new_parser(limits: Limits | None = None, table: LineTable | None = None) -> tuple[RequestParser, Sink]:
    sink = Sink()
    return RequestParser(sink, limits or Limits(), table if table is not None else LineTable()), sink


def receive_all(parser: RequestParser, pieces: list[bytes]) -> None:
    for piece in pieces:
        parser.receive_data(piece)
        while parser.is_request_whole:
            parser.next_request()


def head_of(*fields: bytes, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join([line, b"Host: a", *fields, b"", b""])


def test_there_are_cases() -> None:
    assert len(VALID) > 50
    assert len(INVALID) > 130


@pytest.mark.parametrize("case", VALID, ids=lambda case: case.name)
class TestValid:
    def test_any_split_gives_the_same_calls(self, case: Case) -> None:
        for pieces in splits(case.data):
            case.check(parse(pieces, case.limits))

    def test_what_comes_behind_is_the_next_request(self, case: Case) -> None:
        limits = Limits(line=max(case.limits.line, 100), head=max(case.limits.head, 300), body=case.limits.body)
        for pieces in [[case.data + BEHIND], *random_splits(case.data + BEHIND, 4)]:
            parsed = parse(pieces, limits)
            assert parsed.summary()[: len(case.requests)] == case.requests
            assert [request.head.path for request in parsed.requests[len(case.requests) :]] == ["/behind"]

    def test_a_table_that_knows_the_lines_changes_nothing(self, case: Case) -> None:
        table = LineTable()
        for pieces in [[case.data], [case.data], *random_splits(case.data, 3), [case.data]]:
            case.check(parse(pieces, case.limits, table))

    def test_the_same_bytes_again_on_one_connection_give_the_same_again(self, case: Case) -> None:
        assert parse([case.data] * 3, case.limits).summary() == [*case.requests * 3, None]


@pytest.mark.parametrize("case", INVALID, ids=lambda case: case.name)
class TestInvalid:
    def test_any_split_gives_the_same_refusal(self, case: Case) -> None:
        for pieces in splits(case.data):
            case.check(parse(pieces, case.limits))

    def test_what_comes_behind_is_ignored(self, case: Case) -> None:
        for pieces in [[case.data + BEHIND], *random_splits(case.data + BEHIND, 4), [case.data, BEHIND]]:
            case.check(parse(pieces, case.limits))

    def test_a_table_that_knows_the_lines_changes_nothing(self, case: Case) -> None:
        table = LineTable()
        for pieces in [[GET], [case.data], [case.data], *random_splits(case.data, 3)]:
            parsed = parse(pieces, case.limits, table)
            if pieces != [GET]:
                case.check(parsed)

    def test_a_good_request_before_it_is_received_whole(self, case: Case) -> None:
        limits = Limits(line=max(case.limits.line, 18), head=case.limits.head, fields=case.limits.fields, body=3)
        good = parse([GET], limits).summary()[:-1]
        for pieces in [[GET + case.data], [GET, case.data], *random_splits(GET + case.data, 4)]:
            parsed = parse(pieces, limits)
            assert parsed.summary()[: len(good)] == good
            assert parsed.status is not None


def test_refusals_never_quote_the_peer() -> None:
    for case in INVALID:
        parser, _ = new_parser(case.limits)
        with pytest.raises(RequestRefused) as caught:
            receive_all(parser, [case.data])
        assert caught.value.reason.isascii()
        assert "\\x" not in caught.value.reason


# One request at a time


def test_the_head_is_told_before_the_body_is_there() -> None:
    parser, sink = new_parser()
    parser.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
    assert sink.requests[0].head.content_length == 3
    assert not sink.requests[0].ended
    assert not parser.is_request_whole
    parser.receive_data(b"ab")
    assert sink.requests[0].body == b"ab"
    parser.receive_data(b"c")
    assert sink.requests[0].ended
    assert parser.is_request_whole


def test_nothing_of_the_next_request_is_parsed_before_it_is_asked_for() -> None:
    parser, sink = new_parser()
    parser.receive_data(GET + b"\0 nonsense")
    parser.receive_data(b" and more")
    assert len(sink.requests) == 1
    assert parser.pending == b"\0 nonsense and more"
    with pytest.raises(RequestRefused):
        parser.next_request()


@pytest.mark.parametrize(
    "request_bytes",
    [
        GET,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ],
)
def test_what_comes_behind_an_upgrade_can_be_taken_over(request_bytes: bytes) -> None:
    for pieces in splits(request_bytes + b"\x81\x05frame\r\n\r\n"):
        parser, sink = new_parser()
        for piece in pieces:
            parser.receive_data(piece)
        assert len(sink.requests) == 1
        assert parser.take_pending() == b"\x81\x05frame\r\n\r\n"
        assert parser.pending == b""


def test_it_is_between_requests_until_a_byte_of_the_next_comes() -> None:
    parser, _ = new_parser()
    assert parser.is_between_requests
    parser.receive_data(b"G")
    assert not parser.is_between_requests
    parser.receive_data(GET[1:])
    assert not parser.is_between_requests
    parser.next_request()
    assert parser.is_between_requests
    assert not parser.is_request_whole
    parser.receive_data(GET)  # the remembered way
    assert not parser.is_between_requests
    assert parser.is_request_whole


def test_the_octets_still_to_come_are_known() -> None:
    parser, _ = new_parser()
    assert parser.remaining_bytes == 0
    parser.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    assert parser.remaining_bytes == 7
    parser, _ = new_parser()
    parser.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab")
    assert parser.remaining_bytes is None
    parser.receive_data(b"c\r\n0\r\n\r\n")
    assert parser.remaining_bytes == 0


def test_the_largest_length_is_taken() -> None:
    parser, sink = new_parser()
    parser.receive_data(head_of(b"Content-Length: 9223372036854775807") + b"x")
    assert sink.requests[0].head.content_length == 2**63 - 1
    assert parser.remaining_bytes == 2**63 - 2


def test_what_does_not_speak_http_is_told_at_its_first_byte() -> None:
    for first in (b"\x16", b"\x00", b"(", b" ", b"\x80"):
        parser, _ = new_parser()
        with pytest.raises(RequestRefused) as caught:
            parser.receive_data(first)
        assert caught.value.status == 400


def test_a_body_is_told_piece_by_piece_and_never_gathered() -> None:
    parser, sink = new_parser()
    parser.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    for size in (b"1", b"2", b"3"):
        parser.receive_data(size + b"\r\n" + b"x" * int(size) + b"\r\n")
        assert len(sink.requests[0].body) == sum(range(int(size) + 1))


def test_the_parts_of_one_request_never_reach_the_next() -> None:
    first = b"POST /a?b HTTP/1.1\r\nHost: one\r\nConnection: close\r\nTE: trailers\r\nX: 1\r\nDaphne-Root-Path: /r\r\n"
    first += b"Expect: 100-continue\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\nx"
    alone = parse([BEHIND]).summary()
    for pieces in splits(first + BEHIND):
        assert parse(pieces).summary()[1:] == alone


def test_limits_count_for_each_request_anew() -> None:
    limits = Limits(line=16, head=40, fields=2, body=3)
    one = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n"
    for pieces in splits(one * 20):
        assert len(parse(pieces, limits).requests) == 20


# An endless head


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"", b"\r\n"),
        (b"", b"a"),
        (b"GET / HTTP/1.1\r\n", b"a"),
        (b"GET / HTTP/1.1\r\n", b"X: 1\r\n"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"a"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"a" * 1000),
    ],
)
def test_an_endless_head_ends(start: bytes, piece: bytes) -> None:
    parser, _ = new_parser()
    with pytest.raises(RequestRefused) as caught:
        receive_all(parser, [start, *[piece] * 70_000])
    assert caught.value.status in (414, 431)


def seconds_byte_by_byte(size: int) -> float:
    data = head_of(b"X: " + b"y" * size)
    parser, sink = new_parser(Limits(head=size + 1000))
    start = time.process_time()
    for at in range(len(data)):
        parser.receive_data(data[at : at + 1])
    assert len(sink.requests) == 1
    return time.process_time() - start


def test_a_head_byte_by_byte_costs_no_more_than_its_length() -> None:
    """Four times the length is four times the time; searching all of it again for each byte makes that 14."""
    assert seconds_byte_by_byte(600_000) < 9 * seconds_byte_by_byte(150_000)


# What is kept for the next request


def test_the_same_request_again_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    parser, sink = new_parser()
    parser.receive_data(GET)
    parser.next_request()
    monkeypatch.setattr(h1_request.RequestParser, "_receive_head", None)
    parser.receive_data(GET)
    assert sink.requests[1].head is sink.requests[0].head


def test_another_request_is_not_taken_for_the_last() -> None:
    for other in (BEHIND, GET[:-1], GET + b"x", head_of(b"X: y"), GET.replace(b"a", b"b")):
        parser, sink = new_parser()
        parser.receive_data(GET)
        parser.next_request()
        parser.receive_data(other)
        assert (len(sink.requests) == 1) == (other == GET[:-1])
        assert all(request.head is not sink.requests[0].head for request in sink.requests[1:])


def test_a_pipeline_is_not_taken_for_its_first_request() -> None:
    behind = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    assert len(parse([GET + behind] * 3).requests) == 6


def test_the_last_request_is_remembered_only_at_a_begin() -> None:
    """Inside a body, or behind half a head, the same bytes are something else."""
    parser, sink = new_parser()
    parser.receive_data(GET)
    parser.next_request()
    parser.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(GET))
    parser.receive_data(GET)
    assert sink.requests[1].body == GET
    parser.next_request()
    parser.receive_data(b"GET / HTTP/1.1\r\nX: ")
    with pytest.raises(RequestRefused):  # GET has become the value of X, and nothing is the Host
        parser.receive_data(b"\r\n\r\n")


def test_a_request_with_a_body_is_not_remembered() -> None:
    data = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
    parser, sink = new_parser()
    for _ in range(3):
        parser.receive_data(data)
        parser.receive_data(b"abc")
        parser.next_request()
    assert [request.body for request in sink.requests] == [b"abc"] * 3


def test_what_is_remembered_can_be_given_back() -> None:
    parser, sink = new_parser()
    parser.receive_data(GET)
    parser.next_request()
    parser.forget()
    parser.receive_data(GET)
    assert sink.requests[1].head is not sink.requests[0].head
    assert parse([GET, GET]).summary()[:2] == parse([GET]).summary()[:1] * 2


def test_long_requests_are_not_remembered() -> None:
    parser, sink = new_parser()
    for _ in range(2):
        parser.receive_data(head_of(b"X: " + b"y" * 2000))
        parser.next_request()
    assert sink.requests[1].head is not sink.requests[0].head


def test_lines_with_secrets_or_of_one_client_are_never_kept() -> None:
    table = LineTable()
    secrets = [b"Cookie", b"Authorization", b"X-Api-Key", b"X-Forwarded-For", b"Proxy-Authorization", b"X-CSRFToken"]
    parse([head_of(*(name + b": secret" for name in secrets), line=b"GET /p?token=secret HTTP/1.1")], table=table)
    kept = [*table.requests, *table.fields, *table.names]
    assert not any(b"secret" in line for line in kept)


def test_lines_that_mean_something_are_never_kept() -> None:
    table = LineTable()
    for field in (b"Connection: close", b"TE: trailers", b"Content-Length: 0", b"Upgrade: x", b"Daphne-Root-Path: /x"):
        parse([head_of(field)], table=table)
        parse([head_of(field.replace(b":", b":  "))], table=table)
    assert not table.fields


def test_a_name_to_be_dropped_is_dropped_again() -> None:
    table = LineTable()
    for _ in range(3):
        assert parse([head_of(b"X_Y: 1")], table=table).requests[0].head.headers == [(b"host", b"a")]


def test_the_table_is_bounded() -> None:
    table = LineTable()
    for number in range(LineTable.MAX_LINES + 50):
        fields = [b"N%d-%d: %d" % (number, place, number) for place in range(3)]
        parse([head_of(*fields, line=b"GET /%d HTTP/1.1" % number)], table=table)
        assert len(table.requests) <= LineTable.MAX_LINES
        assert len(table.fields) <= LineTable.MAX_LINES
        assert len(table.names) <= LineTable.MAX_NAMES
    assert table.requests
    assert table.fields


def test_long_lines_are_not_kept() -> None:
    table = LineTable()
    long = b"x" * 250
    parse([head_of(b"X: " + long, long + b": 1", line=b"GET /%b HTTP/1.1" % long)], table=table)
    assert not any(len(line) > LineTable.MAX_LINE for line in [*table.requests, *table.fields, *table.names])


def test_long_lists_are_not_kept() -> None:
    """256 of them, each another, would stay in a cache for good: 16 MB sent, 230 MB resident."""
    tracemalloc.start()
    try:
        for number in range(40):
            for name in (b"Connection", b"TE", b"Upgrade"):
                parse([head_of(name + b": %d," % number + b"ab," * 10_000)])
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 3_000_000


def test_what_is_kept_never_changes_what_is_parsed() -> None:
    """Requests in any order through one table and one connection, against each alone."""
    requests = [case.data for case in VALID if case.limits == Limits()]
    alone = {data: parse([data]).summary()[:-1] for data in requests}
    chance = random.Random(3)
    table = LineTable()
    for _ in range(60):
        chosen = [chance.choice(requests) for _ in range(6)]
        chosen[2] = chosen[1]
        expected = [summary for data in chosen for summary in alone[data]]
        assert parse(chosen, table=table).summary() == [*expected, None]
        assert parse([b"".join(chosen)], table=table).summary() == [*expected, None]
