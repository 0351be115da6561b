"""The client's WebSocket bytes, against the `websockets` library's server side."""

from __future__ import annotations

import zlib

import pytest
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from bench import ws_frames
from bench.ws_frames import TEXT, Inflater, Message, Messages

MASK = b"\x01\x80\xff\x7f"
LENGTHS = (0, 1, 125, 126, 16 * 1024, 65535)


def server(*, deflate: bool) -> tuple[ServerProtocol, bytes]:
    """A server that has accepted a handshake, and its answer."""
    factory = ServerPerMessageDeflateFactory(server_max_window_bits=12, client_max_window_bits=12)
    protocol = ServerProtocol(extensions=[factory] if deflate else None)
    protocol.receive_data(ws_frames.handshake("/ws/echo", deflate=deflate))
    (request,) = protocol.events_received()
    assert isinstance(request, Request)
    assert request.path == "/ws/echo"
    response = protocol.accept(request)
    protocol.send_response(response)
    assert response.status_code == 101
    assert response.headers["Sec-WebSocket-Accept"] == ws_frames.right_accept()
    return protocol, b"".join(protocol.data_to_send())


def received(protocol: ServerProtocol, data: bytes) -> list[bytes]:
    protocol.receive_data(data)
    assert protocol.parser_exc is None
    frames = protocol.events_received()
    assert all(isinstance(frame, Frame) and frame.opcode is Opcode.TEXT and frame.fin for frame in frames)
    return [bytes(frame.data) for frame in frames if isinstance(frame, Frame)]


@pytest.mark.parametrize("length", LENGTHS)
def test_frames_are_what_a_server_understands(length: int) -> None:
    payload = (b"0123456789abcdef" * 4096)[:length]
    protocol, _ = server(deflate=False)
    assert received(protocol, ws_frames.frame(payload, MASK)) == [payload]


def test_compressed_frame_may_come_again_and_between_others() -> None:
    first, second = (b'{"id":1,"text":"and so on"}' * 400), (b'{"id":2,"text":"and so on"}' * 400)
    a, b = (ws_frames.frame(ws_frames.compress(one), MASK, compressed=True) for one in (first, second))
    assert len(a) < len(first) / 10
    protocol, answer = server(deflate=True)
    assert b"no_context_takeover" not in answer
    assert received(protocol, a + b + a + a) == [first, second, first, first]


def test_window_is_no_larger_than_said() -> None:
    block = bytes(range(256)) * 16  # 4 KiB; the distance to what is repeated is as long
    compressed = ws_frames.compress(zlib.compress(block, 0) * 2)
    inflater = zlib.decompressobj(wbits=-ws_frames.WINDOW_BITS)
    assert inflater.decompress(compressed + b"\x00\x00\xff\xff") == zlib.compress(block, 0) * 2


@pytest.mark.parametrize("keep_window", [True, False])
def test_messages_of_a_server_are_inflated(keep_window: bool) -> None:
    compressor = zlib.compressobj(wbits=-15)
    inflater = Inflater(keep_window=keep_window)
    for text in (b"the same text", b"the same text", b"another one"):
        wire = compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)
        assert inflater.inflate(wire.removesuffix(b"\x00\x00\xff\xff")) == text
        if not keep_window:
            compressor = zlib.compressobj(wbits=-15)


FRAMES = (
    Frame(Opcode.TEXT, b"whole"),
    Frame(Opcode.TEXT, b"a" * 126, fin=False),
    Frame(Opcode.PING, b"between"),
    Frame(Opcode.CONT, b"", fin=False),
    Frame(Opcode.CONT, b"b" * 70000),
    Frame(Opcode.CLOSE, b"\x03\xe8"),
)
MESSAGES = [
    Message(TEXT, b"whole", compressed=False),
    Message(ws_frames.PING, b"between", compressed=False),
    Message(TEXT, b"a" * 126 + b"b" * 70000, compressed=False),
    Message(ws_frames.CLOSE, b"\x03\xe8", compressed=False),
]


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_messages_are_put_together_from_any_pieces(piece: int) -> None:
    data = b"".join(frame.serialize(mask=False) for frame in FRAMES)
    reader = Messages()
    found = [message for i in range(0, len(data), piece) for message in reader.receive(data[i : i + piece])]
    assert found == MESSAGES


def test_compressed_message_is_marked_from_its_first_frame_on() -> None:
    first, last = b"\x41\x01a", b"\x80\x01b"
    assert Messages().receive(first + last) == [Message(TEXT, b"ab", compressed=True)]


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        pytest.param(Frame(Opcode.TEXT, b"a").serialize(mask=True), "masked", id="masked"),  # by chance: no id
        (Frame(Opcode.CONT, b"a").serialize(mask=False), "continues nothing"),
    ],
)
def test_frames_that_no_server_may_send_are_told(frame: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Messages().receive(frame)
