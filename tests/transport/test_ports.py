"""daphne_clone.transport.ports: how a port ends, and what it does when the system has nothing left to give."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import ssl

import pytest
from twisted.logger import globalLogPublisher

from daphne_clone.errors import ListenError
from daphne_clone.transport import listen as listening
from daphne_clone.transport import ports
from tests.support.streams import Keeper, Recorder, connect, finished, open_port, read, until, write_certificate


class Greeter(Recorder):
    def connectionMade(self):
        self.transport.write(b"hello")


async def stopped(port):
    await port.stopListening().asFuture(asyncio.get_running_loop())


@pytest.fixture
def warnings_logged():
    events = []

    def observe(event):
        if event["log_level"].name == "warn":
            events.append(event)

    globalLogPublisher.addObserver(observe)
    yield events
    globalLogPublisher.removeObserver(observe)


def test_the_factory_is_started_and_stopped_once_for_each_port(run):
    async def scenario():
        factory = Keeper()
        first = await open_port("tcp:0:interface=127.0.0.1", factory)
        second = await open_port("tcp:0:interface=127.0.0.1", factory)
        assert factory.numPorts == 2
        await stopped(first)
        await stopped(first)
        assert (factory.starts, factory.stops, factory.numPorts) == (1, 0, 1)
        await asyncio.gather(stopped(second), stopped(second))
        assert (factory.starts, factory.stops, factory.numPorts) == (1, 1, 0)

    run(scenario())


def test_a_port_that_never_started_leaves_nothing(run, tmp_path):
    async def scenario():
        loop = asyncio.get_running_loop()
        path = str(tmp_path / "s")
        factory = Keeper()
        port = await listening.open_port(f"unix:{path}", factory, reactor=None, loop=loop)
        assert os.path.exists(path)
        with pytest.raises(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
        await stopped(port)
        assert not os.path.exists(path)
        assert (factory.starts, factory.stops) == (0, 0)

    run(scenario())


def test_a_port_that_cannot_start_leaves_nothing(run, tmp_path, monkeypatch):
    async def scenario():
        loop = asyncio.get_running_loop()

        async def refuse(*_arguments, **_keywords):
            raise OSError(1, "Refused")

        class Loop:
            create_server = staticmethod(refuse)

        class Listener(socket.socket):
            def listen(self, backlog=0):
                raise OSError(1, "Refused")

        listener = Listener(socket.AF_UNIX) if run.kind == "asyncio" else socket.socket(socket.AF_UNIX)
        path = str(tmp_path / "s")
        listener.bind(path)
        status = os.stat(path)
        factory = Keeper()
        port = ports.LoopPort(
            "unix:it",
            listener,
            factory,
            loop if run.kind == "asyncio" else Loop(),
            security=None,
            file=ports.SocketFile(path, status.st_dev, status.st_ino),
            backlog=1,
        )
        with pytest.raises(ListenError, match="cannot listen on unix:it: refused"):
            await port.start()
        assert (factory.starts, factory.stops) == (1, 1)
        assert listener.fileno() == -1
        assert not os.path.exists(path)
        await stopped(port)

    run(scenario())


def test_a_stopped_port_refuses_and_its_connections_live_on(run):
    async def scenario():
        factory = Keeper()
        port = await open_port("tcp:0:interface=127.0.0.1", factory)
        port.startListening()
        address = ("127.0.0.1", port.getHost().port)
        client = await connect(address)
        await until(lambda: factory.built)
        await stopped(port)
        with pytest.raises(ConnectionRefusedError):
            await connect(address)
        factory.built[0].transport.write(b"hello")
        assert await read(client, 5) == b"hello"
        assert port.getHost().port == address[1]
        with pytest.raises(ListenError, match="was stopped"):
            port.startListening()
        client.close()
        await finished(port, factory)
        # The address is free at once, though a connection to it has just been closed.
        again = await open_port(f"tcp:{address[1]}:interface=127.0.0.1", factory)
        await finished(again, factory)

    run(scenario())


def fill_accept_queue(address, family, count):
    """Connect without giving the loop a turn to accept."""
    clients = []
    for _ in range(count):
        client = socket.socket(family)
        client.connect(address)
        client.send(b"request")
        client.setblocking(False)
        clients.append(client)
    return clients


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_stopping_loses_no_connection_that_the_kernel_has_completed(run, tmp_path, family):
    async def scenario():
        factory = Keeper(Greeter)
        path = str(tmp_path / "s")
        port = await open_port("tcp:0:interface=127.0.0.1" if family == socket.AF_INET else f"unix:{path}", factory)
        address = ("127.0.0.1", port.getHost().port) if family == socket.AF_INET else path
        clients = fill_accept_queue(address, family, 50)
        await stopped(port)
        assert len(factory.built) == 50
        for client in clients:
            assert await read(client, 5) == b"hello"
        await until(lambda: all(protocol.received == b"request" for protocol in factory.built))
        for client in clients:
            client.close()
        await finished(port, factory)

    run(scenario())


def test_connections_that_the_loop_is_just_accepting_are_not_lost_either(run):
    async def scenario():
        factory = Keeper(Greeter)
        port = await open_port("tcp:0:interface=127.0.0.1", factory)
        clients = fill_accept_queue(("127.0.0.1", port.getHost().port), socket.AF_INET, 100)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await stopped(port)
        for client in clients:
            assert await read(client, 5) == b"hello"
            client.close()
        await finished(port, factory)

    run(scenario())


def test_stopping_loses_no_tls_connection_that_the_kernel_has_completed(run, tmp_path):
    async def scenario():
        key, certificate = write_certificate(tmp_path)
        factory = Keeper(Greeter)
        port = await open_port(f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1", factory)
        client = socket.create_connection(("127.0.0.1", port.getHost().port))
        stopping = port.stopListening().asFuture(asyncio.get_running_loop())
        context = ssl.create_default_context(cafile=certificate)
        reader, writer = await asyncio.open_connection(sock=client, ssl=context, server_hostname="127.0.0.1")
        await stopping
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        await finished(port, factory)

    run(scenario())


def test_a_peer_that_does_not_shake_hands_holds_a_stop_only_so_long(run, tmp_path, monkeypatch):
    monkeypatch.setattr("daphne_clone.transport.tls.HANDSHAKE_TIMEOUT_S", 0.05)

    async def scenario():
        key, certificate = write_certificate(tmp_path)
        factory = Keeper()
        port = await open_port(f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1", factory)
        with socket.create_connection(("127.0.0.1", port.getHost().port)):
            await stopped(port)
        assert factory.built == []
        assert factory.stops == 1

    run(scenario())


@contextlib.contextmanager
def no_descriptor_left():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/dev/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    holes = []
    try:
        with contextlib.suppress(OSError):
            while True:
                holes.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for hole in holes:
            os.close(hole)


def test_a_port_outlives_a_time_without_descriptors(run, monkeypatch, warnings_logged):
    monkeypatch.setattr(ports, "_ACCEPT_RETRY_S", 0.05)

    async def scenario():
        factory = Keeper(Greeter)
        port = await open_port("tcp:0:interface=127.0.0.1", factory)
        address = ("127.0.0.1", port.getHost().port)
        waiting, later = socket.socket(), socket.socket()
        waiting.setblocking(False)
        with no_descriptor_left():
            waiting.connect_ex(address)
            turns = 0
            end = asyncio.get_running_loop().time() + 0.1
            while asyncio.get_running_loop().time() < end:
                await asyncio.sleep(0.01)
                turns += 1
            assert factory.built == []
        if run.kind == "asyncio":
            # It waits in the kernel's queue.
            assert await read(waiting, 5) == b"hello"
            assert 1 <= len(warnings_logged) <= 4
        else:
            # libuv accepts and closes: who connects now is turned away, at once.
            assert await read(waiting, 5) == b""
        later.setblocking(False)
        await asyncio.get_running_loop().sock_connect(later, address)
        assert await read(later, 5) == b"hello"
        waiting.close()
        later.close()
        await finished(port, factory)

    run(scenario())


def test_a_port_can_be_stopped_in_a_time_without_descriptors(run, warnings_logged):
    async def scenario():
        factory = Keeper(Greeter)
        port = await open_port("tcp:0:interface=127.0.0.1", factory)
        waiting = socket.socket()
        waiting.setblocking(False)
        with no_descriptor_left():
            waiting.connect_ex(("127.0.0.1", port.getHost().port))
            await stopped(port)
        assert factory.stops == 1
        assert "are lost" in warnings_logged[-1]["log_format"]
        waiting.close()

    run(scenario())
