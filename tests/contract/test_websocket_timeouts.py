"""Contract, section 3, over WebSockets: every wait has an end, and none comes before its time.

As times are looked at once a second, tests allow for ends that come later by that.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed

from daphne_clone.settings import Settings
from tests.support.http1 import Truncated
from tests.support.server_process import ServerProcess, until
from tests.support.ws_client import PING, PONG, TEXT, Session, close_frame, frame, handshake

APPLICATION = "ws_apps:application"

LIMIT_S = 1.0
LATEST_S = 5.0  # the limit and two ticks of the server's clock; the rest is for a busy machine
OPTIONS = [
    *("--ping-interval", "0", "--timeout-write", str(LIMIT_S), "--application-close-timeout", str(LIMIT_S)),
    *("--websocket-handshake-timeout", str(LIMIT_S)),
]
LIVELY = ["--ping-interval", str(LIMIT_S), "--ping-timeout", str(LIMIT_S)]

OPEN = {"type": "websocket.accept"}
SEND = {"type": "websocket.send"}


@contextlib.contextmanager
def session_of(options: list[str], target: str) -> Iterator[tuple[ServerProcess, Session]]:
    """A session on a server of its own, one for each set of limits that would be in each other's way."""
    with ServerProcess(APPLICATION, options) as process, Session(process.address, timeout_s=12) as session:
        session.send(handshake(target))
        session.opened()
        yield process, session


# Handshakes


def test_handshake_that_the_application_leaves_unanswered_is_a_503(server, app):
    with Session(server.address) as session:
        begin = time.monotonic()
        session.send(handshake(app.script("receive", "receive", OPEN)))
        assert session.read_response().status == 503
        assert LIMIT_S * 0.95 < time.monotonic() - begin < LATEST_S
    notes = app.noted(3)
    assert notes[1] == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
    assert "OSError" in notes[2]  # it accepts too late
    server.wait_for_log(rf"WARNING.*/script/{app.key}.*handshake")


def test_connect_timeout_is_a_403():
    options = ["--websocket-connect-timeout", "1", "--websocket-handshake-timeout", "60"]
    with ServerProcess(APPLICATION, options) as server, Session(server.address) as session:
        begin = time.monotonic()
        session.send(handshake("/script/x?['wait']"))
        assert session.read_response().status == 403
        assert LIMIT_S * 0.95 < time.monotonic() - begin < LATEST_S


def test_client_that_never_sends_its_handshake_whole_is_a_408():
    with ServerProcess(APPLICATION, ["--timeout-request-head", "1"]) as server, Session(server.address) as session:
        session.send(handshake("/echo/x")[:-2])
        assert session.read_response().status == 408


def test_session_is_exempt_from_the_timeouts_of_requests():
    options = ["-t", "1", "--timeout-request-head", "1", "--timeout-request-body", "1", "--timeout-keep-alive", "1"]
    with session_of(options, "/echo/x") as (_, session):
        time.sleep(3)  # that nothing happens in this time is the fact
        assert session.exchange("still here") == "still here"


# Signs of life


def test_silent_client_is_sent_pings_and_a_pong_keeps_it():
    with session_of(LIVELY, "/echo/x") as (_, session):
        begin = time.monotonic()
        for _ in range(3):
            assert session.read_frame()[0] == PING
            session.send(frame(PONG))
        assert time.monotonic() - begin > 3 * LIMIT_S * 0.95
        assert session.exchange("still here") == "still here"


def test_half_dead_client_is_found_by_a_ping_that_nothing_follows():
    with session_of(LIVELY, "/events/x") as (server, session):
        begin = time.monotonic()
        assert session.read_frame()[0] == PING
        with pytest.raises(Truncated):
            session.read_frame()
        assert 2 * LIMIT_S * 0.95 < time.monotonic() - begin < 2 * LATEST_S
        with Session(server.address) as other:
            other.send(handshake("/script/y?" + "['receive']"))
            assert other.read_response().status == 500
        server.wait_for_log("WSDISCONNECT /events/x")


def test_any_traffic_is_life():
    """No ping is answered, and yet the clients live: their own data says so, even parts of a frame."""
    part = iter(frame(TEXT, b"x" * 100))
    talk = {
        "text": lambda: frame(TEXT, b"x"),
        "ping": lambda: frame(PING),
        "pong": lambda: frame(PONG, b"not asked for"),
        "part": lambda: bytes([next(part)]),
    }
    with ServerProcess(APPLICATION, LIVELY) as server, contextlib.ExitStack() as stack:
        sessions = {name: stack.enter_context(Session(server.address)) for name in talk}
        for session in sessions.values():
            session.send(handshake("/events/x"))
            session.opened()
        end = time.monotonic() + 6 * LIMIT_S  # a client that is dead is cut after 4 s at the latest
        while time.monotonic() < end:
            for name, session in sessions.items():
                session.send(talk[name]())
            time.sleep(0.3)
        sessions["part"].send(bytes(part))
        for session in sessions.values():
            session.send(close_frame(1000))
            until(lambda session=session: session.read_frame()[0] == 0x88, "the closing handshake")


