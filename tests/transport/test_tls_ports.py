"""Ports with TLS: what they take for a handshake, how long they wait for it, and what a connection tells of it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import weakref

import pytest

from daphne_clone.errors import ListenError
from daphne_clone.transport import tls, tls_session
from daphne_clone.transport.listen import TLSOptions
from tests.support.certificates import Authority, pem_of
from tests.support.streams import Keeper, Recorder, connect, finished, open_port, read_to_end, until


class Greeter(Recorder):
    """Greets, and so tells that its connection is made."""

    def connectionMade(self):
        self.session = getattr(self.transport, "session", None)
        self.transport.write(b"hello")


class Refuser(Greeter):
    def dataReceived(self, data):
        super().dataReceived(data)
        self.transport.write(b" speak TLS")
        self.transport.loseConnection()


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def server(authority):
    return authority.sign("server")


def renewable(files, **options):
    return tls.RenewableContext(
        lambda: tls.server_context(private_key=files.key, certificate=files.certificate, **options)
    )


async def secured(context, factory, **options):
    return await open_port(
        "https:tcp:0:interface=127.0.0.1", factory, tls_options=TLSOptions(context=context, **options)
    )


async def greeted(port, client_context, **options):
    """Connect to a Greeter, and return the stream once it has greeted."""
    address = port.getHost()
    reader, writer = await asyncio.open_connection(
        address.host, address.port, ssl=client_context, server_hostname="127.0.0.1", **options
    )
    assert await reader.readexactly(5) == b"hello"
    return reader, writer


async def what_is_said_at_the_end(client):
    """All that comes until the connection is closed; by a reset, where there was something unread, is as good."""
    with contextlib.suppress(ConnectionResetError):
        return await read_to_end(client)
    return b""


# Endpoints


def test_an_endpoint_is_put_under_tls(run, authority, server, tmp_path):
    async def scenario():
        options = TLSOptions(context=renewable(server))
        for description in ("https:tcp:0:interface=127.0.0.1", f"https:unix:{tmp_path}/s"):
            factory = Keeper(Greeter)
            port = await open_port(description, factory, tls_options=options)
            client = socket.socket(socket.AF_UNIX if "unix" in description else socket.AF_INET)
            host = port.getHost()
            client.connect(f"{tmp_path}/s" if "unix" in description else (host.host, host.port))
            _, writer = await asyncio.open_connection(
                sock=client, ssl=authority.client_context(), server_hostname="127.0.0.1"
            )
            await until(lambda: factory.built and factory.built[0].session)  # noqa: B023  # runs in this turn
            assert port.context is options.context
            writer.close()
            await finished(port, factory)

    run(scenario())


@pytest.mark.parametrize(
    ("description", "complaint"),
    [
        ("https:tcp:0", r"https: needs a certificate \(--ssl-certfile\)"),
        ("https:ssl:0:privateKey=x", "ssl: has a certificate of its own"),
        ("https:haproxy:tcp:0", "https: goes with the endpoints tcp, "),
        ("https:tcp:8000:colour=red", "unknown parameter 'colour'"),
    ],
)
def test_what_cannot_be_put_under_tls_is_said(run, description, complaint):
    async def scenario():
        with pytest.raises(ListenError, match=complaint):
            await open_port(description, Keeper())

    run(scenario())


def test_the_key_of_an_endpoint_is_opened_with_the_password(run, authority):
    async def scenario():
        files = authority.sign("locked", password="secret")
        description = f"ssl:0:privateKey={files.key}:certKey={files.certificate}:interface=127.0.0.1"
        with pytest.raises(ListenError, match="protected by a passphrase"):
            await open_port(description, Keeper())
        factory = Keeper(Greeter)
        port = await open_port(description, factory, tls_options=TLSOptions(key_password="secret"))
        _, writer = await greeted(port, authority.client_context())
        writer.close()
        await finished(port, factory)

    run(scenario())


# What a connection begins with


def test_a_connection_in_plain_text_goes_to_the_factory_for_it(run, authority, server):
    async def scenario():
        factory, plain = Keeper(Greeter), Keeper(Refuser)
        port = await secured(renewable(server), factory, plain_factory=plain)
        client = await connect(("127.0.0.1", port.getHost().port))
        await asyncio.get_running_loop().sock_sendall(client, b"GET / HTTP/1.1\r\n")
        assert await read_to_end(client) == b"hello speak TLS"
        assert plain.built[0].received == b"GET / HTTP/1.1\r\n"
        assert plain.built[0].session is None
        client.close()
        _, writer = await greeted(port, authority.client_context())
        assert len(factory.built) == len(plain.built) == 1
        writer.close()
        await until(lambda: plain.built[0].lost)
        await finished(port, factory)

    run(scenario())


@pytest.mark.parametrize("octets", [b"\x16\x03\x01\xff\xff", b"\x00", b"\x80\x2e\x01", b"1"], ids=repr)
def test_what_is_neither_tls_nor_text_is_closed(run, server, octets):
    async def scenario():
        factory, plain = Keeper(Greeter), Keeper(Refuser)
        port = await secured(renewable(server), factory, plain_factory=plain, handshake_timeout_s=0.05)
        client = await connect(("127.0.0.1", port.getHost().port))
        await asyncio.get_running_loop().sock_sendall(client, octets)
        answer = await what_is_said_at_the_end(client)
        assert not answer or answer[0] == 0x15  # an alert
        client.close()
        assert factory.built == plain.built == []
        await finished(port, factory)

    run(scenario())


@pytest.mark.parametrize("kind", ["silent", "half a hello", "gone"])
@pytest.mark.parametrize("plain", [None, Keeper(Refuser)], ids=["TLS alone", "plain text too"])
def test_a_peer_that_does_not_shake_hands_is_closed(run, server, kind, plain):
    async def scenario():
        factory = Keeper(Greeter)
        port = await secured(renewable(server), factory, plain_factory=plain, handshake_timeout_s=0.05)
        client = await connect(("127.0.0.1", port.getHost().port))
        if kind == "half a hello":
            await asyncio.get_running_loop().sock_sendall(client, b"\x16\x03\x01\x02\x00\x01\x00")
        elif kind == "gone":
            client.shutdown(socket.SHUT_WR)
        assert await what_is_said_at_the_end(client) == b""
        client.close()
        assert factory.built == []
        await finished(port, factory)
        assert factory.stops == 1

    run(scenario())


def test_a_handshake_that_takes_long_does_not_hold_a_stop(run, server, monkeypatch):
    monkeypatch.setattr("daphne_clone.transport.ports._STOP_TIMEOUT_S", 0.05)

    async def scenario():
        factory = Keeper(Greeter)
        port = await secured(renewable(server), factory, plain_factory=Keeper(), handshake_timeout_s=60)
        silent = await connect(("127.0.0.1", port.getHost().port))
        half = await connect(("127.0.0.1", port.getHost().port))
        await asyncio.get_running_loop().sock_sendall(half, b"\x16\x03\x01\x02\x00\x01\x00")
        await asyncio.sleep(0)
        await port.stopListening().asFuture(asyncio.get_running_loop())
        assert [await what_is_said_at_the_end(client) for client in (silent, half)] == [b"", b""]
        silent.close()
        half.close()
        assert factory.stops == 1

    run(scenario())


# Renewal


def test_a_renewed_certificate_is_for_connections_that_begin_then(run, authority, server):
    async def scenario():
        context = renewable(server)
        factory = Keeper(Greeter)
        port = await secured(context, factory)
        reader, writer = await greeted(port, authority.client_context())
        old = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        authority.sign("server")
        context.renew()
        _, later = await greeted(port, authority.client_context())
        new = later.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert ssl.DER_cert_to_PEM_cert(new) == pem_of(server.certificate)[0] != ssl.DER_cert_to_PEM_cert(old)
        assert [ssl.PEM_cert_to_DER_cert(each.session.server_certificate) for each in factory.built] == [old, new]
        factory.built[0].transport.write(b"still here")
        assert await reader.readexactly(10) == b"still here"
        writer.close()
        later.close()
        await finished(port, factory)

    run(scenario())


def test_files_of_an_endpoint_are_found_again_from_another_directory(run, server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    async def scenario():
        factory = Keeper(Greeter)
        port = await open_port("ssl:0:privateKey=server.key:certKey=server.crt:interface=127.0.0.1", factory)
        monkeypatch.chdir("/")
        before = port.context.current
        port.context.renew()
        assert port.context.current is not before
        await finished(port, factory)

    run(scenario())


# What is told of a session


def session_of(run, context, client_context, **options):
    """The server's side of a connection."""

    async def scenario():
        factory = Keeper(Greeter)
        port = await secured(context, factory)
        _, writer = await greeted(port, client_context, **options)
        writer.close()
        await finished(port, factory)
        assert factory.built[0].transport.session is factory.built[0].session
        return factory.built[0].session

    return run(scenario())


