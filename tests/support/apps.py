"""Small ASGI applications for tests over real sockets; `application` chooses one by the first part of the path.

The second part of the path is the test's own key. Under it an application notes what it has seen, waits until the test
releases it, and is asked for its notes:

    /hello/abc            runs `hello`
    /noted/abc?2          what the applications under abc have noted, as soon as there are two notes
    /release/abc          lets `released` under abc go on
"""

from __future__ import annotations

import ast
import asyncio
import os
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

NOTES: dict[str, list[object]] = defaultdict(list)
RELEASED: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
NOTED: set[asyncio.Event] = set()

START: Message = {"type": "http.response.start", "status": 200, "headers": []}
SECRET = "the text of an exception"


def key_of(scope: Scope) -> str:
    return str(scope["path"]).split("/")[2]


def note(scope: Scope, value: object) -> None:
    """Leave a note for the test; it must be a literal."""
    NOTES[key_of(scope)].append(value)
    for event in NOTED:
        event.set()


async def released(scope: Scope) -> None:
    """Wait until the test says so."""
    await RELEASED[key_of(scope)].wait()


def say(text: str) -> None:
    """Leave a line in the server's log, which can be read when nothing else of the server can be reached."""
    print(f"app: {text}", file=sys.stderr, flush=True)


def kinds_of(error: BaseException) -> list[str]:
    """An exception's classes, from its own to the most general."""
    return [kind.__name__ for kind in type(error).__mro__]


