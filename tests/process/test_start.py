"""How a server starts: on every kind of endpoint, on either loop, or not at all and with a status that says why."""

from __future__ import annotations

import ast
import os
import re
import socket
import ssl
import stat
from pathlib import Path

import pytest

from tests.support.http1 import Client, Connection, head
from tests.support.server_process import ServerProcess
from tests.support.streams import write_certificate


def scope_of(response):
    assert response.status == 200
    return ast.literal_eval(response.body.decode())


def listening_socket(family=socket.AF_INET, address=("127.0.0.1", 0)):
    listener = socket.socket(family)
    listener.bind(address)
    listener.listen()
    return listener


def has_ipv6():
    try:
        listening_socket(socket.AF_INET6, ("::1", 0)).close()
    except OSError:
        return False
    return True


# Not at all


def test_port_in_use_is_exit_status_1_with_the_address_in_the_log():
    with listening_socket() as taken:
        port = taken.getsockname()[1]
        with ServerProcess(listen=["-p", str(port)], wait=False) as server:
            assert server.wait() == 1
            assert re.search(rf"CRITICAL.*{port}.*in use", server.log)
            assert "Traceback" not in server.log
            assert "Listening" not in server.log


def test_lifespan_is_shut_down_when_a_port_is_in_use():
    with (
        listening_socket() as taken,
        ServerProcess(listen=["-p", str(taken.getsockname()[1])], wait=False) as server,
    ):
        server.wait()
        assert server.log.count("app: shutdown") == 1


def test_second_of_two_endpoints_in_use_is_exit_status_1():
    with listening_socket() as taken:
        port = taken.getsockname()[1]
        with ServerProcess(listen=["-b", "127.0.0.1:0", "-b", f"127.0.0.1:{port}"], wait=False) as server:
            assert server.wait() == 1


@pytest.mark.parametrize("endpoint", ["nonsense:1", "tcp:port=99999", "tcp:8000:colour=red", "ssl:0:privateKey=/none"])
def test_endpoint_that_cannot_be_used_is_exit_status_1_and_named(endpoint):
    with ServerProcess(listen=["-e", endpoint], wait=False) as server:
        assert server.wait() == 1
        assert f"cannot listen on {endpoint}" in server.log
        assert "Traceback" not in server.log


def test_application_that_cannot_be_loaded_is_exit_status_1():
    with ServerProcess("apps:missing", wait=False) as server:
        assert server.wait() == 1
        assert "error: " in server.log and "missing" in server.log


def test_failed_startup_is_exit_status_3_and_nothing_listens(tmp_path: Path):
    path = tmp_path / "socket"
    with ServerProcess("lifespan_apps:refusing", listen=["-u", str(path)], wait=False) as server:
        assert server.wait() == 3
        assert not path.exists()


# Endpoints


def test_unix_socket_gets_its_permissions_and_opens_no_port(tmp_path: Path):
    path = tmp_path / "socket"
    with ServerProcess(listen=["-u", str(path), "--unix-socket-permissions", "600"]) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert Client(str(path)).request("/hello/x").body == b"hello"
        assert server.addresses == []
        assert f"unix:{path}" in server.log


def test_stale_unix_socket_is_replaced(tmp_path: Path):
    path = tmp_path / "socket"
    listening_socket(socket.AF_UNIX, str(path)).close()
    assert path.exists()
    with ServerProcess(listen=["-u", str(path)]):
        assert Client(str(path)).request("/hello/x").body == b"hello"


def test_unix_socket_in_use_is_exit_status_1_and_left_alone(tmp_path: Path):
    path = tmp_path / "socket"
    with ServerProcess(listen=["-u", str(path)]):
        with ServerProcess(listen=["-u", str(path)], wait=False) as second:
            assert second.wait() == 1
        assert Client(str(path)).request("/hello/x").body == b"hello"


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX], ids=lambda family: family.name)
def test_descriptor_is_served_whatever_its_family(tmp_path: Path, family):
    address = ("127.0.0.1", 0) if family == socket.AF_INET else str(tmp_path / "socket")
    with listening_socket(family, address) as listener:
        number = listener.fileno()
        with ServerProcess(listen=["--fd", str(number)], pass_fds=[number]) as server:
            scope = scope_of(Client(listener.getsockname()).request("/scope_of/x"))
            if family == socket.AF_INET:
                assert server.addresses == [listener.getsockname()]
                assert scope["server"] == list(listener.getsockname())
            else:
                assert (scope["server"], scope["client"]) == ([listener.getsockname(), None], None)


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("listen", [["-b", "::1", "-p", "0"], ["-b", "[::1]:0"], ["-e", "tcp6:0:interface=\\:\\:1"]])
def test_ipv6_is_served(listen):
    with ServerProcess(listen=listen) as server:
        assert server.address[0] == "::1"
        scope = scope_of(Client(server.address).request("/scope_of/x"))
        assert scope["server"] == list(server.address)
        assert scope["client"][0] == "::1"


