"""Reading what wrk and the script print."""

from __future__ import annotations

import pytest

from bench import load
from bench.errors import MeasurementFailed

OUTPUT = """Running 2s test @ http://127.0.0.1:20000/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
Requests/sec:  50000.00
Transfer/sec:      7.42MB

{"requests": 100000, "duration_us": 2000000, "bytes": 15600000, "p50_us": 1300, "p99_us": 2500, \
"errors": {"connect": 1, "read": 2, "write": 3, "timeout": 4, "status": 5}}
"""


def test_figures_come_from_the_scripts_last_line() -> None:
    result = load.parse_output(OUTPUT, cpu_s=1.5)
    assert result.requests == 100_000
    assert result.requests_per_s == 50_000
    assert result.core_share == 0.75
    assert (result.p50_us, result.p99_us) == (1300, 2500)
    assert sum(result.errors.values()) == 15


def test_output_without_figures_fails_the_measurement() -> None:
    with pytest.raises(MeasurementFailed, match="unable to connect"):
        load.parse_output("unable to connect to 127.0.0.1:1\n", cpu_s=0)
