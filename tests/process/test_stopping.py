"""Contract, section 4: a real server is told to stop by a real signal, with requests of every kind under way."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.support.http1 import Client, Connection, Truncated, head
from tests.support.server_process import ServerProcess, until

EITHER_SIGNAL = pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=lambda signum: signum.name)
VERSIONS = pytest.mark.parametrize("version", [b"1.1", b"1.0"])
MB = 1024 * 1024


def post(target, length, version=b"1.1"):
    return head(target, [(b"Content-Length", b"%d" % length)], method=b"POST", version=version)


# The first signal


@EITHER_SIGNAL
def test_signal_stops_accepting_closes_idle_connections_lets_exchanges_end_and_exits_with_0(signum):
    with (
        ServerProcess() as server,
        Connection(server.address) as fresh,
        Connection(server.address) as idle,
        Connection(server.address) as busy,
    ):
        idle.send(head("/hello/x"))
        assert idle.read_response().body == b"hello"
        busy.send(post("/echo_late/x", 4))
        server.wait_for_log("app: called")
        server.send_signal(signum)
        assert fresh.is_closed()
        assert idle.is_closed()
        assert server.refuses_connections()
        assert server.is_running()
        assert "app: shutdown" not in server.log
        busy.send(b"late")
        response = busy.read_response()
        assert (response.body, response.get(b"connection")) == (b"late", b"close")
        assert busy.is_closed()
        assert server.wait() == 0
        assert re.search("app: called.*app: answered.*app: shutdown", server.log, re.DOTALL)
        assert server.log.count("app: shutdown") == 1
        assert "Traceback" not in server.log


def test_idle_server_stops_at_once():
    with ServerProcess() as server:
        begin = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begin < 2


def test_request_whose_head_has_begun_is_answered():
    with ServerProcess() as server, Connection(server.address) as connection:
        connection.send(head("/hello/x")[:-2])
        assert Client(server.address).request("/hello/x").status == 200  # the server has read what came before
        server.send_signal()
        server.wait_for_log("stopping")
        until(server.refuses_connections, "the server accepts no more")
        connection.send(b"\r\n")
        response = connection.read_response()
        assert (response.body, response.get(b"connection")) == (b"hello", b"close")
        assert connection.is_closed()
        assert server.wait() == 0


def test_keep_alive_ends_with_the_request_under_way():
    """What is pipelined behind it is not answered half, nor at all: the answer before it says close."""
    with ServerProcess() as server, Connection(server.address) as connection:
        connection.send(post("/echo_late/x", 1))
        server.wait_for_log("app: called")
        server.send_signal()
        until(server.refuses_connections, "the server accepts no more")
        connection.send(b"x" + head("/hello/x"))
        assert connection.read_response().get(b"connection") == b"close"
        connection.send_fin()
        assert connection.read_to_end() == b""
        assert server.wait() == 0


def test_unix_socket_is_removed(tmp_path: Path):
    path = tmp_path / "socket"
    with ServerProcess(listen=["-u", str(path)]) as server:
        assert path.is_socket()
        assert server.stop() == 0
        assert not path.exists()


def test_signal_during_startup_ends_the_process(tmp_path: Path):
    with ServerProcess("lifespan_apps:late", wait=False, environment={"LATE_UNTIL": str(tmp_path / "never")}) as server:
        server.wait_for_log("app: starting", 15)
        assert server.stop() == 0
        assert "Listening" not in server.log


# The limit


@EITHER_SIGNAL
def test_past_the_limit_the_rest_is_cancelled_and_named_with_path_and_age(signum):
    with (
        ServerProcess(options=["--timeout-graceful-shutdown", "1"]) as server,
        Connection(server.address) as one,
        Connection(server.address) as other,
    ):
        one.send(head("/ignores_disconnect/first"))
        other.send(post("/echo_late/second", 1000) + b"some")
        server.wait_for_log("app: called")
        assert Client(server.address).request("/noted/first?1").status == 200
        begin = time.monotonic()
        server.send_signal(signum)
        assert server.wait() == 0
        assert 0.9 < time.monotonic() - begin < 5
        for method, path in (("GET", "/ignores_disconnect/first"), ("POST", "/echo_late/second")):
            [age] = re.findall(rf"WARNING +{method} {path} was still running after ([\d.]+) s", server.log)
            assert 0.9 < float(age) < 5
        assert "app: cancelled" in server.log
        assert server.log.index("still running") < server.log.index("app: shutdown")
        for connection in (one, other):
            with pytest.raises(Truncated):
                connection.read_response()


def test_application_that_will_not_be_cancelled_does_not_keep_the_process():
    with ServerProcess(options=["--timeout-graceful-shutdown", "0.5"]) as server, Connection(server.address) as one:
        one.send(head("/stubborn/x"))
        server.wait_for_log("app: called")
        server.send_signal()
        server.wait()
        assert "app: not impressed" in server.log
        assert "app: shutdown" in server.log


# The second signal


@EITHER_SIGNAL
def test_second_signal_ends_at_once(signum):
    with ServerProcess() as server, Connection(server.address) as connection:
        connection.send(head("/stubborn/x"))
        server.wait_for_log("app: called")
        server.send_signal(signum)
        server.wait_for_log("stopping")
        begin = time.monotonic()
        server.send_signal(signum)
        assert server.wait() != 0
        assert time.monotonic() - begin < 5  # of thirty that the limit gives, and one for what ignores cancelling
        with pytest.raises(Truncated):
            connection.read_response()


def test_quit_ends_at_once():
    with ServerProcess() as server, Connection(server.address) as connection:
        connection.send(head("/ignores_disconnect/x"))
        assert Client(server.address).request("/noted/x?1").status == 200
        begin = time.monotonic()
        assert server.stop(signal.SIGQUIT) != 0
        assert time.monotonic() - begin < 3


# Streams


def test_streaming_response_learns_of_the_stop_by_an_event_at_once_and_by_a_disconnect_at_half_time():
    with (
        ServerProcess(options=["--timeout-graceful-shutdown", "2"]) as server,
        Connection(server.address) as connection,
    ):
        connection.send(head("/stop_story/x"))
        assert connection.read_head().status == 200
        assert connection.read_chunk() == b"begin"
        begin = time.monotonic()
        server.send_signal()
        event = float(server.wait_for_log(r"app: event at ([\d.]+)")[1])
        assert event - begin < 0.5
        notice = float(server.wait_for_log(r"app: http.disconnect at ([\d.]+)")[1])
        assert 0.9 < notice - begin < 1.6
        assert connection.read_chunk() == b"end"  # and it still has the other half to end well
        assert connection.read_chunk() == b""
        assert server.wait() == 0
        assert "still running" not in server.log


# Downloads


def slow_download(connection: Connection, version: bytes) -> bytes:
    """Read to the end, slowly at first; return the body. A clean end counts as the end for HTTP/1.0."""
    response = connection.read_head()
    framed_by_length = response.get(b"content-length")
    body = bytearray()
    for _ in range(10):
        body += connection.read_exactly(10_000)
        time.sleep(0.02)
    if framed_by_length is None:
        assert version == b"1.0"
        return bytes(body) + connection.read_to_end()
    return bytes(body) + connection.read_exactly(int(framed_by_length) - len(body))


@pytest.mark.parametrize("name", ["large", "torrent"])
def test_slow_download_arrives_whole(name):
    version = b"1.1" if name == "large" else b"1.0"
    with ServerProcess() as server, Connection(server.address, receive_buffer=65536) as connection:
        connection.send(head(f"/{name}/x?{8 * MB}", version=version))
        connection.pending += connection.socket.recv(1)  # it has begun
        server.send_signal()
        server.wait_for_log("stopping")
        assert len(slow_download(connection, version)) == 8 * MB
        assert connection.is_closed()
        assert server.wait() == 0
        assert "app: shutdown" in server.log
        assert "still running" not in server.log


@pytest.mark.parametrize("name", ["large", "torrent"])
@VERSIONS
def test_download_that_is_cut_at_the_limit_never_looks_whole(name, version):
    with (
        ServerProcess(options=["--timeout-graceful-shutdown", "0.5"]) as server,
        Connection(server.address, receive_buffer=65536) as connection,
    ):
        connection.send(head(f"/{name}/x?{32 * MB}", version=version))
        connection.pending += connection.socket.recv(1)
        assert server.stop() == 0
        assert "app: shutdown" in server.log
        with pytest.raises(Truncated) as caught:
            connection.read_response()
        if version == b"1.0" and name == "torrent":
            assert not caught.value.clean  # a clean close would be the end of the body


# Load


class Load(threading.Thread):
    """Requests, one behind another and each checked, until the server is gone.

    Attributes:
        served: Responses that came whole.
        broken: What came neither whole nor not at all.
    """

    def __init__(self, address: tuple[str, int], version: bytes, path: str) -> None:
        super().__init__(daemon=True)
        self._address = address
        self._request = head(path, [(b"Connection", b"keep-alive")] if version == b"1.0" else [], version=version)
        self._expected = int(path.rpartition("?")[2])
        self.served = 0
        self.broken: list[object] = []

    def run(self) -> None:
        try:
            while True:
                with Connection(self._address) as connection:
                    self._run_connection(connection)
        except ConnectionError:
            pass  # refused: the server is gone
        except Exception as error:
            self.broken.append(error)

    def _run_connection(self, connection: Connection) -> None:
        while True:
            try:
                connection.send(self._request)
                response = connection.read_response()
            except (Truncated, ConnectionError) as error:
                # Not answered at all is honest; half an answer behind which the server closed politely is not.
                if isinstance(error, Truncated) and error.received and error.clean:
                    self.broken.append(error)
                return
            if len(response.body) == self._expected and response.status == 200:
                self.served += 1
            else:
                self.broken.append((response.status, len(response.body), response.framing))
            if response.get(b"connection") == b"close":
                return


@pytest.mark.skipif(shutil.which("wrk") is None, reason="the program wrk is not installed")
@EITHER_SIGNAL
def test_stop_under_load_breaks_no_response(signum):
    with ServerProcess(options=["--no-access-log"]) as server:
        url = "http://{}:{}/hello/wrk".format(*server.address)
        wrk = subprocess.Popen(["wrk", "-t1", "-c32", "-d3s", url], stdout=subprocess.PIPE, text=True)
        checked = [
            Load(server.address, version, f"/{name}/x?100000")
            for version in (b"1.1", b"1.0")
            for name in ("large", "torrent")
        ]
        try:
            for load in checked:
                load.start()
            until(lambda: all(load.served > 5 for load in checked), "the load runs", 10)
            begin = time.monotonic()
            server.send_signal(signum)
            assert server.wait() == 0
            assert time.monotonic() - begin < 5
            for load in checked:
                load.join(10)
                assert not load.is_alive()
                assert load.broken == []
        finally:
            report, _ = wrk.communicate(timeout=15)
        assert "app: shutdown" in server.log
        assert "Traceback" not in server.log
        assert "Non-2xx" not in report
        assert int(re.search(r"(\d+) requests in", report)[1]) > 100
