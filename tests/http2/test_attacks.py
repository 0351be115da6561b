"""Contract, section 7: attacks. The attacker is disconnected with the right code; others are served meanwhile.

Each attack goes on at full speed until the server ends it, or for a second where it may be tolerated. That memory stays
flat is in tests/process/test_http2_memory.py.
"""

from __future__ import annotations

import itertools
import time

import pytest

from tests.support.h2_connection import ConnectionEnded
from tests.support.h2_flood import flood
from tests.support.h2_frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INCREMENTAL,
    MAX_WINDOW,
    PING,
    PRIORITY,
    SETTINGS,
    SETTINGS_ACK,
    UNKNOWN,
    Code,
    Setting,
    continuation_frame,
    data_frame,
    field_block,
    frame,
    goaway_frame,
    headers_frame,
    indexed,
    literal,
    ping_frame,
    priority_frame,
    request_block,
    rst_frame,
    settings_frame,
    window_frame,
)
from tests.support.h2_websocket import StreamSession

# A server of their own: what floods leave behind is no other test's business. The window is as small as can be.
OPTIONS = ("--http2-initial-stream-window-size", "65535")
ATTACK_S = 5.0  # within which an attack has to be over; it takes some milliseconds
TOLERATED_S = 1.0
ANSWER_S = 2.0  # within which others are answered meanwhile
CALM = Code.ENHANCE_YOUR_CALM

ANSWERED = request_block("/hello/x")
UNANSWERED = request_block("/ignores_disconnect/x")
UPLOAD = request_block("/events/x", method=b"POST")


@pytest.fixture
def others(connect):
    """Another client; `look` fails when it is not served in time."""
    connection = connect()

    def look():
        begin = time.monotonic()
        connection.expect_served()
        assert time.monotonic() - begin < ANSWER_S

    look()
    return look


@pytest.fixture
def attack(connect, others):
    """Flood the server on a connection of its own."""

    def run(frames, *, seconds=ATTACK_S, **options):
        outcome = flood(connect(), iter(frames), seconds=seconds, look=others, **options)
        others()
        return outcome

    return run


def streams():
    return itertools.count(1, 2)


def ended(outcome, *codes):
    assert outcome.is_closed, f"the attacker is not disconnected: {outcome}"
    assert outcome.goaway in codes, outcome


def tolerated_or_ended(outcome, *codes):
    assert outcome.goaway in (None, *codes), outcome
    assert outcome.is_closed == (outcome.goaway is not None)


# Rapid reset: CVE-2023-44487


@pytest.mark.parametrize("block", [ANSWERED, UNANSWERED], ids=["answered", "not answered"])
def test_rapid_reset(attack, block):
    ended(attack(headers_frame(stream, block) + rst_frame(stream) for stream in streams()), CALM)


def test_rapid_reset_of_uploads(attack):
    ended(
        attack(
            headers_frame(stream, UPLOAD, end=False) + data_frame(stream, b"x") + rst_frame(stream)
            for stream in streams()
        ),
        CALM,
    )


# Made you reset: CVE-2025-8671


@pytest.mark.parametrize(
    ("provoke", "code"),
    [
        (lambda stream: window_frame(stream, 0), Code.PROTOCOL_ERROR),
        (lambda stream: window_frame(stream, MAX_WINDOW), Code.FLOW_CONTROL_ERROR),
        (lambda stream: data_frame(stream, b"x"), Code.STREAM_CLOSED),
        (lambda stream: headers_frame(stream, b""), Code.STREAM_CLOSED),
        (lambda stream: frame(PRIORITY, 0, stream, b"1234"), Code.FRAME_SIZE_ERROR),
    ],
    ids=["no increment", "window overflow", "DATA behind the end", "HEADERS behind the end", "PRIORITY size"],
)
def test_made_you_reset(attack, provoke, code):
    outcome = attack(headers_frame(stream, UNANSWERED) + provoke(stream) for stream in streams())
    ended(outcome, CALM, code)


@pytest.mark.parametrize(
    "end",
    [
        lambda stream: data_frame(stream, b"x" * 10),
        lambda stream: headers_frame(stream, field_block([(b":path", b"/")])),
        lambda stream: headers_frame(stream, field_block([(b"X", b"y")])),
    ],
    ids=["Content-Length", "pseudo-field in trailers", "upper case in trailers"],
)
def test_made_you_reset_by_a_malformed_end(attack, end):
    block = request_block("/events/x", [(b"content-length", b"5")], method=b"POST")
    ended(attack(headers_frame(stream, block, end=False) + end(stream) for stream in streams()), CALM)


