"""Drives a `RequestParser` over pieces of bytes and keeps what it calls; reads the wire cases."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daphne_clone.errors import RequestRefused
from daphne_clone.interfaces import Limits, RequestHead
from daphne_clone.wire.h1_request import LineTable, RequestParser

CASES = Path(__file__).parent.parent / "wire" / "cases"

_ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


@dataclass
class Request:
    """A request as a sink has seen it."""

    head: RequestHead
    body: bytes = b""
    ended: bool = False


class Sink:
    """Keeps the calls of a parser, and checks their order."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def head_received(self, head: RequestHead) -> None:
        self.requests.append(Request(head, ended=head.content_length == 0))

    def body_received(self, data: bytes) -> None:
        assert data, "an empty piece of body tells nothing"
        assert not self.requests[-1].ended
        self.requests[-1].body += data

    def request_ended(self) -> None:
        assert not self.requests[-1].ended
        self.requests[-1].ended = True


@dataclass
class Parsed:
    """What came of some bytes; ``status`` is that of the refusal, if there was one."""

    requests: list[Request] = field(default_factory=list)
    status: int | None = None

    def summary(self) -> list[Any]:
        """All of it, to be compared."""
        return [*(describe(request) for request in self.requests), self.status]


def describe(request: Request) -> dict[str, Any]:
    """A request as the expected results of the wire cases have it."""
    head = request.head
    return {
        "method": head.method,
        "raw_path": head.raw_path.decode("latin-1"),
        "path": head.path,
        "query_string": head.query_string.decode("latin-1"),
        "version": head.http_version,
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in head.headers],
        "content_length": head.content_length,
        "keep_alive": head.keep_alive,
        "expects_continue": head.expects_continue,
        "accepts_trailers": head.accepts_trailers,
        "root_path": None if head.root_path is None else head.root_path.decode("latin-1"),
        "upgrade": [name.decode("latin-1") for name in head.upgrade],
        "body": request.body.decode("latin-1"),
        "ended": request.ended,
    }


def parse(pieces: Iterable[bytes], limits: Limits | None = None, table: LineTable | None = None) -> Parsed:
    """Feed the pieces to one parser, going on to each next request as soon as the one before has ended."""
    sink = Sink()
    parser = RequestParser(sink, limits or Limits(), table if table is not None else LineTable())
    parsed = Parsed(sink.requests)
    try:
        for piece in pieces:
            parser.receive_data(piece)
            while parser.is_request_whole:
                parser.next_request()
    except RequestRefused as refusal:
        parsed.status = refusal.status.value
        known = len(sink.requests)
        parser.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert len(sink.requests) == known, "a parser that has refused ignores what follows"
    return parsed


def splits(data: bytes, count: int = 12, seed: int = 0) -> Iterator[list[bytes]]:
    """The data whole, byte by byte, in two pieces around each line end, and in ``count`` random ways."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    for match in list(re.finditer(b"\r\n|\n", data))[:40]:
        for at in {match.start(), match.start() + 1, match.end()}:
            yield [data[:at], data[at:]]
    yield from random_splits(data, count, seed)


def random_splits(data: bytes, count: int, seed: int = 0) -> Iterator[list[bytes]]:
    """The data in ``count`` random ways."""
    chance = random.Random(seed)
    for _ in range(count):
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(1, 8)))
        yield [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@dataclass(frozen=True)
class Case:
    """One file of `CASES` and the result beside it.

    The file's own line ends mean nothing; ``\\r \\n \\t \\0 \\xNN`` and ``\\\\`` stand for their bytes.
    """

    name: str
    data: bytes
    limits: Limits
    requests: list[dict[str, Any]]
    status: int | None

    def check(self, parsed: Parsed) -> None:
        """Hold what was parsed against the result.

        Of a body that ends in a refusal, how much was told before depends on the pieces; it is what the result says,
        or a part of its begin.
        """
        *found, status = parsed.summary()
        assert status == self.status
        assert len(found) == len(self.requests)
        for request, expected in zip(found, self.requests, strict=True):
            if not expected["ended"]:
                assert expected["body"].startswith(request["body"])
                request = {**request, "body": expected["body"]}
            assert request == expected


def load_cases(kind: str) -> list[Case]:
    """Read ``"valid"`` or ``"invalid"`` cases."""
    return [_load(path) for path in sorted((CASES / kind).glob("*.http"))]


def _load(path: Path) -> Case:
    text = path.read_bytes().replace(b"\n", b"")
    data = re.sub(rb"\\(x[0-9a-f]{2}|.)", _unescape, text)
    expected = json.loads(path.with_suffix(".json").read_text())
    return Case(
        name=path.stem,
        data=data,
        limits=Limits(**expected.get("limits", {})),
        requests=[_complete(request) for request in expected.get("requests", [])],
        status=expected.get("status"),
    )


def _unescape(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return bytes([int(code[1:], 16)]) if code.startswith(b"x") else _ESCAPES[code]


def _complete(request: dict[str, Any]) -> dict[str, Any]:
    """What a result does not say is this: ``GET / HTTP/1.1``, ``Host: a``, and a body of the length announced."""
    return {
        "method": "GET",
        "raw_path": "/",
        "path": "/",
        "query_string": "",
        "version": "1.1",
        "headers": [["host", "a"]],
        "content_length": len(request.get("body", "")),
        "keep_alive": True,
        "expects_continue": False,
        "accepts_trailers": False,
        "root_path": None,
        "upgrade": [],
        "body": "",
        "ended": True,
        **request,
    }
