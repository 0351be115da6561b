"""Small ASGI applications for the tests of HTTP/2, beside those of apps.py and ws_apps.py, which are here too."""

from __future__ import annotations

import ws_apps
from apps import START, Message, Receive, Scope, Send, answer, note, released


async def large_head(scope: Scope, receive: Receive, send: Send) -> None:
    """So many fields, with values of so many octets each, as the query says."""
    count, size = map(int, scope["query_string"].split(b","))
    await answer(send, b"end", headers=[(b"x-%d" % number, b"v" * size) for number in range(count)])


async def trailers(scope: Scope, receive: Receive, send: Send) -> None:
    """A body of so many octets as the query says, and so many trailers of 1000 octets."""
    size, count = map(int, scope["query_string"].split(b","))
    fields = [(b"x-%d" % number, b"v" * 1000) for number in range(count)]
    await send({**START, "trailers": True})
    await send({"type": "http.response.body", "body": b"x" * size})
    await send({"type": "http.response.trailers", "headers": fields})


async def answers_while_it_reads(scope: Scope, receive: Receive, send: Send) -> None:
    """Send back each part of the body as it comes."""
    await send(START)
    more = True
    while more:
        message: Message = await receive()
        if message["type"] != "http.request":
            note(scope, message)
            return
        more = message["more_body"]
        await send({"type": "http.response.body", "body": message["body"], "more_body": more})


async def waits_for_the_end(scope: Scope, receive: Receive, send: Send) -> None:
    """Never answer, and leave no trace: what an application does whose work is cut short."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def reads_when_released(scope: Scope, receive: Receive, send: Send) -> None:
    """Receive nothing until released, and then the whole body; note how many octets came at once by then."""
    note(scope, "called")
    await released(scope)
    total = 0
    while (message := await receive())["type"] == "http.request":
        total += len(message["body"])
        if not message["more_body"]:
            await answer(send, b"%d" % total)
            return
    note(scope, total)


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    """Something for a browser to be at."""
    await answer(send, b"<!DOCTYPE html><title>page</title>", headers=[(b"content-type", b"text/html")])


ROUTES = {
    function.__name__: function
    for function in (page, large_head, trailers, answers_while_it_reads, waits_for_the_end, reads_when_released)
}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    route = ROUTES.get(str(scope["path"]).lstrip("/").split("/")[0]) if scope["type"] == "http" else None
    await (ws_apps.application if route is None else route)(scope, receive, send)
