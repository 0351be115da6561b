"""Contract, sections 2 and 3: every size has a bound, and each bound its status."""

from __future__ import annotations

import pytest

from tests.support.http1 import Client, Connection, head
from tests.support.server_process import ServerProcess, until

LINE = 200
HEAD = 1000
FIELDS = 10
BODY = 100
PIECE = 10
OPTIONS = [
    *("--limit-request-line", str(LINE), "--limit-request-head", str(HEAD), "--limit-request-fields", str(FIELDS)),
    *("--limit-request-body", str(BODY), "--request-buffer-size", str(PIECE)),
]


def target_for_line(app, length):
    """A target whose whole request line, without its end, has this length."""
    path = app.path("hello") + "/"
    return path + "x" * (length - len("GET  HTTP/1.1") - len(path))


def status_of(connection):
    response = connection.read_response()
    if response.status != 200:
        assert response.get(b"connection") == b"close"
        connection.send_fin()
        assert connection.read_to_end() == b""
    return response.status


# Heads


@pytest.mark.parametrize(("length", "status"), [(LINE, 200), (LINE + 1, 414)])
def test_line_over_its_limit_is_a_414(connect, app, length, status):
    connection = connect()
    connection.send(head(target_for_line(app, length)))
    assert status_of(connection) == status


def test_line_without_an_end_is_a_414_as_soon_as_it_is_too_long(connect):
    connection = connect()
    connection.send(b"GET /" + b"x" * LINE)
    assert status_of(connection) == 414


@pytest.mark.parametrize(("size", "status"), [(HEAD, 200), (HEAD + 1, 431)])
def test_head_over_its_limit_is_a_431(connect, app, size, status):
    connection = connect()
    rest = size - len(head(app.path("hello"), [(b"X", b"")]))
    request = head(app.path("hello"), [(b"X", b"y" * rest)])
    assert len(request) == size
    connection.send(request)
    assert status_of(connection) == status


def test_line_of_a_field_without_an_end_is_a_431_as_soon_as_it_is_too_long(connect):
    connection = connect()
    connection.send(b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"y" * HEAD)
    assert status_of(connection) == 431


@pytest.mark.parametrize(("count", "status"), [(FIELDS, 200), (FIELDS + 1, 431)])
def test_more_fields_than_allowed_are_a_431(connect, app, count, status):
    connection = connect()
    connection.send(head(app.path("hello"), [(b"X", b"y")] * (count - 1)))
    assert status_of(connection) == status


def test_trailers_have_the_same_limits(connect, app):
    connection = connect()
    connection.send(head(app.path("echo"), [(b"Transfer-Encoding", b"chunked")], method=b"POST"))
    connection.send(b"0\r\n" + b"X: y\r\n" * (FIELDS + 1) + b"\r\n")
    assert status_of(connection) == 431


# Bodies


@pytest.mark.parametrize(("size", "status"), [(BODY, 200), (BODY + 1, 413)])
def test_announced_body_over_its_limit_is_a_413_and_never_reaches_an_application(client, app, size, status):
    with client.open(app.path("echo"), method=b"POST", body=b"x" * size) as exchange:
        assert exchange.read_response().status == status
    assert app.noted() == (["called", b"x" * size] if status == 200 else [])


@pytest.mark.parametrize(("size", "status"), [(BODY, 200), (BODY + 1, 413)])
def test_chunked_body_over_its_limit_is_a_413(connect, app, size, status):
    connection = connect()
    connection.send(head(app.path("echo"), [(b"Transfer-Encoding", b"chunked")], method=b"POST"))
    connection.send(b"1\r\nx\r\n" * (size - 1) + b"1\r\nx\r\n0\r\n\r\n")
    assert status_of(connection) == status
    assert app.noted() == (["called", b"x" * size] if status == 200 else ["called"])


def test_application_hears_of_a_body_that_was_cut_off(connect, app):
    connection = connect()
    connection.send(head(app.path("until_disconnect"), [(b"Transfer-Encoding", b"chunked")], method=b"POST"))
    app.noted(1)
    connection.send(b"%x\r\n" % (BODY + 1))
    assert status_of(connection) == 413
    assert app.noted(3)[2] == "http.disconnect"


def test_body_has_no_limit_by_default():
    with ServerProcess() as server:
        body = b"x" * 5_000_000
        assert len(Client(server.address).request("/echo/x", method=b"POST", body=body).body) == len(body)


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, 2 * PIECE, 2 * PIECE + 1, BODY])
def test_body_comes_in_events_of_exactly_the_buffer_size(client, app, size):
    body = bytes(range(size))
    assert client.request(app.path("events"), method=b"POST", body=body).status == 200
    events = app.noted(2)[1:]
    assert [event["body"] for event in events] == [body[at : at + PIECE] for at in range(0, size, PIECE)]
    assert [event["more_body"] for event in events] == [True] * (len(events) - 1) + [False]


def test_body_that_comes_in_drops_comes_in_events_of_exactly_the_buffer_size(client, app):
    with client.open(app.path("events"), method=b"POST", body=PIECE + 5) as exchange:
        for octet in range(PIECE + 5):
            exchange.send_body(bytes([octet]))
        assert exchange.read_response().status == 200
    assert [len(event["body"]) for event in app.noted(3)[1:]] == [PIECE, 5]


# How much at a time


def test_requests_over_the_concurrency_limit_get_503_and_retry_after():
    with ServerProcess(options=["--limit-concurrency", "2"]) as server:
        client = Client(server.address)
        with client.open("/until_disconnect/a") as one, client.open("/slow_answer/a?2") as two:
            # Both are under way once a third is turned away.
            until(lambda: client.request("/hello/a").status == 503, "the limit is reached")
            refused = client.request("/hello/a")
            assert (refused.status, refused.get(b"retry-after")) == (503, b"1")
            with Connection(server.address) as connection:  # which is not closed for it
                for _ in range(2):
                    connection.send(head("/hello/a"))
                    assert connection.read_response().status == 503
            # A body that was refused does not become the next request.
            refused = client.request("/echo/a", method=b"POST", body=b"x" * 100)
            assert refused.status == 503
            one.disconnect()
            until(lambda: client.request("/release/a").status == 200, "a place is free again")
            assert two.read_response().body == b"2"
        assert "/hello/a" in server.log and "503" in server.log


def test_connections_over_the_limit_are_turned_away():
    with ServerProcess(options=["--limit-connections", "2"]) as server:
        with Connection(server.address) as one, Connection(server.address) as two:
            for connection in (one, two):
                connection.send(head("/hello/a"))
                assert connection.read_response().status == 200
            with Connection(server.address) as three:
                assert three.is_closed()
            one.send(head("/hello/a"))
            assert one.read_response().status == 200
            two.close()

            def has_room():
                with Connection(server.address) as connection:
                    try:
                        connection.send(head("/hello/a"))
                        return connection.read_response().status == 200
                    except Exception:
                        return False

            until(has_room, "a place is free again")
        server.wait_for_log("WARNING.*--limit-connections")


def test_keep_alive_connections_do_not_count_as_requests():
    with ServerProcess(options=["--limit-concurrency", "1"]) as server:
        idle = [Connection(server.address) for _ in range(3)]
        try:
            for connection in idle:
                connection.send(head("/hello/a"))
                assert connection.read_response().status == 200
        finally:
            for connection in idle:
                connection.close()
