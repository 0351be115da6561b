"""Contract, section 1, "WebSocket": the lines of the access log that tell of a session, and of a handshake refused."""

from __future__ import annotations

import re

import pytest

from tests.support.server_process import until
from tests.support.ws_client import Session, close_frame, handshake

APPLICATION = "ws_apps:application"

OPEN = {"type": "websocket.accept"}
START = {"type": "websocket.http.response.start", "status": 401}
BODY = {"type": "websocket.http.response.body"}


def verbs_of(server, app, last):
    """The verbs that the log has for the test's own requests, once ``last`` is among them."""
    found = []

    def seen():
        found[:] = re.findall(rf'"(\S+) /\S*/{app.key}[^"]*"', server.log)
        found[:] = [verb for verb in found if verb.startswith("WS")]
        return last in found

    until(seen, f"{last} in the log")
    return found


def end_of(connection):
    """Close and wait until the server has closed too."""
    connection.send(close_frame(1000))
    connection.read_close()
    assert connection.is_closed()


def test_session_has_a_line_at_each_step(session, server, app):
    connection = session(app.path("echo", "a=1"))
    host, port = connection.socket.getsockname()
    assert verbs_of(server, app, "WSCONNECT") == ["WSCONNECTING", "WSCONNECT"]
    end_of(connection)
    assert verbs_of(server, app, "WSDISCONNECT") == ["WSCONNECTING", "WSCONNECT", "WSDISCONNECT"]
    lines = [line for line in server.log.splitlines() if f'{app.path("echo", "a=1")}"' in line]
    assert len(lines) == 3
    assert all(line.startswith(f"{host}:{port} ") for line in lines)


def test_connecting_has_its_line_before_the_application_has_answered(server, app):
    with Session(server.address) as session:
        session.send(handshake(app.script("receive", "wait", OPEN, "receive")))
        assert verbs_of(server, app, "WSCONNECTING") == ["WSCONNECTING"]
        app.release()
        session.opened()
        assert verbs_of(server, app, "WSCONNECT") == ["WSCONNECTING", "WSCONNECT"]


@pytest.mark.parametrize("leave", ["close", "reset", "send_fin"])
def test_client_that_vanishes_has_its_line(session, server, app, leave):
    connection = session(app.path("echo"))
    getattr(connection, leave)()
    assert verbs_of(server, app, "WSDISCONNECT") == ["WSCONNECTING", "WSCONNECT", "WSDISCONNECT"]


@pytest.mark.parametrize("last", ["fail", {"type": "websocket.close"}, None])
def test_end_by_the_application_has_its_line(session, server, app, last):
    session(app.script(OPEN, *filter(None, [last])))
    assert verbs_of(server, app, "WSDISCONNECT") == ["WSCONNECTING", "WSCONNECT", "WSDISCONNECT"]


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        ([{"type": "websocket.close"}], 403),
        (["fail"], 500),
        ([], 500),
        ([START, {**BODY, "body": b"no", "more_body": True}, BODY], 401),
    ],
)
def test_handshake_that_is_denied_has_its_line_and_none_of_http(connect, server, app, steps, status):
    connection = connect()
    connection.send(handshake(app.script(*steps)))
    assert connection.read_response().status == status
    assert verbs_of(server, app, "WSREJECT") == ["WSCONNECTING", "WSREJECT"]
    app.noted()  # this one has a line, behind
    assert not re.search(rf'"GET /script/{app.key}', server.log)


@pytest.mark.parametrize(("options", "status"), [({"version": b"12"}, 426), ({"key": b"bad"}, 400)])
def test_handshake_that_is_refused_has_its_line(connect, server, app, options, status):
    connection = connect()
    connection.send(handshake(app.path("echo"), **options))
    assert connection.read_response().status == status
    assert verbs_of(server, app, "WSREJECT") == ["WSREJECT"]  # no application was connected to
