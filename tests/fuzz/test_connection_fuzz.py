"""Made-up byte streams and made-up applications against the real connection, exchange and server.

``FUZZ_EXAMPLES=20000 pytest tests/fuzz`` searches for longer, and at random; without it every run is the same one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import h11
import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daphne_clone.errors import ApplicationProtocolError
from tests.support.exchanges import Harness
from tests.support.fuzzing import budget
from tests.support.requests import Request, load_cases, parse, random_splits

if TYPE_CHECKING:
    from tests.support.connections import FileTransport

# Streams of requests

METHODS = [b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"CONNECT", b"get", b"M-SEARCH", b"X!"]
TARGETS = [
    b"/",
    b"/a/b?c=d",
    b"/%C3%A9%ff?",
    b"*",
    b"http://b/p?q",
    b"//x",
    b"a:443",
    b"/#",
    b"/\xc3\xa9",
    b"http://u@b/",
    b"",
]
VERSIONS = [b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 "]
FIELDS = [
    b"Host: a",
    b"Host: b:80",
    b"host:",
    b"Host: a b",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Connection: keep-alive, Upgrade",
    b"Upgrade: websocket",
    b"Expect: 100-continue",
    b"TE: trailers",
    b"Content-Length: 0",
    b"Content-Length: 5",
    b"content-length: 05",
    b"Content-Length: +5",
    b"Content-Length: 5, 5",
    b"Content-Length: 70000",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding:\x0bchunked",
    b"Transfer_Encoding: chunked",
    b"X-Y: \xc3\xa9\x85",
    b"X_Y: dropped",
    b"X : y",
    b" folded",
    b"X: a\x00b",
    b"X: a\rb",
    b"X: " + b"y" * 300,
    b"Daphne-Root-Path: /r",
    b"Cookie: a=b",
    b"no colon",
    b": empty",
]
BODIES = [
    b"",
    b"hello",
    b"hel",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5;e=1\r\nhello\r\n1\r\nx\r\n0\r\nT: 1\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello!\r\n0\r\n\r\n",
    b"5\nhello\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\n",
    b"0\r\nHost: x\r\nbad trailer\r\n\r\n",
    b"\r\n",
    b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
]
LINE_ENDS = [b"\r\n"] * 12 + [b"\n", b"\r\r\n", b"\r"]
NOISE = [b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"\0", b"\x0b", b"_", b"\x80", b"0", b";", b"a", b"\r\n\r\n"]

GOOD_FIELDS = st.lists(
    st.sampled_from(
        [b"X-Y: z", b"Cookie: a=b", b"TE: trailers", b"Accept: */*", b"X_Y: dropped", b"Daphne-Root-Path: /r"]
    ),
    max_size=3,
)


@st.composite
def good_requests(draw: Any) -> bytes:
    """A request as it should be, with a body in either framing."""
    method, target = draw(st.sampled_from(METHODS[:6])), draw(st.sampled_from(TARGETS[:3]))
    fields = [b"Host: a", *draw(GOOD_FIELDS)]
    body = draw(st.sampled_from([b"", b"", b"hello", b"x" * 3000]))
    coding = draw(st.sampled_from(["length", "chunks"]))
    if coding == "chunks":
        fields.append(b"Transfer-Encoding: chunked")
        half = len(body) // 2
        parts = [part for part in (body[:half], body[half:]) if part]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    elif body:
        fields.append(b"Content-Length: %d" % len(body))
    if body and draw(st.booleans()):
        fields.append(b"Expect: 100-continue")
    return b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), *fields, b"", body])


@st.composite
def odd_requests(draw: Any) -> bytes:
    """Parts that belong together, or do not."""
    words = [draw(st.sampled_from(pool)) for pool in (METHODS, TARGETS, VERSIONS)]
    fields = draw(st.lists(st.sampled_from(FIELDS), max_size=4))
    ends = draw(st.sampled_from(LINE_ENDS))
    head = b"".join(line + b"\r\n" for line in [b" ".join(words), b"Host: a", *fields][: draw(st.integers(1, 6))])
    return head + ends + draw(st.sampled_from(BODIES))


@st.composite
def streams(draw: Any, mutated: bool = True) -> bytes:
    """A pipeline of requests, most of them as they should be, with some bytes changed."""
    data = b"".join(draw(st.lists(st.one_of(good_requests(), good_requests(), odd_requests()), min_size=1, max_size=4)))
    if mutated:
        for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
            at = draw(st.integers(0, len(data)))
            noise = draw(st.sampled_from(NOISE))
            cut = draw(st.sampled_from([0, 0, 1, 2, 40]))
            data = data[:at] + noise + data[at + cut :]
        if draw(st.integers(0, 5)) == 0:
            data = data[: draw(st.integers(0, len(data)))]
    return data


def report(scope: dict[str, Any], body: bytes) -> bytes:
    """What an application was asked, in bytes that look like nothing of HTTP."""
    parts = {name: scope[name] for name in ("method", "path", "raw_path", "query_string", "http_version", "root_path")}
    return json.dumps([parts, scope["headers"], body], default=lambda value: value.hex()).encode() + b"\n"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Read all of the body and tell what came."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"x/y")]})
    answer = report(scope, body)
    await send({"type": "http.response.body", "body": answer[:50], "more_body": True})
    await send({"type": "http.response.body", "body": answer[50:]})


async def exchange_all(harness: Harness, pieces: list[bytes], turns: int) -> tuple[bytes, bool]:
    """Feed a connection until it waits or ends; returns what it wrote (less 100s) and whether it is still open."""
    transport = harness.connect()
    await harness.deliver(transport, pieces, turns)
    await harness.settle(transport)
    # A 100 is for who waits: whether it is sent depends on what has come by then, and must.
    written, is_open = transport.data.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b""), transport.is_open
    await harness.end_by_deadlines(transport)
    ending = transport.data.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")[len(written) :]
    assert ending == b"" or (is_open and ending.startswith(b"HTTP/1.1 408 "))
    assert not harness.factory.connections
    assert not harness.failures, harness.failures
    return written, is_open


def check_responses(written: bytes) -> None:
    """Hold what was written against a parser that is not ours."""
    while written:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
        client.send(h11.EndOfMessage())
        client.receive_data(written)
        client.receive_data(b"")
        while type(client.next_event()) is not h11.EndOfMessage:
            pass
        written, _ = client.trailing_data


class TestStreams:
    @budget(350)
    @given(data=streams(), seed=st.integers(0, 2**16))
    @example(data=b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3 + b"GET", seed=1)
    @example(
        data=b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000 + b"BROKEN\r\n\r\n", seed=2
    )
    def test_answers_do_not_depend_on_the_split(self, loop: asyncio.AbstractEventLoop, data: bytes, seed: int) -> None:
        harness = Harness(echo, loop, limit_request_fields=20, limit_request_head=2000, limit_request_line=200)
        ways = [([data], 0), *((pieces, turns) for turns, pieces in enumerate(random_splits(data, 3, seed)))]
        if len(data) < 2000:
            ways.append(([data[at : at + 1] for at in range(len(data))], seed % 3))
        first = loop.run_until_complete(exchange_all(harness, *ways[0]))
        for pieces, turns in ways[1:]:
            assert loop.run_until_complete(exchange_all(harness, pieces, turns)) == first, pieces
        # With nothing kept from before, the same.
        harness.forget()
        assert loop.run_until_complete(exchange_all(harness, *ways[0])) == first

    @pytest.mark.parametrize("kind", ["valid", "invalid"])
    def test_the_wire_cases_end_too(self, loop: asyncio.AbstractEventLoop, kind: str) -> None:
        harness = Harness(echo, loop)
        for case in load_cases(kind):
            one = loop.run_until_complete(exchange_all(harness, [case.data], 0))
            if kind == "invalid" and case.limits == harness.factory.limits:
                assert f"HTTP/1.1 {case.status} ".encode() in one[0]
                assert not one[1]
            for pieces in random_splits(case.data, 2):
                assert loop.run_until_complete(exchange_all(harness, pieces, 1)) == one

    @budget(150)
    @given(
        data=streams(),
        seed=st.integers(0, 2**16),
        end=st.sampled_from(["eof", "lost", "stop"]),
        turns=st.integers(0, 3),
        kind=st.sampled_from(["echo", "early", "raising", "called", "silent", "streaming", "many"]),
    )
    def test_any_end_at_any_time_leaves_nothing_behind(
        self, loop: asyncio.AbstractEventLoop, data: bytes, seed: int, end: str, turns: int, kind: str
    ) -> None:
        harness = Harness(APPLICATIONS[kind], loop)
        if kind == "many":
            harness.server.limit_concurrency = 0

        async def scenario() -> None:
            transport = harness.connect()
            (pieces,) = random_splits(data, 1, seed)
            await harness.deliver(transport, pieces, turns)
            if end == "stop":
                transport.protocol.shutdown_started()
            elif end == "lost" or transport.is_aborted or transport.is_closed:
                if not transport.is_lost:
                    transport.lose()
            else:
                transport.protocol.readConnectionLost()
            await harness.settle(transport)
            if not transport.is_lost:
                await harness.end_by_deadlines(transport)
            await harness.settle(transport)
            assert not harness.factory.connections
            assert not harness.server.connections, "an application runs on behind its connection"
            assert not harness.failures, harness.failures

        loop.run_until_complete(scenario())

    @budget(150)
    @given(
        data=streams(mutated=False),
        seed=st.integers(0, 2**16),
        kind=st.sampled_from(["early", "raising", "called", "silent", "many"]),
    )
    def test_applications_that_do_not_read_get_their_answers_out(
        self, loop: asyncio.AbstractEventLoop, data: bytes, seed: int, kind: str
    ) -> None:
        """What becomes of the connection may depend on time here; that the answers are whole, and in order, may not."""
        harness = Harness(APPLICATIONS[kind], loop)
        if kind == "many":
            harness.server.limit_concurrency = 0

        async def scenario(pieces: list[bytes], turns: int) -> None:
            transport = harness.connect()
            await harness.deliver(transport, pieces, turns)
            await harness.settle(transport)
            answers = transport.data
            assert transport.lost_writes == []
            await harness.end_by_deadlines(transport)
            expected = parse([data]).requests
            assert answers.count(b"HTTP/1.1 ") <= len(expected) + 1
            for request in expected:
                if request.head.method == "HEAD":
                    return
            check_responses(answers)

        for turns, pieces in enumerate([[data], *random_splits(data, 2, seed)]):
            loop.run_until_complete(scenario(pieces, turns))


async def early(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [[b"content-length", b"2"]]})
    await send({"type": "http.response.body", "body": b"ok"})


async def raising(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("secret")


def called(scope: Any, receive: Any, send: Any) -> Any:
    raise RuntimeError("secret")


async def silent(scope: Any, receive: Any, send: Any) -> None:
    return


async def streaming(scope: Any, receive: Any, send: Any) -> None:
    """Answer while the body comes, piece by piece."""
    await send({"type": "http.response.start", "status": 200})
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        await send({"type": "http.response.body", "body": message["body"], "more_body": message["more_body"]})


APPLICATIONS: dict[str, Any] = {
    "echo": echo,
    "early": early,
    "raising": raising,
    "called": called,
    "silent": silent,
    "streaming": streaming,
    "many": echo,
}


# What we accept, others accept, and take for the same
#
# Deliberate differences, each of which we take and another refuses, or the other way round within what we take:
#   - h11 refuses empty lines before a request (RFC 9112 section 2.2 asks to ignore at least one);
#   - h11 keeps one of two equal Content-Lengths, we keep both;
#   - h11 and llhttp know no HTTP/1.2 (RFC 9110 section 2.5: it is served as 1.1);
#   - llhttp knows a list of methods only, and no tab behind "chunked" (RFC 9110 section 5.6.3: optional white space);
#   - we drop names with "_" (CVE-2015-0219) and Daphne-Root-Path, and replace Host by an absolute form's authority;
#   - after Connection: close, the others refuse what follows; we ignore it. So the comparison ends there.
#   - an Upgrade that Connection names makes llhttp hand over; we serve it as a request.


def h11_requests(data: bytes, count: int) -> list[tuple[Any, ...]]:
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=10**6)
    server.receive_data(data)
    found = []
    for _ in range(count):
        request = server.next_event()
        assert type(request) is h11.Request, request
        body = b""
        while type(event := server.next_event()) is h11.Data:
            body += bytes(event.data)
        assert type(event) is h11.EndOfMessage
        found.append((request.method, request.target, list(request.headers), body))
        if server.our_state is h11.SEND_BODY or server.our_state is h11.SEND_RESPONSE:
            server.send(h11.Response(status_code=204, headers=[]))
            server.send(h11.EndOfMessage())
        if server.our_state is h11.MUST_CLOSE:
            break
        server.start_next_cycle()
    return found


TAB_AFTER_CODING = re.compile(rb"(?i)transfer-encoding:[^\r\n]*\t\r\n")
LLHTTP_METHODS = {method.decode() for method in METHODS} - {"get", "X!"}


class Llhttp:
    def __init__(self) -> None:
        self.found: list[tuple[Any, ...]] = []
        self.target = self.body = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_trailer = False
        self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self.target = self.body = b""
        self.headers = []
        self.is_trailer = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.is_trailer:
            self.headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.is_trailer = True

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.found.append((self.parser.get_method(), self.target, self.headers, self.body))


def as_seen_by_others(request: Request, target: bytes) -> bool:
    """Tell whether our path and query are those of the target."""
    head = request.head
    ours = head.raw_path + (b"?" + head.query_string if b"?" in target else b"")
    return target == ours or (target[:4].lower() == b"http" and target.endswith(ours.lstrip(b"/")))


def without_repeats(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return list(dict.fromkeys(fields))


def compare(ours: list[Request], theirs: list[tuple[Any, ...]]) -> None:
    assert len(ours) == len(theirs)
    for request, (method, target, fields, body) in zip(ours, theirs, strict=True):
        assert request.head.method.encode() == method
        assert as_seen_by_others(request, target)
        kept = [(name, value) for name, value in fields if b"_" not in name and name != b"daphne-root-path"]
        lengths = [field for field in request.head.headers if field[0] == b"content-length"]
        if len(lengths) > 1:
            assert len(set(lengths)) == 1
            request.head.headers[:] = without_repeats(request.head.headers)
            kept = without_repeats(kept)
        if target[:4].lower() == b"http":
            assert request.head.headers[1:] == [field for field in kept if field[0] != b"host"]
            assert request.head.headers[0][0] == b"host"
        else:
            assert request.head.headers == kept
        assert request.body == body


def whole_requests(data: bytes) -> list[Request]:
    """Those that we take from the data, up to the first that closes."""
    found = []
    for request in parse([data]).requests:
        if not request.ended:
            break
        found.append(request)
        if not request.head.keep_alive:
            break
    return found


@contextlib.contextmanager
def accepting_empty_lines() -> Iterator[None]:
    """Pass where h11 fails on an empty line before a request."""
    try:
        yield
    except h11.RemoteProtocolError as error:
        if str(error) != "no request line received":
            raise


class TestDifferential:
    @budget(700)
    @given(data=streams())
    @example(data=b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\nA: b\r\n\r\n")
    def test_h11_takes_what_we_take_for_the_same(self, data: bytes) -> None:
        ours = whole_requests(data)
        if not ours or b"HTTP/1.2" in data:
            return
        with accepting_empty_lines():
            compare(ours, h11_requests(data, len(ours)))

    @budget(700)
    @given(data=streams())
    def test_llhttp_takes_what_we_take_for_the_same(self, data: bytes) -> None:
        ours = whole_requests(data)
        if not ours or any(request.head.upgrade for request in ours) or b"HTTP/1.2" in data:
            return
        if any(request.head.method not in LLHTTP_METHODS for request in ours) or TAB_AFTER_CODING.search(data):
            return
        other = Llhttp()
        # An error is of something behind what we have taken, or else there is too little to compare with.
        with contextlib.suppress(httptools.HttpParserError, httptools.HttpParserUpgrade):
            other.parser.feed_data(data)
        compare(ours, other.found[: len(ours)])


# Applications that send anything

FILE_SIZE = 1000
HEADER_SETS = [
    [],
    [(b"content-length", b"5")],
    [(b"Content-Length", b"0")],
    [(b"content-length", b"10")],
    [(b"content-length", b"5"), (b"content-length", b"5")],
    [(b"content-length", b"-1")],
    [(b"Transfer-Encoding", b"chunked")],
    [(b"transfer-encoding", b"gzip"), (b"content-length", b"5")],
    [(b"Connection", b"close")],
    [(b"Connection", b"keep-alive"), (b"Keep-Alive", b"timeout=9")],
    [[b"x", b"y"], [b"Set-Cookie", b"a=b"]],
    [(b"x", b"a\r\ncontent-length: 3")],
    [(b"x y", b"a")],
    [("x", "y")],
    [(b"trailer", b"t")],
]
START_MESSAGES = st.fixed_dictionaries(
    {
        "type": st.just("http.response.start"),
        "status": st.sampled_from([200, 200, 200, 204, 304, 404, 299, 100, 205]),
        "headers": st.sampled_from(HEADER_SETS),
        "trailers": st.sampled_from([False, False, True]),
    }
)
BODY_MESSAGES = st.fixed_dictionaries(
    {
        "type": st.just("http.response.body"),
        "body": st.sampled_from(
            [b"", b"", b"hello", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10, b"y" * 70_000, "text"]
        ),
        "more_body": st.sampled_from([True, True, True, False, 1]),
    }
)
TRAILER_MESSAGES = st.fixed_dictionaries(
    {
        "type": st.just("http.response.trailers"),
        "headers": st.sampled_from([[], [(b"t", b"1")], [[b"t", b"1"], (b"U", b"2")], [(b"t", b"\r\n\r\n")]]),
        "more_trailers": st.sampled_from([False, False, True]),
    }
)
FILE_MESSAGES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["http.response.zerocopysend", "http.response.zerocopysend", "http.response.pathsend"]),
        "offset": st.sampled_from([None, 0, 3, FILE_SIZE, FILE_SIZE + 5]),
        "count": st.sampled_from([None, 0, 5, 5, FILE_SIZE]),
        "more_body": st.sampled_from([True, True, False]),
    }
)
HINT_MESSAGES = st.fixed_dictionaries(
    {"type": st.just("http.response.early_hint"), "links": st.sampled_from([[b"</a>"], [], [b"\r\n"], b"x"])}
)
ODD_MESSAGES = st.sampled_from([{}, {"type": "websocket.accept"}, None, "receive", "sleep"])

MESSAGES = st.tuples(
    st.lists(st.one_of(HINT_MESSAGES, ODD_MESSAGES), max_size=1),
    st.lists(START_MESSAGES, min_size=0, max_size=2),
    st.lists(
        st.one_of(BODY_MESSAGES, BODY_MESSAGES, FILE_MESSAGES, TRAILER_MESSAGES, HINT_MESSAGES, ODD_MESSAGES),
        max_size=5,
    ),
    st.lists(st.one_of(BODY_MESSAGES, TRAILER_MESSAGES), max_size=2),
).map(lambda parts: [message for part in parts for message in part])

REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
]
SECOND = b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n"


class Play:
    """An application that sends a list of messages, and knows what of them was taken."""

    def __init__(self, messages: list[Any], *, catches: bool, raises: bool, path: str) -> None:
        self.messages, self.catches, self.raises, self.path = messages, catches, raises, path
        self.body = b""
        self.partial = b""  # of a file that could not be sent whole
        self.is_complete = False
        self.is_second_answered = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/second":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"second"})
            self.is_second_answered = True
            return
        with open(self.path, "rb") as file:
            for message in self.messages:
                try:
                    await self.act(message, receive, send, file)
                except (ApplicationProtocolError, OSError):
                    if not self.catches:
                        raise
        if self.raises:
            raise RuntimeError("secret")

    async def act(self, message: Any, receive: Any, send: Any, file: Any) -> None:
        if message == "receive":
            await asyncio.wait([asyncio.ensure_future(receive())], timeout=0)
            return
        if message == "sleep":
            for _ in range(3):
                await asyncio.sleep(0)
            return
        kind = message.get("type") if isinstance(message, dict) else None
        part = b""
        if kind == "http.response.body":
            part = message["body"]
        elif kind == "http.response.zerocopysend":
            start = message["offset"] if message["offset"] is not None else file.tell()
            count = message["count"] if message["count"] is not None else max(FILE_SIZE - start, 0)
            message = {**message, "file": file}
            part = CONTENT[start : start + count]
        elif kind == "http.response.pathsend":
            message = {**message, "path": self.path}
            part = CONTENT
        if self.is_complete or self.partial:
            await send(message)  # ignored, or raises, or goes nowhere
            return
        if kind != "http.response.body":
            self.partial = part
        try:
            await send(message)
        except ApplicationProtocolError:
            self.partial = b""
            raise
        self.partial = b""
        if isinstance(part, bytes):
            self.body += part
        if kind and kind.startswith(("http.response.body", "http.response.zero", "http.response.path")):
            self.is_complete = not message.get("more_body") or kind.endswith("pathsend")


CONTENT = random.Random(1).randbytes(FILE_SIZE)


@pytest.fixture(scope="module")
def content_path() -> Iterator[str]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(CONTENT)
        file.flush()
        yield file.name


def read_response(client: h11.Connection, method: str) -> tuple[int, bytes, bool]:
    """Status, body and whether it is whole, of what a client has been given."""
    status, body = 0, b""
    while True:
        event = client.next_event()
        if type(event) is h11.Response:
            status = event.status_code
        elif type(event) is h11.Data:
            body += bytes(event.data)
        elif type(event) is h11.EndOfMessage:
            return status, body, True
        elif event is h11.NEED_DATA or type(event) is h11.ConnectionClosed:
            return status, body, False
        else:
            assert type(event) is h11.InformationalResponse
            assert event.status_code in (100, 103)
            assert status == 0, "an interim response behind the final one"


class TestApplications:
    @budget(900)
    @given(
        messages=MESSAGES,
        request_bytes=st.sampled_from(REQUESTS),
        catches=st.booleans(),
        raises=st.booleans(),
        is_pipelined=st.booleans(),
    )
    def test_whatever_an_application_sends_its_response_has_one_meaning(
        self,
        loop: asyncio.AbstractEventLoop,
        content_path: str,
        messages: list[Any],
        request_bytes: bytes,
        catches: bool,
        raises: bool,
        is_pipelined: bool,
    ) -> None:
        is_waiting_for_body = b"Expect" in request_bytes
        is_pipelined = is_pipelined and not is_waiting_for_body
        play = Play(messages, catches=catches, raises=raises, path=content_path)
        harness = Harness(play, loop)

        async def scenario() -> FileTransport:
            transport = harness.connect()
            await harness.deliver(transport, [request_bytes + SECOND if is_pipelined else request_bytes])
            await harness.settle(transport)
            while harness.server.connections and not transport.is_lost:  # a thread opens a file
                await asyncio.sleep(0.0005)
                await harness.settle(transport)
            if transport.is_open and not is_pipelined and not is_waiting_for_body:
                await harness.deliver(transport, [SECOND])
                await harness.settle(transport)
            return transport

        transport = loop.run_until_complete(asyncio.wait_for(scenario(), 10))
        assert not harness.failures, harness.failures
        method = request_bytes.partition(b" ")[0].decode()
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
        client.send(h11.EndOfMessage())
        is_cut = transport.is_aborted
        if transport.data:  # no data would mean the end
            client.receive_data(transport.data)
        if not transport.is_open and not is_cut:
            client.receive_data(b"")
        try:
            status, body, is_whole = read_response(client, method)
        except h11.RemoteProtocolError as error:
            raise AssertionError(f"{error}: {transport.data!r}") from error
        assert status or is_cut
        assert is_whole or is_cut
        has_body = method != "HEAD" and status not in (204, 304)
        if is_cut:
            assert (play.body + play.partial if has_body else b"").startswith(body)
        elif status == 500 and body == b"500 Internal Server Error\n":
            pass
        else:
            assert body == (play.body if has_body else b"")
        if client.their_state is h11.DONE:
            rest, _ = client.trailing_data
            if play.is_second_answered:
                client = h11.Connection(h11.CLIENT)
                client.send(h11.Request(method="GET", target="/second", headers=[("host", "a")]))
                client.send(h11.EndOfMessage())
                client.receive_data(rest)
                assert read_response(client, "GET")[1:] == (b"second", True)
                assert client.trailing_data == (b"", False)
            else:
                assert rest == b"", "octets that belong to no response"
        if transport.is_open and not is_waiting_for_body:
            assert play.is_second_answered
