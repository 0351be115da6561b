"""Turns results into the Markdown that is printed and kept. Pure; columns are padded so that it reads well as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from bench.h2_scenarios import Http2Scenario
from bench.http_scenarios import HttpScenario
from bench.results import GENERATOR_BOUND_SHARE, NOISY_SHARE, Results, Summary
from bench.servers import BASELINE, HTTP2_BASELINES
from bench.ws_scenarios import WebSocketScenario

if TYPE_CHECKING:
    from bench.scenarios import Scenario
    from bench.servers import Server

_NOTHING = "-"

_Column: TypeAlias = tuple[str, Callable[[Summary], str]]
"""A heading, and what stands below it."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: names and remarks to the left, figures to the right."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(3, *(len(cell) for cell in column)) for column in columns]
    right = [index > 0 for index in range(len(columns))]
    if header[-1] == "remarks":
        right[-1] = False

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(cells, widths, right, strict=True)
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (width - 1) + ":" if to_right else "-" * width for width, to_right in zip(widths, right, strict=True)]
    return "\n".join([line(header), line(rule), *(line(row) for row in rows)])


def render(results: Results, servers: Sequence[Server], scenarios: Sequence[Scenario]) -> str:
    """The whole report: ratios at a glance, one table for each scenario, failures, and what the run was made with."""
    parts = ["# Side by side with other servers"]
    if results.interrupted:
        parts.append("**The run was interrupted: what is missing was not measured.**")
    http = [scenario for scenario in scenarios if isinstance(scenario, HttpScenario)]
    http2 = [scenario for scenario in scenarios if isinstance(scenario, Http2Scenario)]
    idle = [scenario for scenario in scenarios if isinstance(scenario, WebSocketScenario) and scenario.mode == "idle"]
    sending = [scenario for scenario in scenarios if scenario not in (*http, *http2, *idle)]
    overviews: tuple[tuple[str, Sequence[Scenario], Callable[[Summary], str]], ...] = (
        (f"CPU time a request, as a ratio to {BASELINE} (lower is better)", http, _cpu_ratio),
        (f"Requests a second, as a ratio to {BASELINE} (higher is better)", http, _requests_ratio),
        (f"CPU time an HTTP/2 request, as a ratio to {HTTP2_BASELINES.cpu} (lower is better)", http2, _cpu_ratio),
        (
            f"HTTP/2 requests a second, as a ratio to {HTTP2_BASELINES.requests} (higher is better)",
            http2,
            _requests_ratio,
        ),
        (f"CPU time a WebSocket message, as a ratio to {BASELINE} (lower is better)", sending, _cpu_ratio),
        (f"WebSocket messages a second, as a ratio to {BASELINE} (higher is better)", sending, _requests_ratio),
        (f"Memory of a WebSocket connection, as a ratio to {BASELINE} (lower is better)", idle, _memory_ratio),
    )
    for title, told, cell in overviews:
        if told:
            parts += [f"## {title}", _overview(results, servers, told, cell)]
    for scenario in scenarios:
        columns = _columns(scenario)
        rows = [_row(results, scenario.name, server.name, columns) for server in servers]
        parts.append(f"## {scenario.name}: {scenario.title}")
        parts.append(table(["server", *(heading for heading, _ in columns)], rows))
    parts.append(_legend())
    parts += _failures(results)
    parts += _about(results)
    return "\n\n".join(parts) + "\n"


def _columns(scenario: Scenario) -> tuple[_Column, ...]:
    """What the table of a scenario tells of each server."""
    unit = scenario.unit
    if isinstance(scenario, WebSocketScenario) and scenario.mode == "idle":
        return (
            (f"KiB/{unit}", lambda summary: _kib(summary.connection_bytes)),
            ("±", lambda summary: _spread(summary, summary.connection_spread)),
            ("ratio", lambda summary: _ratio(summary.connection_ratio)),
            ("memory MB", lambda summary: f"{summary.memory_bytes / 1e6:.1f}"),
            (f"opened {unit}/s", lambda summary: f"{summary.requests_per_s:,.0f}"),
            (f"CPU µs/{unit}", lambda summary: f"{summary.cpu_us:,.1f}"),
            ("errors", lambda summary: f"{summary.errors:,}"),
        )
    to_requests, to_cpu = "ratio", "ratio"
    if isinstance(scenario, Http2Scenario):
        to_requests, to_cpu = f"to {HTTP2_BASELINES.requests}", f"to {HTTP2_BASELINES.cpu}"
    columns: tuple[_Column, ...] = (
        (f"{unit}/s", lambda summary: _bounded(summary.requests_bound, f"{summary.requests_per_s:,.0f}")),
        (to_requests, _requests_ratio),
        (f"CPU µs/{unit}", lambda summary: f"{summary.cpu_us:,.1f}"),
        ("±", lambda summary: _spread(summary, summary.cpu_spread)),
        (to_cpu, _cpu_ratio),
        ("p50 ms", lambda summary: f"{summary.p50_ms:.2f}"),
        ("p99 ms", lambda summary: f"{summary.p99_ms:.2f}"),
        ("memory MB", lambda summary: f"{summary.memory_bytes / 1e6:.1f}"),
        ("server core", lambda summary: f"{summary.server_share:.0%}"),
    )
    errors_and_remarks: tuple[_Column, ...] = (
        ("errors", lambda summary: f"{summary.errors:,}"),
        ("remarks", lambda summary: ", ".join(_remarks(summary))),
    )
    if isinstance(scenario, HttpScenario):
        generator = "load core" if scenario.connects_over_tls else "wrk core"
        return (*columns, (generator, _generator_share), *errors_and_remarks)
    if isinstance(scenario, Http2Scenario):
        return (*columns, ("h2load core", _generator_share), *errors_and_remarks)
    received: _Column = (f"bytes/{unit}", lambda summary: f"{summary.message_bytes or 0:,.0f}")
    return (*columns, ("load core", _generator_share), received, *errors_and_remarks)


