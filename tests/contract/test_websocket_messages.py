"""Contract, section 1, "WebSocket": messages, both ways, whatever frames they come in."""

from __future__ import annotations

import os
import zlib

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from tests.support.server_process import ServerProcess
from tests.support.ws_client import BINARY, COMPRESSED, FIN, PING, PONG, TEXT, Session, close_frame, frame, handshake

APPLICATION = "ws_apps:application"

OPEN = {"type": "websocket.accept"}
SEND = {"type": "websocket.send"}
DEFLATE = [(b"Sec-WebSocket-Extensions", b"permessage-deflate")]
SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 200_000]


def received(kind, payload):
    return {"type": "websocket.receive", kind: payload}


def deflated(payload):
    """As RFC 7692 section 7.2.1 has it, with an empty window."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


def unlike_none(message):
    """The message without the keys that are None, which the specification allows to be there."""
    return {key: value for key, value in message.items() if value is not None}


# From the client


def test_exactly_one_of_text_and_bytes_is_not_none(session, app):
    connection = session(app.path("events"))
    connection.send(frame(TEXT, "é".encode()) + frame(BINARY, b"\xff") + frame(TEXT) + frame(BINARY))
    assert list(map(unlike_none, app.noted(5)[1:])) == [
        received("text", "é"),
        received("bytes", b"\xff"),
        received("text", ""),
        received("bytes", b""),
    ]


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_messages_of_every_size_come_and_go_unchanged(websocket, app, compression):
    client = websocket(app.path("echo"), compression=compression)
    for size in SIZES:
        for payload in ("x" * size, "é" * (size // 2), os.urandom(size)):
            client.send(payload)
            assert client.recv(timeout=5) == payload


@pytest.mark.parametrize("size", SIZES)
def test_frame_whose_octets_come_one_by_one_or_cut_anywhere(session, app, size):
    connection = session(app.path("echo"))
    payload = os.urandom(size)
    data = frame(BINARY, payload)
    for at in (1, 2, 3, 5, 8, 13, 14, 15, len(data) // 2):
        connection.send(data[:at])
        # An answer to a ping could not come before the frame is whole; one sent before it is no answer to that.
        connection.send(data[at:] + frame(PING, b"%d" % at))
        assert connection.read_frame() in ((BINARY, payload), (PONG, b"%d" % at))
        assert connection.read_frame() in ((BINARY, payload), (PONG, b"%d" % at))


def test_message_in_fragments_with_control_frames_between(session, app):
    connection = session(app.path("events"))
    text = "aé€😀".encode()
    for at in range(len(text)):
        connection.send(frame(0x01 if at == 0 else 0x00, text[at : at + 1]) + frame(PING, b"%d" % at))
        assert connection.read_frame() == (PONG, b"%d" % at)
    connection.send(frame(PONG, b"unasked") + frame(0x80))
    assert list(map(unlike_none, app.noted(2)[1:])) == [received("text", text.decode())]


def test_many_messages_in_one_read_come_in_order(session, app):
    connection = session(app.path("echo"))
    connection.send(b"".join(frame(TEXT, b"%d" % number) for number in range(1000)))
    assert [connection.read_frame() for _ in range(1000)] == [(TEXT, b"%d" % number) for number in range(1000)]


def test_ping_is_answered_with_its_payload(session, app):
    connection = session(app.path("events"))
    for payload in (b"", b"x", os.urandom(125)):
        connection.send(frame(PING, payload))
        assert connection.read_frame() == (PONG, payload)
    app.noted(1)
    assert app.noted() == ["accepted"]  # control frames are no events


# From the application


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        ({"text": "é"}, (TEXT, "é".encode())),
        ({"bytes": b"\xff"}, (BINARY, b"\xff")),
        ({"text": "", "bytes": None}, (TEXT, b"")),
        ({"text": None, "bytes": b""}, (BINARY, b"")),
        ({"text": "x", "more": "keys"}, (TEXT, b"x")),
    ],
)
def test_message_of_the_application_is_one_frame(session, app, message, sent):
    connection = session(app.script(OPEN, {**SEND, **message}, "receive"))
    assert connection.read_frame() == sent


@pytest.mark.parametrize(
    "message",
    [
        {**SEND},
        {**SEND, "text": None, "bytes": None},
        {**SEND, "text": "x", "bytes": b"x"},
        {**SEND, "text": b"x"},
        {**SEND, "bytes": "x"},
        {**SEND, "text": 5},
        {**SEND, "text": "\ud800"},
        {"type": "websocket.nonsense"},
        {"type": "websocket.receive", "text": "x"},
        {"text": "x"},
    ],
)
def test_wrong_message_raises_and_the_session_goes_on(session, app, message):
    connection = session(app.script(OPEN, message, {**SEND, "text": "next"}, "receive"))
    assert connection.read_frame() == (TEXT, b"next")
    notes = app.noted(3)
    assert notes[0] == notes[2] == "sent"
    assert "ApplicationProtocolError" in notes[1]


def test_messages_sent_right_behind_the_accept_are_behind_the_handshake(session, app):
    connection = session(app.script(OPEN, *({**SEND, "text": str(number)} for number in range(50)), "receive"))
    assert [connection.read_frame() for _ in range(50)] == [(TEXT, b"%d" % number) for number in range(50)]


# permessage-deflate


def test_compression_is_used_where_the_client_offers_it(session, app):
    connection = session(app.path("echo"), DEFLATE)
    text = b"again and again " * 100
    connection.send(frame(TEXT | COMPRESSED, deflated(text)))
    first, payload = connection.read_frame()
    assert first == TEXT | COMPRESSED
    assert len(payload) < len(text) / 10
    assert zlib.decompressobj(wbits=-15).decompress(payload + b"\x00\x00\xff\xff") == text


def test_compressed_message_in_fragments(session, app):
    connection = session(app.path("events"), DEFLATE)
    data = deflated("é".encode() * 500)
    connection.send(frame(0x01 | COMPRESSED, data[:3]) + frame(PING) + frame(0x00) + frame(FIN, data[3:]))
    assert connection.read_frame() == (PONG, b"")
    assert app.noted(2)[1]["text"] == "é" * 500


@pytest.mark.parametrize(
    "offer",
    [
        {"client_no_context_takeover": True},
        {"server_no_context_takeover": True},
        {"client_max_window_bits": True},
        {"client_max_window_bits": 9},
        {"server_max_window_bits": 9},
        {"server_max_window_bits": 15, "client_max_window_bits": 15},
    ],
    ids=lambda offer: "-".join(f"{key}={value}" for key, value in offer.items()),
)
def test_parameters_of_compression_are_kept_to(websocket, app, offer):
    client = websocket(app.path("echo"), compression=None, extensions=[ClientPerMessageDeflateFactory(**offer)])
    assert "permessage-deflate" in client.response.headers["Sec-WebSocket-Extensions"]
    text = "".join(f"{number} again and again; " for number in range(2000))
    for _ in range(3):
        client.send(text)
        assert client.recv(timeout=5) == text


@pytest.mark.parametrize(
    "offer",
    [
        b"permessage-deflate; server_max_window_bits=8",
        b"permessage-deflate; server_max_window_bits",
        b"permessage-deflate; client_max_window_bits=16",
        b"permessage-deflate; unknown",
        b"permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        b"x-webkit-deflate-frame",
        b"permessage-deflate; client_max_window_bits=" + b"9" * 5000,
        b'permessage-deflate; server_max_window_bits="',
        b"permessage-deflate;=;;=",
        b";,;permessage-deflate;\xff=\xff",
    ],
)
def test_offer_that_cannot_be_met_is_declined(server, app, offer):
    with Session(server.address) as connection:
        connection.send(handshake(app.path("echo"), [(b"Sec-WebSocket-Extensions", offer)]))
        assert connection.opened().all(b"sec-websocket-extensions") == []
        assert connection.exchange("x" * 100) == "x" * 100


def test_second_offer_is_taken_where_the_first_cannot_be_met(server, app):
    offers = b"foo, permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=10"
    with Session(server.address) as connection:
        connection.send(handshake(app.path("echo"), [(b"Sec-WebSocket-Extensions", offers)]))
        answer = connection.opened().get(b"sec-websocket-extensions")
        assert answer == b"permessage-deflate; server_max_window_bits=10"


def test_compression_can_be_switched_off():
    with (
        ServerProcess(APPLICATION, ["--no-ws-per-message-deflate"]) as server,
        Session(server.address) as connection,
    ):
        connection.send(handshake("/echo/x", DEFLATE))
        assert connection.opened().all(b"sec-websocket-extensions") == []
        assert connection.exchange("x" * 100) == "x" * 100


# Limits


@pytest.fixture(scope="module")
def small_server():
    options = ["--websocket-max-message-size", "1000", "--websocket-max-frame-size", "600"]
    with ServerProcess(APPLICATION, options) as process:
        yield process


def opened(server, target, fields=()):
    connection = Session(server.address)
    connection.send(handshake(target, fields))
    connection.opened()
    return connection


@pytest.mark.parametrize(
    ("frames", "fields"),
    [
        ([frame(BINARY, b"x" * 601)], []),
        ([frame(BINARY, b"x" * 601)[:8]], []),  # it says how much will come
        ([frame(0x02, b"x" * 600), frame(0x80, b"x" * 401)], []),
        ([frame(BINARY, b"x" * 70_000)], []),
        ([b"\x82\xff\x7f" + b"\xff" * 7 + b"mask"], []),
        ([frame(BINARY | COMPRESSED, deflated(b"x" * 1001))], DEFLATE),
        ([frame(0x02 | COMPRESSED, deflated(b"x" * 1001)[:5]), frame(0x80, deflated(b"x" * 1001)[5:])], DEFLATE),
    ],
    ids=["frame", "header", "fragments", "long", "huge", "inflated", "inflated fragments"],
)
def test_message_or_frame_over_its_limit_is_a_1009_and_a_line_in_the_log(small_server, frames, fields, request):
    key = request.node.callspec.id.replace(" ", "-")
    with opened(small_server, f"/events/limit-{key}", fields) as connection:
        connection.send(b"".join(frames))
        assert connection.read_close()[0] == 1009
        assert connection.is_closed()
    small_server.wait_for_log(rf"WARNING.*/events/limit-{key}.*1009")


@pytest.mark.parametrize("fields", [[], DEFLATE], ids=["plain", "deflate"])
def test_message_and_frames_at_their_limits_are_received(small_server, fields):
    payload = os.urandom(500) + b"x" * 500
    with opened(small_server, "/echo/x", fields) as connection:
        connection.send(frame(0x02, payload[:600]) + frame(0x80, payload[600:]))
        assert connection.read_frame()[0] & 0x0F == 2
        if fields:
            connection.send(frame(TEXT | COMPRESSED, deflated(b"x" * 1000)))
            assert connection.read_frame()[0] & 0x0F == 1
        connection.send(close_frame(1000))
        assert connection.read_close() == (1000, "")


def test_limit_is_1_mib_by_default_and_0_is_none(websocket, app):
    client = websocket(app.path("echo"), compression=None, max_size=None)
    client.send(b"x" * 1_048_576)
    assert len(client.recv(timeout=5)) == 1_048_576
    client.send(b"x" * 1_048_577)
    with pytest.raises(ConnectionClosed) as caught:
        client.recv(timeout=5)
    assert caught.value.rcvd.code == 1009
    with (
        ServerProcess(
            APPLICATION, ["--websocket-max-message-size", "0", "--websocket-max-frame-size", "0"]
        ) as unlimited,
        opened(unlimited, "/echo/x", DEFLATE) as connection,
    ):
        connection.send(frame(BINARY, b"x" * 3_000_000))
        assert connection.read_frame()[0] & 0x0F == 2
