"""Runs h2load with one scenario's request and reads what it printed and logged."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import tls
from bench.errors import MeasurementFailed
from bench.load import ANSWER_TIMEOUT_S, GRACE_S, LoadResult, children_cpu_s

if TYPE_CHECKING:
    from bench.h2_scenarios import Http2Scenario

_REQUESTS = re.compile(
    r"^requests: \d+ total, (\d+) started, (\d+) done, (\d+) succeeded, \d+ failed, (\d+) errored, (\d+) timeout",
    re.MULTILINE,
)
_TRAFFIC = re.compile(r"^traffic: \S+ \((\d+)\) total, \S+ \(\d+\) headers .*, \S+ \((\d+)\) data$", re.MULTILINE)
_PROTOCOL = re.compile(r"^Application protocol: (\S+)$", re.MULTILINE)


def run(port: int, scenario: Http2Scenario, log_file: Path, *, seconds: int) -> LoadResult:
    """Keep all streams of all connections busy for ``seconds``, from this process's core.

    Args:
        log_file: where h2load writes a line for each request, none of it from before.

    Raises:
        MeasurementFailed: h2load is missing, ended with an error, printed no figures, or received wrong answers.
    """
    log_file.unlink(missing_ok=True)  # h2load would append to it
    before = children_cpu_s()
    try:
        # The only child waited for in this span is h2load, so the difference is h2load's.
        done = subprocess.run(
            command(port, scenario, log_file, seconds=seconds),
            capture_output=True,
            text=True,
            timeout=seconds + GRACE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MeasurementFailed(str(error)) from error
    cpu_s = children_cpu_s() - before
    if done.returncode:
        raise MeasurementFailed(
            f"h2load ended with status {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}"
        )
    return parse_output(done.stdout, log_file.read_text(), scenario, seconds=seconds, cpu_s=cpu_s)


def command(port: int, scenario: Http2Scenario, log_file: Path, *, seconds: int) -> list[str]:
    """The command line."""
    words = ["h2load", "-t1", f"-c{scenario.connections}", f"-m{scenario.streams}", f"-D{seconds}"]
    words += [f"--connection-inactivity-timeout={ANSWER_TIMEOUT_S}", f"--log-file={log_file}"]
    # For http:// its default is h2c by prior knowledge.
    words += ["--npn-list=h2", f"--tls13-ciphers={tls.CIPHER}", f"--groups={tls.GROUP}"]
    return [*words, f"{scenario.scheme}://127.0.0.1:{port}{scenario.path}"]


def parse_output(output: str, log: str, scenario: Http2Scenario, *, seconds: int, cpu_s: float) -> LoadResult:
    """Read what h2load printed and the lines that it logged: start, status (-1 for none) and microseconds, with tabs.

    The printed number of statuses and "failed" are not used: the former counts unfinished answers too, the latter mixes
    what went wrong on the way with what the server answered.

    Raises:
        MeasurementFailed: the figures are missing, another protocol was spoken, or the bodies had the wrong size.
    """
    requests, traffic, protocol = (pattern.search(output) for pattern in (_REQUESTS, _TRAFFIC, _PROTOCOL))
    if not (requests and traffic):
        raise MeasurementFailed(f"h2load printed no figures: {output.strip()[-300:]!r}")
    right = "h2" if scenario.tls else "h2c"
    if protocol is None or protocol[1] != right:
        raise MeasurementFailed(f"h2load spoke {protocol[1] if protocol else 'nothing'} instead of {right}")
    # What went wrong on the way counts as done too.
    started, done, succeeded, errored, timed_out = (int(figure) for figure in requests.groups())
    answered = done - errored
    lines = [line.split("\t") for line in log.splitlines()]
    statuses = [int(status) for _, status, *_ in lines]
    times = sorted(int(microseconds) for _, status, microseconds in lines if status != "-1")
    if len(times) != answered:
        raise MeasurementFailed(f"h2load logged {len(times):,} answers, but counted {answered:,}")
    received, body_bytes = int(traffic[1]), int(traffic[2])
    # Answers that were under way at the end have brought bytes too.
    size = len(scenario.expected)
    if not succeeded * size <= body_bytes <= started * size:
        raise MeasurementFailed(f"answered {body_bytes / max(answered, 1):,.1f} bytes a request instead of {size:,}")
    return LoadResult(
        requests=answered,
        duration_s=seconds,
        bytes_received=received,
        p50_us=_percentile(times, 50),
        p99_us=_percentile(times, 99),
        errors={
            "errored": errored - timed_out,
            "timeout": timed_out,
            "status": sum(1 for status in statuses if status >= 0 and not 200 <= status < 300),
        },
        cpu_s=cpu_s,
    )


def _percentile(times: Sequence[int], percent: int) -> int:
    """The smallest time that so many percent are not above; ``times`` is sorted. 0 where nothing was answered."""
    return times[math.ceil(len(times) * percent / 100) - 1] if times else 0
