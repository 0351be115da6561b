"""The response on one stream of HTTP/2, frame by frame; the request's content is in test_h2_body."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from daphne_clone.connection.h2_stream import MAX_WAITING, H2Stream
from daphne_clone.connection.shared import Timeouts
from daphne_clone.errors import ApplicationProtocolError, ClientDisconnected
from tests.support.connections import Exchange, Factory
from tests.support.h2_frames import Code, Setting, data_frame, rst_frame, settings_frame, window_frame
from tests.support.peer_in_memory import Data, Headers, Peer, Reset, SettingsAck, request_frame

TIMEOUTS = Timeouts(request_head=10, request_body=20, keep_alive=40, write=30)

CONTENT = bytes(range(256)) * 600  # 153,600 octets: more than two pieces of a file


@pytest.fixture
def factory() -> Factory:
    return Factory(timeouts=TIMEOUTS)


@pytest.fixture
def peer(factory: Factory) -> Peer:
    return Peer(factory)


@pytest.fixture
def exchange(peer: Peer) -> Exchange:
    """A request without content, not yet answered."""
    return peer.request(1)


@pytest.fixture
def narrow(factory: Factory) -> Peer:
    """A peer that gives streams no room until it says so."""
    return Peer(factory, settings=[(Setting.INITIAL_WINDOW_SIZE, 0)])


@pytest.fixture
def wide(factory: Factory) -> Peer:
    """A peer with all the room that a test needs."""
    peer = Peer(factory, settings=[(Setting.INITIAL_WINDOW_SIZE, 10**7)])
    peer.send(window_frame(0, 10**7))
    return peer


def stream_of(exchange: Exchange) -> H2Stream:
    stream: Any = exchange.channel
    assert isinstance(stream, H2Stream)
    return stream


def head(*fields: tuple[bytes, bytes], status: int = 200, ends: bool = False) -> Headers:
    return Headers(1, [(b":status", b"%d" % status), *fields], ends)


def length(octets: int) -> tuple[bytes, bytes]:
    return (b"content-length", b"%d" % octets)


def body_of(frames: list[Any]) -> bytes:
    return b"".join(each.data for each in frames if isinstance(each, Data))


# Heads and their framing


def test_a_whole_answer_has_its_length(peer: Peer, exchange: Exchange) -> None:
    exchange.start(201, [(b"X-Y", b"z")])
    assert peer.take() == []  # it leaves with the content
    exchange.channel.send_body(b"hello", False)
    assert peer.take() == [head((b"x-y", b"z"), length(5), status=201), Data(1, b"hello", True)]


def test_an_answer_without_content_is_a_head(peer: Peer, exchange: Exchange) -> None:
    exchange.answer(b"")
    assert peer.take() == [head(length(0), ends=True)]


def test_the_applications_length_is_its_own(peer: Peer, exchange: Exchange) -> None:
    assert exchange.start(headers=[(b"Content-Length", b"2")]) == 2
    exchange.channel.send_body(b"ok", False)
    assert peer.take() == [head(length(2)), Data(1, b"ok", True)]


def test_an_answer_in_parts_has_no_length(peer: Peer, exchange: Exchange) -> None:
    assert exchange.start() is None
    exchange.channel.send_body(b"one", True)
    assert peer.take() == [head(), Data(1, b"one")]
    exchange.channel.send_body(b"", True)
    assert peer.take() == []
    exchange.channel.send_body(b"two", False)
    assert peer.take() == [Data(1, b"two", True)]


def test_a_head_can_leave_before_any_content(peer: Peer, exchange: Exchange) -> None:
    exchange.start()
    assert not exchange.channel.is_head_sent
    exchange.channel.send_body(b"", True)
    assert exchange.channel.is_head_sent
    assert peer.take() == [head()]
    exchange.channel.send_body(b"", False)
    assert peer.take() == [Data(1, b"", True)]


@pytest.mark.parametrize("status", [204, 304, 200])
def test_some_answers_have_no_content_and_get_no_length(peer: Peer, exchange: Exchange, status: int) -> None:
    exchange.start(status, has_body=False)
    exchange.channel.send_body(b"", False)
    assert peer.take() == [head(status=status, ends=True)]


def test_the_length_of_what_head_is_not_sent_stands(peer: Peer, exchange: Exchange) -> None:
    assert exchange.start(200, [(b"content-length", b"5")], has_body=False) == 5
    exchange.channel.send_body(b"", False)
    assert peer.take() == [head(length(5), ends=True)]


def test_a_204_has_no_length(peer: Peer, exchange: Exchange) -> None:
    """RFC 9110 section 8.6."""
    exchange.start(204, [(b"content-length", b"0")], has_body=False)
    exchange.channel.send_body(b"", False)
    assert peer.take() == [head(status=204, ends=True)]


def test_what_no_head_may_hold_leaves_nothing_behind(peer: Peer, exchange: Exchange) -> None:
    for headers in ([(b"a", b"\n")], [(b"a b", b"")], [("a", "b")]):
        with pytest.raises(ApplicationProtocolError):
            exchange.start(headers=headers)
    exchange.answer()
    assert peer.take() == [head(length(2)), Data(1, b"ok", True)]


def test_the_default_fields_are_there() -> None:
    peer = Peer(Factory(server_name="s", extra=[(b"x-op", b"1")]))
    peer.request(1).answer(headers=[(b"x-op", b"2")])
    assert peer.take()[0].fields == [(b":status", b"200"), (b"x-op", b"2"), (b"server", b"s"), length(2)]


# Content


@pytest.mark.parametrize("size", [16_383, 16_384, 16_385, 40_000])
@pytest.mark.parametrize("more", [False, True])
def test_content_is_cut_into_the_peers_frames(wide: Peer, size: int, more: bool) -> None:
    exchange = wide.request(1)
    exchange.start()
    exchange.channel.send_body(CONTENT[:size], more)
    frames = wide.take()
    assert body_of(frames) == CONTENT[:size]
    sizes = [len(each.data) for each in frames[1:]]
    assert sizes == [16_384] * (size // 16_384) + ([size % 16_384] if size % 16_384 else [])
    assert [each.ends for each in frames[1:]] == [False] * (len(sizes) - 1) + [not more]


def test_content_waits_for_the_window_and_its_end_with_it(narrow: Peer) -> None:
    exchange = narrow.request(1)
    exchange.answer(b"0123456789")
    assert narrow.take() == [head(length(10))]
    for at in range(0, 9, 3):
        narrow.send(window_frame(1, 3))
        assert narrow.take() == [Data(1, b"0123456789"[at : at + 3])]
    narrow.send(window_frame(1, 100))
    assert narrow.take() == [Data(1, b"9", True)]
    assert narrow.request(3)  # and the stream is over
    assert 1 not in narrow.connection._streams


def test_an_end_that_comes_late_needs_no_window(narrow: Peer) -> None:
    exchange = narrow.request(1)
    exchange.start()
    exchange.channel.send_body(b"abc", True)
    narrow.send(window_frame(1, 3))
    assert narrow.take() == [head(), Data(1, b"abc")]
    exchange.channel.send_body(b"", False)
    assert narrow.take() == [Data(1, b"", True)]


def test_an_end_that_comes_while_content_waits_goes_with_its_last_frame(narrow: Peer) -> None:
    exchange = narrow.request(1)
    exchange.start()
    exchange.channel.send_body(b"abc", True)
    exchange.channel.send_body(b"", False)
    narrow.send(window_frame(1, 2))
    narrow.send(window_frame(1, 1))
    assert narrow.take() == [head(), Data(1, b"ab"), Data(1, b"c", True)]


def test_small_parts_that_wait_are_joined(narrow: Peer) -> None:
    exchange = narrow.request(1)
    exchange.start()
    parts = [bytes([number % 256]) * (number % 90 + 1) for number in range(300)]
    for part in parts:
        exchange.channel.send_body(part, True)
    assert stream_of(exchange).waiting == sum(map(len, parts))
    frames = narrow.take()
    assert body_of(frames) == b""
    narrow.send(window_frame(1, 10**5))
    frames = narrow.take()
    assert body_of(frames) == b"".join(parts)
    assert len(frames) == 1
    assert stream_of(exchange).waiting == 0
    assert not exchange.channel.is_writing_paused


def test_parts_of_all_sizes_come_out_in_their_order(narrow: Peer) -> None:
    exchange = narrow.request(1)
    exchange.start()
    sizes = [1, 5_000, 1_023, 1, 1_024, 30_000, 2, 2, 70_000, 16_384, 1]
    at = 0
    for size in sizes:
        exchange.channel.send_body(CONTENT[at : at + size], True)
        at += size
    exchange.channel.send_body(b"", False)
    frames = narrow.take()
    for room in (1, 1_000, 16_000, 10, 40_000, 3, 10**5):
        narrow.send(window_frame(1, room), window_frame(0, room))
        frames += narrow.take()
    assert body_of(frames) == CONTENT[:at]
    assert [each.ends for each in frames if isinstance(each, Data)].count(True) == 1
    assert frames[-1].ends
    assert stream_of(exchange).waiting == 0


# Backpressure


def test_an_application_is_paused_by_what_waits_and_resumed_when_it_has_gone(narrow: Peer) -> None:
    exchange = narrow.request(1)
    exchange.start()
    exchange.channel.send_body(b"x" * MAX_WAITING, True)
    assert not exchange.channel.is_writing_paused
    exchange.channel.send_body(b"x" * 1000, True)
    assert exchange.channel.is_writing_paused
    narrow.send(window_frame(1, 999))
    assert exchange.channel.is_writing_paused
    assert ("writing resumed",) not in exchange.events
    narrow.send(window_frame(1, 1))
    assert not exchange.channel.is_writing_paused
    assert exchange.events == [("request",), ("writing resumed",)]
    narrow.send(window_frame(1, 10**5))
    assert exchange.events == [("request",), ("writing resumed",)]
    exchange.channel.send_body(b"y", False)
    assert body_of(narrow.take()) == b"x" * (MAX_WAITING + 1000) + b"y"


def test_an_application_that_writes_on_when_it_is_resumed(narrow: Peer) -> None:
    exchange = narrow.request(1)
    exchange.start()
    sent = 0

    def fill() -> None:
        nonlocal sent
        while not exchange.channel.is_writing_paused and sent < 200:
            exchange.channel.send_body(b"%04d" % sent * 500, True)
            sent += 1
        if sent == 200:
            exchange.channel.send_body(b"", False)

    exchange.writing_resumed = fill  # type: ignore[method-assign]
    fill()
    frames = narrow.take()
    for _ in range(200):
        narrow.send(window_frame(1, 3_000), window_frame(0, 3_000))
        frames += narrow.take()
        assert stream_of(exchange).waiting <= MAX_WAITING + 2_000
    assert body_of(frames) == b"".join(b"%04d" % number * 500 for number in range(200))
    assert frames[-1].ends


def test_to_a_transport_that_is_full_content_waits_too(wide: Peer) -> None:
    exchange = wide.request(1)
    exchange.start()
    wide.connection.pauseProducing()
    exchange.channel.send_body(b"x" * 20_000, True)
    assert exchange.channel.is_writing_paused
    wide.connection.resumeProducing()
    assert not exchange.channel.is_writing_paused
    assert exchange.events[-1] == ("writing resumed",)
    assert body_of(wide.take()) == b"x" * 20_000


def test_a_whole_answer_is_never_paused(narrow: Peer) -> None:
    """Its exchange has nothing to say any more; the memory is what one message took."""
    exchange = narrow.request(1)
    exchange.answer(b"x" * 100_000)
    narrow.send(window_frame(1, 10**6), window_frame(0, 10**6))
    assert body_of(narrow.take()) == b"x" * 100_000
    assert exchange.events == [("request",)]


# A peer that takes nothing


def test_an_answer_that_is_not_taken_is_reset(narrow: Peer, factory: Factory) -> None:
    exchange = narrow.request(1)
    other = narrow.request(3)
    exchange.start()
    exchange.channel.send_body(b"x", True)
    factory.pass_time(1)  # where it is seen to wait
    factory.pass_time(29)
    narrow.take()
    factory.pass_time(2)
    assert narrow.take() == [Reset(1, Code.CANCEL)]
    assert exchange.events == [("request",), ("lost",)]
    assert other.events == [("request",)]


def test_who_takes_all_that_there_is_has_no_deadline(wide: Peer, factory: Factory) -> None:
    exchange = wide.request(1)
    exchange.start()
    for _ in range(50):
        exchange.channel.send_body(b"event", True)
        factory.pass_time(10)
    exchange.channel.send_body(b"", False)
    assert body_of(wide.take()) == b"event" * 50


def test_who_takes_it_slowly_is_not_reset(narrow: Peer, factory: Factory) -> None:
    """What counts is what has been taken, not what still waits: the application may add as much."""
    exchange = narrow.request(1)
    exchange.start()
    exchange.channel.send_body(b"x" * 5_000, True)
    for _ in range(200):
        factory.pass_time(1)
        narrow.send(window_frame(1, 300), window_frame(0, 300))
        exchange.channel.send_body(b"x" * 300, True)
    assert not any(isinstance(each, Reset) for each in narrow.take())
    for _ in range(70):
        factory.pass_time(1)
        narrow.send(window_frame(1, 100), window_frame(0, 100))
    assert Reset(1, Code.CANCEL) in narrow.take()


def test_writing_can_take_for_ever() -> None:
    factory = Factory(timeouts=Timeouts(write=0))
    peer = Peer(factory, settings=[(Setting.INITIAL_WINDOW_SIZE, 0)])
    peer.request(1).answer()
    for _ in range(5):
        factory.pass_time(10_000)
    peer.send(window_frame(1, 2))
    assert body_of(peer.take()) == b"ok"


# Trailers


def with_trailers(exchange: Exchange, body: bytes = b"ok", has_body: bool = True) -> None:
    exchange.start(trailers=True, has_body=has_body)
    exchange.channel.send_body(body, False)


def test_trailers_end_the_stream(peer: Peer, exchange: Exchange) -> None:
    with_trailers(exchange)
    assert peer.take() == [head(length(2)), Data(1, b"ok")]
    exchange.channel.send_trailers([(b"A", b"b")], True)
    assert peer.take() == []
    exchange.channel.send_trailers([(b"c", b"d")], False)
    assert peer.take() == [Headers(1, [(b"a", b"b"), (b"c", b"d")], True)]
    assert 1 not in peer.connection._streams


def test_trailers_that_do_not_come(peer: Peer, exchange: Exchange) -> None:
    with_trailers(exchange)
    peer.take()
    exchange.channel.send_trailers([], False)
    assert peer.take() == [Data(1, b"", True)]


def test_trailers_without_content(peer: Peer, exchange: Exchange) -> None:
    with_trailers(exchange, b"")
    exchange.channel.send_trailers([(b"a", b"b")], False)
    assert peer.take() == [head(length(0)), Headers(1, [(b"a", b"b")], True)]


def test_an_answer_that_has_no_content_has_no_trailers(peer: Peer, exchange: Exchange) -> None:
    with_trailers(exchange, b"", has_body=False)
    exchange.channel.send_trailers([(b"a", b"b")], False)
    frames = peer.take()
    assert body_of(frames) == b""
    assert frames[-1].ends
    assert sum(isinstance(each, Headers) for each in frames) == 1


def test_trailers_wait_behind_the_content(narrow: Peer) -> None:
    exchange = narrow.request(1)
    with_trailers(exchange, b"hello")
    exchange.channel.send_trailers([(b"a", b"b")], False)
    assert narrow.take() == [head(length(5))]
    narrow.send(window_frame(1, 3))
    assert narrow.take() == [Data(1, b"hel")]
    narrow.send(window_frame(1, 3))
    assert narrow.take() == [Data(1, b"lo"), Headers(1, [(b"a", b"b")], True)]


def test_trailers_are_checked(peer: Peer, exchange: Exchange) -> None:
    with_trailers(exchange)
    for fields in ([(b"content-length", b"1")], [(b"a", b"\n")], [("a", "b")]):
        with pytest.raises(ApplicationProtocolError):
            exchange.channel.send_trailers(fields, False)
    exchange.channel.send_trailers([(b"a", b"b")], False)
    assert peer.take()[-1] == Headers(1, [(b"a", b"b")], True)


# Interim responses


def test_early_hints_come_before_the_answer(peer: Peer, exchange: Exchange) -> None:
    exchange.channel.send_early_hint([b"</a>", b"</b>"])
    assert peer.take() == [head((b"link", b"</a>"), (b"link", b"</b>"), status=103)]
    exchange.start()
    exchange.channel.send_early_hint([b"</c>"])
    exchange.channel.send_body(b"ok", False)
    assert peer.take() == [head((b"link", b"</c>"), status=103), head(length(2)), Data(1, b"ok", True)]


def test_early_hints_wait_with_the_answer_for_the_transport(peer: Peer, exchange: Exchange) -> None:
    peer.connection.pauseProducing()
    exchange.channel.send_early_hint([b"</a>"])
    exchange.answer()
    assert peer.take() == []
    peer.connection.resumeProducing()
    assert peer.take() == [head((b"link", b"</a>"), status=103), head(length(2)), Data(1, b"ok", True)]


def test_early_hints_are_checked(peer: Peer, exchange: Exchange) -> None:
    with pytest.raises(ApplicationProtocolError):
        exchange.channel.send_early_hint([b"</a>\r\nset-cookie: evil"])
    assert peer.take() == []


@pytest.fixture
def expecting(peer: Peer) -> Exchange:
    return peer.request(1, method=b"POST", fields=[(b"expect", b"100-continue")], end=False)


def test_100_is_sent_once(peer: Peer, expecting: Exchange) -> None:
    assert peer.take() == []
    expecting.channel.send_continue()
    expecting.channel.send_continue()
    assert peer.take() == [head(status=100)]
    expecting.answer()
    assert peer.take() == [head(length(2)), Data(1, b"ok", True)]


def test_100_is_not_sent_to_who_has_not_asked(peer: Peer, exchange: Exchange) -> None:
    exchange.channel.send_continue()
    assert peer.take() == []


@pytest.mark.parametrize("when", ["content", "head", "end", "loss"])
def test_100_is_not_sent_when_it_is_too_late(peer: Peer, expecting: Exchange, when: str) -> None:
    if when == "content":
        peer.send(data_frame(1, b"x"))
    elif when == "head":
        expecting.start()
        expecting.channel.send_body(b"", True)
    elif when == "end":
        peer.send(data_frame(1, end=True))
    else:
        peer.send(rst_frame(1))
    peer.take()
    expecting.channel.send_continue()
    assert peer.take() == []


# Files


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    with path.open("rb") as opened:
        yield opened.fileno()


def send_file(exchange: Exchange, *arguments: Any, meanwhile: Callable[[], object] | None = None) -> None:
    """Send a file to its end; ``meanwhile`` runs whenever the sending waits for room."""

    async def run() -> None:
        sending = asyncio.ensure_future(exchange.channel.send_file(*arguments))
        for _ in range(2_000):
            if sending.done():
                break
            if meanwhile is not None and stream_of(exchange)._resumed is not None:
                meanwhile()
            await asyncio.sleep(0.0005)
        await sending

    asyncio.run(run())


def test_a_file_is_content(wide: Peer, file: int) -> None:
    exchange = wide.request(1)
    exchange.start()
    send_file(exchange, file, 0, len(CONTENT), False)
    frames = wide.take()
    assert frames[0] == head(length(len(CONTENT)))
    assert body_of(frames) == CONTENT
    assert frames[-1].ends


@pytest.mark.parametrize(("offset", "count"), [(0, 0), (0, 1), (100, 65_536), (100, 65_537), (153_599, 1)])
def test_a_part_of_a_file(wide: Peer, file: int, offset: int, count: int) -> None:
    exchange = wide.request(1)
    exchange.start()
    send_file(exchange, file, offset, count, False)
    frames = wide.take()
    assert frames[0] == head(length(count), ends=not count)
    assert body_of(frames) == CONTENT[offset : offset + count]
    assert frames[-1].ends


def test_a_file_between_other_content(wide: Peer, file: int) -> None:
    exchange = wide.request(1)
    exchange.start()
    exchange.channel.send_body(b"<", True)
    send_file(exchange, file, 0, 10, True)
    exchange.channel.send_body(b">", False)
    frames = wide.take()
    assert frames[0] == head()
    assert body_of(frames) == b"<" + CONTENT[:10] + b">"


def test_a_file_waits_for_the_window_without_being_read(narrow: Peer, file: int) -> None:
    exchange = narrow.request(1)
    exchange.start()
    frames: list[Any] = []

    def take_some() -> None:
        assert stream_of(exchange).waiting <= MAX_WAITING + 65_536
        narrow.send(window_frame(1, 30_000), window_frame(0, 30_000))
        frames.extend(narrow.take())

    send_file(exchange, file, 0, len(CONTENT), False, meanwhile=take_some)
    narrow.send(window_frame(1, 10**6), window_frame(0, 10**6))
    frames += narrow.take()
    assert body_of(frames) == CONTENT
    assert frames[-1].ends
    assert ("writing resumed",) not in exchange.events  # nobody else waits while a file is sent


def test_a_file_that_is_shorter(wide: Peer, file: int) -> None:
    exchange = wide.request(1)
    exchange.start()
    with pytest.raises(OSError, match="ended before"):
        send_file(exchange, file, 0, len(CONTENT) + 1, False)


@pytest.mark.parametrize("end", ["reset", "loss", "write deadline"])
def test_a_file_whose_client_goes_away(narrow: Peer, file: int, end: str) -> None:
    exchange = narrow.request(1)
    exchange.start()

    def go() -> None:
        if end == "reset":
            narrow.send(rst_frame(1))
        elif end == "loss":
            narrow.transport.lose()
        else:
            narrow.factory.pass_time(1)
            narrow.factory.pass_time(40)

    with pytest.raises(ClientDisconnected):
        send_file(exchange, file, 0, len(CONTENT), False, meanwhile=go)
    assert exchange.events[-1] == ("lost",)


def test_a_file_for_a_client_that_has_gone(wide: Peer, file: int) -> None:
    exchange = wide.request(1)
    exchange.start()
    wide.send(rst_frame(1))
    for count in (0, 10):
        with pytest.raises(ClientDisconnected):
            send_file(exchange, file, 0, count, False)
    assert wide.take() == []


def test_a_sending_that_is_cancelled_is_not_woken(narrow: Peer, file: int) -> None:
    exchange = narrow.request(1)
    exchange.start()

    async def run() -> None:
        sending = asyncio.ensure_future(exchange.channel.send_file(file, 0, len(CONTENT), False))
        while stream_of(exchange)._resumed is None:
            await asyncio.sleep(0.0005)
        sending.cancel()
        await asyncio.wait({sending})
        narrow.send(window_frame(1, 10**6), window_frame(0, 10**6))
        assert sending.cancelled()

    asyncio.run(run())
    assert body_of(narrow.take()) == CONTENT[:65_536]


# The end


def test_a_refusal_is_a_whole_answer(peer: Peer, exchange: Exchange) -> None:
    exchange.channel.refuse(HTTPStatus.BAD_REQUEST)
    assert peer.take() == [
        head((b"content-type", b"text/plain; charset=utf-8"), length(16), status=400),
        Data(1, b"400 Bad Request\n", True),
    ]
    assert 1 not in peer.connection._streams


def test_a_refusal_of_head_has_no_content(peer: Peer) -> None:
    exchange = peer.request(1, method=b"HEAD")
    exchange.channel.refuse(HTTPStatus.BAD_REQUEST)
    (answer,) = peer.take()
    assert answer.ends
    assert answer.fields[0] == (b":status", b"400")


def test_a_refusal_waits_for_the_window_like_any_answer(narrow: Peer) -> None:
    exchange = narrow.request(1)
    exchange.channel.refuse(HTTPStatus.BAD_REQUEST)
    assert body_of(narrow.take()) == b""
    narrow.send(settings_frame((Setting.INITIAL_WINDOW_SIZE, 100)))
    assert narrow.take() == [SettingsAck(), Data(1, b"400 Bad Request\n", True)]


@pytest.mark.parametrize("when", ["at once", "head", "content that waits"])
def test_an_answer_that_is_cut(narrow: Peer, when: str) -> None:
    exchange = narrow.request(1)
    if when != "at once":
        exchange.start()
        exchange.channel.send_body(b"x" * 100 if when == "content that waits" else b"", True)
    narrow.take()
    exchange.channel.abort()
    exchange.channel.abort()
    assert exchange.events == [("request",)]  # as over TCP, it is told in another turn
    assert narrow.take() == [Reset(1, Code.INTERNAL_ERROR)]
    assert exchange.events == [("request",), ("lost",)]


END: dict[str, Callable[[Peer, Exchange], object]] = {
    "reset": lambda peer, exchange: peer.send(rst_frame(1)),
    "abort": lambda peer, exchange: exchange.channel.abort(),
    "loss": lambda peer, exchange: peer.transport.lose(),
    "fault": lambda peer, exchange: peer.send(window_frame(1, 0)),
    "fault of the connection": lambda peer, exchange: peer.send(window_frame(0, 0)),
}


@pytest.mark.parametrize("end", END)
@pytest.mark.parametrize("when", ["at once", "start", "content that waits"])
def test_behind_its_end_an_exchange_can_say_what_it_likes(narrow: Peer, when: str, end: str) -> None:
    exchange = narrow.request(1, method=b"POST", end=False)
    if when != "at once":
        exchange.start(trailers=True)
    if when == "content that waits":
        exchange.channel.send_body(b"x" * 50_000, True)
    END[end](narrow, exchange)
    narrow.take()
    assert exchange.names == ["request", "lost"]
    channel = exchange.channel
    if when == "at once":
        channel.send_early_hint([b"</a>"])
        channel.send_continue()
        exchange.start(trailers=True)
    for _ in range(10):
        channel.send_body(b"x" * 50_000, True)
    channel.send_body(b"", False)
    channel.send_trailers([(b"a", b"b")], False)
    channel.pause_reading()
    channel.resume_reading()
    channel.abort()
    narrow.factory.turn()
    assert narrow.take() == []
    assert narrow.transport.lost_writes == []
    assert stream_of(exchange).waiting == 0
    assert not channel.is_writing_paused
    assert exchange.names == ["request", "lost"]


def test_a_reset_takes_nothing_from_the_others(peer: Peer) -> None:
    others = [peer.request(stream) for stream in (1, 3, 5)]
    peer.send(rst_frame(3))
    for exchange in (others[0], others[2]):
        exchange.answer()
    assert [each.stream for each in peer.take()] == [1, 1, 5, 5]
    assert others[1].names == ["request", "lost"]


def test_an_application_may_answer_within_its_request(factory: Factory) -> None:
    """asyncio has eager tasks."""
    factory.on_request = lambda exchange: exchange.answer()
    peer = Peer(factory)
    peer.send(request_frame(1))
    assert peer.take() == [head(length(2)), Data(1, b"ok", True)]
    assert not peer.connection._streams


def test_an_application_may_abort_within_its_request(factory: Factory) -> None:
    factory.on_request = lambda exchange: exchange.channel.abort()
    peer = Peer(factory)
    peer.send(request_frame(1), request_frame(3))
    assert peer.take() == [Reset(1, Code.INTERNAL_ERROR), Reset(3, Code.INTERNAL_ERROR)]
    assert [exchange.names for exchange in factory.exchanges] == [["request", "lost"]] * 2
