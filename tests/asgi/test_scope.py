"""Scopes of HTTP exchanges and of WebSockets."""

from __future__ import annotations

from typing import Any

from daphne_clone.asgi.scope import http_scope, websocket_scope
from daphne_clone.interfaces import RequestHead


def head() -> RequestHead:
    return RequestHead("GET", b"/caf%C3%A9", "/café", b"a=%20", "1.1", [(b"host", b"a"), (b"x", b"1"), (b"x", b"2")])


def scope_of(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "head": head(),
        "scheme": "https",
        "client": ["192.0.2.1", 5],
        "server": ["192.0.2.2", 443],
        "root_path": "/app",
        "state": {"a": [1]},
        "extensions": {"http.response.trailers": {}},
    }
    return http_scope(**values | changes)


def test_a_scope_has_every_key_of_the_specification() -> None:
    assert scope_of() == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": "/café",
        "raw_path": b"/caf%C3%A9",
        "query_string": b"a=%20",
        "root_path": "/app",
        "headers": [(b"host", b"a"), (b"x", b"1"), (b"x", b"2")],
        "client": ["192.0.2.1", 5],
        "server": ["192.0.2.2", 443],
        "state": {"a": [1]},
        "extensions": {"http.response.trailers": {}},
    }


def test_the_root_path_is_not_put_before_the_path() -> None:
    assert scope_of(root_path="/app")["path"] == "/café"


def test_a_unix_socket_has_no_client_and_a_path_for_a_server() -> None:
    scope = scope_of(client=None, server=["/run/a.sock", None])
    assert scope["client"] is None
    assert scope["server"] == ["/run/a.sock", None]


def test_an_application_can_change_its_scope_without_changing_another() -> None:
    request, state, extensions = head(), {"a": [1]}, {"x": {}}
    one = scope_of(head=request, state=state, extensions=extensions)
    one["headers"].clear()
    one["state"]["b"] = 2
    one["extensions"]["y"] = {}
    one["asgi"]["version"] = "?"
    two = scope_of(head=request, state=state, extensions=extensions)
    assert len(two["headers"]) == 3
    assert two["state"] == {"a": [1]}
    assert two["extensions"] == {"x": {}}
    assert two["asgi"]["version"] == "3.0"


def test_the_state_is_copied_shallowly() -> None:
    state = {"shared": []}
    assert scope_of(state=state)["state"]["shared"] is state["shared"]


# WebSockets


def websocket_scope_of(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "head": head(),
        "scheme": "wss",
        "client": ["192.0.2.1", 5],
        "server": ["192.0.2.2", 443],
        "root_path": "/app",
        "subprotocols": ["b", "a"],
        "state": {"a": [1]},
        "extensions": {"websocket.http.response": {}},
    }
    return websocket_scope(**values | changes)


def test_the_scope_of_a_websocket_has_every_key_of_the_specification() -> None:
    assert websocket_scope_of() == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "scheme": "wss",
        "path": "/café",
        "raw_path": b"/caf%C3%A9",
        "query_string": b"a=%20",
        "root_path": "/app",
        "headers": [(b"host", b"a"), (b"x", b"1"), (b"x", b"2")],
        "client": ["192.0.2.1", 5],
        "server": ["192.0.2.2", 443],
        "subprotocols": ["b", "a"],
        "state": {"a": [1]},
        "extensions": {"websocket.http.response": {}},
    }


def test_a_websocket_on_a_unix_socket_has_no_client_and_a_path_for_a_server() -> None:
    scope = websocket_scope_of(client=None, server=["/run/a.sock", None])
    assert scope["client"] is None
    assert scope["server"] == ["/run/a.sock", None]


def test_an_application_can_change_the_scope_of_a_websocket_without_changing_another() -> None:
    request, state, extensions = head(), {"a": [1]}, {"x": {}}
    one = websocket_scope_of(head=request, state=state, extensions=extensions)
    one["headers"].clear()
    one["state"]["b"] = 2
    one["extensions"]["y"] = {}
    one["asgi"]["version"] = "?"
    two = websocket_scope_of(head=request, state=state, extensions=extensions)
    assert len(two["headers"]) == 3
    assert two["state"] == {"a": [1]}
    assert two["state"]["a"] is state["a"]
    assert two["extensions"] == {"x": {}}
    assert two["asgi"]["version"] == "3.0"