def test_interval_of_0_sends_no_ping_and_timeout_of_0_waits_for_ever(session, app):
    connection = session(app.path("echo"))
    with session_of(["--ping-interval", "1", "--ping-timeout", "0"], "/echo/x") as (_, other):
        assert other.read_frame()[0] == PING
        time.sleep(3 * LIMIT_S)
        assert other.exchange("still here") == "still here"
    assert connection.exchange("first") == "first"


def test_session_is_closed_after_its_time_whatever_happens_on_it():
    with session_of(["--websocket-timeout", "2"], "/echo/x") as (_, session):
        begin = time.monotonic()
        received = (TEXT, b"x")
        while received[0] == TEXT and time.monotonic() - begin < 2 * LATEST_S:
            time.sleep(0.1)
            session.send(frame(TEXT, b"x"))
            received = session.read_frame()
        assert received == (0x88, b"\x03\xe8")
        assert 2 * 0.95 < time.monotonic() - begin < 2 + LATEST_S


# Backpressure


@pytest.mark.parametrize("session", ["h1"], indirect=True)  # over HTTP/2 the window is less than the test sends
def test_application_that_does_not_receive_makes_the_client_wait_and_loses_nothing(session, app):
    connection = session(app.path("deaf"))
    app.noted(1)
    message = frame(0x82, b"x" * 1000)
    connection.socket.settimeout(LIMIT_S)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 20_000_000:  # more than the kernel holds
            sent += connection.socket.send(message[sent % len(message) :])
    assert sent < 20_000_000
    connection.socket.settimeout(LATEST_S)
    app.release()
    connection.send(message[sent % len(message) :] + close_frame(1000))
    count = sent // len(message) + 1
    assert app.noted(2)[1] == [
        *(count, 1000 * count),
        {"type": "websocket.disconnect", "code": 1000, "reason": ""},
    ]


def test_client_that_does_not_read_makes_send_wait_and_is_cut(session, app):
    connection = session(app.path("torrent", 1000), receive_buffer=65536)
    blocked, cut = app.noted(2)
    assert blocked[0] == "blocked" and blocked[1] < 200
    assert cut[0] == "cut" and "OSError" in cut
    assert len(connection.frames_to_the_end()) < 1000


def test_client_that_reads_slowly_is_served(session, app):
    connection = session(app.path("torrent", 100), receive_buffer=65536)
    begin = time.monotonic()
    for _ in range(100):
        assert len(connection.read_frame()[1]) == 65_536
        time.sleep(0.03)
    assert time.monotonic() - begin > 2 * LIMIT_S
    connection.send(close_frame(1000))
    until(lambda: {"type": "websocket.disconnect", "code": 1000, "reason": ""} in app.noted(), "all was sent")
    assert ["done"] in app.noted()


# Ends


@pytest.mark.parametrize("leave", ["close frame", "reset"])
def test_application_that_outlives_its_client_is_cancelled_and_named_in_the_log(session, app, server, leave):
    connection = session(app.path("ignores_disconnect"))
    app.noted(1)
    begin = time.monotonic()
    connection.send(close_frame(1000)) if leave == "close frame" else connection.reset()
    assert app.noted(2)[1] == "cancelled"
    assert LIMIT_S * 0.95 < time.monotonic() - begin < LATEST_S
    server.wait_for_log(rf"WARNING.*/ignores_disconnect/{app.key}.*cancelled")


def test_client_that_never_answers_a_close_is_cut(session, app):
    connection = session(app.script(OPEN, {"type": "websocket.close"}, "receive"), timeout_s=15)
    assert connection.read_close()[0] == 1000
    begin = time.monotonic()
    connection.socket.settimeout(0.2)
    with contextlib.suppress(Truncated, ConnectionError):
        while time.monotonic() - begin < 15:
            connection.send(frame(TEXT, b"x"))  # what it says instead is no life
            with contextlib.suppress(TimeoutError):
                connection.read_frame()
    assert 9 < time.monotonic() - begin < 14


def test_checkers_live_on_behind_every_kind_of_failure(session, server, websocket, app):
    for steps in (["fail"], [OPEN, "fail"], [OPEN], [OPEN, {**SEND, "text": "x"}, {"type": "nonsense"}, "fail"]):
        with Session(server.address) as connection:
            connection.send(handshake(app.script(*steps)))
            connection.read_until(b"\r\n\r\n")
    connection = session(app.path("ignores_disconnect"))
    connection.send(frame(TEXT, b"x", mask=None))
    until(lambda: "cancelled" in app.noted(), "application_checker still works", LATEST_S)
    with Session(server.address) as last:
        last.send(handshake(app.script("wait")))
        assert last.read_response().status == 503  # and so does timeout_checker
    client = websocket(app.path("echo"))
    client.close()
    with pytest.raises(ConnectionClosed):
        client.recv(timeout=5)


def test_defaults_are_those_of_the_contract():
    settings = Settings()
    assert settings.websocket_connect_timeout == 5
    assert settings.websocket_handshake_timeout is None  # the same
    assert (settings.ping_interval, settings.ping_timeout) == (20, 30)
    assert settings.websocket_timeout == 86_400
    assert settings.websocket_max_message_size == settings.websocket_max_frame_size == 1_048_576
