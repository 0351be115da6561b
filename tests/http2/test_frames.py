"""RFC 9113 sections 4 and 5.5: the form of frames, their size, field blocks, and what is unknown."""

from __future__ import annotations

import struct

import pytest

from tests.support.h2_frames import (
    CONTINUATION,
    DATA,
    DEFAULT_FRAME_SIZE,
    HEADERS,
    PING,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    UNKNOWN,
    WINDOW_UPDATE,
    Code,
    Setting,
    continuation_frame,
    data_frame,
    frame,
    headers_frame,
    literal,
    ping_frame,
    priority_frame,
    request_block,
    rst_frame,
    settings_frame,
    window_frame,
)

RESERVED_BIT = 0x80000000


def largest_frame(connection):
    return connection.server_settings.get(Setting.MAX_FRAME_SIZE, DEFAULT_FRAME_SIZE)


# Section 4.1: the form of frames


@pytest.mark.parametrize("stream", [0, 1, 7], ids=["connection", "open", "idle"])
def test_frame_of_unknown_type_is_ignored(h2, stream):
    upload = h2.request("/echo/x", method=b"POST", end=False)
    h2.send(frame(UNKNOWN, 0xFF, stream, b"whatever"), frame(0xFF, 0, stream))
    h2.send_body(upload, b"body")
    assert h2.expect_response(upload).body == b"body"


def test_undefined_flags_are_ignored(h2):
    stream = h2.new_stream()
    h2.send(
        frame(PING, 0xFE, 0, b"flagged!"),
        frame(SETTINGS, 0xFE, 0),
        frame(HEADERS, 0xD2 | 0x04, stream, request_block("/echo/x", method=b"POST")),
        frame(WINDOW_UPDATE, 0xFF, stream, struct.pack("!I", 1)),
        frame(DATA, 0xF6, stream, b"body"),
        frame(DATA, 0xF7, stream),
    )
    h2.granted(stream, 1)
    h2.announced()
    h2.wait_for(lambda found: found.kind == PING and found.payload == b"flagged!", "PING acknowledged")
    h2.wait_for(lambda found: found.kind == SETTINGS, "SETTINGS acknowledged")
    assert h2.expect_response(stream).body == b"body"


def test_reserved_bit_of_the_stream_is_ignored(h2):
    stream = h2.new_stream()
    h2.send(
        frame(PING, 0, RESERVED_BIT, b"reserved"),
        frame(HEADERS, 0x04, RESERVED_BIT | stream, request_block("/echo/x", method=b"POST")),
        frame(DATA, 0x01, RESERVED_BIT | stream, b"body"),
    )
    h2.wait_for(lambda found: found.kind == PING and found.payload == b"reserved", "PING acknowledged")
    assert h2.expect_response(stream).body == b"body"


def test_frames_in_single_octets(h2):
    stream = h2.new_stream()
    octets = headers_frame(stream, request_block("/echo/x", method=b"POST"), end=False) + ping_frame()
    octets += data_frame(stream, b"one, ") + data_frame(stream, b"two", end=True, padding=3)
    for octet in octets:
        h2.send(bytes((octet,)))
    assert h2.expect_response(stream).body == b"one, two"


# Section 4.2: frame size


def test_data_as_large_as_allowed(h2):
    size = largest_frame(h2)
    stream = h2.request("/echo/x", method=b"POST", end=False)
    if h2.send_windows[stream] < size or h2.send_window < size:
        size = DEFAULT_FRAME_SIZE
    h2.send_data(stream, b"x" * size, end=True)
    assert h2.expect_response(stream).body == b"x" * size


def test_head_as_large_as_allowed_in_a_frame(h2):
    block = request_block(fields=[(b"x", b"y" * 16_000)])
    block += literal(b"z", b"z" * (DEFAULT_FRAME_SIZE - len(block) - 6))
    assert len(block) == DEFAULT_FRAME_SIZE
    assert h2.expect_response(h2.request_block(block)).status == 200


