"""Contract, section 1, "WebSocket": how a session begins, or does not, and what its application is told of it."""

from __future__ import annotations

import ast
import socket

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.apps import SECRET
from tests.support.ws_client import ACCEPT, KEY, Session, handshake

APPLICATION = "ws_apps:application"
OPTIONS = ["--root-path", "/mounted"]

OPEN = {"type": "websocket.accept"}
CLOSED = {"type": "websocket.disconnect", "code": 1006, "reason": ""}


def scope_of(client):
    return ast.literal_eval(client.recv(timeout=5))


def headers_named(scope, name):
    return [value for key, value in scope["headers"] if key == name]


def refusal_of(websocket, target):
    with pytest.raises(InvalidStatus) as caught:
        websocket(target)
    return caught.value.response


def has_news(connection):
    """Tell, without waiting, whether the server has sent something or closed."""
    connection.socket.setblocking(False)
    try:
        connection.socket.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    finally:
        connection.socket.settimeout(5)
    return True


# During the handshake


def test_connect_comes_during_the_handshake(server, app):
    """The client has no answer before the application has accepted."""
    with Session(server.address) as session:
        session.send(handshake(app.script("receive", "wait", OPEN, "receive")))
        assert app.noted(2) == [{"type": "websocket.connect"}, "waiting"]
        assert not has_news(session)
        app.release()
        assert session.opened().get(b"sec-websocket-accept") == ACCEPT


def test_application_may_accept_before_it_receives(session, app):
    session(app.script(OPEN, "receive"))
    assert app.noted(2) == ["sent", {"type": "websocket.connect"}]


def test_answer_is_the_handshake_of_rfc_6455(server, app):
    with Session(server.address) as session:
        session.send(handshake(app.path("echo")))
        response = session.opened()
        assert response.get(b"sec-websocket-accept") == ACCEPT
        assert response.get(b"upgrade").lower() == b"websocket"
        assert [value.lower() for value in response.all(b"connection")] == [b"upgrade"]
        for name in (b"content-length", b"transfer-encoding", b"sec-websocket-protocol", b"sec-websocket-extensions"):
            assert response.all(name) == []
        assert response.get(b"server") == b"daphne"
        assert response.get(b"date")


# Instead of a session


def test_close_before_accept_is_a_403_and_a_disconnect(websocket, app):
    target = app.script("receive", {"type": "websocket.close", "code": 4001, "reason": "no"}, "receive", "receive")
    assert refusal_of(websocket, target).status_code == 403
    assert app.noted(4) == [{"type": "websocket.connect"}, "sent", CLOSED, CLOSED]


@pytest.mark.parametrize("steps", [["fail"], ["receive", "fail"], ["receive"], []])
def test_application_that_ends_before_it_accepts_is_a_500(websocket, app, server, steps):
    refusal = refusal_of(websocket, app.script(*steps))
    assert refusal.status_code == 500
    assert SECRET not in refusal.body.decode()
    server.wait_for_log(rf"ERROR.*/script/{app.key}")
    if "fail" in steps:
        server.wait_for_log(rf"RuntimeError: {SECRET}")


@pytest.mark.parametrize("steps", [["fail"], ["receive", "fail"], ["receive"], []])
def test_application_that_ends_a_session_without_closing_it_is_a_1011(websocket, app, server, steps):
    client = websocket(app.script(OPEN, *steps))
    with pytest.raises(ConnectionClosed) as caught:
        client.recv(timeout=5)
    assert caught.value.rcvd.code == 1011
    assert SECRET not in caught.value.rcvd.reason
    server.wait_for_log(rf"ERROR.*/script/{app.key}")


def test_application_that_raises_when_it_is_called_is_a_500(websocket, server):
    """Not when it is awaited: there is no such route, and no coroutine."""
    assert refusal_of(websocket, "/no_such_application/x").status_code == 500
    server.wait_for_log("KeyError: 'no_such_application'")


def test_client_that_leaves_during_the_handshake_is_a_disconnect(server, app):
    with Session(server.address) as session:
        session.send(handshake(app.script("receive", "receive", "receive", OPEN)))
        app.noted(1)
        session.reset()
    notes = app.noted(4)
    assert notes[1:3] == [CLOSED, CLOSED]
    assert "OSError" in notes[3] and notes[3][0] != "OSError"


# Accept


def test_subprotocols_are_in_the_order_of_the_client_and_the_chosen_one_is_answered(websocket, app):
    chosen = {**OPEN, "subprotocol": "soap"}
    client = websocket(app.script(chosen, "receive", "receive"), subprotocols=["wamp", "soap", "mqtt"])
    assert client.subprotocol == "soap"
    assert client.response.headers.get_all("Sec-WebSocket-Protocol") == ["soap"]
    assert scope_of(websocket(app.path("scope_of"), subprotocols=["wamp", "soap"]))["subprotocols"] == ["wamp", "soap"]


def test_subprotocols_of_several_fields_are_joined(session, app):
    fields = [(b"Sec-WebSocket-Protocol", b"a, b"), (b"Sec-WebSocket-Protocol", b" c,,d ")]
    _, payload = session(app.path("scope_of"), fields).read_frame()
    assert ast.literal_eval(payload.decode())["subprotocols"] == ["a", "b", "c", "d"]


def test_no_subprotocol_is_answered_when_none_is_chosen(websocket, app):
    client = websocket(app.path("scope_of"), subprotocols=["wamp"])
    assert "Sec-WebSocket-Protocol" not in client.response.headers
    assert scope_of(websocket(app.path("scope_of")))["subprotocols"] == []


