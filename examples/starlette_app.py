"""A Starlette application: routes, a lifespan with state, an upload, a stream.

    server examples.starlette_app:app

Needs ``pip install starlette python-multipart``.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypedDict

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request


class State(TypedDict):
    """What every request shares."""

    greeting: str


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[State]:
    """Make what the requests share, and let go of it when the server stops."""
    yield {"greeting": "Hello from Starlette!"}


async def home(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.state.greeting + "\n")


async def upload(request: Request) -> JSONResponse:
    """Count the bytes of the form's field ``file``; a large one goes to a temporary file, not to memory."""
    async with request.form() as form:
        size = 0
        while chunk := await form["file"].read(65536):
            size += len(chunk)
        return JSONResponse({"name": form["file"].filename, "size": size})


async def clock(request: Request) -> StreamingResponse:
    """Send three server-sent events; each one reaches the client when it is sent."""

    async def ticks() -> AsyncIterator[str]:
        for number in range(3):
            yield f"data: tick {number}\n\n"
            await asyncio.sleep(0.1)

    return StreamingResponse(ticks(), media_type="text/event-stream")


app = Starlette(
    routes=[Route("/", home), Route("/upload", upload, methods=["POST"]), Route("/clock", clock)],
    lifespan=lifespan,
)