def test_data_larger_than_allowed(h2):
    stream = h2.request("/slow_answer/x", method=b"POST", end=False)
    h2.send(data_frame(stream, b"x" * (largest_frame(h2) + 1)))
    h2.expect_rst(stream, Code.FRAME_SIZE_ERROR, or_goaway=[Code.FRAME_SIZE_ERROR])


@pytest.mark.parametrize(
    ("kind", "stream"),
    [(HEADERS, 1), (SETTINGS, 0), (PING, 0), (UNKNOWN, 0), (CONTINUATION, 1), (PUSH_PROMISE, 1), (RST_STREAM, 1)],
    ids=["HEADERS", "SETTINGS", "PING", "unknown", "CONTINUATION", "PUSH_PROMISE", "RST_STREAM"],
)
def test_other_frame_larger_than_allowed(h2, kind, stream):
    """An error of the connection, and at once: nobody waits for, or keeps, what the head of the frame promises."""
    if kind == CONTINUATION:
        h2.send(headers_frame(h2.new_stream(), request_block(), whole=False))
    elif kind == RST_STREAM:
        h2.request("/slow_answer/x")
    h2.send(frame(kind, 0, stream, length=largest_frame(h2) + 1))
    h2.expect_goaway(Code.FRAME_SIZE_ERROR)


def test_frame_as_large_as_its_head_can_say_is_refused_at_once(h2):
    stream = h2.request("/slow_answer/x", method=b"POST", end=False)
    h2.send(frame(DATA, 0, stream, length=2**24 - 1))
    h2.expect_rst(stream, Code.FRAME_SIZE_ERROR, or_goaway=[Code.FRAME_SIZE_ERROR])


# Section 4.3: field blocks


@pytest.mark.parametrize(
    "between",
    [
        data_frame(1, b"x"),
        headers_frame(3, request_block()),
        headers_frame(1, request_block()),
        priority_frame(1),
        priority_frame(5),
        rst_frame(1),
        settings_frame(),
        ping_frame(),
        window_frame(0, 1),
        window_frame(1, 1),
        frame(UNKNOWN, 0, 1),
        frame(UNKNOWN, 0, 0),
        continuation_frame(3, b""),
    ],
    ids=[
        *("DATA", "HEADERS of another stream", "HEADERS", "PRIORITY", "PRIORITY of another stream", "RST_STREAM"),
        *("SETTINGS", "PING", "WINDOW_UPDATE", "WINDOW_UPDATE of the stream", "unknown of the stream", "unknown"),
        "CONTINUATION of another stream",
    ],
)
def test_frame_within_a_field_block(h2, between):
    """Sections 4.3, 5.5 and 6.10: field blocks are in one piece."""
    block = request_block()
    h2.opened(3)
    h2.send(headers_frame(h2.opened(1), block[:10], whole=False), between, continuation_frame(1, block[10:]))
    h2.expect_goaway(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("where", ["request", "trailers", "refused stream"])
def test_field_block_that_cannot_be_decoded(h2, where):
    """An error of the connection wherever it is, for the two sides' tables differ from then on."""
    broken = b"\x3f\xe1\xff\xff\xff\xff\xff\xff\xff\x01"
    if where == "request":
        h2.send(headers_frame(h2.new_stream(), broken))
    else:
        fields = [(b"UPPER", b"case")] if where == "refused stream" else []
        stream = h2.request("/echo/x", fields, method=b"POST", end=False)
        h2.send(headers_frame(stream, broken))
    h2.expect_goaway(Code.COMPRESSION_ERROR)


# Section 5.5: extensions


def test_unknown_setting_is_ignored(h2):
    h2.change_settings((0xBABA, 2**32 - 1), (0x7, 1), (0x0, 0))
    h2.wait_for(lambda found: found.kind == SETTINGS, "SETTINGS acknowledged")
    h2.expect_served()


def test_unknown_frame_between_head_and_body_is_ignored(h2):
    stream = h2.request("/echo/x", method=b"POST", end=False)
    h2.send(frame(UNKNOWN, 0, stream, b"x" * 100))
    h2.send_body(stream, b"body")
    assert h2.expect_response(stream).body == b"body"
