"""RFC 9113 sections 6 and 7: each type of frame, as it should not be, and as it may be."""

from __future__ import annotations

import struct

import pytest

from tests.support.h2_frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    MAX_WINDOW,
    PADDED,
    PING,
    PRIORITIZED,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    SETTINGS_ACK,
    WINDOW_UPDATE,
    Code,
    Setting,
    continuation_frame,
    data_frame,
    dependency,
    frame,
    goaway_frame,
    headers_frame,
    ping_frame,
    priority_frame,
    push_frame,
    request_block,
    rst_frame,
    settings_frame,
    window_frame,
)

SIZE_OR_PROTOCOL = (Code.FRAME_SIZE_ERROR, Code.PROTOCOL_ERROR)


def upload(h2, target="/echo/x"):
    return h2.request(target, method=b"POST", end=False)


# Section 6.1: DATA


def test_data_on_stream_0(h2):
    h2.send(data_frame(0, b"x"))
    h2.expect_goaway(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("padding", [4, 5, 255])
def test_data_with_more_padding_than_it_has_octets(h2, padding):
    h2.send(frame(DATA, PADDED | END_STREAM, upload(h2), bytes((padding,)) + b"1234"[: padding - 1]))
    h2.expect_goaway(Code.PROTOCOL_ERROR)


def test_padded_data_without_a_length_of_padding(h2):
    h2.send(frame(DATA, PADDED, upload(h2)))
    h2.expect_goaway(*SIZE_OR_PROTOCOL)


@pytest.mark.parametrize("padding", [0, 1, 255])
@pytest.mark.parametrize("body", [b"", b"body"])
def test_data_with_padding(h2, padding, body):
    stream = upload(h2)
    h2.send_data(stream, body, end=True, padding=padding)
    assert h2.expect_response(stream).body == body


def test_data_without_octets(h2, app):
    stream = upload(h2, app.path("events"))
    h2.send(data_frame(stream), data_frame(stream, b"x"), data_frame(stream), data_frame(stream, end=True))
    h2.expect_response(stream)
    events = app.noted(2)[1:]
    assert b"".join(event["body"] for event in events) == b"x"
    assert [event["more_body"] for event in events][-1] is False


# Section 6.2: HEADERS


def test_headers_on_stream_0(h2):
    h2.send(headers_frame(0, request_block()))
    h2.expect_goaway(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    ("flags", "payload"),
    [
        (PADDED, b"\xff" + request_block()),
        (PADDED, b"\x04" + b"123"),
        (PADDED, b""),
        (PRIORITIZED, b"1234"),
        (PADDED | PRIORITIZED, b"\x00" + b"1234"),
        (PADDED | PRIORITIZED, b"\x05" + b"12345" + b"1234"),
    ],
    ids=["padding", "padding of all", "no padding length", "no priority", "no priority behind", "padding as priority"],
)
def test_headers_whose_fields_do_not_fit(h2, flags, payload):
    h2.send(frame(HEADERS, flags | END_HEADERS | END_STREAM, h2.new_stream(), payload))
    h2.expect_goaway(*SIZE_OR_PROTOCOL)


@pytest.mark.parametrize("padding", [None, 0, 255])
@pytest.mark.parametrize("priority", [b"", dependency(0), dependency(99, 256, exclusive=True)], ids=str)
def test_headers_with_padding_and_priority(h2, padding, priority):
    stream = h2.new_stream()
    h2.send(headers_frame(stream, request_block(), padding=padding, priority=priority))
    assert h2.expect_response(stream).body == b"hello"


def test_padding_of_continued_headers_is_that_of_the_first_frame(h2):
    stream, block = h2.new_stream(), request_block()
    h2.send(
        headers_frame(stream, block[:9], whole=False, padding=7, priority=dependency(0)),
        continuation_frame(stream, block[9:]),
    )
    assert h2.expect_response(stream).body == b"hello"


# Section 6.3: PRIORITY


def test_priority_on_stream_0(h2):
    h2.send(priority_frame(0, depends_on=1))
    h2.expect_goaway(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("length", [0, 4, 6])
def test_priority_of_a_wrong_size(h2, length):
    stream = upload(h2)
    h2.send(frame(PRIORITY, 0, stream, bytes(length)))
    h2.expect_rst(stream, Code.FRAME_SIZE_ERROR, or_goaway=[Code.FRAME_SIZE_ERROR])


# Section 6.4: RST_STREAM


def test_reset_of_stream_0(h2):
    h2.send(rst_frame(0))
    h2.expect_goaway(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("length", [0, 3, 5])
def test_reset_of_a_wrong_size(h2, length):
    h2.send(frame(RST_STREAM, 0, upload(h2), bytes(length)))
    h2.expect_goaway(Code.FRAME_SIZE_ERROR)


# Section 6.5: SETTINGS


def test_settings_on_a_stream(h2):
    h2.send(frame(SETTINGS, 0, upload(h2)))
    h2.expect_goaway(Code.PROTOCOL_ERROR)


def test_settings_acknowledged_with_a_payload(h2):
    h2.send(frame(SETTINGS, ACK, 0, struct.pack("!HI", Setting.INITIAL_WINDOW_SIZE, 1)))
    h2.expect_goaway(Code.FRAME_SIZE_ERROR)


@pytest.mark.parametrize("length", [1, 5, 7])
def test_settings_of_a_wrong_size(h2, length):
    h2.send(frame(SETTINGS, 0, 0, bytes(length)))
    h2.expect_goaway(Code.FRAME_SIZE_ERROR)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        (Setting.ENABLE_PUSH, 2, Code.PROTOCOL_ERROR),
        (Setting.INITIAL_WINDOW_SIZE, 2**31, Code.FLOW_CONTROL_ERROR),
        (Setting.INITIAL_WINDOW_SIZE, 2**32 - 1, Code.FLOW_CONTROL_ERROR),
        (Setting.MAX_FRAME_SIZE, 0, Code.PROTOCOL_ERROR),
        (Setting.MAX_FRAME_SIZE, 2**14 - 1, Code.PROTOCOL_ERROR),
        (Setting.MAX_FRAME_SIZE, 2**24, Code.PROTOCOL_ERROR),
    ],
)
def test_setting_that_may_not_have_its_value(h2, name, value, code):
    """Section 6.5.2"""
    h2.send(settings_frame((name, value)))
    h2.expect_goaway(code)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (Setting.HEADER_TABLE_SIZE, 0),
        (Setting.HEADER_TABLE_SIZE, 2**32 - 1),
        (Setting.ENABLE_PUSH, 0),
        (Setting.ENABLE_PUSH, 1),
        (Setting.MAX_CONCURRENT_STREAMS, 0),
        (Setting.INITIAL_WINDOW_SIZE, 2**31 - 1),
        (Setting.MAX_FRAME_SIZE, 2**14),
        (Setting.MAX_FRAME_SIZE, 2**24 - 1),
        (Setting.MAX_HEADER_LIST_SIZE, 2**32 - 1),
        (Setting.ENABLE_CONNECT_PROTOCOL, 1),  # RFC 8441 section 3: from a client it means nothing
    ],
)
def test_setting_at_the_edge_of_what_it_may_be(h2, name, value):
    h2.change_settings((name, value))
    h2.wait_for(lambda found: found.kind == SETTINGS, "SETTINGS acknowledged")
    h2.expect_served()


