"""daphne_clone.transport.stream: what a Twisted protocol may expect of its transport, on both loops."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import weakref

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, INegotiated, IPushProducer, ITCPTransport
from zope.interface.verify import verifyObject

from daphne_clone.transport.stream import LoopTransport
from tests.support.streams import (
    HalfCloser,
    Keeper,
    Producer,
    Recorder,
    connect,
    connection,
    finished,
    open_port,
    read,
    read_to_end,
    until,
    write_certificate,
)

LARGE = bytes(range(256)) * 16384  # 4 MiB: more than the kernel's buffers on both sides hold


# Reading


def test_data_reaches_the_protocol(run):
    async def scenario():
        async with connection() as (client, protocol):
            client.send(b"one")
            await until(lambda: protocol.received == b"one")
            client.send(b"two")
            await until(lambda: protocol.received == b"onetwo")

    run(scenario())


def test_the_hot_path_has_no_frame_of_the_transport(run):
    async def scenario():
        async with connection() as (_client, protocol):
            transport = protocol.transport
            assert transport.data_received == protocol.dataReceived
            assert transport.write.__self__ is transport._transport

    run(scenario())


def test_paused_reading_delivers_nothing_until_resumed(run):
    async def scenario():
        async with connection() as (client, protocol):
            protocol.transport.pauseProducing()
            protocol.transport.pauseProducing()
            client.send(b"later")
            await asyncio.sleep(0.02)
            assert protocol.received == b""
            protocol.transport.resumeProducing()
            protocol.transport.resumeProducing()
            await until(lambda: protocol.received == b"later")

    run(scenario())


def test_pausing_and_resuming_a_lost_connection_is_harmless(run):
    async def scenario():
        async with connection() as (client, protocol):
            transport = protocol.transport
            client.close()
            await until(lambda: protocol.lost)
            transport.pauseProducing()
            transport.resumeProducing()
            transport.stopProducing()

    run(scenario())


def test_another_protocol_takes_over_in_the_middle_of_the_stream(run):
    class Upgrading(Recorder):
        def dataReceived(self, data):
            super().dataReceived(data)
            self.successor = Recorder()
            self.transport.switch_protocol(self.successor)
            self.successor.makeConnection(self.transport)

    async def scenario():
        async with connection(Upgrading) as (client, protocol):
            client.send(b"upgrade")
            await until(lambda: protocol.received)
            client.send(b"frames")
            await until(lambda: protocol.successor.received == b"frames")
            assert protocol.received == b"upgrade"
            assert protocol.transport.protocol is protocol.successor
            client.close()
            await until(lambda: protocol.successor.lost)
            assert protocol.lost == []
            protocol.lost.append("for finished()")

    run(scenario())


def test_assigning_the_protocol_switches_it(run):
    async def scenario():
        async with connection() as (client, protocol):
            successor = Recorder()
            protocol.transport.protocol = successor
            client.send(b"frames")
            await until(lambda: successor.received == b"frames")
            protocol.lost.append("for finished()")

    run(scenario())


# Writing


def test_writes_arrive_in_order(run):
    async def scenario():
        async with connection() as (client, protocol):
            transport = protocol.transport
            transport.write(b"a")
            transport.writeSequence([b"b", b"c"])
            transport.writeSequence(iter([LARGE, b"d"]))
            transport.write(b"e")
            expected = b"abc" + LARGE + b"de"
            assert await read(client, len(expected)) == expected

    run(scenario())


def test_the_buffer_size_is_what_the_kernel_has_not_taken(run):
    async def scenario():
        async with connection() as (client, protocol):
            transport = protocol.transport
            assert transport.getWriteBufferSize() == 0
            transport.write(LARGE)
            await asyncio.sleep(0)
            assert 0 < transport.getWriteBufferSize() <= len(LARGE)
            await read(client, len(LARGE))
            await until(lambda: transport.getWriteBufferSize() == 0)

    run(scenario())


# Closing


def test_losing_the_connection_sends_what_is_pending_first(run):
    async def scenario():
        async with connection() as (client, protocol):
            transport = protocol.transport
            transport.write(LARGE)
            transport.loseConnection()
            assert transport.disconnecting
            transport.write(b"too late")
            transport.writeSequence([b"too late"])
            assert await read_to_end(client) == LARGE
            await until(lambda: protocol.lost)
            assert protocol.lost[0].check(ConnectionDone)
            transport.write(b"far too late")
            transport.writeSequence([b"far too late"])
            assert transport.getWriteBufferSize() == 0

    run(scenario())


def test_losing_the_connection_waits_for_the_producer(run):
    async def scenario():
        async with connection() as (client, protocol):
            transport, producer = protocol.transport, Producer()
            transport.registerProducer(producer, True)
            transport.loseConnection()
            client.send(b"not read any more")
            await asyncio.sleep(0.02)
            assert not protocol.lost
            assert not protocol.received
            transport.write(b"produced")
            transport.unregisterProducer()
            # Unread input makes the kernel end with a reset; what was written is there before it.
            assert await read(client, 8) == b"produced"
            await until(lambda: protocol.lost)
            assert producer.calls == []

    run(scenario())


def test_an_aborted_connection_is_reset_and_its_pending_data_discarded(run):
    async def scenario():
        async with connection(receive_buffer=4096) as (client, protocol):
            transport = protocol.transport
            transport.write(LARGE)
            transport.abortConnection()
            transport.abortConnection()
            transport.loseConnection()
            transport.write(b"too late")
            await until(lambda: protocol.lost)
            assert [reason.check(ConnectionAborted) for reason in protocol.lost] == [ConnectionAborted]
            with pytest.raises(ConnectionResetError):
                await read_to_end(client)

    run(scenario())


def test_abort_ends_a_close_that_waits_for_a_peer_that_does_not_read(run):
    async def scenario():
        async with connection(receive_buffer=4096) as (_client, protocol):
            protocol.transport.write(LARGE)
            protocol.transport.loseConnection()
            await asyncio.sleep(0.02)
            assert not protocol.lost
            protocol.transport.abortConnection()
            await until(lambda: protocol.lost)
            assert len(protocol.lost) == 1

    run(scenario())


def test_a_reset_by_the_peer_is_a_lost_connection_with_its_cause(run):
    async def scenario():
        async with connection() as (client, protocol):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            client.close()
            await until(lambda: protocol.lost)
            assert protocol.lost[0].check(ConnectionLost)
            assert isinstance(protocol.lost[0].value.__cause__, ConnectionResetError)

    run(scenario())


def test_the_end_of_the_peers_stream_closes_the_connection_cleanly(run):
    async def scenario():
        async with connection(Recorder) as (client, protocol):
            producer = Producer()
            protocol.transport.registerProducer(producer, True)
            client.shutdown(socket.SHUT_WR)
            await until(lambda: protocol.lost)
            assert protocol.lost[0].check(ConnectionDone)
            assert producer.calls == ["stop"]
            assert await read_to_end(client) == b""

    run(scenario())


def test_what_is_pending_at_the_end_of_the_peers_stream_is_still_sent(run):
    async def scenario():
        # A kernel that remembers how fast this way was (ip tcp_metrics) begins with room for all of LARGE otherwise.
        async with connection(receive_buffer=4096) as (client, protocol):
            producer = Producer()
            protocol.transport.registerProducer(producer, True)
            protocol.transport.write(LARGE)
            client.shutdown(socket.SHUT_WR)
            await until(lambda: producer.calls == ["pause", "stop"])
            assert not protocol.lost
            assert await read_to_end(client) == LARGE
            await until(lambda: protocol.lost)

    run(scenario())


def test_a_lost_connection_leaves_no_cycle_behind(run):
    class Forgotten(Recorder):
        def connectionLost(self, reason):
            ended.append(reason)

    async def scenario():
        factory = Keeper(Forgotten)
        port = await open_port("tcp:0:interface=127.0.0.1", factory)
        client = await connect(("127.0.0.1", port.getHost().port))
        await until(lambda: factory.built)
        protocol = weakref.ref(factory.built.pop())
        client.close()
        await until(lambda: ended)
        await until(lambda: protocol() is None)
        await finished(port, factory)

    ended = []
    gc.disable()
    try:
        run(scenario())
    finally:
        gc.enable()


# Half closing


def test_the_write_side_closes_alone_after_what_is_pending(run):
    async def scenario():
        async with connection(HalfCloser) as (client, protocol):
            transport = protocol.transport
            transport.write(LARGE)
            transport.loseWriteConnection()
            transport.loseWriteConnection()
            transport.write(b"too late")
            assert protocol.ended == []
            assert await read_to_end(client) == LARGE
            await until(lambda: protocol.ended == ["write"])
            client.send(b"still heard")
            await until(lambda: protocol.received == b"still heard")
            transport.loseConnection()
            await until(lambda: protocol.lost)
            assert protocol.ended == ["write"]

    run(scenario())


def test_an_empty_write_side_closes_and_tells_so(run):
    async def scenario():
        async with connection(HalfCloser) as (client, protocol):
            protocol.transport.loseWriteConnection()
            assert protocol.ended == []
            assert await read_to_end(client) == b""
            await until(lambda: protocol.ended == ["write"])

    run(scenario())


def test_closing_the_write_side_waits_for_the_producer(run):
    async def scenario():
        async with connection(HalfCloser) as (client, protocol):
            transport = protocol.transport
            transport.registerProducer(Producer(), True)
            transport.loseWriteConnection()
            transport.write(b"produced")
            transport.unregisterProducer()
            assert await read_to_end(client) == b"produced"

    run(scenario())


def test_closing_the_write_side_of_a_connection_that_was_reset_ends_it(run):
    async def scenario():
        async with connection(HalfCloser) as (client, protocol):
            protocol.transport.pauseProducing()  # so that nobody has read the reset
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            client.close()
            protocol.transport.loseWriteConnection()
            await until(lambda: protocol.lost)
            assert len(protocol.lost) == 1
            assert protocol.ended in ([], ["write"])

    run(scenario())


def test_a_half_closeable_protocol_can_still_write_after_the_peers_end(run):
    async def scenario():
        async with connection(HalfCloser) as (client, protocol):
            client.shutdown(socket.SHUT_WR)
            await until(lambda: protocol.ended == ["read"])
            protocol.transport.pauseProducing()
            protocol.transport.resumeProducing()
            await asyncio.sleep(0.02)
            assert protocol.ended == ["read"]
            assert not protocol.lost
            protocol.transport.write(b"answer")
            protocol.transport.loseConnection()
            assert await read_to_end(client) == b"answer"
            await until(lambda: protocol.lost)
            assert protocol.lost[0].check(ConnectionDone)

    run(scenario())


# Making the connection, and failing to


def test_a_peer_that_left_before_it_was_accepted_gets_no_protocol():
    class LoopTransportOfADeadSocket:
        aborted = False

        def get_extra_info(self, name):
            return ("127.0.0.1", 80) if name == "sockname" else None

        def abort(self):
            self.aborted = True

    factory, dead = Keeper(), LoopTransportOfADeadSocket()
    transport = LoopTransport(factory, None)
    transport.connection_made(dead)
    assert dead.aborted
    transport.connection_lost(None)
    assert factory.built == []


def test_a_factory_without_a_protocol_closes_the_connection(run):
    class Refusing(Keeper):
        def buildProtocol(self, addr):
            self.built.append(None)

    async def scenario():
        factory = Refusing()
        port = await open_port("tcp:0:interface=127.0.0.1", factory)
        client = await connect(("127.0.0.1", port.getHost().port))
        with pytest.raises(ConnectionResetError):
            await read_to_end(client)
        client.close()
        await finished(port, factory)

    run(scenario())


@pytest.mark.parametrize("method", ["buildProtocol", "makeConnection"])
def test_a_connection_that_cannot_be_made_is_logged_and_closed(run, twisted_errors, method):
    class Broken(Recorder):
        def makeConnection(self, transport):
            if method == "makeConnection":
                raise LookupError("broken")

    class BrokenFactory(Keeper):
        def buildProtocol(self, addr):
            if method == "buildProtocol":
                raise LookupError("broken")
            return super().buildProtocol(addr)

    async def scenario():
        factory = BrokenFactory(Broken)
        port = await open_port("tcp:0:interface=127.0.0.1", factory)
        client = await connect(("127.0.0.1", port.getHost().port))
        with pytest.raises(ConnectionResetError):
            await read_to_end(client)
        client.close()
        await finished(port, factory)

    run(scenario())
    assert [event["log_failure"].type for event in twisted_errors] == [LookupError]


@pytest.mark.parametrize("event", ["dataReceived", "readConnectionLost"])
def test_a_protocol_that_raises_is_logged_and_loses_its_connection_once(run, twisted_errors, event):
    class Broken(HalfCloser):
        def dataReceived(self, data):
            if event == "dataReceived":
                raise LookupError("broken")

        def readConnectionLost(self):
            raise LookupError("broken")

    async def scenario():
        async with connection(Broken) as (client, protocol):
            client.send(b"x")
            client.shutdown(socket.SHUT_WR)
            await until(lambda: protocol.lost)
            await asyncio.sleep(0.01)
            assert len(protocol.lost) == 1
            assert protocol.lost[0].check(ConnectionLost)
            assert isinstance(protocol.lost[0].value.__cause__, LookupError)

    run(scenario())
    assert [logged["log_failure"].type for logged in twisted_errors] == [LookupError]


def test_a_protocol_that_raises_at_its_end_is_logged(run, twisted_errors):
    class Broken(Recorder):
        def connectionLost(self, reason):
            super().connectionLost(reason)
            raise LookupError("broken")

    async def scenario():
        async with connection(Broken) as (client, protocol):
            client.close()
            await until(lambda: protocol.lost)

    run(scenario())
    assert [event["log_failure"].type for event in twisted_errors] == [LookupError]
    assert run.loop_errors == []


# Facts


def test_the_transport_provides_its_interfaces(run):
    async def scenario():
        async with connection() as (_client, protocol):
            for interface in (ITCPTransport, IPushProducer, IConsumer):
                assert verifyObject(interface, protocol.transport)

    run(scenario())


def test_ipv4_addresses(run):
    async def scenario():
        async with connection() as (client, protocol):
            transport = protocol.transport
            assert transport.getPeer() == IPv4Address("TCP", *client.getsockname())
            assert transport.getHost() == IPv4Address("TCP", *client.getpeername())

    run(scenario())


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6_addresses(run):
    async def scenario():
        factory = Keeper()
        port = await open_port(r"tcp:0:interface=\:\:1", factory)
        client = await connect(("::1", port.getHost().port), socket.AF_INET6)
        await until(lambda: factory.built)
        transport = factory.built[0].transport
        assert transport.getPeer() == IPv6Address("TCP", *client.getsockname())
        assert transport.getHost() == IPv6Address("TCP", *client.getpeername())
        client.close()
        await finished(port, factory)

    run(scenario())


def test_unix_addresses(run, tmp_path):
    async def scenario():
        factory = Keeper()
        path = str(tmp_path / "s")
        port = await open_port(f"unix:{path}", factory)
        client = await connect(path, socket.AF_UNIX)
        await until(lambda: factory.built)
        transport = factory.built[0].transport
        assert transport.getPeer() == UNIXAddress(None)
        assert transport.getHost() == UNIXAddress(path.encode())
        transport.write(b"hello")
        transport.abortConnection()
        client.close()
        await finished(port, factory)

    run(scenario())


def test_small_writes_leave_at_once_unless_told_otherwise(run):
    async def scenario():
        async with connection() as (_client, protocol):
            transport = protocol.transport
            assert transport.getTcpNoDelay() is True
            transport.setTcpNoDelay(False)
            assert transport.getTcpNoDelay() is False

    run(scenario())


def test_keep_alive_probes_are_set_on_demand(run):
    async def scenario():
        async with connection() as (_client, protocol):
            transport = protocol.transport
            assert transport.getTcpKeepAlive() is False
            transport.setTcpKeepAlive(True)
            assert transport.getTcpKeepAlive() is True

    run(scenario())


def test_a_lost_connection_tells_where_it_was(run):
    async def scenario():
        async with connection() as (client, protocol):
            transport = protocol.transport
            peer = transport.getPeer()
            client.close()
            await until(lambda: protocol.lost)
            assert transport.getPeer() is peer
            assert transport.getHost().host == "127.0.0.1"

    run(scenario())


# TLS


class TLSClient:
    """A blocking TLS client, for a thread."""

    def __init__(self, certificate, alpn=()):
        self.context = ssl.create_default_context(cafile=certificate)
        if alpn:
            self.context.set_alpn_protocols(list(alpn))

    def exchange(self, address, request):
        with (
            socket.create_connection(address, timeout=5) as plain,
            self.context.wrap_socket(plain, server_hostname=address[0]) as connected,
        ):
            connected.sendall(request)
            answer = bytearray()
            while data := connected.recv(65536):
                answer += data
            return bytes(answer)


def test_a_tls_connection_carries_a_protocol_and_tells_its_facts(run, tmp_path):
    facts = {}

    class Answering(HalfCloser):
        def dataReceived(self, data):
            super().dataReceived(data)
            transport = self.transport
            facts["alpn"] = transport.negotiatedProtocol
            facts["version"] = transport.ssl_object.version()
            facts["certificate"] = transport.getPeerCertificate()
            facts["interface"] = verifyObject(INegotiated, transport)
            transport.write(b"head ")
            transport.writeSequence([LARGE, b" tail"])
            transport.loseWriteConnection()

    async def scenario():
        key, certificate = write_certificate(tmp_path)
        factory = Keeper(Answering)
        port = await open_port(f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1", factory)
        client = TLSClient(certificate, alpn=["h2", "http/1.1"])
        address = ("127.0.0.1", port.getHost().port)
        answer = await asyncio.to_thread(client.exchange, address, b"hello")
        assert answer == b"head " + LARGE + b" tail"
        assert factory.built[0].received == b"hello"
        await until(lambda: factory.built[0].lost)
        assert factory.built[0].lost[0].check(ConnectionDone)
        await finished(port, factory)

    run(scenario())
    assert facts == {"alpn": b"http/1.1", "version": "TLSv1.3", "certificate": None, "interface": True}


def test_a_tls_peer_that_ends_first_closes_the_connection_cleanly(run, tmp_path):
    async def scenario():
        key, certificate = write_certificate(tmp_path)
        factory = Keeper(HalfCloser)
        port = await open_port(f"tls:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1", factory)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port.getHost().port, ssl=TLSClient(certificate).context
        )
        writer.write(b"hello")
        await until(lambda: factory.built and factory.built[0].received)
        assert factory.built[0].transport.negotiatedProtocol is None
        writer.close()
        await until(lambda: factory.built[0].lost)
        assert factory.built[0].lost[0].check(ConnectionDone)
        assert await reader.read() == b""
        await finished(port, factory)

    run(scenario())


def test_another_protocol_takes_over_a_tls_stream(run, tmp_path):
    async def scenario():
        key, certificate = write_certificate(tmp_path)
        factory = Keeper()
        port = await open_port(f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1", factory)
        _reader, writer = await asyncio.open_connection(
            "127.0.0.1", port.getHost().port, ssl=TLSClient(certificate).context
        )
        writer.write(b"upgrade")
        await until(lambda: factory.built and factory.built[0].received)
        successor = Recorder()
        factory.built[0].transport.switch_protocol(successor)
        writer.write(b"frames")
        await until(lambda: successor.received == b"frames")
        writer.close()
        await until(lambda: successor.lost)
        factory.built[0].lost.append("for finished()")
        await finished(port, factory)

    run(scenario())
