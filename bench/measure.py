"""Measures one server on one scenario: start, check, warm up, load, read, end.

What is measured is the server's whole process tree between two looks at ``/proc``, and the load generator's own count.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import check, load, procfs
from bench.errors import MeasurementFailed
from bench.process import Ports, running

if TYPE_CHECKING:
    from bench.scenarios import Scenario
    from bench.servers import Server

WARM_UP_S = 1
_OVERHEAD_S = 0.8
"""Starting, checking and ending a server, on average over the peers; for the estimate only."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The figures of one server on one scenario in one round.

    Attributes:
        cpu_us: CPU time of the server's process tree for one request, in microseconds.
        memory_bytes: proportional set size of the tree after the load.
        errors: what the load generator counted, see ``LoadResult.errors``, added up.
        server_share: part of the server's core that its tree used, 0 to 1.
        generator_share: part of its core that the load generator used, 0 to 1.
        foreign_share: part of either core, the larger one, that went to neither of the two, 0 to 1.
    """

    requests_per_s: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    memory_bytes: int
    errors: int
    server_share: float
    generator_share: float
    foreign_share: float


@dataclass(frozen=True, slots=True)
class Bench:
    """What all measurements of a run have in common.

    Attributes:
        programs: directory of the environment's programs.
        scratch: directory for the request files.
        connections: how many connections ask at once, where the scenario allows that many.
        seconds: length of one measurement.
    """

    programs: Path
    checkout: Path
    scratch: Path
    ports: Ports
    server_core: int
    load_core: int
    connections: int
    seconds: int

    def measure(self, server: Server, scenario: Scenario) -> Sample:
        """Start ``server`` afresh, make sure it answers correctly, and measure it.

        Raises:
            MeasurementFailed: see there.
        """
        request_file = self.scratch / f"{scenario.name}.http"
        request_file.write_bytes(scenario.template())
        connections = min(self.connections, scenario.max_connections)
        port = self.ports.take()
        with running(server, programs=self.programs, checkout=self.checkout, port=port, core=self.server_core) as root:
            check.check(port, scenario)
            load.run(port, request_file, connections=connections, seconds=WARM_UP_S)
            begun = time.monotonic()
            cpu_before, busy_before = procfs.cpu_seconds(procfs.read_tree(root)), self._busy()
            result = load.run(port, request_file, connections=connections, seconds=self.seconds)
            tree = procfs.read_tree(root)
            cpu_s = procfs.cpu_seconds(tree) - cpu_before
            server_busy, load_busy = (after - before for after, before in zip(self._busy(), busy_before, strict=True))
            elapsed = time.monotonic() - begun
            memory = procfs.memory_bytes(tree)
        if not result.requests:
            raise MeasurementFailed(f"answered no request within {self.seconds} s")
        return Sample(
            requests_per_s=result.requests_per_s,
            cpu_us=cpu_s / result.requests * 1e6,
            p50_ms=result.p50_us / 1000,
            p99_ms=result.p99_us / 1000,
            memory_bytes=memory,
            errors=sum(result.errors.values()),
            server_share=cpu_s / elapsed,
            generator_share=result.core_share,
            foreign_share=max(0.0, server_busy - cpu_s, load_busy - result.cpu_s) / elapsed,
        )

    def _busy(self) -> tuple[float, float]:
        return procfs.core_seconds(self.server_core), procfs.core_seconds(self.load_core)


def plan(
    servers: Sequence[Server], scenarios: Sequence[Scenario], rounds: int
) -> Iterator[tuple[Scenario, int, Server]]:
    """The order of measurements: all servers after each other, then the next round, then the next scenario.

    What disturbs the machine for a while then disturbs all servers alike. Each round begins with another server, so
    that none always comes first.
    """
    for scenario in scenarios:
        for round_number in range(rounds):
            first = round_number % len(servers)
            for server in (*servers[first:], *servers[:first]):
                yield scenario, round_number, server


def estimated_seconds(servers: int, scenarios: int, rounds: int, seconds: int) -> float:
    """How long a run takes, without the making of the environment."""
    return servers * scenarios * rounds * (seconds + WARM_UP_S + _OVERHEAD_S)