def test_each_settings_frame_is_acknowledged_once(h2):
    """Section 6.5.3"""
    for _ in range(5):
        h2.change_settings((Setting.INITIAL_WINDOW_SIZE, 65_535))
    h2.expect_alive()
    acknowledged = [found for found in h2.inbox if found.kind == SETTINGS]
    assert [found.flags & ACK for found in acknowledged] == [ACK] * 5


def test_settings_of_a_frame_take_effect_in_their_order(h2):
    """Section 6.5.3: the last one of a name wins; the client holds the server to that window."""
    h2.grants = False
    name = Setting.INITIAL_WINDOW_SIZE
    h2.change_settings((name, 10), (name, 2**31 - 1), (name, 3))
    h2.wait_for(lambda found: found.kind == SETTINGS, "SETTINGS acknowledged")
    stream = h2.request()
    assert h2.read_head(stream).status == 200
    assert h2.read_part(stream) == b"hel"
    h2.grant(stream, 2)
    assert h2.read_part(stream) == b"lo"


def test_acknowledgement_of_nothing_is_no_error_that_harms(h2):
    h2.send(SETTINGS_ACK)
    h2.expect_tolerated(0, Code.PROTOCOL_ERROR)


# Section 6.6 and 8.4: PUSH_PROMISE


@pytest.mark.parametrize("where", ["open", "stream 0"])
def test_client_that_pushes(h2, where):
    h2.send(push_frame(upload(h2) if where == "open" else 0, 2, request_block()))
    h2.expect_goaway(Code.PROTOCOL_ERROR)