def test_a_session_tells_version_cipher_and_certificate(run, authority, server):
    session = session_of(run, renewable(server), authority.client_context())
    assert session.version == 0x0304
    assert session.cipher_suite in (0x1301, 0x1302, 0x1303)
    assert session.server_certificate == pem_of(server.certificate)[0]
    assert session.client_chain == []
    assert session.client_name is None


def test_an_older_session_tells_its_own_numbers(run, authority, server):
    client = authority.client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    session = session_of(run, renewable(server), client)
    assert (session.version, session.cipher_suite) == (0x0303, 0xC02B)


def test_a_session_tells_of_the_client_s_certificate_and_its_chain(run, authority, server, tmp_path):
    own = Authority(tmp_path, "intermediate", issuer=authority).sign("client")
    context = renewable(server, authorities=authority.file)
    session = session_of(run, context, authority.client_context(own))
    assert session.client_chain == pem_of(own.certificate)
    assert len(session.client_chain) == 2
    assert session.client_name == "CN=client"


def test_a_certificate_that_only_openssl_can_read_is_nobody_s():
    assert tls_session._name_of(b"0\x80") is None


def test_a_session_tells_of_no_certificate_where_one_may_be_missing(run, authority, server):
    context = renewable(server, authorities=authority.file, verify_mode=ssl.CERT_OPTIONAL)
    session = session_of(run, context, authority.client_context())
    assert (session.client_chain, session.client_name) == ([], None)


