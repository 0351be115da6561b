"""Compiles ``load_ws.c``, runs it with one scenario's messages, and reads what it counted."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import EnvironmentFailed, MeasurementFailed
from bench.load import LoadResult

_SOURCE = Path(__file__).with_name("load_ws.c")
_BUILD = Path(__file__).with_name("build")
_FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra")
_COMPILE_TIMEOUT_S = 120
_OPEN_TIMEOUT_S = 70.0
"""The program gives up opening connections after 60 seconds by itself."""
_GRACE_S = 20.0
"""How much longer than its duration a load may take; an answer has 5 seconds, and then its connection has failed."""


def build(directory: Path = _BUILD) -> Path:
    """Compile the program, unless it is there and newer than its source.

    Raises:
        EnvironmentFailed: there is no C compiler, or it failed.
    """
    program = directory / "load_ws"
    if program.exists() and program.stat().st_mtime > _SOURCE.stat().st_mtime:
        return program
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise EnvironmentFailed(
            "the WebSocket scenarios need a C compiler, `cc` on PATH or CC in the environment, to make their load"
            " generator; on Debian and Ubuntu: apt-get install gcc libc6-dev"
        )
    directory.mkdir(parents=True, exist_ok=True)
    # Compiled beside its place and moved there: what is in place is always whole.
    made = directory / f"load_ws.{os.getpid()}"
    command = [compiler, *_FLAGS, "-o", str(made), str(_SOURCE)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentFailed(f"{_SOURCE.name} could not be compiled: {error}") from error
    if done.returncode:
        raise EnvironmentFailed(f"{_SOURCE.name} could not be compiled: {done.stderr.strip()[-800:]}")
    return made.replace(program)


class Generator:
    """A running ``load_ws``. Call :meth:`ready`, then :meth:`run`, each once."""

    def __init__(self, process: subprocess.Popen[bytes], *, warm_up: int, seconds: int) -> None:
        self._process = process
        self._warm_up = warm_up
        self._seconds = seconds
        self._read = b""

    def ready(self) -> LoadResult:
        """Wait until all connections are open and the warming up is over; nothing is under way then.

        Returns:
            What was counted while warming up; of idle connections, their opening.

        Raises:
            MeasurementFailed: not all connections could be opened.
        """
        return self._figures(_OPEN_TIMEOUT_S + self._warm_up + _GRACE_S)

    def run(self) -> LoadResult:
        """Load the server, or look at idle connections, for the seconds that were asked for; nothing is under way after
        that, and the connections are still open.

        Raises:
            MeasurementFailed: the program ended instead.
        """
        assert self._process.stdin is not None, "it is a pipe"
        try:
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise MeasurementFailed(f"load_ws ended early: {error}") from error
        return self._figures(self._seconds + _GRACE_S)

    def _figures(self, timeout_s: float) -> LoadResult:
        figures = json.loads(self._line(timeout_s))
        return LoadResult(
            requests=figures["requests"],
            duration_s=figures["duration_us"] / 1e6,
            bytes_received=figures["bytes"],
            p50_us=figures["p50_us"],
            p99_us=figures["p99_us"],
            errors=figures["errors"],
            cpu_s=figures["cpu_us"] / 1e6,
        )

    def _line(self, timeout_s: float) -> bytes:
        assert self._process.stdout is not None, "it is a pipe"
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._read:
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise MeasurementFailed(f"load_ws printed no figures within {timeout_s:.0f} s")
            data = os.read(descriptor, 4096)
            if not data:
                raise MeasurementFailed(self._last_words())
            self._read += data
        line, _, self._read = self._read.partition(b"\n")
        return line

    def _last_words(self) -> str:
        """Why it ended; its output has, so it is about to."""
        assert self._process.stderr is not None, "it is a pipe"
        complaint = self._process.stderr.read().decode(errors="replace").strip()
        return f"load_ws ended with status {self._process.wait()}: {complaint[-300:]}"


@contextmanager
def generating(
    program: Path, plan: Path, *, mode: str, port: int, connections: int, warm_up: int, seconds: int
) -> Iterator[Generator]:
    """Run ``load_ws`` on this process's core for as long as the block lasts; its connections end with the block.

    Args:
        plan: file with what ``WebSocketScenario.plan`` returned.
        warm_up: seconds of load that do not count.
        seconds: seconds that do.
    """
    words = [str(program), mode, str(port), str(connections), str(warm_up), str(seconds), str(plan)]
    try:
        process = subprocess.Popen(
            words, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as error:
        raise MeasurementFailed(f"load_ws cannot be started: {error}") from error
    with process:
        try:
            yield Generator(process, warm_up=warm_up, seconds=seconds)
        finally:
            process.kill()  # it waits for nothing but its end
