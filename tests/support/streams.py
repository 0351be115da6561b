"""What the transport tests share: protocols that record, a factory that keeps them, sockets and certificates."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.testing import MemoryReactor
from zope.interface import implementer

from daphne_clone.transport.listen import listen


class Recorder(Protocol):
    """Keeps what its transport tells it."""

    def __init__(self):
        self.received = bytearray()
        self.lost = []

    def dataReceived(self, data):
        self.received += data

    def connectionLost(self, reason):
        self.lost.append(reason)


@implementer(IHalfCloseableProtocol)
class HalfCloser(Recorder):
    """Goes on when one direction has ended."""

    def __init__(self):
        super().__init__()
        self.ended = []

    def readConnectionLost(self):
        self.ended.append("read")

    def writeConnectionLost(self):
        self.ended.append("write")


class Keeper(ServerFactory):
    """Builds protocols of one class and keeps them, and counts its starts and stops."""

    noisy = False

    def __init__(self, protocol=Recorder):
        self.protocol = protocol
        self.built = []
        self.starts = self.stops = 0

    def startFactory(self):
        self.starts += 1

    def stopFactory(self):
        self.stops += 1

    def buildProtocol(self, addr):
        protocol = super().buildProtocol(addr)
        self.built.append(protocol)
        return protocol


class Producer:
    """A streaming producer that records what it is told."""

    def __init__(self):
        self.calls = []

    def pauseProducing(self):
        self.calls.append("pause")

    def resumeProducing(self):
        self.calls.append("resume")

    def stopProducing(self):
        self.calls.append("stop")


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Return when ``condition()`` is true; fail when it does not become so in time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


async def open_port(description, factory, **options):
    """Listen on the running loop, with a reactor that nothing of ours should touch."""
    return await listen(description, factory, reactor=MemoryReactor(), loop=asyncio.get_running_loop(), **options)


async def connect(address, family=socket.AF_INET, receive_buffer=None) -> socket.socket:
    """Return a non-blocking socket connected to ``address``."""
    client = socket.socket(family)
    if receive_buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(client, address)
    except BaseException:
        client.close()
        raise
    return client


async def read(client: socket.socket, count: int) -> bytes:
    """Return exactly ``count`` bytes, or what came before the end."""
    received = bytearray()
    async with asyncio.timeout(5):
        while len(received) < count:
            data = await asyncio.get_running_loop().sock_recv(client, min(count - len(received), 262144))
            if not data:
                break
            received += data
    return bytes(received)


async def read_to_end(client: socket.socket) -> bytes:
    """Return everything up to the peer's FIN."""
    return await read(client, 1 << 40)


@contextlib.asynccontextmanager
async def connection(
    protocol=Recorder, receive_buffer: int | None = None
) -> AsyncIterator[tuple[socket.socket, Recorder]]:
    """Yield a client's socket and the server's protocol, connected over loopback TCP."""
    factory = Keeper(protocol)
    port = await open_port("tcp:0:interface=127.0.0.1", factory)
    client = await connect(("127.0.0.1", port.getHost().port), receive_buffer=receive_buffer)
    try:
        await until(lambda: factory.built and factory.built[0].transport)
        yield client, factory.built[0]
    finally:
        client.close()
        await finished(port, factory)


async def finished(port, factory) -> None:
    """Stop the port, and wait until all its connections are lost: nothing is left for the next test."""
    await port.stopListening().asFuture(asyncio.get_running_loop())
    for protocol in factory.built:
        if protocol is not None and protocol.transport and not protocol.lost:
            protocol.transport.abortConnection()
    await until(lambda: all(protocol is None or protocol.lost for protocol in factory.built))


def write_certificate(directory: Path, name: str = "server") -> tuple[Path, Path]:
    """Write a self-signed certificate for 127.0.0.1 and its key; return (key file, certificate file)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    key_file, certificate_file = directory / f"{name}.key", directory / f"{name}.crt"
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return key_file, certificate_file
