"""A FastAPI application: dependencies with a teardown, uploads, streams, validation, background work."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, File, Form, Header, HTTPException, Request, UploadFile
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    print("lifespan started")
    yield {"greeting": "Hello"}
    print("lifespan ended")


app = FastAPI(lifespan=lifespan)


@app.middleware("http")
async def stamp(request: Request, call_next):  # type: ignore[no-untyped-def]  # as FastAPI's documentation has it
    response = await call_next(request)
    response.headers["x-stamp"] = request.url.path
    return response


async def connection(request: Request) -> AsyncIterator[str]:
    name = f"{request.url.path}?{request.url.query}"
    print(f"opened {name}")
    try:
        yield f"connection of {name}"
    except HTTPException as error:
        print(f"rolled back {name}: {error.status_code}")
        raise
    finally:
        print(f"closed {name}")


def sync_connection() -> Iterator[bool]:
    yield threading.current_thread() is threading.main_thread()


class Order(BaseModel):
    item: str = Field(min_length=2)
    count: int = Field(gt=0)


@app.get("/")
async def hello(request: Request, name: str = "you") -> dict[str, str]:
    return {"message": f"{request.state.greeting}, {name}!"}


@app.get("/dependency")
async def dependency(value: Annotated[str, Depends(connection)]) -> str:
    return value


@app.get("/dependency/sync")
def sync_dependency(value: Annotated[bool, Depends(sync_connection)]) -> dict[str, bool]:
    return {"dependency": value, "view": threading.current_thread() is threading.main_thread()}


@app.get("/dependency/refused")
async def refused(value: Annotated[str, Depends(connection)]) -> str:
    raise HTTPException(status_code=409, detail="no", headers={"x-reason": "busy"})


@app.post("/orders", status_code=201)
async def order(order: Order, x_token: Annotated[list[str] | None, Header()] = None) -> dict[str, object]:
    return {"order": order, "tokens": x_token}


@app.delete("/orders/{number}", status_code=204)
async def delete(number: int) -> None:
    return None


@app.post("/upload")
async def upload(files: Annotated[list[UploadFile], File()], by: Annotated[str, Form()]) -> dict[str, object]:
    sums = {}
    for file in files:
        hashed = hashlib.sha256()
        while part := await file.read(100_000):
            hashed.update(part)
        sums[file.filename] = [file.size, hashed.hexdigest()]
    return {"by": by, "files": sums}


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def rows() -> AsyncIterator[str]:
        for number in range(2000):
            yield f"row {number}\n"

    return StreamingResponse(rows(), media_type="text/plain")


@app.get("/stream/sync")
def sync_stream() -> StreamingResponse:
    return StreamingResponse((f"row {number}\n" for number in range(50)), media_type="text/plain")


@app.get("/events")
async def events(request: Request, value: Annotated[str, Depends(connection)]) -> StreamingResponse:
    async def ticks() -> AsyncIterator[str]:
        number = 0
        while True:
            yield f"data: {number}\n\n"
            number += 1
            await asyncio.sleep(0.01)

    return StreamingResponse(ticks(), media_type="text/event-stream")


@app.get("/background")
async def background(tasks: BackgroundTasks) -> str:
    async def task() -> None:
        await asyncio.sleep(0.1)
        print("background task ended")

    tasks.add_task(task)
    return "accepted"


@app.get("/boom")
async def boom(value: Annotated[str, Depends(connection)]) -> str:
    raise RuntimeError("the view broke")


@app.get("/invalid-answer", response_model=Order)
async def invalid_answer() -> dict[str, object]:
    return {"item": "tea", "count": "none"}
