"""A real server process on a free port: start it, read its log while it runs, stop it by its own process id."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APPS = ROOT / "tests" / "support"

START_S = 15.0  # a cold start on a busy two-core machine takes about one
STOP_S = 15.0
WAIT_S = 10.0  # for what should happen at once

# A shell without job control ignores SIGINT for what it runs in the background, and so would all that is started here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def until(condition: Callable[[], object], what: str, timeout_s: float = WAIT_S) -> None:
    """Wait for a condition that only polling can see; fail, with ``what`` was waited for, when it does not come."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain: {what}"
        time.sleep(0.01)


class ServerProcess:
    """A running server.

    Args:
        app: ``module:attribute`` of an application; modules are looked for in tests/support first.
        options: Further arguments of the command line.
        listen: The arguments that say where; by default one TCP socket on a port the system chooses.
        wait: Wait until it listens, and fail if it does not.
        program: Instead of ``-m daphne_clone`` with the arguments above: arguments for the interpreter.
        pass_fds: Descriptors that the process inherits.
        environment: Variables to add to this process's own.

    Attributes:
        pid: Of the process.
        addresses: ``(host, port)`` of each TCP socket the banner names, in the order of the endpoints.
    """

    def __init__(
        self,
        app: str = "apps:application",
        options: Sequence[str] = (),
        *,
        listen: Sequence[str] = ("-p", "0"),
        wait: bool = True,
        program: Sequence[str] | None = None,
        pass_fds: Sequence[int] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        arguments = ["-m", "daphne_clone", "--app-dir", str(APPS), *listen, *options, app]
        own = {name: value for name, value in os.environ.items() if not name.startswith("DAPHNE_CLONE_")}
        paths = [str(ROOT), str(APPS), *filter(None, [own.get("PYTHONPATH")])]
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._is_log_whole = False
        self._process = subprocess.Popen(
            [sys.executable, *(arguments if program is None else program)],
            cwd=ROOT,
            env={**own, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=pass_fds,
        )
        self.pid = self._process.pid
        self.addresses: list[tuple[str, int]] = []
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        if wait:
            try:
                self.wait_until_listening()
            except BaseException:
                self.end()
                raise

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()

    @property
    def address(self) -> tuple[str, int]:
        """Of the first TCP socket."""
        return self.addresses[0]

    @property
    def log(self) -> str:
        """All that the process has written, to standard output and error."""
        with self._news:
            return "".join(self._lines)

    def wait_until_listening(self) -> None:
        line = self.wait_for_log(r"Listening on (.*); press", START_S)[1]
        self.addresses = [
            (host.strip("[]"), int(port)) for host, port in re.findall(r"https?://(\[[^]]*\]|[^:,]+):(\d+)", line)
        ]

    def wait_for_log(self, pattern: str, timeout_s: float = WAIT_S) -> re.Match[str]:
        """Wait until the log holds a match of ``pattern``, and return it."""
        found: list[re.Match[str]] = []

        def seen() -> bool:
            match = re.search(pattern, "".join(self._lines))
            found.extend(filter(None, [match]))
            return bool(found) or self._is_log_whole

        with self._news:
            self._news.wait_for(seen, timeout_s)
        assert found, f"no {pattern!r} in the log:\n{self.log}"
        return found[0]

    def refuses_connections(self) -> bool:
        try:
            socket.create_connection(self.address, timeout=WAIT_S).close()
        except ConnectionError:
            return True
        return False

    def send_signal(self, signum: int = signal.SIGTERM) -> None:
        self._process.send_signal(signum)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait(self, timeout_s: float = STOP_S) -> int:
        """Wait for the end of the process and of its log; return the exit status."""
        status = self._process.wait(timeout_s)
        self._reader.join(WAIT_S)
        return status

    def stop(self, signum: int = signal.SIGTERM) -> int:
        self.send_signal(signum)
        return self.wait()

    def end(self) -> None:
        """End the process for sure; gracefully at first, for what coverage wants to write."""
        for signum, patience_s in ((signal.SIGTERM, 0.5), (signal.SIGTERM, 4), (signal.SIGKILL, 4)):
            if self._process.poll() is not None:
                break
            self._process.send_signal(signum)
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
        self._process.wait()
        self._reader.join(WAIT_S)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def resident_bytes(self) -> int:
        """The process's resident memory now."""
        shown = subprocess.run(["ps", "-o", "rss=", "-p", str(self.pid)], capture_output=True, check=True, text=True)
        return int(shown.stdout) * 1024

    def _read_log(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                with self._news:
                    self._lines.append(line)
                    self._news.notify_all()
        except ValueError:
            pass  # closed under the reader, by end()
        with self._news:
            self._is_log_whole = True
            self._news.notify_all()
