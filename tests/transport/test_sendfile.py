"""daphne_clone.transport.sendfile: parts of files, from the kernel or through memory."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl

import pytest

from daphne_clone.errors import ClientDisconnected
from daphne_clone.transport import sendfile
from tests.support.streams import (
    Keeper,
    connect,
    connection,
    finished,
    open_port,
    read,
    until,
    write_certificate,
)

CONTENT = bytes(range(256)) * 8192  # 2 MiB: several pieces, and more than a small receive buffer takes


@pytest.fixture
def content(tmp_path):
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    fileno = os.open(path, os.O_RDONLY)
    yield fileno
    os.close(fileno)


@pytest.fixture(params=["kernel", "memory", "kernel refuses"])
def way(request, monkeypatch):
    """Send in each way there is."""
    if request.param == "memory":
        monkeypatch.delattr(os, "sendfile")
    elif request.param == "kernel refuses":

        def refuse(*_arguments):
            raise OSError(errno.EINVAL, "not for this file")

        monkeypatch.setattr(os, "sendfile", refuse)


@pytest.mark.usefixtures("way")
def test_a_whole_file_follows_what_was_written_before(run, content):
    async def scenario():
        async with connection(receive_buffer=4096) as (client, protocol):
            transport = protocol.transport
            head, tail = b"h" * 300000, b"tail"
            transport.write(head)
            sending = asyncio.ensure_future(transport.sendfile(content, 0, len(CONTENT)))
            expected = head + CONTENT
            assert await read(client, len(expected)) == expected
            await sending
            transport.write(tail)
            assert await read(client, len(tail)) == tail

    run(scenario())


@pytest.mark.usefixtures("way")
def test_a_head_that_waits_in_the_buffer_goes_first(run, content):
    async def scenario():
        async with connection(receive_buffer=4096) as (client, protocol):
            transport, head = protocol.transport, b""
            while not transport.getWriteBufferSize():
                transport.write(b"h" * 8192)
                head += b"h" * 8192
                await asyncio.sleep(0.001)
            assert not transport.writing_paused  # so little that only a flush waits for it
            sending = asyncio.ensure_future(transport.sendfile(content, 1, 1000))
            assert await read(client, len(head) + 1000) == head + CONTENT[1:1001]
            await sending

    run(scenario())


@pytest.mark.usefixtures("way")
def test_a_part_of_a_file_leaves_its_position_alone(run, content):
    async def scenario():
        async with connection() as (client, protocol):
            os.lseek(content, 7, os.SEEK_SET)
            await protocol.transport.sendfile(content, 1000, 500)
            await protocol.transport.sendfile(content, 0, 0)
            assert await read(client, 500) == CONTENT[1000:1500]
            assert os.lseek(content, 0, os.SEEK_CUR) == 7

    run(scenario())


@pytest.mark.usefixtures("way")
def test_offsets_beyond_two_gibibytes(run, tmp_path):
    async def scenario():
        with open(tmp_path / "sparse", "wb+") as file:
            file.seek(5 << 30)
            file.write(b"far out")
            file.flush()
            async with connection() as (client, protocol):
                await protocol.transport.sendfile(file.fileno(), (5 << 30) - 3, 10)
                assert await read(client, 10) == b"\0\0\0far out"

    run(scenario())


@pytest.mark.usefixtures("way")
def test_a_file_that_is_too_short_is_an_error(run, content):
    async def scenario():
        async with connection() as (client, protocol):
            sending = asyncio.ensure_future(protocol.transport.sendfile(content, len(CONTENT) - 5, 12))
            with pytest.raises(EOFError, match=f"ends at byte {len(CONTENT)}, 7 bytes before"):
                await sending
            protocol.transport.abortConnection()
            client.close()

    run(scenario())


@pytest.mark.usefixtures("way")
def test_a_file_that_cannot_be_read_is_an_error(run, tmp_path):
    async def scenario():
        fileno = os.open(tmp_path, os.O_RDONLY)  # a directory
        try:
            async with connection() as (_client, protocol):
                with pytest.raises(OSError, match="directory"):
                    await protocol.transport.sendfile(fileno, 0, 1)
        finally:
            os.close(fileno)

    run(scenario())


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("end", ["abort", "reset"])
def test_a_connection_lost_in_the_middle_is_told(run, content, end):
    async def scenario():
        async with connection(receive_buffer=4096) as (client, protocol):
            transport = protocol.transport
            descriptors = len(os.listdir("/dev/fd"))
            # So that the kernel's buffer does not take the whole file.
            transport._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            sending = asyncio.ensure_future(transport.sendfile(content, 0, len(CONTENT)))
            await read(client, 10000)
            assert not sending.done()
            if end == "abort":
                transport.abortConnection()
            else:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                client.close()
            with pytest.raises(ClientDisconnected):
                await sending
            await until(lambda: protocol.lost)
            with pytest.raises(ClientDisconnected):
                await transport.sendfile(content, 0, 1)
            closed = 1 if end == "abort" else 2
            await until(lambda: len(os.listdir("/dev/fd")) == descriptors - closed)

    run(scenario())


def test_a_reset_that_only_the_kernels_send_sees_is_told(run, content):
    async def scenario():
        async with connection(receive_buffer=4096) as (client, protocol):
            transport = protocol.transport
            transport._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            transport.pauseProducing()  # so that the loop does not read the reset
            sending = asyncio.ensure_future(transport.sendfile(content, 0, len(CONTENT)))
            await read(client, 10000)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            client.close()
            with pytest.raises(ClientDisconnected):
                await sending
            await until(lambda: protocol.lost)

    run(scenario())


def test_other_callbacks_run_between_two_pieces(run, content, monkeypatch):
    sizes = []
    kernel_sendfile = os.sendfile

    def counted(out, in_, offset, count):
        sizes.append(count)
        return kernel_sendfile(out, in_, offset, count)

    monkeypatch.setattr(os, "sendfile", counted)

    async def scenario():
        turns = 0

        async def turn():
            nonlocal turns
            while not sending.done():
                turns += 1
                await asyncio.sleep(0)

        async with connection() as (client, protocol):
            sending = asyncio.ensure_future(protocol.transport.sendfile(content, 0, len(CONTENT)))
            turning = asyncio.ensure_future(turn())
            await read(client, len(CONTENT))
            await sending
            await turning
        assert turns >= len(CONTENT) // sendfile.PIECE_MAX_BYTES
        assert max(sizes) == sendfile.PIECE_MAX_BYTES

    run(scenario())


def test_a_kernel_that_refuses_in_the_middle_is_taken_over_from_there(run, content, monkeypatch):
    calls = []
    kernel_sendfile = os.sendfile

    def once(*arguments):
        calls.append(arguments)
        if len(calls) > 1:
            raise OSError(errno.EINVAL, "no more")
        return kernel_sendfile(*arguments)

    monkeypatch.setattr(os, "sendfile", once)

    async def scenario():
        async with connection() as (client, protocol):
            sending = asyncio.ensure_future(protocol.transport.sendfile(content, 0, len(CONTENT)))
            assert await read(client, len(CONTENT)) == CONTENT
            await sending

    run(scenario())
    assert len(calls) == 2


def test_a_cancelled_send_leaves_no_descriptor_and_no_watcher(run, content):
    async def scenario():
        async with connection(receive_buffer=4096) as (client, protocol):
            descriptors = len(os.listdir("/dev/fd"))
            protocol.transport._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            sending = asyncio.ensure_future(protocol.transport.sendfile(content, 0, len(CONTENT)))
            await read(client, 10000)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert len(os.listdir("/dev/fd")) == descriptors
            assert not protocol.transport._waiters

    run(scenario())


def test_a_connection_lost_between_two_pieces_is_told(run, content, monkeypatch):
    monkeypatch.setattr(os, "sendfile", lambda _out, _in, _offset, count: count)

    async def scenario():
        async with connection() as (_client, protocol):
            sending = asyncio.ensure_future(protocol.transport.sendfile(content, 0, 1 << 60))
            await asyncio.sleep(0)
            protocol.transport.abortConnection()
            with pytest.raises(ClientDisconnected):
                await sending

    run(scenario())


def test_an_error_of_the_disk_is_passed_on(run, content, monkeypatch):
    def fail(*_arguments):
        raise OSError(errno.EIO, "the disk is dying")

    monkeypatch.setattr(os, "sendfile", fail)

    async def scenario():
        async with connection() as (_client, protocol):
            with pytest.raises(OSError, match="dying"):
                await protocol.transport.sendfile(content, 0, 5)

    run(scenario())


def test_negative_positions_are_refused(run, content):
    async def scenario():
        async with connection() as (_client, protocol):
            with pytest.raises(ValueError, match="negative"):
                await protocol.transport.sendfile(content, -1, 5)
            with pytest.raises(ValueError, match="negative"):
                await protocol.transport.sendfile(content, 0, -5)

    run(scenario())


def test_a_file_through_a_unix_socket(run, content, tmp_path):
    async def scenario():
        factory = Keeper()
        port = await open_port(f"unix:{tmp_path / 's'}", factory)
        client = await connect(str(tmp_path / "s"), socket.AF_UNIX)
        await until(lambda: factory.built)
        sending = asyncio.ensure_future(factory.built[0].transport.sendfile(content, 0, len(CONTENT)))
        assert await read(client, len(CONTENT)) == CONTENT
        await sending
        client.close()
        await finished(port, factory)

    run(scenario())


def test_a_file_over_tls_goes_through_the_encryption(run, content, tmp_path):
    async def scenario():
        key, certificate = write_certificate(tmp_path)
        factory = Keeper()
        port = await open_port(f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1", factory)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port.getHost().port, ssl=ssl.create_default_context(cafile=certificate)
        )
        await until(lambda: factory.built)
        factory.built[0].transport.write(b"head")
        sending = asyncio.ensure_future(factory.built[0].transport.sendfile(content, 0, len(CONTENT)))
        expected = b"head" + CONTENT
        assert await reader.readexactly(len(expected)) == expected
        await sending
        writer.close()
        await finished(port, factory)

    run(scenario())
