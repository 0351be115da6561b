"""One connection of HTTP/2: what its streams share; what one stream does is in test_h2_stream. Time goes by hand."""

from __future__ import annotations

import sys
from collections.abc import Callable
from http import HTTPStatus
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer
from zope.interface.verify import verifyObject

from daphne_clone.connection.h2 import H2Connection, H2Options
from daphne_clone.connection.shared import LINGER_S, Timeouts
from daphne_clone.interfaces import Limits
from tests.support.connections import Exchange, Factory, Transport
from tests.support.h2_frames import (
    DEFAULT_WINDOW,
    INCREMENTAL,
    MAX_WINDOW,
    PREFACE,
    SETTINGS_ACK,
    UNKNOWN,
    Code,
    Setting,
    continuation_frame,
    data_frame,
    field_block,
    frame,
    frames_of,
    goaway_frame,
    headers_frame,
    indexed,
    literal,
    ping_frame,
    priority_frame,
    push_frame,
    request_fields,
    rst_frame,
    settings_frame,
    window_frame,
)
from tests.support.peer_in_memory import (
    Data,
    FrameReader,
    Goaway,
    Headers,
    Peer,
    Ping,
    Reset,
    Settings,
    SettingsAck,
    Window,
    request_frame,
)
from tests.support.requests import splits

TIMEOUTS = Timeouts(request_head=10, request_body=20, keep_alive=40, write=30)


def ok(stream: int, body: bytes = b"ok") -> list[Any]:
    """What `Exchange.answer` makes."""
    return [Headers(stream, [(b":status", b"200"), (b"content-length", b"%d" % len(body))]), Data(stream, body, True)]


def post_frame(stream: int = 1, *fields: tuple[bytes, bytes]) -> bytes:
    return request_frame(stream, fields=fields, method=b"POST", end=False)


def answering(factory: Factory, **options: Any) -> Factory:
    factory.on_request = lambda exchange: exchange.answer(**options)
    return factory


def data_in(frames: list[Any]) -> list[tuple[int, int]]:
    """Stream and size of each frame of content."""
    return [(each.stream, len(each.data)) for each in frames if isinstance(each, Data)]


def is_settled(connection: H2Connection) -> bool:
    """Whether each octet of the connection's window has been given back, or is about to be: exactly once."""
    return connection._receive_window + connection._uncredited == connection.options.connection_window


def references(holder: Any) -> int:
    channel, holder.channel = holder.channel, None
    return sys.getrefcount(channel)


def assert_freed(peer: Peer, exchange: Exchange) -> None:
    """Nobody but its exchange has the stream any more: not the connection, and not itself in a circle."""
    peer.take()
    expected = references(SimpleNamespace(channel=object()))
    found = references(exchange)
    assert found == expected


@pytest.fixture
def factory() -> Factory:
    return Factory(timeouts=TIMEOUTS)


@pytest.fixture
def peer(factory: Factory) -> Peer:
    return Peer(factory)


# What it is, and how it begins (RFC 9113 section 3.4)


def test_it_is_what_it_says(factory: Factory) -> None:
    for interface in (IProtocol, IHalfCloseableProtocol, IPushProducer):
        assert verifyObject(interface, H2Connection(factory))


def test_it_speaks_first(factory: Factory) -> None:
    peer = Peer(factory, greets=False)
    assert peer.connection in factory.connections
    assert peer.transport.producer is peer.connection
    assert peer.take() == [
        Settings(
            [
                (Setting.MAX_CONCURRENT_STREAMS, 100),
                (Setting.INITIAL_WINDOW_SIZE, 262_144),
                (Setting.MAX_HEADER_LIST_SIZE, 65_536),
                (Setting.ENABLE_CONNECT_PROTOCOL, 1),
            ]
        ),
        Window(0, 1_048_576 - DEFAULT_WINDOW),
    ]


def test_it_says_what_it_was_told_to() -> None:
    factory = Factory(limits=Limits(head=1000), http2=H2Options(7, 70_000, DEFAULT_WINDOW))
    (settings,) = Peer(factory, greets=False).take()
    assert dict(settings.pairs) == {
        Setting.MAX_CONCURRENT_STREAMS: 7,
        Setting.INITIAL_WINDOW_SIZE: 70_000,
        Setting.MAX_HEADER_LIST_SIZE: 1000,
        Setting.ENABLE_CONNECT_PROTOCOL: 1,
    }


def test_preface_and_frames_in_any_split(factory: Factory) -> None:
    answering(factory)
    data = (
        PREFACE + settings_frame() + request_frame(1) + ping_frame() + post_frame(3) + data_frame(3, b"hello", end=True)
    )
    for pieces in splits(data):
        peer = Peer(factory, greets=False)
        for piece in pieces:
            peer.send(piece)
        frames = peer.take()[2:]
        assert frames == [SettingsAck(), *ok(1), Ping(b"12345678", True), *ok(3)]
        peer.transport.lose()
    assert not factory.connections


@pytest.mark.parametrize("at", [0, 1, 10, len(PREFACE) - 1])
def test_a_preface_that_is_none(factory: Factory, at: int) -> None:
    peer = Peer(factory, greets=False)
    peer.take()
    peer.send(PREFACE[:at], b"X", PREFACE[at + 1 :], settings_frame())
    assert peer.take() == [Goaway(0, Code.PROTOCOL_ERROR)]
    assert peer.transport.is_write_closed


def test_a_preface_without_settings_behind_it(factory: Factory) -> None:
    peer = Peer(factory, greets=False)
    peer.take()
    peer.send(PREFACE, ping_frame())
    assert peer.take() == [Goaway(0, Code.PROTOCOL_ERROR)]


# Requests and answers


def test_a_request_is_an_exchange_and_its_answer_ends_the_stream(peer: Peer, factory: Factory) -> None:
    exchange = peer.request(1, b"/a?b", [(b"x", b"y")])
    assert exchange.events == [("request",)]
    head = exchange.head
    assert head is not None
    assert (head.raw_path, head.query_string, head.headers) == (b"/a", b"b", [(b"host", b"testserver"), (b"x", b"y")])
    assert peer.take() == []
    exchange.answer()
    assert peer.take() == ok(1)
    assert peer.request(3) is factory.exchanges[1]


def test_the_channel_knows_its_ends(peer: Peer, factory: Factory) -> None:
    asked: list[Any] = []
    describe = factory.describe
    factory.describe = lambda transport: asked.append(transport) or describe(transport)  # type: ignore[method-assign]
    factory.trusts = lambda client: client == ["192.0.2.1", 50_000]  # type: ignore[method-assign]
    for stream in (1, 3, 5):
        channel = peer.request(stream).channel
        assert (channel.scheme, channel.client, channel.server) == ("http", ["192.0.2.1", 50_000], ["192.0.2.2", 80])
        assert channel.is_peer_trusted
        assert channel.factory is factory
        assert channel.extensions == factory.extensions_of(peer.transport, "2")
    assert asked == [peer.transport]  # once, and not before it is needed


def test_requests_are_answered_in_the_order_of_the_answers(peer: Peer) -> None:
    exchanges = [peer.request(stream) for stream in (1, 3, 5)]
    for exchange in reversed(exchanges):
        exchange.answer()
    assert peer.take() == [*ok(5), *ok(3), *ok(1)]


