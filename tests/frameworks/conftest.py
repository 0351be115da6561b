"""A server process for an application in ``apps/``, whose log is held against what an operator should never see."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.nginx import running_nginx
from tests.support.programs import require_program, running_program

ROOT = Path(__file__).resolve().parents[2]
APPS = Path(__file__).resolve().parent / "apps"
START_S = 20.0  # a cold start of the largest framework takes about two on a machine with nothing else to do
STOP_S = 10.0
WAIT_S = 5.0

# What no normal flow and no client may cause: an error of anybody's, a warning of the server's or of the loop's, and
# what Python says of things forgotten.
FAULTS = re.compile(
    r"^(?:ERROR|CRITICAL) .*|^WARNING (?:daphne_clone|asyncio|twisted)\b.*|^Traceback .*|^.*Exception Group Traceback.*"
    r"|^.*(?:was never awaited|was never retrieved|was destroyed but it is pending).*",
    re.MULTILINE,
)


def until(condition: Callable[[], Any], what: str) -> Any:
    """Return the first true value of ``condition()``; fail, naming what was waited for, when there is none in time."""
    deadline = time.monotonic() + WAIT_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {WAIT_S} s in vain for {what}"
        time.sleep(0.005)
    return value


class RunningServer:
    """A server that is up.

    Attributes:
        url: ``http://127.0.0.1:port``.
        port: The TCP port, on 127.0.0.1.
        tolerated: What makes a line of the log no fault of the server's; empty is nothing.
    """

    def __init__(self, process: subprocess.Popen[bytes], output: Path, port: int) -> None:
        self.process = process
        self.tolerated = ""
        self.reach_by(port)
        self._output = output
        self._checked = 0
        self._expected: list[tuple[int, int]] = []

    def reach_by(self, port: int) -> None:
        """Let tests connect to another port, that of a proxy for instance."""
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def log(self) -> str:
        """Everything the server and its application wrote, to standard output and standard error."""
        return self._output.read_text(errors="backslashreplace")

    def faults(self) -> list[str]:
        """The lines of the log that should not be there, each once: one fault fails one test."""
        log = self.log()
        new = [hit for hit in FAULTS.finditer(log) if hit.start() >= self._checked]
        self._checked = len(log)
        found = [hit[0] for hit in new if not any(start <= hit.start() < end for start, end in self._expected)]
        return [line for line in found if not self.tolerated or self.tolerated not in line]

    @contextmanager
    def expecting(self, text: str) -> Iterator[None]:
        """A block that makes the server log an error: it must contain ``text``; nothing else it logs is a fault."""
        start = len(self.log())
        yield
        until(lambda: text in self.log()[start:], f"{text!r} in the log")
        self._expected.append((start, len(self.log())))

    def wait_for_log(self, text: str, count: int = 1) -> None:
        """Return when the log contains ``text`` as often as that."""
        until(lambda: self.log().count(text) >= count, f"{text!r} in the log")

    def logged_in_order(self, *texts: str) -> bool:
        """Tell whether the log has all the texts, each behind the one before."""
        log, position = self.log(), 0
        for text in texts:
            position = log.find(text, position)
            if position < 0:
                return False
        return True

    def send_and_leave(self, path: str, *, after: bytes = b"", reset: bool = False) -> bytes:
        """Ask for a path with GET and go away without waiting for the end of the answer.

        Args:
            path: The target of the request.
            after: What to read first; empty leaves as soon as the application logged ``started``.
            reset: Leave by RST instead of FIN, as a client that is killed with unread data.

        Returns:
            What was read.
        """
        log_start = len(self.log())
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S) as client:
            client.sendall(b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % path.encode())
            while after and after not in received:
                data = client.recv(65536)
                assert data, f"{path} ended before {after!r}: {received!r}"
                received += data
            if not after:
                until(lambda: f"started {path}" in self.log()[log_start:], f"the application to start {path}")
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        return received

    def terminate(self) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=STOP_S)


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """``with serve("module:app", *options) as server``: it must log no fault, and stop with status 0 at SIGTERM."""

    @contextmanager
    def running(application: str, *options: str, environment: dict[str, str] | None = None) -> Iterator[RunningServer]:
        output = tmp_path_factory.mktemp("server") / "output.txt"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DAPHNE_CLONE_")}
        inherited["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        inherited["PYTHONUNBUFFERED"] = "1"
        command = [sys.executable, "-m", "daphne_clone"]
        command += ["-p", "0", "--app-dir", str(APPS), "--log-fmt", "%(levelname)s %(name)s %(message)s"]
        with output.open("wb") as sink:
            process = subprocess.Popen(
                [*command, *options, application],
                cwd=APPS,
                env=inherited | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        try:
            server = RunningServer(process, output, _port_of(process, output))
            yield server
            if process.poll() is None:
                server.terminate()
            assert process.returncode == 0, f"exit status {process.returncode}\n{server.log()}"
            assert not server.faults(), server.log()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    return running


@pytest.fixture(scope="module", params=["direct", "nginx"])
def reached(request: pytest.FixtureRequest) -> Callable[[RunningServer], AbstractContextManager[RunningServer]]:
    """Give a server to tests as it is, and through nginx: then ``port`` and ``url`` are nginx's.

    For modules all of whose tests must pass both ways.
    """

    @contextmanager
    def as_parametrized(server: RunningServer) -> Iterator[RunningServer]:
        if request.param == "direct":
            yield server
            return
        own_port = server.port
        with (
            tempfile.TemporaryDirectory(prefix="nginx-") as directory,
            running_nginx(f"127.0.0.1:{own_port}", Path(directory)) as nginx,
        ):
            server.reach_by(nginx.port)
            yield server
        server.reach_by(own_port)

    return as_parametrized


def _port_of(process: subprocess.Popen[bytes], output: Path) -> int:
    deadline = time.monotonic() + START_S
    while True:
        log = output.read_text(errors="backslashreplace")
        if found := re.search(r"Listening on http://127\.0\.0\.1:([1-9]\d*)", log):
            return int(found[1])
        assert process.poll() is None, f"the server ended with status {process.returncode}\n{log}"
        assert time.monotonic() < deadline, f"no address in the server's output:\n{log}"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def curl() -> Callable[..., bytes]:
    """Run curl with arguments; returns its standard output. Skips where curl is not installed."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("the program curl is not installed")

    def run(*arguments: str, status: tuple[int, ...] = (0,), stdin: bytes = b"") -> bytes:
        # -q: no configuration of the user's; a proxy of the environment's is not for loopback.
        command = [program, "-q", "--noproxy", "*", "--silent", "--show-error", "--max-time", "10", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=20, check=False)
        assert done.returncode in status, f"curl: {done.returncode}: {done.stderr!r}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def big_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 3 MB that does not compress, and whose parts differ from each other."""
    path = tmp_path_factory.mktemp("files") / "big.bin"
    path.write_bytes(os.urandom(3_000_000))
    return path


