"""Contract, section 3: nothing that a client does, or leaves undone, makes the server grow.

Each test has a server of its own, warms it up, and lets its resident memory grow by less than 20 MB.
"""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.http1 import Connection, head
from tests.support.server_process import ServerProcess
from tests.support.watched_server import MB, WatchedServer

SLOW_CONNECTIONS = 500
HEAD_LIMIT_S = 2


class Watched(WatchedServer):
    """With what these tests do to it."""

    def noted(self, key: str, count: int) -> bytes:
        with Connection(self.address, timeout_s=12) as connection:
            connection.send(head(f"/noted/{key}?{count}"))
            return connection.read_response().body


@pytest.fixture(scope="module")
def many_descriptors() -> Iterator[None]:
    """Room for the connections, in this process and in the servers that inherit it (macOS gives 256 at first)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, SLOW_CONNECTIONS + 200), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def server(many_descriptors: None) -> Iterator[Watched]:
    with ServerProcess(options=["--timeout-request-head", str(HEAD_LIMIT_S), "--no-access-log"]) as process:
        yield Watched(process)


def push(connection: Connection, data: bytes, total: int, watched: Watched, stall_s: float = 0.5) -> int:
    """Send ``data`` again and again, up to ``total`` octets or until nothing is taken for a while; return how many."""
    view = memoryview(data)
    sent = at = 0
    next_check = 20 * MB
    connection.socket.setblocking(False)
    while sent < total:
        _, writable, _ = select.select([], [connection.socket], [], stall_s)
        if not writable:
            break
        try:
            count = connection.socket.send(view[at : at + min(len(data) - at, total - sent)])
        except BlockingIOError:
            continue
        except ConnectionError:
            break
        sent += count
        at = (at + count) % len(data)
        if sent >= next_check:
            next_check += 20 * MB
            watched.check()
    connection.socket.settimeout(5)
    return sent


def test_200_mb_streamed_to_a_client_that_never_reads(server):
    with Connection(server.address) as connection:
        connection.send(head(f"/torrent/x?{200 * MB}"))
        assert b"blocked" in server.noted("x", 1)
        server.check()
        assert b"done" not in server.noted("x", 1)


def test_200_mb_uploaded_to_an_application_that_reads_slowly(server):
    total = 200 * MB
    with Connection(server.address) as connection:
        connection.send(head("/slow_reader/x?0.002", [(b"Content-Length", b"%d" % total)], method=b"POST"))
        assert push(connection, b"x" * MB, total, server, stall_s=5) == total
        assert connection.read_response().body == b"%d" % total
    server.check()


def test_chunked_upload_in_tiny_chunks_to_an_application_that_reads_slowly(server):
    """Each octet is an event, which is much larger than it."""
    with Connection(server.address) as connection:
        fields = [(b"Transfer-Encoding", b"chunked")]
        connection.send(head("/slow_reader/x?3600", fields, method=b"POST"))
        for _ in range(2000):
            push(connection, b"1\r\nx\r\n", 6, server)
        push(connection, b"1\r\nx\r\n" * 10_000, 20 * MB, server)
        server.check()


def test_200_mb_uploaded_to_an_application_that_never_reads(server):
    total = 200 * MB
    with Connection(server.address) as connection:
        connection.send(head("/slow_answer/x", [(b"Content-Length", b"%d" % total)], method=b"POST"))
        assert push(connection, b"x" * MB, total, server) < 20 * MB  # what the kernel holds; the client is made to wait
        server.check()


def test_200_mb_uploaded_to_an_application_that_has_answered_already(server):
    total = 200 * MB
    with Connection(server.address) as connection:
        connection.send(head("/hello/x", [(b"Transfer-Encoding", b"chunked")], method=b"POST"))
        push(connection, b"%x\r\n%b\r\n" % (MB, b"x" * MB), total, server)
        server.check()
        connection.send_fin()
        assert connection.read_response().body == b"hello"


def test_500_connections_that_send_a_byte_a_second_are_cut(server):
    with contextlib.ExitStack() as stack:
        open_sockets: dict[int, socket.socket] = {}
        answers: list[bytes] = []
        for _ in range(SLOW_CONNECTIONS):
            slow = stack.enter_context(socket.create_connection(server.address, timeout=5))
            slow.sendall(b"GET /hello/slow HTTP/1.1\r\nX: ")
            slow.setblocking(False)
            open_sockets[slow.fileno()] = slow
        poll = select.poll()
        for number in open_sockets:
            poll.register(number, select.POLLIN)
        deadline = time.monotonic() + HEAD_LIMIT_S + 4
        next_bytes = time.monotonic()
        while open_sockets and time.monotonic() < deadline:
            if time.monotonic() >= next_bytes:
                next_bytes += 1
                for slow in open_sockets.values():
                    with contextlib.suppress(ConnectionError):
                        slow.send(b"x")
                server.check()
            for number, _ in poll.poll(100):
                try:
                    answers.append(open_sockets[number].recv(1000))
                except ConnectionError:
                    answers.append(b"")
                poll.unregister(number)
                del open_sockets[number]
        assert not open_sockets, f"{len(open_sockets)} were not cut"
        assert sum(answer.startswith(b"HTTP/1.1 408 ") for answer in answers) == SLOW_CONNECTIONS
        server.check()


def test_pipelined_requests_whose_answers_are_not_read(server):
    with Connection(server.address, receive_buffer=65536) as connection:
        sent = push(connection, head("/hello/x") * 1000, 200 * MB, server)
        assert sent < 60 * MB  # neither parsed nor kept: the client is made to wait
        server.check()


def test_pipelined_requests_behind_a_slow_one(server):
    with Connection(server.address) as connection:
        connection.send(head("/slow_answer/x"))
        assert push(connection, head("/hello/x") * 1000, 200 * MB, server) < 20 * MB
        server.check()


def test_large_answers_that_are_not_read(server):
    with Connection(server.address, receive_buffer=65536) as connection:
        push(connection, head("/large/x?1000000") * 100, 20 * MB, server)
        server.check()


@pytest.mark.parametrize(
    ("begin", "status"),
    [
        (b"GET / HTTP/1.1\r\nX: ", 431),
        (b"GET / HTTP/1.1\r\n", 431),
        (b"GET /", 414),
        (b"POST /echo/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /echo/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;", 400),
        (b"POST /echo/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", 431),
    ],
    ids=["value", "name", "line", "chunk size", "chunk extension", "trailer"],
)
def test_line_without_an_end(server, begin, status):
    with Connection(server.address) as connection:
        connection.send(begin)
        push(connection, b"a" * MB, 50 * MB, server)
        server.check()
        assert connection.read_response().status == status


def test_aborted_uploads(server):
    for _ in range(200):
        with Connection(server.address) as connection:
            connection.send(head("/echo/x", [(b"Content-Length", b"1000000")], method=b"POST") + b"x" * 100_000)
            connection.reset()
    server.check()


def test_heads_that_never_repeat(server):
    """Nothing that is remembered to be faster is remembered without a bound."""
    with Connection(server.address) as connection:
        for number in range(100):
            fields = [(b"X-%d-%d" % (number, field), b"%d" % number * 50) for field in range(50)]
            connection.send(b"".join(head(f"/missing/{number}-{turn}", fields) for turn in range(20)))
            for _ in range(20):
                assert connection.read_response().status == 404
    server.check()
