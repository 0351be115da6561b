"""Contract, section 4, over WebSockets: a real signal stops a real server, with sessions at every stage."""

from __future__ import annotations

import re
import signal
import threading
import time

import pytest

from tests.support.http1 import Connection, Truncated, head
from tests.support.server_process import ServerProcess
from tests.support.ws_client import BINARY, CLOSE, TEXT, Session, close_frame, frame, handshake

APPLICATION = "ws_apps:application"

EITHER_SIGNAL = pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=lambda signum: signum.name)
DISCONNECT_1012 = r"app: \{'type': 'websocket.disconnect', 'code': 1012, 'reason': ''\}"


def opened(server, target, **options):
    session = Session(server.address, **options)
    session.send(handshake(target))
    session.opened()
    return session


@EITHER_SIGNAL
def test_sessions_get_1012_and_their_applications_a_disconnect_before_the_lifespan_ends(signum):
    with ServerProcess(APPLICATION) as server, opened(server, "/stop_story/x?slow") as session:
        assert session.read_frame() == (TEXT, b"begin")
        begin = time.monotonic()
        server.send_signal(signum)
        assert session.read_close() == (1012, "")
        session.send(close_frame(1012))
        assert session.is_closed()
        told = float(server.wait_for_log(DISCONNECT_1012 + r" at ([\d.]+)")[1])
        assert told - begin < 1
        assert server.wait() == 0
        assert time.monotonic() - begin < 5
        assert re.search("app: ended.*app: shutdown", server.log, re.DOTALL)
        assert server.log.count("app: shutdown") == 1
        assert "WSDISCONNECT /stop_story/x" in server.log
        assert not re.search("ERROR|WARNING|Traceback", server.log)


def test_http_and_websockets_end_side_by_side():
    with (
        ServerProcess(APPLICATION) as server,
        opened(server, "/stop_story/x") as session,
        Connection(server.address) as busy,
    ):
        assert session.read_frame() == (TEXT, b"begin")
        busy.send(head("/echo_late/x", [(b"Content-Length", b"4")], method=b"POST"))
        server.wait_for_log("app: called")
        server.send_signal()
        assert session.read_close() == (1012, "")
        assert server.refuses_connections()
        busy.send(b"late")
        assert busy.read_response().body == b"late"
        assert server.is_running()  # the client has not answered the Close
        session.send(close_frame(1012))
        assert session.is_closed()
        assert server.wait() == 0


def test_client_that_never_answers_the_close_does_not_keep_the_process():
    with (
        ServerProcess(APPLICATION, ["--timeout-graceful-shutdown", "1"]) as server,
        opened(server, "/stop_story/x") as session,
    ):
        assert session.read_frame() == (TEXT, b"begin")
        begin = time.monotonic()
        server.send_signal()
        assert session.read_close() == (1012, "")
        assert server.wait() == 0
        assert 0.9 < time.monotonic() - begin < 5
        assert "app: shutdown" in server.log


def test_client_that_does_not_read_does_not_keep_the_process():
    with (
        ServerProcess(APPLICATION, ["--timeout-graceful-shutdown", "1"]) as server,
        opened(server, "/torrent/x?1000", receive_buffer=65536) as session,
    ):
        session.read_frame()
        begin = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begin < 5
        assert "app: shutdown" in server.log
        assert len(session.frames_to_the_end()) < 1000


def test_messages_under_way_are_read_by_the_client_before_the_close():
    with ServerProcess(APPLICATION) as server, opened(server, "/ticker/x?0.01") as session:
        assert session.read_frame() == (TEXT, b"tick")
        server.send_signal()
        while (received := session.read_frame())[0] == TEXT:
            assert received[1] == b"tick"
        assert received == (CLOSE, b"\x03\xf4")
        session.send(close_frame(1012))
        assert session.is_closed()
        assert server.wait() == 0
        assert not re.search("ERROR|Traceback", server.log)  # its send() raised, and that is no fault


