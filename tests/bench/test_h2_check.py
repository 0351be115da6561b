"""The check of an HTTP/2 scenario against servers that are right, that cannot, and that are wrong."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench import h2_frames
from bench.errors import MeasurementFailed, Unsupported
from bench.h2_check import check
from bench.h2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from bench.h2_scenarios import HTTP2_SCENARIOS
from tests.bench.tls_servers import Answering, conversing
from tests.bench.websocket_servers import answering

BY_NAME = {scenario.name: scenario for scenario in HTTP2_SCENARIOS}
CLEAR, OVER_TLS, LONGER = BY_NAME["h2c-hello"], BY_NAME["h2-hello"], BY_NAME["h2c-16k"]
STATUS_200 = b"\x88"
BEGIN = frame(SETTINGS)
ACKNOWLEDGED = len(frame(SETTINGS, flags=ACK))


def answer(stream: int, body: bytes = CLEAR.expected, head: bytes = STATUS_200) -> bytes:
    return frame(HEADERS, head, flags=END_HEADERS, stream=stream) + frame(DATA, body, flags=END_STREAM, stream=stream)


@contextmanager
def server(*answers: bytes, begin: bytes = BEGIN, path: str = CLEAR.path) -> Iterator[int]:
    """A port where the first two requests get the first answer together, and the third the second."""
    request = len(h2_frames.request(1, scheme="http", authority="127.0.0.1:54321", path=path))
    sizes = [len(h2_frames.opening()), ACKNOWLEDGED + 2 * request, request]
    with answering(begin, *answers, to=sizes[: 1 + len(answers)]) as port:
        yield port


def test_right_answers_on_one_connection_pass() -> None:
    with server(answer(3) + answer(1), answer(5)) as port:
        check(port, CLEAR)


def test_streams_may_be_mixed_and_cut_in_any_way() -> None:
    body = LONGER.expected
    both = (
        frame(HEADERS, STATUS_200[:0], stream=1)
        + frame(CONTINUATION, STATUS_200, flags=END_HEADERS, stream=1)
        + frame(HEADERS, b"\x01" + STATUS_200 + b"\0", flags=END_HEADERS | PADDED, stream=3)
        + frame(DATA, body[:1], stream=1)
        + frame(WINDOW_UPDATE, b"\0\0\0\x01")
        + frame(DATA, b"\x02" + body + b"\0\0", flags=PADDED, stream=3)
        + frame(DATA, body[1:], stream=1)
        + frame(DATA, flags=END_STREAM, stream=3)
        + frame(HEADERS, b"\x00\x01a\x01b", flags=END_HEADERS | END_STREAM, stream=1)
    )
    with server(both, answer(5, body), path=LONGER.path) as port:
        check(port, LONGER)


def test_ping_is_answered() -> None:
    received: list[bytes] = []
    request = len(h2_frames.request(1, scheme="http", authority="127.0.0.1:54321", path=CLEAR.path))
    ping, pong = frame(PING, b"12345678"), frame(PING, b"12345678", flags=ACK)
    sizes = [len(h2_frames.opening()), ACKNOWLEDGED + len(pong) + 2 * request, request]
    with answering(BEGIN + ping, answer(1) + answer(3), answer(5), to=sizes, received=received) as port:
        check(port, CLEAR)
    assert received[0] == h2_frames.opening()
    assert received[1].startswith(frame(SETTINGS, flags=ACK) + pong)


def test_http2_is_agreed_on_in_the_tls_handshake(tls_context: ssl.SSLContext) -> None:
    tls_context.set_alpn_protocols(["h2"])
    # One thing comes in each TLS record: the opening, the acknowledgement, the two requests, the third.
    with conversing(Answering(tls_context, BEGIN, b"", b"", answer(1) + answer(3), answer(5))) as port:
        check(port, OVER_TLS)


@pytest.mark.parametrize("known", [["http/1.1"], []], ids=["other", "none"])
def test_server_that_does_not_agree_is_told_from_one_that_failed(known: list[str], tls_context: ssl.SSLContext) -> None:
    if known:
        tls_context.set_alpn_protocols(known)
    with (
        conversing(Answering(tls_context, b"")) as port,
        pytest.raises(Unsupported, match="does not agree to h2") as raised,
    ):
        check(port, OVER_TLS)
    assert raised.value.label == "no HTTP/2"


@pytest.mark.parametrize(
    ("begin", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "answered b'HTTP/1.1 400 Bad Request"),
        (b"HTTP/1.", "ended the connection with b'HTTP/1.'"),
        (b"", "ended the connection with b''"),
    ],
    ids=["400", "less than a frame", "nothing"],
)
def test_server_without_http2_is_told_from_one_that_failed(begin: bytes, told: str) -> None:
    with server(begin=begin) as port, pytest.raises(Unsupported, match=told) as raised:
        check(port, CLEAR)
    assert raised.value.label == "no HTTP/2"


GOOD = answer(1)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        pytest.param([GOOD + answer(3, b"Hello, World!")], "the right number of bytes, but other ones", id="body"),
        pytest.param([GOOD + answer(3, b"Hello")], "answered 5 bytes instead of 13", id="shorter"),
        pytest.param([GOOD + answer(3, head=b"\x8d")], "answered 404 instead of 200", id="status"),
        pytest.param([GOOD + answer(3, head=b"\x82")], "no valid answer: ValueError", id="no status"),
        pytest.param([GOOD], "closed the connection without an answer", id="one is missing"),
        pytest.param([GOOD + answer(3), b""], "closed the connection without an answer", id="third is missing"),
        pytest.param(
            [GOOD + frame(RST_STREAM, struct.pack(">I", 2), stream=3)],
            "answered RST_STREAM with error code 2",
            id="reset",
        ),
        pytest.param(
            [frame(GOAWAY, struct.pack(">II", 0, 11) + b"calm")],
            "answered GOAWAY with error code 11: b'calm'",
            id="goaway",
        ),
        pytest.param([frame(DATA, b"\xff", flags=PADDED, stream=1)], "no valid answer: ValueError", id="padding"),
    ],
)
def test_wrong_answers_are_told(answers: list[bytes], told: str) -> None:
    with server(*answers) as port, pytest.raises(MeasurementFailed, match=told):
        check(port, CLEAR)


def test_silence_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.h2_check._TIMEOUT_S", 0.1)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(MeasurementFailed, match="did not answer within"),
    ):
        check(silent.getsockname()[1], CLEAR)


@pytest.mark.usefixtures("tls_context")
def test_nobody_listening_is_a_failure() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(MeasurementFailed, match="ConnectionRefusedError"):
            check(unused.getsockname()[1], OVER_TLS)
