"""A Litestar application: streams, files, uploads, lifespan hooks and state."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from litestar import Litestar, Request, get, post
from litestar.background_tasks import BackgroundTask
from litestar.datastructures import State, UploadFile  # noqa: TC002  # Litestar evaluates the annotations
from litestar.enums import RequestEncodingType
from litestar.params import Body
from litestar.response import File, Response, ServerSentEvent, Stream
from litestar.static_files import create_static_files_router

BIG_FILE = Path(os.environ["BIG_FILE"])


@contextlib.asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    app.state.greeting = "Hello"
    print("lifespan started")
    try:
        yield
    finally:
        print("lifespan ended")


async def on_startup() -> None:
    print("on_startup ran")


async def on_shutdown() -> None:
    print("on_shutdown ran")


@dataclass
class Order:
    item: str
    count: int


@get("/")
async def hello(state: State, name: str = "you") -> str:
    return f"{state.greeting}, {name}!"


@post("/orders")
async def order(data: Order) -> Order:
    return data


@post("/digest", status_code=200)
async def digest(request: Request[Any, Any, Any]) -> dict[str, object]:
    size = 0
    hashed = hashlib.sha256()
    async for part in request.stream():
        size += len(part)
        hashed.update(part)
    return {"size": size, "sha256": hashed.hexdigest()}


@post("/upload", request_max_body_size=None)
async def upload(data: Annotated[UploadFile, Body(media_type=RequestEncodingType.MULTI_PART)]) -> dict[str, object]:
    content = await data.read()
    return {"name": data.filename, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@get("/stream")
async def stream() -> Stream:
    async def rows() -> AsyncIterator[str]:
        for number in range(2000):
            yield f"row {number}\n"

    return Stream(rows(), media_type="text/plain")


@get("/stream/sync", sync_to_thread=True)
def sync_stream() -> Stream:
    def rows() -> Iterator[str]:
        for number in range(50):
            yield f"row {number}\n"

    return Stream(rows(), media_type="text/plain")


@get("/events")
async def events(request: Request[Any, Any, Any]) -> ServerSentEvent:
    name = f"{request.url.path}?{request.url.query}"

    async def ticks() -> AsyncIterator[str]:
        number = 0
        try:
            while True:
                yield str(number)
                number += 1
                await asyncio.sleep(0.01)
        finally:
            print(f"closed {name}")

    return ServerSentEvent(ticks())


@get("/file")
async def file() -> File:
    return File(BIG_FILE, filename="big.bin")


@get("/background")
async def background() -> Response[str]:
    async def task() -> None:
        await asyncio.sleep(0.1)
        print("background task ended")

    return Response("accepted", background=BackgroundTask(task))


@get("/boom")
async def boom() -> str:
    raise RuntimeError("the view broke")


app = Litestar(
    lifespan=[lifespan],
    on_startup=[on_startup],
    on_shutdown=[on_shutdown],
    route_handlers=[
        *(hello, order, digest, upload, stream, sync_stream, events, file, background, boom),
        create_static_files_router("/static", directories=[BIG_FILE.parent]),
    ],
)
