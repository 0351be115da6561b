"""Connection scopes (ASGI "HTTP & WebSocket", "Connection Scope") from the head of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daphne_clone.interfaces import RequestHead

ASGI_VERSION = "3.0"
HTTP_SPEC_VERSION = "2.5"


def http_scope(
    head: RequestHead,
    scheme: str,
    client: list[Any] | None,
    server: list[Any] | None,
    root_path: str,
    state: dict[str, Any],
    extensions: dict[str, dict[str, object]],
) -> dict[str, Any]:
    """Make the scope of an HTTP exchange.

    Args:
        head: The request; its headers are copied, for applications may change the list.
        scheme: ``"http"`` or ``"https"``.
        client: ``[host, port]`` or None.
        server: ``[host, port]``, ``[path, None]`` or None.
        root_path: Where the application is mounted; never part of ``path`` (contrary to WSGI's habit).
        state: The lifespan's state; copied, shallowly.
        extensions: What the connection can do; copied, shallowly.
    """
    return {
        "type": "http",
        "asgi": {"version": ASGI_VERSION, "spec_version": HTTP_SPEC_VERSION},
        "http_version": head.http_version,
        "method": head.method,
        "scheme": scheme,
        "path": head.path,
        "raw_path": head.raw_path,
        "query_string": head.query_string,
        "root_path": root_path,
        "headers": head.headers.copy(),
        "client": client,
        "server": server,
        "state": state.copy(),
        "extensions": extensions.copy(),
    }


def websocket_scope(
    head: RequestHead,
    scheme: str,
    client: list[Any] | None,
    server: list[Any] | None,
    root_path: str,
    subprotocols: list[str],
    state: dict[str, Any],
    extensions: dict[str, dict[str, object]],
) -> dict[str, Any]:
    """Make the scope of a WebSocket (ASGI "WebSocket Connection Scope").

    Args:
        scheme: ``"ws"`` or ``"wss"``.
        subprotocols: What the client offers, in its order.

    The other arguments are those of `http_scope`.
    """
    scope = http_scope(head, scheme, client, server, root_path, state, extensions)
    del scope["method"]
    scope |= {"type": "websocket", "subprotocols": subprotocols}
    return scope
