"""A plain ASGI application: no framework, every message in sight.

    server examples.hello:app

Then open http://127.0.0.1:8000/, or http://127.0.0.1:8000/?name=Ada.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from asgiref.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, LifespanScope, Scope


async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Serve every path; the server calls this once for each request, and once for the life of the process."""
    if scope["type"] == "lifespan":
        await live(scope, receive, send)
    elif scope["type"] == "http":
        await greet(scope, send)
    else:
        raise ValueError(f"this application does not speak {scope['type']}")


async def live(scope: LifespanScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Set up before the first request, and clean up after the last one."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            # What is put here, such as a pool of database connections, every request finds in its scope.
            scope["state"]["started_at"] = time.monotonic()
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return


async def greet(scope: HTTPScope, send: ASGISendCallable) -> None:
    """Answer with a line of text."""
    name = parse_qs(scope["query_string"].decode("latin-1")).get("name", ["world"])[0]
    body = f"Hello, {name}!\n"
    if "state" in scope:  # absent with --lifespan off
        body += f"Up for {time.monotonic() - scope['state']['started_at']:.1f} s.\n"
    encoded = body.encode()
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", str(len(encoded)).encode()),
            ],
            "trailers": False,
        }
    )
    await send({"type": "http.response.body", "body": encoded, "more_body": False})
