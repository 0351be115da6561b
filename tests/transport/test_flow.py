"""daphne_clone.transport.flow: producers and waiting coroutines follow the write buffer."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from daphne_clone.errors import ClientDisconnected
from daphne_clone.transport.flow import WriteFlow
from tests.support.streams import Producer, connection, read, read_to_end, until

LARGE = bytes(range(256)) * 16384  # 4 MiB: more than the kernel's buffers on both sides hold


class PullProducer:
    """Makes some writes each time it is asked, then unregisters itself."""

    def __init__(self, consumer, pieces):
        self.consumer = consumer
        self.pieces = list(pieces)
        self.asked = 0
        self.stopped = False
        self.pending_when_asked = []

    def resumeProducing(self):
        self.asked += 1
        self.pending_when_asked.append(self.consumer.getWriteBufferSize())
        if self.pieces:
            for piece in self.pieces.pop(0):
                self.consumer.write(piece)
        else:
            self.consumer.unregisterProducer()

    def stopProducing(self):
        self.stopped = True


# Streaming producers


def test_a_streaming_producer_is_paused_while_the_buffer_is_full(run):
    async def scenario():
        async with connection(receive_buffer=4096) as (client, protocol):
            transport, producer = protocol.transport, Producer()
            transport.registerProducer(producer, True)
            transport.write(b"small")
            await read(client, 5)
            assert producer.calls == []
            transport.write(LARGE)
            assert producer.calls == ["pause"]
            assert transport.writing_paused
            transport.write(b"more")
            await asyncio.sleep(0.01)
            assert producer.calls == ["pause"]
            assert await read(client, len(LARGE) + 4) == LARGE + b"more"
            await until(lambda: producer.calls == ["pause", "resume"])
            assert not transport.writing_paused

    run(scenario())


def test_a_sequence_of_large_pieces_pauses_the_producer_too(run):
    async def scenario():
        async with connection(receive_buffer=4096) as (_client, protocol):
            producer = Producer()
            protocol.transport.registerProducer(producer, True)
            protocol.transport.writeSequence([LARGE, LARGE])
            await asyncio.sleep(0.01)
            assert producer.calls == ["pause"]

    run(scenario())


def test_a_producer_registered_over_a_full_buffer_is_paused_at_once(run):
    async def scenario():
        async with connection(receive_buffer=4096) as (client, protocol):
            transport, producer = protocol.transport, Producer()
            transport.write(LARGE)
            transport.registerProducer(producer, True)
            assert producer.calls == ["pause"]
            await read(client, len(LARGE))
            await until(lambda: producer.calls == ["pause", "resume"])

    run(scenario())


def test_a_producer_that_was_not_paused_is_not_resumed(run):
    async def scenario():
        async with connection(receive_buffer=4096) as (client, protocol):
            transport, first, second = protocol.transport, Producer(), Producer()
            transport.registerProducer(first, True)
            transport.write(LARGE)
            transport.unregisterProducer()
            await read(client, len(LARGE))
            await until(lambda: not transport.writing_paused)
            transport.registerProducer(second, True)
            assert (first.calls, second.calls) == (["pause"], [])

    run(scenario())


def test_a_second_producer_is_refused(run):
    async def scenario():
        async with connection() as (_client, protocol):
            protocol.transport.registerProducer(Producer(), True)
            with pytest.raises(RuntimeError, match="never unregistered"):
                protocol.transport.registerProducer(Producer(), True)
            protocol.transport.unregisterProducer()
            protocol.transport.unregisterProducer()
            protocol.transport.registerProducer(Producer(), True)

    run(scenario())


@pytest.mark.parametrize("streaming", [True, False])
def test_the_producer_is_stopped_when_the_connection_is_lost(run, streaming):
    async def scenario():
        async with connection(receive_buffer=4096) as (_client, protocol):
            transport = protocol.transport
            producer = Producer() if streaming else PullProducer(transport, [[LARGE], [LARGE]])
            transport.registerProducer(producer, streaming)
            transport.write(LARGE)
            transport.abortConnection()
            transport.unregisterProducer() if streaming else None
            await until(lambda: protocol.lost)
            assert streaming or producer.stopped
            late = Producer()
            transport.registerProducer(late, True)
            assert late.calls == ["stop"]
            transport.unregisterProducer()

    run(scenario())


def test_the_end_is_told_even_if_the_producer_cannot_be_stopped(run, twisted_errors):
    class Broken(Producer):
        def stopProducing(self):
            raise LookupError("broken")

    async def scenario():
        async with connection() as (client, protocol):
            protocol.transport.registerProducer(Broken(), True)
            client.close()
            await until(lambda: protocol.lost)

    run(scenario())
    assert [event["log_failure"].type for event in twisted_errors] == [LookupError]


# Pull producers


def test_a_pull_producer_is_asked_when_all_is_sent(run):
    async def scenario():
        pieces = [[b"a"], [b"b" * 70000, b"c"], [b"d", LARGE], [b"e"]]
        async with connection() as (client, protocol):
            transport = protocol.transport
            producer = PullProducer(transport, pieces)
            transport.registerProducer(producer, False)
            transport.loseConnection()
            assert await read_to_end(client) == b"".join(itertools.chain(*pieces))
            assert producer.asked == len(pieces) + 1
            assert set(producer.pending_when_asked) == {0}

    run(scenario())


def test_a_pull_producer_that_writes_nothing_is_not_asked_again_until_it_writes(run):
    class Hesitant(PullProducer):
        def resumeProducing(self):
            self.asked += 1

    async def scenario():
        async with connection() as (client, protocol):
            transport = protocol.transport
            producer = Hesitant(transport, [])
            transport.registerProducer(producer, False)
            await asyncio.sleep(0.02)
            assert producer.asked == 1
            transport.writeSequence([b"at ", b"last"])
            await until(lambda: producer.asked == 2)
            transport.unregisterProducer()
            transport.write(b"!")
            assert await read(client, 8) == b"at last!"
            low, high = transport._transport.get_write_buffer_limits()
            assert 0 < low < high
            assert producer.asked == 2

    run(scenario())


# Sequences


def test_large_pieces_are_not_joined_and_small_ones_are_one_write():
    written = []
    flow = WriteFlow(None)
    flow.write = written.append
    large, rest = b"x" * 70000, b"y"
    flow._write_each(iter([large, rest]))
    assert written[0] is large
    assert written[1] is rest
    flow._write_each([b"a", b"b"])
    assert written[2:] == [b"ab"]


def test_no_loops_own_joining_of_sequences_is_used(run):
    async def scenario():
        async with connection() as (_client, protocol):
            bound = protocol.transport.writeSequence
            assert bound.__func__ is WriteFlow._write_each if run.kind == "asyncio" else bound.__name__ == "writelines"

    run(scenario())


# Waiting coroutines


def test_waiting_for_room_returns_when_the_peer_has_read(run):
    async def scenario():
        async with connection(receive_buffer=4096) as (client, protocol):
            transport = protocol.transport
            await transport.wait_for_room()
            transport.write(LARGE)
            waiting = asyncio.ensure_future(transport.wait_for_room())
            await asyncio.sleep(0.01)
            assert not waiting.done()
            await read(client, len(LARGE))
            await waiting
            assert not transport.writing_paused

    run(scenario())


@pytest.mark.parametrize("wait", ["wait_for_room", "flush"])
def test_waiting_ends_with_the_connection(run, wait):
    async def scenario():
        async with connection(receive_buffer=4096) as (_client, protocol):
            transport = protocol.transport
            transport.write(LARGE)
            waiting = asyncio.ensure_future(getattr(transport, wait)())
            await asyncio.sleep(0)
            transport.abortConnection()
            with pytest.raises(ClientDisconnected):
                await waiting
            with pytest.raises(ClientDisconnected):
                await getattr(transport, wait)()

    run(scenario())


def test_flushing_returns_when_the_kernel_has_everything(run):
    async def scenario():
        async with connection(receive_buffer=4096) as (client, protocol):
            transport = protocol.transport
            transport.write(b"a few bytes")
            await transport.flush()
            assert transport.getWriteBufferSize() == 0
            transport.write(LARGE)
            flushing = asyncio.ensure_future(transport.flush())
            received = b"a few bytes" + LARGE
            assert await read(client, len(received)) == received
            await flushing
            assert transport.getWriteBufferSize() == 0
            # The mark is back where it was: a little in the buffer is no reason to wait.
            transport.write(b"x")
            assert not transport.writing_paused

    run(scenario())


async def leave_a_little_pending(transport):
    """Fill the kernel's buffer, so that some bytes stay in ours, fewer than its mark; return how many were written."""
    written = 0
    while not transport.getWriteBufferSize():
        transport.write(b"x" * 8192)
        written += 8192
        await asyncio.sleep(0.001)
    assert not transport.writing_paused
    return written


def test_flushing_waits_for_the_last_byte(run):
    async def scenario():
        async with connection(receive_buffer=4096) as (client, protocol):
            transport = protocol.transport
            written = await leave_a_little_pending(transport)
            flushing = asyncio.ensure_future(transport.flush())
            await asyncio.sleep(0.01)
            assert not flushing.done()
            await read(client, written)
            await flushing
            assert transport.getWriteBufferSize() == 0

    run(scenario())


def test_a_cancelled_flush_restores_the_mark(run):
    async def scenario():
        async with connection(receive_buffer=4096) as (client, protocol):
            transport = protocol.transport
            transport.write(LARGE)
            flushing = asyncio.ensure_future(transport.flush())
            await asyncio.sleep(0.01)
            flushing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await flushing
            low, high = transport._transport.get_write_buffer_limits()
            assert 0 < low < high
            await read(client, len(LARGE))
            await until(lambda: not transport.writing_paused)

    run(scenario())