def test_session_whose_client_was_made_to_wait_ends_too():
    """The application receives nothing, so the client's Close is behind megabytes that nobody has read."""
    options = ["--timeout-graceful-shutdown", "2"]
    with ServerProcess(APPLICATION, options) as server, opened(server, "/deaf/x") as session:
        message = frame(BINARY, b"x" * 60_000)
        session.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            session.send(message * 1000)
        session.socket.settimeout(5)
        begin = time.monotonic()
        server.send_signal()
        assert session.read_close() == (1012, "")
        session.reset()
        server.wait_for_log("WSDISCONNECT /deaf/x")
        assert time.monotonic() - begin < 1
        assert server.wait() == 0  # at the limit: the application waits for ever


@pytest.mark.parametrize("stage", ["before", "during"])
def test_handshake_under_way_is_answered(stage):
    """Its head has begun, or its application has not accepted yet: the session opens, and ends with 1012."""
    with ServerProcess(APPLICATION) as server, Session(server.address) as session:
        if stage == "before":
            session.send(handshake("/accepts_late/x")[:-2])
            with Connection(server.address) as other:
                other.send(head("/hello/x"))
                assert other.read_response().status == 200  # the server has read what came before
        else:
            session.send(handshake("/accepts_late/x"))
            server.wait_for_log("app: called")
        server.send_signal()
        server.wait_for_log("stopping")
        if stage == "before":
            session.send(b"\r\n")
        session.opened()
        assert session.read_close() == (1012, "")
        session.send(close_frame(1012))
        assert session.is_closed()
        assert server.wait() == 0
        server.wait_for_log(DISCONNECT_1012)
        assert "app: shutdown" in server.log


def test_handshake_that_is_never_answered_ends_at_its_own_limit():
    options = ["--websocket-handshake-timeout", "1"]
    with ServerProcess(APPLICATION, options) as server, Session(server.address) as session:
        session.send(handshake("/script/x?['receive','wait']"))
        server.wait_for_log("WSCONNECTING")
        server.send_signal()
        response = session.read_response()
        assert (response.status, response.get(b"connection")) == (503, b"close")
        assert session.is_closed()
        server.send_signal()
        server.wait()


@pytest.mark.parametrize("name", ["ignores_disconnect", "stubborn"])
def test_past_the_limit_the_rest_is_cancelled_and_named_with_path_and_age(name):
    with (
        ServerProcess(APPLICATION, ["--timeout-graceful-shutdown", "1"]) as server,
        opened(server, f"/{name}/first") as session,
    ):
        begin = time.monotonic()
        server.send_signal()
        assert session.read_close() == (1012, "")
        session.send(close_frame(1012))
        assert session.is_closed()
        assert server.wait() == 0
        assert 0.9 < time.monotonic() - begin < 8
        [age] = re.findall(rf"WARNING +WebSocket /{name}/first was still running after ([\d.]+) s", server.log)
        assert 0.9 < float(age) < 5
        assert server.log.index("still running") < server.log.index("app: shutdown")
        assert ("app: cancelled" if name == "ignores_disconnect" else "app: not impressed") in server.log


@EITHER_SIGNAL
def test_second_signal_ends_at_once(signum):
    with ServerProcess(APPLICATION) as server, opened(server, "/ignores_disconnect/x") as session:
        server.send_signal(signum)
        assert session.read_close() == (1012, "")
        begin = time.monotonic()
        server.send_signal(signum)
        assert server.wait() != 0
        assert time.monotonic() - begin < 5
        with pytest.raises(Truncated):
            session.read_frame()


def test_many_sessions_that_talk_all_end_with_1012():
    count = 100
    results = []

    def talk(session):
        try:
            with session:
                while True:
                    session.send(frame(TEXT, b"x"))
                    received = session.read_frame()
                    if received[0] == CLOSE:
                        session.send(close_frame(1012))
                        results.append(received[1])
                        return
        except Exception as error:
            results.append(error)

    with ServerProcess(APPLICATION, ["--no-access-log"]) as server:
        sessions = [opened(server, "/echo/x") for _ in range(count)]
        threads = [threading.Thread(target=talk, args=(session,)) for session in sessions]
        for thread in threads:
            thread.start()
        begin = time.monotonic()
        server.send_signal()
        assert server.wait() == 0
        assert time.monotonic() - begin < 5
        for thread in threads:
            thread.join(5)
        assert results == [b"\x03\xf4"] * count
        assert not re.search("ERROR|WARNING|Traceback", server.log)