def test_many_answers_leave_in_one_piece(factory: Factory) -> None:
    peer = Peer(answering(factory))
    before = peer.transport.calls
    peer.send(*(request_frame(stream) for stream in range(1, 101, 2)))
    assert peer.transport.calls == before
    assert len(peer.take()) == 100
    assert peer.transport.calls == before + 1


def test_much_does_not_wait_for_the_end_of_the_turn(peer: Peer) -> None:
    peer.send(window_frame(0, 1_000_000), settings_frame((Setting.INITIAL_WINDOW_SIZE, 1_000_000)))
    peer.take()
    exchange = peer.request(1)
    exchange.start()
    exchange.channel.send_body(b"x" * 65_000, True)
    assert peer.transport.data == b""
    exchange.channel.send_body(b"x" * 1_000, True)
    assert len(peer.transport.data) > 66_000


def test_each_turn_has_its_own_piece(peer: Peer, factory: Factory) -> None:
    for stream in (1, 3):
        peer.request(stream).answer()
        assert peer.transport.data == b""
        factory.turn()
        assert peer.frames.read(peer.transport.take()) == ok(stream)


def test_pings_and_settings_are_acknowledged(peer: Peer) -> None:
    peer.send(ping_frame(b"abcdefgh"), settings_frame((9, 9)), ping_frame(ack=True), SETTINGS_ACK, frame(UNKNOWN, 7, 9))
    assert peer.take() == [Ping(b"abcdefgh", True), SettingsAck()]


def test_what_a_client_says_goodbye_to_is_not_this_side(factory: Factory) -> None:
    """Its GOAWAY is about streams that a server would open."""
    peer = Peer(answering(factory))
    peer.send(goaway_frame(0, Code.NO_ERROR), request_frame(1))
    assert peer.take() == ok(1)


# Stream numbers (RFC 9113 section 5.1.1)


def test_numbers_may_be_passed_over(factory: Factory) -> None:
    peer = Peer(answering(factory))
    for stream in (7, 9, 2**31 - 1):
        peer.send(request_frame(stream))
        assert peer.take() == ok(stream)


@pytest.mark.parametrize("stream", [2, 4, 100])
@pytest.mark.parametrize("before", [(), (1,), (101,)])
def test_clients_have_odd_numbers(peer: Peer, before: tuple[int, ...], stream: int) -> None:
    for each in before:
        peer.request(each)
    peer.send(request_frame(stream))
    assert peer.take() == [Goaway(max(before, default=0), Code.PROTOCOL_ERROR)]


@pytest.mark.parametrize(("opened", "late"), [((5,), 3), ((5,), 1), ((1, 9), 7), ((1, 9), 3), ((3, 5, 9), 7)])
def test_numbers_only_grow(factory: Factory, opened: tuple[int, ...], late: int) -> None:
    peer = Peer(answering(factory))
    for each in opened:
        peer.send(request_frame(each))
    peer.take()
    peer.send(request_frame(late))
    assert peer.take() == [Goaway(max(opened), Code.PROTOCOL_ERROR)]


@pytest.mark.parametrize(
    "data", [data_frame(5, b"x"), rst_frame(5), window_frame(5, 1), data_frame(2), rst_frame(2), window_frame(2, 1)]
)
def test_on_a_stream_that_was_never_opened_nothing_comes(peer: Peer, data: bytes) -> None:
    peer.request(3)
    peer.send(data)
    assert peer.take() == [Goaway(3, Code.PROTOCOL_ERROR)]


def test_priority_may_come_anywhere(peer: Peer) -> None:
    peer.request(3)
    peer.send(priority_frame(1), priority_frame(3), priority_frame(9), priority_frame(2))
    assert peer.take() == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (data_frame(1, b"x"), Code.STREAM_CLOSED),
        (data_frame(1, end=True), Code.STREAM_CLOSED),
        (request_frame(1), Code.STREAM_CLOSED),
        (rst_frame(1), None),
        (window_frame(1, 1), None),
    ],
    ids=["DATA", "DATA of nothing", "HEADERS", "RST_STREAM", "WINDOW_UPDATE"],
)
def test_on_a_stream_that_has_ended(factory: Factory, data: bytes, code: Code | None) -> None:
    """What may have crossed our END_STREAM is no fault."""
    peer = Peer(answering(factory))
    peer.send(request_frame(1))
    peer.take()
    peer.send(data)
    assert peer.take() == ([] if code is None else [Goaway(1, code)])


@pytest.mark.parametrize(
    "data",
    [
        data_frame(1, b"x" * 100),
        data_frame(1, end=True),
        headers_frame(1, field_block([(b"a", b"b")])),
        rst_frame(1),
        window_frame(1, 1),
        priority_frame(1),
    ],
    ids=lambda data: f"type {data[3]} flags {data[4]}",
)
def test_on_a_stream_that_we_have_reset_anything_may_come(peer: Peer, factory: Factory, data: bytes) -> None:
    """The peer may not know yet (RFC 9113 section 5.1, "closed")."""
    peer.send(post_frame(1))
    factory.exchanges[0].channel.abort()
    assert peer.take() == [Reset(1, Code.INTERNAL_ERROR)]
    peer.send(data, data)
    assert peer.take() == []
    assert is_settled(peer.connection)


def test_of_streams_that_we_have_reset_so_many_are_remembered(factory: Factory) -> None:
    factory.on_request = lambda exchange: exchange.channel.abort()
    peer = Peer(factory)
    for stream in range(1, 1001, 2):
        peer.send(post_frame(stream))
    peer.take()
    for stream in range(999, 601, -2):
        peer.send(data_frame(stream, b"late"))
    assert peer.take() == []
    peer.send(data_frame(1, b"much too late"))
    assert peer.take() == [Goaway(999, Code.STREAM_CLOSED)]


def test_behind_a_reset_the_table_of_fields_is_in_step(peer: Peer, factory: Factory) -> None:
    peer.send(post_frame(1))
    factory.exchanges[0].channel.abort()
    peer.send(headers_frame(1, literal(b"x", b"y", INCREMENTAL)))
    peer.send(headers_frame(3, field_block(request_fields()) + indexed(62)))
    head = factory.exchanges[1].head
    assert head is not None and head.headers[-1] == (b"x", b"y")


# Faults


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (data_frame(0, b"x"), Code.PROTOCOL_ERROR),
        (frame(0, 0, 1, bytes(16_385)), Code.FRAME_SIZE_ERROR),
        (push_frame(1, 2, b""), Code.PROTOCOL_ERROR),
        (continuation_frame(1, b""), Code.PROTOCOL_ERROR),
        (headers_frame(3, b"\xff\xff\xff\xff\xff\xff\xff"), Code.COMPRESSION_ERROR),
        (window_frame(0, 0), Code.PROTOCOL_ERROR),
        (window_frame(0, MAX_WINDOW), Code.FLOW_CONTROL_ERROR),
    ],
)
def test_a_fault_of_the_connection_ends_it_and_all_its_streams(
    peer: Peer, factory: Factory, data: bytes, code: Code
) -> None:
    exchange = peer.request(1)
    peer.send(data, request_frame(5))
    assert peer.take() == [Goaway(3 if data[3] == 1 else 1, code)]
    assert exchange.events == [("request",), ("lost",)]
    assert len(factory.exchanges) == 1
    assert len(factory.refusals) == 1
    assert peer.transport.is_write_closed and not peer.transport.is_closed
    # It lingers, so that the peer can read why; what still comes is dropped.
    peer.send(request_frame(7), b"\xff" * 100)
    assert peer.take() == []
    peer.connection.readConnectionLost()
    assert peer.transport.is_closed


