"""Medians, ratios and the report made of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench import report
from bench.measure import Sample
from bench.results import Results
from bench.scenarios import BASELINES, SCENARIOS
from bench.servers import SERVERS

SAMPLE = Sample(
    requests_per_s=1000.0,
    cpu_us=20.0,
    p50_ms=1.0,
    p99_ms=2.0,
    memory_bytes=30_000_000,
    errors=0,
    server_share=1.0,
    generator_share=0.5,
    foreign_share=0.0,
)
HELLO = SCENARIOS[0]
PAIR = [server for server in SERVERS if server.name in ("granian", "uvicorn")]


def results(**by_server: list[Sample]) -> Results:
    found = Results(about={"run": {"rounds": "3"}})
    for server, samples in by_server.items():
        for number, sample in enumerate(samples):
            found.add("hello", server, number, sample)
    return found


def cpu(*values: float) -> list[Sample]:
    return [replace(SAMPLE, cpu_us=value) for value in values]


def test_figures_are_medians_and_errors_a_sum() -> None:
    samples = [replace(sample, errors=2) for sample in cpu(30, 10, 20)]
    summary = results(granian=samples).summary("hello", "granian")
    assert summary is not None
    assert (summary.cpu_us, summary.errors, summary.rounds) == (20, 6, 3)
    assert summary.cpu_spread == pytest.approx(0.5)


def test_ratio_compares_within_each_round() -> None:
    # The machine is three times slower in the last round for both: the ratio of the medians would be 0.75.
    summary = results(uvicorn=cpu(20, 20, 60), granian=cpu(10, 15, 30)).summary("hello", "granian")
    assert summary is not None
    assert summary.cpu_ratio == pytest.approx(0.5)


def test_no_ratio_without_a_baseline() -> None:
    summary = results(granian=cpu(10)).summary("hello", "granian")
    assert summary is not None
    assert summary.cpu_ratio is None
    assert summary.requests_ratio is None


def test_failed_baseline_gives_no_ratio_and_failed_cell_no_figures() -> None:
    found = results(uvicorn=cpu(20), granian=cpu(10))
    found.fail("hello", "uvicorn", "ended")
    assert found.summary("hello", "uvicorn") is None
    summary = found.summary("hello", "granian")
    assert summary is not None
    assert summary.cpu_ratio is None


@pytest.mark.parametrize(
    ("own_share", "baseline_share", "shown"),
    [(0.5, 0.5, "1.50"), (0.95, 0.5, ">= 1.50"), (0.5, 0.95, "<= 1.50"), (0.95, 0.95, "? 1.50")],
)
def test_a_busy_generator_makes_the_ratio_a_bound(own_share: float, baseline_share: float, shown: str) -> None:
    found = results(
        uvicorn=[replace(SAMPLE, generator_share=baseline_share)],
        granian=[replace(SAMPLE, generator_share=own_share, requests_per_s=1500)],
    )
    row = next(line for line in report.render(found, PAIR, [HELLO]).splitlines() if "1,500" in line)
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[2:4] == [">= 1,500" if own_share > 0.9 else "1,500", shown]
    assert ("generator-bound" in row) == (own_share > 0.9)


def test_report_names_noise_failures_and_interruption() -> None:
    found = results(uvicorn=[replace(SAMPLE, foreign_share=0.4)])
    found.fail("hello", "granian", "did not listen\nlast words")
    found.interrupted = True
    text = report.render(found, PAIR, [HELLO])
    assert "noisy: others used 40% of a core" in text
    assert "granian, on hello:\n\n    did not listen\n    last words" in text
    assert "interrupted" in text
    assert "- rounds: 3" in text


BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
ECHO, IDLE = BY_NAME["ws-echo-64"], BY_NAME["ws-idle"]


def cells_of(text: str, heading: str, server: str) -> dict[str, str]:
    """One row of the table below ``heading``, by column; of columns with one name the last."""
    lines = text.partition(f"## {heading}")[2].splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    return dict(zip(rows[0], next(row for row in rows if row[0] == server), strict=True))


def test_websocket_table_counts_messages_and_their_bytes() -> None:
    found = Results(about={})
    found.add("ws-echo-64", "uvicorn", 0, replace(SAMPLE, message_bytes=66.0))
    found.add("ws-echo-64", "granian", 0, replace(SAMPLE, message_bytes=27.4, requests_per_s=1500, generator_share=1))
    text = report.render(found, PAIR, [ECHO])
    row = cells_of(text, "ws-echo-64", "granian")
    assert (row["msg/s"], row["CPU µs/msg"], row["bytes/msg"], row["load core"]) == (">= 1,500", "20.0", "27", "100%")
    assert row["remarks"] == "generator-bound"
    assert cells_of(text, "WebSocket messages a second", "granian")["ws-echo-64"] == ">= 1.50"
    assert cells_of(text, "CPU time a WebSocket message", "granian")["ws-echo-64"] == "1.00"
    assert "CPU time a request" not in text
    assert "Memory of a" not in text


def test_idle_table_is_about_the_memory_of_a_connection() -> None:
    found = Results(about={})
    for number, kib in enumerate((20, 20, 22)):
        found.add("ws-idle", "uvicorn", number, replace(SAMPLE, connection_bytes=20.0 * 1024))
        found.add("ws-idle", "granian", number, replace(SAMPLE, connection_bytes=kib * 1024.0))
    text = report.render(found, PAIR, [IDLE])
    row = cells_of(text, "ws-idle", "granian")
    assert (row["KiB/conn"], row["±"], row["ratio"], row["memory MB"]) == ("20.0", "5%", "1.00", "30.0")
    assert cells_of(text, "Memory of a WebSocket connection", "granian")["ws-idle"] == "1.00"
    assert "messages a second" not in text
    told = json.loads(json.dumps(found.as_json()))
    assert told["cells"][1]["median"]["connection_bytes"] == 20 * 1024


def test_kinds_are_not_mixed_in_the_overviews() -> None:
    found = Results(about={})
    for scenario in (HELLO, ECHO, IDLE):
        found.add(scenario.name, "uvicorn", 0, replace(SAMPLE, message_bytes=1.0, connection_bytes=1024.0))
    text = report.render(found, PAIR, [HELLO, ECHO, IDLE])
    for heading, column in [
        ("CPU time a request", "hello"),
        ("Requests a second", "hello"),
        ("CPU time a WebSocket message", "ws-echo-64"),
        ("WebSocket messages a second", "ws-echo-64"),
        ("Memory of a WebSocket connection", "ws-idle"),
    ]:
        assert cells_of(text, heading, "uvicorn") == {"server": "uvicorn", column: "1.00"}
        assert cells_of(text, heading, "granian") == {"server": "granian", column: "-"}
    assert {"req/s", "wrk core"} < cells_of(text, "hello", "uvicorn").keys()
    assert "bytes/req" not in text


def test_http2_ratios_refer_to_a_server_of_python_and_to_one_of_rust() -> None:
    found = Results({}, BASELINES)
    found.add("h2-hello", "hypercorn", 0, replace(SAMPLE, requests_per_s=500, cpu_us=100))
    found.add("h2-hello", "granian", 0, replace(SAMPLE, requests_per_s=5000, cpu_us=10, generator_share=0.95))
    found.add("h2-hello", "daphne-clone", 0, replace(SAMPLE, requests_per_s=4000, cpu_us=15))
    servers = [server for server in SERVERS if server.name in ("daphne-clone", "hypercorn", "granian")]
    text = report.render(found, servers, [BY_NAME["h2-hello"], HELLO])
    row = cells_of(text, "h2-hello", "daphne-clone")
    assert (row["req/s"], row["to hypercorn"]) == ("4,000", "8.00")
    assert (row["CPU µs/req"], row["to granian"], row["h2load core"]) == ("15.0", "1.50", "50%")
    assert cells_of(text, "h2-hello", "granian")["to hypercorn"] == ">= 10.00"
    assert cells_of(text, "HTTP/2 requests a second", "hypercorn") == {"server": "hypercorn", "h2-hello": "1.00"}
    assert cells_of(text, "CPU time an HTTP/2 request", "hypercorn") == {"server": "hypercorn", "h2-hello": "10.00"}
    assert cells_of(text, "CPU time a request", "hypercorn") == {"server": "hypercorn", "hello": "-"}


def test_ratio_is_left_out_where_its_own_baseline_is_missing() -> None:
    found = Results({}, BASELINES)
    found.add("h2-hello", "daphne-clone", 0, SAMPLE)
    found.add("h2-hello", "granian", 0, SAMPLE)
    summary = found.summary("h2-hello", "daphne-clone")
    assert summary is not None
    assert (summary.requests_ratio, summary.cpu_ratio) == (None, 1.0)


def test_what_a_server_does_not_have_is_told_in_its_cells() -> None:
    found = Results(about={})
    found.fail("ws-echo-64", "granian", "agreed to the handshake only", "no permessage-deflate")
    text = report.render(found, PAIR, [ECHO])
    assert cells_of(text, "ws-echo-64", "granian")["msg/s"] == "no permessage-deflate"
    assert cells_of(text, "CPU time a WebSocket message", "granian")["ws-echo-64"] == "no permessage-deflate"
    assert "granian, on ws-echo-64:\n\n    agreed to the handshake only" in text


def test_tables_are_aligned() -> None:
    lines = report.table(["server", "x"], [["a", "1.00"], ["longer", "-"]]).splitlines()
    assert lines == ["| server |    x |", "| ------ | ---: |", "| a      | 1.00 |", "| longer |    - |"]


def test_json_holds_every_round_and_every_failure() -> None:
    found = results(uvicorn=cpu(20, 22))
    found.fail("hello", "granian", "ended")
    told = json.loads(json.dumps(found.as_json()))
    assert [(cell["server"], cell["failure"], len(cell["rounds"])) for cell in told["cells"]] == [
        ("uvicorn", None, 2),
        ("granian", "ended", 0),
    ]
    assert told["cells"][0]["median"]["cpu_us"] == 21
    assert told["cells"][0]["rounds"][1]["cpu_us"] == 22