def test_malformed_requests(attack):
    block = request_block(fields=[(b"Upper", b"case")])
    ended(attack(headers_frame(stream, block) for stream in streams()), CALM)


def test_streams_past_the_limit(attack):
    """Each is refused, at the cost of its head."""
    ended(attack(headers_frame(stream, UNANSWERED) for stream in streams()), CALM, Code.PROTOCOL_ERROR)


# CONTINUATION: CVE-2024-27316


@pytest.mark.parametrize(
    "part",
    [b"", b"\x00", literal(b"x", b"y" * 16_000), indexed(2) * 16_000],
    ids=["empty", "an octet", "long values", "of the table"],
)
def test_field_block_without_an_end(attack, part):
    block = request_block()
    frames = itertools.repeat(continuation_frame(1, part, whole=False))
    outcome = attack(itertools.chain([headers_frame(1, block, whole=False)], frames))
    ended(outcome, CALM)
    assert outcome.sent < 20_000_000


def test_continued_requests_in_single_octets(attack):
    """Each of them right: the work is that of so many frames."""
    block = request_block()
    parts = [block[at : at + 1] for at in range(1, len(block))]

    def request(stream):
        frames = [continuation_frame(stream, part, whole=False) for part in parts]
        return headers_frame(stream, block[:1], whole=False) + b"".join(frames) + continuation_frame(stream, b"")

    tolerated_or_ended(attack((request(stream) for stream in streams()), seconds=TOLERATED_S), CALM)


# Control frames: CVE-2019-9512, 9515, 9518 and their relatives


@pytest.mark.parametrize(
    "octets",
    [
        ping_frame(),
        ping_frame(ack=True),
        settings_frame(),
        settings_frame(*[(Setting.INITIAL_WINDOW_SIZE, number) for number in range(1000)]),
        frame(SETTINGS, ACK),
        priority_frame(1),
        priority_frame(101, 99),
        window_frame(0, 1),
        goaway_frame(),
        frame(UNKNOWN, 0, 0),
        frame(UNKNOWN, 0, 0, b"x" * 1000),
        data_frame(1),
        data_frame(1, padding=255),
        window_frame(1, 1),
        rst_frame(3),
        window_frame(3, 1),
    ],
    ids=[
        *("PING", "PING acknowledged", "SETTINGS", "SETTINGS of 6 kB", "SETTINGS acknowledged"),
        *("PRIORITY", "PRIORITY of an idle stream", "WINDOW_UPDATE", "GOAWAY", "unknown", "large unknown"),
        *("empty DATA", "padding", "WINDOW_UPDATE of a stream", "RST_STREAM of a closed one"),
        "WINDOW_UPDATE of a closed one",
    ],
)
def test_frames_that_ask_for_nothing(attack, octets):
    if octets in (SETTINGS_ACK, goaway_frame()):
        codes = (CALM, Code.PROTOCOL_ERROR, Code.NO_ERROR)
    elif octets == data_frame(1, padding=255):
        codes = (CALM, Code.FLOW_CONTROL_ERROR)
    else:
        codes = (CALM,)
    begin = headers_frame(1, UPLOAD, end=False) + headers_frame(3, UNANSWERED) + rst_frame(3)
    ended(attack(itertools.chain([begin], itertools.repeat(octets))), *codes)


def test_settings_that_change_the_windows_of_many_streams(attack):
    """What one frame asks for is multiplied by its entries and by the streams."""
    changes = [(Setting.INITIAL_WINDOW_SIZE, number % 2) for number in range(2700)]
    begin = b"".join(headers_frame(2 * number + 1, UNANSWERED) for number in range(100))
    ended(attack(itertools.chain([begin], itertools.repeat(settings_frame(*changes)))), CALM)


def test_pings_whose_answers_are_not_read(attack):
    outcome = attack(itertools.repeat(ping_frame()), seconds=TOLERATED_S, reads=False)
    assert outcome.is_closed or outcome.sent < 20_000_000


def test_sending_behind_the_end_of_the_connection(attack):
    """GOAWAY has been sent, and what comes behind it is read for a while, so that it arrives; not for ever."""
    outcome = attack(itertools.chain([frame(PING)], itertools.repeat(frame(UNKNOWN, 0, 0, bytes(16_000)))), reads=False)
    assert outcome.is_closed
    assert outcome.sent < 20_000_000  # some of it is the kernel's


def test_headers_of_nothing(attack):
    """CVE-2019-9516 and 9518: empty names, and no field at all."""
    ended(attack(headers_frame(stream, b"\x00\x00\x00" * 100) for stream in streams()), CALM)
    ended(attack(frame(HEADERS, END_HEADERS | END_STREAM, stream) for stream in streams()), CALM)


