"""RFC 9113 section 6.8 and the contract's section 4: GOAWAY, and what becomes of the streams that are there."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.app_side import AppSide
from tests.support.h2_client import H2Connection
from tests.support.h2_frames import (
    GOAWAY,
    Code,
    data_frame,
    headers_frame,
    request_block,
    rst_frame,
    window_frame,
)
from tests.support.h2_websocket import StreamSession
from tests.support.http1 import Connection, head
from tests.support.server_process import ServerProcess
from tests.support.ws_client import close_frame


@contextmanager
def running(*options: str) -> Iterator[tuple[ServerProcess, H2Connection]]:
    with (
        ServerProcess("h2_apps:application", ["--no-access-log", *options]) as server,
        H2Connection(server.address) as h2,
    ):
        h2.handshake()
        yield server, h2


def goaway(h2):
    """The next GOAWAY: the last stream it names, and its code."""
    frame = h2.wait_for(lambda frame: frame.kind == GOAWAY, "GOAWAY")
    return struct.unpack("!II", frame.payload[:8])


def last_goaway(h2):
    """GOAWAYs up to the one that names the last stream for good (section 6.8: one before it may name none)."""
    while (said := goaway(h2))[0] == 2**31 - 1:
        assert said[1] == Code.NO_ERROR
    return said


def closed(h2):
    """The server closes, and so does the client: the server lingers for a while for those who do not."""
    h2.expect_closed()
    h2.close()


def test_idle_connection_is_told_and_closed():
    with running() as (server, h2):
        h2.expect_served()
        server.send_signal()
        assert last_goaway(h2) == (1, Code.NO_ERROR)
        closed(h2)
        assert server.wait() == 0
        assert "Traceback" not in server.log


def test_connection_without_a_request_is_told_that_none_was_served():
    with running() as (server, h2):
        server.send_signal()
        assert last_goaway(h2) == (0, Code.NO_ERROR)
        closed(h2)
        assert server.wait() == 0


def test_running_streams_end_and_new_ones_are_not_begun():
    with running() as (server, h2):
        upload = h2.request("/echo_late/x", method=b"POST", end=False)
        server.wait_for_log("app: called")
        server.send_signal()
        assert last_goaway(h2) == (upload, Code.NO_ERROR)
        late = h2.new_stream()
        h2.send(headers_frame(late, request_block("/echo_late/x")))
        h2.expect_alive()
        assert not [frame for frame in h2.inbox if frame.stream == late and frame.kind <= 1]
        h2.send_body(upload, b"body")
        assert h2.expect_response(upload).body == b"body"
        closed(h2)
        assert server.wait() == 0
        assert server.log.count("app: called") == 1


def test_request_that_crosses_the_signal_is_served_or_not_named():
    """A client may safely send again what the last GOAWAY does not name, and nothing else."""
    with running() as (server, h2):
        held = h2.request("/echo_late/x", method=b"POST", end=False)
        server.wait_for_log("app: called")
        server.send_signal()
        streams = [h2.request() for _ in range(20)]
        last, _ = last_goaway(h2)
        for stream in streams:
            if stream <= last:
                assert h2.expect_response(stream).body == b"hello"
        h2.send_body(held, b"body")
        assert h2.expect_response(held).body == b"body"
        closed(h2)


def test_what_belongs_to_streams_that_are_not_begun_harms_no_other():
    """Section 6.8: the client has sent it before it knew."""
    with running() as (server, h2):
        held = h2.request("/echo_late/x", method=b"POST", end=False)
        server.wait_for_log("app: called")
        server.send_signal()
        assert last_goaway(h2)[0] == held
        late, reset = h2.new_stream(), h2.new_stream()
        h2.send(headers_frame(late, request_block("/echo_late/x"), end=False), data_frame(late, b"x" * 1000))
        h2.send(window_frame(late, 10), headers_frame(reset, request_block()), rst_frame(reset))
        h2.send(data_frame(late, b"x" * 1000, end=True))
        h2.expect_alive()
        h2.send_body(held, b"body")
        assert h2.expect_response(held).body == b"body"
        closed(h2)
        assert server.wait() == 0


def test_download_under_way_is_whole():
    with running() as (server, h2):
        h2.grants = False
        stream = h2.request("/large/x?1000000")
        assert h2.read_head(stream).status == 200
        server.send_signal()
        assert last_goaway(h2) == (stream, Code.NO_ERROR)
        h2.grants = True
        h2.grant(0, 1_000_000)
        h2.grant(stream, 1_000_000)
        total = 0
        while part := h2.read_part(stream):
            total += len(part)
        assert total == 1_000_000
        closed(h2)
        assert server.wait() == 0


def test_websockets_get_1012():
    with running() as (server, h2):
        session = StreamSession(h2, "/echo/x")
        session.opened()
        server.send_signal()
        assert session.read_close()[0] == 1012
        session.send(close_frame(1012), end=True)
        session.expect_end()
        closed(h2)
        assert server.wait() == 0


def test_what_does_not_end_is_cut_when_the_time_is_up():
    with running("--timeout-graceful-shutdown", "0.5") as (server, h2):
        stream = h2.request("/ignores_disconnect/x")
        AppSide(server.address, "x").noted(1)
        server.send_signal()
        assert last_goaway(h2)[0] == stream
        closed(h2)
        server.wait()
        assert "/ignores_disconnect/x" in server.log


@pytest.mark.parametrize("option", ["--no-http2"])
def test_http_2_can_be_switched_off(option):
    with ServerProcess(options=[option]) as server, Connection(server.address) as connection:
        connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert connection.read_to_end().startswith(b"HTTP/1.1 ")
        with Connection(server.address) as other:
            other.send(head("/hello/x"))
            assert other.read_response().body == b"hello"
