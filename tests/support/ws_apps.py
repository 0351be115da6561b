"""Small ASGI applications for WebSockets; `application` chooses one by the first part of the path, as in apps.py.

HTTP and lifespan are those of apps.py: its `/noted/KEY` and `/release/KEY` work for WebSockets too, and so does its
`script`, which here does steps with messages of WebSockets.
"""

from __future__ import annotations

import asyncio
import os
import time

import apps
from apps import Message, Receive, Scope, Send, kinds_of, note, released, say, script

ACCEPT: Message = {"type": "websocket.accept"}


def shown(message: Message) -> object:
    """An event for the notes: long payloads by their length, and nothing else left out."""
    return {
        key: [type(value).__name__, len(value)] if isinstance(value, str | bytes) and len(value) > 1000 else value
        for key, value in message.items()
    }


async def accept(receive: Receive, send: Send) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send(ACCEPT)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Send each message back; note the end."""
    await accept(receive, send)
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
    note(scope, message)


async def events(scope: Scope, receive: Receive, send: Send) -> None:
    """Note each event as it comes, the last of them twice; no message is answered."""
    await accept(receive, send)
    note(scope, "accepted")
    while True:
        message = await receive()
        note(scope, shown(message))
        if message["type"] == "websocket.disconnect":
            note(scope, await receive())
            return


async def scope_of(scope: Scope, receive: Receive, send: Send) -> None:
    """The scope itself, as a literal, as the first message; of the state only what is one."""
    await accept(receive, send)
    state = {name: value for name, value in scope["state"].items() if isinstance(value, int | list)}
    await send({"type": "websocket.send", "text": repr({**scope, "state": state})})
    await receive()


async def count(scope: Scope, receive: Receive, send: Send) -> None:
    """How often a request was seen by the state itself, and by a list in it."""
    await accept(receive, send)
    state = scope["state"]
    state["scalar"] = state.get("scalar", 0) + 1
    state["list"].append(0)
    await send({"type": "websocket.send", "text": repr((state["scalar"], len(state["list"])))})
    await receive()


async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept, and receive nothing until released; then note how many messages came, their octets, and the end."""
    await accept(receive, send)
    note(scope, "accepted")
    await released(scope)
    messages = octets = 0
    while (message := await receive())["type"] == "websocket.receive":
        messages += 1
        octets += len(message.get("text") or message.get("bytes") or "")
    note(scope, [messages, octets, message])


async def torrent(scope: Scope, receive: Receive, send: Send) -> None:
    """Send as many messages of 64 kB as the query says; note the first that has to wait, and the end."""
    total = int(scope["query_string"])
    payload = os.urandom(65_536)
    is_blocked = False
    await accept(receive, send)
    for sent in range(total):
        sending = asyncio.ensure_future(send({"type": "websocket.send", "bytes": payload}))
        if not is_blocked:
            done, _ = await asyncio.wait({sending}, timeout=0.5)
            if not done:
                is_blocked = True
                note(scope, ["blocked", sent])
        try:
            await sending
        except OSError as error:
            note(scope, ["cut", *kinds_of(error)])
            raise
    note(scope, ["done"])
    note(scope, await receive())


async def ticker(scope: Scope, receive: Receive, send: Send) -> None:
    """Send a message every so many seconds, which is what the query says, and receive nothing until that fails."""
    pause_s = float(scope["query_string"])
    await accept(receive, send)
    try:
        while True:
            await send({"type": "websocket.send", "text": "tick"})
            await asyncio.sleep(pause_s)
    except OSError:
        note(scope, await receive())


async def ignores_disconnect(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept, and go on until cancelled."""
    await accept(receive, send)
    await apps.ignores_disconnect(scope, receive, send)


async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept, and never be cancelled."""
    await accept(receive, send)
    await apps.stubborn(scope, receive, send)


async def reply_to_nobody(scope: Scope, receive: Receive, send: Send) -> None:
    """Let the error of a message to a client that is gone leave the application."""
    await accept(receive, send)
    try:
        note(scope, await receive())
        await send({"type": "websocket.send", "text": "anybody?"})
    finally:
        note(scope, "ended")


async def stop_story(scope: Scope, receive: Receive, send: Send) -> None:
    """Tell the log what comes, and when; the query says ``slow`` for an application that takes a while to end."""
    await accept(receive, send)
    await send({"type": "websocket.send", "text": "begin"})
    message = await receive()
    say(f"{message} at {time.monotonic()}")
    if scope["query_string"] == b"slow":
        await asyncio.sleep(0.5)
    say("ended")


async def accepts_late(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept when the server has begun to stop, and has told all its connections so."""
    await receive()
    say("called")
    await scope["state"]["daphne_clone.shutting_down"].wait()
    await asyncio.sleep(0.3)
    await send(ACCEPT)
    say(f"{await receive()}")


ROUTES = {
    function.__name__: function
    for function in (
        *(script, echo, events, scope_of, count, deaf, torrent, ticker, ignores_disconnect, stubborn, reply_to_nobody),
        *(stop_story, accepts_late),
    )
}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await ROUTES[str(scope["path"]).lstrip("/").split("/")[0]](scope, receive, send)
    else:
        await apps.application(scope, receive, send)