def test_a_fault_of_a_stream_ends_that_stream(peer: Peer, factory: Factory) -> None:
    others = peer.request(1), peer.request(3)
    peer.send(window_frame(1, 0), request_frame(5))
    assert peer.take() == [Reset(1, Code.PROTOCOL_ERROR)]
    assert others[0].events == [("request",), ("lost",)]
    assert others[1].events == [("request",)]
    assert len(factory.exchanges) == 3


def test_a_malformed_request_is_reset_and_has_no_exchange(peer: Peer, factory: Factory) -> None:
    peer.send(headers_frame(1, field_block([(b":method", b"GET")])), request_frame(3))
    assert peer.take() == [Reset(1, Code.PROTOCOL_ERROR)]
    assert len(factory.exchanges) == 1
    assert len(factory.refusals) == 1


@pytest.mark.parametrize(
    ("target", "method", "status"), [(b"/" + b"x" * 100, b"GET", 414), (b"/", b"HEAD", 431), (b"/", b"POST", 413)]
)
def test_a_request_over_a_limit_is_answered(target: bytes, method: bytes, status: int) -> None:
    factory = Factory(Limits(line=50, fields=3, body=10), TIMEOUTS)
    peer = Peer(factory)
    fields = [(b"x", b"y")] * (4 if status == 431 else 0) + [(b"content-length", b"11")] * (status == 413)
    peer.send(request_frame(1, target, fields, method=method, end=status != 413))
    answer = peer.take()
    assert answer[0].fields[0] == (b":status", b"%d" % status)
    assert answer[-1].ends
    assert factory.exchanges == []
    assert len(factory.refusals) == 1
    assert peer.request(3).events == [("request",)]


def test_connect_is_501(peer: Peer, factory: Factory) -> None:
    peer.send(headers_frame(1, field_block([(b":method", b"CONNECT"), (b":authority", b"a:1")])))
    (answer,) = peer.take()
    assert answer.fields[0] == (b":status", b"501") and answer.ends


# How many at a time (RFC 9113 section 5.1.2)


def test_over_the_number_of_streams_a_request_is_refused_and_can_be_made_again() -> None:
    factory = Factory(timeouts=TIMEOUTS, http2=H2Options(max_streams=2))
    peer = Peer(factory)
    first, second = peer.request(1), peer.request(3)
    block = field_block(request_fields()) + literal(b"x", b"y", INCREMENTAL)
    peer.send(headers_frame(5, block, end=False), data_frame(5, b"x" * 1000, end=True))
    assert peer.take() == [Reset(5, Code.REFUSED_STREAM)]
    assert len(factory.exchanges) == 2
    assert is_settled(peer.connection)
    first.answer()
    assert peer.take() == ok(1)
    peer.send(headers_frame(7, field_block(request_fields()) + indexed(62)))
    head = factory.exchanges[2].head
    assert head is not None and head.headers[-1] == (b"x", b"y")
    second.answer()
    assert peer.take() == ok(3)


def test_a_stream_counts_until_both_sides_have_ended_it() -> None:
    factory = answering(Factory(timeouts=TIMEOUTS, http2=H2Options(max_streams=1)))
    peer = Peer(factory)
    peer.send(post_frame(1))
    assert peer.take() == ok(1)
    peer.send(request_frame(3))
    assert peer.take() == [Reset(3, Code.REFUSED_STREAM)]
    peer.send(data_frame(1, end=True), request_frame(5))
    assert peer.take() == ok(5)


# Settings of the peer (RFC 9113 section 6.5)


def test_initial_window_size_holds_for_streams_that_are_there_too(factory: Factory) -> None:
    peer = Peer(factory, settings=[(Setting.INITIAL_WINDOW_SIZE, 10)])
    exchange = peer.request(1)
    exchange.start()
    exchange.channel.send_body(b"x" * 100, True)
    assert data_in(peer.take()) == [(1, 10)]
    peer.send(settings_frame((Setting.INITIAL_WINDOW_SIZE, 25)))
    assert peer.take() == [SettingsAck(), Data(1, b"x" * 15)]
    # Below 0, from where it has to be filled up first.
    peer.send(settings_frame((Setting.INITIAL_WINDOW_SIZE, 5)))
    peer.send(window_frame(1, 20))
    assert peer.take() == [SettingsAck()]
    peer.send(window_frame(1, 1))
    assert peer.take() == [Data(1, b"x")]
    peer.send(settings_frame((Setting.INITIAL_WINDOW_SIZE, 6)))
    assert peer.take() == [SettingsAck(), Data(1, b"x")]


def test_initial_window_size_is_not_the_connections(factory: Factory) -> None:
    peer = Peer(factory, settings=[(Setting.INITIAL_WINDOW_SIZE, MAX_WINDOW)])
    peer.request(1).answer(b"x" * 70_000)
    assert sum(size for _, size in data_in(peer.take())) == DEFAULT_WINDOW


@pytest.mark.parametrize("settings", [[(4, MAX_WINDOW)], [(4, 1), (4, MAX_WINDOW)]])
def test_a_setting_that_makes_a_window_too_large_is_a_fault_of_the_connection(
    peer: Peer, settings: list[tuple[int, int]]
) -> None:
    """RFC 9113 section 6.9.2."""
    peer.request(1)
    peer.send(window_frame(1, 1))
    peer.send(settings_frame(*settings))
    assert peer.take() == [Goaway(1, Code.FLOW_CONTROL_ERROR)]


def test_of_a_setting_that_is_there_twice_the_last_value_counts(factory: Factory) -> None:
    peer = Peer(factory, settings=[(4, 7), (4, 3), (5, 20_000), (5, 16_384)])
    peer.request(1).answer(b"12345")
    assert data_in(peer.take()) == [(1, 3)]


def test_max_frame_size(factory: Factory) -> None:
    windows = [(Setting.INITIAL_WINDOW_SIZE, 200_000)]
    peer = Peer(factory, settings=[*windows, (Setting.MAX_FRAME_SIZE, 50_000)])
    peer.send(window_frame(0, 200_000))
    peer.request(1).answer(b"x" * 120_000)
    assert data_in(peer.take()) == [(1, 50_000), (1, 50_000), (1, 20_000)]
    peer.send(settings_frame((Setting.MAX_FRAME_SIZE, 16_384)))
    peer.request(3).answer(b"x" * 20_000)
    assert data_in(peer.take()) == [(3, 16_384), (3, 3_616)]


def test_no_frame_is_larger_than_others_would_wait_for(factory: Factory) -> None:
    peer = Peer(factory, settings=[(Setting.INITIAL_WINDOW_SIZE, 10**6), (Setting.MAX_FRAME_SIZE, 2**24 - 1)])
    peer.send(window_frame(0, 10**6))
    peer.request(1).answer(b"x" * 200_000)
    assert [size for _, size in data_in(peer.take())] == [65_536] * 3 + [200_000 - 3 * 65_536]


