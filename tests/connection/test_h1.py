"""One connection of HTTP/1.1, from a transport's bytes to exchanges and back; time is turned by hand."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer
from zope.interface.verify import verifyObject

from daphne_clone.connection.h1 import (
    LINGER_S,
    MAX_DISCARDED,
    MAX_PIPELINED,
    MIN_RATE,
    H1Connection,
)
from daphne_clone.connection.shared import Timeouts
from daphne_clone.errors import ApplicationProtocolError, ClientDisconnected
from daphne_clone.interfaces import Limits
from tests.support.connections import Exchange, Factory, FileTransport, Transport
from tests.support.requests import splits

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET_1_0 = b"GET / HTTP/1.0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
OK_CLOSE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
TIMEOUTS = Timeouts(request_head=10, request_body=20, keep_alive=40, write=30)


def get(*fields: bytes, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join([line, b"Host: a", *fields, b"", b""])


def post(length: int, *fields: bytes) -> bytes:
    return get(b"Content-Length: %d" % length, *fields, line=b"POST / HTTP/1.1")


def refusal(status: bytes) -> bytes:
    text = status + b"\n"
    return (
        b"HTTP/1.1 %b\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
        % (status, len(text), text)
    )


@pytest.fixture
def factory() -> Factory:
    return Factory(timeouts=TIMEOUTS)


CONTENT = bytes(range(256)) * 600  # 153,600 octets: more than two pieces


@pytest.fixture
def file(tmp_path: Path) -> Any:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    with path.open("rb") as opened:
        yield opened


def run_file(exchange: Exchange, *arguments: Any) -> None:
    asyncio.run(exchange.channel.send_file(*arguments))


def receive(transport: Transport, data: bytes) -> None:
    assert transport.is_reading, "a transport that is paused delivers nothing"
    transport.protocol.dataReceived(data)


def requested(factory: Factory, data: bytes = GET, transport: Transport | None = None) -> tuple[Transport, Exchange]:
    """A connection with one request under way."""
    transport = factory.connect(transport)
    receive(transport, data)
    return transport, factory.exchanges[-1]


def answering(factory: Factory, **options: Any) -> None:
    """Have every exchange answer at once."""
    factory.on_request = lambda exchange: exchange.answer(**options)


def head_of(response: bytes) -> bytes:
    return response.partition(b"\r\n\r\n")[0]


# What it is


def test_it_is_what_it_says() -> None:
    connection = H1Connection(Factory())
    for interface in (IProtocol, IHalfCloseableProtocol, IPushProducer):
        assert verifyObject(interface, connection)


def test_an_accepted_connection_knows_its_ends_and_is_known(factory: Factory) -> None:
    transport = factory.connect()
    connection = transport.protocol
    assert connection in factory.connections
    assert transport.producer is connection
    receive(transport, GET)
    assert (connection.scheme, connection.client, connection.server) == (
        "http",
        ["192.0.2.1", 50_000],
        ["192.0.2.2", 80],
    )
    assert connection.extensions == {"http.response.trailers": {}, "http.response.early_hint": {}}
    transport.lose()
    assert not factory.connections


def test_the_ends_of_a_connection_are_asked_for_with_its_first_request(factory: Factory) -> None:
    """Behind the PROXY protocol they are not known before."""
    asked = []
    describe = factory.describe
    factory.describe = lambda transport: asked.append(transport) or describe(transport)  # type: ignore[method-assign]
    answering(factory)
    transport = factory.connect()
    assert asked == []
    for _ in range(3):
        receive(transport, GET)
        factory.turn()
    assert asked == [transport]


# Requests and answers


def test_a_request_is_one_exchange_and_its_answer_keeps_the_connection(factory: Factory) -> None:
    transport, exchange = requested(factory)
    assert exchange.events == [("request",)]
    assert transport.data == b""
    exchange.answer()
    assert transport.take() == OK
    assert transport.is_open
    receive(transport, GET)
    assert len(factory.exchanges) == 2
    factory.exchanges[1].answer(b"two")
    assert transport.data == OK.replace(b"2\r\n\r\nok", b"3\r\n\r\ntwo")


def test_a_body_comes_in_pieces_and_ends(factory: Factory) -> None:
    transport, exchange = requested(factory, post(5) + b"ab")
    receive(transport, b"cd")
    assert exchange.events == [("request",), ("body", b"ab"), ("body", b"cd")]
    receive(transport, b"e")
    assert exchange.names[-2:] == ["body", "ended"]
    assert exchange.body == b"abcde"
    exchange.answer()
    assert transport.data == OK


def test_any_split_of_a_pipeline_gives_the_same_answers(factory: Factory) -> None:
    data = GET + post(3) + b"abc" + get(b"Transfer-Encoding: chunked", line=b"PUT /c HTTP/1.1")
    data += b"2\r\nhi\r\n0\r\nX: y\r\n\r\n" + get(line=b"HEAD / HTTP/1.1") + GET + b"BROKEN\r\n\r\n"
    results = set()
    for pieces in splits(data, 30):
        factory = Factory()
        transport = factory.connect()
        answered = 0
        for piece in pieces:
            receive(transport, piece)
            for _ in range(9):
                for exchange in factory.exchanges[answered:]:
                    if exchange.names[-1] == "ended" or exchange.head.content_length == 0:
                        exchange.start(200, [], exchange.head.method != "HEAD")
                        exchange.channel.send_body(exchange.head.raw_path + exchange.body, False)
                        answered += 1
                factory.turn()
        assert transport.is_write_closed
        results.add(transport.data)
    assert len(results) == 1
    assert results.pop().count(b"HTTP/1.1 200 OK") == 5


def test_pipelined_requests_run_one_at_a_time_in_order(factory: Factory) -> None:
    lines = [b"GET /%d HTTP/1.1" % number for number in range(3)]
    transport, _ = requested(factory, b"".join(get(line=line) for line in lines))
    for number in range(3):
        assert len(factory.exchanges) == number + 1
        assert factory.exchanges[number].head.raw_path == b"/%d" % number
        factory.exchanges[number].answer(b"%d!" % number)
        assert len(factory.exchanges) == number + 1, "not on the stack of the application that answers"
        factory.turn()
    assert transport.data == b"".join(OK.replace(b"ok", b"%d!" % number) for number in range(3))


def test_an_answer_given_at_once_does_not_nest_the_next_request(factory: Factory) -> None:
    answering(factory)
    transport, _ = requested(factory, GET * 3)
    assert len(factory.exchanges) == 1
    factory.turn()
    assert transport.data == OK * 3


def test_a_thousand_pipelined_requests_need_no_deep_stack(factory: Factory) -> None:
    answering(factory)
    transport, _ = requested(factory, GET * 1500)
    factory.turn()
    assert transport.data == OK * 1500


def test_a_broken_request_never_takes_the_answer_of_a_good_one(factory: Factory) -> None:
    transport, exchange = requested(factory, GET + b"NONSENSE\r\n\r\n")
    assert transport.data == b""
    exchange.answer()
    factory.turn()
    assert transport.data == OK + refusal(b"400 Bad Request")
    assert len(factory.exchanges) == 1
    assert [refused.status for refused in factory.refusals] == [400]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"400 Bad Request"),
        (b"\x16\x03\x01", b"400 Bad Request"),
        (b"GET / HTTP/2.0\r\n\r\n", b"505 HTTP Version Not Supported"),
        (b"GET /" + b"x" * 100 + b" HTTP/1.1\r\n", b"414 "),
        (get(b"X: " + b"y" * 300), b"431 Request Header Fields Too Large"),
        (post(101), b"413 "),
        (get(b"Transfer-Encoding: gzip, chunked"), b"501 Not Implemented"),
        (get(b"X: y\r"), b"400 Bad Request"),
    ],
)
def test_what_is_refused_gets_its_status_and_the_connection_ends(data: bytes, status: bytes) -> None:
    factory = Factory(Limits(line=60, head=200, body=100))
    transport = factory.connect()
    receive(transport, data)
    assert transport.data.startswith(b"HTTP/1.1 " + status)
    assert transport.is_write_closed
    assert not factory.exchanges
    assert len(factory.refusals) == 1
    receive(transport, GET)
    assert not factory.exchanges
    assert not transport.lost_writes


def test_a_refusal_holds_nothing_of_what_the_peer_sent(factory: Factory) -> None:
    transport = factory.connect()
    receive(transport, b"GET / HTTP/1.1\r\nHost: a\r\nSecret<script>: x\r\n\r\n")
    assert transport.data == refusal(b"400 Bad Request")


def test_a_refusal_while_the_application_runs_is_its_to_answer(factory: Factory) -> None:
    transport, exchange = requested(factory, get(b"Transfer-Encoding: chunked") + b"1\r\nx\r\nbroken\r\n")
    assert exchange.names == ["request", "refused"] or exchange.names == ["request", "body", "refused"]
    assert exchange.events[-1] == ("refused", 400)
    assert transport.data == b""
    exchange.channel.refuse(HTTPStatus.BAD_REQUEST)
    assert transport.data == refusal(b"400 Bad Request")
    assert transport.is_write_closed
    transport.lose()
    assert exchange.names[-1] == "refused", "an exchange that has refused is over"


def test_a_refusal_of_head_has_no_body(factory: Factory) -> None:
    transport, exchange = requested(factory, get(b"Transfer-Encoding: chunked", line=b"HEAD / HTTP/1.1"))
    exchange.channel.refuse(HTTPStatus.REQUEST_TIMEOUT)
    assert transport.data.endswith(b"connection: close\r\n\r\n")
    assert b"content-length:" in transport.data


def test_a_body_that_breaks_behind_its_answer_ends_the_connection_without_another(factory: Factory) -> None:
    transport, exchange = requested(factory, get(b"Transfer-Encoding: chunked"))
    exchange.start()
    exchange.channel.send_body(b"ok", True)
    exchange.channel.send_body(b"", False)
    assert transport.is_open
    answer = transport.data
    receive(transport, b"broken\r\n")
    assert transport.data == answer
    assert transport.is_write_closed


# Framing of answers


def test_an_answer_of_unknown_length_is_chunked(factory: Factory) -> None:
    transport, exchange = requested(factory)
    exchange.start()
    assert transport.data == b""
    exchange.channel.send_body(b"abc", True)
    assert transport.take() == CHUNKED_HEAD + b"3\r\nabc\r\n"
    assert exchange.channel.is_head_sent
    factory.turn()
    exchange.channel.send_body(b"", True)
    assert transport.take() == b""
    factory.turn()
    exchange.channel.send_body(b"x" * 17, True)
    assert transport.take() == b"11\r\n" + b"x" * 17 + b"\r\n"
    exchange.channel.send_body(b"end", False)
    assert transport.take() == b"3\r\nend\r\n0\r\n\r\n"
    receive(transport, GET)
    assert len(factory.exchanges) == 2


def test_an_empty_first_part_sends_the_head_at_once(factory: Factory) -> None:
    transport, exchange = requested(factory)
    exchange.start()
    exchange.channel.send_body(b"", True)
    assert transport.take() == CHUNKED_HEAD
    exchange.channel.send_body(b"", False)
    assert transport.take() == b"0\r\n\r\n"


def test_parts_of_one_turn_are_gathered_behind_the_first(factory: Factory) -> None:
    """The first reaches the client at once; the others with the end of the turn, in few writes."""
    transport, exchange = requested(factory)
    exchange.start(200, [(b"content-length", b"100")])
    for number in range(30):
        exchange.channel.send_body(b"%02d" % number, True)
    assert transport.data.endswith(b"\r\n\r\n00")
    factory.turn()
    assert transport.calls == 2
    assert transport.take().endswith(b"".join(b"%02d" % number for number in range(30)))
    exchange.channel.send_body(b"x", True)
    assert transport.take() == b"x", "at once in the next turn"
    exchange.channel.send_body(b"y", True)
    exchange.channel.send_body(b"z", False)
    assert transport.take() == b"yz"
    factory.turn()
    assert transport.take() == b""


def test_what_is_gathered_is_bounded(factory: Factory) -> None:
    transport, exchange = requested(factory)
    exchange.start()
    for _ in range(50):
        exchange.channel.send_body(b"x" * 10_000, True)
    assert len(transport.data) > 50 * 10_000 - 80_000
    assert transport.calls <= 10
    factory.turn()
    exchange.channel.send_body(b"", False)
    assert transport.data == CHUNKED_HEAD + (b"2710\r\n" + b"x" * 10_000 + b"\r\n") * 50 + b"0\r\n\r\n"


def test_what_is_gathered_goes_before_what_comes_behind_it(factory: Factory, file: Any) -> None:
    large = b"L" * 70_000
    transport, exchange = requested(factory, get(b"TE: trailers"), FileTransport())
    exchange.start(trailers=True)
    for part in (b"a", b"b", large, b"c", b"d"):
        exchange.channel.send_body(part, True)
    run_file(exchange, file.fileno(), 1, 1, True)
    for part in (b"e", b"f"):
        exchange.channel.send_body(part, True)
    exchange.channel.send_body(b"g", False)
    exchange.channel.send_trailers([(b"t", b"1")], False)
    parts = [b"a", b"b", large, b"c", b"d", b"\x01", b"e", b"f", b"g"]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    assert transport.data == CHUNKED_HEAD + chunks + b"0\r\nt: 1\r\n\r\n"
    factory.turn()
    assert transport.data.endswith(b"t: 1\r\n\r\n")


def test_nothing_gathered_is_written_once_the_connection_is_cut(factory: Factory) -> None:
    transport, exchange = requested(factory)
    exchange.start()
    for part in (b"a", b"b"):
        exchange.channel.send_body(part, True)
    exchange.channel.abort()
    transport.lose()
    factory.turn()
    assert transport.data == CHUNKED_HEAD + b"1\r\na\r\n"


def test_large_chunks_are_framed_alike(factory: Factory) -> None:
    large = b"x" * 20_000
    transport, exchange = requested(factory)
    exchange.start()
    exchange.channel.send_body(large, True)
    exchange.channel.send_body(large, False)
    assert transport.data == CHUNKED_HEAD + (b"4e20\r\n" + large + b"\r\n") * 2 + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [0, 1, 20_000])
def test_a_whole_body_at_once_gets_a_content_length(factory: Factory, size: int) -> None:
    transport, exchange = requested(factory)
    exchange.answer(b"x" * size)
    assert transport.data == b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size


@pytest.mark.parametrize("size", [5, 40_000])
def test_the_applications_content_length_frames_its_body(factory: Factory, size: int) -> None:
    transport, exchange = requested(factory)
    assert exchange.start(200, [(b"content-length", b"%d" % (2 * size))]) == 2 * size
    exchange.channel.send_body(b"a" * size, True)
    exchange.channel.send_body(b"b" * size, True)
    exchange.channel.send_body(b"", False)
    assert transport.data == b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (2 * size) + b"a" * size + b"b" * size


def test_the_applications_transfer_encoding_is_ignored(factory: Factory) -> None:
    transport, exchange = requested(factory)
    exchange.start(200, [(b"Transfer-Encoding", b"chunked")])
    exchange.channel.send_body(b"ok", False)
    assert transport.data == OK


def test_head_gets_the_head_alone(factory: Factory) -> None:
    transport, exchange = requested(factory, get(line=b"HEAD / HTTP/1.1"))
    exchange.start(200, [(b"content-length", b"5")], has_body=False)
    exchange.channel.send_body(b"", False)
    assert transport.take() == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
    receive(transport, get(line=b"HEAD / HTTP/1.1"))
    factory.exchanges[1].start(200, [], has_body=False)
    factory.exchanges[1].channel.send_body(b"", True)
    assert transport.take() == b"HTTP/1.1 200 OK\r\n\r\n"
    factory.exchanges[1].channel.send_body(b"", False)
    assert transport.take() == b""
    receive(transport, GET)
    assert len(factory.exchanges) == 3


def test_204_has_neither_body_nor_length(factory: Factory) -> None:
    transport, exchange = requested(factory)
    exchange.start(204, [(b"Content-Length", b"0"), (b"x", b"y")], has_body=False)
    exchange.channel.send_body(b"", False)
    assert transport.data == b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n"
    assert transport.is_open


def test_304_keeps_its_length_and_has_no_body(factory: Factory) -> None:
    transport, exchange = requested(factory)
    exchange.start(304, [(b"Content-Length", b"9")], has_body=False)
    exchange.channel.send_body(b"", False)
    assert transport.data == b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n"


def test_a_start_that_is_refused_can_be_done_again(factory: Factory) -> None:
    transport, exchange = requested(factory)
    with pytest.raises(ApplicationProtocolError):
        exchange.start(204, [(b"a", b"\n"), (b"connection", b"close")], has_body=False, trailers=True)
    exchange.answer()
    assert transport.data == OK


def test_default_fields_are_in_every_answer() -> None:
    factory = Factory(server_name="daphne", extra=[(b"x-op", b"1")])
    transport, exchange = requested(factory, GET + b"x")
    exchange.start()
    exchange.channel.send_body(b"a", True)
    assert b"\r\nserver: daphne\r\nx-op: 1\r\ntransfer-encoding: chunked\r\n" in transport.data
    exchange.channel.send_body(b"", False)
    factory.turn()
    transport.take()
    factory.pass_time(100)
    assert b"\r\nserver: daphne\r\nx-op: 1\r\n" in transport.data


# Persistence


def test_a_client_that_wants_to_close_is_closed(factory: Factory) -> None:
    transport, exchange = requested(factory, get(b"Connection: close"))
    exchange.answer()
    assert transport.data == OK_CLOSE
    assert transport.is_closed


def test_the_applications_connection_close_is_honoured(factory: Factory) -> None:
    transport, exchange = requested(factory, GET + GET)
    exchange.answer(headers=[(b"Connection", b"close")])
    factory.turn()
    assert transport.data == OK_CLOSE
    assert len(factory.exchanges) == 1
    assert transport.is_write_closed, "what the client has sent must not make the kernel reset the connection"


def test_the_next_answer_knows_nothing_of_the_last(factory: Factory) -> None:
    transport, exchange = requested(factory, get(b"TE: trailers"))
    exchange.start(204, [], has_body=False, trailers=True)
    exchange.channel.send_body(b"", False)
    exchange.channel.send_trailers([], False)
    transport.take()
    receive(transport, GET)
    factory.exchanges[1].answer()
    assert transport.data == OK


def test_1_0_closes_unless_it_asks(factory: Factory) -> None:
    transport, exchange = requested(factory, GET_1_0)
    exchange.answer()
    assert transport.data == OK_CLOSE
    assert transport.is_closed


def test_1_0_keeps_the_connection_when_it_asks(factory: Factory) -> None:
    answering(factory)
    transport, _ = requested(factory, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert transport.take() == OK.replace(b"\r\n\r\n", b"\r\nconnection: keep-alive\r\n\r\n")
    factory.turn()
    receive(transport, GET_1_0)
    factory.turn()
    assert transport.data == OK_CLOSE


def test_1_0_gets_no_chunks_but_the_end_of_the_connection(factory: Factory) -> None:
    transport, exchange = requested(factory, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    exchange.start()
    exchange.channel.send_body(b"abc", True)
    assert transport.data == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc"
    exchange.channel.send_body(b"def", False)
    assert transport.data.endswith(b"\r\n\r\nabcdef")
    assert transport.is_closed


def test_1_0_has_no_interim_answers_and_no_trailers(factory: Factory) -> None:
    transport, exchange = requested(
        factory, b"POST / HTTP/1.0\r\nTE: trailers\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    )
    exchange.channel.send_continue()
    exchange.channel.send_early_hint([b"</a>"])
    exchange.start(trailers=True)
    exchange.channel.send_body(b"x", False)
    exchange.channel.send_trailers([(b"t", b"1")], False)
    assert transport.data == b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx"


def test_extensions_are_those_of_each_request(factory: Factory) -> None:
    transport, exchange = requested(factory, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", FileTransport())
    assert set(exchange.channel.extensions) == {"http.response.pathsend", "http.response.zerocopysend"}
    exchange.answer()
    receive(transport, GET)
    assert "http.response.trailers" in factory.exchanges[1].channel.extensions


def test_an_upgrade_that_nobody_offers_is_an_ordinary_request(factory: Factory) -> None:
    transport, exchange = requested(factory, post(3, b"Connection: upgrade", b"Upgrade: h2c") + b"abc" + GET)
    assert exchange.body == b"abc"
    exchange.answer()
    factory.turn()
    assert len(factory.exchanges) == 2
    assert transport.data == OK


# 100-continue


def test_100_is_sent_when_asked_for_and_once(factory: Factory) -> None:
    transport, exchange = requested(factory, post(2, b"Expect: 100-continue"))
    assert transport.data == b""
    exchange.channel.send_continue()
    exchange.channel.send_continue()
    assert transport.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    receive(transport, b"hi")
    exchange.channel.send_continue()
    exchange.answer()
    assert transport.data == OK
    assert transport.is_open


def test_no_100_without_expect(factory: Factory) -> None:
    transport, exchange = requested(factory, post(2))
    exchange.channel.send_continue()
    assert transport.data == b""


def test_no_100_once_the_body_comes(factory: Factory) -> None:
    transport, exchange = requested(factory, post(2, b"Expect: 100-continue") + b"h")
    exchange.channel.send_continue()
    assert transport.data == b""
    receive(transport, b"i")
    exchange.answer()
    assert transport.data == OK


def test_a_final_answer_without_100_closes(factory: Factory) -> None:
    """Whether the body still comes is the client's choice, so nobody knows where the next request begins."""
    transport, exchange = requested(factory, post(2, b"Expect: 100-continue"))
    exchange.answer(status=417)
    assert head_of(transport.data).endswith(b"connection: close")
    assert b"100" not in transport.data
    assert transport.is_write_closed
    receive(transport, GET)
    assert len(factory.exchanges) == 1