async def answer(send: Send, body: bytes, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def body_of(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ConnectionError("the client went away")
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


# What the tests talk to


async def noted(scope: Scope, receive: Receive, send: Send) -> None:
    count = int(scope["query_string"] or 0)
    notes = NOTES[key_of(scope)]
    news = asyncio.Event()
    NOTED.add(news)
    try:
        async with asyncio.timeout(8):
            while len(notes) < count:
                news.clear()
                await news.wait()
    except TimeoutError:
        pass  # the test sees that there are fewer
    finally:
        NOTED.discard(news)
    await answer(send, repr(notes).encode())


async def release(scope: Scope, receive: Receive, send: Send) -> None:
    RELEASED[key_of(scope)].set()
    await answer(send, b"")


# Applications that answer


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    note(scope, "called")
    await answer(send, b"hello", headers=[(b"content-type", b"text/plain")])


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    note(scope, "called")
    body = await body_of(receive)
    note(scope, body if len(body) < 10_000 else len(body))
    await answer(send, body)


async def scope_of(scope: Scope, receive: Receive, send: Send) -> None:
    """The scope itself, as a literal; of the state only what is one."""
    shown = {name: value for name, value in scope.items() if name != "state"}
    await answer(send, repr(shown).encode())


async def count(scope: Scope, receive: Receive, send: Send) -> None:
    """How often this request was seen by the state itself, by a list in it, and by the lifespan's own mapping."""
    state = scope["state"]
    state["scalar"] = state.get("scalar", 0) + 1
    state["list"].append(0)
    await answer(send, repr((state["scalar"], len(state["list"]))).encode())


async def script(scope: Scope, receive: Receive, send: Send) -> None:
    """Do what the query string says: a list whose items are messages to send, or words.

    What is sent is noted as "sent", or as the classes of the exception that came instead.
    """
    for step in ast.literal_eval(unquote_to_bytes(scope["query_string"]).decode()):
        if step == "receive":
            note(scope, await receive())
        elif step == "wait":
            note(scope, "waiting")
            await released(scope)
        elif step == "fail":
            raise RuntimeError(SECRET)
        else:
            try:
                await send(step)
            except Exception as error:
                note(scope, kinds_of(error))
            else:
                note(scope, "sent")


async def events(scope: Scope, receive: Receive, send: Send) -> None:
    """Note each event as it comes, up to the end of the body or of the client."""
    note(scope, "called")
    while True:
        message = await receive()
        note(scope, message)
        if message["type"] == "http.disconnect":
            return
        if not message["more_body"]:
            await answer(send, b"")
            return


async def slow_answer(scope: Scope, receive: Receive, send: Send) -> None:
    note(scope, "called")
    await released(scope)
    note(scope, "answering")
    await answer(send, scope["query_string"])


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """One part of the body at once, the next when released, and then the end."""
    await send(START)
    await send({"type": "http.response.body", "body": b"first", "more_body": True})
    note(scope, "flushed")
    await released(scope)
    await send({"type": "http.response.body", "body": b"second", "more_body": True})
    await send({"type": "http.response.body"})


async def torrent(scope: Scope, receive: Receive, send: Send) -> None:
    """As many octets as the query says, in parts of 64 KiB; notes the first part that has to wait, and the end."""
    total = int(scope["query_string"])
    part = b"x" * 65_536
    is_blocked = False
    await send(START)
    for sent in range(0, total, len(part)):
        sending = asyncio.ensure_future(
            send({"type": "http.response.body", "body": part[: total - sent], "more_body": True})
        )
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
    await send({"type": "http.response.body"})
    note(scope, ["done"])


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """As many octets as the query says, in one message, with their length announced."""
    size = int(scope["query_string"])
    await answer(send, b"x" * size, headers=[(b"content-length", b"%d" % size)])


async def zero_copy(scope: Scope, receive: Receive, send: Send) -> None:
    """Send the file that the query names in parts, among bodies; the file is the application's to close."""
    message = {"type": "http.response.zerocopysend", "more_body": True}
    with open(scope["query_string"].decode(), "rb") as file:
        await send(START)
        await send({"type": "http.response.body", "body": b"<", "more_body": True})
        await send({**message, "file": file, "offset": 3, "count": 3})
        await send({**message, "file": file, "count": 2})
        await send({**message, "file": file, "count": 2})
        await send({**message, "file": file})
        await send({"type": "http.response.body", "body": b">"})
        note(scope, "closed" if file.closed else "open")


# Applications and their clients' going away


async def until_disconnect(scope: Scope, receive: Receive, send: Send) -> None:
    """Note when the client goes, twice, and what a reply to it gives."""
    note(scope, "called")
    while (await receive())["type"] != "http.disconnect":
        pass
    note(scope, time.monotonic())
    note(scope, (await receive())["type"])
    for message in (START, {"type": "http.response.body", "body": b"x"}):
        try:
            await send(message)
        except Exception as error:
            note(scope, kinds_of(error))


async def after_response(scope: Scope, receive: Receive, send: Send) -> None:
    """Note what receive() gives once the response is complete, and when."""
    await body_of(receive)
    await answer(send, b"done")
    begin = time.monotonic()
    note(scope, (await receive())["type"])
    note(scope, time.monotonic() - begin)


async def reply_to_nobody(scope: Scope, receive: Receive, send: Send) -> None:
    """Let the error of a reply to a client that is gone leave the application, wrapped as the query says."""
    note(scope, "called")
    while (await receive())["type"] != "http.disconnect":
        pass
    wrap = scope["query_string"].decode()
    try:
        await answer(send, b"x")
    except OSError as error:
        if wrap == "group":
            raise ExceptionGroup("tasks", [error]) from None
        if wrap == "nested":
            raise ExceptionGroup("tasks", [ExceptionGroup("inner", [error])]) from None
        if wrap == "mixed":
            raise ExceptionGroup("tasks", [error, RuntimeError(SECRET)]) from None
        raise
    finally:
        note(scope, "ended")


async def ignores_disconnect(scope: Scope, receive: Receive, send: Send) -> None:
    """Go on until cancelled."""
    note(scope, "called")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        note(scope, "cancelled")
        say("cancelled")
        raise


# Applications that stop late


async def stop_story(scope: Scope, receive: Receive, send: Send) -> None:
    """Stream until told to stop; the log tells when which news came."""
    stopping = scope["state"]["daphne_clone.shutting_down"]

    async def watch() -> None:
        await stopping.wait()
        say(f"event at {time.monotonic()}")

    watching = asyncio.ensure_future(watch())
    await receive()  # the request's own, empty body
    await send(START)
    await send({"type": "http.response.body", "body": b"begin", "more_body": True})
    message = await receive()
    say(f"{message['type']} at {time.monotonic()}")
    await send({"type": "http.response.body", "body": b"end"})
    await watching


async def echo_late(scope: Scope, receive: Receive, send: Send) -> None:
    """An answer that needs the whole body, which the client can hold back as long as it likes."""
    say("called")
    body = await body_of(receive)
    await answer(send, body)
    say("answered")


async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
    """Will not be cancelled."""
    say("called")
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            say("not impressed")


async def pid(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"%d" % os.getpid())


async def slow_reader(scope: Scope, receive: Receive, send: Send) -> None:
    """Take a body more slowly than it can be sent; the query is the pause between events, in seconds."""
    pause_s = float(scope["query_string"])
    received = 0
    while (message := await receive())["type"] == "http.request":
        received += len(message["body"])
        if not message["more_body"]:
            await answer(send, b"%d" % received)
            return
        await asyncio.sleep(pause_s)
    note(scope, ["disconnected", received])


ROUTES = {
    function.__name__: function
    for function in (
        *(noted, release, hello, echo, scope_of, count, script, events, slow_answer, stream, torrent, large),
        *(until_disconnect, after_response, reply_to_nobody, ignores_disconnect, stop_story, echo_late, stubborn, pid),
        *(slow_reader, zero_copy),
    )
}


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    scope["state"]["list"] = []
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    say("shutdown")
    await send({"type": "lifespan.shutdown.complete"})


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    elif scope["type"] == "http":
        route = ROUTES.get(str(scope["path"]).lstrip("/").split("/")[0])
        if route is None:
            await answer(send, b"no such application", 404)
        else:
            await route(scope, receive, send)
    else:
        raise RuntimeError(f"{scope['type']} is not served here")