@pytest.mark.parametrize("extra", [-20, -9, -4, -1, 0, 1, 16_384])
@pytest.mark.parametrize("more", [False, True])
def test_a_head_of_any_size_fits_the_peers_frames(peer: Peer, more: bool, extra: int) -> None:
    fields = [(b"x", b"y" * 4_000)] * 4 + [(b"x", b"y" * (330 + extra))]
    exchange = peer.request(1)
    exchange.start(headers=fields)
    exchange.channel.send_body(b"ok", more)
    peer.factory.turn()
    written = peer.transport.data
    at = 0
    while at < len(written):
        length = int.from_bytes(written[at : at + 3], "big")
        assert length <= 16_384
        at += 9 + length
    (answer, content) = peer.take()
    assert [field for field in answer.fields if field[0] == b"x"] == fields
    assert content == Data(1, b"ok", not more)


def table_of_0(factory: Factory) -> Peer:
    peer = Peer(factory, settings=[(Setting.HEADER_TABLE_SIZE, 0)])
    peer.frames.set_table_size(0)
    return peer


def test_a_smaller_table_is_acknowledged_in_the_next_field_block(factory: Factory) -> None:
    """RFC 7541 section 4.2; the decoder of the test insists on it."""
    peer = table_of_0(factory)
    peer.request(1).answer()
    assert peer.take() == ok(1)
    peer.request(3).answer()
    factory.turn()
    (block, _) = (payload for *_, payload in frames_of(peer.transport.data))
    assert block[:1] == b"\x88"  # once is enough
    assert peer.take() == ok(3)


def test_it_is_the_next_that_is_written_not_the_next_that_is_made(factory: Factory) -> None:
    peer = table_of_0(factory)
    peer.connection.pauseProducing()
    for stream in (1, 3, 5):
        peer.request(stream).answer()
    peer.send(rst_frame(1))
    peer.connection.resumeProducing()
    assert [each for each in peer.take() if isinstance(each, Headers)] == [ok(3)[0], ok(5)[0]]


@pytest.mark.parametrize("kind", ["hint", "trailers", "head"])
def test_it_may_be_any_field_block(peer: Peer, kind: str) -> None:
    exchange = peer.request(1)
    exchange.start(trailers=True)
    if kind == "trailers":
        exchange.channel.send_body(b"ok", False)
    peer.take()
    peer.send(settings_frame((Setting.HEADER_TABLE_SIZE, 100), (Setting.HEADER_TABLE_SIZE, 4096)))
    peer.frames.set_table_size(100)
    if kind == "hint":
        exchange.channel.send_early_hint([b"</a>"])
    if kind != "trailers":
        exchange.channel.send_body(b"ok", False)
    exchange.channel.send_trailers([(b"a", b"b")], False)
    assert peer.take()[-1] == Headers(1, [(b"a", b"b")], True)


# What the peer takes: windows (RFC 9113 section 6.9), and whose turn it is


def long_answers(peer: Peer, size: int, *streams: int) -> list[Exchange]:
    exchanges = [peer.request(stream) for stream in streams]
    for exchange in exchanges:
        exchange.answer(b"x" * size)
    return exchanges


@pytest.fixture
def wide(factory: Factory) -> Peer:
    """A peer with room on each stream, and the ordinary window for all together."""
    return Peer(factory, settings=[(Setting.INITIAL_WINDOW_SIZE, 1_000_000)])


def test_no_more_is_written_than_the_connections_window_takes(wide: Peer) -> None:
    long_answers(wide, 100_000, 1)
    assert sum(size for _, size in data_in(wide.take())) == DEFAULT_WINDOW
    wide.send(window_frame(0, 1))
    assert wide.take() == [Data(1, b"x")]
    wide.send(window_frame(0, 100_000))
    assert sum(size for _, size in data_in(wide.take())) == 100_000 - DEFAULT_WINDOW - 1


def test_those_who_wait_for_the_connections_window_take_turns(wide: Peer) -> None:
    long_answers(wide, 500_000, 1, 3, 5)
    wide.take()
    turns = []
    for _ in range(5):
        wide.send(window_frame(0, 4 * 16_384))
        turns += data_in(wide.take())
    streams = [stream for stream, _ in turns]
    assert all(set(streams[at : at + 3]) == {1, 3, 5} for at in range(0, 9, 3))
    by_stream = {stream: sum(size for each, size in turns if each == stream) for stream in (1, 3, 5)}
    assert max(by_stream.values()) - min(by_stream.values()) <= 2 * 16_384


def test_a_small_answer_has_its_turn_beside_a_large_one(wide: Peer) -> None:
    long_answers(wide, 1_000_000, 1)
    wide.request(3).answer(b"small")
    wide.take()
    wide.send(window_frame(0, 20_000))
    assert Data(3, b"small", True) in wide.take()


def test_streams_whose_window_opens_with_the_settings_take_turns(factory: Factory) -> None:
    peer = Peer(factory, settings=[(Setting.INITIAL_WINDOW_SIZE, 0)])
    long_answers(peer, 100_000, 1, 3, 5)
    peer.take()
    peer.send(settings_frame((Setting.INITIAL_WINDOW_SIZE, 100_000)))
    assert [stream for stream, _ in data_in(peer.take())] == [1, 3, 5, 1]


def test_a_large_answer_takes_many_turns_of_the_loop(factory: Factory) -> None:
    """However fast its reader is: other connections want their turn too."""
    peer = Peer(factory, settings=[(Setting.INITIAL_WINDOW_SIZE, 10**8)])
    peer.send(window_frame(0, 10**8))
    exchange = peer.request(1)
    exchange.answer(b"x" * 5_000_000)
    assert len(peer.transport.data) < 600_000
    written = []

    def look() -> None:
        written.append(len(peer.transport.data))
        if written[-1] < 5_000_000:
            factory.call_soon(look)

    look()
    peer.request(3).answer(b"small")  # behind a frame of the large one, not behind all of it
    frames = peer.take()
    assert len(written) > 8
    assert all(after - before < 600_000 for before, after in pairwise(written))
    assert sum(size for stream, size in data_in(frames) if stream == 1) == 5_000_000
    assert frames.index(Data(3, b"small", True)) < 50


def test_what_a_window_has_cut_gives_nothing_back(factory: Factory) -> None:
    """CVE-2019-9511: a peer that opens windows octet by octet."""
    peer = Peer(factory, settings=[(Setting.INITIAL_WINDOW_SIZE, 0)])
    peer.request(1).answer(b"x" * 10_000)
    for _ in range(2_000):
        if peer.connection._is_lingering:
            break
        peer.send(window_frame(1, 1))
    assert peer.take()[-1] == Goaway(1, Code.ENHANCE_YOUR_CALM)


def test_what_waits_for_its_own_window_keeps_nobody_waiting(factory: Factory) -> None:
    peer = Peer(factory, settings=[(Setting.INITIAL_WINDOW_SIZE, 10)])
    long_answers(peer, 100, 1)
    peer.request(3).answer()
    assert data_in(peer.take()) == [(1, 10), (3, 2)]


def test_an_answer_without_content_needs_no_window(wide: Peer) -> None:
    long_answers(wide, 100_000, 1)
    wide.take()
    wide.request(3).answer(b"")
    assert wide.take() == [Headers(3, [(b":status", b"200"), (b"content-length", b"0")], True)]


