"""daphne_clone.transport.proxied: connections that begin with a PROXY header, over real sockets of either loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.logger import globalLogPublisher

from daphne_clone.errors import ListenError
from daphne_clone.transport import proxied
from daphne_clone.transport.proxied import ProxyProtocol
from daphne_clone.wire.proxy_header import ProxyHeaderParser
from tests.support.streams import Keeper, Recorder, connect, finished, open_port, read, until, write_certificate

LINE = b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n"
ENDS = (IPv4Address("TCP", "192.0.2.1", 56324), IPv4Address("TCP", "198.51.100.7", 443))
SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
BINARY = SIGNATURE + bytes.fromhex("2111000c c0000201 c6336407 dc04 01bb")
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
UNIX = SIGNATURE + b"\x21\x31\x00\xd8" + b"/run/client".ljust(108, b"\0") + b"/run/server".ljust(108, b"\0")
IPV6 = b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n"


class Greeter(Recorder):
    def connectionMade(self):
        self.transport.write(b"hello")


def rules(*trusted):
    """Trust these addresses; None is a UNIX socket."""
    return ProxyProtocol((trusted or ("127.0.0.1", None)).__contains__, ProxyHeaderParser)


@pytest.fixture
def logged():
    """Warnings and failures, as texts."""
    events = []

    def observe(event):
        if event["log_level"].name in ("warn", "error", "critical") and "log_format" in event:
            events.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(observe)
    yield events
    globalLogPublisher.removeObserver(observe)


@contextlib.asynccontextmanager
async def listening(description="tcp:0:interface=127.0.0.1", trusted=(), protocol=Greeter):
    """Yield an address and the factory behind it."""
    factory = Keeper(protocol)
    port = await open_port(description, factory, proxy_protocol=rules(*trusted))
    host = port.getHost()
    try:
        yield (host.name if isinstance(host, UNIXAddress) else (host.host, host.port)), factory, port
    finally:
        await finished(port, factory)


async def send(client, data):
    await asyncio.get_running_loop().sock_sendall(client, data)


async def reset(client):
    """Wait for the end of a connection, and tell whether it was a reset rather than a close."""
    try:
        assert await read(client, 1) == b""
    except ConnectionResetError:
        return True
    return False


@pytest.mark.parametrize(
    ("header", "ends"),
    [
        (LINE, ENDS),
        (BINARY, ENDS),
        (IPV6, (IPv6Address("TCP", "2001:db8::1", 56324), IPv6Address("TCP", "2001:db8::2", 443))),
        (UNIX, (UNIXAddress(b"/run/client"), UNIXAddress(b"/run/server"))),
        (LOCAL, None),
        (b"PROXY UNKNOWN\r\n", None),
    ],
)
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_transport_tells_the_ends_that_the_header_tells(run, tmp_path, kind, header, ends):
    async def scenario():
        description = "tcp:0:interface=127.0.0.1" if kind == "tcp" else f"unix:{tmp_path}/s"
        async with listening(description) as (address, factory, _):
            client = await connect(address, socket.AF_INET if kind == "tcp" else socket.AF_UNIX)
            await send(client, header + b"request")
            assert await read(client, 5) == b"hello"
            (protocol,) = factory.built
            told = protocol.transport.getPeer(), protocol.transport.getHost()
            if ends is not None:
                assert told == ends
            elif kind == "tcp":
                names = client.getsockname(), client.getpeername()
                assert told == tuple(IPv4Address("TCP", *name) for name in names)
            else:
                assert told == (UNIXAddress(None), UNIXAddress(f"{tmp_path}/s".encode()))
            await until(lambda: protocol.received == b"request")
            client.close()

    run(scenario())


@pytest.mark.parametrize("header", [LINE, BINARY, SIGNATURE + b"\x20\x00\x0f\xf0" + bytes(4080)])
def test_header_may_come_slowly_and_what_is_behind_it_is_whole(run, header):
    async def scenario():
        async with listening() as (address, factory, _):
            client = await connect(address)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for index in range(0, len(header), max(len(header) // 40, 1)):
                await send(client, header[index : index + max(len(header) // 40, 1)])
                await asyncio.sleep(0)
            assert await read(client, 5) == b"hello"
            body = bytes(range(256)) * 4096
            await send(client, body)
            await until(lambda: len(factory.built[0].received) >= len(body))
            assert factory.built[0].received == body
            client.close()

    run(scenario())


def test_header_is_read_once(run):
    async def scenario():
        async with listening() as (address, factory, _):
            client = await connect(address)
            await send(client, LINE + IPV6 + BINARY)
            await until(lambda: factory.built and len(factory.built[0].received) == len(IPV6 + BINARY))
            assert factory.built[0].received == IPV6 + BINARY
            assert factory.built[0].transport.getPeer() == ENDS[0]
            client.close()

    run(scenario())


async def shake_hands(client, certificate, before):
    """Send ``before`` and the first message of a TLS handshake in one packet; return what comes over TLS."""
    loop = asyncio.get_running_loop()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=certificate)
    session = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    async with asyncio.timeout(5):
        while True:
            try:
                return session.read(5)
            except ssl.SSLWantReadError:
                await loop.sock_sendall(client, before + outgoing.read())
                before = b""
                incoming.write(await loop.sock_recv(client, 65536))


@pytest.mark.parametrize("header", [LINE, BINARY])
def test_header_comes_in_front_of_the_tls_handshake(run, tmp_path, header):
    async def scenario():
        key, certificate = write_certificate(tmp_path)
        async with listening(f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1") as running:
            address, factory, _ = running
            client = await connect(address)
            assert await shake_hands(client, certificate, header) == b"hello"
            transport = factory.built[0].transport
            assert (transport.getPeer(), transport.getHost()) == ENDS
            assert transport.ssl_object.version() == "TLSv1.3"
            client.close()

    run(scenario())


def test_handshake_without_a_header_is_refused(run, tmp_path, logged):
    async def scenario():
        key, certificate = write_certificate(tmp_path)
        async with listening(f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1") as running:
            address, factory, _ = running
            client = await connect(address)
            with pytest.raises((ConnectionResetError, ssl.SSLError)):
                await shake_hands(client, certificate, b"")
            assert factory.built == []
            client.close()

    run(scenario())
    assert len(logged) == 1
    assert logged[0].endswith("refused a connection from 127.0.0.1 (--proxy-protocol): no PROXY header")


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", LINE.replace(b"443", b"65536"), BINARY[:12] + b"\x31"])
def test_what_begins_with_no_header_is_reset_and_told(run, logged, data):
    async def scenario():
        async with listening() as (address, factory, _):
            for _ in range(3):
                client = await connect(address)
                await send(client, data.ljust(16, b"\0"))
                assert await reset(client)
                client.close()
            assert factory.built == []

    run(scenario())
    assert len(logged) == 1, "not for each connection"
    assert "PROXY header" in logged[0]
    assert run.loop_errors == []


@pytest.mark.parametrize(("kind", "trusted"), [("tcp", ("10.0.0.1", None)), ("unix", ("127.0.0.1",))])
def test_peer_that_is_not_trusted_is_refused_whatever_it_sends(run, tmp_path, logged, kind, trusted):
    async def scenario():
        description = "tcp:0:interface=127.0.0.1" if kind == "tcp" else f"unix:{tmp_path}/s"
        async with listening(description, trusted) as (address, factory, _):
            client = await connect(address, socket.AF_INET if kind == "tcp" else socket.AF_UNIX)
            if kind == "tcp":
                assert await reset(client), "at once: it need not send a thing"
            else:
                assert await read(client, 1) == b""
            assert factory.built == []
            client.close()

    run(scenario())
    assert len(logged) == 1
    assert "--forwarded-allow-ips" in logged[0]
    assert ("127.0.0.1" if kind == "tcp" else "a UNIX socket") in logged[0]


@pytest.mark.parametrize("sent", [b"", LINE[:-1], BINARY[:20]])
def test_client_that_leaves_before_its_header_is_whole_is_nobodys_news(run, logged, sent):
    async def scenario():
        async with listening() as (address, factory, port):
            client = await connect(address)
            await send(client, sent)
            await until(lambda: port._handovers)
            client.close()
            await until(lambda: not port._handovers)
            assert factory.built == []

    run(scenario())
    assert logged == []
    assert run.loop_errors == []


@pytest.mark.parametrize("sent", [b"", LINE[:-1]])
def test_header_has_a_time_to_come(run, monkeypatch, logged, sent):
    monkeypatch.setattr(proxied, "HEADER_TIMEOUT_S", 0.05)

    async def scenario():
        async with listening() as (address, factory, _):
            client = await connect(address)
            await send(client, sent)
            assert await reset(client)
            assert factory.built == []
            client.close()

    run(scenario())
    assert "in time" in logged[0]


def test_connection_is_served_long_after_its_header(run, monkeypatch):
    monkeypatch.setattr(proxied, "HEADER_TIMEOUT_S", 0.05)

    async def scenario():
        async with listening() as (address, factory, _):
            client = await connect(address)
            await send(client, LINE)
            assert await read(client, 5) == b"hello"
            await asyncio.sleep(0.1)  # twice what the header had
            await send(client, b"more")
            await until(lambda: factory.built[0].received == b"more")
            client.close()

    run(scenario())


def test_stopping_loses_no_connection_that_has_sent_its_header(run):
    async def scenario():
        async with listening() as (address, factory, port):
            clients = []
            for _ in range(20):
                client = socket.create_connection(address)
                client.send(LINE)
                client.setblocking(False)
                clients.append(client)
            await port.stopListening().asFuture(asyncio.get_running_loop())
            assert len(factory.built) == 20
            for client in clients:
                assert await read(client, 5) == b"hello"
                client.close()

    run(scenario())


def test_stop_waits_for_a_header_but_not_for_long(run, monkeypatch):
    monkeypatch.setattr(proxied, "STOP_TIMEOUT_S", 0.2)

    async def scenario():
        async with listening() as (address, factory, port):
            late, silent = await connect(address), await connect(address)
            await until(lambda: len(port._handovers) == 2)
            unaccepted = socket.create_connection(address)
            unaccepted.setblocking(False)
            stopping = port.stopListening().asFuture(asyncio.get_running_loop())
            await send(late, LINE)
            assert await read(late, 5) == b"hello"
            assert not stopping.done()
            await stopping
            assert await reset(silent)
            assert await reset(unaccepted)
            assert len(factory.built) == 1
            assert factory.stops == 1
            for client in (late, silent, unaccepted):
                client.close()

    run(scenario())


def test_time_that_is_over_stays_over_when_the_port_stops(run, monkeypatch):
    monkeypatch.setattr(proxied, "HEADER_TIMEOUT_S", 0)

    async def scenario():
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs:
            reader = proxied.HeaderReader("this port", loop, rules())
            # The time-out is noted in the next turn, and the task hears of it in the one after.
            loop.call_soon(lambda: loop.call_soon(reader.stop_soon))
            with pytest.raises(ConnectionAbortedError, match="in time"):
                await reader.ends_of(ours, None)

    run(scenario())
    assert run.loop_errors == []


@pytest.mark.parametrize("header", [LINE, UNIX])
def test_abort_resets_the_socket_whatever_its_ends_are_said_to_be(run, header):
    async def scenario():
        async with listening() as (address, factory, _):
            client = await connect(address)
            await send(client, header)
            assert await read(client, 5) == b"hello"
            factory.built[0].transport.abortConnection()
            assert await reset(client)
            client.close()

    run(scenario())


def test_only_the_loops_own_endpoints_speak_it(run):
    async def scenario():
        with pytest.raises(ListenError, match=r"haproxy:tcp:0: --proxy-protocol goes with the endpoints tcp, .* only"):
            await open_port("haproxy:tcp:0", Keeper(), proxy_protocol=rules())

    run(scenario())
