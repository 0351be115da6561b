"""daphne_clone.transport.peek: what is looked at stays where it is, and peers are waited for only so long."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from daphne_clone.transport.peek import Patience, peek


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def test_what_is_there_is_seen_and_not_taken(run, pair):
    ours, theirs = pair
    theirs.sendall(b"hello")

    async def scenario():
        loop = asyncio.get_running_loop()
        assert await peek(ours, loop, 1) == b"h"
        assert await peek(ours, loop, 100) == b"hello"
        assert ours.recv(100) == b"hello"

    run(scenario())


def test_what_is_to_come_is_waited_for(run, pair):
    ours, theirs = pair

    async def scenario():
        loop = asyncio.get_running_loop()
        looking = loop.create_task(peek(ours, loop, 1))
        await asyncio.sleep(0)
        assert not looking.done()
        theirs.sendall(b"x")
        assert await looking == b"x"
        assert not loop.remove_reader(ours.fileno())

    run(scenario())


def test_an_end_is_seen_as_empty(run, pair):
    ours, theirs = pair
    theirs.close()

    async def scenario():
        assert await peek(ours, asyncio.get_running_loop(), 1) == b""

    run(scenario())


def test_a_cancelled_look_leaves_nothing_behind(run, pair):
    ours, _ = pair

    async def scenario():
        loop = asyncio.get_running_loop()
        looking = loop.create_task(peek(ours, loop, 1))
        await asyncio.sleep(0)
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
        assert not loop.remove_reader(ours.fileno())

    run(scenario())


async def wait_in_vain(patience):
    patience.begin()
    await asyncio.Event().wait()


async def is_cancelled(task):
    async with asyncio.timeout(5):
        await asyncio.wait({task})
    return task.cancelled()


def test_patience_ends(run):
    async def scenario():
        patience = Patience(asyncio.get_running_loop(), 0.01, 60)
        assert await is_cancelled(asyncio.ensure_future(wait_in_vain(patience)))

    run(scenario())


def test_who_has_ended_is_waited_for_no_more(run):
    async def scenario():
        loop = asyncio.get_running_loop()
        patience = Patience(loop, 60, 60)

        async def end_at_once():
            patience.begin()

        await loop.create_task(end_at_once())
        await asyncio.sleep(0)
        assert not patience._timers
        patience.end_soon()

    run(scenario())


@pytest.mark.parametrize("begins", ["before", "behind"])
def test_less_is_left_when_the_end_comes(run, begins):
    async def scenario():
        patience = Patience(asyncio.get_running_loop(), 60, 0.01)
        if begins == "behind":
            patience.end_soon()
        task = asyncio.ensure_future(wait_in_vain(patience))
        await asyncio.sleep(0)
        patience.end_soon()
        assert await is_cancelled(task)

    run(scenario())


def test_the_end_gives_nobody_more_time(run):
    async def scenario():
        patience = Patience(asyncio.get_running_loop(), 0.01, 60)
        before = asyncio.ensure_future(wait_in_vain(patience))
        await asyncio.sleep(0)
        patience.end_soon()
        assert await is_cancelled(before)
        assert await is_cancelled(asyncio.ensure_future(wait_in_vain(patience)))

    run(scenario())