def test_a_window_has_an_upper_bound(peer: Peer) -> None:
    peer.request(1)
    peer.request(3)
    peer.send(window_frame(0, MAX_WINDOW - DEFAULT_WINDOW), window_frame(1, MAX_WINDOW - DEFAULT_WINDOW))
    peer.send(window_frame(1, 1))
    assert peer.take() == [Reset(1, Code.FLOW_CONTROL_ERROR)]
    peer.send(window_frame(0, 1))
    assert peer.take() == [Goaway(3, Code.FLOW_CONTROL_ERROR)]


@pytest.mark.parametrize("end", ["reset", "abort"])
@pytest.mark.parametrize("where", ["connection's window", "transport"])
def test_a_stream_that_ends_while_it_waits_is_kept_nowhere(wide: Peer, where: str, end: str) -> None:
    long_answers(wide, 100_000, 1)
    if where == "transport":
        wide.connection.pauseProducing()
    exchange = wide.request(3)
    exchange.answer(b"x" * 10)
    if end == "reset":
        wide.send(rst_frame(3))
    else:
        exchange.channel.abort()
    assert_freed(wide, exchange)


# The transport is full


def test_to_a_transport_that_is_full_no_stream_writes(peer: Peer) -> None:
    peer.connection.pauseProducing()
    for stream in (1, 3):
        peer.request(stream).answer()
    assert peer.take() == []
    peer.connection.resumeProducing()
    assert peer.take() == [ok(1)[0], ok(1)[1], *ok(3)]


def test_pings_are_answered_all_the_same(peer: Peer) -> None:
    peer.connection.pauseProducing()
    peer.send(ping_frame())
    assert peer.take() == [Ping(b"12345678", True)]


def test_a_transport_that_fills_up_stops_the_writing(factory: Factory) -> None:
    class Small(Transport):
        """Full after every write, as long as it likes."""

        def write(self, data: bytes) -> None:
            super().write(data)
            if len(data) > 1000:
                self.protocol.pauseProducing()

    peer = Peer(factory, Small(), settings=[(4, 10**6)])
    peer.send(window_frame(0, 10**6))
    peer.take()
    peer.request(1).answer(b"x" * 300_000)
    sizes = [sum(size for _, size in data_in(peer.take()))]
    while sizes[-1]:
        peer.connection.resumeProducing()
        sizes.append(sum(size for _, size in data_in(peer.take())))
    assert sum(sizes) == 300_000
    assert max(sizes) < 100_000


def test_pausing_and_resuming_twice_is_once(peer: Peer) -> None:
    peer.connection.resumeProducing()
    peer.connection.pauseProducing()
    peer.connection.pauseProducing()
    peer.connection.resumeProducing()
    peer.connection.resumeProducing()
    peer.request(1).answer()
    assert peer.take() == ok(1)
    peer.connection.stopProducing()


# What we take: the connection's own window


def fill(peer: Peer, stream: int, octets: int) -> list[Any]:
    """Send content; what is given back meanwhile."""
    frames = []
    while octets:
        size = min(octets, 16_384)
        peer.send(data_frame(stream, bytes(size)))
        frames += peer.take()
        octets -= size
    return frames


def test_the_window_is_given_back_in_lots_as_content_is_taken(peer: Peer) -> None:
    peer.send(post_frame(1))
    total = 0
    given = 0
    for _ in range(200):
        updates = [each for each in fill(peer, 1, 16_384) if isinstance(each, Window)]
        total += 16_384
        given += sum(each.increment for each in updates if each.stream == 0)
        assert all(each.increment >= 65_536 for each in updates)
        assert total - given < 1_048_576
    assert is_settled(peer.connection)


def test_more_than_the_window_is_a_fault_of_the_connection(factory: Factory) -> None:
    peer = Peer(factory)
    for stream in range(1, 11, 2):
        peer.send(post_frame(stream))
        factory.exchanges[-1].channel.pause_reading()
    for stream in (1, 3, 5, 7):
        assert fill(peer, stream, 262_144) == []
    peer.send(data_frame(9, b"x"))
    assert peer.take() == [Goaway(9, Code.FLOW_CONTROL_ERROR)]


def test_what_slow_applications_hold_is_all_that_others_have_less(factory: Factory) -> None:
    """A lot of half the window would never come together, if more than half is held."""
    peer = Peer(factory)
    for stream in (1, 3, 5):
        peer.send(post_frame(stream))
        factory.exchanges[-1].channel.pause_reading()
        fill(peer, stream, 250_000)
    peer.send(post_frame(7))
    room = 1_048_576 - 750_000
    for _ in range(300):
        room += sum(each.increment for each in fill(peer, 7, 16_384) if each == Window(0, each[1])) - 16_384
        assert room > 16_384, "the fast upload stands still"


Story = Callable[[Peer, Exchange], None]


def _held_then_reset(peer: Peer, exchange: Exchange) -> None:
    exchange.channel.pause_reading()
    peer.send(data_frame(1, bytes(5000)), data_frame(1, bytes(100), padding=50), rst_frame(1))


def _held_then_aborted(peer: Peer, exchange: Exchange) -> None:
    exchange.channel.pause_reading()
    peer.send(data_frame(1, bytes(5000)))
    exchange.channel.abort()
    peer.send(data_frame(1, bytes(5000), padding=9, end=True))


def _held_then_answered(peer: Peer, exchange: Exchange) -> None:
    exchange.channel.pause_reading()
    peer.send(data_frame(1, bytes(5000)))
    exchange.answer()
    peer.send(data_frame(1, bytes(16_000)), data_frame(1, bytes(16_000), end=True))


def _held_then_taken(peer: Peer, exchange: Exchange) -> None:
    exchange.channel.pause_reading()
    peer.send(data_frame(1, bytes(16_000)), data_frame(1, bytes(16_000), padding=200, end=True))
    exchange.channel.resume_reading()
    exchange.answer()


def _held_then_malformed(peer: Peer, exchange: Exchange) -> None:
    exchange.channel.pause_reading()
    peer.send(data_frame(1, bytes(16_000)), headers_frame(1, field_block([(b"A", b"b")])))
    peer.send(data_frame(1, bytes(16_000)))


def _longer_than_announced(peer: Peer, exchange: Exchange) -> None:
    peer.send(data_frame(1, bytes(16_000)), data_frame(1, bytes(16_000)), data_frame(1, bytes(16_000), padding=5))
    peer.send(data_frame(1, bytes(500)))


def _shorter_than_announced(peer: Peer, exchange: Exchange) -> None:
    peer.send(data_frame(1, bytes(16_000), end=True))


def _behind_the_end(peer: Peer, exchange: Exchange) -> None:
    peer.send(data_frame(1, bytes(16_000)), data_frame(1, bytes(16_000), end=True), data_frame(1, bytes(16_000)))


def _behind_the_end_held(peer: Peer, exchange: Exchange) -> None:
    exchange.channel.pause_reading()
    _behind_the_end(peer, exchange)


def _over_the_streams_window(peer: Peer, exchange: Exchange) -> None:
    exchange.channel.pause_reading()
    peer.send(*(data_frame(1, bytes(1_000), padding=255) for _ in range(300)))
    peer.factory.turn()


def _refused_over_the_limit(peer: Peer, exchange: Exchange) -> None:
    peer.factory.limits = Limits(body=20_000)
    peer.send(data_frame(1, bytes(16_000)), data_frame(1, bytes(16_000), padding=9))
    peer.send(*(data_frame(1, bytes(16_000)) for _ in range(10)))


