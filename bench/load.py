"""Runs wrk with one scenario's request and reads what it counted."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import MeasurementFailed
from bench.tls import WRK_ENVIRONMENT

_SCRIPT = Path(__file__).with_name("load.lua")
ANSWER_TIMEOUT_S = 5
GRACE_S = 20.0
"""How much longer than its duration a generator may take; then its connects and answers have timed out."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a load generator counted.

    Attributes:
        requests: answers received in full.
        p50_us: median time from request to full answer, in microseconds.
        errors: what went wrong, by kind: connections, timeouts, answers with a wrong status and the like.
        cpu_s: CPU time that the generator itself used.
    """

    requests: int
    duration_s: float
    bytes_received: int
    p50_us: int
    p99_us: int
    errors: dict[str, int]
    cpu_s: float

    @classmethod
    def from_figures(cls, figures: dict[str, Any]) -> LoadResult:
        """What ``load.lua`` and ``load_figures.h`` print; the former knows nothing of ``cpu_us``."""
        return cls(
            requests=figures["requests"],
            duration_s=figures["duration_us"] / 1e6,
            bytes_received=figures["bytes"],
            p50_us=figures["p50_us"],
            p99_us=figures["p99_us"],
            errors=figures["errors"],
            cpu_s=figures["cpu_us"] / 1e6,
        )

    @property
    def requests_per_s(self) -> float:
        return self.requests / self.duration_s

    @property
    def core_share(self) -> float:
        """The part of its core that the generator used, 0 to 1."""
        return self.cpu_s / self.duration_s


def parse_output(text: str, cpu_s: float) -> LoadResult:
    """Read the line that ``load.lua`` prints after wrk's own output.

    Raises:
        MeasurementFailed: there is no such line.
    """
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            return LoadResult.from_figures(json.loads(line) | {"cpu_us": cpu_s * 1e6})
    raise MeasurementFailed(f"wrk printed no figures: {text.strip()[-300:]!r}")


def run(port: int, request_file: Path, *, connections: int, seconds: int, tls: bool = False) -> LoadResult:
    """Send the request in ``request_file`` over ``connections`` connections for ``seconds``, from this process's core.

    One connection has one request under way at a time: a slow answer delays the next request, so the load adapts to
    the server.

    Args:
        tls: whether the server speaks TLS on this port.

    Raises:
        MeasurementFailed: wrk is missing, ended with an error, or printed no figures.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={ANSWER_TIMEOUT_S}s", f"-s{_SCRIPT}"]
    command += [f"{'https' if tls else 'http'}://127.0.0.1:{port}/", "--", str(request_file)]
    environment = os.environ | (WRK_ENVIRONMENT if tls else {})
    before = children_cpu_s()
    try:
        # The only child waited for in this span is wrk, so the difference is wrk's.
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds + GRACE_S, check=False, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MeasurementFailed(str(error)) from error
    if done.returncode:
        raise MeasurementFailed(
            f"wrk ended with status {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}"
        )
    return parse_output(done.stdout, children_cpu_s() - before)


def children_cpu_s() -> float:
    """CPU time of all children that have been waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
