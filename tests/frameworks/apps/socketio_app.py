"""A python-socketio server: rooms, acknowledgements, binary data, refusals, sessions, a background task."""

from __future__ import annotations

from typing import Any

import socketio

# A client that polls takes both times together to leave.
sio = socketio.AsyncServer(async_mode="asgi", ping_interval=0.4, ping_timeout=1)


@sio.event
async def connect(sid: str, environ: dict[str, Any], auth: dict[str, Any] | None) -> None:
    if environ["QUERY_STRING"].startswith("refuse"):
        raise socketio.exceptions.ConnectionRefusedError("who are you?")
    await sio.save_session(sid, {"name": (auth or {}).get("name")})


@sio.event
async def disconnect(sid: str, reason: str) -> None:
    session = await sio.get_session(sid)
    print(f"left: {session['name']} {reason}")


@sio.event
async def echo(sid: str, *values: object) -> tuple[object, ...]:
    return values


@sio.event
async def whoami(sid: str) -> dict[str, Any]:
    return {"transport": sio.transport(sid), **await sio.get_session(sid)}


@sio.event
async def join(sid: str, room: str) -> None:
    await sio.enter_room(sid, room)
    await sio.emit("joined", room, to=sid)


@sio.event
async def say(sid: str, room: str, what: object) -> None:
    await sio.emit("said", what, room=room)


@sio.event
async def count(sid: str, until: int) -> None:
    """Emit from a task of the server's own, after this event has been handled."""

    async def numbers() -> None:
        for number in range(until):
            await sio.emit("number", number, to=sid)
            await sio.sleep(0.01)

    sio.start_background_task(numbers)


@sio.event
async def leave(sid: str) -> None:
    await sio.disconnect(sid)


app = socketio.ASGIApp(sio)
