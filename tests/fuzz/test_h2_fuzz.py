"""Made-up sequences of HTTP/2's frames, good and bad, against the real connection, exchanges and server.

``FUZZ_EXAMPLES=20000 pytest tests/fuzz`` searches for longer, and at random; without it every run is the same one.
"""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections.abc import Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any

from hypothesis import example, given
from hypothesis import strategies as st

from daphne_clone.connection.h2 import H2Connection
from daphne_clone.errors import ApplicationProtocolError
from tests.support.exchanges import Harness
from tests.support.fuzzing import budget
from tests.support.h2_frames import (
    DEFAULT_FRAME_SIZE,
    DEFAULT_WINDOW,
    INCREMENTAL,
    MAX_WINDOW,
    NEVER,
    PREFACE,
    SETTINGS_ACK,
    WITHOUT,
    Setting,
    continuation_frame,
    data_frame,
    dependency,
    field_block,
    frame,
    frames_of,
    goaway_frame,
    headers_frame,
    indexed,
    literal,
    ping_frame,
    priority_frame,
    request_fields,
    rst_frame,
    settings_frame,
    table_size,
    window_frame,
)
from tests.support.peer_in_memory import Data, FrameReader, Goaway, Headers, Reset, Window, websocket_frame
from tests.support.requests import random_splits

if TYPE_CHECKING:
    from tests.support.connections import FileTransport

# What clients say

# An operation, and two numbers that decide on how.
Step = tuple[str, int, int]

GOOD = ["get", "post", "data", "data", "data", "end", "trailers", "window", "all windows", "settings", "ping"]
GOOD += ["priority", "unknown", "websocket", "table"]
BAD = [
    "reset",
    "reset",
    "any",
    "any",
    "fields",
    "late",
    "number",
    "zero",
    "overflow",
    "goaway",
    "length",
    "cut",
    "again",
]