def _overview(
    results: Results, servers: Sequence[Server], scenarios: Sequence[Scenario], cell: Callable[[Summary], str]
) -> str:
    rows = []
    for server in servers:
        row = [server.name]
        for scenario in scenarios:
            summary = results.summary(scenario.name, server.name)
            row.append(cell(summary) if summary else _missing(results, scenario.name, server.name))
        rows.append(row)
    return table(["server", *(scenario.name for scenario in scenarios)], rows)


def _row(results: Results, scenario: str, server: str, columns: Sequence[_Column]) -> list[str]:
    summary = results.summary(scenario, server)
    if summary is None:
        return [server, _missing(results, scenario, server), *[""] * (len(columns) - 1)]
    return [server, *(cell(summary) for _, cell in columns)]


def _remarks(summary: Summary) -> list[str]:
    remarks = []
    if summary.generator_bound:
        remarks.append("generator-bound")
    if summary.noisy:
        remarks.append(f"noisy: others used {summary.foreign_share:.0%} of a core")
    return remarks


def _missing(results: Results, scenario: str, server: str) -> str:
    return results.labels.get((scenario, server), _NOTHING)


def _cpu_ratio(summary: Summary) -> str:
    return _ratio(summary.cpu_ratio)


def _memory_ratio(summary: Summary) -> str:
    return _ratio(summary.connection_ratio)


def _generator_share(summary: Summary) -> str:
    return f"{summary.generator_share:.0%}"


def _kib(size: float | None) -> str:
    return _NOTHING if size is None else f"{size / 1024:.1f}"


def _spread(summary: Summary, value: float | None) -> str:
    return f"{value:.0%}" if value is not None and summary.rounds > 1 else ""


def _ratio(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.2f}"


def _requests_ratio(summary: Summary) -> str:
    if summary.requests_ratio is None or summary.requests_ratio == 1.0:
        return _ratio(summary.requests_ratio)
    return _bounded(summary.ratio_bound, _ratio(summary.requests_ratio))


def _bounded(bound: str, figure: str) -> str:
    return f"{bound} {figure}" if bound else figure


def _legend() -> str:
    return (
        "Medians over the rounds; a ratio is the median of the ratios within each round; ± is half the distance between"
        ' the rounds\' extremes. "generator-bound": the load generator used more than '
        f"{GENERATOR_BOUND_SHARE:.0%} of its core, so the server could have answered more (>=). Where that holds for "
        "the server that ratios of requests a second refer to, they are upper bounds (<=), or tell nothing where it"
        " holds for both (?). "
        f"\"noisy\": something else used more than {NOISY_SHARE:.0%} of the server's or the generator's core. "
        "Memory is the proportional set size of the process tree after the load, WebSocket connections still open."
    )


def _failures(results: Results) -> list[str]:
    if not results.failures:
        return []
    parts = ["## Failures"]
    grouped: dict[tuple[str, str], list[str]] = {}
    for (scenario, server), reason in results.failures.items():
        grouped.setdefault((server, reason), []).append(scenario)
    for (server, reason), names in grouped.items():
        indented = "\n".join(f"    {line}" for line in reason.splitlines())
        parts.append(f"{server}, on {', '.join(names)}:\n\n{indented}")
    return parts


def _about(results: Results) -> list[str]:
    parts = []
    for title, entries in results.about.items():
        lines = [f"- {name}: {value}" for name, value in entries.items()]
        parts.append(f"## {title.capitalize()}\n\n" + "\n".join(lines))
    return parts
