"""RFC 9113 section 3: how HTTP/2 starts, in the clear; over TLS it is in test_tls.py."""

from __future__ import annotations

import pytest

from tests.support.h2_frames import (
    GOAWAY,
    PREFACE,
    SETTINGS,
    Code,
    Setting,
    data_frame,
    frame,
    frames_of,
    goaway_frame,
    headers_frame,
    ping_frame,
    priority_frame,
    request_block,
    settings_frame,
    window_frame,
)
from tests.support.http1 import Connection, head

# Section 3.1: there is no upgrade from HTTP/1.1 in the clear any more


def test_upgrade_to_h2c_is_ignored(server):
    fields = [
        (b"Connection", b"Upgrade, HTTP2-Settings"),
        (b"Upgrade", b"h2c"),
        (b"HTTP2-Settings", b"AAMAAABkAAQAoAAAAAIAAAAA"),
    ]
    with Connection(server.address) as connection:
        connection.send(head("/hello/x", fields))
        response = connection.read_response()
        assert (response.version, response.status, response.body) == (b"HTTP/1.1", 200, b"hello")


# Section 3.3: starting with prior knowledge


def test_http_1_and_2_are_served_on_one_port(server, h2):
    with Connection(server.address) as connection:
        connection.send(head("/hello/x"))
        assert connection.read_response().version == b"HTTP/1.1"
    h2.expect_served()


def test_server_speaks_first_of_settings(connect):
    connection = connect()  # which holds the server to it
    assert Setting.MAX_CONCURRENT_STREAMS in connection.server_settings


# Section 3.4: the connection preface


@pytest.mark.parametrize("size", [1, 2, 23, 25], ids=str)
def test_preface_in_pieces(connect, size):
    connection = connect(handshake=False)
    octets = PREFACE + settings_frame() + ping_frame(b"in parts") + headers_frame(1, request_block())
    connection.opened(1)
    connection.announced()
    for at in range(0, len(octets), size):
        connection.send(octets[at : at + size])
    assert connection.expect_response(1).body == b"hello"


def test_request_does_not_wait_for_the_servers_settings(connect):
    connection = connect(handshake=False)
    stream = connection.new_stream()
    connection.announced()
    connection.send(PREFACE, settings_frame(), headers_frame(stream, request_block()))
    assert connection.expect_response(stream).body == b"hello"


@pytest.mark.parametrize(
    "octets",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r" + settings_frame(),
        b"PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n" + settings_frame(),
        b"PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n" + settings_frame(),
        b"PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings_frame(),
        b"PRI * HTTP/2.0\r\nA: b\r\n\r\nSM\r\n\r\n" + settings_frame(),
        settings_frame() * 4,
        headers_frame(1, request_block()) + settings_frame(),
    ],
    ids=["last octet", "middle", "version", "target", "a field", "no preface", "no preface nor SETTINGS"],
)
def test_wrong_preface_gets_no_http_2(server, octets):
    """It is PROTOCOL_ERROR, with or without a GOAWAY; on a port that HTTP/1.1 shares, a refusal of that."""
    with Connection(server.address) as connection:
        connection.send(octets)
        answer = connection.read_to_end()
    if answer.startswith(b"HTTP/1.1 "):
        assert answer[9:13] in (b"400 ", b"505 ")
    else:
        kinds = [kind for kind, *_ in frames_of(answer)]
        assert kinds in ([], [SETTINGS], [SETTINGS, GOAWAY], [GOAWAY]), answer


@pytest.mark.parametrize(
    "first",
    [
        ping_frame(),
        headers_frame(1, request_block()),
        data_frame(1, b"x"),
        priority_frame(1),
        window_frame(0, 1000),
        goaway_frame(),
        frame(0xBA, 0, 0, b"unknown"),
    ],
    ids=["PING", "HEADERS", "DATA", "PRIORITY", "WINDOW_UPDATE", "GOAWAY", "unknown"],
)
def test_first_frame_is_settings(connect, first):
    connection = connect(handshake=False)
    connection.opened(1)
    connection.send(PREFACE, first)
    connection.expect_ended(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("length", [3, 16_384])
def test_first_settings_are_malformed(connect, length):
    connection = connect(handshake=False)
    connection.send(PREFACE, frame(SETTINGS, 0, 0, bytes(length)))
    connection.expect_ended(Code.FRAME_SIZE_ERROR, Code.PROTOCOL_ERROR)


def test_client_that_leaves_within_its_preface_harms_nobody(connect, h2):
    for octets in (PREFACE[:10], PREFACE, PREFACE + settings_frame()[:5]):
        connection = connect(handshake=False)
        connection.send(octets)
        connection.close()
    h2.expect_served()
