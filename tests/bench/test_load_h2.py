"""Running h2load and reading what it prints and logs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench import load_h2
from bench.errors import MeasurementFailed
from bench.h2_scenarios import HTTP2_SCENARIOS, Http2Scenario

if TYPE_CHECKING:
    from bench.load import LoadResult

BY_NAME = {scenario.name: scenario for scenario in HTTP2_SCENARIOS}
CLEAR, OVER_TLS = BY_NAME["h2c-hello"], BY_NAME["h2-hello"]

OUTPUT = """starting benchmark...
spawning thread #0: 8 total client(s).
Warm-up started for thread #0.
progress: 100% of clients started
Warm-up phase is over for thread #0.
Main benchmark duration is started for thread #0.
TLS Protocol: TLSv1.3
Cipher: TLS_AES_128_GCM_SHA256
Server Temp Key: X25519 253 bits
Application protocol: h2
Main benchmark duration is over for thread #0. Stopping all clients.
Stopped all clients for thread #0

finished in 2.01s, 50.00 req/s, 4.61KB/s
requests: 100 total, 228 started, 100 done, 100 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 104 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 9.22KB (9445) total, 1.12KB (1152) headers (space savings 95.08%), 1.30KB (1339) data
                     min         max         mean         sd        +/- sd
time for request:    28.86ms    140.70ms    117.51ms     23.05ms    89.94%
"""
LOG = "".join(f"1795263000000000\t200\t{microseconds}\n" for microseconds in range(100, 0, -1))


def parse(output: str = OUTPUT, log: str = LOG) -> LoadResult:
    return load_h2.parse_output(output, log, OVER_TLS, seconds=2, cpu_s=1.5)


def test_figures_come_from_output_and_log() -> None:
    result = parse()
    assert (result.requests, result.requests_per_s) == (100, 50)
    assert (result.p50_us, result.p99_us) == (50, 99)
    assert result.core_share == 0.75
    assert result.bytes_received == 9445
    assert sum(result.errors.values()) == 0


def test_what_went_wrong_on_the_way_is_no_answer_and_one_error() -> None:
    failed = OUTPUT.replace(
        "100 done, 100 succeeded, 0 failed, 0 errored, 0 timeout",
        "110 done, 100 succeeded, 10 failed, 10 errored, 4 timeout",
    )
    result = parse(failed, LOG + "1795263000000000\t-1\t9999999\n" * 10)
    assert result.requests == 100
    assert result.errors == {"errored": 6, "timeout": 4, "status": 0}
    assert result.p99_us == 99


def test_statuses_other_than_2xx_are_errors() -> None:
    log = (
        LOG.replace("\t200\t1\n", "\t302\t1\n").replace("\t200\t2\n", "\t500\t2\n").replace("\t200\t3\n", "\t204\t3\n")
    )
    result = parse(OUTPUT.replace("100 succeeded, 0 failed", "99 succeeded, 1 failed"), log)
    assert result.requests == 100
    assert result.errors == {"errored": 0, "timeout": 0, "status": 2}


@pytest.mark.parametrize("data", [1300, 228 * 13])
def test_bytes_of_unfinished_answers_are_allowed_for(data: int) -> None:
    assert parse(OUTPUT.replace("(1339) data", f"({data}) data")).requests == 100


@pytest.mark.parametrize(
    ("data", "told"), [(1299, "13.0 bytes a request instead of 13"), (2965, "29.6 bytes"), (0, "0.0 bytes a request")]
)
def test_bodies_of_another_size_fail_the_measurement(data: int, told: str) -> None:
    with pytest.raises(MeasurementFailed, match=told):
        parse(OUTPUT.replace("(1339) data", f"({data}) data"))


def test_nothing_answered_gives_no_times() -> None:
    nothing = OUTPUT.replace("100 done, 100 succeeded", "0 done, 0 succeeded").replace("(1339) data", "(0) data")
    result = parse(nothing, "")
    assert (result.requests, result.p50_us, result.p99_us) == (0, 0, 0)


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (OUTPUT.replace("protocol: h2", "protocol: http/1.1"), "spoke http/1.1 instead of h2"),
        (OUTPUT.replace("Application protocol", "No protocol"), "spoke nothing instead of h2"),
        (OUTPUT.partition("requests:")[0], "h2load printed no figures: .*finished in"),
    ],
    ids=["other protocol", "no protocol", "no figures"],
)
def test_output_that_does_not_count_fails_the_measurement(output: str, told: str) -> None:
    with pytest.raises(MeasurementFailed, match=told):
        parse(output)


def test_log_of_something_else_fails_the_measurement() -> None:
    with pytest.raises(MeasurementFailed, match="logged 200 answers, but counted 100"):
        parse(log=LOG * 2)


@pytest.mark.parametrize("scenario", HTTP2_SCENARIOS, ids=lambda scenario: scenario.name)
def test_command_line_asks_for_8_connections_with_16_streams(scenario: Http2Scenario, tmp_path: Path) -> None:
    words = load_h2.command(20123, scenario, tmp_path / "log", seconds=3)
    assert words[:5] == ["h2load", "-t1", "-c8", "-m16", "-D3"]
    scheme, path = ("https" if scenario.tls else "http"), ("/16k" if "16k" in scenario.name else "/hello")
    assert words[-1] == f"{scheme}://127.0.0.1:20123{path}"


def fake_h2load(directory: Path, monkeypatch: pytest.MonkeyPatch, status: int = 0) -> Path:
    """Prints and logs what the tests above read; like h2load, it adds to a log that is there."""
    (directory / "output").write_text(OUTPUT.replace("protocol: h2", "protocol: h2c"))
    (directory / "lines").write_text(LOG)
    program = directory / "h2load"
    program.write_text(
        f'#!/bin/sh\nfor word; do case $word in --log-file=*) cat "{directory}/lines" >>"${{word#*=}}";; esac; done\n'
        f'cat "{directory}/output"\nexit {status}\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return directory / "log"


def test_second_run_does_not_see_the_log_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = fake_h2load(tmp_path, monkeypatch)
    for _ in range(2):
        result = load_h2.run(20123, CLEAR, log, seconds=2)
        assert (result.requests, result.p99_us) == (100, 99)
    assert 0 < result.cpu_s < 2


def test_failing_h2load_is_told_with_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = fake_h2load(tmp_path, monkeypatch, status=1)
    with pytest.raises(MeasurementFailed, match="(?s)h2load ended with status 1: .*time for request"):
        load_h2.run(20123, CLEAR, log, seconds=2)


def test_missing_h2load_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MeasurementFailed, match="h2load"):
        load_h2.run(20123, CLEAR, tmp_path / "log", seconds=2)
