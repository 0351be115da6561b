"""Compiles ``load_ws.c``, runs it with one scenario's messages, and reads what it counted."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.compiler import BUILD, compiled
from bench.errors import MeasurementFailed
from bench.load import ANSWER_TIMEOUT_S, GRACE_S, LoadResult

_SOURCE = Path(__file__).with_name("load_ws.c")
_OPEN_TIMEOUT_S = 70.0
"""The program gives up opening connections after 60 seconds by itself."""


def build(directory: Path = BUILD) -> Path:
    """Compile the program, unless it is there and newer than its source.

    Raises:
        EnvironmentFailed: there is no C compiler, or it failed.
    """
    return compiled(_SOURCE, directory / "load_ws", needed_by="the WebSocket scenarios")


class Generator:
    """A running ``load_ws``. Call :meth:`ready`, then :meth:`run`, each once."""

    def __init__(self, process: subprocess.Popen[bytes], *, warm_up: float, seconds: float) -> None:
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
        return self._figures(_OPEN_TIMEOUT_S + self._warm_up + GRACE_S)

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
        return self._figures(self._seconds + GRACE_S)

    def _figures(self, timeout_s: float) -> LoadResult:
        return LoadResult.from_figures(json.loads(self._line(timeout_s)))

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
    program: Path,
    plan: Path,
    *,
    mode: str,
    port: int,
    connections: int,
    warm_up: float,
    seconds: float,
    answer_timeout_s: float = ANSWER_TIMEOUT_S,
) -> Iterator[Generator]:
    """Run ``load_ws`` on this process's core for as long as the block lasts; its connections end with the block.

    Args:
        plan: file with what ``WebSocketScenario.plan`` returned.
        warm_up: seconds of load that do not count; 0 for everything once.
        seconds: seconds that do.
    """
    words = [mode, port, connections, warm_up, seconds, answer_timeout_s, plan]
    try:
        process = subprocess.Popen(
            [str(program), *map(str, words)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise MeasurementFailed(f"load_ws cannot be started: {error}") from error
    with process:
        try:
            yield Generator(process, warm_up=warm_up, seconds=seconds)
        finally:
            process.kill()  # it waits for nothing but its end