def test_subprotocol_that_was_not_offered_raises(websocket, app):
    client = websocket(app.script({**OPEN, "subprotocol": "other"}, OPEN, "receive"), subprotocols=["wamp"])
    assert client.subprotocol is None
    notes = app.noted(2)
    assert "ApplicationProtocolError" in notes[0] and notes[1] == "sent"


def test_headers_of_the_application_are_in_the_answer_apart_and_in_order(websocket, app):
    headers = [(b"set-cookie", b"a=1"), (b"x-one", b"caf\xc3\xa9"), (b"set-cookie", b"b=2")]
    client = websocket(app.script({**OPEN, "headers": headers}, "receive", "receive"))
    assert client.response.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert client.response.headers["X-One"].encode("latin-1") == "café".encode()


def test_headers_of_the_handshake_itself_are_the_servers(websocket, app):
    headers = [
        *((b"Connection", b"close"), (b"upgrade", b"h2c"), (b"sec-websocket-accept", b"x"), (b"content-length", b"5")),
        *((b"transfer-encoding", b"chunked"), (b"sec-websocket-extensions", b"x-mine")),
    ]
    client = websocket(app.script({**OPEN, "headers": headers}, "receive", "receive"), compression=None)
    sent = client.response.headers
    assert [sent.get_all(name) for name in ("Connection", "Upgrade")] == [["Upgrade"], ["websocket"]]
    assert not {"content-length", "transfer-encoding", "sec-websocket-extensions"} & {name.lower() for name in sent}


@pytest.mark.parametrize(
    "wrong",
    [
        {"headers": [(b"x", b"a\r\nInjected: yes")]},
        {"headers": [(b"x\n", b"a")]},
        {"headers": [("x", "a")]},
        {"headers": [(b"x",)]},
        {"headers": 5},
        {"subprotocol": b"wamp"},
    ],
)
def test_wrong_accept_raises_and_a_right_one_still_opens(websocket, app, wrong):
    client = websocket(app.script({**OPEN, **wrong}, OPEN, "receive"), subprotocols=["wamp"])
    assert "Injected" not in client.response.headers
    notes = app.noted(2)
    assert "ApplicationProtocolError" in notes[0] and notes[1] == "sent"


@pytest.mark.parametrize(
    "message",
    [
        {"type": "websocket.send", "text": "early"},
        {"type": "websocket.nonsense"},
        {"type": "http.response.start", "status": 200},
        {"no": "type"},
    ],
)
def test_message_out_of_place_raises_and_an_accept_still_opens(websocket, app, message):
    websocket(app.script(message, OPEN, "receive"))
    notes = app.noted(2)
    assert "ApplicationProtocolError" in notes[0] and notes[1] == "sent"


def test_second_accept_raises(websocket, app):
    websocket(app.script(OPEN, OPEN, {"type": "websocket.http.response.start", "status": 403}, "receive"))
    notes = app.noted(3)
    assert notes[0] == "sent"
    assert all("ApplicationProtocolError" in note for note in notes[1:3])


# Scope


def test_scope_has_every_key_of_the_specification(websocket, app):
    scope = scope_of(websocket(app.path("scope_of")))
    assert set(scope) == {
        *("type", "asgi", "http_version", "scheme", "path", "raw_path", "query_string", "root_path", "headers"),
        *("client", "server", "subprotocols", "state", "extensions"),
    }
    assert scope["type"] == "websocket"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    assert (scope["http_version"], scope["scheme"], scope["root_path"]) == ("1.1", "ws", "/mounted")
    assert scope["extensions"] == {"websocket.http.response": {}}


def test_path_is_decoded_and_raw_path_is_not(websocket, app):
    scope = scope_of(websocket(app.path("scope_of") + "/caf%C3%A9%20%2F+?q=%20&caf%C3%A9"))
    assert scope["path"] == app.path("scope_of") + "/café /+"
    assert scope["raw_path"] == app.path("scope_of").encode() + b"/caf%C3%A9%20%2F+"
    assert scope["query_string"] == b"q=%20&caf%C3%A9"


def test_client_and_server_are_lists_of_address_and_port(websocket, app, server):
    client = websocket(app.path("scope_of"))
    scope = scope_of(client)
    assert scope["client"] == list(client.local_address)
    assert scope["server"] == list(server.address)


def test_headers_are_lower_case_bytes_apart_and_in_order(session, app):
    fields = [(b"X-Two", b"1"), (b"Cookie", b"a=b"), (b"X-Two", b"2"), (b"X-Value", "Å".encode())]
    _, payload = session(app.path("scope_of"), fields).read_frame()
    scope = ast.literal_eval(payload.decode())
    assert [field for field in scope["headers"] if field[0] in (b"x-two", b"cookie")] == [
        (b"x-two", b"1"),
        (b"cookie", b"a=b"),
        (b"x-two", b"2"),
    ]
    assert headers_named(scope, b"x-value") == ["Å".encode()]
    assert headers_named(scope, b"sec-websocket-key") == ([KEY] if scope["http_version"] == "1.1" else [])


@pytest.mark.parametrize("origin", [b"null", b"https://example.org", b"https://\xff"])
def test_origin_is_passed_on_whatever_it_is(session, app, origin):
    _, payload = session(app.path("scope_of"), [(b"Origin", origin)]).read_frame()
    assert headers_named(ast.literal_eval(payload.decode()), b"origin") == [origin]


def test_state_is_a_shallow_copy_for_each_session(websocket, app):
    first, second = (ast.literal_eval(websocket(app.path("count")).recv(timeout=5)) for _ in range(2))
    assert (first[0], second[0]) == (1, 1)
    assert second[1] == first[1] + 1
