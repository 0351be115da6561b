"""A Quart application: requests and responses in parts, functions before and after serving, forms and sessions."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator

from quart import Quart, Response, current_app, jsonify, redirect, request, send_file, session

app = Quart(__name__)
app.secret_key = "only for tests"
app.config["MAX_CONTENT_LENGTH"] = 8_000_000


@app.before_serving
async def start() -> None:
    app.started_in = asyncio.get_running_loop()  # type: ignore[attr-defined]
    print("before_serving ran")


@app.after_serving
async def stop() -> None:
    print(f"after_serving ran, on the same loop: {app.started_in is asyncio.get_running_loop()}")


@app.while_serving
async def pool() -> AsyncIterator[None]:
    print("pool opened")
    yield
    print("pool closed")


@app.get("/")
async def hello() -> str:
    return f"Hello, {request.args.get('name', 'you')}! {current_app.started_in is asyncio.get_running_loop()}"


@app.get("/sync")
def sync() -> str:
    return str(threading.current_thread() is threading.main_thread())


@app.post("/digest")
async def digest() -> Response:
    size = 0
    hashed = hashlib.sha256()
    async for part in request.body:
        size += len(part)
        hashed.update(part)
    return jsonify(size=size, sha256=hashed.hexdigest())


@app.post("/form")
async def form() -> Response:
    content = (await request.files)["file"].read()
    return jsonify(by=(await request.form)["by"], size=len(content), sha256=hashlib.sha256(content).hexdigest())


@app.post("/echo")
async def echo() -> Response:
    body = request.body

    async def parts() -> AsyncIterator[bytes]:
        async for part in body:
            yield part

    return Response(parts())


@app.get("/stream")
async def stream() -> Response:
    async def rows() -> AsyncIterator[str]:
        for number in range(2000):
            yield f"row {number}\n"

    return Response(rows(), mimetype="text/plain")


@app.get("/events")
async def events() -> Response:
    name = request.full_path

    async def ticks() -> AsyncIterator[str]:
        try:
            number = 0
            while True:
                yield f"data: {number}\n\n"
                number += 1
                await asyncio.sleep(0.01)
        finally:
            print(f"closed {name}")

    response = Response(ticks(), mimetype="text/event-stream")
    response.timeout = None
    return response


@app.get("/slow")
async def slow() -> str:
    name = request.full_path
    print(f"started {name}")
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        print(f"cancelled {name}")
        raise
    return "late"


@app.get("/file")
async def file() -> Response:
    return await send_file(os.environ["BIG_FILE"], conditional=True)


@app.get("/visits")
async def visits() -> str:
    session["visits"] = session.get("visits", 0) + 1
    return str(session["visits"])


@app.get("/redirect")
async def to_hello() -> Response:
    return redirect("/?name=redirected")


@app.get("/boom")
async def boom() -> str:
    raise RuntimeError("the view broke")


@app.get("/background")
async def background() -> str:
    async def task() -> None:
        await asyncio.sleep(0.1)
        print("background task ended")

    app.add_background_task(task)
    return "accepted"
