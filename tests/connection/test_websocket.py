"""One WebSocket session, from a transport's bytes to an owner's messages and back; time is turned by hand."""

from __future__ import annotations

import codecs
import os
import random
import zlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.interfaces import IProtocol, IPushProducer
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Opcode
from websockets.protocol import SERVER, Protocol
from zope.interface.verify import verifyObject

from daphne_clone.connection.shared import LINGER_S, MIN_RATE
from daphne_clone.connection.websocket import CLOSE_S, SessionOptions, WebSocketSession
from tests.support.connections import Factory
from tests.support.ws_client import BINARY, CLOSE, COMPRESSED, PING, PONG, TEXT, close_frame, frame
from tests.support.ws_sequences import CONTINUE_END, SEQUENCES, TEXT_BEGIN, Sequence
from tests.support.ws_sessions import Engine, Owner, Session, close_payload, compressed, deflate

PINGED = [(PING, b"")]


def opened(**options: Any) -> Session:
    """A session with nothing but what a test is about: no ping and no end of its own."""
    return Session(**{"ping_interval": 0, "lifetime": 0, **options})


# What it is


def test_it_is_what_it_says() -> None:
    session = WebSocketSession(Owner(), Factory(), SessionOptions(), None)
    for interface in (IProtocol, IPushProducer):
        assert verifyObject(interface, session)


def test_a_session_that_is_opened_is_known_and_its_owner_is_told() -> None:
    case = Session()
    assert case.session in case.factory.connections
    assert case.transport.producer is case.session
    assert case.owner.events == [("opened",)]
    assert case.session.is_open
    case.transport.lose()
    assert not case.factory.connections
    assert not case.session.is_open


# Streams, however they are cut


def outcome_of(case: Session) -> dict[str, Any]:
    """What has become of a stream: the same names as in `Sequence`."""
    frames = case.take()
    sent_close = [close_payload(payload) for first, payload in frames if first == CLOSE]
    assert len(sent_close) < 2
    assert [frame[0] for frame in frames[-len(sent_close) or len(frames) :]] == [CLOSE] * len(sent_close), "the last"
    closed, failed = None, next((event[1] for event in case.owner.events if event[0] == "failed"), None)
    if sent_close:
        code, reason = sent_close[0]
        if failed is None:
            closed = sent_close[0]
            assert case.owner.closed == (1005 if code is None else code, reason)
            assert case.transport.is_closed
        else:
            assert case.owner.closed == (code, reason)
            assert code == failed
            assert case.transport.is_write_closed
    else:
        assert case.owner.closed is None
        assert failed is None
    return {
        "messages": case.owner.messages,
        "pongs": [payload for first, payload in frames if first == PONG],
        "closed": closed,
        "failed": failed,
    }


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda sequence: sequence.name)
class TestSequences:
    def test_a_stream_means_the_same_however_it_is_cut(self, sequence: Sequence) -> None:
        expected = {name: getattr(sequence, name) for name in ("messages", "pongs", "closed", "failed")}
        for pieces in sequence.cuts():
            case = Session(extension=deflate() if sequence.deflate else None)
            case.receive(*pieces)
            assert outcome_of(case) == expected

    def test_one_octet_more_is_kept_for_the_next_frame(self, sequence: Sequence) -> None:
        case = Session(extension=deflate() if sequence.deflate else None)
        case.receive(sequence.data + b"\x82", frame(BINARY, b"next")[1:])
        is_over = sequence.failed is not None or sequence.closed is not None
        assert case.owner.messages == sequence.messages + ([] if is_over else [b"next"])


# Made-up streams. `FUZZ_EXAMPLES=20000` searches for longer, and at random; without it every run is the same one.

FACTOR = int(os.environ.get("FUZZ_EXAMPLES", "0"))

budget = settings(
    max_examples=FACTOR or 300,
    derandomize=not FACTOR,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

texts = st.text(max_size=8).map(str.encode) | st.sampled_from([b"", b"a" * 125, b"b" * 126, b"c" * 300])
payloads = texts | st.binary(max_size=6) | st.just(b"caf\xe9")


def message(
    first: int, parts: list[bytes], controls: list[tuple[int, bytes]] | None = None, is_compressed: bool = False
) -> dict[str, Any]:
    return {"first": first, "parts": parts, "controls": controls or [], "is_compressed": is_compressed}


def messages_of(first: int, parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[dict[str, Any]]:
    controls = st.lists(st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=5)), max_size=3)
    return st.builds(message, st.just(first), st.lists(parts, min_size=1, max_size=4), controls, st.booleans())


messages = messages_of(TEXT, texts) | messages_of(BINARY, payloads) | messages_of(TEXT, payloads)
closes = st.builds(close_frame, st.sampled_from([None, 1000, 1001, 1008, 1011, 3000, 4999]), st.just("")) | st.builds(
    close_frame, st.just(1000), st.text(max_size=10)
)
# Any first octet, with a mask or without, and any payload: mostly a fault.
masks = st.sampled_from([b"mask", bytes(4), None])
oddities = st.builds(frame, st.integers(0, 255), payloads | st.just(b"d" * 200), masks)
lengths = st.sampled_from([b"\x82\xfe\x00\x01maskx", b"\x81\xff" + bytes(8) + b"mask", b"\x82\xff" + b"\xff" * 8])
noise = st.binary(min_size=1, max_size=20)


