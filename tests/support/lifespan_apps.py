"""Applications that differ in their lifespan; each answers any request, and tells the log what befalls it."""

from __future__ import annotations

import asyncio
import os
import threading

from apps import Message, Receive, Scope, Send, answer, say


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    say(f"request on loop {id(asyncio.get_running_loop())} thread {threading.get_ident()}")
    await answer(send, b"served")


async def regular(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells each event, its scope, its loop; takes its time to shut down."""
    if scope["type"] != "lifespan":
        await _serve(scope, receive, send)
        return
    say(f"scope { ({**scope, 'state': type(scope['state']).__name__})!r}")
    while True:
        message = await receive()
        say(f"{message['type']} on loop {id(asyncio.get_running_loop())} thread {threading.get_ident()}")
        if message["type"] == "lifespan.shutdown":
            await asyncio.sleep(0.3)
            say("shut down")
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "lifespan.startup.complete"})


async def late(scope: Scope, receive: Receive, send: Send) -> None:
    """Is not started before the file named by LATE_UNTIL exists."""
    if scope["type"] != "lifespan":
        await _serve(scope, receive, send)
        return
    await receive()
    say("starting")
    while not os.path.exists(os.environ["LATE_UNTIL"]):
        await asyncio.sleep(0.01)
    say("started")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database today"})


async def unaware(scope: Scope, receive: Receive, send: Send) -> None:
    """Knows of HTTP alone, and raises on anything else."""
    if scope["type"] != "http":
        say(f"called with {scope['type']}")
        raise RuntimeError("only HTTP here")
    await _serve(scope, receive, send)


async def connected(scope: Scope, receive: Receive, send: Send) -> None:
    """Streams until it learns that its client is gone, and tells; its lifespan tells when it is over."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        say("shutdown")
        await send({"type": "lifespan.shutdown.complete"})
        return
    message: Message = await receive()
    while message.get("more_body"):
        message = await receive()
    await answer(send, b"whole")
    say("answered")