WINDOWS = [DEFAULT_WINDOW, 0, 1, 100, 300_000]
SIZES = [0, 1, 100, 1024, 5_000]
GOOD_FIELDS = [
    [],
    [(b"cookie", b"a=b"), (b"cookie", b"c=d")],
    [(b"x-y", b"z" * 300)],
    [(b"accept", b"*/*"), (b"x_y", b"dropped")],
    [(b"te", b"trailers"), (b"daphne-root-path", b"/r")],
]
BAD_FIELDS = [
    [(b"Upper", b"a")],
    [(b"a", b"b\n")],
    [(b"connection", b"close")],
    [(b":status", b"200")],
    [(b":path", b"/again")],
    [(b"content-length", b"5")],
    [(b"content-length", b"x")],
    [(b"host", b"other")],
    [(b"te", b"gzip")],
    [(b"x", b"y" * 3_000)],
    [(b"x", b"y")] * 30,
]
METHODS = [b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT"]


def steps(operations: list[str], size: int) -> st.SearchStrategy[list[Step]]:
    numbers = st.integers(0, 255)
    return st.lists(st.tuples(st.sampled_from(operations), numbers, numbers), min_size=1, max_size=size)


class Client:
    """Makes a stream of bytes of some steps.

    Attributes:
        window: What streams begin with.
        granted: Octets of content that it takes: by stream, and 0 for all together; never less than that.
        max_frame_size: The largest frame that it may be sent.
        sent: What its DATA takes of the connection's window.
        heads: The streams of requests whose answer has no content.
    """

    def __init__(self, script: list[Step], window: int) -> None:
        self.window = window
        self.granted = {0: DEFAULT_WINDOW}
        self.max_frame_size = DEFAULT_FRAME_SIZE
        self.sent = 0
        self.heads: set[int] = set()
        self._grants = 0
        self._next = 1
        self._open: list[int] = []
        self._sessions: list[int] = []
        self._gone: list[int] = []
        self.frames = [settings_frame((Setting.INITIAL_WINDOW_SIZE, window))]
        for operation, one, two in script:
            self.frames += getattr(self, "_" + operation.replace(" ", "_"))(one, two)

    @property
    def data(self) -> bytes:
        return PREFACE + b"".join(self.frames)

    @property
    def settled(self) -> bytes:
        """The same; in the end all bodies are whole, and everything is taken."""
        ends = [self._data_of(stream, b"", end=True) for stream in self._open]
        return self.data + b"".join(ends) + settings_frame((4, 10**8)) + window_frame(0, 10**8)

    def room(self, stream: int) -> int:
        """No less than the peer's windows ever were."""
        return self.window + self._grants + self.granted.get(stream, 0)

    def _new(self) -> int:
        self._next += 2
        return self._next - 2

    def _some(self, number: int) -> int:
        """A stream that may be known, or not."""
        known = [*self._open, *self._sessions, *self._gone, self._next, 0, 2]
        return known[number % len(known)]

    def _fields(self, one: int, two: int, *more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        method = METHODS[one % len(METHODS)]
        return request_fields(b"/%d?q" % two, [*GOOD_FIELDS[two % len(GOOD_FIELDS)], *more], method=method)

    def _get(self, one: int, two: int) -> list[bytes]:
        stream = self._new()
        self._gone.append(stream)
        if METHODS[one % len(METHODS)] == b"HEAD":
            self.heads.add(stream)
        block = field_block(self._fields(one, two))
        if one % 3 == 0:
            return [
                headers_frame(stream, block[:10], whole=False, padding=two % 4),
                continuation_frame(stream, block[10:20], whole=False),
                continuation_frame(stream, block[20:]),
            ]
        return [headers_frame(stream, block, padding=5 if one % 3 == 1 else None, priority=dependency(two))]

    def _post(self, one: int, two: int) -> list[bytes]:
        stream = self._new()
        self._open.append(stream)
        if METHODS[one % len(METHODS)] == b"HEAD":
            self.heads.add(stream)
        more = [(b"expect", b"100-continue")] if two % 3 == 0 else []
        return [headers_frame(stream, field_block(self._fields(one, two, *more)), end=False)]

    def _websocket(self, one: int, two: int) -> list[bytes]:
        stream = self._new()
        self._sessions.append(stream)
        return [websocket_frame(stream)]

    def _data_of(self, stream: int, payload: bytes, *, end: bool, padding: int | None = None) -> bytes:
        data = data_frame(stream, payload, end=end, padding=padding)
        self.sent += len(data) - 9
        return data

    def _data(self, one: int, two: int) -> list[bytes]:
        able = [*self._open, *self._sessions]
        if not able:
            return []
        stream = able[one % len(able)]
        payload = bytes([two]) * SIZES[two % len(SIZES)]
        if stream in self._sessions:
            payload = b"\x81\x83\0\0\0\0abc" * (two % 9)
        return [self._data_of(stream, payload, end=False, padding=two if one % 4 == 0 else None)]

    def _end(self, one: int, two: int) -> list[bytes]:
        if not self._open:
            return []
        stream = self._open.pop(one % len(self._open))
        self._gone.append(stream)
        return [self._data_of(stream, b"x" * (two % 3), end=True, padding=two if one % 4 == 0 else None)]

    def _trailers(self, one: int, two: int) -> list[bytes]:
        if not self._open:
            return []
        stream = self._open.pop(one % len(self._open))
        self._gone.append(stream)
        return [headers_frame(stream, field_block([(b"x-trailer", b"%d" % two)]))]

    def _window(self, one: int, two: int) -> list[bytes]:
        known = [*self._open, *self._sessions, *self._gone]
        if not known:
            return []
        stream = known[one % len(known)]
        size = 1 + two * 50
        self.granted[stream] = self.granted.get(stream, 0) + size
        return [window_frame(stream, size)]

    def _all_windows(self, one: int, two: int) -> list[bytes]:
        self.granted[0] += 1 + one * two
        return [window_frame(0, 1 + one * two)]

    def _settings(self, one: int, two: int) -> list[bytes]:
        window = WINDOWS[one % len(WINDOWS)]
        self._grants += window
        size = DEFAULT_FRAME_SIZE + two * 50
        self.max_frame_size = max(self.max_frame_size, size)
        pairs = [(Setting.INITIAL_WINDOW_SIZE, window), (Setting.MAX_FRAME_SIZE, size), (99, two)]
        return [settings_frame(*pairs[: 1 + two % 3]), SETTINGS_ACK]

    def _table(self, one: int, two: int) -> list[bytes]:
        """A request by way of the dynamic table."""
        stream = self._new()
        self._gone.append(stream)
        form = (INCREMENTAL, WITHOUT, NEVER)[one % 3]
        block = table_size(two * 10) if one % 5 == 0 else b""
        block += field_block(request_fields(b"/table")) + literal(b"x-table", b"%d" % two, form)
        if one % 7 == 0:
            block += indexed(62)  # there may be nothing there
        return [headers_frame(stream, block)]

    def _ping(self, one: int, two: int) -> list[bytes]:
        return [ping_frame(bytes([one, two] * 4), ack=one % 4 == 0)]

    def _priority(self, one: int, two: int) -> list[bytes]:
        return [priority_frame(2 * one + 1, two)]

    def _unknown(self, one: int, two: int) -> list[bytes]:
        return [frame(0x0A + one % 200, two, 2 * (two % 3), bytes(one))]

    # Where this begins, anything may be the answer

    def _reset(self, one: int, two: int) -> list[bytes]:
        return [rst_frame(self._some(one), two)]

    def _any(self, one: int, two: int) -> list[bytes]:
        payload = [
            b"",
            b"\0",
            bytes(4),
            b"\0\0\0\1",
            bytes(5),
            bytes(8),
            bytes(12),
            b"\x82\x86\x84\x41\x01a",
            b"\xff" * 9,
        ]
        return [frame(one % 11, two, self._some(one // 11), payload[(one + two) % len(payload)])]

    def _fields_of(self, one: int) -> list[tuple[bytes, bytes]]:
        return request_fields(b"/", BAD_FIELDS[one % len(BAD_FIELDS)])

    def _late(self, one: int, two: int) -> list[bytes]:
        stream = self._some(one)
        if METHODS[one % len(METHODS)] == b"HEAD":
            self.heads.add(stream)
        return [headers_frame(stream, field_block(self._fields(one, two)), end=two % 2 == 0)]

    def _hang_up(self, one: int, two: int) -> list[bytes]:
        """End a session, as TCP's FIN would: what it has not answered by then is not answered."""
        if not self._sessions:
            return []
        stream = self._sessions.pop(one % len(self._sessions))
        self._gone.append(stream)
        return [self._data_of(stream, b"\x81\x83\0\0\0\0abc" * (two % 3), end=True)]

    def _number(self, one: int, two: int) -> list[bytes]:
        return [headers_frame(self._next + one % 5, field_block(request_fields()))]

    def _zero(self, one: int, two: int) -> list[bytes]:
        return [window_frame(self._some(one), 0)]

    def _overflow(self, one: int, two: int) -> list[bytes]:
        stream = self._some(one)
        self.granted[stream] = self.granted.get(stream, 0) + MAX_WINDOW
        return [window_frame(stream, MAX_WINDOW)]

    def _goaway(self, one: int, two: int) -> list[bytes]:
        return [goaway_frame(one, two, b"debug")]

    def _length(self, one: int, two: int) -> list[bytes]:
        stream = self._new()
        self._open.append(stream)
        fields = request_fields(b"/", [(b"content-length", b"%d" % (two % 9))], method=b"POST")
        return [headers_frame(stream, field_block(fields), end=False)]

    def _cut(self, one: int, two: int) -> list[bytes]:
        """Some octets are missing: what comes behind is taken for something else."""
        last = self.frames.pop() if self.frames else b""
        at = one % (len(last) + 1)
        return [last[:at] + last[at + 1 + two % 3 :]]

    def _again(self, one: int, two: int) -> list[bytes]:
        return self.frames[one % len(self.frames) :][:1]


# Malformed fields are requests of their own.
Client._fields_bad = lambda self, one, two: [  # type: ignore[attr-defined]
    headers_frame(self._new(), field_block(self._fields_of(one)), end=two % 2 == 0)
]
BAD[BAD.index("fields")] = "fields bad"


# What applications do


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Read all of the body and tell what came, in two parts; or echo a WebSocket."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "headers": [(b"x-ws", b"1")]})
        while (message := await receive())["type"] == "websocket.receive":
            with contextlib.suppress(OSError):
                await send({"type": "websocket.send", "text": message["text"]})
        return
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    told = repr((scope["method"], scope["raw_path"], scope["headers"], scope["root_path"], body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"x/y")]})
    await send({"type": "http.response.body", "body": told[:50], "more_body": True})
    await send({"type": "http.response.body", "body": told[50:]})


async def early(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close"})
        return
    await send({"type": "http.response.early_hint", "links": [b"</style.css>"]})
    await send({"type": "http.response.start", "status": 200, "headers": [[b"content-length", b"2"]]})
    await send({"type": "http.response.body", "body": b"ok"})


async def large(scope: Any, receive: Any, send: Any) -> None:
    """More than windows take, with trailers behind it."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        for size in (0, 10, 70_000):
            await send({"type": "websocket.send", "bytes": bytes(size)})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
    for size in (1, 2, 20_000, 0, 100_000):
        await send({"type": "http.response.body", "body": bytes(size), "more_body": True})
    await send({"type": "http.response.body", "body": b"end"})
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]})


async def streaming(scope: Any, receive: Any, send: Any) -> None:
    """Answer while the body comes, piece by piece; deny a WebSocket with a response."""
    kind = "websocket.http" if scope["type"] == "websocket" else "http"
    await send({"type": kind + ".response.start", "status": 403, "headers": []})
    if kind == "websocket.http":
        await send({"type": kind + ".response.body", "body": b"no", "more_body": True})
        await send({"type": kind + ".response.body", "body": b"!"})
        return
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        await send({"type": "http.response.body", "body": message["body"], "more_body": message["more_body"]})


async def broken(scope: Any, receive: Any, send: Any) -> None:
    """Promise more than there is, take the error for nothing, and wait for the end."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        raise RuntimeError("secret")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
    with contextlib.suppress(ApplicationProtocolError):
        await send({"type": "http.response.body", "body": b"short"})
    with contextlib.suppress(OSError):
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
    while (await receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
        pass


async def raising(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    raise RuntimeError("secret")


async def silent(scope: Any, receive: Any, send: Any) -> None:
    return


APPLICATIONS: dict[str, Any] = {
    "echo": echo,
    "early": early,
    "large": large,
    "streaming": streaming,
    "broken": broken,
    "raising": raising,
    "silent": silent,
}


# asyncio's eager tasks, which are newer than the oldest Python that is served


@types.coroutine
def _rest_of(running: Coroutine[Any, Any, None], waited: Any) -> Any:
    """Go on with a coroutine that has begun, and waits."""
    while True:
        try:
            try:
                result = yield waited
            except BaseException as error:  # it is passed on
                waited = running.throw(error)
            else:
                waited = running.send(result)
        except StopIteration:
            return


def create_eager_task(
    running: Coroutine[Any, Any, None], *, loop: asyncio.AbstractEventLoop, context: Context, name: str
) -> asyncio.Task[None]:
    """Run a coroutine up to its first wait, and the rest as a task."""
    try:
        waited = context.run(running.send, None)
    except StopIteration:
        return loop.create_task(asyncio.sleep(0))
    return loop.create_task(_rest_of(running, waited), context=context, name=name)


# What must hold


class Written:
    """What a connection has written, held against what every client expects.

    Attributes:
        answers: By stream: fields, content, trailers, whether it has ended.
        goaways: Of the connection.
    """

    def __init__(self, data: bytes, client: Client) -> None:
        self.answers: dict[int, list[Any]] = {}
        self.goaways: list[Goaway] = []
        self.resets: set[int] = set()
        self.credit = DEFAULT_WINDOW
        for kind, _, _, payload in frames_of(data):
            assert len(payload) <= client.max_frame_size, f"a frame of type {kind} over the peer's limit"
        reader = FrameReader()
        content: dict[int, int] = {}
        for value in reader.read(data):
            assert not self.goaways or not self.goaways[-1].code, "something behind the last GOAWAY"
            if isinstance(value, Goaway):
                self.goaways.append(value)
            elif isinstance(value, Window):
                assert value.increment > 0
                if not value.stream:
                    self.credit += value.increment
            elif isinstance(value, Reset):
                self.resets.add(value.stream)
            elif isinstance(value, Headers):
                self._headers(value)
            elif isinstance(value, Data):
                answer = self.answers[value.stream]
                assert not answer[3] and answer[2] is None and value.stream not in self.resets
                answer[1] += value.data
                answer[3] = value.ends
                content[value.stream] = content.get(value.stream, 0) + len(value.data)
        assert reader.is_between_frames
        assert sum(content.values()) <= client.granted[0]
        for stream, size in content.items():
            assert size <= client.room(stream)
        for stream, (fields, body, _, has_ended) in self.answers.items():
            announced = dict(fields).get(b"content-length")
            if announced is not None and has_ended and (body or stream not in client.heads):
                assert len(body) == int(announced)

    def _headers(self, value: Headers) -> None:
        assert value.stream not in self.resets
        answer = self.answers.get(value.stream)
        if answer is not None:
            assert not answer[3] and answer[2] is None and value.ends, "a head behind a head"
            answer[2:] = [value.fields, True]
        elif len(value.fields[0][1]) == 3 and value.fields[0][1].startswith(b"1"):
            assert not value.ends  # an interim response
        else:
            assert value.fields[0][0] == b":status"
            self.answers[value.stream] = [value.fields, b"", None, value.ends]


def check_windows(connection: Any) -> None:
    """Every octet of both windows has been given back, is about to be, or is held."""
    if not isinstance(connection, H2Connection) or connection._is_lingering:
        return
    held = 0
    for stream in connection._streams.values():
        body = stream._body
        if body is not None:
            held += len(body._held)
            if not body.has_ended:
                assert body._window + body._uncredited + len(body._held) == connection.options.stream_window
        assert (stream.waiting > 0) == bool(stream._content)
        assert stream.waiting == sum(map(len, stream._content or ()))
    assert connection._receive_window + connection._uncredited + held == connection.options.connection_window


def new_harness(kind: str, loop: asyncio.AbstractEventLoop, *, eager: bool = False) -> Harness:
    harness = Harness(
        APPLICATIONS[kind],
        loop,
        http2=True,
        limit_request_fields=20,
        limit_request_head=2_500,
        limit_request_body=60_000,
    )
    if eager:
        harness.server._create_task = create_eager_task  # type: ignore[assignment]
    return harness


async def converse(harness: Harness, client: Client, pieces: list[bytes], turns: int) -> FileTransport:
    """Feed a connection until it waits or ends."""
    transport = harness.connect()
    await harness.deliver(transport, pieces, turns)
    await harness.settle(transport)
    check_windows(transport.protocol)
    assert not harness.failures, harness.failures
    return transport


async def end(harness: Harness, transport: FileTransport) -> None:
    """Let all time pass: connections end, the sessions on their streams too, and nothing is left."""
    clock = harness.server.clock
    for _ in range(12):
        if transport.is_lost:
            break
        clock.tick(clock.now + 100_000)
        clock.tick(clock.now)
        for connection in list(harness.factory.connections):
            connection.check_deadlines()
        await harness.settle(transport)
    assert transport.is_lost, "no deadline has ended the connection"
    assert not harness.factory.connections
    assert not harness.server.connections, "an application runs on behind its connection"
    assert not harness.failures, harness.failures


ALL = st.sampled_from(WINDOWS)


class TestFrames:
    @budget(150)
    @given(
        script=steps(GOOD + BAD, 16), window=ALL, seed=st.integers(0, 2**16), kind=st.sampled_from(list(APPLICATIONS))
    )
    @example(script=[("post", 1, 1), ("data", 0, 4), ("again", 1, 0), ("end", 0, 0)], window=0, seed=1, kind="echo")
    def test_what_is_written_does_not_depend_on_the_split(
        self, loop: asyncio.AbstractEventLoop, script: list[Step], window: int, seed: int, kind: str
    ) -> None:
        client = Client(script, window)
        ways = [[client.data], *random_splits(client.data, 2, seed)]
        if len(client.data) < 1500:
            ways.append([client.data[at : at + 1] for at in range(len(client.data))])
        found = []
        for pieces in ways:
            harness = new_harness(kind, loop)
            transport = loop.run_until_complete(converse(harness, client, pieces, 0))
            found.append((transport.data, transport.is_open))
            loop.run_until_complete(end(harness, transport))
            Written(transport.data, client)
        assert found == [found[0]] * len(found)

    @budget(100)
    @given(script=steps(GOOD, 20), window=ALL, seed=st.integers(0, 2**16), kind=st.sampled_from(list(APPLICATIONS)))
    def test_each_request_has_its_answer_whatever_the_time(
        self, loop: asyncio.AbstractEventLoop, script: list[Step], window: int, seed: int, kind: str
    ) -> None:
        """And when all is said, the client has all of the window that it has not used."""
        client = Client([step for step in script if step[0] != "table" or step[1] % 7], window)
        data = client.settled
        client.granted[0] += 10**8
        client.granted.update(dict.fromkeys(range(1, 100, 2), 10**8))
        first = None
        ways = [[data], *random_splits(data, 2, seed)]
        for turns, pieces in enumerate(ways):
            for eager in (False, True):
                harness = new_harness(kind, loop, eager=eager)
                transport = loop.run_until_complete(converse(harness, client, pieces, turns))
                written = Written(transport.data, client)
                if transport.is_open:
                    assert written.credit - client.sent == transport.protocol._receive_window
                loop.run_until_complete(end(harness, transport))
                # Whether a response is made of one part or of two, and so has a length, depends on time.
                answers = {
                    stream: [[field for field in fields if field[0] != b"content-length"], content, trailers]
                    for stream, (fields, content, trailers, _) in written.answers.items()
                }
                if first is None:
                    first = answers
                assert answers == first

    @budget(150)
    @given(
        script=steps(GOOD + BAD, 16),
        window=ALL,
        seed=st.integers(0, 2**16),
        ending=st.sampled_from(["eof", "lost", "stop", "abort", "full"]),
        turns=st.integers(0, 3),
        kind=st.sampled_from(list(APPLICATIONS)),
        eager=st.booleans(),
    )
    def test_any_end_at_any_time_leaves_nothing_behind(
        self,
        loop: asyncio.AbstractEventLoop,
        script: list[Step],
        window: int,
        seed: int,
        ending: str,
        turns: int,
        kind: str,
        eager: bool,
    ) -> None:
        client = Client(script, window)
        harness = new_harness(kind, loop, eager=eager)

        async def scenario() -> None:
            transport = harness.connect()
            (pieces,) = random_splits(client.data, 1, seed)
            half = len(pieces) // 2
            await harness.deliver(transport, pieces[:half], turns)
            if ending == "full" and transport.is_open:
                transport.producer.pauseProducing()
            await harness.deliver(transport, pieces[half:], turns)
            check_windows(transport.protocol)
            if ending == "full" and transport.is_open:
                await harness.settle(transport)
                transport.producer.resumeProducing()
            elif ending == "stop":
                transport.protocol.shutdown_started()
            elif ending == "abort":
                transport.protocol.abort()
            elif ending == "eof":
                transport.protocol.readConnectionLost()
            elif not transport.is_lost:
                transport.lose()
            await harness.settle(transport)
            check_windows(transport.protocol)
            Written(transport.data, client)
            await end(harness, transport)

        loop.run_until_complete(scenario())