def streams_with(last: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Messages, mostly something else behind them, and some more that may not count any more."""
    return st.builds(
        lambda begin, middle, end: [*begin, *middle, *end],
        st.lists(messages, max_size=5),
        st.lists(last, max_size=1),
        st.lists(messages, max_size=2),
    )


def encode(items: list[Any], is_deflated: bool) -> bytes:
    """Make a stream of messages, in fragments with control frames between them, and of what are octets already."""
    compressor = zlib.compressobj(wbits=-15)
    data = b""
    for item in items:
        if isinstance(item, bytes):
            data += item
            continue
        first, parts = item["first"], item["parts"]
        if is_deflated and item["is_compressed"]:
            whole = compressed(b"".join(parts), compressor)
            size = -(-len(whole) // len(parts))
            parts = [whole[at : at + size] for at in range(0, len(whole), size)]
            first |= COMPRESSED
        for index, part in enumerate(parts):
            octet = (first if index == 0 else CONTINUE_END) & (0xFF if index == len(parts) - 1 else 0x7F)
            data += frame(octet, part, b"\x80\x01\xff\x7f")
            if index < len(item["controls"]):
                data += frame(*item["controls"][index])
    return data


def cut(data: bytes, seed: int) -> list[bytes]:
    chance = random.Random(seed)
    places = sorted({chance.randrange(len(data) + 1) for _ in range(chance.choice([1, 3, 30]))})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True) if start < end]


@budget
@given(
    items=streams_with(closes | oddities | lengths | noise),
    is_deflated=st.booleans(),
    limit=st.sampled_from([0, 0, 40, 200]),
    seed=st.integers(0, 2**16),
)
def test_a_made_up_stream_means_the_same_however_it_is_cut(
    items: list[Any], is_deflated: bool, limit: int, seed: int
) -> None:
    """Whole, cut at random and octet by octet; and as Autobahn alone has it, which takes no short path."""
    if is_deflated:
        limit = 0  # a limit met and text broken in one message: which is found first depends on the pieces
    data = encode(items, is_deflated)
    found = []
    for pieces in ([data] if data else [], cut(data, seed), [data[at : at + 1] for at in range(len(data))]):
        case = Session(extension=deflate() if is_deflated else None, max_message=limit)
        case.receive(*pieces)
        found.append(outcome_of(case))
        if found[-1]["failed"] is not None:
            assert case.owner.events[-2][0] == "room"
    engine = Engine(deflate() if is_deflated else None, limit)
    engine.receive(data)
    heard = engine.listener
    alone = {
        "messages": heard.messages, "pongs": heard.pongs, "closed": heard.closed, "failed": heard.failed_with,
    }  # fmt: skip
    assert found[1:] == found[:1] * 2
    assert found[0] == alone


def outcome_of_websockets(data: bytes, is_deflated: bool) -> dict[str, Any] | None:
    """What the library `websockets` makes of a stream, with text checked here: it leaves that to its callers.

    None for a Close within a message, which it refuses (RFC 6455 section 5.4 allows it).
    """
    reference = Protocol(SERVER, max_size=None)
    if is_deflated:
        reference.extensions = [PerMessageDeflate(False, False, 15, 15)]
    reference.receive_data(data)
    result: dict[str, Any] = {"messages": [], "pongs": [], "closed": None, "failed": None}
    kind, parts = None, []
    decoder = codecs.getincrementaldecoder("utf-8")()
    for event in reference.events_received():
        if event.opcode is Opcode.PING:
            result["pongs"].append(event.data)
        elif event.opcode is Opcode.CLOSE:
            result["closed"] = close_payload(event.data)
        elif event.opcode is not Opcode.PONG:
            if event.opcode is not Opcode.CONT:
                kind, parts = event.opcode, []
                decoder.reset()
            parts.append(event.data)
            if kind is Opcode.TEXT:
                try:
                    decoder.decode(event.data, event.fin)
                except UnicodeDecodeError:
                    result["failed"] = 1007
                    return result
            if event.fin:
                whole = b"".join(parts)
                result["messages"].append(whole.decode() if kind is Opcode.TEXT else whole)
    error = reference.parser_exc
    if error is not None:
        if str(error) == "incomplete fragmented message":
            return None
        result["failed"] = reference.close_sent.code
    return result


# What is compressed and comes to an odd end is read in more than one way: that is in the table.
plain_oddities = st.builds(frame, st.integers(0, 255).filter(lambda first: first & 0x48 != 0x40), payloads, masks)


@budget
@given(items=streams_with(closes | plain_oddities), is_deflated=st.booleans())
def test_a_made_up_stream_means_what_it_means_to_websockets(items: list[Any], is_deflated: bool) -> None:
    data = encode(items, is_deflated)
    expected = outcome_of_websockets(data, is_deflated)
    if expected is not None and data:
        case = Session(extension=deflate() if is_deflated else None)
        case.receive(data)
        assert outcome_of(case) == expected


# Messages out


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 200_000])
def test_a_message_is_sent_in_one_frame(size: int) -> None:
    case = opened()
    case.session.send(b"b" * size)
    assert case.take() == [(BINARY, b"b" * size)]
    case.session.send("t" * size)
    assert case.take() == [(TEXT, b"t" * size)]


def test_text_is_sent_as_utf8() -> None:
    case = opened()
    case.session.send("é€𝄞")
    assert case.take() == [(TEXT, "é€𝄞".encode())]


@pytest.mark.parametrize("size", [0, 100, 70_000])
def test_a_message_is_one_call_of_the_transport_and_a_long_one_is_not_copied(size: int) -> None:
    case, payload = opened(), bytes(size)
    case.session.send(payload)
    assert case.transport.calls == 1
    assert (case.transport.written[-1] is payload) == (size == 70_000)


def test_text_that_cannot_be_sent_leaves_no_trace() -> None:
    for extension in (None, deflate()):
        case = opened(extension=extension)
        with pytest.raises(UnicodeEncodeError):
            case.session.send("a" * 100 + "\ud800")
        assert case.take() == []
        case.session.send("next")
        assert case.take() == [(TEXT, b"next")]


def test_messages_are_compressed_where_that_was_agreed() -> None:
    case, inflater = opened(extension=deflate()), zlib.decompressobj(-12)
    for payload in ("words " * 50, b"octets " * 50, "words " * 50):
        case.session.send(payload)
        ((first, sent),) = case.take()
        assert first == (TEXT if isinstance(payload, str) else BINARY) | COMPRESSED
        assert len(sent) < 50
        inflated = inflater.decompress(sent + b"\x00\x00\xff\xff")
        assert inflated == (payload.encode() if isinstance(payload, str) else payload)


def test_what_does_not_shrink_is_sent_plain() -> None:
    case, noise = opened(extension=deflate()), random.Random(3).randbytes(500)
    case.session.send(noise)
    case.session.send("short")
    assert case.take() == [(BINARY, noise), (TEXT, b"short")]


# Limits (1009)


@pytest.mark.parametrize("limits", [{"max_message": 1000, "max_frame": 0}, {"max_message": 0, "max_frame": 1000}])
@pytest.mark.parametrize("first", [BINARY, TEXT])
def test_a_message_of_the_limit_passes_and_one_octet_more_does_not(limits: dict[str, int], first: int) -> None:
    for size, is_ok in ((1000, True), (1001, False)):
        for pieces in Sequence("", frame(first, b"a" * size)).cuts():
            case = opened(**limits)
            case.receive(*pieces)
            assert len(case.owner.messages) == is_ok
            if not is_ok:
                assert case.take_close()[0] == 1009
                assert case.owner.closed is not None
                assert case.owner.closed[0] == 1009


def test_fragments_count_together_for_the_message_and_alone_for_the_frame() -> None:
    data = frame(TEXT_BEGIN, b"a" * 600) + frame(CONTINUE_END, b"b" * 600)
    case = opened(max_message=1200, max_frame=600)
    case.receive(data)
    assert case.owner.messages == ["a" * 600 + "b" * 600]
    for limits in ({"max_message": 1199, "max_frame": 0}, {"max_message": 0, "max_frame": 599}):
        case = opened(**limits)
        case.receive(data)
        assert case.owner.messages == []
        assert case.take_close()[0] == 1009


def test_the_default_limits_are_those_of_the_contract() -> None:
    for size, is_ok in ((1_048_576, True), (1_048_577, False)):
        case = opened()
        case.receive(frame(BINARY, bytes(size)))
        assert len(case.owner.messages) == is_ok


def test_a_limit_does_not_hold_for_control_frames() -> None:
    case = opened(max_message=1, max_frame=1)
    case.receive(frame(PING, b"p" * 125) + frame(PONG, b"p" * 125))
    assert case.take() == [(PONG, b"p" * 125)]


@pytest.mark.parametrize("fragments", [1, 3])
def test_few_octets_that_inflate_to_more_than_the_limit_never_reach_the_owner(fragments: int) -> None:
    bomb = compressed(bytes(10_485_760))
    case = opened(extension=deflate(1_048_576), max_message=1_048_576)
    size = -(-len(bomb) // fragments)
    parts = [bomb[at : at + size] for at in range(0, len(bomb), size)]
    for index, part in enumerate(parts):
        first = (BINARY | COMPRESSED if index == 0 else CONTINUE_END) & (0xFF if index == len(parts) - 1 else 0x7F)
        case.receive(frame(first, part))
    assert case.owner.messages == []
    assert case.take_close()[0] == 1009
    assert ("failed", 1009) in case.owner.events


@pytest.mark.parametrize("is_noise", [True, False])
def test_the_limit_is_of_what_is_inflated_however_it_is_cut(is_noise: bool) -> None:
    content = random.Random(4).randbytes(1001) if is_noise else bytes(500) + random.Random(5).randbytes(501)
    for size, is_ok in ((1000, True), (1001, False)):
        for pieces in Sequence("", frame(BINARY | COMPRESSED, compressed(content[:size]))).cuts():
            case = opened(extension=deflate(1000), max_message=1000, max_frame=0)
            case.receive(*pieces)
            assert case.owner.messages == ([content[:size]] if is_ok else [])
            assert case.owner.closed == (None if is_ok else (1009, case.owner.closed[1]))


# Pings of the peer's


def test_a_pong_waits_for_the_peer_to_read_and_only_the_last_is_sent() -> None:
    case = opened()
    case.receive(frame(PING, b"before"))
    case.session.pauseProducing()
    for number in range(1000):
        case.receive(frame(PING, b"%d" % number))
    assert case.take() == [(PONG, b"before")]
    case.session.resumeProducing()
    assert case.take() == [(PONG, b"999")]
    case.session.pauseProducing()
    case.session.resumeProducing()
    assert case.take() == []


def test_a_pong_that_waited_is_not_sent_behind_our_close() -> None:
    case = opened()
    case.session.pauseProducing()
    case.receive(frame(PING, b"p"))
    case.session.close(1000)
    case.session.resumeProducing()
    assert case.take() == [(CLOSE, b"\x03\xe8")]


def test_a_ping_behind_our_close_is_not_answered() -> None:
    """RFC 6455 section 5.5.2: unless it already received a Close frame; ours is the last frame that we send."""
    case = opened()
    case.session.close(1000)
    case.receive(frame(PING, b"p"))
    assert case.take() == [(CLOSE, b"\x03\xe8")]


# Pings of ours


def silent(seconds: float, **options: Any) -> Session:
    """A session of 20 and 30 seconds in which nothing has happened for so long."""
    case = Session(**{"ping_interval": 20, "ping_timeout": 30, "lifetime": 0, **options})
    case.factory.pass_time(seconds)
    return case


class TestPings:
    def test_a_silent_peer_is_pinged(self) -> None:
        assert silent(19).take() == []
        assert silent(20).take() == PINGED

    def test_one_ping_waits_for_its_answer(self) -> None:
        case = silent(20)
        for _ in range(29):
            case.factory.pass_time(1)
        assert case.take() == PINGED
        assert case.transport.is_open

    def test_a_peer_that_shows_no_sign_of_life_is_cut(self) -> None:
        case = silent(20)
        case.factory.pass_time(29)
        assert case.transport.is_open
        case.factory.pass_time(1)
        assert case.transport.is_aborted
        case.transport.lose()
        assert case.owner.closed == (1006, "")

    @pytest.mark.parametrize(
        "data",
        [
            frame(PONG),
            frame(PONG, b"not ours"),
            frame(TEXT, b"a"),
            frame(PING),
            frame(TEXT_BEGIN),
            frame(TEXT, b"abc")[:1],
        ],
        ids=["pong", "another pong", "text", "ping", "fragment", "octet"],
    )
    def test_whatever_comes_is_a_sign_of_life(self, data: bytes) -> None:
        """Daphne's clients were cut when one pong was lost, though they sent messages (django/daphne 153)."""
        case = silent(20)
        case.factory.pass_time(29)
        case.receive(data)
        case.take()
        case.factory.pass_time(19)
        assert case.take() == []
        case.factory.pass_time(1)
        assert case.take() == PINGED
        case.factory.pass_time(29)
        assert case.transport.is_open
        case.factory.pass_time(1)
        assert case.transport.is_aborted

    def test_who_sends_need_not_be_pinged(self) -> None:
        case = silent(0)
        for _ in range(10):
            case.factory.pass_time(19)
            case.receive(frame(TEXT, b"a"))
        assert case.take() == []

    def test_no_wait_ends_before_its_time(self) -> None:
        """What comes between two ticks is taken to have come with the first of them."""
        case = silent(0)
        clock = case.factory.clock
        clock.tick(clock.now + 20)
        case.session.check_deadlines()
        assert case.take() == []
        clock.tick(clock.now + 1)
        case.session.check_deadlines()
        assert case.take() == PINGED
        clock.tick(clock.now + 30)
        case.session.check_deadlines()
        assert case.transport.is_open
        clock.tick(clock.now + 1)
        case.session.check_deadlines()
        assert case.transport.is_aborted

    def test_without_an_interval_there_are_none(self) -> None:
        case = silent(1e6, ping_interval=0)
        assert case.take() == []
        assert case.transport.is_open

    def test_without_a_timeout_nobody_is_cut(self) -> None:
        case = silent(20, ping_timeout=0)
        case.factory.pass_time(1e6)
        assert case.take() == PINGED
        assert case.transport.is_open

    def test_who_is_not_read_from_is_pinged_and_never_cut_for_silence(self) -> None:
        """The ping only finds out whether there is a connection."""
        case = silent(0)
        case.session.pause_receiving()
        for _ in range(5):
            case.factory.pass_time(20)
            assert case.take() == PINGED
        case.factory.pass_time(30)
        assert case.transport.is_open

    def test_who_is_not_read_from_is_not_pinged_without_an_interval(self) -> None:
        case = silent(20)
        case.session.pause_receiving()
        case.session._options = SessionOptions(ping_interval=0, ping_timeout=30)
        case.factory.pass_time(100)
        assert case.take() == PINGED
        assert case.transport.is_open

    def test_who_is_read_from_again_has_all_the_time_again(self) -> None:
        case = silent(20)
        case.session.pause_receiving()
        case.factory.pass_time(100)
        case.take()
        case.session.resume_receiving()
        case.factory.pass_time(19)
        assert case.take() == []
        case.factory.pass_time(1)
        assert case.take() == PINGED
        case.factory.pass_time(29)
        assert case.transport.is_open

    def test_who_does_not_read_is_not_pinged(self) -> None:
        case = silent(0, write_timeout=0)
        case.session.pauseProducing()
        case.factory.pass_time(1000)
        assert case.take() == []
        assert case.transport.is_open

    def test_who_is_being_closed_is_not_pinged(self) -> None:
        case = silent(0)
        case.session.close(1000)
        case.take()
        case.factory.pass_time(CLOSE_S - 1)
        case.factory.clock.tick(case.factory.clock.now)
        assert case.take() == []


# The whole life


def test_a_session_that_has_lasted_is_closed_in_peace() -> None:
    case = Session(ping_interval=0, lifetime=100)
    case.factory.pass_time(99)
    case.receive(frame(TEXT, b"a"))
    assert case.take() == []
    case.factory.pass_time(1)
    assert case.take_close() == (1000, "")
    assert case.owner.closed == (1000, "")
    case.receive(close_frame(1000))
    assert case.transport.is_closed
    assert case.take() == []


@pytest.mark.parametrize("lifetime", [0, -1])
def test_a_session_may_last_for_ever(lifetime: float) -> None:
    case = Session(ping_interval=0, lifetime=lifetime)
    case.factory.pass_time(1e9)
    assert case.transport.is_open
    assert case.take() == []


# A peer that does not read


class TestWriting:
    def test_the_owner_asks_whether_there_is_room_and_is_told_when_there_is(self) -> None:
        case = opened()
        assert not case.session.is_writing_paused
        case.session.pauseProducing()
        assert case.session.is_writing_paused
        assert case.owner.events == [("opened",)]
        case.session.resumeProducing()
        assert not case.session.is_writing_paused
        assert case.owner.events == [("opened",), ("room",)]

    def test_a_reader_that_stalls_is_cut(self) -> None:
        case = opened(write_timeout=60)
        case.transport.backlog = 1_000_000
        case.session.pauseProducing()
        case.factory.pass_time(59)
        assert not case.transport.is_aborted
        case.factory.pass_time(1)
        assert case.transport.is_aborted

    def test_a_reader_at_the_minimum_goes_on(self) -> None:
        case = opened(write_timeout=60)
        case.transport.backlog = 1_000_000
        case.session.pauseProducing()
        case.factory.pass_time(0)
        for _ in range(5):
            case.transport.backlog -= MIN_RATE * 60
            case.factory.pass_time(60)
        assert not case.transport.is_aborted
        case.transport.backlog -= MIN_RATE * 60 - 1
        case.factory.pass_time(60)
        assert case.transport.is_aborted

    def test_a_reader_that_has_caught_up_has_no_deadline(self) -> None:
        case = opened(write_timeout=60)
        case.session.pauseProducing()
        case.session.resumeProducing()
        case.factory.pass_time(1000)
        assert not case.transport.is_aborted

    def test_a_write_timeout_of_0_is_none(self) -> None:
        case = opened(write_timeout=0)
        case.session.pauseProducing()
        for _ in range(3):
            case.transport.backlog += 1000
            case.factory.pass_time(1e6)
        assert not case.transport.is_aborted

    def test_a_close_that_waits_for_the_reader_has_the_write_deadline(self) -> None:
        case = opened(write_timeout=60)
        case.transport.backlog = 1000
        case.receive(close_frame(1000))
        assert case.transport.is_closed
        case.factory.pass_time(59)
        assert not case.transport.is_aborted
        case.factory.pass_time(1)
        assert case.transport.is_aborted

    def test_who_has_closed_too_has_the_write_deadline_for_the_rest(self) -> None:
        """Not what was left of the time to answer our Close."""
        case = opened(write_timeout=60)
        case.transport.backlog = 1000
        case.session.close(1000)
        case.receive(close_frame(1000))
        case.factory.pass_time(59)
        assert not case.transport.is_aborted
        case.factory.pass_time(1)
        assert case.transport.is_aborted

    def test_who_waits_for_room_is_let_go_when_the_session_closes(self) -> None:
        for end in (
            lambda case: case.session.close(1000),
            lambda case: case.receive(close_frame()),
            lambda case: case.receive(frame(0x83)),
            lambda case: case.transport.lose(),
            lambda case: case.session.shutdown_started(),
        ):
            case = opened()
            case.session.pauseProducing()
            end(case)
            assert case.owner.events.count(("room",)) == 1

    def test_an_owner_that_has_closed_is_told_nothing_of_room(self) -> None:
        case = opened()
        case.session.close(1000)
        case.owner.events.clear()
        case.session.pauseProducing()
        case.session.resumeProducing()
        case.session.stopProducing()
        assert case.owner.events == []

    def test_an_abort_is_at_once(self) -> None:
        case = opened()
        case.session.abort()
        assert case.transport.is_aborted
        case.transport.lose()
        assert case.owner.closed == (1006, "")


# An owner that does not read


class Counted(bytes):
    """Counts the octets copied out of it."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if isinstance(key, slice):
            self.copied += len(found)
        return found


def pausing(case: Session) -> None:
    """Have the owner take one message at a time."""
    case.owner.on_message = lambda _payload: case.session.pause_receiving()


class TestReceiving:
    def test_whole_messages_go_the_short_way_again_once_one_in_fragments_has_ended(self) -> None:
        case = opened(extension=deflate())
        case.receive(frame(TEXT_BEGIN, b"a") + frame(CONTINUE_END, b"b"))

        def receive(data: bytes, position: int) -> int:
            raise AssertionError("this is for Autobahn's part")

        engine = case.session._engine
        assert engine is not None
        engine.receive = receive  # type: ignore[method-assign]
        case.receive(frame(TEXT, b"c") + frame(PING) + frame(PONG) + frame(BINARY, b"d" * 70_000))
        case.receive(frame(TEXT | COMPRESSED, compressed(b"e")))
        assert case.owner.messages == ["ab", "c", b"d" * 70_000, "e"]

    def test_a_session_without_oddities_needs_nothing_of_autobahns(self) -> None:
        """Most sessions of an application that only pushes."""
        case = opened()
        case.receive(frame(TEXT, b"a") + frame(PONG), frame(PING))
        case.session.send("b")
        case.factory.pass_time(1000)
        assert case.session._engine is None

    def test_nothing_is_delivered_while_it_is_paused(self) -> None:
        case = opened()
        case.session.pause_receiving()
        assert not case.transport.is_reading
        case.session.dataReceived(frame(TEXT, b"on its way") + frame(TEXT_BEGIN, b"beg"))
        case.session.dataReceived(frame(CONTINUE_END, b"un")[:3])
        assert case.owner.messages == []
        case.resume()
        assert case.transport.is_reading
        assert case.owner.messages == ["on its way"]
        case.receive(frame(CONTINUE_END, b"un")[3:])
        assert case.owner.messages == ["on its way", "begun"]

    def test_messages_of_one_read_wait_for_an_owner_that_takes_one_at_a_time(self) -> None:
        case = opened()
        pausing(case)
        data = frame(TEXT, b"a") + frame(TEXT_BEGIN, b"b") + frame(CONTINUE_END, b"c") + frame(TEXT, b"d")
        case.receive(data + frame(PING, b"p") + frame(TEXT, b"e")[:4])
        taken = []
        while not case.transport.is_reading:
            taken.append((case.owner.messages[-1], case.take()))
            case.resume()
        assert taken == [("a", []), ("bc", []), ("d", [])]
        assert case.take() == [(PONG, b"p")]
        case.receive(frame(TEXT, b"e")[4:])
        assert case.owner.messages == ["a", "bc", "d", "e"]

    def test_a_read_that_waits_is_not_copied_over_and_over(self) -> None:
        case, data = opened(), Counted(frame(TEXT, b"a") * 5000)
        pausing(case)
        case.session.dataReceived(data)
        for _ in range(5000):
            assert not case.transport.is_reading
            case.resume()
        assert case.transport.is_reading
        assert len(case.owner.messages) == 5000
        assert data.copied < 40 * 5000

    def test_what_comes_behind_a_read_that_waits_is_in_its_place(self) -> None:
        case = opened()
        pausing(case)
        case.session.dataReceived(frame(TEXT, b"a") + frame(TEXT, b"b") + frame(TEXT, b"c")[:3])
        case.session.dataReceived(frame(TEXT, b"c")[3:] + frame(TEXT, b"d"))
        for _ in range(4):
            case.resume()
        assert case.owner.messages == ["a", "b", "c", "d"]

    def test_pausing_and_resuming_twice_is_as_once(self) -> None:
        case = opened()
        case.session.resume_receiving()
        assert case.transport.is_reading
        case.session.pause_receiving()
        case.session.pause_receiving()
        case.session.resume_receiving()
        assert case.transport.is_reading
        case.session.resume_receiving()
        case.receive(frame(TEXT, b"a"))
        assert case.owner.messages == ["a"]

    def test_what_waits_is_delivered_in_another_turn(self) -> None:
        """An application that only reads would have all of a read in one."""
        case = opened()
        pausing(case)
        case.receive(frame(TEXT, b"a") + frame(TEXT, b"b"))
        case.session.resume_receiving()
        assert case.owner.messages == ["a"]
        case.factory.turn()
        assert case.owner.messages == ["a", "b"]

    def test_an_owner_may_pause_again_before_that_turn(self) -> None:
        case = opened()
        pausing(case)
        case.receive(frame(TEXT, b"a") + frame(TEXT, b"b") + frame(TEXT, b"c"))
        case.session.resume_receiving()
        case.session.pause_receiving()
        case.factory.turn()
        assert case.owner.messages == ["a"]
        case.session.resume_receiving()
        case.session.pause_receiving()
        case.session.resume_receiving()
        case.factory.turn()
        assert case.owner.messages == ["a", "b"]
        assert not case.transport.is_reading

    def test_an_owner_may_pause_and_resume_while_it_is_told_of_a_message(self) -> None:
        case = opened()

        def on_message(_payload: Any) -> None:
            case.session.pause_receiving()
            case.session.resume_receiving()

        case.owner.on_message = on_message
        case.receive(frame(TEXT, b"a") + frame(TEXT, b"b"))
        assert case.owner.messages == ["a", "b"]
        assert case.transport.is_reading

    @pytest.mark.parametrize("behind", [b"", frame(TEXT, b"b") * 3])
    def test_an_owner_may_close_while_it_is_told_of_a_message(self, behind: bytes) -> None:
        for data in (frame(TEXT, b"a"), frame(TEXT_BEGIN, b"") + frame(CONTINUE_END, b"a")):
            case = opened()

            def on_message(_payload: Any, case: Session = case) -> None:
                case.session.pause_receiving()
                case.session.close(4000, "enough")

            case.owner.on_message = on_message
            case.receive(data + behind)
            assert case.owner.messages == ["a"]
            assert case.take_close() == (4000, "enough")
            assert case.transport.is_reading
            case.receive(close_frame(4000))
            assert case.transport.is_closed

    def test_a_loss_drops_what_waits(self) -> None:
        case = opened()
        case.session.pause_receiving()
        case.session.dataReceived(frame(TEXT, b"a"))
        case.transport.lose()
        assert case.session._held is None
        case.resume()
        assert case.owner.messages == []
        assert case.owner.closed == (1006, "")

    def test_a_close_behind_what_waits_is_found_when_we_close(self) -> None:
        case = opened()
        pausing(case)
        case.receive(frame(TEXT, b"a") + frame(TEXT, b"b") + close_frame(1001))
        case.session.close(1000)
        case.factory.turn()
        assert case.owner.messages == ["a"]
        assert case.take_close() == (1000, "")
        assert case.transport.is_closed

    def test_many_frames_of_one_read_take_turns_with_others(self) -> None:
        case, others = opened(), []
        count = 5000
        case.session.dataReceived(frame(TEXT) * count)
        seen = [len(case.owner.messages)]
        while seen[-1] < count:
            assert not case.transport.is_reading, "it reads on before it has taken what is there"
            case.factory.call_soon(lambda: others.append(len(case.owner.messages)))
            callbacks, case.factory._callbacks = case.factory._callbacks, []
            for callback in callbacks:
                callback()
            assert len(case.owner.messages) > seen[-1]
            seen.append(len(case.owner.messages))
        case.factory.turn()
        assert case.transport.is_reading
        assert len(seen) > 5
        assert others == seen[1:]
        assert max(after - before for before, after in zip([0, *seen], seen, strict=False)) < 1000

    def test_an_owner_may_pause_between_the_turns_of_a_read(self) -> None:
        case = opened()
        case.session.dataReceived(frame(TEXT) * 1200)
        taken = len(case.owner.messages)
        case.session.pause_receiving()
        case.factory.turn()
        assert len(case.owner.messages) == taken
        assert not case.transport.is_reading
        case.session.resume_receiving()
        case.factory.turn()
        assert len(case.owner.messages) == 1200
        assert case.transport.is_reading

    @pytest.mark.parametrize("end", ["lost", "closed", "failed"])
    def test_a_session_may_end_between_the_turns_of_a_read(self, end: str) -> None:
        case = opened()
        case.session.dataReceived(frame(TEXT) * 1200 + (frame(0x83) if end == "failed" else b""))
        taken = len(case.owner.messages)
        if end == "lost":
            case.transport.lose()
        elif end == "closed":
            case.session.close(1000)
        case.factory.turn()
        assert len(case.owner.messages) == (1200 if end == "failed" else taken)
        assert case.transport.is_reading != (end == "lost")
        if end != "lost":
            assert case.take_close()[0] == (1000 if end == "closed" else 1002)


# The end


class TestClosing:
    def test_our_close_awaits_the_peers(self) -> None:
        case = opened()
        case.session.close(4000, "why €")
        assert case.take_close() == (4000, "why €")
        assert not case.session.is_open
        assert case.transport.is_open
        case.receive(close_frame(4000))
        assert case.transport.is_closed
        assert case.take() == []
        assert case.owner.events == [("opened",), ("room",)], "it knows: it has closed"
        case.transport.lose()
        assert case.owner.closed is None

    def test_a_close_is_sent_once(self) -> None:
        case = opened()
        case.session.close(4000)
        case.session.close(4001)
        case.session.shutdown_started()
        assert case.take_close() == (4000, "")

    def test_what_comes_behind_our_close_reaches_nobody(self) -> None:
        case = opened()
        case.session.close(1000)
        case.receive(frame(TEXT, b"a") + frame(TEXT_BEGIN, b"b"), frame(CONTINUE_END, b"c"))
        assert case.owner.messages == []
        assert case.transport.is_open

    @pytest.mark.parametrize("data", [frame(0x83), frame(TEXT, b"\xff")])
    def test_a_fault_behind_our_close_ends_the_wait(self, data: bytes) -> None:
        case = opened()
        case.session.close(1000)
        case.receive(data)
        assert case.take_close() == (1000, "")
        assert case.transport.is_write_closed
        assert case.owner.closed is None

    def test_a_peer_that_does_not_answer_our_close_is_cut(self) -> None:
        assert 5 <= CLOSE_S <= 30
        case = opened()
        case.session.close(1000)
        case.factory.pass_time(CLOSE_S - 1)
        case.receive(frame(TEXT, b"still talking"))
        assert not case.transport.is_aborted
        case.factory.pass_time(1)
        assert case.transport.is_aborted

    def test_no_wait_ends_before_its_time(self) -> None:
        for begin, seconds in (
            (lambda case: case.session.close(1000), CLOSE_S),
            (lambda case: case.receive(frame(0x83)), LINGER_S),
            (lambda case: None, 100),
        ):
            case = opened(lifetime=100)
            begin(case)
            case.take()
            clock = case.factory.clock
            clock.tick(clock.now + seconds)
            case.session.check_deadlines()
            assert (case.transport.is_aborted, case.take()) == (False, [])
            clock.tick(clock.now + 1)
            case.session.check_deadlines()
            assert case.transport.is_aborted or case.take() == [(CLOSE, b"\x03\xe8")]

    @pytest.mark.parametrize(
        ("data", "told"),
        [(close_frame(), (1005, "")), (close_frame(1001), (1001, "")), (close_frame(4000, "go"), (4000, "go"))],
    )
    def test_the_peers_close_is_answered_and_told(self, data: bytes, told: tuple[int, str]) -> None:
        case = opened()
        case.receive(data)
        assert case.transport.data == b"\x88" + bytes((data[1] & 0x7F,)) + close_octets(told)
        assert case.transport.is_closed
        assert case.owner.closed == told
        assert not case.session.is_open
        case.transport.lose()
        assert case.owner.closed == told

    def test_a_peer_that_vanishes_is_1006(self) -> None:
        case = opened()
        case.receive(frame(TEXT_BEGIN, b"a"))
        case.transport.lose()
        assert case.owner.closed == (1006, "")
        assert case.owner.messages == []

    def test_a_stop_closes_with_1012(self) -> None:
        case = opened()
        case.session.shutdown_started()
        assert case.take_close() == (1012, "")
        assert case.owner.closed == (1012, "")
        case.receive(close_frame(1012))
        assert case.transport.is_closed

    def test_a_stop_does_not_wait_for_the_peer_as_long_as_others_do(self) -> None:
        for before in (lambda case: None, lambda case: case.session.close(1000)):
            case = opened()
            before(case)
            case.session.shutdown_started()
            case.factory.pass_time(LINGER_S - 1)
            assert not case.transport.is_aborted
            case.factory.pass_time(1)
            assert case.transport.is_aborted

    def test_a_session_that_is_over_does_nothing_more(self) -> None:
        for before in (
            lambda case: None,
            lambda case: case.session.pauseProducing(),
            lambda case: case.session.close(1000),
            lambda case: case.receive(frame(0x83)),
        ):
            case = Session(lifetime=5)
            before(case)
            case.transport.lose()
            case.session.close(1000)
            case.session.dataReceived(frame(TEXT, b"a") + close_frame())
            case.factory.clock.tick(1e9)
            case.factory.clock.tick(1e9)
            case.session.check_deadlines()
            case.session.shutdown_started()
            assert case.owner.messages == []
            assert case.transport.lost_writes == []
            assert not case.transport.is_aborted


def close_octets(told: tuple[int, str]) -> bytes:
    code, reason = told
    return b"" if code == 1005 else code.to_bytes(2, "big") + reason.encode()


class TestFaults:
    def test_our_side_is_closed_and_the_peer_has_time_to_read_why(self) -> None:
        """Closing while it sends would make the kernel reset the connection, and take our Close from it."""
        case = opened()
        case.receive(frame(0x83))
        assert case.take_close()[0] == 1002
        assert case.transport.is_write_closed
        assert not case.transport.is_closed
        case.session.dataReceived(frame(TEXT, b"late") + frame(0x84) + close_frame())
        case.factory.pass_time(LINGER_S - 1)
        assert not case.transport.is_aborted
        case.factory.pass_time(1)
        assert case.transport.is_aborted
        case.transport.lose()
        assert case.owner.messages == []
        assert case.owner.closed is not None
        assert case.owner.closed[0] == 1002

    def test_the_owner_is_told_of_the_fault_and_then_of_the_end(self) -> None:
        case = opened()
        case.receive(frame(TEXT, b"\xff"))
        assert [event[:2] for event in case.owner.events] == [
            ("opened",), ("failed", 1007), ("room",), ("closed", 1007),
        ]  # fmt: skip

    def test_a_close_of_the_peers_is_no_fault(self) -> None:
        case = opened()
        case.receive(close_frame(1009))
        assert all(event[0] != "failed" for event in case.owner.events)


class TestAnswersBeforeTheEnd:
    """An application that is still at what came before a Close, or a fault, in the same read has a turn to answer."""

    @pytest.mark.parametrize(("data", "code"), [(close_frame(1001), 1001), (frame(0x83), 1002)])
    def test_they_go_out_before_the_last_frame(self, data: bytes, code: int) -> None:
        case = opened()
        case.owner.is_idle = False
        case.session.dataReceived(frame(TEXT, b"a") + frame(PING, b"p") + data)
        assert case.owner.closed is None
        case.session.send("answer")
        (callback,) = case.owner.waiting
        callback()
        *frames, (first, payload) = case.take()
        assert frames == [(PONG, b"p"), (TEXT, b"answer")]
        assert (first, close_payload(payload)[0]) == (CLOSE, code)
        assert case.owner.closed is not None
        callback()
        case.factory.turn()
        assert case.take() == []

    def test_an_application_that_waits_has_said_all(self) -> None:
        case = opened()
        case.session.dataReceived(close_frame(1001))
        assert case.take_close() == (1001, "")

    def test_an_application_has_a_few_turns_of_the_loop(self) -> None:
        case = opened()
        case.owner.is_idle = False
        case.session.dataReceived(close_frame(1001))
        turns = 0
        while case.factory._callbacks:
            assert case.transport.data == b""
            turns += 1
            callbacks, case.factory._callbacks = case.factory._callbacks, []
            for callback in callbacks:
                callback()
        assert case.take_close() == (1001, "")
        assert 2 <= turns <= 10

    def test_nothing_more_is_read_meanwhile(self) -> None:
        case = opened()
        case.owner.is_idle = False
        case.session.dataReceived(close_frame(1001))
        case.session.dataReceived(frame(TEXT, b"late") + frame(PING))
        case.factory.pass_time(0)
        case.factory.turn()
        assert case.owner.messages == []
        assert case.take_close() == (1001, "")

    def test_what_is_behind_a_close_in_the_same_read_counts_no_more_than_what_comes_later(self) -> None:
        case = opened()
        case.owner.is_idle = False
        case.session.dataReceived(close_frame(1001) + (frame(TEXT) + frame(PING)) * 3 + frame(0x83))
        assert case.owner.events == [("opened",)]
        case.factory.turn()
        assert case.take_close() == (1001, "")
        assert case.owner.messages == []

    def test_a_close_of_ours_comes_too_late(self) -> None:
        case = opened()
        case.owner.is_idle = False
        case.session.dataReceived(close_frame(1001))
        case.session.close(4000)
        assert case.take_close() == (1001, "")
        assert case.transport.is_closed
        case.factory.turn()
        assert case.take() == []

    def test_a_stop_comes_too_late(self) -> None:
        case = opened()
        case.owner.is_idle = False
        case.session.dataReceived(close_frame(1001))
        case.session.shutdown_started()
        assert case.take_close() == (1001, "")
        assert case.owner.closed == (1001, "")

    def test_a_loss_meanwhile_is_told_with_the_code_of_the_peer(self) -> None:
        case = opened()
        case.owner.is_idle = False
        case.session.dataReceived(close_frame(4001, "bye"))
        case.transport.lose()
        assert case.owner.closed == (4001, "bye")
        case.factory.turn()
        case.owner.waiting[0]()
        assert case.transport.lost_writes == []