# Section 6.7: PING


def test_ping_is_answered_with_its_own_octets_and_in_order(h2):
    payloads = [b"\x00" * 8, b"\xff" * 8, b"12345678"]
    h2.send(*map(ping_frame, payloads))
    for payload in payloads:
        answer = h2.wait_for(lambda found: found.kind == PING, "PING acknowledged")
        assert (answer.flags & ACK, answer.payload) == (ACK, payload)


def test_ping_is_answered_before_what_waits(h2, app):
    """Section 6.7: a higher priority than other frames."""
    h2.grants = False
    stream = h2.request(app.path("large", 300_000))
    assert h2.read_head(stream).status == 200
    h2.expect_alive()
    h2.grants = True
    h2.grant(0, 1_000_000)
    h2.grant(stream, 1_000_000)
    h2.expect_alive()


def test_acknowledged_ping_is_not_answered(h2):
    h2.send(ping_frame(b"not sent", ack=True))
    h2.expect_alive()
    assert not [found for found in h2.inbox if found.kind == PING]


def test_ping_on_a_stream(h2):
    h2.send(frame(PING, 0, upload(h2), b"12345678"))
    h2.expect_goaway(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("length", [0, 7, 9])
def test_ping_of_a_wrong_size(h2, length):
    h2.send(frame(PING, 0, 0, bytes(length)))
    h2.expect_goaway(Code.FRAME_SIZE_ERROR)


# Section 6.8: GOAWAY


def test_goaway_on_a_stream(h2):
    h2.send(frame(GOAWAY, 0, upload(h2), bytes(8)))
    h2.expect_goaway(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("length", [0, 7])
def test_goaway_of_a_wrong_size(h2, length):
    h2.send(frame(GOAWAY, 0, 0, bytes(length)))
    h2.expect_goaway(Code.FRAME_SIZE_ERROR)


@pytest.mark.parametrize("debug", [b"", b"bye" * 100], ids=["bare", "with debug data"])
def test_client_that_goes_away_still_gets_its_answers(h2, app, debug):
    stream = h2.request(app.path("slow_answer", "late"))
    app.noted(1)
    h2.send(goaway_frame(0, Code.NO_ERROR, debug))
    app.release()
    assert h2.expect_response(stream).body == b"late"


def test_client_that_goes_away_for_an_unknown_reason_harms_nobody(h2, connect):
    """Section 7: an unknown code has no meaning of its own."""
    h2.send(goaway_frame(0, 0xBABA))
    connect().expect_served()


# Section 6.9: WINDOW_UPDATE; more in test_flow_control.py


def test_window_of_the_connection_by_nothing(h2):
    h2.send(window_frame(0, 0))
    h2.expect_goaway(Code.PROTOCOL_ERROR)


def test_window_of_a_stream_by_nothing(h2):
    stream = upload(h2)
    h2.send(window_frame(stream, 0))
    h2.expect_rst(stream, Code.PROTOCOL_ERROR, or_goaway=[Code.PROTOCOL_ERROR])


@pytest.mark.parametrize("length", [0, 3, 5])
@pytest.mark.parametrize("where", ["connection", "stream"])
def test_window_update_of_a_wrong_size(h2, length, where):
    h2.send(frame(WINDOW_UPDATE, 0, upload(h2) if where == "stream" else 0, b"\x01" * length))
    h2.expect_goaway(Code.FRAME_SIZE_ERROR)


def test_reserved_bit_of_a_window_update_is_ignored(h2):
    stream = h2.request("/slow_answer/x")
    h2.send(window_frame(0, 0x80000001), window_frame(stream, 0x80000001))
    h2.granted(0, 1)
    h2.granted(stream, 1)
    h2.expect_alive()


def test_windows_as_large_as_they_may_be(h2):
    h2.grant(0, MAX_WINDOW - h2.receive_window)
    stream = h2.request("/echo/x", method=b"POST", end=False)
    h2.grant(stream, MAX_WINDOW - h2.receive_windows[stream])
    h2.send_body(stream, b"body")
    assert h2.expect_response(stream).body == b"body"


# Section 6.10: CONTINUATION


@pytest.mark.parametrize("size", [1, 10, 50])
def test_continued_head(h2, size):
    stream, block = h2.new_stream(), request_block()
    parts = [block[at : at + size] for at in range(0, len(block), size)]
    if size == 1:  # a flood is something else, and is looked at in test_attacks.py
        parts = [b"", *(block[at : at + 1] for at in range(4)), block[4:], b""]
    h2.send(headers_frame(stream, parts[0], whole=False))
    h2.send(*(continuation_frame(stream, part, whole=False) for part in parts[1:-1]))
    h2.send(continuation_frame(stream, parts[-1]))
    assert h2.expect_response(stream).body == b"hello"


@pytest.mark.parametrize("stream", [0, 1, 3], ids=["stream 0", "open", "idle"])
def test_continuation_of_nothing(h2, stream):
    upload(h2)
    h2.send(continuation_frame(stream, request_block()))
    h2.expect_goaway(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("first", [True, False], ids=["whole", "continued"])
def test_continuation_behind_the_end_of_a_head(h2, first):
    stream, block = h2.new_stream(), request_block("/slow_answer/x")
    h2.send(headers_frame(stream, block if first else block[:9], end=False, whole=first))
    if not first:
        h2.send(continuation_frame(stream, block[9:]))
    h2.send(continuation_frame(stream, b""))
    h2.expect_goaway(Code.PROTOCOL_ERROR)


def test_continuation_behind_data(h2):
    stream = upload(h2)
    h2.send(data_frame(stream, b"x"), continuation_frame(stream, b""))
    h2.expect_goaway(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("stream", [0, 3], ids=["stream 0", "another stream"])
def test_continuation_of_another_head(h2, stream):
    block = request_block()
    h2.opened(3)
    h2.send(headers_frame(h2.opened(1), block[:9], whole=False), continuation_frame(stream, block[9:]))
    h2.expect_goaway(Code.PROTOCOL_ERROR)


def test_end_of_a_stream_is_told_by_headers_and_not_by_their_continuation(h2):
    stream, block = h2.new_stream(), request_block("/echo/x", method=b"POST")
    h2.send(headers_frame(stream, block[:9], end=False, whole=False))
    h2.send(frame(0x9, END_HEADERS | END_STREAM, stream, block[9:]))  # a flag that CONTINUATION does not have
    h2.send_body(stream, b"body")
    assert h2.expect_response(stream).body == b"body"
