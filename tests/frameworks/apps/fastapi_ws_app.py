"""A FastAPI application whose WebSockets use what FastAPI adds: parameters, dependencies, their refusals, one's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import (
    APIRouter,
    Cookie,
    Depends,
    FastAPI,
    Header,
    Query,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
)
from pydantic import BaseModel

app = FastAPI()
router = APIRouter(prefix="/items")


class Order(BaseModel):
    item: str
    count: int


class TooMany(Exception):
    """What a view raises; the application has an answer of its own to it."""


async def connection(websocket: WebSocket) -> AsyncIterator[str]:
    """As a database session: open as long as the WebSocket is."""
    print(f"opened {websocket.url.query}")
    try:
        yield "connection"
    finally:
        print(f"closed {websocket.url.query}")


async def member(
    token: Annotated[str | None, Query()] = None,
    session: Annotated[str | None, Cookie()] = None,
    x_token: Annotated[str | None, Header()] = None,
) -> str:
    if (name := token or session or x_token) is None:
        raise WebSocketException(code=4401, reason="who are you?")
    return name


@router.websocket("/{number}")
async def orders(
    websocket: WebSocket,
    number: int,
    name: Annotated[str, Depends(member)],
    value: Annotated[str, Depends(connection)],
    limit: Annotated[int, Query(ge=1)] = 10,
) -> None:
    """Takes orders and confirms each, until the client leaves or orders too much."""
    await websocket.accept()
    try:
        while True:
            order = Order.model_validate(await websocket.receive_json())
            if order.count > limit:
                raise TooMany
            if not order.item:
                raise WebSocketException(code=1008, reason="no item")
            await websocket.send_json({"number": number, "name": name, "value": value, "order": order.model_dump()})
    except WebSocketDisconnect as left:
        print(f"{name} left {number}: {left.code} {left.reason!r}")


@app.exception_handler(TooMany)
async def close_with_a_word(websocket: WebSocket, error: TooMany) -> None:
    await websocket.close(code=4009, reason="too many")


class Members:
    """The connection manager of FastAPI's chapter on WebSockets."""

    def __init__(self) -> None:
        self._active: list[WebSocket] = []

    async def join(self, websocket: WebSocket) -> None:
        await websocket.accept()
        self._active.append(websocket)

    def leave(self, websocket: WebSocket) -> None:
        self._active.remove(websocket)

    async def tell_all(self, text: str) -> None:
        for websocket in self._active:
            await websocket.send_text(text)


members = Members()


@app.websocket("/chat/{name}")
async def chat(websocket: WebSocket, name: str) -> None:
    await members.join(websocket)
    try:
        await members.tell_all(f"{name} joined")
        while True:
            text = await websocket.receive_text()
            await websocket.send_text(f"You wrote: {text}")
            await members.tell_all(f"{name} says: {text}")
    except WebSocketDisconnect:
        members.leave(websocket)
        await members.tell_all(f"{name} left")


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    """The first example of FastAPI's documentation: it leaves WebSocketDisconnect to whoever called it."""
    await websocket.accept()
    while True:
        await websocket.send_text(await websocket.receive_text())


app.include_router(router)
