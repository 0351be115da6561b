"""Contract, section 1: how an application learns that its client is gone, and what its replies come to then."""

from __future__ import annotations

import time

import pytest

from tests.support.apps import SECRET
from tests.support.http1 import Truncated, head

# What is seen at the next look of a periodic checker, once a second, is not seen at once.
AT_ONCE_S = 0.5


@pytest.mark.parametrize("attempt", range(3))  # one look a second may come at the right moment once, not three times
@pytest.mark.parametrize("leave", ["disconnect", "cut"])
def test_receive_gives_the_disconnect_at_once(client, app, leave, attempt):
    with client.open(app.path("until_disconnect")) as exchange:
        app.noted(1)
        begin = time.monotonic()  # of the same clock as the application's
        getattr(exchange, leave)()
    assert app.noted(2)[1] - begin < AT_ONCE_S


def test_receive_gives_the_disconnect_again_and_again(client, app):
    with client.open(app.path("until_disconnect")) as exchange:
        app.noted(1)
        exchange.cut()
    assert app.noted(3)[2] == "http.disconnect"


@pytest.mark.parametrize("leave", ["disconnect", "cut"])
def test_send_after_the_disconnect_raises_a_subclass_of_os_error(client, app, leave):
    with client.open(app.path("until_disconnect")) as exchange:
        app.noted(1)
        getattr(exchange, leave)()
    for note in app.noted(5)[3:]:
        assert "OSError" in note and note[0] != "OSError"


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_receive_gives_the_disconnect_at_once_after_the_response(connect, app, method):
    connection = connect()
    fields = [(b"Content-Length", b"2")] if method == b"POST" else []
    connection.send(head(app.path("after_response"), fields, method=method) + (b"ab" if fields else b""))
    assert connection.read_response().body == b"done"
    kind, waited = app.noted(2)
    assert (kind, waited < AT_ONCE_S) == ("http.disconnect", True)
    connection.send(head(app.path("hello")))  # and the connection is still there
    assert connection.read_response().body == b"hello"


@pytest.mark.parametrize("wrap", ["alone", "group", "nested"])
def test_error_of_a_reply_to_nobody_is_none_in_the_log(client, app, server, wrap):
    with client.open(app.path("reply_to_nobody", wrap)) as exchange:
        app.noted(1)
        exchange.cut()
    app.noted(2)
    # Behind it in the log, once this stands there:
    assert client.request(app.script("fail")).status == 500
    server.wait_for_log(rf"ERROR.*/script/{app.key}")
    assert f"/reply_to_nobody/{app.key}" not in server.log


def test_error_of_the_application_beside_it_is_logged(client, app, server):
    with client.open(app.path("reply_to_nobody", "mixed")) as exchange:
        app.noted(1)
        exchange.cut()
    server.wait_for_log(rf"ERROR.*/reply_to_nobody/{app.key}")
    server.wait_for_log(SECRET)


def test_send_that_waits_for_room_raises_when_the_client_goes(connect, app):
    connection = connect(receive_buffer=65536)
    connection.send(head(app.path("torrent", 32 * 1024 * 1024)))
    app.noted(1)
    connection.reset()
    assert "OSError" in app.noted(2)[1]


@pytest.mark.parametrize("leave", ["disconnect", "cut"])
def test_aborted_upload_never_looks_whole(client, app, leave):
    with client.open(app.path("events"), method=b"POST", body=1000) as exchange:
        exchange.send_body(b"some")
        app.noted(2)
        getattr(exchange, leave)()
    assert app.noted(3)[1:] == [
        {"type": "http.request", "body": b"some", "more_body": True},
        {"type": "http.disconnect"},
    ]


def test_client_that_sends_its_fin_behind_a_whole_request_is_answered(connect, app):
    connection = connect()
    connection.send(head(app.path("slow_answer", "late")))
    connection.send_fin()
    app.noted(1)
    app.release()
    assert connection.read_response().body == b"late"
    assert connection.is_closed()


def test_client_that_sends_its_fin_in_the_middle_of_a_request_is_not_answered(connect, app):
    connection = connect()
    connection.send(head(app.path("events"), [(b"Content-Length", b"10")], method=b"POST") + b"some")
    app.noted(2)
    connection.send_fin()
    assert app.noted(3)[2] == {"type": "http.disconnect"}
    with pytest.raises(Truncated):
        connection.read_response()