def refusal(address, context):
    """What a client is told whose handshake fails; for a thread."""
    with socket.create_connection(address, timeout=5) as plain:
        try:
            # In TLS 1.3 the client's side is through before the server has looked at its certificate.
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as connected:
                return connected.recv(5)
        except ssl.SSLError as error:
            return error.reason


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda each: each.name)
@pytest.mark.parametrize("shows", ["nothing", "a stranger's"])
def test_a_client_is_told_what_is_wrong_with_its_certificate(run, authority, server, tmp_path, shows, version):
    (tmp_path / "others").mkdir()
    own = Authority(tmp_path / "others", "stranger").sign("client") if shows == "a stranger's" else None
    client = authority.client_context(own)
    client.maximum_version = version

    async def scenario():
        factory = Keeper(Greeter)
        port = await secured(renewable(server, authorities=authority.file), factory)
        reason = await asyncio.to_thread(refusal, ("127.0.0.1", port.getHost().port), client)
        if own is not None:
            assert reason == "TLSV1_ALERT_UNKNOWN_CA"
        else:
            assert reason in ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE")
        assert factory.built == []
        await finished(port, factory)

    run(scenario())


def test_a_client_is_told_that_its_version_is_too_old(run, authority, server):
    client = authority.client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2

    async def scenario():
        factory = Keeper(Greeter)
        port = await secured(renewable(server, minimum_version=ssl.TLSVersion.TLSv1_3), factory)
        reason = await asyncio.to_thread(refusal, ("127.0.0.1", port.getHost().port), client)
        assert reason == "TLSV1_ALERT_PROTOCOL_VERSION"
        await finished(port, factory)

    run(scenario())


