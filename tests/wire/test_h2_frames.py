"""Frames of HTTP/2 from bytes to calls and back, without a connection."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from daphne_clone.errors import H2ConnectionFault, H2StreamFault
from daphne_clone.wire import h2_frames
from daphne_clone.wire.h2_frames import ErrorCode, FrameParser, Setting
from tests.support.h2_frames import (
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    MAX_WINDOW,
    PADDED,
    PING,
    PRIORITIZED,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    SETTINGS_ACK,
    UNKNOWN,
    WINDOW_UPDATE,
    continuation_frame,
    data_frame,
    dependency,
    frame,
    frames_of,
    goaway_frame,
    headers_frame,
    ping_frame,
    priority_frame,
    push_frame,
    rst_frame,
    settings_frame,
    window_frame,
)
from tests.support.requests import splits

# Behind the client's preface there is nothing before this.
FIRST = settings_frame()
RESERVED = 0x8000_0000


class Sink:
    """Keeps what it is told.

    Attributes:
        on_headers: Run by `headers_received`.
    """

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.on_headers: Callable[[], None] | None = None

    def headers_received(self, stream_id: int, block: bytes, end_stream: bool) -> None:
        self.calls.append(("headers", stream_id, block, end_stream))
        if self.on_headers is not None:
            self.on_headers()

    def data_received(self, stream_id: int, data: bytes, flow_size: int, end_stream: bool) -> None:
        self.calls.append(("data", stream_id, data, flow_size, end_stream))

    def reset_received(self, stream_id: int, code: int) -> None:
        self.calls.append(("reset", stream_id, code))

    def settings_received(self, settings: list[tuple[int, int]]) -> None:
        self.calls.append(("settings", settings))

    def settings_acknowledged(self) -> None:
        self.calls.append(("settings ack",))

    def ping_received(self, payload: bytes) -> None:
        self.calls.append(("ping", payload))

    def ping_acknowledged(self, payload: bytes) -> None:
        self.calls.append(("ping ack", payload))

    def goaway_received(self, last_stream_id: int, code: int) -> None:
        self.calls.append(("goaway", last_stream_id, code))

    def window_updated(self, stream_id: int, increment: int) -> None:
        self.calls.append(("window", stream_id, increment))

    def idle_frame_received(self) -> None:
        self.calls.append(("idle",))

    def stream_fault(self, fault: H2StreamFault) -> None:
        self.calls.append(("fault", fault.stream_id, fault.code))


def new_parser(max_frame_size: int = 16_384, max_block_size: int = 65_536) -> tuple[FrameParser, Sink]:
    sink = Sink()
    return FrameParser(sink, max_frame_size, max_block_size), sink


def feed(parser: FrameParser, pieces: list[bytes]) -> None:
    for piece in pieces:
        assert parser.receive_data(piece, 10_000) == b""


def calls_of(pieces: list[bytes], **limits: int) -> list[Any]:
    """What a sink is told of the pieces, behind the first SETTINGS."""
    parser, sink = new_parser(**limits)
    feed(parser, pieces)
    assert sink.calls[0] == ("settings", [])
    return sink.calls[1:]


def fault_of(pieces: list[bytes], **limits: int) -> ErrorCode | None:
    try:
        calls_of(pieces, **limits)
    except H2ConnectionFault as fault:
        return ErrorCode(fault.code)
    return None


# Frames as they should be (RFC 9113 section 6)

GOOD: dict[str, tuple[bytes, list[Any]]] = {
    "DATA": (data_frame(1, b"hello"), [("data", 1, b"hello", 5, False)]),
    "DATA of nothing": (data_frame(3, end=True), [("data", 3, b"", 0, True)]),
    "DATA padded": (data_frame(1, b"hello", padding=3), [("data", 1, b"hello", 9, False)]),
    "DATA of padding": (data_frame(1, padding=255, end=True), [("data", 1, b"", 256, True)]),
    "DATA padded with 0": (data_frame(1, b"x", padding=0), [("data", 1, b"x", 2, False)]),
    "HEADERS": (headers_frame(1, b"block"), [("headers", 1, b"block", True)]),
    "HEADERS that do not end": (headers_frame(1, b"block", end=False), [("headers", 1, b"block", False)]),
    "HEADERS of nothing": (headers_frame(1, b""), [("headers", 1, b"", True)]),
    "HEADERS padded": (headers_frame(1, b"block", padding=4), [("headers", 1, b"block", True)]),
    "HEADERS with priority": (headers_frame(1, b"block", priority=dependency(0)), [("headers", 1, b"block", True)]),
    "HEADERS with priority alone": (headers_frame(1, b"", priority=dependency(0)), [("headers", 1, b"", True)]),
    "HEADERS with both": (
        headers_frame(5, b"block", padding=1, priority=dependency(3, exclusive=True), end=False),
        [("headers", 5, b"block", False)],
    ),
    "PRIORITY": (priority_frame(9), [("idle",)]),
    "RST_STREAM": (rst_frame(1, 0x8), [("reset", 1, 0x8)]),
    "RST_STREAM unknown code": (rst_frame(1, 0xFFFFFFFF), [("reset", 1, 0xFFFFFFFF)]),
    "SETTINGS": (settings_frame((1, 2), (0xFFFF, 0xFFFFFFFF)), [("settings", [(1, 2), (0xFFFF, 0xFFFFFFFF)])]),
    "SETTINGS of nothing": (settings_frame(), [("settings", [])]),
    "SETTINGS acknowledged": (SETTINGS_ACK, [("settings ack",)]),
    "PING": (ping_frame(b"abcdefgh"), [("ping", b"abcdefgh")]),
    "PING acknowledged": (ping_frame(b"abcdefgh", ack=True), [("ping ack", b"abcdefgh")]),
    "GOAWAY": (goaway_frame(7, 0x2), [("goaway", 7, 0x2)]),
    "GOAWAY with debug data": (goaway_frame(0, 0x0, b"why"), [("goaway", 0, 0)]),
    "WINDOW_UPDATE": (window_frame(0, 1), [("window", 0, 1)]),
    "WINDOW_UPDATE of a stream": (window_frame(5, MAX_WINDOW), [("window", 5, MAX_WINDOW)]),
    "unknown type": (frame(UNKNOWN, 0xFF, 1, b"whatever"), [("idle",)]),
    "unknown type of nothing": (frame(0x0A), [("idle",)]),
    "field block in parts": (
        headers_frame(1, b"a", whole=False, end=False)
        + continuation_frame(1, b"b", whole=False)
        + continuation_frame(1, b"c"),
        [("idle",), ("headers", 1, b"abc", False)],
    ),
    "field block that ends its stream, in parts": (
        headers_frame(3, b"a", whole=False, padding=2) + continuation_frame(3, b""),
        [("headers", 3, b"a", True)],
    ),
    "reserved bits": (
        frame(DATA, 1, RESERVED | 1, b"x")
        + frame(HEADERS, 5, RESERVED | 3, b"y")
        + frame(GOAWAY, 0, RESERVED, struct.pack("!II", RESERVED | 9, 0))
        + frame(WINDOW_UPDATE, 0, RESERVED | 1, struct.pack("!I", RESERVED | 4)),
        [("data", 1, b"x", 1, True), ("headers", 3, b"y", True), ("goaway", 9, 0), ("window", 1, 4)],
    ),
    "flags without a meaning": (
        frame(DATA, 0xF6, 1, b"x")
        + frame(HEADERS, 0xD2 | 0x05, 1, b"y")
        + frame(PRIORITY, 0xFF, 1, dependency(0))
        + frame(RST_STREAM, 0xFF, 1, bytes(4))
        + frame(SETTINGS, 0xFE, 0)
        + frame(PING, 0xFE, 0, bytes(8))
        + frame(GOAWAY, 0xFF, 0, bytes(8))
        + frame(WINDOW_UPDATE, 0xFF, 0, struct.pack("!I", 1)),
        [
            ("data", 1, b"x", 1, False),
            ("headers", 1, b"y", True),
            ("idle",),
            ("reset", 1, 0),
            ("settings", []),
            ("ping", bytes(8)),
            ("goaway", 0, 0),
            ("window", 0, 1),
        ],
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_frame_is_told_in_any_split_and_with_others_behind_it(name: str) -> None:
    data, calls = GOOD[name]
    for behind, more in ((b"", []), (ping_frame(), [("ping", b"12345678")]), (data, calls), (b"\0\0", [])):
        for pieces in splits(FIRST + data + behind):
            assert calls_of(pieces) == calls + more


def test_all_of_them_in_one_stream() -> None:
    data = FIRST + b"".join(data for data, _ in GOOD.values())
    expected = [call for _, calls in GOOD.values() for call in calls]
    for pieces in splits(data):
        assert calls_of(pieces) == expected


def test_a_frame_is_told_when_its_last_octet_is_there_and_not_before() -> None:
    for data, calls in GOOD.values():
        parser, sink = new_parser()
        feed(parser, [FIRST, data[:-1]])
        assert len(sink.calls) <= len(calls)
        feed(parser, [data[-1:]])
        assert sink.calls[1:] == calls


def test_the_largest_frame() -> None:
    data = data_frame(1, bytes(16_384))
    assert calls_of([FIRST + data]) == [("data", 1, bytes(16_384), 16_384, False)]
    assert calls_of([FIRST + data_frame(1, b"12345", padding=2)], max_frame_size=8) == [("data", 1, b"12345", 8, False)]


# Frames as they should not be

FRAME_SIZE, PROTOCOL, FLOW, CALM = (
    ErrorCode.FRAME_SIZE_ERROR,
    ErrorCode.PROTOCOL_ERROR,
    ErrorCode.FLOW_CONTROL_ERROR,
    ErrorCode.ENHANCE_YOUR_CALM,
)

BAD: dict[str, tuple[bytes, ErrorCode]] = {
    "DATA on stream 0": (data_frame(0, b"x"), PROTOCOL),
    "DATA without its padding's length": (frame(DATA, PADDED, 1), FRAME_SIZE),
    "DATA with padding as long as it": (frame(DATA, PADDED, 1, b"\x05hello"[:5]), PROTOCOL),
    "DATA with padding longer than it": (frame(DATA, PADDED, 1, b"\xffhello"), PROTOCOL),
    "DATA of a padding's length alone": (frame(DATA, PADDED, 1, b"\x01"), PROTOCOL),
    "HEADERS on stream 0": (headers_frame(0, b"x", whole=False), PROTOCOL),
    "HEADERS on stream 0, padded": (headers_frame(0, b"x", padding=0), PROTOCOL),
    "HEADERS without its padding's length": (frame(HEADERS, 4 | PADDED, 1), FRAME_SIZE),
    "HEADERS with padding longer than it": (frame(HEADERS, 4 | PADDED, 1, b"\x02x"), PROTOCOL),
    "HEADERS without room for its priority": (frame(HEADERS, 4 | PRIORITIZED, 1, bytes(4)), FRAME_SIZE),
    "HEADERS with padding in its priority": (
        frame(HEADERS, 4 | PRIORITIZED | PADDED, 1, b"\x01" + bytes(5)),
        FRAME_SIZE,
    ),
    "CONTINUATION of nothing": (continuation_frame(1, b"x"), PROTOCOL),
    "CONTINUATION behind the end": (headers_frame(1, b"x") + continuation_frame(1, b"y"), PROTOCOL),
    "CONTINUATION behind its own end": (
        headers_frame(1, b"x", whole=False) + continuation_frame(1, b"y") + continuation_frame(1, b"z"),
        PROTOCOL,
    ),
    "CONTINUATION on another stream": (headers_frame(1, b"x", whole=False) + continuation_frame(3, b"y"), PROTOCOL),
    "PRIORITY on stream 0": (priority_frame(0), PROTOCOL),
    "RST_STREAM on stream 0": (rst_frame(0), PROTOCOL),
    "RST_STREAM too short": (frame(RST_STREAM, 0, 1, bytes(3)), FRAME_SIZE),
    "RST_STREAM too long": (frame(RST_STREAM, 0, 1, bytes(5)), FRAME_SIZE),
    "SETTINGS on a stream": (frame(SETTINGS, 0, 1), PROTOCOL),
    "SETTINGS of 5 octets": (frame(SETTINGS, 0, 0, bytes(5)), FRAME_SIZE),
    "SETTINGS of 7 octets": (frame(SETTINGS, 0, 0, bytes(7)), FRAME_SIZE),
    "SETTINGS acknowledged with something": (frame(SETTINGS, 1, 0, bytes(6)), FRAME_SIZE),
    "SETTINGS acknowledged on a stream": (frame(SETTINGS, 1, 1), PROTOCOL),
    "ENABLE_PUSH of 2": (settings_frame((Setting.ENABLE_PUSH, 2)), PROTOCOL),
    "INITIAL_WINDOW_SIZE too large": (settings_frame((Setting.INITIAL_WINDOW_SIZE, MAX_WINDOW + 1)), FLOW),
    "MAX_FRAME_SIZE too small": (settings_frame((Setting.MAX_FRAME_SIZE, 16_383)), PROTOCOL),
    "MAX_FRAME_SIZE too large": (settings_frame((Setting.MAX_FRAME_SIZE, 2**24)), PROTOCOL),
    "a bad setting behind good ones": (settings_frame((1, 0), (3, 1), (Setting.ENABLE_PUSH, 9)), PROTOCOL),
    "PUSH_PROMISE": (push_frame(1, 2, b"x"), PROTOCOL),
    "PUSH_PROMISE of nothing": (frame(5, 0, 0), PROTOCOL),
    "PING on a stream": (frame(PING, 0, 1, bytes(8)), PROTOCOL),
    "PING too short": (frame(PING, 0, 0, bytes(7)), FRAME_SIZE),
    "PING too long": (frame(PING, 1, 0, bytes(9)), FRAME_SIZE),
    "GOAWAY on a stream": (frame(GOAWAY, 0, 1, bytes(8)), PROTOCOL),
    "GOAWAY too short": (frame(GOAWAY, 0, 0, bytes(7)), FRAME_SIZE),
    "WINDOW_UPDATE too short": (frame(WINDOW_UPDATE, 0, 0, bytes(3)), FRAME_SIZE),
    "WINDOW_UPDATE too long": (frame(WINDOW_UPDATE, 0, 1, bytes(5)), FRAME_SIZE),
    "WINDOW_UPDATE of 0": (window_frame(0, 0), PROTOCOL),
    "WINDOW_UPDATE of 0 and the reserved bit": (window_frame(0, RESERVED), PROTOCOL),
    "a frame over the limit": (data_frame(1, bytes(16_385)), FRAME_SIZE),
    "a frame over the limit, of a type unknown": (frame(UNKNOWN, 0, 0, bytes(16_385)), FRAME_SIZE),
    "a field block over the limit": (
        headers_frame(1, bytes(16_384), whole=False) + continuation_frame(1, bytes(16_384)) * 4,
        PROTOCOL,
    ),
    "a field block in parts over the limit": (
        headers_frame(1, bytes(16_384), whole=False) + continuation_frame(1, bytes(16_384), whole=False) * 4,
        CALM,
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_malformed_frame_is_a_fault_in_any_split(name: str) -> None:
    data, code = BAD[name]
    for behind in (b"", ping_frame()):
        whole = FIRST + data + behind
        # Longer ones are cut, not ground.
        for pieces in (
            splits(whole) if len(whole) < 200 else ([whole], [whole[:9], whole[9:]], [whole[:-1], whole[-1:]])
        ):
            assert fault_of(pieces) == code


def test_a_frame_over_the_limit_is_told_by_its_header() -> None:
    """Nothing of it is waited for, or kept."""
    assert fault_of([FIRST, frame(DATA, 0, 1, length=16_385)]) == FRAME_SIZE
    assert fault_of([FIRST, frame(DATA, 0, 1, length=2**24 - 1)]) == FRAME_SIZE
    assert fault_of([FIRST, frame(DATA, 0, 1, b"1234567890", length=9)], max_frame_size=9) is None
    assert fault_of([FIRST, frame(DATA, 0, 1, length=10)], max_frame_size=9) == FRAME_SIZE


def test_a_field_block_may_have_its_limit_over_all_its_frames() -> None:
    block = [headers_frame(1, b"ab", whole=False), continuation_frame(1, b"cd", whole=False)]
    assert calls_of([FIRST, *block, continuation_frame(1, b"ef")], max_block_size=6) == [
        ("idle",),
        ("headers", 1, b"abcdef", True),
    ]
    assert fault_of([FIRST, *block, continuation_frame(1, b"efg")], max_block_size=6) == CALM


@pytest.mark.parametrize(
    "between",
    [
        data_frame(1),
        headers_frame(3, b"x"),
        headers_frame(1, b"x"),
        priority_frame(1),
        rst_frame(1),
        settings_frame(),
        SETTINGS_ACK,
        ping_frame(),
        goaway_frame(),
        window_frame(0, 1),
        frame(UNKNOWN, 0, 1),
        continuation_frame(0, b"x"),
    ],
    ids=lambda data: f"type {data[3]} stream {data[8]}",
)
def test_nothing_comes_between_the_parts_of_a_field_block(between: bytes) -> None:
    """RFC 9113 section 6.10."""
    for pieces in splits(FIRST + headers_frame(1, b"x", whole=False, end=False) + between, 3):
        assert fault_of(pieces) == PROTOCOL


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (priority_frame(1)[:-1], FRAME_SIZE),
        (frame(PRIORITY, 0, 1, bytes(4)), FRAME_SIZE),
        (frame(PRIORITY, 0, 1, bytes(6)), FRAME_SIZE),
        (window_frame(1, 0), PROTOCOL),
    ],
    ids=["PRIORITY cut", "PRIORITY short", "PRIORITY long", "WINDOW_UPDATE of 0"],
)
def test_what_concerns_a_stream_alone_is_its_fault(data: bytes, code: ErrorCode) -> None:
    if data[2] != len(data) - 9:
        assert calls_of([FIRST + data]) == []  # it is not whole
        return
    for pieces in splits(FIRST + data + ping_frame(), 3):
        assert calls_of(pieces) == [("fault", 1, code), ("ping", b"12345678")]


def test_a_fault_that_the_sink_raises_for_a_stream_is_told_it_and_the_rest_goes_on() -> None:
    parser, sink = new_parser()

    def refuse() -> None:
        raise H2StreamFault(1, ErrorCode.PROTOCOL_ERROR, "no")

    sink.on_headers = refuse
    feed(parser, [FIRST + headers_frame(1, b"x") + headers_frame(1, b"x", end=False) + ping_frame()])
    fault = ("fault", 1, ErrorCode.PROTOCOL_ERROR)
    assert [call for call in sink.calls if call[0] != "headers"] == [
        ("settings", []),
        fault,
        fault,
        ("ping", b"12345678"),
    ]


def test_a_fault_that_the_sink_raises_for_the_connection_ends_the_parsing() -> None:
    parser, sink = new_parser()

    def refuse() -> None:
        raise H2ConnectionFault(ErrorCode.COMPRESSION_ERROR, "no")

    sink.on_headers = refuse
    with pytest.raises(H2ConnectionFault):
        feed(parser, [FIRST + headers_frame(1, b"x") + ping_frame()])
    assert len(sink.calls) == 2


# The first frame (RFC 9113 section 3.4)


@pytest.mark.parametrize(
    "first",
    [SETTINGS_ACK, ping_frame(), headers_frame(1, b"x"), data_frame(1, b"x"), window_frame(0, 1), frame(UNKNOWN)],
    ids=lambda data: f"type {data[3]}",
)
def test_the_first_frame_is_settings(first: bytes) -> None:
    for data in (first, first + FIRST):
        for pieces in splits(data, 3):
            parser, sink = new_parser()
            with pytest.raises(H2ConnectionFault) as caught:
                feed(parser, pieces)
            assert caught.value.code == PROTOCOL
            assert sink.calls == []


def test_the_settings_of_the_first_frame_are_told() -> None:
    for pieces in splits(settings_frame((3, 100), (4, 5)) + ping_frame()):
        parser, sink = new_parser()
        feed(parser, pieces)
        assert sink.calls == [("settings", [(3, 100), (4, 5)]), ("ping", b"12345678")]


# Some at a time


def test_no_more_frames_are_taken_than_asked_for() -> None:
    parser, sink = new_parser()
    pings = [ping_frame(b"%08d" % number) for number in range(10)]
    rest = parser.receive_data(FIRST + b"".join(pings), 4)
    assert sink.calls == [("settings", []), *(("ping", b"%08d" % number) for number in range(3))]
    assert rest == b"".join(pings[3:])
    rest = parser.receive_data(rest, 4)
    assert rest == b"".join(pings[7:])
    assert parser.receive_data(rest, 4) == b""
    assert len(sink.calls) == 11


def test_what_is_left_is_given_back_even_where_it_is_no_whole_frame() -> None:
    parser, sink = new_parser()
    assert parser.receive_data(FIRST + ping_frame()[:5], 1) == ping_frame()[:5]
    assert parser.receive_data(ping_frame()[:5], 1) == b""
    assert parser.receive_data(ping_frame()[5:] + b"\0", 1) == b"\0"
    assert sink.calls[1:] == [("ping", b"12345678")]


def test_as_many_frames_as_asked_for_leave_nothing() -> None:
    parser, _ = new_parser()
    assert parser.receive_data(FIRST + ping_frame(), 2) == b""


def test_an_unfinished_frame_does_not_count() -> None:
    parser, sink = new_parser()
    assert parser.receive_data(FIRST + ping_frame()[:-1], 2) == b""
    assert parser.receive_data(ping_frame()[-1:] + ping_frame(), 1) == ping_frame()
    assert len(sink.calls) == 2


# The open field block


def test_an_open_field_block_can_be_seen_and_each_is_another() -> None:
    parser, _ = new_parser()
    feed(parser, [FIRST])
    assert parser.open_block is None
    feed(parser, [headers_frame(1, b"a", whole=False)])
    first = parser.open_block
    assert first == b"a"
    feed(parser, [continuation_frame(1, b"b", whole=False)])
    assert parser.open_block is first
    feed(parser, [continuation_frame(1, b"c")])
    assert parser.open_block is None
    feed(parser, [headers_frame(3, b"a", whole=False)])
    assert parser.open_block is not None and parser.open_block is not first


# Writing


def test_frames_are_written_as_the_parser_reads_them() -> None:
    written = [
        h2_frames.frame(DATA, 1, 1, b"x"),
        h2_frames.frame_header(3, DATA, 0, 7) + b"abc",
        h2_frames.headers(1, b"block", False, 16_384),
        h2_frames.headers(3, b"block", True, 16_384),
        h2_frames.rst_stream(5, ErrorCode.CANCEL),
        h2_frames.settings([(Setting.MAX_CONCURRENT_STREAMS, 1), (Setting.INITIAL_WINDOW_SIZE, MAX_WINDOW)]),
        h2_frames.SETTINGS_ACK,
        h2_frames.ping(b"12345678", False),
        h2_frames.ping(b"abcdefgh", True),
        h2_frames.goaway(MAX_WINDOW, ErrorCode.INTERNAL_ERROR),
        h2_frames.window_update(0, MAX_WINDOW),
        h2_frames.window_update(1, 1),
    ]
    assert calls_of([FIRST, *written]) == [
        ("data", 1, b"x", 1, True),
        ("data", 7, b"abc", 3, False),
        ("headers", 1, b"block", False),
        ("headers", 3, b"block", True),
        ("reset", 5, 8),
        ("settings", [(3, 1), (4, MAX_WINDOW)]),
        ("settings ack",),
        ("ping", b"12345678"),
        ("ping ack", b"abcdefgh"),
        ("goaway", MAX_WINDOW, 2),
        ("window", 0, MAX_WINDOW),
        ("window", 1, 1),
    ]


@pytest.mark.parametrize("size", [0, 1, 0xFF, 0x100, 0xFFFF, 0x10000, 2**24 - 1])
def test_the_length_of_a_frame_has_three_octets(size: int) -> None:
    header = h2_frames.frame_header(size, DATA, 0x9, 0x7FFF_FFFF)
    assert header == size.to_bytes(3, "big") + b"\x00\x09\x7f\xff\xff\xff"
    assert h2_frames.frame(DATA, 0x9, 0x7FFF_FFFF, bytes(size))[:9] == header


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 19, 20, 21, 35])
def test_a_field_block_is_cut_where_frames_have_to_end(size: int, ends: bool) -> None:
    block = bytes(range(size))
    frames = list(frames_of(h2_frames.headers(7, block, ends, 10)))
    assert b"".join(payload for *_, payload in frames) == block
    assert [kind for kind, *_ in frames] == [HEADERS] + [CONTINUATION] * (len(frames) - 1)
    assert {stream for _, _, stream, _ in frames} == {7}
    assert len(frames) == max(1, -(-size // 10))
    # END_STREAM is on the first, END_HEADERS on the last, and all but that are full.
    assert [flags & 1 for _, flags, *_ in frames] == [int(ends)] + [0] * (len(frames) - 1)
    assert [bool(flags & 4) for _, flags, *_ in frames] == [False] * (len(frames) - 1) + [True]
    assert all(len(payload) == 10 for *_, payload in frames[:-1])


def test_error_codes_and_settings_are_those_of_the_registries() -> None:
    assert [code.value for code in ErrorCode] == list(range(14))
    assert all(left < right for left, right in pairwise(Setting))
    assert Setting.ENABLE_CONNECT_PROTOCOL.value == 8
    assert bytes.fromhex("505249202a20485454502f322e300d0a0d0a534d0d0a0d0a") == h2_frames.PREFACE
