"""Compiles ``load_tls.c``, runs it with one scenario's request, and reads what it counted."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from bench import tls
from bench.compiler import BUILD, compiled
from bench.errors import MeasurementFailed
from bench.load import ANSWER_TIMEOUT_S, GRACE_S, LoadResult

if TYPE_CHECKING:
    from bench.http_scenarios import HttpScenario

_SOURCE = Path(__file__).with_name("load_tls.c")


def build(directory: Path = BUILD) -> Path:
    """Compile the program, unless it is there and newer than its source.

    Raises:
        EnvironmentFailed: there is no C compiler, or it failed.
    """
    return compiled(_SOURCE, directory / "load_tls", libraries=["ssl", "crypto"], needed_by="new TLS connections")


def run(
    program: Path,
    port: int,
    scenario: HttpScenario,
    request_file: Path,
    *,
    connections: int,
    seconds: float,
    answer_timeout_s: float = ANSWER_TIMEOUT_S,
) -> LoadResult:
    """Open one TLS connection after the other, ``connections`` at once, for ``seconds``, from this process's core.

    Args:
        request_file: with what ``scenario.request`` has returned; written here.

    Raises:
        MeasurementFailed: the program could not do its part.
    """
    request_file.write_bytes(scenario.request())
    words = [port, connections, seconds, answer_timeout_s, tls.CIPHER, tls.GROUP, len(scenario.expected), request_file]
    try:
        done = subprocess.run(
            [str(program), *map(str, words)], capture_output=True, text=True, timeout=seconds + GRACE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MeasurementFailed(f"load_tls: {error}") from error
    if done.returncode:
        raise MeasurementFailed(f"load_tls ended with status {done.returncode}: {done.stderr.strip()[-300:]}")
    return LoadResult.from_figures(json.loads(done.stdout))
