"""daphne_clone.transport.sockets: sockets made and adopted, without a loop."""

from __future__ import annotations

import errno
import os
import socket
import stat

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from daphne_clone.transport import sockets


@pytest.mark.parametrize(
    ("name", "address"),
    [
        (("127.0.0.1", 80), IPv4Address("TCP", "127.0.0.1", 80)),
        (("fe80::1", 80, 3, 2), IPv6Address("TCP", "fe80::1", 80, 3, 2)),
        ("/run/socket", UNIXAddress(b"/run/socket")),
        (b"/run/socket", UNIXAddress(b"/run/socket")),
        ("", UNIXAddress(None)),
        (None, UNIXAddress(None)),
    ],
)
def test_socket_names_as_addresses(name, address):
    assert sockets.address_of(name) == address


def test_a_tcp_socket_is_ready_for_a_server():
    with sockets.bind_tcp(socket.AF_INET, ("127.0.0.1", 0)) as listener:
        assert listener.getblocking() is False
        assert listener.proto == socket.IPPROTO_TCP
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert listener.getsockname()[1] != 0
        assert not os.get_inheritable(listener.fileno())


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_the_ipv6_wildcard_takes_ipv4_too():
    with sockets.bind_tcp(socket.AF_INET6, ("::", 0)) as listener:
        listener.listen()
        with socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
            pass


def test_a_unix_socket_gets_its_mode_whatever_the_umask(tmp_path):
    umask = os.umask(0o077)
    try:
        listener, file = sockets.bind_unix(str(tmp_path / "s"), 0o664)
    finally:
        os.umask(umask)
    with listener:
        assert stat.S_IMODE(os.stat(file.path).st_mode) == 0o664


def test_a_socket_file_nobody_listens_on_is_replaced(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    listener, file = sockets.bind_unix(path, 0o600)
    with listener:
        assert file.inode == os.stat(path).st_ino
        assert stat.S_ISSOCK(os.stat(path).st_mode)
        listener.listen()
    file.remove()


@pytest.mark.parametrize("backlog_full", [False, True])
def test_a_socket_file_somebody_listens_on_is_in_use(tmp_path, backlog_full):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(0)
        clients = []
        if backlog_full:
            for _ in range(3):
                client = socket.socket(socket.AF_UNIX)
                client.setblocking(False)
                client.connect_ex(path)
                clients.append(client)
        with pytest.raises(OSError, match="already in use") as caught:
            sockets.bind_unix(path, 0o600)
        assert caught.value.errno == errno.EADDRINUSE
        assert os.path.exists(path)
        for client in clients:
            client.close()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(OSError, match="not a socket"):
        sockets.bind_unix(str(path), 0o600)
    assert path.read_text() == "precious"


def test_a_mode_that_cannot_be_set_leaves_no_file(tmp_path, monkeypatch):
    def refuse(*_arguments):
        raise PermissionError(errno.EPERM, "not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    with pytest.raises(PermissionError):
        sockets.bind_unix(str(tmp_path / "s"), 0o600)
    assert not os.listdir(tmp_path)


def test_a_socket_file_is_removed_once(tmp_path):
    listener, file = sockets.bind_unix(str(tmp_path / "s"), 0o600)
    listener.close()
    file.remove()
    assert not os.path.exists(file.path)
    file.remove()


def test_another_servers_socket_file_is_not_removed(tmp_path):
    path = str(tmp_path / "s")
    ours, file = sockets.bind_unix(path, 0o600)
    # Theirs is made before ours is gone: the file system cannot give it the same inode.
    with ours, socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(f"{path}.new")
        os.rename(f"{path}.new", path)
        file.remove()
        assert os.path.exists(path)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_a_listening_socket_is_adopted_as_a_duplicate(tmp_path, family):
    with socket.socket(family) as original:
        original.bind(("127.0.0.1", 0) if family == socket.AF_INET else str(tmp_path / "s"))
        original.listen()
        with sockets.adopt(original.fileno()) as adopted:
            assert adopted.family == family
            assert adopted.getsockname() == original.getsockname()
            assert adopted.fileno() != original.fileno()
        assert original.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_socket_that_does_not_listen_is_not_adopted(kind):
    with socket.socket(socket.AF_INET, kind) as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="not a listening stream socket"):
            sockets.adopt(bound.fileno())


def test_a_descriptor_that_is_no_socket_is_not_adopted(tmp_path):
    descriptors = len(os.listdir("/dev/fd"))
    with open(tmp_path / "file", "w") as file, pytest.raises(OSError, match="socket") as caught:
        sockets.adopt(file.fileno())
    assert caught.value.errno == errno.ENOTSOCK
    with pytest.raises(OSError, match="descriptor"):
        sockets.adopt(file_number_that_is_not_open())
    assert len(os.listdir("/dev/fd")) == descriptors


def file_number_that_is_not_open() -> int:
    fileno = os.dup(0)
    os.close(fileno)
    return fileno


def test_a_file_that_may_not_be_removed_stays_and_is_told_of(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    listener, file = sockets.bind_unix(str(tmp_path / "s"), 0o600)
    told = []
    monkeypatch.setattr(sockets.os, "unlink", refuse)
    monkeypatch.setattr(sockets._log, "warn", lambda template, **fields: told.append(template.format(**fields)))
    with listener:
        file.remove()
    assert told == [f"The socket file {tmp_path / 's'} is left behind: Permission denied"]
