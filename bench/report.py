"""Turns results into the Markdown that is printed and kept. Pure; columns are padded so that it reads well as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bench.results import GENERATOR_BOUND_SHARE, NOISY_SHARE, Results, Summary
from bench.servers import BASELINE

if TYPE_CHECKING:
    from bench.scenarios import Scenario
    from bench.servers import Server

_NOTHING = "-"

_HEADER = (
    "server",
    "req/s",
    "ratio",
    "CPU µs/req",
    "±",
    "ratio",
    "p50 ms",
    "p99 ms",
    "memory MB",
    "server core",
    "wrk core",
    "errors",
    "remarks",
)


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
    parts += [
        f"## CPU time a request, as a ratio to {BASELINE} (lower is better)",
        _overview(results, servers, scenarios, lambda summary: _ratio(summary.cpu_ratio)),
        f"## Requests a second, as a ratio to {BASELINE} (higher is better)",
        _overview(results, servers, scenarios, _requests_ratio),
    ]
    for scenario in scenarios:
        parts.append(f"## {scenario.name}: {scenario.title}")
        parts.append(table(_HEADER, [_row(results, scenario.name, server.name) for server in servers]))
    parts.append(_legend())
    parts += _failures(results)
    parts += _about(results)
    return "\n\n".join(parts) + "\n"


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


def _row(results: Results, scenario: str, server: str) -> list[str]:
    summary = results.summary(scenario, server)
    if summary is None:
        return [server, _missing(results, scenario, server), *[""] * (len(_HEADER) - 2)]
    return [
        server,
        _bounded(summary.requests_bound, f"{summary.requests_per_s:,.0f}"),
        _requests_ratio(summary),
        f"{summary.cpu_us:,.1f}",
        f"{summary.cpu_spread:.0%}" if summary.rounds > 1 else "",
        _ratio(summary.cpu_ratio),
        f"{summary.p50_ms:.2f}",
        f"{summary.p99_ms:.2f}",
        f"{summary.memory_bytes / 1e6:.1f}",
        f"{summary.server_share:.0%}",
        f"{summary.generator_share:.0%}",
        f"{summary.errors:,}",
        ", ".join(_remarks(summary)),
    ]


def _remarks(summary: Summary) -> list[str]:
    remarks = []
    if summary.generator_bound:
        remarks.append("generator-bound")
    if summary.noisy:
        remarks.append(f"noisy: others used {summary.foreign_share:.0%} of a core")
    return remarks


def _missing(results: Results, scenario: str, server: str) -> str:
    return "failed" if (scenario, server) in results.failures else _NOTHING


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
        ' the rounds\' extremes. "generator-bound": wrk used more than '
        f"{GENERATOR_BOUND_SHARE:.0%} of its core, so the server could have answered more (>=). Where that holds for "
        f"{BASELINE}, ratios of requests a second are upper bounds (<=), or tell nothing where it holds for both (?). "
        f"\"noisy\": something else used more than {NOISY_SHARE:.0%} of the server's or the generator's core. "
        "Memory is the proportional set size of the process tree after the load."
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