def test_trailers_again_and_again(attack):
    """A stream has one end."""
    begin = headers_frame(1, UPLOAD, end=False)
    trailers = headers_frame(1, field_block([(b"x", b"y")]))
    ended(attack(itertools.chain([begin], itertools.repeat(trailers))), CALM, Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)


def test_data_in_single_octets(attack, connect):
    """As far as the windows go; then it is over for a client that goes on."""
    begin = headers_frame(1, request_block("/slow_answer/x", method=b"POST"), end=False)
    ended(attack(itertools.chain([begin], itertools.repeat(data_frame(1, b"x")))), CALM, Code.FLOW_CONTROL_ERROR)


# HPACK bombs: CVE-2016-6581


def test_head_that_inflates_a_thousandfold(connect, others):
    """16 kB that stand for 64 MB: refused, and quickly."""
    h2 = connect()
    entry = literal(b"x", b"y" * 4000, INCREMENTAL)
    assert h2.expect_response(h2.request_block(request_block() + entry)).status == 200
    begin = time.monotonic()
    for _ in range(20):
        stream = h2.request_block(request_block() + indexed(62) * 16_000)
        try:
            assert h2.expect_response(stream).status == 431
        except ConnectionEnded:
            assert h2.goaway in (CALM, Code.COMPRESSION_ERROR)
            break
    assert time.monotonic() - begin < ATTACK_S
    others()


def test_heads_that_change_the_table_all_the_time(attack):
    """Nothing that is remembered of the table helps: it is the work of decoding alone."""

    def heads():
        for stream in streams():
            fields = b"".join(literal(b"x", b"%d" % (stream * 100 + number), INCREMENTAL) for number in range(90))
            yield headers_frame(stream, ANSWERED + table_noise(stream) + fields)

    def table_noise(stream):
        return literal(b"y", b"%d" % stream, INCREMENTAL)

    tolerated_or_ended(attack(heads(), seconds=TOLERATED_S), CALM)


# Responses that nobody takes


def test_many_answers_without_a_window(connect, others):
    """CVE-2019-9517: as many as there may be at once, all of them held; others do not wait for them."""
    h2 = connect()
    h2.change_settings((Setting.INITIAL_WINDOW_SIZE, 0))
    for _ in range(h2.server_settings[Setting.MAX_CONCURRENT_STREAMS]):
        h2.request("/large/x?100000")
    others()
    h2.expect_alive()


def test_requests_without_reading_the_answers(attack):
    block = request_block("/large/x?100000")
    begin = settings_frame((Setting.INITIAL_WINDOW_SIZE, MAX_WINDOW)) + window_frame(0, MAX_WINDOW - 65_535)
    requests = (headers_frame(stream, block) for stream in streams())
    outcome = attack(itertools.chain([begin], requests), seconds=TOLERATED_S, reads=False)
    assert outcome.is_closed or outcome.sent < 20_000_000


def test_windows_opened_octet_by_octet(attack, connect):
    """CVE-2019-9511: a response cut into as many frames as it has octets."""
    begin = settings_frame((Setting.INITIAL_WINDOW_SIZE, 0)) + headers_frame(1, request_block("/large/x?10000000"))
    outcome = attack(itertools.chain([begin], itertools.repeat(window_frame(1, 1))))
    ended(outcome, CALM)
    assert outcome.received[PING] == 0


# What honest clients do


def test_browser_that_leaves_a_page_is_no_attacker(connect):
    """It resets a hundred requests at once, and goes on."""
    h2 = connect()
    streams = [h2.request("/ignores_disconnect/x") for _ in range(100)]
    h2.send(*(rst_frame(stream) for stream in streams))
    h2.expect_served()


def test_client_that_gives_windows_back_at_once_is_no_attacker(connect):
    h2 = connect()
    assert len(h2.expect_response(h2.request("/large/x?5000000"), 20).body) == 5_000_000
    h2.expect_served()


def test_uploader_in_small_frames_is_no_attacker(connect):
    """As a browser's streaming upload of small chunks."""
    h2 = connect()
    stream = h2.request("/echo/x", method=b"POST", end=False)
    for _ in range(5000):
        h2.send_data(stream, b"x" * 20)
    h2.send_data(stream, b"", end=True)
    assert len(h2.expect_response(stream).body) == 100_000


def test_chat_of_small_messages_is_no_attacker(connect):
    """Each is acknowledged in both windows, as many clients do."""
    session = StreamSession(connect(), "/echo/x")
    session.opened()
    for number in range(1500):
        assert session.exchange(str(number)) == str(number)
    session.connection.expect_served()
