"""The application every server runs: plain ASGI 3, no framework, so that the figures are the server's own.

It must not know which server runs it, and does as little per request as a correct application can: what it costs, it
costs everybody alike. ``bench.scenarios`` says what each path must answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

# Written out instead of imported from asgiref, which not every server brings along.
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HELLO = b"Hello, world!"
LARGE = bytes(range(256)) * 4096
"""1 MiB of every byte value: a server that mangled one would be noticed by the check before the measurement."""
CHUNK_COUNT = 64
CHUNKS = tuple(LARGE[i : i + len(LARGE) // CHUNK_COUNT] for i in range(0, len(LARGE), len(LARGE) // CHUNK_COUNT))

_PLAIN = (b"content-type", b"text/plain; charset=utf-8")
_BINARY = (b"content-type", b"application/octet-stream")


async def hello(receive: Receive, send: Send) -> None:
    """Answer 13 bytes of text; the request body is not read, as in most applications' GET."""
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [_PLAIN, (b"content-length", b"%d" % len(HELLO))],
        }
    )
    await send({"type": "http.response.body", "body": HELLO})


async def echo(receive: Receive, send: Send) -> None:
    """Read the whole request body and answer it in one message."""
    body = b""
    more_body = True
    while more_body:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        more_body = message.get("more_body", False)
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [_BINARY, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def large(receive: Receive, send: Send) -> None:
    """Answer 1 MiB in one message, its length known."""
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [_BINARY, (b"content-length", b"%d" % len(LARGE))],
        }
    )
    await send({"type": "http.response.body", "body": LARGE})


async def one_chunk(receive: Receive, send: Send) -> None:
    """Answer 16 KiB in one message, its length known."""
    body = CHUNKS[0]
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [_BINARY, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def chunks(receive: Receive, send: Send) -> None:
    """Answer 1 MiB in 64 messages of 16 KiB without a length, which the server has to send chunked."""
    await send({"type": "http.response.start", "status": 200, "headers": [_BINARY]})
    for chunk in CHUNKS:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _lifespan(receive: Receive, send: Send) -> None:
    """Take part in startup and shutdown, as applications built with a framework do."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _not_found(receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def ws_echo(receive: Receive, send: Send) -> None:
    """Send every message back as what it was, text or bytes."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send(_same(message))


_audience: dict[object, Send] = {}
"""The connections of ``ws_fanout``, each under a key of its own."""


async def ws_fanout(receive: Receive, send: Send) -> None:
    """Send every message to all other connections of this path, one after the other."""
    await receive()
    # Entered before it is accepted: a client that knows of its connection misses nothing from then on.
    own = object()
    _audience[own] = send
    try:
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            same = _same(message)
            for others_send in [other for key, other in _audience.items() if key is not own]:
                try:
                    await others_send(same)
                except OSError:  # what ASGI's `send` raises for a connection that is gone
                    continue
    finally:
        del _audience[own]


def _same(message: Message) -> Message:
    text = message.get("text")
    if text is None:
        return {"type": "websocket.send", "bytes": message["bytes"]}
    return {"type": "websocket.send", "text": text}


_PATHS = {"/hello": hello, "/echo": echo, "/16k": one_chunk, "/large": large, "/chunks": chunks}
_WEBSOCKET_PATHS = {"/ws/echo": ws_echo, "/ws/fanout": ws_fanout}


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """The ASGI 3 callable, ``bench.apps:app``."""
    if scope["type"] == "http":
        await _PATHS.get(scope["path"], _not_found)(receive, send)
    elif scope["type"] == "websocket":
        await _WEBSOCKET_PATHS[scope["path"]](receive, send)
    elif scope["type"] == "lifespan":
        await _lifespan(receive, send)
    else:
        raise NotImplementedError(f"scope type {scope['type']!r}")
