"""Tells what its scope says of where a request, or a WebSocket, comes from; WebSockets are echoed besides."""

from __future__ import annotations

import json
from typing import Any


def told(scope: Any) -> str:
    """The parts of the scope that proxies have a say in."""
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    return json.dumps({"hosts": hosts} | {name: scope[name] for name in ("scheme", "client", "root_path", "path")})


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": told(scope).encode()})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": told(scope)})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})
    else:
        message = await receive()
        assert message["type"] == "lifespan.startup"
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
