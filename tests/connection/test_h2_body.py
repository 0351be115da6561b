"""The content of a request on a stream of HTTP/2: its windows, its length, its time, and what of it has to wait."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest

from daphne_clone.connection.h2 import H2Options
from daphne_clone.connection.h2_stream import MAX_DISCARDED
from daphne_clone.connection.shared import LINGER_S, MIN_RATE, Timeouts
from daphne_clone.interfaces import Limits
from tests.support.connections import Exchange, Factory
from tests.support.h2_frames import Code, Setting, data_frame, field_block, headers_frame, rst_frame, settings_frame
from tests.support.peer_in_memory import Data, Headers, Peer, Reset, Window
from tests.support.requests import splits

TIMEOUTS = Timeouts(request_head=10, request_body=20, keep_alive=40, write=30)
WINDOW = 262_144
TRAILERS = headers_frame(1, field_block([(b"a", b"b")]))


@pytest.fixture
def factory() -> Factory:
    return Factory(timeouts=TIMEOUTS)


@pytest.fixture
def peer(factory: Factory) -> Peer:
    return Peer(factory)


@pytest.fixture
def exchange(peer: Peer) -> Exchange:
    return post(peer)


def post(peer: Peer, *fields: tuple[bytes, bytes], stream: int = 1) -> Exchange:
    return peer.request(stream, method=b"POST", fields=fields, end=False)


def send(peer: Peer, octets: int) -> list[Any]:
    """Send so much content in large frames; what is written meanwhile."""
    frames = []
    while octets:
        size = min(octets, 16_384)
        peer.send(data_frame(1, b"x" * size))
        octets -= size
        frames += peer.take()
    return frames


def status_of(frames: list[Any]) -> bytes:
    (answer,) = (each for each in frames if isinstance(each, Headers))
    return answer.fields[0][1]


# As it comes


def test_content_is_passed_on_as_it_comes(peer: Peer, exchange: Exchange) -> None:
    peer.send(data_frame(1, b"one"))
    assert exchange.events == [("request",), ("body", b"one")]
    peer.send(data_frame(1, b"two"), data_frame(1, b"three", end=True))
    assert exchange.body == b"onetwothree"
    assert exchange.names == ["request", "body", "body", "body", "ended"]
    assert peer.take() == []


@pytest.mark.parametrize("fields", [(), ((b"content-length", b"10"),)], ids=["without length", "with length"])
@pytest.mark.parametrize(
    "last", [data_frame(1, end=True), data_frame(1, end=True, padding=9), TRAILERS], ids=["DATA", "padding", "HEADERS"]
)
def test_content_in_any_split(factory: Factory, fields: tuple[tuple[bytes, bytes], ...], last: bytes) -> None:
    data = data_frame(1, b"hello") + data_frame(1, b"") + data_frame(1, b"world", padding=3) + last
    for pieces in splits(data, 4):
        peer = Peer(factory)
        exchange = post(peer, *fields)
        for piece in pieces:
            peer.send(piece)
        assert exchange.body == b"helloworld"
        assert exchange.names == ["request", "body", "body", "ended"]
        exchange.answer()
        assert len(peer.take()) == 2
        assert not peer.connection._streams


def test_a_request_that_is_whole_with_its_head_hears_no_more(peer: Peer) -> None:
    assert peer.request(1).events == [("request",)]


def test_a_length_of_0_is_a_request_that_is_whole_with_its_head(peer: Peer) -> None:
    """The exchange knows that from the length, and must not be told twice."""
    for stream, last in ((1, data_frame(1, end=True)), (3, headers_frame(3, b""))):
        exchange = post(peer, (b"content-length", b"0"), stream=stream)
        peer.send(last)
        assert exchange.events == [("request",)]
        exchange.answer()
        assert not peer.connection._streams


# Its length (RFC 9113 section 8.1.1)


@pytest.mark.parametrize(
    "frames",
    [
        [data_frame(1, b"123456")],
        [data_frame(1, b"12345"), data_frame(1, b"6", end=True)],
        [data_frame(1, b"1234", end=True)],
        [data_frame(1, end=True)],
        [data_frame(1, b"1234"), TRAILERS],
        [TRAILERS],
    ],
    ids=["too much", "too much at the end", "too little", "nothing", "too little, and trailers", "trailers"],
)
@pytest.mark.parametrize("is_paused", [False, True])
def test_content_that_disagrees_with_its_length(peer: Peer, frames: list[bytes], is_paused: bool) -> None:
    exchange = post(peer, (b"content-length", b"5"))
    if is_paused:
        exchange.channel.pause_reading()
    peer.send(*frames)
    assert peer.take() == [Reset(1, Code.PROTOCOL_ERROR)]
    assert exchange.names[-1] == "lost"
    assert "ended" not in exchange.names


def test_content_where_there_was_to_be_none(peer: Peer) -> None:
    exchange = post(peer, (b"content-length", b"0"))
    peer.send(data_frame(1, b"x"))
    assert peer.take() == [Reset(1, Code.PROTOCOL_ERROR)]
    assert exchange.names == ["request", "lost"]


@pytest.mark.parametrize("is_paused", [False, True])
@pytest.mark.parametrize("last", [data_frame(1, b"x", end=True), TRAILERS], ids=["DATA", "HEADERS"])
@pytest.mark.parametrize(
    "behind", [data_frame(1, b"x"), data_frame(1, end=True), TRAILERS], ids=["DATA", "end", "HEADERS"]
)
def test_nothing_comes_behind_the_end(
    peer: Peer, exchange: Exchange, behind: bytes, last: bytes, is_paused: bool
) -> None:
    """RFC 9113 section 5.1, "half-closed (remote)"."""
    if is_paused:
        exchange.channel.pause_reading()
    peer.send(last, behind)
    assert peer.take() == [Reset(1, Code.STREAM_CLOSED)]
    assert exchange.names[-1] == "lost"


@pytest.mark.parametrize(
    ("block", "end", "code"),
    [
        ([(b":path", b"/")], True, Code.PROTOCOL_ERROR),
        ([(b"A", b"b")], True, Code.PROTOCOL_ERROR),
        ([(b"connection", b"b")], True, Code.PROTOCOL_ERROR),
        ([(b"a", b"b")], False, Code.PROTOCOL_ERROR),
        ([(b"a", b"b")] * 101, True, Code.ENHANCE_YOUR_CALM),
        ([(b"a", b"b" * 40_000)] * 2, True, Code.ENHANCE_YOUR_CALM),
    ],
    ids=["pseudo-field", "upper case", "connection", "that do not end it", "many", "long"],
)
def test_trailers_that_are_malformed_or_too_many(
    peer: Peer, exchange: Exchange, block: list[tuple[bytes, bytes]], end: bool, code: Code
) -> None:
    octets = field_block(block)
    peer.send(headers_frame(1, octets[:16_000], end=end, whole=len(octets) <= 16_000))
    for at in range(16_000, len(octets), 16_000):
        part = octets[at : at + 16_000]
        peer.send(
            len(part).to_bytes(3, "big"), b"\x09\x04" if at + 16_000 >= len(octets) else b"\x09\x00", b"\0\0\0\1", part
        )
    if len(octets) > 65_536:
        assert peer.take()[-1].code == code
    else:
        assert peer.take() == [Reset(1, code)]
    assert exchange.names == ["request", "lost"]


# Its window (RFC 9113 section 6.9)


def test_the_window_is_given_back_in_lots_of_half_of_it(peer: Peer, exchange: Exchange) -> None:
    updates = [each for each in send(peer, 10 * WINDOW) if isinstance(each, Window) and each.stream == 1]
    assert updates == [Window(1, WINDOW // 2)] * 20


def test_padding_takes_room_as_content_does(peer: Peer, exchange: Exchange) -> None:
    peer.send(*(data_frame(1, b"x" * 255, padding=255) for _ in range(WINDOW // 2 // 511 + 1)))
    (update,) = (each for each in peer.take() if isinstance(each, Window))
    assert update.stream == 1
    assert WINDOW // 2 <= update.increment < WINDOW // 2 + 511


def test_behind_the_end_the_stream_needs_no_window(peer: Peer, exchange: Exchange) -> None:
    send(peer, WINDOW // 2 - 1)
    peer.send(data_frame(1, b"xx", end=True))
    assert peer.take() == []


def test_more_than_the_window_is_a_fault_of_the_stream(peer: Peer, exchange: Exchange) -> None:
    exchange.channel.pause_reading()
    assert send(peer, WINDOW) == []
    peer.send(data_frame(1, b"x"))
    assert peer.take() == [Reset(1, Code.FLOW_CONTROL_ERROR)]
    assert exchange.events == [("request",), ("lost",)]


def test_the_window_is_what_was_announced() -> None:
    factory = Factory(timeouts=TIMEOUTS, http2=H2Options(stream_window=70_000))
    peer = Peer(factory)
    post(peer).channel.pause_reading()
    assert send(peer, 70_000) == []
    peer.send(data_frame(1, b"x"))
    assert peer.take() == [Reset(1, Code.FLOW_CONTROL_ERROR)]


def test_padding_counts_against_the_window_to_the_octet() -> None:
    """As long as there is less of it than a lot, for then it is given back."""
    factory = Factory(timeouts=TIMEOUTS, http2=H2Options(stream_window=70_000))
    peer = Peer(factory)
    exchange = post(peer)
    exchange.channel.pause_reading()
    peer.send(*(data_frame(1, bytes(200), padding=100) for _ in range(232)), data_frame(1, bytes(100), padding=67))
    assert peer.take() == []
    peer.send(data_frame(1, b"x"))
    assert peer.take() == [Reset(1, Code.FLOW_CONTROL_ERROR)]


# What has to wait


def test_what_is_not_wanted_yet_is_held_and_so_is_the_window(peer: Peer, exchange: Exchange) -> None:
    exchange.channel.pause_reading()
    assert send(peer, WINDOW) == []
    assert exchange.events == [("request",)]
    exchange.channel.resume_reading()
    assert exchange.body == b"x" * WINDOW
    assert Window(1, WINDOW) in peer.take()
    assert exchange.names[-1] == "body"


def test_the_padding_of_what_is_held_is_given_back_at_once(peer: Peer, exchange: Exchange) -> None:
    exchange.channel.pause_reading()
    frames = []
    for _ in range(2_000):
        peer.send(data_frame(1, b"x", padding=254))
        frames += peer.take()
    assert sum(each.increment for each in frames if isinstance(each, Window) and each.stream == 1) > WINDOW


def test_the_end_is_behind_what_is_held(peer: Peer, exchange: Exchange) -> None:
    for last in (data_frame(1, b"!", end=True), TRAILERS):
        peer = Peer(peer.factory)
        exchange = post(peer)
        exchange.channel.pause_reading()
        peer.send(data_frame(1, b"held"), last)
        assert exchange.names == ["request"]
        exchange.channel.resume_reading()
        assert exchange.names == ["request", "body", "ended"]
        assert exchange.body.startswith(b"held")


def test_an_end_alone_is_held_too(peer: Peer, exchange: Exchange) -> None:
    exchange.channel.pause_reading()
    peer.send(data_frame(1, end=True))
    assert exchange.names == ["request"]
    exchange.channel.resume_reading()
    assert exchange.names == ["request", "ended"]


@pytest.mark.parametrize("how", ["with the last content", "while it was held"])
def test_an_exchange_that_pauses_when_it_gets_content_has_the_end_later(
    peer: Peer, exchange: Exchange, how: str
) -> None:
    take = exchange.body_received

    def take_and_pause(data: bytes) -> None:
        take(data)
        exchange.channel.pause_reading()

    exchange.body_received = take_and_pause  # type: ignore[method-assign]
    if how == "while it was held":
        exchange.channel.pause_reading()
    peer.send(data_frame(1, b"x", end=True))
    if how == "while it was held":
        exchange.channel.resume_reading()
    assert exchange.names == ["request", "body"]
    exchange.channel.resume_reading()
    assert exchange.names == ["request", "body", "ended"]


def test_pausing_and_resuming_of_what_is_whole_means_nothing(peer: Peer) -> None:
    exchange = peer.request(1)
    exchange.channel.resume_reading()
    exchange.channel.pause_reading()
    exchange.channel.resume_reading()
    assert exchange.events == [("request",)]


def test_held_content_is_dropped_with_its_stream(peer: Peer, exchange: Exchange) -> None:
    exchange.channel.pause_reading()
    peer.send(data_frame(1, b"held"), rst_frame(1))
    exchange.channel.resume_reading()
    assert exchange.events == [("request",), ("lost",)]


# Its limit


def test_more_than_the_limit_is_refused(factory: Factory) -> None:
    factory.limits = Limits(body=10)
    peer = Peer(factory)
    exchange = post(peer)
    peer.send(data_frame(1, b"1234567890"))
    assert exchange.names == ["request", "body"]
    peer.send(data_frame(1, b"x"))
    assert exchange.events[-1] == ("refused", 413)
    assert len(factory.refusals) == 1
    exchange.channel.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    assert status_of(peer.take()) == b"413"


def test_a_limit_is_none_of_a_response_that_is_complete(factory: Factory) -> None:
    """What of it waits for a window is not taken from the client."""
    factory.limits = Limits(body=10)
    peer = Peer(factory, settings=[(Setting.INITIAL_WINDOW_SIZE, 1)])
    exchange = post(peer)
    exchange.answer(b"hello")
    peer.send(data_frame(1, b"x" * 100))
    factory.pass_time(25)
    peer.send(settings_frame((Setting.INITIAL_WINDOW_SIZE, 100)))
    frames = peer.take()
    assert b"".join(each.data for each in frames if isinstance(each, Data)) == b"hello"
    assert exchange.names == ["request"]


# Its time


def test_content_that_does_not_come_is_408(peer: Peer, exchange: Exchange, factory: Factory) -> None:
    factory.pass_time(19)
    assert exchange.names == ["request"]
    factory.pass_time(2)
    assert exchange.events == [("request",), ("refused", 408)]
    factory.pass_time(100)
    assert exchange.events == [("request",), ("refused", 408)]


def test_content_that_trickles_is_408(peer: Peer, exchange: Exchange, factory: Factory) -> None:
    for _ in range(25):
        peer.send(data_frame(1, b"x"))
        factory.pass_time(1)
    assert ("refused", 408) in exchange.events


def test_content_that_comes_slowly_is_waited_for(peer: Peer, exchange: Exchange, factory: Factory) -> None:
    for _ in range(100):
        peer.send(data_frame(1, b"x" * (MIN_RATE + 1)))
        factory.pass_time(1)
    assert exchange.names == ["request"] + ["body"] * 100


def test_much_content_does_not_buy_more_than_a_stall(peer: Peer, exchange: Exchange, factory: Factory) -> None:
    send(peer, 10 * WINDOW)
    factory.pass_time(19)
    assert exchange.names[-1] == "body"
    factory.pass_time(2)
    assert exchange.events[-1] == ("refused", 408)


def test_an_application_may_take_its_time(peer: Peer, exchange: Exchange, factory: Factory) -> None:
    exchange.channel.pause_reading()
    factory.pass_time(1000)
    assert exchange.names == ["request"]
    exchange.channel.resume_reading()
    factory.pass_time(19)
    assert exchange.names == ["request"]
    factory.pass_time(2)
    assert exchange.events[-1] == ("refused", 408)


def test_a_request_that_is_whole_has_no_deadline(peer: Peer, exchange: Exchange, factory: Factory) -> None:
    peer.send(data_frame(1, b"x", end=True))
    factory.pass_time(1000)
    assert exchange.names == ["request", "body", "ended"]


def test_time_can_be_for_ever() -> None:
    factory = Factory(timeouts=Timeouts(request_body=0))
    peer = Peer(factory)
    exchange = post(peer)
    for _ in range(5):
        factory.pass_time(10_000)
        peer.send(data_frame(1, b"x"))
        exchange.channel.pause_reading()
        exchange.channel.resume_reading()
    assert exchange.names == ["request"] + ["body"] * 5
    exchange.answer()
    peer.take()
    peer.send(data_frame(1, b"x"))
    factory.pass_time(LINGER_S - 1)
    assert peer.take() == []
    factory.pass_time(2)
    assert peer.take() == [Reset(1, Code.NO_ERROR)]  # but not behind the answer


# Behind the response (RFC 9113 section 8.1)


def test_a_body_that_ends_soon_behind_the_response_is_let_end(peer: Peer, exchange: Exchange) -> None:
    exchange.answer()
    peer.send(data_frame(1, b"x" * 10_000), data_frame(1, b"x" * 10_000, end=True))
    assert not any(isinstance(each, Reset) for each in peer.take())
    assert exchange.names == ["request"]
    assert not peer.connection._streams


@pytest.mark.parametrize("before", [0, 10 * WINDOW])
def test_a_long_body_behind_the_response_is_stopped(peer: Peer, exchange: Exchange, before: int) -> None:
    """Not by a reset just behind the response, for which some clients throw it away."""
    send(peer, before)
    exchange.answer()
    peer.take()
    assert not any(isinstance(each, Reset) for each in send(peer, MAX_DISCARDED))
    peer.send(data_frame(1, b"x"))
    assert Reset(1, Code.NO_ERROR) in peer.take()
    assert not peer.connection._streams


@pytest.mark.parametrize("trickles", [False, True])
def test_a_body_that_goes_on_behind_the_response_is_stopped_soon(
    peer: Peer, exchange: Exchange, factory: Factory, trickles: bool
) -> None:
    exchange.answer()
    peer.take()
    for _ in range(int(LINGER_S)):
        factory.pass_time(1)
        if trickles and peer.connection._streams:
            peer.send(data_frame(1, b"x" * 1000))
    factory.pass_time(1)
    assert peer.take() == [Reset(1, Code.NO_ERROR)]


def test_what_is_held_is_let_go_with_the_response(peer: Peer, exchange: Exchange) -> None:
    exchange.channel.pause_reading()
    send(peer, 60_000)
    peer.send(data_frame(1, b"x", end=True))
    exchange.answer()
    assert not peer.connection._streams
    assert exchange.names == ["request"]
    assert not any(isinstance(each, Reset) for each in peer.take())


def test_while_the_response_waits_the_body_may_come(factory: Factory) -> None:
    """Who sends and receives at the same time may need the one for the other."""
    peer = Peer(factory, settings=[(Setting.INITIAL_WINDOW_SIZE, 1)])
    exchange = post(peer)
    exchange.answer(b"hello")
    assert not any(isinstance(each, Reset) for each in send(peer, 4 * WINDOW))
    peer.send(settings_frame((Setting.INITIAL_WINDOW_SIZE, 100)), data_frame(1, b"x", end=True))
    assert peer.take()[-1] == Data(1, b"ello", True)
    assert not peer.connection._streams


# Half close


def test_a_body_that_is_held_is_not_lost_when_the_client_half_closes(peer: Peer, exchange: Exchange) -> None:
    """Over TCP alone the FIN is behind the body."""
    exchange.channel.pause_reading()
    peer.send(data_frame(1, b"held", end=True))
    peer.connection.readConnectionLost()
    assert exchange.names == ["request"]
    exchange.channel.resume_reading()
    assert exchange.names == ["request", "body", "ended", "client closed writing"]
    exchange.answer()
    assert peer.take()[1] == Data(1, b"ok", True)
    assert peer.transport.is_closed


def test_a_body_that_can_never_be_whole_is_given_up(peer: Peer, exchange: Exchange) -> None:
    peer.send(data_frame(1, b"part"))
    peer.connection.readConnectionLost()
    assert exchange.names == ["request", "body", "lost"]
    assert peer.transport.is_closed


def test_behind_the_response_a_half_close_ends_the_stream(peer: Peer, exchange: Exchange) -> None:
    exchange.answer()
    peer.connection.readConnectionLost()
    assert peer.transport.is_closed
    assert len(peer.take()) == 3
