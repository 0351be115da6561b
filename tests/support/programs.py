"""Programs of other people that a test starts beside the server, and ends."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.server_process import until

START_S = 20.0
STOP_S = 10.0


def require_program(name: str) -> str:
    """Return a program's path; skip the test where it is not installed."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        pytest.skip(f"the program {name} is not installed")
    return path


@contextmanager
def running_program(
    command: Sequence[str | Path], is_ready: Callable[[], object], output: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for the length of a block.

    Args:
        command: The program and its arguments. It must stay in the foreground, and end at SIGTERM.
        is_ready: True from when the program can be used on.
        output: Where to write what it says.
    """
    with output.open("wb") as sink:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT)
    try:
        until(
            lambda: process.poll() is not None or is_ready(),
            f"{command[0]} to be ready; it wrote: {output.read_text(errors='replace')}",
            START_S,
        )
        assert process.poll() is None, f"{command[0]} has ended: {output.read_text(errors='replace')}"
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