def _never_wanted(peer: Peer, exchange: Exchange) -> None:
    exchange.answer()
    peer.send(*(data_frame(1, bytes(16_000)) for _ in range(10)))


def _padding_alone(peer: Peer, exchange: Exchange) -> None:
    exchange.channel.pause_reading()
    peer.send(*(data_frame(1, b"", padding=255) for _ in range(20)))


def _lost(peer: Peer, exchange: Exchange) -> None:
    exchange.channel.pause_reading()
    peer.send(data_frame(1, bytes(16_000)))
    exchange.channel.pause_reading()
    peer.factory.pass_time(100)
    exchange.channel.abort()


STORIES: list[Story] = [
    _held_then_reset,
    _held_then_aborted,
    _held_then_answered,
    _held_then_taken,
    _held_then_malformed,
    _longer_than_announced,
    _shorter_than_announced,
    _behind_the_end,
    _behind_the_end_held,
    _over_the_streams_window,
    _refused_over_the_limit,
    _never_wanted,
    _padding_alone,
    _lost,
]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__.strip("_").replace("_", " "))
def test_every_octet_is_given_back_once_whatever_becomes_of_its_stream(peer: Peer, story: Story) -> None:
    length = [(b"content-length", b"32000")] if "announced" in story.__name__ else []
    peer.send(post_frame(1, *length))
    story(peer, peer.factory.exchanges[0])
    peer.factory.turn()
    if 1 in peer.connection._streams:
        peer.send(rst_frame(1))
    assert is_settled(peer.connection)
    # And it says so to the peer, in the end.
    peer.send(post_frame(3))
    updates = [each for each in (*peer.take(), *fill(peer, 3, 900_000)) if isinstance(each, Window) and not each.stream]
    assert updates
    assert is_settled(peer.connection)


# Frames that ask for nothing


IDLE: dict[str, bytes] = {
    "PING": ping_frame(),
    "PING acknowledged": ping_frame(ack=True),
    "SETTINGS": settings_frame(),
    "SETTINGS acknowledged": SETTINGS_ACK,
    "PRIORITY": priority_frame(1),
    "WINDOW_UPDATE": window_frame(0, 1),
    "WINDOW_UPDATE of a stream": window_frame(1, 1),
    "WINDOW_UPDATE of a stream that has ended": window_frame(3, 1),
    "RST_STREAM of a stream that has ended": rst_frame(3),
    "DATA of nothing": data_frame(1),
    "DATA of padding": data_frame(1, padding=0),
    "GOAWAY": goaway_frame(),
    "unknown": frame(UNKNOWN),
}


def send_many(peer: Peer, data: bytes, count: int) -> None:
    """In reads that do not take more than a turn."""
    while count:
        peer.send(data * min(count, 200))
        count -= min(count, 200)


@pytest.mark.parametrize("name", IDLE)
def test_so_many_are_taken_and_no_more(factory: Factory, name: str) -> None:
    peer = Peer(factory)
    peer.send(post_frame(1), request_frame(3))
    factory.exchanges[1].answer()
    peer.take()
    send_many(peer, IDLE[name], 990)
    assert not any(isinstance(each, Goaway) for each in peer.take())
    send_many(peer, IDLE[name], 20)
    assert peer.take()[-1] == Goaway(3, Code.ENHANCE_YOUR_CALM)
    assert factory.exchanges[0].events[-1] == ("lost",)


def test_time_gives_some_back(peer: Peer, factory: Factory) -> None:
    peer.request(1)
    send_many(peer, ping_frame(), 990)
    for _ in range(5):
        factory.pass_time(1)
        send_many(peer, ping_frame(), 100)
    assert all(isinstance(each, Ping) for each in peer.take())
    send_many(peer, ping_frame(), 20)
    assert isinstance(peer.take()[-1], Goaway)


def test_but_not_more_than_there_were(peer: Peer, factory: Factory) -> None:
    peer.request(1)
    for _ in range(100):
        factory.pass_time(1)
    send_many(peer, ping_frame(), 1010)
    assert isinstance(peer.take()[-1], Goaway)


def test_requests_and_content_give_some_back(factory: Factory) -> None:
    peer = Peer(answering(factory))
    send_many(peer, ping_frame(), 980)
    for number in range(50):
        peer.send(request_frame(2 * number + 1), ping_frame() * 9)
    peer.send(post_frame(101))
    for _ in range(4):
        peer.send(data_frame(101, bytes(10_000)), window_frame(0, 1) * 9)
    assert not any(isinstance(each, Goaway) for each in peer.take())


def test_what_is_written_gives_some_back(factory: Factory) -> None:
    """Each frame of content is acknowledged, in one window or in both."""
    peer = Peer(factory)
    exchange = peer.request(1)
    exchange.start()
    for _ in range(3000):
        exchange.channel.send_body(b"event", True)
        peer.send(window_frame(0, 5), window_frame(1, 5))
    assert not any(isinstance(each, Goaway) for each in peer.take())


def test_requests_that_are_refused_give_nothing_back() -> None:
    """CVE-2019-9514: each is answered with a reset."""
    factory = Factory(timeouts=TIMEOUTS, http2=H2Options(max_streams=1))
    peer = Peer(factory)
    for stream in range(1, 2101, 2):
        peer.send(request_frame(stream))
    assert peer.take()[-1] == Goaway(peer.connection._last_stream_id, Code.ENHANCE_YOUR_CALM)


def test_a_frame_with_many_settings_counts_for_many(peer: Peer) -> None:
    peer.request(1)
    for _ in range(5):
        peer.send(settings_frame(*[(Setting.INITIAL_WINDOW_SIZE, 1)] * 2_000))
    assert peer.take()[-1] == Goaway(1, Code.ENHANCE_YOUR_CALM)


def test_a_field_block_of_many_small_parts_counts(peer: Peer) -> None:
    """CVE-2024-27316 and the others of that spring."""
    peer.send(headers_frame(1, b"", whole=False))
    for _ in range(1100):
        if peer.connection._is_lingering:
            break
        peer.send(continuation_frame(1, b"", whole=False))
    assert peer.take() == [Goaway(0, Code.ENHANCE_YOUR_CALM)]


# Requests that are taken back


def test_so_many_requests_may_be_taken_back_and_no_more(peer: Peer, factory: Factory) -> None:
    """CVE-2023-44487."""
    for number in range(200):
        peer.send(request_frame(2 * number + 1), rst_frame(2 * number + 1))
    assert peer.take() == []
    assert [exchange.names for exchange in factory.exchanges] == [["request", "lost"]] * 200
    peer.send(request_frame(401), rst_frame(401))
    assert peer.take() == [Goaway(401, Code.ENHANCE_YOUR_CALM)]


def test_time_allows_for_some_more(peer: Peer, factory: Factory) -> None:
    stream = 1
    for _ in range(200):
        peer.send(request_frame(stream), rst_frame(stream))
        stream += 2
    for _ in range(3):
        factory.pass_time(1)
        for _ in range(20):
            peer.send(request_frame(stream), rst_frame(stream))
            stream += 2
    assert peer.take() == []
    peer.send(request_frame(stream), rst_frame(stream))
    assert isinstance(peer.take()[-1], Goaway)


