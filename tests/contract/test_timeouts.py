"""Contract, section 3, over HTTP: every wait has an end.

Nothing ends before its time; as times are looked at once a second, tests allow for ends that come later by that.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from daphne_clone.settings import Settings
from tests.support.http1 import Client, Connection, Truncated, head
from tests.support.server_process import ServerProcess, until

LIMIT_S = 1.0
LATEST_S = 5.0  # the limit and two ticks of the server's clock; the rest is for a busy machine
OPTIONS = [
    *("--timeout-request-head", str(LIMIT_S), "--timeout-keep-alive", str(LIMIT_S)),
    *("--timeout-request-body", str(LIMIT_S), "--timeout-write", str(LIMIT_S)),
    *("--application-close-timeout", str(LIMIT_S)),
]


@pytest.fixture(scope="module")
def patient_server() -> Iterator[ServerProcess]:
    """No limit but that of a request as a whole."""
    options = ["-t", str(LIMIT_S)]
    for name in ("request-head", "keep-alive", "request-body", "write"):
        options += [f"--timeout-{name}", "0"]
    with ServerProcess(options=options) as server:
        yield server


def drip(connection: Connection, data: bytes, times: int, pause_s: float, is_over: Callable[[], bool]) -> int:
    """Send ``data`` again and again, at a pace; stop when it is over. Returns how often."""
    for count in range(times):
        if is_over():
            return count
        try:
            connection.send(data)
        except ConnectionError:
            return count
        time.sleep(pause_s)
    return times


def has_news(connection: Connection) -> bool:
    """Tell, without waiting, whether the server has sent something or closed."""
    connection.socket.setblocking(False)
    try:
        connection.socket.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    finally:
        connection.socket.settimeout(LATEST_S)
    return True


# Heads


def test_silent_connection_is_closed_without_an_answer(connect):
    connection = connect()
    begin = time.monotonic()
    assert connection.read_to_end() == b""
    assert LIMIT_S * 0.95 < time.monotonic() - begin < LATEST_S


def test_head_that_is_not_whole_in_time_is_a_408(connect, app):
    connection = connect()
    connection.send(head(app.path("hello"))[:-2])
    assert connection.read_response().status == 408
    assert connection.is_closed()


def test_head_that_drips_is_a_408(connect, app):
    connection = connect()
    begin = time.monotonic()
    connection.send(head(app.path("hello"))[:-2])
    assert drip(connection, b"X: y\r\n", 80, 0.1, lambda: has_news(connection)) < 80
    assert time.monotonic() - begin < LATEST_S
    assert connection.read_response().status == 408


def test_idle_connection_is_closed_without_an_answer(connect, app):
    connection = connect()
    connection.send(head(app.path("hello")))
    assert connection.read_response().body == b"hello"
    begin = time.monotonic()
    assert connection.read_to_end() == b""
    assert LIMIT_S * 0.95 < time.monotonic() - begin < LATEST_S


def test_second_head_that_is_not_whole_in_time_is_a_408(connect, app):
    connection = connect()
    connection.send(head(app.path("hello")) + head(app.path("hello"))[:-2])
    assert connection.read_response().status == 200
    assert connection.read_response().status == 408


def test_application_may_take_longer_than_any_limit_of_the_client(connect, app):
    connection = connect()
    connection.send(head(app.path("slow_answer", "late")))
    app.noted(1)
    time.sleep(2 * LIMIT_S + 0.5)  # that nothing happens in this time is the fact
    assert not has_news(connection)
    app.release()
    assert connection.read_response().body == b"late"


# Bodies


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_body_that_stalls_is_a_408_and_a_disconnect(connect, app, framing):
    connection = connect()
    field = (b"Content-Length", b"100") if framing == "length" else (b"Transfer-Encoding", b"chunked")
    connection.send(head(app.path("events"), [field], method=b"POST"))
    connection.send(b"some" if framing == "length" else b"4\r\nsome\r\n")
    assert connection.read_response().status == 408
    assert connection.is_closed()
    assert app.noted(3)[2] == {"type": "http.disconnect"}


def test_body_that_trickles_is_a_408_though_it_never_stalls(connect, app):
    connection = connect()
    connection.send(head(app.path("echo"), [(b"Content-Length", b"1000")], method=b"POST"))
    assert drip(connection, b"x", 80, 0.1, lambda: has_news(connection)) < 80
    assert connection.read_response().status == 408


def test_slow_body_over_the_minimum_rate_is_served(connect, app):
    connection = connect()
    times, part = 25, b"x" * 100  # 1,000 octets a second, for longer than the limit
    connection.send(head(app.path("echo"), [(b"Content-Length", b"%d" % (times * len(part)))], method=b"POST"))
    assert drip(connection, part, times, 0.1, lambda: False) == times
    assert len(connection.read_response().body) == times * len(part)


def test_body_is_not_missed_while_its_application_does_not_take_it(connect, app):
    """The client is not stalled by itself: it is made to wait."""
    connection = connect()
    size = 8_000_000
    begin, end = {"type": "http.response.start", "status": 200}, {"type": "http.response.body"}
    steps = app.script("wait", *["receive"] * 3, begin, end)
    connection.send(head(steps, [(b"Content-Length", b"%d" % size)], method=b"POST"))
    app.noted(1)
    connection.socket.settimeout(2 * LIMIT_S)
    with pytest.raises(TimeoutError):
        connection.send(b"x" * size)
    connection.socket.settimeout(LATEST_S)
    assert not has_news(connection)
    app.release()
    assert connection.read_response().status == 200


def test_stall_in_the_middle_of_a_response_cuts_it(connect, app):
    connection = connect()
    begin = {"type": "http.response.start", "status": 200}
    steps = app.script(begin, {"type": "http.response.body", "body": b"x", "more_body": True}, "receive", "receive")
    connection.send(head(steps, [(b"Content-Length", b"100")], method=b"POST"))
    with pytest.raises(Truncated):
        connection.read_response()
    assert app.noted(3)[2] == {"type": "http.disconnect"}


# Readers


@pytest.mark.parametrize("name", ["torrent", "large"])
def test_reader_that_stalls_is_cut(connect, app, name):
    connection = connect(receive_buffer=65536)
    size = 32 * 1024 * 1024
    connection.send(head(app.path(name, size)))
    if name == "torrent":
        assert app.noted(2)[1][0] == "cut"
    else:
        # Its application is done long since: the rest waits in the server alone.
        until(lambda: is_reset(connection), "the connection is cut", LATEST_S + 2)
    with pytest.raises(Truncated) as caught:
        connection.read_response()
    assert len(caught.value.received) < size


def is_reset(connection: Connection) -> bool:
    return connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0 or not _is_established(connection)


def _is_established(connection: Connection) -> bool:
    try:
        connection.socket.getpeername()
    except OSError:
        return False
    return True


def test_slow_reader_is_served(connect, app):
    connection = connect(receive_buffer=65536)
    connection.send(head(app.path("large", 6_000_000)))
    response = connection.read_head()
    left = int(response.get(b"content-length"))
    begin = time.monotonic()
    while left:
        taken = connection.read_exactly(min(left, 240_000))
        left -= len(taken)
        time.sleep(0.1)
    assert time.monotonic() - begin > 2 * LIMIT_S


# Applications


@pytest.mark.parametrize("leave", ["disconnect", "cut"])
def test_application_that_outlives_its_client_is_cancelled_and_named_in_the_log(client, app, server, leave):
    with client.open(app.path("ignores_disconnect")) as exchange:
        app.noted(1)
        begin = time.monotonic()
        getattr(exchange, leave)()
    assert app.noted(2)[1] == "cancelled"
    assert LIMIT_S * 0.95 < time.monotonic() - begin < LATEST_S
    server.wait_for_log(rf"WARNING.*/ignores_disconnect/{app.key}.*cancelled")


def test_application_that_outlives_its_response_is_left_alone_while_its_client_is_there(connect, app):
    connection = connect()
    start, body = {"type": "http.response.start", "status": 200}, {"type": "http.response.body"}
    connection.send(head(app.script(start, body, "wait", body)))
    assert connection.read_response().status == 200
    assert app.noted(3)[2] == "waiting"
    app.release()
    assert app.noted(4)[3] == "sent"


def test_checkers_live_on_behind_every_kind_of_failure(connect, client, app):
    start, more = {"type": "http.response.start", "status": 200}, {"type": "http.response.body", "more_body": True}
    for steps in (["fail"], [start, more, "fail"], [start], [], [{"type": "nonsense"}, "fail"]):
        with client.open(app.script(*steps)) as exchange:
            exchange.ends_without_response()
    connection = connect()
    connection.send(b"BROKEN\r\n\r\n")
    assert connection.read_response().status == 400
    with client.open(app.path("ignores_disconnect")) as exchange:
        app.noted(1)
    until(lambda: "cancelled" in app.noted(), "application_checker still works", LATEST_S)
    assert connect().read_to_end() == b""  # and so does timeout_checker


# -t


def test_request_over_the_http_timeout_is_a_503(patient_server):
    begin = time.monotonic()
    with Client(patient_server.address).open("/slow_answer/never") as exchange:
        assert exchange.read_response().status == 503
    assert LIMIT_S * 0.9 < time.monotonic() - begin < LATEST_S


def test_response_over_the_http_timeout_shows_as_truncated(patient_server):
    with Client(patient_server.address).open("/stream/never") as exchange:
        assert exchange.read_head().status == 200
        assert exchange.read_part() == b"first"
        assert exchange.ends_without_response()


def test_zero_is_no_limit(patient_server):
    with Connection(patient_server.address) as silent, Connection(patient_server.address) as partial:
        partial.send(head("/hello/x")[:-2])
        time.sleep(2 * LIMIT_S + 0.5)  # that nothing happens in this time is the fact
        assert not has_news(silent) and not has_news(partial)
        partial.send(b"\r\n")
        assert partial.read_response().body == b"hello"
        silent.send(head("/hello/x"))
        assert silent.read_response().body == b"hello"


def test_no_request_times_out_by_default(server):
    assert "http-timeout" not in " ".join(OPTIONS)
    with Client(server.address).open("/slow_answer/default") as exchange:
        time.sleep(2 * LIMIT_S)
        assert Client(server.address).request("/release/default").status == 200
        assert exchange.read_response().status == 200


def test_defaults_are_those_of_the_contract():
    settings = Settings()
    assert settings.timeout_keep_alive == 75  # not 5: pools behind proxies meet closing sockets otherwise
    assert settings.application_close_timeout == 10
    assert settings.timeout_graceful_shutdown == 30
    assert settings.http_timeout is None
    assert settings.limit_request_body == 0
    for name in ("timeout_request_head", "timeout_request_body", "timeout_write"):
        assert 0 < getattr(settings, name) <= 60
