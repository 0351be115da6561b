"""The check of a WebSocket scenario against servers that are right, that cannot, and that are wrong."""

from __future__ import annotations

import base64
import socket
import zlib
from typing import TYPE_CHECKING

import pytest
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

from bench import ws_frames
from bench.errors import MeasurementFailed, Unsupported
from bench.ws_check import check
from bench.ws_scenarios import WEBSOCKET_SCENARIOS, WebSocketScenario, messages
from tests.bench.websocket_servers import Echo, Fanout, answering, serving

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

BY_NAME = {scenario.name: scenario for scenario in WEBSOCKET_SCENARIOS}
ECHO, DEFLATE, FANOUT, CONNECT = (
    BY_NAME[name] for name in ("ws-echo-64", "ws-echo-16k-deflate", "ws-fanout", "ws-connect")
)
HEAD = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: %s\r\n%s\r\n"
ACCEPTED = HEAD % (ws_frames.right_accept().encode(), b"")
AGREED = b"sec-websocket-extensions: permessage-deflate; server_no_context_takeover%s\r\n"


def text_frame(payload: bytes, first: int = 0x81) -> bytes:
    if len(payload) < 126:
        return bytes([first, len(payload)]) + payload
    return bytes([first, 126]) + len(payload).to_bytes(2) + payload


@pytest.mark.parametrize("scenario", WEBSOCKET_SCENARIOS, ids=lambda scenario: scenario.name)
def test_right_server_passes(scenario: WebSocketScenario) -> None:
    conversation = Fanout() if scenario.mode == "fanout" else Echo()
    with serving(conversation, compression="deflate") as port:
        check(port, scenario)
        assert conversation.received == [text.decode() for text in messages(scenario.message_bytes)[:2]]


def test_window_that_a_server_does_not_keep_is_not_kept_here() -> None:
    extensions = [ServerPerMessageDeflateFactory(server_no_context_takeover=True)]
    with serving(Echo(), extensions=extensions) as port:
        check(port, DEFLATE)


def test_window_that_is_too_small_for_our_messages_is_a_failure() -> None:
    extensions = [ServerPerMessageDeflateFactory(client_max_window_bits=11)]
    with (
        serving(Echo(), extensions=extensions) as port,
        pytest.raises(MeasurementFailed, match="asked for client_max_window_bits=11"),
    ):
        check(port, DEFLATE)


def test_server_without_compression_is_told_from_one_that_failed() -> None:
    with serving(Echo()) as port, pytest.raises(Unsupported, match="not to permessage-deflate") as raised:
        check(port, DEFLATE)
    assert raised.value.label == "no permessage-deflate"


def test_server_without_websockets_is_told_from_one_that_failed() -> None:
    with (
        answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as port,
        pytest.raises(Unsupported, match=r"answered 'HTTP/1.1 404 Not Found' instead of 101") as raised,
    ):
        check(port, ECHO)
    assert raised.value.label == "no WebSocket"


def test_agreeing_and_not_compressing_is_a_failure() -> None:
    head = HEAD % (ws_frames.right_accept().encode(), AGREED % b"")
    long, *_ = messages(DEFLATE.message_bytes)
    with (
        answering(head, text_frame(long), to=[len(DEFLATE.request())]) as port,
        pytest.raises(MeasurementFailed, match="agreed to compress, but sent 16,384 bytes as they are"),
    ):
        check(port, DEFLATE)


def test_short_messages_need_not_be_compressed() -> None:
    head = HEAD % (ws_frames.right_accept().encode(), AGREED % b"")
    first, second, *_ = messages(64)
    with answering(head, text_frame(first), text_frame(second)) as port:
        check(port, BY_NAME["ws-echo-64-deflate"])


def compressed(text: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


FIRST = messages(64)[0]


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        pytest.param([HEAD % (base64.b64encode(bytes(20)), b"")], "Sec-WebSocket-Accept 'AAAA", id="wrong accept"),
        pytest.param([HEAD.replace(b"Accept: %s", b"X: %s") % (b"", b"")], "Accept None", id="no accept"),
        pytest.param(
            [HEAD % (ws_frames.right_accept().encode(), AGREED % b"")],
            r"agreed to \['permessage-deflate'.*, which was not offered",
            id="extension",
        ),
        pytest.param([b"HTTP/1.1 101"], "closed the connection without an answer", id="half a head"),
        pytest.param([ACCEPTED], "closed the connection without an answer", id="closed"),
        pytest.param([ACCEPTED, text_frame(FIRST.upper())], "64 bytes, other ones than the 64", id="other text"),
        pytest.param([ACCEPTED, text_frame(FIRST, 0x82)], "opcode 2 instead of a text message", id="bytes"),
        pytest.param(
            [ACCEPTED, text_frame(compressed(FIRST), 0xC1)], "compressed without having been", id="compressed"
        ),
        pytest.param([ACCEPTED, text_frame(FIRST, 0xC1)], "no valid answer: error: Error -3", id="falsely compressed"),
        pytest.param([ACCEPTED, b"\x81\x80\0\0\0\0"], "ValueError: a masked frame", id="masked"),
    ],
)
def test_wrong_answers_are_told(answers: list[bytes], told: str) -> None:
    with answering(*answers) as port, pytest.raises(MeasurementFailed, match=told):
        check(port, ECHO)


def test_ping_is_answered_and_pong_passed_over() -> None:
    first, second, *_ = messages(64)
    request, frame, pong = len(ECHO.request()), 6 + 64, 6 + 2
    with answering(
        ACCEPTED, b"\x8a\x00\x89\x02ab", text_frame(first), text_frame(second), to=[request, frame, pong, frame]
    ) as port:
        check(port, ECHO)


def test_silence_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.ws_check._TIMEOUT_S", 0.2)

    async def silent(connection: ServerConnection) -> None:
        await connection.wait_closed()

    with serving(silent) as port, pytest.raises(MeasurementFailed, match="did not answer within"):
        check(port, ECHO)


def test_broadcast_that_comes_back_is_a_failure() -> None:
    with serving(Fanout(also_back=True)) as port, pytest.raises(MeasurementFailed, match="other ones"):
        check(port, FANOUT)


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (b"\x88\x02\x03\xe9", r"answered a close with opcode 8, b'\\x03\\xe9'"),
        (b"\x88\x02\x03\xe8\x8a\x00", "sent more after its close frame"),
        (b"", "closed the connection without an answer"),
    ],
)
def test_wrong_closing_is_a_failure_where_closing_is_measured(end: bytes, told: str) -> None:
    first, second, *_ = messages(64)
    answers = [ACCEPTED, text_frame(first), text_frame(second), end]
    with answering(*answers) as port, pytest.raises(MeasurementFailed, match=told):
        check(port, CONNECT)


def test_connection_that_stays_open_after_closing_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.ws_check._TIMEOUT_S", 0.2)
    first, second, *_ = messages(64)
    answers = [ACCEPTED, text_frame(first), text_frame(second), b"\x88\x02\x03\xe8", b"never sent"]
    with answering(*answers) as port, pytest.raises(MeasurementFailed, match="did not answer within"):
        check(port, CONNECT)


def test_nobody_listening_is_a_failure() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(MeasurementFailed, match="ConnectionRefusedError"):
            check(unused.getsockname()[1], ECHO)