def test_malformed_requests_count_as_much(peer: Peer) -> None:
    """CVE-2025-8671: it is us who reset here."""
    for number in range(201):
        peer.send(headers_frame(2 * number + 1, field_block([(b":path", b"/")])))
    frames = peer.take()
    assert frames[:-1] == [Reset(2 * number + 1, Code.PROTOCOL_ERROR) for number in range(200)]
    assert frames[-1] == Goaway(401, Code.ENHANCE_YOUR_CALM)


def test_a_reset_of_what_is_answered_is_none_of_those(factory: Factory) -> None:
    peer = Peer(answering(factory))
    for number in range(300):
        peer.send(post_frame(2 * number + 1), rst_frame(2 * number + 1))
    assert not any(isinstance(each, Goaway) for each in peer.take())


def test_a_reset_of_what_waits_for_a_window_is(factory: Factory) -> None:
    """The application has done its work; it could be had for nothing."""
    peer = Peer(answering(factory), settings=[(Setting.INITIAL_WINDOW_SIZE, 0)])
    for number in range(201):
        peer.send(request_frame(2 * number + 1), rst_frame(2 * number + 1))
    assert peer.take()[-1] == Goaway(401, Code.ENHANCE_YOUR_CALM)


# Turns of the loop


def test_a_read_of_many_frames_takes_some_turns(factory: Factory) -> None:
    peer = Peer(answering(factory))
    connection = peer.connection
    peer.send(b"".join(request_frame(stream) for stream in range(1, 1401, 2)))
    assert len(factory.exchanges) == 256
    assert not peer.transport.is_reading
    assert len([each for each in peer.take() if isinstance(each, Data)]) == 700
    assert peer.transport.is_reading
    assert connection in factory.connections


def test_what_comes_while_frames_are_held_is_behind_them(factory: Factory) -> None:
    peer = Peer(answering(factory))
    peer.send(b"".join(request_frame(stream) for stream in range(1, 601, 2)))
    peer.connection.dataReceived(request_frame(601))  # read before the pause, as loops may
    assert [each.stream for each in peer.take() if isinstance(each, Data)] == list(range(1, 602, 2))


@pytest.mark.parametrize(
    "fault", [continuation_frame(1, b""), window_frame(0, 0)], ids=["CONTINUATION", "WINDOW_UPDATE"]
)
def test_a_fault_among_the_held_frames_leaves_the_transport_reading(peer: Peer, fault: bytes) -> None:
    """Else the close would be a reset, which can take the GOAWAY from the peer."""
    peer.send(ping_frame() * 300, fault, ping_frame() * 300)
    assert peer.take()[-1] == Goaway(0, Code.PROTOCOL_ERROR)
    assert peer.transport.is_reading


def test_a_connection_that_is_lost_forgets_what_is_held(peer: Peer, factory: Factory) -> None:
    peer.send(ping_frame() * 256, request_frame(1))
    peer.transport.lose()
    factory.turn()
    assert factory.exchanges == []


def test_requests_that_are_held_when_the_peer_half_closes_are_answered(factory: Factory) -> None:
    peer = Peer(answering(factory))
    peer.send(b"".join(request_frame(stream) for stream in range(1, 601, 2)))
    peer.connection.readConnectionLost()
    assert len([each for each in peer.take() if isinstance(each, Data)]) == 300
    assert peer.transport.is_closed


# Deadlines


def test_a_connection_without_a_request_is_ended(factory: Factory) -> None:
    for greets in (False, True):
        peer = Peer(factory, greets=greets)
        peer.take()
        factory.pass_time(9)
        assert peer.take() == []
        factory.pass_time(2)
        assert peer.take() == [Goaway(0, Code.NO_ERROR)]
        assert peer.transport.is_write_closed


def test_an_idle_connection_is_ended(peer: Peer, factory: Factory) -> None:
    peer.request(1).answer()
    assert peer.take() == ok(1)
    factory.pass_time(39)
    peer.send(ping_frame())  # it is requests that keep it
    assert peer.take() == [Ping(b"12345678", True)]
    factory.pass_time(2)
    assert peer.take() == [Goaway(1, Code.NO_ERROR)]


def test_an_idle_connection_forgets_what_it_need_not_know(peer: Peer, factory: Factory) -> None:
    peer.request(1).answer()
    assert peer.connection._decoder._remembered
    factory.pass_time(1)
    assert not peer.connection._decoder._remembered


def test_a_connection_with_a_request_under_way_is_not_idle(peer: Peer, factory: Factory) -> None:
    exchange = peer.request(1)
    for _ in range(10):
        factory.pass_time(100)
    exchange.answer()
    assert peer.take() == ok(1)


def test_keep_alive_can_be_for_ever() -> None:
    factory = Factory(timeouts=Timeouts(request_head=0, keep_alive=0))
    peer = Peer(factory)
    factory.pass_time(10**6)
    peer.request(1).answer()
    factory.pass_time(10**6)
    assert peer.take() == ok(1)


def test_a_field_block_has_to_come_in_time(peer: Peer, factory: Factory) -> None:
    """Also beside requests that are served."""
    exchange = peer.request(1)
    peer.send(headers_frame(3, b"", whole=False))
    factory.pass_time(1)  # where it is seen
    for _ in range(9):
        peer.send(continuation_frame(3, b"", whole=False))
        factory.pass_time(1)
    assert peer.take() == []
    factory.pass_time(2)
    assert peer.take() == [Goaway(1, Code.ENHANCE_YOUR_CALM)]
    assert exchange.events[-1] == ("lost",)


def test_each_field_block_has_its_own_time(peer: Peer, factory: Factory) -> None:
    peer.request(1)
    for stream in range(3, 43, 2):
        peer.send(headers_frame(stream, field_block(request_fields()), whole=False))
        factory.pass_time(4)
        peer.send(continuation_frame(stream, b""))
    assert peer.take() == []


def test_a_peer_that_does_not_read_is_cut(peer: Peer, factory: Factory) -> None:
    peer.transport.backlog = 100_000
    peer.connection.pauseProducing()
    factory.pass_time(29)
    assert not peer.transport.is_aborted
    factory.pass_time(2)
    assert peer.transport.is_aborted


def test_a_peer_that_reads_slowly_is_not(peer: Peer, factory: Factory) -> None:
    peer.transport.backlog = 1_000_000
    peer.connection.pauseProducing()
    for _ in range(100):
        factory.pass_time(1)
        peer.transport.backlog -= 300
        assert not peer.transport.is_aborted


def test_a_peer_that_reads_on_has_nothing_to_fear(peer: Peer, factory: Factory) -> None:
    peer.request(1)
    peer.connection.pauseProducing()
    peer.connection.resumeProducing()
    factory.pass_time(100)
    assert not peer.transport.is_aborted


def test_lingering_has_an_end(peer: Peer, factory: Factory) -> None:
    peer.send(window_frame(0, 0))
    peer.take()
    factory.pass_time(LINGER_S - 1)
    assert not peer.transport.is_closed
    factory.pass_time(2)
    assert peer.transport.is_closed
    factory.pass_time(29)
    assert not peer.transport.is_aborted
    factory.pass_time(2)
    assert peer.transport.is_aborted


def test_lingering_does_not_read_for_ever(peer: Peer) -> None:
    peer.send(window_frame(0, 0))
    for _ in range(20):
        peer.send(bytes(60_000))
    assert peer.transport.is_aborted


# The server stops (RFC 9113 section 6.8)

