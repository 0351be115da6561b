"""daphne_clone.asgi.room: senders wait while there is no room, and give others a turn where there is."""

from __future__ import annotations

import asyncio

from daphne_clone.asgi.room import Room


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_sender_that_has_room_gives_one_turn() -> None:
    async def scenario() -> None:
        room, steps = Room(), []
        sender = asyncio.ensure_future(room.wait(lambda: False))
        sender.add_done_callback(lambda _: steps.append("sender"))
        await asyncio.sleep(0)
        assert not sender.done()
        assert not room.is_waited_for
        await turns()
        assert steps == ["sender"]

    asyncio.run(scenario())


def test_senders_wait_until_there_is_room_when_they_are_released() -> None:
    async def scenario() -> None:
        room, full = Room(), [True]
        senders = [asyncio.ensure_future(room.wait(lambda: full[0])) for _ in range(2)]
        await turns()
        assert room.is_waited_for
        room.release()  # and it is still full
        await turns()
        assert room.is_waited_for
        assert not any(sender.done() for sender in senders)
        full[0] = False
        room.release()
        assert not room.is_waited_for
        await turns()
        assert all(sender.done() for sender in senders)

    asyncio.run(scenario())


def test_a_cancelled_sender_does_not_keep_the_others() -> None:
    async def scenario() -> None:
        room, full = Room(), [True]
        gone, stays = (asyncio.ensure_future(room.wait(lambda: full[0])) for _ in range(2))
        await turns()
        gone.cancel()
        await turns()
        full[0] = False
        room.release()
        await turns()
        assert gone.cancelled()
        assert stays.done()

    asyncio.run(scenario())