@pytest.fixture(scope="session")
def connect() -> Callable[..., Any]:
    """Open a WebSocket to what has a port: ``with connect(server, "/path") as websocket``; nothing it does hangs."""
    client = pytest.importorskip("websockets.sync.client", reason="the package websockets is not installed")
    exceptions = pytest.importorskip("websockets.exceptions")

    class Connection(client.ClientConnection):  # type: ignore[misc,name-defined]
        def recv(self, timeout: float | None = WAIT_S, decode: bool | None = None) -> Any:
            return super().recv(timeout, decode)

        def closed_with(self) -> tuple[int, str]:
            """Wait for the peer's Close, and return its code and reason; 1005 is none, 1006 no Close at all."""
            with pytest.raises(exceptions.ConnectionClosed):
                self.recv()
            return self.close_code, self.close_reason

        def vanish(self, *, reset: bool = False) -> None:
            """Leave by FIN, or by RST, without a Close."""
            if reset:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            self.close_socket()

    def open_connection(server: Any, path: str, **options: Any) -> Any:
        scheme = "wss" if "ssl" in options else "ws"
        defaults = {"proxy": None, "open_timeout": WAIT_S, "close_timeout": WAIT_S, "create_connection": Connection}
        return client.connect(f"{scheme}://127.0.0.1:{server.port}{path}", **defaults | options)

    return open_connection


@pytest.fixture(scope="session")
def redis_socket() -> Iterator[str]:
    """The path of a redis-server's socket; short, for a UNIX socket's may have 107 bytes at most."""
    program = require_program("redis-server")
    pytest.importorskip("channels_redis", reason="the package channels_redis is not installed")
    directory = Path(tempfile.mkdtemp(prefix="redis-"))
    path = directory / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(path), "--dir", str(directory), "--save", "", "--appendonly", "no"]
    try:
        with running_program([program, *options], path.is_socket, directory / "output.txt"):
            yield str(path)
    finally:
        shutil.rmtree(directory)