DRAINING = [Goaway(MAX_WINDOW, Code.NO_ERROR), Ping(b"draining")]
DRAINED = ping_frame(b"draining", ack=True)


def test_a_stop_takes_no_request_from_a_client_that_has_sent_it(peer: Peer, factory: Factory) -> None:
    first = peer.request(1)
    peer.connection.shutdown_started()
    assert peer.take() == DRAINING
    second = peer.request(3)  # it was on its way
    peer.send(DRAINED)
    assert peer.take() == [Goaway(3, Code.NO_ERROR)]
    peer.send(request_frame(5))
    assert len(factory.exchanges) == 2
    first.answer()
    assert peer.take() == ok(1)
    assert not peer.transport.is_write_closed
    second.answer()
    assert peer.take() == ok(3)
    assert peer.transport.is_write_closed


def test_an_idle_connection_ends_when_the_ping_is_back(peer: Peer) -> None:
    peer.connection.shutdown_started()
    peer.connection.shutdown_started()
    assert peer.take() == DRAINING
    peer.send(DRAINED)
    assert peer.take() == [Goaway(0, Code.NO_ERROR)]
    assert peer.transport.is_write_closed
    peer.connection.shutdown_started()
    assert peer.take() == []


def test_another_ping_is_another(peer: Peer) -> None:
    peer.send(DRAINED)
    peer.connection.shutdown_started()
    peer.send(ping_frame(b"whatever", ack=True))
    assert peer.take() == DRAINING


@pytest.mark.parametrize("is_idle", [False, True])
def test_a_client_that_never_answers_the_ping_is_told_all_the_same(peer: Peer, factory: Factory, is_idle: bool) -> None:
    exchange = peer.request(1)
    peer.connection.shutdown_started()
    assert peer.take() == DRAINING
    if is_idle:
        exchange.answer()
        assert peer.take() == ok(1)
    factory.pass_time(1)
    assert peer.take() == []
    factory.pass_time(2)
    assert peer.take() == [Goaway(1, Code.NO_ERROR)]
    assert peer.transport.is_write_closed == is_idle
    peer.send(DRAINED)
    assert peer.take() == []


@pytest.mark.parametrize(
    "behind",
    [
        [],
        [data_frame(5, bytes(16_000)), data_frame(5, bytes(16_000), end=True)],
        [rst_frame(5)],
        [window_frame(5, 100)],
        [headers_frame(5, field_block([(b"a", b"b")]))],
        [priority_frame(5)],
        [window_frame(5, 0)],
        [frame(2, 0, 5, b"bad")],
    ],
    ids=[
        "nothing",
        "DATA",
        "RST_STREAM",
        "WINDOW_UPDATE",
        "trailers",
        "PRIORITY",
        "WINDOW_UPDATE of 0",
        "PRIORITY of 3",
    ],
)
def test_what_belongs_to_a_request_that_is_not_served_harms_no_other(
    peer: Peer, factory: Factory, behind: list[bytes]
) -> None:
    exchange = peer.request(3)
    peer.connection.shutdown_started()
    peer.send(DRAINED)
    peer.take()
    block = field_block(request_fields(method=b"POST")) + literal(b"x", b"y", INCREMENTAL)
    peer.send(headers_frame(5, block, end=False), *behind)
    assert peer.take() == []
    assert is_settled(peer.connection)
    exchange.answer()
    assert peer.take() == ok(3)
    assert len(factory.exchanges) == 1


def test_on_streams_below_the_last_a_fault_is_a_fault(peer: Peer) -> None:
    peer.request(3)
    peer.connection.shutdown_started()
    peer.send(DRAINED)
    peer.take()
    peer.send(data_frame(2))
    assert peer.take() == [Goaway(3, Code.PROTOCOL_ERROR)]


def test_what_is_behind_our_last_goaway_in_a_read_is_not_acted_upon(peer: Peer, factory: Factory) -> None:
    exchange = peer.request(1)
    peer.connection.shutdown_started()
    peer.send(DRAINED)
    peer.take()
    peer.send(rst_frame(1), ping_frame(), request_frame(3), window_frame(0, 0))
    assert peer.take() == []
    assert peer.transport.lost_writes == []
    assert peer.transport.is_write_closed
    assert exchange.events[-1] == ("lost",)
    assert len(factory.exchanges) == 1


def test_a_peer_that_half_closes_has_its_answers(peer: Peer) -> None:
    first, second = peer.request(1), peer.request(3)
    peer.send(post_frame(5))
    peer.connection.readConnectionLost()
    assert first.events == [("request",), ("client closed writing",)]
    assert peer.factory.exchanges[2].events == [("request",), ("lost",)]
    first.answer()
    second.answer()
    assert peer.take() == [Reset(5, Code.CANCEL), *ok(1), *ok(3), Goaway(5, Code.NO_ERROR)]
    assert peer.transport.is_closed


def test_a_peer_that_half_closes_and_waits_for_nothing_is_closed(peer: Peer) -> None:
    peer.connection.readConnectionLost()
    assert peer.transport.is_closed
    peer.connection.writeConnectionLost()


def test_a_peer_that_half_closes_within_a_request(peer: Peer) -> None:
    peer.send(request_frame(1)[:-1])
    peer.connection.readConnectionLost()
    assert peer.transport.is_closed
    assert peer.factory.exchanges == []


# The end


def test_a_lost_connection_tells_every_exchange(peer: Peer, factory: Factory) -> None:
    exchanges = [peer.request(stream) for stream in (1, 3, 5)]
    exchanges[1].start()
    exchanges[1].channel.send_body(b"x" * 100_000, True)
    peer.send(ping_frame())
    peer.transport.lose()
    factory.turn()
    assert not factory.connections
    assert [exchange.names for exchange in exchanges] == [["request", "lost"]] * 3
    # And none can make it write any more.
    exchanges[0].answer()
    exchanges[1].channel.send_body(b"x", False)
    exchanges[2].channel.abort()
    factory.turn()
    assert peer.transport.lost_writes == []
    factory.pass_time(1000)


def test_the_server_can_cut_it(peer: Peer) -> None:
    peer.request(1)
    peer.connection.abort()
    assert peer.transport.is_aborted
    peer.transport.lose()
    assert not peer.factory.connections


@pytest.mark.parametrize("kind", ["answered", "with content", "reset", "aborted", "refused"])
def test_a_stream_that_has_ended_is_freed_without_the_garbage_collector(factory: Factory, kind: str) -> None:
    peer = Peer(factory)
    if kind == "with content":
        exchange = peer.request(1, method=b"POST", end=False, behind=data_frame(1, b"hello", end=True))
    else:
        exchange = peer.request(1)
    if kind == "reset":
        peer.send(rst_frame(1))
    elif kind == "aborted":
        exchange.channel.abort()
    elif kind == "refused":
        exchange.channel.refuse(HTTPStatus.BAD_REQUEST)
    else:
        exchange.answer()
    assert_freed(peer, exchange)


def test_a_reader_of_frames_is_left_with_nothing(factory: Factory) -> None:
    """Whatever is written are whole frames."""
    peer = Peer(answering(factory))
    peer.send(*(request_frame(stream) for stream in (1, 3)), window_frame(0, 0))
    factory.turn()
    reader = FrameReader()
    reader.read(peer.transport.data)
    assert reader.is_between_frames
