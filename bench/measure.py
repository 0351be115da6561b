"""Measures one server on one scenario: start, check, warm up, load, read, end.

What is measured is the server's whole process tree between two looks at ``/proc``, and the load generator's own count.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import check, h2_check, load, load_h2, load_tls, load_ws, procfs, ws_check
from bench.errors import MeasurementFailed, Unsupported
from bench.h2_scenarios import Http2Scenario
from bench.http_scenarios import HttpScenario
from bench.process import Ports, open_files, running

if TYPE_CHECKING:
    from bench.generators import Generators
    from bench.scenarios import Scenario
    from bench.servers import Server
    from bench.ws_scenarios import WebSocketScenario

WARM_UP_S = 1
_OVERHEAD_S = 0.8
"""Starting, checking and ending a server, on average over the peers; for the estimate only."""
_OPENING_S = 0.0005
"""Opening one of the many WebSocket connections that a scenario has of its own; for the estimate only."""
_OTHER_FILES = 500
"""Files that a server or the generator has open besides its connections: more than any of them has."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The figures of one server on one scenario in one round.

    What a scenario calls its ``unit`` stands in the place of a request: a message that has arrived, or a connection.

    Attributes:
        cpu_us: CPU time of the server's process tree for one request, in microseconds.
        memory_bytes: proportional set size of the tree after the load.
        errors: what the load generator counted, see ``LoadResult.errors``, added up.
        server_share: part of the server's core that its tree used, 0 to 1.
        generator_share: part of its core that the load generator used, 0 to 1.
        foreign_share: part of either core, the larger one, that went to neither of the two, 0 to 1.
        message_bytes: what the server sent for one WebSocket message, frame headers included; ``None`` where that was
            not counted.
        connection_bytes: what one idle connection adds to ``memory_bytes``; ``None`` where that was not measured.
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
    message_bytes: float | None = None
    connection_bytes: float | None = None


