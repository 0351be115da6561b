"""daphne_clone.transport.listen: endpoint strings, and what is said of those that cannot be listened on."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IListeningPort
from zope.interface.verify import verifyObject

from daphne_clone.errors import ListenError
from daphne_clone.reactor import for_running_loop
from daphne_clone.transport.listen import listen, parse
from daphne_clone.transport.ports import LoopPort, ReactorPort
from tests.support.streams import Keeper, connect, finished, open_port, read, until, write_certificate

needs_ipv6 = pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")


# The strings


@pytest.mark.parametrize(
    ("description", "kind", "options"),
    [
        ("tcp:8000", "tcp", {"port": "8000"}),
        ("tcp:port=8000:interface=127.0.0.1", "tcp", {"port": "8000", "interface": "127.0.0.1"}),
        (r"tcp:port=8000:interface=\:\:1", "tcp", {"port": "8000", "interface": "::1"}),
        (r"tcp6:8000:interface=\:\:1", "tcp6", {"port": "8000", "interface": "::1"}),
        ("tcp:8000:backlog=5", "tcp", {"port": "8000", "backlog": "5"}),
        ("tcp:8000:127.0.0.1:5", "tcp", {"port": "8000", "interface": "127.0.0.1", "backlog": "5"}),
        ("unix:/run/s:mode=660:lockfile=0", "unix", {"address": "/run/s", "mode": "660", "lockfile": "0"}),
        (r"unix:/odd\:na\=m\\e", "unix", {"address": r"/odd:na=m\e"}),
        ("unix:address=/a=b", "unix", {"address": "/a=b"}),
        ("fd:fileno=3", "fd", {"fileno": "3"}),
        ("systemd:domain=INET:index=0", "systemd", {"domain": "INET", "index": "0"}),
        ("tls:443:privateKey=k.pem", "ssl", {"port": "443", "privateKey": "k.pem"}),
        ("haproxy:tcp:port=8000", "haproxy", {}),
        ("nonsense", "nonsense", {}),
    ],
)
def test_a_description_becomes_named_parameters(description, kind, options):
    assert parse(description) == (kind, options)


@pytest.mark.parametrize(
    ("description", "complaint"),
    [
        ("tcp:port=8000:host=1", "unknown parameter 'host'; expected port, interface, backlog"),
        ("tcp:1:2:3:4", "too many parameters"),
        ("tcp:8000:port=8001", "port is given twice"),
    ],
)
def test_a_description_with_wrong_parameters_is_refused(description, complaint):
    with pytest.raises(ListenError, match=complaint):
        parse(description)


@pytest.mark.parametrize(
    ("description", "complaint"),
    [
        ("tcp:", "port is missing"),
        ("tcp:interface=127.0.0.1", "port is missing"),
        ("tcp:70000", "port=70000 cannot be used; expected a number from 0 to 65535"),
        ("tcp:+80", r"port=\+80 cannot be used"),
        ("tcp:٨٠", "port=٨٠ cannot be used"),
        ("tcp:0:backlog=0", "backlog=0 cannot be used"),
        ("tcp6:0:interface=127.0.0.1", "address family"),
        ("tcp:0:interface=name.invalid", "."),
        ("unix:", "address is missing"),
        ("unix:/tmp/s:mode=8", "mode=8 cannot be used; expected octal"),
        ("unix:/tmp/s:mode=1777", "mode=1777 cannot be used"),
        ("unix:/tmp/s:lockfile=maybe", "lockfile=maybe cannot be used"),
        ("unix:/no/such/directory/s", "no such file or directory"),
        ("unix:/" + "long" * 100, "too long"),
        ("fd:fileno=x", "fileno=x cannot be used"),
        ("fd:", "fileno is missing"),
        ("systemd:domain=INET", "expected one of index and name"),
        ("ssl:0:privateKey=/nowhere.pem", r"/nowhere.pem: expected a file in PEM \(no such file or directory\)"),
        ("nonsense:1", "(?i)unknown endpoint type"),
        ("haproxy:", "."),
    ],
)
def test_what_cannot_be_listened_on_is_said_with_its_reason(run, description, complaint):
    async def scenario():
        factory = Keeper()
        with pytest.raises(ListenError, match=complaint) as caught:
            await open_port(description, factory)
        assert str(caught.value).startswith(f"cannot listen on {description}: ")
        assert isinstance(caught.value, OSError)
        assert (factory.starts, factory.stops) == (0, 0)

    run(scenario())


# TCP


@pytest.mark.parametrize(
    ("description", "host"),
    [
        ("tcp:0", "0.0.0.0"),
        ("tcp:port=0:interface=127.0.0.1", "127.0.0.1"),
        ("tcp:port=0:interface=localhost", "127.0.0.1"),
        pytest.param(r"tcp:port=0:interface=\:\:1", "::1", marks=needs_ipv6),
        pytest.param(r"tcp6:port=0:interface=\:\:1", "::1", marks=needs_ipv6),
        pytest.param("tcp6:0", "::", marks=needs_ipv6),
    ],
)
def test_a_tcp_port_serves_and_tells_its_address(run, description, host):
    async def scenario():
        factory = Keeper()
        port = await open_port(description, factory)
        assert isinstance(port, LoopPort)
        assert verifyObject(IListeningPort, port)
        assert port.description == description
        address = port.getHost()
        kind = IPv6Address if ":" in host else IPv4Address
        assert address == kind("TCP", host, address.port)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        client = await connect((host, address.port), family)
        await until(lambda: factory.built)
        factory.built[0].transport.write(b"hello")
        assert await read(client, 5) == b"hello"
        client.close()
        await finished(port, factory)

    run(scenario())


def test_a_port_in_use_is_refused(run):
    async def scenario():
        with socket.create_server(("127.0.0.1", 0)) as other:
            description = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
            with pytest.raises(ListenError, match=f"cannot listen on {description}: address already in use"):
                await open_port(description, Keeper())

    run(scenario())


def test_the_descriptions_backlog_goes_before_the_arguments(run):
    async def scenario():
        for description, expected in (("tcp:0:interface=127.0.0.1", 7), ("tcp:0:interface=127.0.0.1:backlog=3", 3)):
            factory = Keeper()
            port = await open_port(description, factory, backlog=7)
            assert port._backlog == expected
            await finished(port, factory)

    run(scenario())


# UNIX sockets


def test_a_unix_socket_serves_and_is_removed_at_the_end(run, tmp_path):
    async def scenario():
        path = str(tmp_path / "s")
        factory = Keeper()
        port = await open_port(f"unix:{path}", factory)
        assert port.getHost() == UNIXAddress(path.encode())
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o666
        client = await connect(path, socket.AF_UNIX)
        await until(lambda: factory.built)
        factory.built[0].transport.write(b"hello")
        assert await read(client, 5) == b"hello"
        client.close()
        await finished(port, factory)
        assert not os.path.exists(path)

    run(scenario())


@pytest.mark.parametrize(("parameter", "mode"), [("", 0o640), (":mode=600", 0o600)])
def test_the_descriptions_mode_goes_before_the_arguments(run, tmp_path, parameter, mode):
    async def scenario():
        factory = Keeper()
        port = await open_port(f"unix:{tmp_path / 's'}{parameter}", factory, unix_socket_permissions=0o640)
        assert stat.S_IMODE(os.stat(tmp_path / "s").st_mode) == mode
        await finished(port, factory)

    run(scenario())


def test_a_stale_unix_socket_is_replaced_and_a_live_one_refused(run, tmp_path):
    async def scenario():
        path = str(tmp_path / "s")
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(path)
        factory = Keeper()
        port = await open_port(f"unix:{path}", factory)
        with pytest.raises(ListenError, match="address already in use"):
            await open_port(f"unix:{path}", Keeper())
        client = await connect(path, socket.AF_UNIX)
        await until(lambda: factory.built)
        client.close()
        await finished(port, factory)

    run(scenario())


def test_a_unix_socket_that_another_server_has_replaced_stays(run, tmp_path):
    async def scenario():
        path = str(tmp_path / "s")
        factory = Keeper()
        port = await open_port(f"unix:{path}", factory)
        with socket.socket(socket.AF_UNIX) as theirs:
            theirs.bind(f"{path}.new")
            os.rename(f"{path}.new", path)
            await finished(port, factory)
            assert os.path.exists(path)

    run(scenario())


# Inherited sockets


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_an_inherited_socket_serves_and_stays_with_its_owner(run, tmp_path, family):
    if family == socket.AF_INET6 and not socket.has_ipv6:
        pytest.skip("no IPv6 here")

    async def scenario():
        with socket.socket(family) as inherited:
            hosts = {socket.AF_INET: ("127.0.0.1", 0), socket.AF_INET6: ("::1", 0)}
            inherited.bind(hosts.get(family, str(tmp_path / "s")))
            inherited.listen()
            factory = Keeper()
            port = await open_port(f"fd:fileno={inherited.fileno()}", factory)
            client = await connect(inherited.getsockname(), family)
            await until(lambda: factory.built)
            assert factory.built[0].transport.getHost() == port.getHost()
            factory.built[0].transport.write(b"hello")
            assert await read(client, 5) == b"hello"
            client.close()
            await finished(port, factory)
            # Its owner's, to be served by the next process: the queue and the socket's file are still there.
            (await connect(inherited.getsockname(), family)).close()

    run(scenario())


def test_a_socket_that_does_not_listen_is_refused(run):
    async def scenario():
        with socket.socket() as bound, pytest.raises(ListenError, match="not a listening stream socket"):
            await open_port(f"fd:fileno={bound.fileno()}", Keeper())

    run(scenario())


@pytest.fixture
def passed_by_systemd(monkeypatch):
    """Two sockets, handed over as systemd does; yields them."""
    first, second = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    os.dup2(first.fileno(), 200)
    os.dup2(second.fileno(), 201)
    monkeypatch.setattr("twisted.python.systemd.ListenFDs._START", 200)  # 3 and 4 are taken in a test run
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")
    monkeypatch.setenv("LISTEN_FDNAMES", "web:admin")
    yield first, second
    for end in (first.close, second.close, lambda: os.close(200), lambda: os.close(201)):
        end()


@pytest.mark.parametrize(
    ("description", "index"),
    [
        ("systemd:domain=INET:index=0", 0),
        ("systemd:INET:1", 1),
        ("systemd:name=admin", 1),
        ("systemd:domain=INET:name=web", 0),
    ],
)
def test_a_socket_of_systemds_serves(run, passed_by_systemd, description, index):
    async def scenario():
        for _again in range(2):  # the environment is not used up
            factory = Keeper()
            port = await open_port(description, factory)
            assert port.getHost().port == passed_by_systemd[index].getsockname()[1]
            client = await connect(passed_by_systemd[index].getsockname())
            await until(lambda factory=factory: factory.built)
            client.close()
            await finished(port, factory)

    run(scenario())


@pytest.mark.parametrize(
    ("description", "complaint"),
    [
        ("systemd:index=2", "systemd passed 2 sockets to this process, none has index 2"),
        ("systemd:name=other", "systemd passed no socket named 'other' to this process"),
        ("systemd:domain=UNIX:index=0", "the socket is AF_INET, not AF_UNIX"),
        ("systemd:index=0:name=web", "expected one of index and name"),
    ],
)
@pytest.mark.usefixtures("passed_by_systemd")
def test_a_socket_that_systemd_did_not_pass_is_refused(run, description, complaint):
    async def scenario():
        with pytest.raises(ListenError, match=complaint):
            await open_port(description, Keeper())

    run(scenario())


def test_sockets_passed_to_another_process_are_not_ours(run, passed_by_systemd, monkeypatch):
    monkeypatch.setenv("LISTEN_PID", "1")

    async def scenario():
        with pytest.raises(ListenError, match="systemd passed 0 sockets to this process"):
            await open_port("systemd:index=0", Keeper())

    run(scenario())


# TLS; what it carries is in test_stream.py


def test_a_certificate_that_cannot_be_loaded_leaves_the_port_closed(run, tmp_path):
    async def scenario():
        with socket.create_server(("127.0.0.1", 0)) as other:
            number = other.getsockname()[1]
        with pytest.raises(ListenError, match="server.pem"):
            await open_port(f"ssl:{number}:interface=127.0.0.1", Keeper())
        with pytest.raises(OSError) as caught:  # noqa: PT011 - by its number
            await connect(("127.0.0.1", number))
        assert caught.value.errno == errno.ECONNREFUSED

    run(scenario())


def test_a_failed_handshake_builds_no_protocol(run, tmp_path):
    async def scenario():
        key, certificate = write_certificate(tmp_path)
        factory = Keeper()
        port = await open_port(f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1", factory)
        client = await connect(("127.0.0.1", port.getHost().port))
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        await until(lambda: not_reading(client))
        client.close()
        await finished(port, factory)
        assert factory.built == []

    def not_reading(client):
        try:
            while client.recv(1000):
                pass
        except BlockingIOError:
            return False
        except ConnectionError:
            pass
        return True

    run(scenario())


# What only Twisted knows


def test_other_endpoints_are_twisteds(run):
    async def scenario():
        loop = asyncio.get_running_loop()
        reactor = for_running_loop(loop)
        factory = Keeper()
        port = await listen("haproxy:tcp:port=0:interface=127.0.0.1", factory, reactor=reactor, loop=loop)
        assert isinstance(port, ReactorPort)
        assert verifyObject(IListeningPort, port)
        assert port.description == "haproxy:tcp:port=0:interface=127.0.0.1"
        client = await connect(("127.0.0.1", port.getHost().port))
        client.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\nhello")
        await until(lambda: factory.built and factory.built[0].received == b"hello")
        assert factory.built[0].transport.getPeer() == IPv4Address("TCP", "192.0.2.1", 1234)
        client.close()
        await until(lambda: factory.built[0].lost)
        await port.stopListening().asFuture(loop)
        stopped = loop.create_future()
        reactor.addSystemEventTrigger("after", "shutdown", stopped.set_result, None)
        reactor.stop()
        await stopped
        reactor.release()

    run(scenario())


def test_a_port_of_twisteds_in_use_is_refused(run):
    async def scenario():
        loop = asyncio.get_running_loop()
        reactor = for_running_loop(loop)
        with socket.create_server(("127.0.0.1", 0)) as other:
            description = f"haproxy:tcp:port={other.getsockname()[1]}:interface=127.0.0.1"
            with pytest.raises(ListenError, match=f"cannot listen on {description}: .*[Aa]ddress already in use"):
                await listen(description, Keeper(), reactor=reactor, loop=loop)
        reactor.stop()
        await asyncio.sleep(0.01)
        reactor.release()

    run(scenario())
