"""The queue behind an application's ``receive``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from daphne_clone.asgi.receive import ReceiveQueue

END = {"type": "end"}


def message(number: int) -> dict[str, Any]:
    return {"type": "message", "number": number}


def on_loop(scenario: Callable[[ReceiveQueue], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(5):
            await scenario(ReceiveQueue(asyncio.get_running_loop()))

    asyncio.run(main())


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_messages_come_in_order() -> None:
    async def scenario(queue: ReceiveQueue) -> None:
        for number in range(3):
            queue.put_nowait(message(number))
        await queue.put(message(3))
        assert queue.qsize() == 4
        assert [await queue.get() for _ in range(4)] == [message(number) for number in range(4)]
        assert queue.empty()

    on_loop(scenario)


def test_an_empty_queue_has_nothing_now() -> None:
    async def scenario(queue: ReceiveQueue) -> None:
        with pytest.raises(asyncio.QueueEmpty):
            queue.get_nowait()

    on_loop(scenario)


def test_a_reader_waits_for_a_message() -> None:
    async def scenario(queue: ReceiveQueue) -> None:
        reader = asyncio.ensure_future(queue.get())
        await turns()
        assert not reader.done()
        queue.put_nowait(message(1))
        assert await reader == message(1)

    on_loop(scenario)


def test_readers_are_served_in_their_order() -> None:
    async def scenario(queue: ReceiveQueue) -> None:
        readers = [asyncio.ensure_future(queue.get()) for _ in range(3)]
        await turns()
        for number in range(3):
            queue.put_nowait(message(number))
        assert await asyncio.gather(*readers) == [message(0), message(1), message(2)]

    on_loop(scenario)


def test_octets_are_counted_until_they_are_taken() -> None:
    async def scenario(queue: ReceiveQueue) -> None:
        queue.put_nowait(message(1), 10)
        queue.put_nowait(message(2), 5)
        assert queue.pending_bytes == 15
        await queue.get()
        assert queue.pending_bytes == 5
        queue.get_nowait()
        assert queue.pending_bytes == 0

    on_loop(scenario)


def test_a_closed_queue_gives_what_is_in_it_and_then_its_end_for_ever() -> None:
    async def scenario(queue: ReceiveQueue) -> None:
        queue.put_nowait(message(1), 7)
        queue.close(END)
        queue.put_nowait(message(2), 7)
        assert queue.pending_bytes == 7
        assert not queue.is_end_taken
        assert await queue.get() == message(1)
        assert not queue.is_end_taken
        assert await queue.get() == END
        assert queue.is_end_taken
        assert queue.get_nowait() == END
        assert await queue.get() == END

    on_loop(scenario)


def test_a_queue_can_be_closed_with_all_that_is_in_it() -> None:
    async def scenario(queue: ReceiveQueue) -> None:
        queue.put_first(lambda: message(0))
        queue.put_nowait(message(1), 7)
        queue.close(END, discard=True)
        assert queue.pending_bytes == 0
        assert await queue.get() == END

    on_loop(scenario)


def test_the_first_end_stands() -> None:
    async def scenario(queue: ReceiveQueue) -> None:
        queue.put_nowait(message(1))
        queue.close(END)
        queue.close({"type": "another"})
        assert await queue.get() == message(1)
        queue.close({"type": "another"}, discard=True)
        assert await queue.get() == END

    on_loop(scenario)


def test_each_reader_has_an_end_of_its_own() -> None:
    async def scenario(queue: ReceiveQueue) -> None:
        queue.close(END)
        taken = await queue.get()
        taken["changed"] = True
        assert await queue.get() == END
        assert END == {"type": "end"}

    on_loop(scenario)


def test_closing_wakes_everybody_who_waits() -> None:
    async def scenario(queue: ReceiveQueue) -> None:
        readers = [asyncio.ensure_future(queue.get()) for _ in range(3)]
        await turns()
        queue.close(END)
        assert await asyncio.gather(*readers) == [END, END, END]

    on_loop(scenario)


def test_the_first_message_is_made_when_asked_for_and_stands_before_all() -> None:
    async def scenario(queue: ReceiveQueue) -> None:
        made = []

        def make() -> dict[str, Any]:
            made.append(True)
            return message(0)

        queue.put_first(make)
        queue.put_nowait(message(1))
        queue.close(END)
        assert not made
        assert [await queue.get() for _ in range(3)] == [message(0), message(1), END]
        assert made == [True]

    on_loop(scenario)


def test_the_first_message_reaches_a_reader_who_waits_already() -> None:
    async def scenario(queue: ReceiveQueue) -> None:
        reader = asyncio.ensure_future(queue.get())
        await turns()
        queue.put_first(lambda: message(0))
        assert await reader == message(0)
        with pytest.raises(asyncio.QueueEmpty):
            queue.get_nowait()

    on_loop(scenario)


def test_who_watches_hears_that_a_reader_is_about_to_wait() -> None:
    async def scenario(queue: ReceiveQueue) -> None:
        waits = []
        queue.watch(lambda: waits.append(True))
        queue.put_nowait(message(1))
        await queue.get()
        assert waits == []
        reader = asyncio.ensure_future(queue.get())
        await turns()
        assert waits == [True]
        queue.put_nowait(message(2))
        await reader
        queue.close(END)
        await queue.get()
        assert waits == [True]

    on_loop(scenario)


def test_who_watches_late_hears_at_once_of_a_reader_who_waits() -> None:
    async def scenario(queue: ReceiveQueue) -> None:
        reader = asyncio.ensure_future(queue.get())
        await turns()
        waits = []
        queue.watch(lambda: waits.append(True))
        assert waits == [True]
        queue.close(END)
        await reader

    on_loop(scenario)


def test_a_message_put_by_who_watches_is_taken_without_a_wait() -> None:
    async def scenario(queue: ReceiveQueue) -> None:
        queue.watch(lambda: queue.put_nowait(message(1)))
        assert await queue.get() == message(1)
        queue.watch(lambda: queue.close(END))
        assert await queue.get() == END

    on_loop(scenario)


def test_taking_is_told() -> None:
    async def scenario(queue: ReceiveQueue) -> None:
        seen = []
        queue.put_nowait(message(1), 3)
        queue.on_taken = lambda: seen.append(queue.pending_bytes)
        await queue.get()
        assert seen == [0], "it is told when the octets are gone"
        queue.close(END)
        await queue.get()
        assert seen == [0]

    on_loop(scenario)


def test_a_reader_who_is_cancelled_takes_nothing_with_him() -> None:
    async def scenario(queue: ReceiveQueue) -> None:
        reader = asyncio.ensure_future(queue.get())
        await turns()
        reader.cancel()
        await turns()
        queue.put_nowait(message(1))
        assert await queue.get() == message(1)

    on_loop(scenario)


def test_a_reader_cancelled_as_his_message_comes_wakes_the_next() -> None:
    async def scenario(queue: ReceiveQueue) -> None:
        first, second = asyncio.ensure_future(queue.get()), asyncio.ensure_future(queue.get())
        await turns()
        queue.put_nowait(message(1))
        first.cancel()
        assert await second == message(1)
        assert first.cancelled()

    on_loop(scenario)


def test_a_message_taken_before_the_reader_runs_makes_him_wait_on() -> None:
    async def scenario(queue: ReceiveQueue) -> None:
        reader = asyncio.ensure_future(queue.get())
        await turns()
        queue.put_nowait(message(1))
        assert queue.get_nowait() == message(1)
        await turns()
        assert not reader.done()
        queue.put_nowait(message(2))
        assert await reader == message(2)

    on_loop(scenario)
