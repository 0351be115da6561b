"""A Starlette application with a route for each way to use a WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

if TYPE_CHECKING:
    from starlette.requests import Request

PAGE = Path(__file__).with_name("page.html")


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, object]]:
    yield {"members": set[WebSocket]()}


async def home(request: Request) -> Response:
    return PlainTextResponse("home")


async def page(request: Request) -> Response:
    """What a browser loads to have conversations of its own."""
    return FileResponse(PAGE)


async def scope(websocket: WebSocket) -> None:
    """Accepts, and tells what it was asked."""
    await websocket.accept()
    await websocket.send_json(
        {
            "scheme": websocket.url.scheme,
            "path": websocket.url.path,
            "name": websocket.path_params["name"],
            "query": websocket.query_params.multi_items(),
            "subprotocols": websocket.scope["subprotocols"],
            "cookies": websocket.cookies,
            "origin": websocket.headers.get("origin"),
            "repeated": websocket.headers.getlist("x-repeated"),
            "client": websocket.client and websocket.client.host,
            "session": websocket.session,
        }
    )
    await websocket.close()


async def accepted(websocket: WebSocket) -> None:
    """Takes the last protocol offered, and adds fields to the answer."""
    headers = [(b"x-repeated", b"1"), (b"x-repeated", b"2"), (b"set-cookie", b"seen=yes; HttpOnly")]
    await websocket.accept(subprotocol=websocket.scope["subprotocols"][-1], headers=headers)
    await websocket.close()


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                print(f"disconnected {websocket.url.query}: {message['code']} {message.get('reason')!r}")
                return
            if message.get("text") is not None:
                await websocket.send_text(message["text"])
            else:
                await websocket.send_bytes(message["bytes"])


class Doubler(WebSocketEndpoint):
    """JSON in, JSON out, in texts."""

    encoding = "json"

    async def on_connect(self, websocket: WebSocket) -> None:
        await websocket.accept()

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        await websocket.send_json({"twice": data["number"] * 2})

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        print(f"endpoint left {websocket.url.query}: {close_code}")


async def binary_json(websocket: WebSocket) -> None:
    await websocket.accept()
    async for data in websocket.iter_bytes():
        await websocket.send_json({"twice": json.loads(data)["number"] * 2}, mode="binary")


async def leave(websocket: WebSocket) -> None:
    """Closes with the code and reason that the client asks for."""
    await websocket.accept()
    asked = await websocket.receive_json()
    await websocket.close(**asked)


async def refuse(websocket: WebSocket) -> None:
    await websocket.close(code=1008)


async def deny(websocket: WebSocket) -> None:
    """Answers with what the path names instead of accepting."""

    async def parts() -> AsyncIterator[bytes]:
        for number in range(5):
            yield b"part %d\n" % number
            await asyncio.sleep(0.01)

    answers: dict[str, Response] = {
        "json": JSONResponse({"detail": "who are you?"}, status_code=401, headers={"www-authenticate": "Basic"}),
        "stream": StreamingResponse(parts(), status_code=503, headers={"retry-after": "7"}),
        "empty": Response(status_code=404),
        "redirect": RedirectResponse("/echo"),
    }
    await websocket.send_denial_response(answers[websocket.path_params["how"]])


async def crash(websocket: WebSocket) -> None:
    if websocket.path_params["when"] == "accepted":
        await websocket.accept()
    raise RuntimeError("the view broke")


async def flood(websocket: WebSocket) -> None:
    """Sends without end; ends when it can no longer."""
    await websocket.accept()
    try:
        while True:
            await websocket.send_text("x" * 10_000)
            await asyncio.sleep(0)
    except WebSocketDisconnect:
        print(f"flood ended {websocket.url.query}")


async def room(websocket: WebSocket) -> None:
    """Passes what each member says on to all of them; the members are lifespan state."""
    members = cast("set[WebSocket]", websocket.state.members)
    await websocket.accept()
    members.add(websocket)
    await websocket.send_text(f"{len(members)} here")
    async for text in websocket.iter_text():
        for member in members:
            await member.send_text(text)
    members.discard(websocket)
    print(f"left the room {websocket.url.query}")


class Stamp(BaseHTTPMiddleware):
    """The usual middleware: for HTTP, and to be passed through by a WebSocket."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


routes = [
    Route("/", home),
    Route("/page", page),
    WebSocketRoute("/scope/{name}", scope),
    WebSocketRoute("/accepted", accepted),
    WebSocketRoute("/echo", echo),
    WebSocketRoute("/json", Doubler),
    WebSocketRoute("/json/binary", binary_json),
    WebSocketRoute("/leave", leave),
    WebSocketRoute("/refuse", refuse),
    WebSocketRoute("/deny/{how}", deny),
    WebSocketRoute("/crash/{when}", crash),
    WebSocketRoute("/flood", flood),
    WebSocketRoute("/room", room),
]

app = Starlette(
    routes=[*routes, Mount("/wrapped", routes=routes, middleware=[Middleware(Stamp), Middleware(GZipMiddleware)])],
    lifespan=lifespan,
    middleware=[Middleware(SessionMiddleware, secret_key="only for tests")],
)
