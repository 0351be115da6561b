"""A Starlette application with a route for each way to read a request, to answer one, and to be left by a client."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

BIG_FILE = os.environ["BIG_FILE"]


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, object]]:
    print("lifespan started")
    yield {"shared": {"count": 0}, "loop": asyncio.get_running_loop()}
    print("lifespan ended")


class Stamp(BaseHTTPMiddleware):
    """The usual middleware: takes the response in hand and adds a field."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-stamp"] = request.url.path
        return response


async def state(request: Request) -> Response:
    request.state.shared["count"] += 1
    return JSONResponse(
        {"count": request.state.shared["count"], "same_loop": request.state.loop is asyncio.get_running_loop()}
    )


async def background(request: Request) -> Response:
    """The response is whole long before the tasks, of which one blocks a thread, have ended."""
    mark = request.url.query

    def blocking() -> None:
        time.sleep(0.2)
        print(f"blocking task {mark}: main thread: {threading.current_thread() is threading.main_thread()}")

    async def last() -> None:
        await asyncio.sleep(0.2)
        print(f"last task {mark}")

    tasks = BackgroundTasks()
    tasks.add_task(blocking)
    tasks.add_task(last)
    return PlainTextResponse("accepted", background=tasks)


async def background_failure(request: Request) -> Response:
    async def task() -> None:
        raise RuntimeError("the task broke")

    return PlainTextResponse("accepted", background=BackgroundTask(task))


async def stream(request: Request) -> Response:
    async def rows() -> AsyncIterator[str]:
        for number in range(2000):
            yield f"row {number}\n"

    return StreamingResponse(rows(), media_type="text/plain")


def sync_stream(request: Request) -> Response:
    def rows() -> Iterator[str]:
        for number in range(50):
            yield f"row {number}\n"

    return StreamingResponse(rows(), media_type="text/plain")


async def events(request: Request) -> Response:
    """Server-sent events without end."""
    name = f"{request.url.path}?{request.url.query}"

    async def ticks() -> AsyncIterator[str]:
        number = 0
        try:
            while True:
                yield f"data: {number}\n\n"
                number += 1
                await asyncio.sleep(0.01)
        finally:
            print(f"closed {name}")

    return StreamingResponse(ticks(), media_type="text/event-stream")


async def flood(request: Request) -> Response:
    """More bytes than any buffer holds: send() waits when the client does not read, and raises when it is gone."""
    name = f"{request.url.path}?{request.url.query}"

    async def parts() -> AsyncIterator[bytes]:
        try:
            for _ in range(1000):
                yield bytes(65536)
            print(f"ended {name}")
        finally:
            print(f"closed {name}")

    return StreamingResponse(parts())


async def poll(request: Request) -> Response:
    """Asks whether the client is still there, as long polling does."""
    name = f"{request.url.path}?{request.url.query}"
    print(f"started {name}")
    while not await request.is_disconnected():
        await asyncio.sleep(0.01)
    print(f"disconnected {name}")
    return PlainTextResponse("nobody reads this")


async def countdown(request: Request) -> Response:
    """Five parts, 0.1 s apart."""

    async def parts() -> AsyncIterator[str]:
        print("countdown started")
        for number in range(5):
            yield f"{number}\n"
            await asyncio.sleep(0.1)

    return StreamingResponse(parts(), media_type="text/plain")


async def gate(request: Request) -> Response:
    """The second part waits for another request, so that its client must have had the first."""

    async def parts() -> AsyncIterator[str]:
        request.state.shared["gate"] = opened = asyncio.Event()
        yield "first\n"
        await opened.wait()
        yield "second\n"

    return StreamingResponse(parts(), headers={"content-encoding": "identity"})


async def open_gate(request: Request) -> Response:
    request.state.shared["gate"].set()
    return Response()


async def digest(request: Request) -> Response:
    """Reads the body as it arrives."""
    size = parts = 0
    hashed = hashlib.sha256()
    try:
        async for part in request.stream():
            if not parts:
                print("upload started")
            size += len(part)
            parts += 1
            hashed.update(part)
    except ClientDisconnect:
        print("upload broke off")
        raise
    return JSONResponse({"size": size, "sha256": hashed.hexdigest(), "parts": parts})


async def form(request: Request) -> Response:
    async with request.form() as fields:
        file = fields["file"]
        content = await file.read()
        hashed = hashlib.sha256(content)
        return JSONResponse({"name": file.filename, "size": len(content), "sha256": hashed.hexdigest()})


async def echo(request: Request) -> Response:
    """Answers while the request is still arriving."""
    name = f"{request.url.path}?{request.url.query}"

    async def parts() -> AsyncIterator[bytes]:
        try:
            async for part in request.stream():
                yield part
        finally:
            print(f"closed {name}")

    return StreamingResponse(parts(), media_type="application/octet-stream")


async def file(request: Request) -> Response:
    return FileResponse(BIG_FILE, filename="big.bin")


async def missing_file(request: Request) -> Response:
    return FileResponse("/nowhere/at/all")


async def boom(request: Request) -> Response:
    raise RuntimeError("the endpoint broke")


async def boom_stream(request: Request) -> Response:
    async def parts() -> AsyncIterator[str]:
        yield "the only part"
        raise RuntimeError("the stream broke")

    return StreamingResponse(parts())


async def extensions(request: Request) -> Response:
    return JSONResponse(sorted(request.scope["extensions"]))


class RecordsSends:
    """Prints the types of the messages that answer a request for a file, to show which way Starlette takes."""

    def __init__(self, app: Starlette) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kinds: list[str] = []

        async def recorded(message: dict[str, object]) -> None:
            if len(kinds) < 2:
                kinds.append(str(message["type"]).removeprefix("http.response."))
            await send(message)

        await self.app(scope, receive, recorded if scope["type"] == "http" else send)
        if scope["type"] == "http" and scope["path"] == "/file":
            print(f"sent {scope['method']} /file?{scope['query_string'].decode()}: {' '.join(kinds)}")


ROUTES = [
    Route("/state", state),
    Route("/background", background),
    Route("/background/failure", background_failure),
    Route("/stream", stream),
    Route("/stream/sync", sync_stream),
    Route("/events", events),
    Route("/flood", flood),
    Route("/poll", poll),
    Route("/countdown", countdown),
    Route("/gate", gate),
    Route("/gate/open", open_gate),
    Route("/digest", digest, methods=["POST", "PUT"]),
    Route("/form", form, methods=["POST"]),
    Route("/echo", echo, methods=["POST"]),
    Route("/file", file),
    Route("/file/missing", missing_file),
    Route("/boom", boom),
    Route("/boom/stream", boom_stream),
    Route("/extensions", extensions),
    Mount("/static", StaticFiles(directory=os.path.dirname(BIG_FILE))),
]

wrapped = Starlette(routes=ROUTES, middleware=[Middleware(GZipMiddleware), Middleware(Stamp)])
app = Starlette(
    lifespan=lifespan,
    routes=[*ROUTES, Mount("/wrapped", wrapped)],
)
app.add_middleware(RecordsSends)