def resumed_session(context, address, version):
    """Connect twice, the second time with the session of the first; for a thread."""
    context.maximum_version = version
    session = None
    for _ in range(2):
        with (
            socket.create_connection(address, timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as connected,
        ):
            assert connected.recv(5) == b"hello"
            session, reused = connected.session, connected.session_reused
    return reused


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda each: each.name)
@pytest.mark.parametrize("certificate", ["no certificate", "a client certificate"])
def test_a_session_is_resumed_and_tells_the_same(run, authority, server, tmp_path, version, certificate):
    own = Authority(tmp_path, "intermediate", issuer=authority).sign("client")

    async def scenario():
        factory = Keeper(Greeter)
        port = await secured(renewable(server, authorities=authority.file, verify_mode=ssl.CERT_OPTIONAL), factory)
        client = authority.client_context(own if certificate == "a client certificate" else None)
        address = ("127.0.0.1", port.getHost().port)
        assert await asyncio.to_thread(resumed_session, client, address, version)
        await finished(port, factory)
        first, second = (each.session for each in factory.built)
        assert second.client_name == first.client_name
        assert second.client_chain[:1] == first.client_chain[:1]
        assert (second.version, second.cipher_suite) == (first.version, first.cipher_suite)
        assert second.server_certificate == first.server_certificate

    run(scenario())


def test_a_session_of_one_of_several_certificates_is_resumed(run, authority):
    async def scenario():
        contexts = []
        for name in ("one.example", "two.example"):
            files = authority.sign(name, [name, "127.0.0.1"])
            contexts.append(tls.server_context(private_key=files.key, certificate=files.certificate))
        factory = Keeper(Greeter)
        port = await secured(tls.RenewableContext(lambda: tls.choosing_by_name(contexts)), factory)
        client = authority.client_context()
        address = ("127.0.0.1", port.getHost().port)

        def twice():
            session = None
            for _ in range(2):
                with (
                    socket.create_connection(address, timeout=5) as plain,
                    client.wrap_socket(plain, server_hostname="two.example", session=session) as connected,
                ):
                    assert connected.recv(5) == b"hello"
                    session, reused = connected.session, connected.session_reused
            return reused

        assert await asyncio.to_thread(twice)
        await finished(port, factory)
        assert [each.session.server_certificate for each in factory.built] == [contexts[1].certificate] * 2

    run(scenario())


# Flow


def test_what_a_client_does_not_read_is_bounded_as_without_tls(run, authority, server):
    async def scenario():
        factory = Keeper(Greeter)
        port = await secured(renewable(server), factory)
        client = await connect(("127.0.0.1", port.getHost().port), receive_buffer=4096)
        client.setblocking(True)
        context = authority.client_context()
        connected = await asyncio.to_thread(context.wrap_socket, client, server_hostname="127.0.0.1")
        await until(lambda: factory.built)
        transport = factory.built[0].transport
        while not transport.writing_paused:
            transport.write(bytes(16_384))
            await asyncio.sleep(0)
        assert 65_536 <= transport.getWriteBufferSize() < 100_000
        connected.close()
        await finished(port, factory)

    run(scenario())


# The end


def test_a_lost_connection_keeps_nothing_of_its_session_alive(run, authority, server):
    async def scenario():
        factory = Keeper(Greeter)
        port = await secured(renewable(server), factory)
        _, writer = await greeted(port, authority.client_context())
        (protocol,) = factory.built
        ssl_object = weakref.ref(protocol.transport.ssl_object)
        writer.close()
        await until(lambda: protocol.lost)
        await until(lambda: ssl_object() is None)
        assert protocol.transport.session.version == 0x0304
        await finished(port, factory)

    gc.disable()
    try:
        run(scenario())
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", ["silent", "half a hello", "no TLS"])
def test_a_handshake_that_fails_leaves_no_cycle_behind(run, server, kind):
    async def scenario():
        factory = Keeper(Greeter)
        port = await secured(renewable(server), factory, plain_factory=Keeper(), handshake_timeout_s=0.05)
        gc.collect()
        client = await connect(("127.0.0.1", port.getHost().port))
        sent = {"silent": b"", "half a hello": b"\x16\x03\x01\x02\x00\x01\x00", "no TLS": b"\x16\x03\x01\x00\x01x"}
        await until(lambda: port._handovers)
        (task,) = map(weakref.ref, port._handovers)
        await asyncio.get_running_loop().sock_sendall(client, sent[kind])
        await what_is_said_at_the_end(client)
        client.close()
        await until(lambda: task() is None)
        await finished(port, factory)

    gc.disable()
    try:
        run(scenario())
    finally:
        gc.enable()