@dataclass(frozen=True, slots=True)
class Bench:
    """What all measurements of a run have in common.

    Attributes:
        programs: directory of the environment's programs.
        scratch: directory for what the load generators read.
        connections: how many connections ask at once, where the scenario does not say it.
        seconds: length of one measurement.
    """

    programs: Path
    checkout: Path
    generators: Generators
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
        if scenario.tls and not server.listen_tls:
            raise Unsupported("has no option for TLS", "no TLS")
        port = self.ports.take()
        argv = server.argv(self.programs, port, tls=scenario.tls, http2=isinstance(scenario, Http2Scenario))
        with (
            open_files(scenario.connections_for(self.connections) + _OTHER_FILES),
            running(argv, programs=self.programs, checkout=self.checkout, port=port, core=self.server_core) as root,
        ):
            if isinstance(scenario, HttpScenario):
                return self._requests(root, port, scenario)
            if isinstance(scenario, Http2Scenario):
                return self._streams(root, port, scenario)
            ws_check.check(port, scenario)
            if scenario.mode == "idle":
                return self._idle(root, port, scenario)
            return self._messages(root, port, scenario)

    def _requests(self, root: int, port: int, scenario: HttpScenario) -> Sample:
        request_file = self.scratch / f"{scenario.name}.http"
        connections = scenario.connections_for(self.connections)
        if scenario.connects_over_tls:
            assert self.generators.tls is not None, "built for every run that has such scenarios"
            run = partial(load_tls.run, self.generators.tls, port, scenario, request_file, connections=connections)
        else:
            request_file.write_bytes(scenario.template())
            run = partial(load.run, port, request_file, connections=connections, tls=scenario.tls)
        check.check(port, scenario)
        run(seconds=WARM_UP_S)
        before = self._look(root)
        result = run(seconds=self.seconds)
        return self._sample(root, before, result)

    def _streams(self, root: int, port: int, scenario: Http2Scenario) -> Sample:
        log_file = self.scratch / f"{scenario.name}.tsv"
        h2_check.check(port, scenario)
        load_h2.run(port, scenario, log_file, seconds=WARM_UP_S)
        before = self._look(root)
        result = load_h2.run(port, scenario, log_file, seconds=self.seconds)
        return self._sample(root, before, result)

    def _messages(self, root: int, port: int, scenario: WebSocketScenario) -> Sample:
        """WebSocket connections on which something is always under way."""
        with self._generating(port, scenario) as generator:
            warm_up = generator.ready()
            before = self._look(root)
            result = generator.run()
            sample = self._sample(root, before, result)
        # A connection that failed while warming up is missing afterwards: it counts.
        return replace(
            sample,
            errors=sample.errors + sum(warm_up.errors.values()),
            message_bytes=result.bytes_received / result.requests,
        )

    def _idle(self, root: int, port: int, scenario: WebSocketScenario) -> Sample:
        """WebSocket connections that are opened and left alone; what the other figures are about is their opening."""
        empty = procfs.memory_bytes(procfs.read_tree(root))
        before = self._look(root)
        with self._generating(port, scenario) as generator:
            opening = generator.ready()
            sample = self._sample(root, before, opening)
            left_alone = generator.run()
            full = procfs.memory_bytes(procfs.read_tree(root))
        return replace(
            sample,
            errors=sample.errors + sum(left_alone.errors.values()),
            memory_bytes=full,
            connection_bytes=(full - empty) / opening.requests,
        )

    def _generating(self, port: int, scenario: WebSocketScenario) -> AbstractContextManager[load_ws.Generator]:
        assert self.generators.ws is not None, "built for every run that has WebSocket scenarios"
        plan_file = self.scratch / f"{scenario.name}.plan"
        plan_file.write_bytes(scenario.plan())
        return load_ws.generating(
            self.generators.ws,
            plan_file,
            mode=scenario.mode,
            port=port,
            connections=scenario.connections_for(self.connections),
            warm_up=WARM_UP_S,
            seconds=self.seconds,
        )

    def _look(self, root: int) -> _Look:
        return _Look(
            at=time.monotonic(),
            tree_s=procfs.cpu_seconds(procfs.read_tree(root)),
            server_core_s=procfs.core_seconds(self.server_core),
            load_core_s=procfs.core_seconds(self.load_core),
        )

    def _sample(self, root: int, before: _Look, result: load.LoadResult) -> Sample:
        """The figures of the time since ``before``, in which the generator counted ``result``."""
        after = self._look(root)
        memory = procfs.memory_bytes(procfs.read_tree(root))
        if not result.requests:
            raise MeasurementFailed(f"answered nothing within {result.duration_s:.0f} s")
        cpu_s, elapsed = after.tree_s - before.tree_s, after.at - before.at
        foreign_s = max(
            after.server_core_s - before.server_core_s - cpu_s,
            after.load_core_s - before.load_core_s - result.cpu_s,
        )
        return Sample(
            requests_per_s=result.requests_per_s,
            cpu_us=cpu_s / result.requests * 1e6,
            p50_ms=result.p50_us / 1000,
            p99_ms=result.p99_us / 1000,
            memory_bytes=memory,
            errors=sum(result.errors.values()),
            server_share=cpu_s / elapsed,
            generator_share=result.core_share,
            foreign_share=max(0.0, foreign_s) / elapsed,
        )


@dataclass(frozen=True, slots=True)
class _Look:
    """A moment: CPU seconds used until then by the server's tree, and on both cores by anybody."""

    at: float
    tree_s: float
    server_core_s: float
    load_core_s: float


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


def estimated_seconds(servers: int, scenarios: Sequence[Scenario], rounds: int, seconds: int) -> float:
    """How long a run takes, without the making of the environment."""
    opened = sum(scenario.connections_for(0) for scenario in scenarios)
    return servers * rounds * (len(scenarios) * (seconds + WARM_UP_S + _OVERHEAD_S) + opened * _OPENING_S)