@pytest.mark.parametrize("endpoint", ["tcp:0:interface=127.0.0.1", "tcp:port=0:interface=127.0.0.1:backlog=5"])
def test_endpoint_strings_are_served(endpoint):
    with ServerProcess(listen=["-e", endpoint]) as server:
        assert len(server.addresses) == 1
        assert Client(server.address).request("/hello/x").body == b"hello"


def test_two_endpoints_are_one_server(tmp_path: Path):
    path = str(tmp_path / "socket")
    listen = ["-e", "tcp:0:interface=127.0.0.1", "-b", "127.0.0.1:0", "-u", path]
    with ServerProcess(listen=listen) as server:
        one, other = server.addresses
        assert one != other
        answers = {Client(address).request("/pid/x").body for address in (one, other, path)}
        assert answers == {b"%d" % server.pid}


@pytest.mark.parametrize("kind", ["ssl", "tls"])
def test_ssl_endpoint_serves_https(tmp_path: Path, kind):
    key, certificate = write_certificate(tmp_path)
    endpoint = f"{kind}:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    with ServerProcess(listen=["-e", endpoint]) as server:
        assert "https://" in server.log
        with Connection(server.address) as connection:
            context = ssl.create_default_context(cafile=certificate)
            connection.socket = context.wrap_socket(connection.socket, server_hostname="127.0.0.1")
            for _ in range(2):
                connection.send(head("/scope_of/x"))
                scope = scope_of(connection.read_response())
            assert scope["scheme"] == "https"
            connection.send(head("/torrent/x?3000000"))
            assert len(connection.read_response().body) == 3_000_000
            server.send_signal()
            assert connection.is_closed()
        assert server.wait() == 0


def test_haproxy_endpoint_is_served_through_twisted():
    with ServerProcess(listen=["-e", "haproxy:tcp:0:interface=127.0.0.1"]) as server:
        with Connection(server.address) as connection:
            connection.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n" + head("/scope_of/x"))
            scope = scope_of(connection.read_response())
            assert scope["client"] == ["192.0.2.7", 4711]
            assert scope["server"] == ["192.0.2.1", 80]
            # Not on this transport: it cannot send from files.
            assert set(scope["extensions"]) == {"http.response.trailers", "http.response.early_hint"}
            body = os.urandom(300_000)
            connection.send(head("/echo/x", [(b"Content-Length", b"%d" % len(body))], method=b"POST") + body)
            assert connection.read_response().body == body
            connection.send(head("/torrent/x?3000000") + b"BROKEN\r\n\r\n")
            assert len(connection.read_response().body) == 3_000_000
            response = connection.read_response()
            assert (response.status, response.get(b"connection")) == (400, b"close")
            connection.send_fin()
            assert connection.read_to_end() == b""
        with Connection(server.address) as idle:
            idle.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n" + head("/hello/x"))
            assert idle.read_response().body == b"hello"
            server.send_signal()
            assert idle.is_closed()
        assert server.wait() == 0


# Loops


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_either_loop_serves(loop):
    if loop == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not installed")
    with ServerProcess(options=["--loop", loop]) as server:
        assert re.search(rf"\(Python [\d.]+\S*, {loop}\) serves apps:application", server.log)
        with Connection(server.address) as connection:
            body = os.urandom(500_000)
            connection.send(head("/echo/x", [(b"Content-Length", b"%d" % len(body))], method=b"POST") + body)
            assert connection.read_response().body == body
            connection.send(head("/torrent/x?2000000"))
            assert len(connection.read_response().body) == 2_000_000
        assert server.stop() == 0


# Banner


def test_banner_names_version_loop_address_application_and_how_to_stop():
    with ServerProcess() as server:
        host, port = server.address
        assert re.search(r"daphne-clone \d+\.\d+\S* \(Python 3\.\d+\.\d+\S*, \w+\) serves apps:application", server.log)
        assert f"Listening on http://{host}:{port}; press Ctrl-C or send SIGTERM to stop" in server.log