def test_no_100_once_the_final_head_is_sent(factory: Factory) -> None:
    transport, exchange = requested(factory, post(2, b"Expect: 100-continue"))
    exchange.start()
    exchange.channel.send_body(b"abc", True)
    exchange.channel.send_continue()
    assert b"100" not in transport.data


def test_an_empty_chunked_body_is_a_body_that_came(factory: Factory) -> None:
    data = get(b"Transfer-Encoding: chunked", b"Expect: 100-continue") + b"0\r\n\r\n"
    for pieces in splits(data + GET, 4):
        factory.exchanges.clear()
        transport = factory.connect()
        for piece in pieces:
            receive(transport, piece)
        factory.exchanges[0].answer()
        factory.turn()
        assert transport.data == OK
        assert len(factory.exchanges) == 2


# Early hints


def test_hints_leave_at_once(factory: Factory) -> None:
    transport, exchange = requested(factory)
    exchange.channel.send_early_hint([b"</a.css>; rel=preload", b"</b.js>"])
    assert transport.take() == (b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nlink: </b.js>\r\n\r\n")
    exchange.start()
    exchange.channel.send_early_hint([b"</c>"])
    exchange.channel.send_body(b"ok", False)
    assert transport.data == b"HTTP/1.1 103 Early Hints\r\nlink: </c>\r\n\r\n" + OK


def test_a_hint_that_would_break_its_head_is_refused(factory: Factory) -> None:
    transport, exchange = requested(factory)
    with pytest.raises(ApplicationProtocolError):
        exchange.channel.send_early_hint([b"</a>\r\nx: y"])
    assert transport.data == b""


# Trailers


def test_trailers_go_to_who_takes_them(factory: Factory) -> None:
    transport, exchange = requested(factory, get(b"TE: trailers") + GET)
    exchange.start(200, [(b"content-length", b"3")], trailers=True)
    exchange.channel.send_body(b"abc", False)
    assert transport.take() == CHUNKED_HEAD + b"3\r\nabc\r\n0\r\n"
    exchange.channel.send_trailers([(b"A", b"1"), (b"b", b"2")], True)
    assert transport.take() == b"a: 1\r\nb: 2\r\n"
    assert len(factory.exchanges) == 1
    exchange.channel.send_trailers([(b"c", b"3")], False)
    assert transport.take() == b"c: 3\r\n\r\n"
    factory.turn()
    assert len(factory.exchanges) == 2


def test_trailers_are_dropped_for_who_does_not(factory: Factory) -> None:
    transport, exchange = requested(factory)
    exchange.start(trailers=True)
    exchange.channel.send_body(b"ok", False)
    exchange.channel.send_trailers([(b"a", b"1")], False)
    assert transport.data == OK
    assert transport.is_open


def test_dropped_trailers_hold_the_next_request_back(factory: Factory) -> None:
    transport, exchange = requested(factory)
    exchange.start(trailers=True)
    exchange.channel.send_body(b"ok", False)
    receive(transport, GET)
    assert len(factory.exchanges) == 1, "one application at a time"
    exchange.channel.send_trailers([], False)
    factory.turn()
    assert len(factory.exchanges) == 2
    transport.lose()
    assert factory.exchanges[1].names == ["request", "lost"]


def test_trailers_that_would_break_out_are_refused(factory: Factory) -> None:
    for fields in (b"TE: trailers", b"X: y"):
        transport, exchange = requested(factory, get(fields))
        exchange.start(trailers=True)
        exchange.channel.send_body(b"ok", False)
        transport.take()
        with pytest.raises(ApplicationProtocolError):
            exchange.channel.send_trailers([(b"a", b"1\r\n\r\nHTTP/1.1 200 OK")], False)
        assert transport.data == b""


# Files


def test_a_file_is_a_body_of_a_known_length(factory: Factory, file: Any) -> None:
    transport, exchange = requested(factory, GET + GET, FileTransport())
    exchange.start()
    run_file(exchange, file.fileno(), 0, len(CONTENT), False)
    assert transport.data == b"HTTP/1.1 200 OK\r\ncontent-length: 153600\r\n\r\n" + CONTENT
    assert sum(count for _, count in transport.pieces) == len(CONTENT)
    assert max(count for _, count in transport.pieces) <= 65_536
    factory.turn()
    assert len(factory.exchanges) == 2


def test_files_and_bodies_mix_in_chunks(factory: Factory, file: Any) -> None:
    transport, exchange = requested(factory, GET, FileTransport())
    exchange.start()
    exchange.channel.send_body(b"<", True)
    run_file(exchange, file.fileno(), 10, 16, True)
    run_file(exchange, file.fileno(), 10, 0, True)
    run_file(exchange, file.fileno(), 30, 2, False)
    assert (
        transport.data
        == CHUNKED_HEAD + b"1\r\n<\r\n10\r\n" + CONTENT[10:26] + b"\r\n2\r\n" + CONTENT[30:32] + b"\r\n0\r\n\r\n"
    )


def test_an_empty_file_is_an_empty_body(factory: Factory, file: Any) -> None:
    transport, exchange = requested(factory, GET, FileTransport())
    exchange.start()
    run_file(exchange, file.fileno(), 0, 0, False)
    assert transport.data == b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    assert transport.is_open


def test_a_file_within_a_content_length(factory: Factory, file: Any) -> None:
    transport, exchange = requested(factory, GET, FileTransport())
    exchange.start(200, [(b"content-length", b"4")])
    run_file(exchange, file.fileno(), 1, 2, True)
    exchange.channel.send_body(b"!!", False)
    assert transport.data == b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n\x01\x02!!"


def test_head_gets_no_file(factory: Factory, file: Any) -> None:
    transport, exchange = requested(factory, get(line=b"HEAD / HTTP/1.1"), FileTransport())
    exchange.start(has_body=False)
    run_file(exchange, file.fileno(), 0, 5, False)
    assert transport.data == b"HTTP/1.1 200 OK\r\n\r\n"
    assert transport.pieces == []


def test_a_file_for_1_0_ends_with_the_connection(factory: Factory, file: Any) -> None:
    transport, exchange = requested(factory, GET_1_0, FileTransport())
    exchange.start()
    run_file(exchange, file.fileno(), 0, 2, True)
    assert transport.data == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n\x00\x01"
    exchange.channel.send_body(b"", False)
    assert transport.is_closed


def test_a_file_that_ends_early_is_an_os_error(factory: Factory, file: Any) -> None:
    _, exchange = requested(factory, GET, FileTransport())
    exchange.start()
    with pytest.raises(OSError, match="shorter"):
        run_file(exchange, file.fileno(), len(CONTENT) - 1, 2, False)


def test_a_client_that_goes_while_a_file_is_sent(factory: Factory, file: Any) -> None:
    transport = FileTransport()
    _, exchange = requested(factory, GET, transport)
    exchange.start()

    async def scenario() -> None:
        transport.hold = asyncio.get_running_loop().create_future()
        sending = asyncio.ensure_future(exchange.channel.send_file(file.fileno(), 0, 100_000, False))
        await asyncio.sleep(0)
        transport.lose()
        transport.hold.set_result(None)
        with pytest.raises(ClientDisconnected):
            await sending

    asyncio.run(scenario())
    assert exchange.names == ["request", "lost"]


def test_a_reader_has_the_write_timeout_for_each_piece_of_a_file(factory: Factory, file: Any) -> None:
    transport = FileTransport()
    _, exchange = requested(factory, GET, transport)
    exchange.start()

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        transport.hold = loop.create_future()
        sending = loop.create_task(exchange.channel.send_file(file.fileno(), 0, len(CONTENT), False))
        for piece in (1, 2, 3):
            while len(transport.pieces) < piece:
                await asyncio.sleep(0)
            factory.pass_time(TIMEOUTS.write - 1)
            assert not transport.is_aborted
            assert transport.hold is not None
            done, transport.hold = transport.hold, loop.create_future() if piece < 3 else None
            done.set_result(None)
        await sending

    asyncio.run(scenario())
    assert not transport.is_aborted
    factory.pass_time(TIMEOUTS.write + 1)
    assert not transport.is_aborted, "the deadline ends with the file"


@pytest.mark.parametrize("is_paused", [True, False])
def test_a_reader_that_stalls_in_a_file_is_cut(factory: Factory, file: Any, is_paused: bool) -> None:
    """Whether it was the transport's buffer that was full, or the socket's, which no producer hears of."""
    transport = FileTransport()
    _, exchange = requested(factory, GET, transport)
    exchange.start()

    async def scenario() -> None:
        transport.hold = asyncio.get_running_loop().create_future()
        sending = asyncio.ensure_future(exchange.channel.send_file(file.fileno(), 0, 10, False))
        await asyncio.sleep(0)
        if is_paused:
            transport.protocol.pauseProducing()
            transport.protocol.resumeProducing()
        factory.pass_time(TIMEOUTS.write)
        assert transport.is_aborted
        transport.hold.set_result(None)
        with pytest.raises(ClientDisconnected):
            await sending

    asyncio.run(scenario())


# Deadlines of reading


def test_a_silent_connection_is_closed_without_a_word(factory: Factory) -> None:
    transport = factory.connect()
    factory.pass_time(TIMEOUTS.request_head - 0.1)
    assert transport.is_open
    factory.pass_time(0.1)
    assert transport.is_closed
    assert transport.data == b""


def test_a_head_that_is_not_whole_in_time_is_408(factory: Factory) -> None:
    transport = factory.connect()
    for _ in range(9):
        receive(transport, b"G")
        factory.pass_time(1)
    assert transport.is_open
    factory.pass_time(1)
    assert transport.data == refusal(b"408 Request Timeout")
    assert transport.is_write_closed


def test_the_head_deadline_runs_from_the_first_byte_of_later_requests(factory: Factory) -> None:
    answering(factory)
    transport, _ = requested(factory)
    factory.turn()
    factory.pass_time(TIMEOUTS.keep_alive - 1)
    receive(transport, b"G")
    factory.pass_time(TIMEOUTS.request_head - 1)
    receive(transport, b"ET")
    assert transport.is_open
    factory.pass_time(1)
    assert transport.data == OK + refusal(b"408 Request Timeout")


@pytest.mark.parametrize("line_ends", [b"\r\n", b"\r\n\r\n\r\n"])
def test_an_empty_line_behind_a_request_begins_no_other(factory: Factory, line_ends: bytes) -> None:
    """Old clients send one behind a body; a 408 would be taken for the answer to their next request."""
    answering(factory)
    transport, _ = requested(factory, post(2) + b"hi" + line_ends)
    factory.turn()
    receive(transport, line_ends)
    factory.pass_time(TIMEOUTS.keep_alive - 1)
    receive(transport, GET)
    factory.turn()
    assert transport.data == OK * 2
    receive(transport, line_ends)
    factory.pass_time(TIMEOUTS.keep_alive)
    assert transport.data == OK * 2
    assert transport.is_closed


def test_a_partial_head_in_a_pipeline_has_the_head_deadline(factory: Factory) -> None:
    answering(factory)
    transport, _ = requested(factory, GET + b"GET")
    factory.turn()
    factory.pass_time(TIMEOUTS.request_head)
    assert transport.data == OK + refusal(b"408 Request Timeout")


@pytest.mark.parametrize("answer_first", [True, False])
def test_an_idle_connection_is_closed_without_a_word(factory: Factory, answer_first: bool) -> None:
    if answer_first:
        answering(factory)
    transport, exchange = requested(factory)
    if not answer_first:
        exchange.answer()
    factory.turn()
    factory.pass_time(TIMEOUTS.keep_alive - 0.1)
    assert transport.is_open
    factory.pass_time(0.1)
    assert transport.data == OK
    assert transport.is_closed


def test_an_idle_connection_remembers_nothing(factory: Factory) -> None:
    transport, exchange = requested(factory)
    exchange.answer()
    factory.pass_time(1)
    receive(transport, GET)
    assert factory.exchanges[1].head is not exchange.head


def test_a_body_that_stalls_is_refused(factory: Factory) -> None:
    _, exchange = requested(factory, post(10) + b"12345")
    factory.pass_time(TIMEOUTS.request_body - 0.1)
    assert exchange.names == ["request", "body"]
    factory.pass_time(0.2)
    assert exchange.events[-1] == ("refused", 408)


def test_a_body_that_trickles_is_refused(factory: Factory) -> None:
    """Each octet earns time at the minimum rate, not a whole timeout."""
    transport, exchange = requested(factory, post(1000))
    for _ in range(30):
        receive(transport, b"x")
        factory.pass_time(1)
        if exchange.names[-1] == "refused":
            break
    assert exchange.events[-1] == ("refused", 408)


def test_a_body_at_the_minimum_rate_is_read_to_its_end(factory: Factory) -> None:
    seconds = 100
    transport, exchange = requested(factory, post(MIN_RATE * seconds))
    for _ in range(seconds):
        receive(transport, b"x" * MIN_RATE)
        factory.pass_time(1)
    assert exchange.names[-1] == "ended"


def test_a_fast_start_earns_no_more_than_one_timeout(factory: Factory) -> None:
    transport, exchange = requested(factory, post(MIN_RATE * 1000))
    receive(transport, b"x" * MIN_RATE * 900)
    factory.pass_time(TIMEOUTS.request_body)
    assert exchange.events[-1] == ("refused", 408)


def test_the_body_deadline_rests_while_reading_is_paused(factory: Factory) -> None:
    transport, exchange = requested(factory, post(10) + b"123")
    exchange.channel.pause_reading()
    assert not transport.is_reading
    transport.protocol.dataReceived(b"4")  # was on its way
    factory.pass_time(1000)
    assert exchange.names[-1] == "body"
    exchange.channel.resume_reading()
    assert transport.is_reading
    factory.pass_time(TIMEOUTS.request_body - 0.1)
    assert exchange.names[-1] == "body"
    factory.pass_time(0.1)
    assert exchange.events[-1] == ("refused", 408)


def test_an_application_has_all_the_time(factory: Factory) -> None:
    for data in (GET, post(1) + b"x"):
        transport, exchange = requested(factory, data)
        factory.pass_time(100_000)
        assert transport.is_open
        exchange.answer()
        assert transport.data == OK


def test_a_timeout_of_0_is_none() -> None:
    factory = Factory(timeouts=Timeouts(0, 0, 0, 0))
    transport = factory.connect()
    factory.pass_time(1e9)
    receive(transport, b"G")
    factory.pass_time(1e9)
    receive(transport, post(2)[1:].replace(b"OST", b"ET"))
    factory.pass_time(1e9)
    receive(transport, b"x")
    factory.pass_time(1e9)
    receive(transport, b"y")
    transport.protocol.pauseProducing()
    factory.exchanges[0].answer()
    factory.pass_time(1e9)
    transport.protocol.resumeProducing()
    factory.turn()
    factory.pass_time(1e9)
    assert transport.is_open
    assert transport.data == OK


def test_no_wait_ends_before_its_time(factory: Factory) -> None:
    """The clock is a tick behind: a deadline set just before a tick must not lose that tick."""
    transport = factory.connect()
    clock = factory.clock
    clock.tick(clock.now + TIMEOUTS.request_head)
    transport.protocol.check_deadlines()
    assert transport.is_open
    clock.tick(clock.now + 0.001)
    transport.protocol.check_deadlines()
    assert transport.is_closed


# Deadlines of writing


def test_a_reader_that_stalls_is_cut(factory: Factory) -> None:
    transport, exchange = requested(factory)
    exchange.start()
    exchange.channel.send_body(b"x" * 100_000, True)
    transport.backlog = 100_000
    transport.protocol.pauseProducing()
    assert exchange.channel.is_writing_paused
    factory.pass_time(TIMEOUTS.write - 0.1)
    assert not transport.is_aborted
    factory.pass_time(0.1)
    assert transport.is_aborted


def test_a_reader_slower_than_the_minimum_is_cut(factory: Factory) -> None:
    transport, _ = requested(factory)
    transport.backlog = 10_000_000
    transport.protocol.pauseProducing()
    for _ in range(int(TIMEOUTS.write)):
        transport.backlog -= MIN_RATE - 1
        factory.pass_time(1)
    assert transport.is_aborted


def test_a_reader_at_the_minimum_goes_on(factory: Factory) -> None:
    transport, _ = requested(factory)
    transport.backlog = 10_000_000
    transport.protocol.pauseProducing()
    for _ in range(int(TIMEOUTS.write) * 4):
        transport.backlog -= MIN_RATE + 10  # the first second is not measured
        factory.pass_time(1)
    assert not transport.is_aborted
    factory.pass_time(TIMEOUTS.write)
    assert transport.is_aborted, "what it read before does not count for ever"


def test_a_reader_that_has_caught_up_has_no_deadline(factory: Factory) -> None:
    transport, exchange = requested(factory)
    transport.protocol.pauseProducing()
    transport.protocol.resumeProducing()
    assert exchange.names == ["request", "writing resumed"]
    assert not exchange.channel.is_writing_paused
    factory.pass_time(10_000)
    assert not transport.is_aborted


def test_repeated_pauses_do_not_give_more_time(factory: Factory) -> None:
    transport, exchange = requested(factory)
    transport.protocol.pauseProducing()
    factory.pass_time(TIMEOUTS.write - 1)
    transport.protocol.pauseProducing()
    factory.pass_time(1)
    assert transport.is_aborted
    transport.protocol.resumeProducing()
    transport.protocol.resumeProducing()
    assert exchange.names.count("writing resumed") == 1


def test_a_close_that_waits_for_the_reader_has_the_write_deadline(factory: Factory) -> None:
    transport, exchange = requested(factory, get(b"Connection: close"))
    exchange.answer(b"x" * 100_000)
    transport.backlog = 100_000
    assert transport.is_closed
    factory.pass_time(TIMEOUTS.write)
    assert transport.is_aborted


# Backpressure


def test_what_is_pipelined_is_bounded(factory: Factory) -> None:
    transport, exchange = requested(factory)
    received = 0
    while transport.is_reading:
        receive(transport, GET * 100)
        received += 100
        assert received * len(GET) < MAX_PIPELINED + 100 * len(GET) + 1
    exchange.answer()
    factory.turn()
    assert not transport.is_reading, "one request less makes no room"
    answering(factory)
    factory.exchanges[1].answer()
    factory.turn()
    assert transport.is_reading
    assert len(factory.exchanges) == received + 1


def test_what_is_pipelined_behind_an_answer_not_read_is_bounded(factory: Factory) -> None:
    transport, exchange = requested(factory)
    transport.protocol.pauseProducing()
    exchange.answer()
    for _ in range(200):
        if not transport.is_reading:
            break
        receive(transport, GET * 100)
        factory.turn()
    assert not transport.is_reading
    assert len(factory.exchanges) == 1
    answering(factory)
    transport.protocol.resumeProducing()
    factory.turn()
    assert transport.is_reading
    assert len(factory.exchanges) > 1000


def test_no_request_is_begun_for_who_does_not_read(factory: Factory) -> None:
    transport, exchange = requested(factory)
    transport.protocol.pauseProducing()
    exchange.answer()
    receive(transport, GET)
    factory.turn()
    assert len(factory.exchanges) == 1
    transport.protocol.resumeProducing()
    factory.turn()
    assert len(factory.exchanges) == 2


def test_an_idle_connection_that_had_not_read_times_out_too(factory: Factory) -> None:
    transport, exchange = requested(factory)
    transport.protocol.pauseProducing()
    exchange.answer()
    transport.protocol.resumeProducing()
    factory.turn()
    factory.pass_time(TIMEOUTS.keep_alive)
    assert transport.is_closed


def test_an_exchange_pauses_and_resumes_reading(factory: Factory) -> None:
    transport, exchange = requested(factory, post(10))
    exchange.channel.pause_reading()
    exchange.channel.pause_reading()
    assert not transport.is_reading
    exchange.channel.resume_reading()
    exchange.channel.resume_reading()
    assert transport.is_reading
    receive(transport, b"x" * 10)
    exchange.answer()
    assert transport.data == OK


def test_a_body_that_is_whole_needs_no_pause(factory: Factory) -> None:
    """What waits is bounded by now, and the next thing to read may be the client's end."""

    class Pausing(Exchange):
        def body_received(self, data: bytes) -> None:
            super().body_received(data)
            self.channel.pause_reading()

    factory.make_exchange = lambda channel, head: factory.exchanges.append(Pausing(channel)) or factory.exchanges[-1]  # type: ignore[method-assign]
    transport, exchange = requested(factory, post(5) + b"12345")
    assert exchange.names == ["request", "body", "ended"]
    assert transport.is_reading
    exchange.channel.resume_reading()
    exchange.answer()
    receive(transport, GET)
    assert len(factory.exchanges) == 2


MANY_CHUNKS = b"1\r\nx\r\n" * 40_000


def test_a_large_read_is_parsed_in_several_turns(factory: Factory) -> None:
    """Others have theirs in between, and nothing more is read meanwhile."""
    transport, exchange = requested(factory, get(b"Transfer-Encoding: chunked") + MANY_CHUNKS + b"0\r\n\r\n" + GET)
    assert 0 < len(exchange.body) < 20_000
    assert not transport.is_reading
    transport.protocol.dataReceived(GET)  # was on its way
    factory.turn()
    assert exchange.body == b"x" * 40_000
    assert exchange.names[-1] == "ended"
    assert transport.is_reading
    answering(factory)
    exchange.answer()
    factory.turn()
    assert transport.data == OK * 3


def test_a_large_read_that_has_waited_counts_before_the_connection_is_lost_only(factory: Factory) -> None:
    for end in ("lost", "abort", "broken"):
        data = MANY_CHUNKS if end != "broken" else b"broken\r\n" + MANY_CHUNKS
        transport, exchange = requested(factory, get(b"Transfer-Encoding: chunked") + data)
        before = len(exchange.events)
        if end == "broken":
            exchange.channel.refuse(HTTPStatus.BAD_REQUEST)
        elif end == "abort":
            exchange.channel.abort()
        else:
            transport.lose()
            before += 1
        factory.turn()
        assert len(exchange.events) == before


# Bodies that nobody wants


def test_a_small_body_is_read_and_dropped_to_keep_the_connection(factory: Factory) -> None:
    transport, exchange = requested(factory, post(10) + b"12345")
    exchange.answer()
    assert transport.take() == OK
    receive(transport, b"67890" + GET)
    factory.turn()
    assert exchange.names == ["request", "body"]
    assert len(factory.exchanges) == 2
    factory.exchanges[1].answer()
    assert transport.data == OK


def test_an_answer_resumes_the_reading_of_what_is_dropped(factory: Factory) -> None:
    transport, exchange = requested(factory, post(10) + b"12345")
    exchange.channel.pause_reading()
    exchange.answer()
    assert transport.is_reading
    receive(transport, b"67890")
    factory.turn()
    receive(transport, GET)
    assert len(factory.exchanges) == 2


def test_a_large_body_that_nobody_wants_ends_the_connection(factory: Factory) -> None:
    transport, exchange = requested(factory, post(MAX_DISCARDED + 1))
    exchange.answer()
    assert transport.data == OK_CLOSE, "a client that is not told would send its next request in vain"
    assert transport.is_write_closed
    transport, exchange = requested(factory, post(MAX_DISCARDED))
    exchange.answer()
    assert transport.data == OK
    assert transport.is_open


def test_a_large_body_that_a_streamed_answer_left_ends_the_connection(factory: Factory) -> None:
    transport, exchange = requested(factory, post(MAX_DISCARDED + 1))
    exchange.start()
    exchange.channel.send_body(b"o", True)
    assert transport.is_open
    exchange.channel.send_body(b"k", False)
    assert transport.is_write_closed


def test_a_body_of_unknown_length_that_nobody_wants_ends_the_connection(factory: Factory) -> None:
    transport, exchange = requested(factory, get(b"Transfer-Encoding: chunked"))
    exchange.answer()
    assert transport.data == OK_CLOSE
    assert transport.is_write_closed


def test_an_endless_chunked_body_that_nobody_wants_ends_the_connection(factory: Factory) -> None:
    transport, exchange = requested(factory, get(b"Transfer-Encoding: chunked"))
    exchange.start()
    exchange.channel.send_body(b"ok", True)
    exchange.channel.send_body(b"", False)
    answer = transport.data
    received = 0
    while transport.is_open:
        receive(transport, b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
        received += 0x1000
        assert received <= MAX_DISCARDED + 0x1000
    assert transport.data == answer
    receive(transport, b"0\r\n\r\n" + GET)
    factory.turn()
    assert len(factory.exchanges) == 1


def test_a_body_that_stalls_behind_its_answer_ends_the_connection(factory: Factory) -> None:
    transport, exchange = requested(factory, post(10) + b"1")
    exchange.answer()
    factory.pass_time(TIMEOUTS.request_body + 1)
    assert transport.data == OK
    assert transport.is_write_closed


@pytest.mark.parametrize("behind", [b"", b"12345", b"12345" + GET])
def test_nothing_is_served_behind_the_last_answer(factory: Factory, behind: bytes) -> None:
    """Not even when all of it came with the request that was answered at once."""
    answering(factory, headers=[(b"connection", b"close")])
    for pieces in splits(post(5) + behind, 8):
        factory.exchanges.clear()
        transport = factory.connect()
        for piece in pieces:
            receive(transport, piece)
            factory.turn()
        assert transport.data == OK_CLOSE
        assert len(factory.exchanges) == 1
        assert not transport.lost_writes
        assert transport.is_write_closed or transport.is_closed
        factory.pass_time(LINGER_S)
        assert transport.is_closed


# The last answer is read before the end


def test_lingering_drops_what_comes_and_ends(factory: Factory) -> None:
    transport = factory.connect()
    receive(transport, b"NONSENSE\r\n\r\n")
    assert transport.is_write_closed
    assert not transport.is_closed
    for _ in range(10):
        receive(transport, b"x" * 100_000)
    factory.pass_time(LINGER_S - 0.1)
    assert not transport.is_closed
    factory.pass_time(0.1)
    assert transport.is_closed
    factory.pass_time(TIMEOUTS.write)
    assert transport.is_aborted


def test_lingering_keeps_nothing_of_what_comes(factory: Factory) -> None:
    transport, exchange = requested(factory, get(b"Connection: close") + GET)
    exchange.answer()
    assert transport.is_write_closed
    for _ in range(10):
        receive(transport, GET * 1000)
    assert len(transport.protocol._parser.pending) <= len(GET)


def test_lingering_ends_when_the_peer_has_closed(factory: Factory) -> None:
    transport = factory.connect()
    receive(transport, b"NONSENSE\r\n\r\n")
    transport.protocol.readConnectionLost()
    assert transport.is_closed


def test_there_is_no_lingering_for_a_peer_who_has_closed(factory: Factory) -> None:
    transport, exchange = requested(factory, get(b"Connection: close") + GET)
    transport.protocol.readConnectionLost()
    exchange.answer()
    assert transport.is_closed


def test_lingering_reads_even_if_reading_was_paused(factory: Factory) -> None:
    transport, exchange = requested(factory, post(MAX_DISCARDED * 2))
    exchange.channel.pause_reading()
    exchange.answer()
    assert transport.is_write_closed
    assert transport.is_reading


# The peer closes its half


def test_a_half_closed_client_gets_its_answer(factory: Factory) -> None:
    transport, exchange = requested(factory)
    transport.protocol.readConnectionLost()
    assert exchange.names == ["request", "client closed writing"]
    assert transport.is_open
    exchange.answer()
    assert transport.data == OK
    assert transport.is_closed


def test_a_half_closed_client_gets_all_its_answers(factory: Factory) -> None:
    answering(factory)
    transport, _ = requested(factory, GET * 3)
    transport.protocol.readConnectionLost()
    factory.turn()
    assert transport.data == OK * 3
    assert transport.is_closed


def test_a_pipelined_request_hears_of_the_half_close_before_it(factory: Factory) -> None:
    transport, exchange = requested(factory, GET + GET + post(5) + b"12")
    transport.protocol.readConnectionLost()
    exchange.answer()
    factory.turn()
    assert factory.exchanges[1].names == ["request", "client closed writing"]
    factory.exchanges[1].answer()
    factory.turn()
    assert not transport.is_open, "the rest of the body can never come"


@pytest.mark.parametrize("data", [post(5) + b"12", get(b"Transfer-Encoding: chunked") + b"5\r\n12"])
def test_a_request_that_can_never_be_whole_is_given_up(factory: Factory, data: bytes) -> None:
    transport, exchange = requested(factory, data)
    transport.protocol.readConnectionLost()
    assert transport.is_closed
    assert exchange.names[-1] == "lost"
    transport.lose()
    assert exchange.names.count("lost") == 1
    assert transport.data == b""


@pytest.mark.parametrize("data", [post(5) + b"12", get(b"Transfer-Encoding: chunked") + b"5\r\n12"])
def test_a_response_to_what_can_never_be_whole_is_cut(factory: Factory, data: bytes) -> None:
    transport, exchange = requested(factory, data)
    exchange.start()
    exchange.channel.send_body(b"x", True)
    transport.protocol.readConnectionLost()
    assert transport.is_aborted
    transport.lose()
    assert exchange.names[-1] == "lost"


@pytest.mark.parametrize("data", [b"", b"GET / HT", GET + b"GET"])
def test_a_half_close_between_requests_or_in_a_head_is_an_end(factory: Factory, data: bytes) -> None:
    answering(factory)
    transport = factory.connect()
    if data:
        receive(transport, data)
    transport.protocol.readConnectionLost()
    factory.turn()
    assert transport.is_closed
    assert transport.data == (OK if data.startswith(GET) else b"")


def test_a_half_close_while_a_body_is_dropped_is_an_end(factory: Factory) -> None:
    transport, exchange = requested(factory, post(5))
    exchange.answer()
    transport.protocol.readConnectionLost()
    assert transport.is_closed


# The connection is lost, or cut


def test_an_exchange_hears_that_its_connection_is_lost(factory: Factory) -> None:
    transport, exchange = requested(factory)
    transport.lose()
    assert exchange.names == ["request", "lost"]
    factory.pass_time(1e6)
    assert not transport.is_aborted


def test_a_lost_connection_begins_no_other_request(factory: Factory) -> None:
    answering(factory)
    transport, _ = requested(factory, GET + GET)
    transport.lose()
    factory.turn()
    assert len(factory.exchanges) == 1


def test_an_exchange_that_is_over_hears_nothing_more(factory: Factory) -> None:
    transport, exchange = requested(factory)
    exchange.answer()
    transport.protocol.pauseProducing()
    transport.protocol.resumeProducing()
    transport.protocol.readConnectionLost()
    transport.lose()
    assert exchange.names == ["request"]


def test_an_abort_is_at_once_and_nothing_follows(factory: Factory) -> None:
    transport, exchange = requested(factory, GET + GET)
    exchange.start()
    exchange.channel.send_body(b"x", True)
    exchange.channel.abort()
    assert transport.is_aborted
    assert not transport.data.endswith(b"0\r\n\r\n")
    transport.protocol.dataReceived(GET)
    transport.lose()
    factory.turn()
    assert exchange.names == ["request", "lost"]
    assert len(factory.exchanges) == 1


# The server stops


def test_an_idle_connection_is_closed_by_a_stop(factory: Factory) -> None:
    transport, exchange = requested(factory)
    exchange.answer()
    transport.protocol.shutdown_started()
    assert transport.is_closed
    fresh = factory.connect()
    fresh.protocol.shutdown_started()
    assert fresh.is_closed


def test_a_running_request_is_answered_with_close(factory: Factory) -> None:
    transport, exchange = requested(factory)
    transport.protocol.shutdown_started()
    assert transport.is_open
    exchange.answer()
    assert transport.data == OK_CLOSE
    assert transport.is_closed


def test_a_begun_answer_is_ended_and_what_is_pipelined_served(factory: Factory) -> None:
    transport, exchange = requested(factory, GET + GET)
    exchange.start()
    exchange.channel.send_body(b"x", True)
    transport.protocol.shutdown_started()
    exchange.channel.send_body(b"", False)
    factory.turn()
    transport.take()
    factory.exchanges[1].answer()
    factory.turn()
    assert transport.data == OK_CLOSE
    assert not transport.is_open


def test_a_begun_answer_with_nothing_behind_it_is_the_last(factory: Factory) -> None:
    transport, exchange = requested(factory)
    exchange.start()
    exchange.channel.send_body(b"x", True)
    transport.protocol.shutdown_started()
    assert transport.is_open
    exchange.channel.send_body(b"", False)
    factory.turn()
    assert transport.is_closed


def test_a_head_that_has_begun_is_served_with_close(factory: Factory) -> None:
    answering(factory)
    transport = factory.connect()
    receive(transport, GET[:10])
    transport.protocol.shutdown_started()
    assert transport.is_open
    receive(transport, GET[10:])
    factory.turn()
    assert transport.data == OK_CLOSE


def test_a_body_being_dropped_ends_with_the_stop(factory: Factory) -> None:
    transport, exchange = requested(factory, post(5))
    exchange.answer()
    transport.protocol.shutdown_started()
    receive(transport, b"12345")
    factory.turn()
    assert transport.is_closed


# Another protocol takes over


class Successor:
    """Takes over from a connection.

    Attributes:
        events: ``("connected",)``, ``("stopping",)``, ``("lost", reason)``.
        received: What has come, piece by piece.
    """

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.events: list[Any] = []
        self.transport: Any = None

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.events.append(("connected",))

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.received.append(data)

    def connectionLost(self, reason: Any) -> None:
        self.events.append(("lost", reason))

    def shutdown_started(self) -> None:
        self.events.append(("stopping",))


class WrappingTransport(Transport):
    """One that knows no other protocol than its first, as Twisted's wrappers do."""

    switch_protocol = None  # type: ignore[assignment]  # it has none


KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = get(
    b"Connection: upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: " + KEY,
)
# RFC 6455 section 1.3 has this pair of key and answer.
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nx-a: b\r\n%bUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


@pytest.mark.parametrize("behind", [b"", b"\x81\x02hi", b"x" * (MAX_PIPELINED + 1)])
def test_another_protocol_gets_the_transport_and_what_came_behind_the_request(factory: Factory, behind: bytes) -> None:
    transport, exchange = requested(factory, UPGRADE + behind)
    connection, successor = transport.protocol, Successor()
    exchange.channel.switch_to_websocket(successor, KEY, [(b"x-a", b"b")])
    assert transport.protocol is successor
    assert successor.transport is transport
    assert b"".join(successor.received) == behind
    assert transport.producer is None
    assert transport.is_reading
    assert connection not in factory.connections
    factory.clock.tick(1e9)
    factory.clock.tick(1e9)
    connection.check_deadlines()
    assert transport.is_open
    assert transport.data == SWITCHED % b""
    assert successor.events == [("connected",)]


def switching(factory: Factory) -> Successor:
    """Have every exchange be taken over at once, as an eager task does it."""
    successor = Successor()
    factory.on_request = lambda exchange: exchange.channel.switch_to_websocket(successor, KEY, [])
    return successor


def test_a_switch_has_the_fields_of_every_answer_and_those_of_the_application() -> None:
    factory = Factory(server_name="daphne", extra=[(b"x-op", b"1")])
    transport, exchange = requested(factory, UPGRADE)
    headers = [(b"Set-Cookie", b"a"), (b"set-cookie", b"b"), (b"content-length", b"5")]
    exchange.channel.switch_to_websocket(Successor(), KEY, headers)
    status, *fields = transport.data.split(b"\r\n")
    assert status == b"HTTP/1.1 101 Switching Protocols"
    assert sorted(field for field in fields if field) == sorted(
        [
            b"server: daphne",
            b"x-op: 1",
            b"set-cookie: a",
            b"set-cookie: b",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        ]
    )
    assert transport.data.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("field", [(b"a", b"x\r\ny: z"), (b"a b", b"c"), ("a", "b")])
def test_a_switch_that_would_break_its_head_is_refused_and_another_answer_can_follow(
    factory: Factory, field: Any
) -> None:
    transport, exchange = requested(factory, UPGRADE)
    successor = Successor()
    with pytest.raises(ApplicationProtocolError):
        exchange.channel.switch_to_websocket(successor, KEY, [field])
    assert successor.transport is None
    assert transport.data == b""
    exchange.answer(status=200)
    assert transport.data == OK


def test_a_session_that_begins_while_the_server_stops_is_told_so(factory: Factory) -> None:
    transport, exchange = requested(factory, UPGRADE)
    transport.protocol.shutdown_started()
    successor = Successor()
    exchange.channel.switch_to_websocket(successor, KEY, [])
    assert successor.events == [("connected",), ("stopping",)]
    assert transport.is_open


def test_behind_a_wrapper_what_comes_is_handed_on(factory: Factory) -> None:
    transport, exchange = requested(factory, UPGRADE + b"behind", WrappingTransport())
    connection, successor = transport.protocol, Successor()
    exchange.channel.switch_to_websocket(successor, KEY, [])
    assert successor.received == [b"behind"]
    receive(transport, b"and more")
    receive(transport, b"x" * 100_000)
    assert successor.received[1:] == [b"and more", b"x" * 100_000]
    assert connection not in factory.connections
    transport.lose()
    ((_, reason),) = successor.events[1:]
    assert reason.type is ConnectionDone
    assert transport.is_reading


def test_behind_a_wrapper_a_half_close_is_the_end(factory: Factory) -> None:
    """Sessions have no use for half a connection; other transports close by themselves where nobody asks for it."""
    transport, exchange = requested(factory, UPGRADE, WrappingTransport())
    connection = transport.protocol
    exchange.channel.switch_to_websocket(Successor(), KEY, [])
    connection.readConnectionLost()
    assert transport.is_closed
    assert exchange.events == [("request",)], "its exchange has been over since"


def test_a_connection_that_has_been_taken_over_writes_and_pauses_nothing(factory: Factory) -> None:
    transport, exchange = requested(factory, UPGRADE)
    connection = transport.protocol
    exchange.channel.switch_to_websocket(Successor(), KEY, [])
    transport.take()
    connection.shutdown_started()
    connection.writeConnectionLost()
    factory.turn()
    assert transport.data == b""
    assert transport.is_reading


FRAMES = b"".join(b"%06d" % number for number in range(10_000))


@pytest.mark.parametrize("transport_class", [Transport, WrappingTransport])
@pytest.mark.parametrize("behind", [b"", b"\x81\x02hi", FRAMES], ids=["nothing", "a frame", "more than a turn"])
@pytest.mark.parametrize("before", [b"", GET], ids=["alone", "pipelined"])
def test_an_eager_switch_keeps_the_order_of_what_is_behind_it(
    factory: Factory, transport_class: type[Transport], behind: bytes, before: bytes
) -> None:
    """An application that accepts within the call that starts it: the parser is still at work then."""
    data = before + UPGRADE + behind
    for at in (0, len(before) + 1, len(before + UPGRADE) - 2, len(before + UPGRADE), len(data) - 2):
        factory = Factory(timeouts=TIMEOUTS)
        successor = Successor()

        def serve(exchange: Exchange, successor: Successor = successor) -> None:
            if exchange.head.upgrade:
                exchange.channel.switch_to_websocket(successor, KEY, [])
            else:
                exchange.answer()

        factory.on_request = serve
        transport = factory.connect(transport_class())
        for piece in (data[:at], data[at:]):
            if piece:
                transport.protocol.dataReceived(piece)
        factory.turn()
        assert b"".join(successor.received) == behind
        assert successor.events == [("connected",)]
        assert transport.is_reading
        assert transport.data.count(b"101 Switching Protocols") == 1
        receive(transport, b"later")
        assert b"".join(successor.received) == behind + b"later"


def test_an_eager_switch_by_which_the_session_ends_is_not_told_of_more(factory: Factory) -> None:
    successor = switching(factory)
    transport = factory.connect(WrappingTransport())
    receive(transport, UPGRADE)
    transport.lose()
    factory.turn()
    assert [event[0] for event in successor.events] == ["connected", "lost"]
    assert not factory.connections
