"""The command: ``python -m bench`` or ``./bench/run``; ``--help`` and ``bench/README.md`` say how to use it."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn, TypeVar

from bench import environment, generators, report
from bench.errors import EnvironmentFailed, MeasurementFailed, Unsupported
from bench.h2_scenarios import Http2Scenario
from bench.measure import WARM_UP_S, Bench, estimated_seconds, plan
from bench.process import Ports
from bench.results import Results
from bench.scenarios import BASELINES, SCENARIOS, Scenario
from bench.servers import BASELINE, HTTP2_BASELINES, OURS, SERVERS, Server

_T = TypeVar("_T")
_RESULTS = Path(__file__).with_name("results")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison.

    Returns:
        0; 1 if daphne-clone was among the servers and failed a scenario; 2 if the comparison cannot run here; 130 if it
        was interrupted, in which case what was measured until then is reported all the same.
    """
    options = parse(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, _interrupt)
    try:
        server_core, load_core = environment.choose_cores()
        made = generators.prepare(options.scenario)
        programs = environment.prepare(options.python)
        about = _about(options, programs, server_core, load_core)
    except EnvironmentFailed as error:
        _say(f"bench: {error}")
        return 2
    except KeyboardInterrupt:
        return 130
    # The load generator and this process share a core, and while the one works the other waits.
    os.sched_setaffinity(0, {load_core})

    results = Results(about, BASELINES)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        bench = Bench(
            programs=programs,
            checkout=environment.CHECKOUT,
            generators=made,
            scratch=Path(scratch),
            ports=Ports(),
            server_core=server_core,
            load_core=load_core,
            connections=options.connections,
            seconds=options.seconds,
        )
        try:
            _measure_all(bench, options, results)
        except KeyboardInterrupt:
            results.interrupted = True
            _say("interrupted; reporting what was measured")
    _write(results, report.render(results, options.only, options.scenario))
    if results.interrupted:
        return 130
    return 1 if any(server == OURS for _, server in results.failures) else 0


def _measure_all(bench: Bench, options: argparse.Namespace, results: Results) -> None:
    estimate = estimated_seconds(len(options.only), options.scenario, options.rounds, options.seconds)
    total = len(options.only) * len(options.scenario) * options.rounds
    _say(f"{total} measurements, about {estimate / 60:.1f} minutes")
    for number, (scenario, round_number, server) in enumerate(
        plan(options.only, options.scenario, options.rounds), start=1
    ):
        label = f"[{number}/{total}] {scenario.name}, round {round_number + 1}, {server.name}:"
        if (scenario.name, server.name) in results.failures:
            _say(f"{label} skipped, it failed before")
            continue
        try:
            sample = bench.measure(server, scenario)
        except MeasurementFailed as error:
            outcome = error.label if isinstance(error, Unsupported) else "failed"
            results.fail(scenario.name, server.name, str(error), outcome)
            _say(f"{label} {outcome}: {error}")
        else:
            results.add(scenario.name, server.name, round_number, sample)
            _say(
                f"{label} {sample.requests_per_s:,.0f} {scenario.unit}/s, {sample.cpu_us:.1f} µs CPU/{scenario.unit}, "
                f"p99 {sample.p99_ms:.2f} ms, {sample.errors} errors"
                + (f", {sample.connection_bytes / 1024:.1f} KiB/conn" if sample.connection_bytes else "")
            )


def _about(options: argparse.Namespace, programs: Path, server_core: int, load_core: int) -> dict[str, dict[str, str]]:
    names = [server.distribution for server in options.only]
    found = environment.versions(programs, [*names, "uvloop", "httptools", "Twisted"])
    return {
        "run": {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "rounds": str(options.rounds),
            "seconds": f"{options.seconds}, after {WARM_UP_S} of warming up, each time with a server started afresh",
            "connections": str(options.connections)
            + "".join(
                f"; {scenario.name} {scenario.connections_for(options.connections):,}"
                for scenario in options.scenario
                if scenario.connections_for(options.connections) != options.connections
            ),
            "cores": f"server on {server_core}, load generator on {load_core}",
        },
        "machine": environment.machine(programs),
        "versions": found,
        "commands": {
            server.name: "; ".join(_commands(server, options.scenario))
            + (f" ({server.remark})" if server.remark else "")
            for server in options.only
        },
    }


def _commands(server: Server, scenarios: Sequence[Scenario]) -> Iterator[str]:
    """The command lines that these scenarios take, each once."""
    ways = {(scenario.tls, isinstance(scenario, Http2Scenario)): None for scenario in scenarios}
    lines = [
        server.argv(Path("bin"), "PORT", tls=tls, http2=http2) for tls, http2 in ways if server.listen_tls or not tls
    ]
    for line in dict.fromkeys(map(" ".join, lines)):
        yield f"`{line}`"


def _write(results: Results, text: str) -> None:
    print(text)
    _RESULTS.mkdir(exist_ok=True)
    stem = _RESULTS / f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    stem.with_suffix(".json").write_text(json.dumps(results.as_json(), indent=1) + "\n", encoding="utf-8")
    _say(f"written to bench/results/{stem.name}.md and .json")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; ends the process with status 2 and a message where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=f"Compare {OURS} with its peers on this machine; ratios refer to {BASELINE} in the same run,"
        f" over HTTP/2 to {HTTP2_BASELINES.requests} and {HTTP2_BASELINES.cpu}.",
    )
    server_names = ", ".join(server.name for server in SERVERS)
    parser.add_argument(
        "--only",
        type=_servers,
        default=SERVERS,
        metavar="SERVER,...",
        help=f"servers to measure, of: {server_names}; no ratios without those that they refer to (default: all)",
    )
    scenario_names = ", ".join(scenario.name for scenario in SCENARIOS)
    parser.add_argument(
        "--scenario",
        type=_scenarios,
        default=SCENARIOS,
        metavar="NAME,...",
        help=f"scenarios to measure, of: {scenario_names} (default: all)",
    )
    parser.add_argument("--seconds", type=_positive, help="length of one measurement (default: 3)")
    parser.add_argument("--rounds", type=_positive, help="how often each is measured (default: 3)")
    parser.add_argument(
        "--connections",
        type=_positive,
        default=64,
        help="connections that ask at once; large answers at most 16, HTTP/2 and some WebSocket scenarios their own"
        " (default: 64)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one round of one second, where not given: to see that all works"
    )
    parser.add_argument(
        "--python", default=sys.executable, help="interpreter to make the environment with (default: this one)"
    )
    options = parser.parse_args(arguments)
    options.seconds = options.seconds or (1 if options.quick else 3)
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def _servers(text: str) -> tuple[Server, ...]:
    return tuple(_named(name, {server.name: server for server in SERVERS}) for name in _words(text))


def _scenarios(text: str) -> tuple[Scenario, ...]:
    return tuple(_named(name, {scenario.name: scenario for scenario in SCENARIOS}) for name in _words(text))


def _words(text: str) -> list[str]:
    """The words between commas, each once: a server named twice would be measured twice into one cell."""
    return list(dict.fromkeys(word.strip() for word in text.split(",")))


def _named(name: str, known: dict[str, _T]) -> _T:
    if name not in known:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
    return known[name]


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _interrupt(signal_number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
