"""What a run found: every sample, the medians over the rounds, and the ratios to the baseline. Pure; reads no clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from bench.servers import Baselines

if TYPE_CHECKING:
    from bench.measure import Sample

GENERATOR_BOUND_SHARE = 0.90
"""From this share of its core on, the generator may have been what limited the requests a second."""
NOISY_SHARE = 0.10
"""From this share of a core on, what others used is named; the counters it comes from are off by some percent."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One server on one scenario: medians over the rounds.

    Attributes:
        cpu_spread: half the distance between the smallest and the largest CPU time a request, as a part of the median.
        requests_ratio: median over the rounds of this server's figure divided by the baseline's in the same round;
            ``None`` without a baseline.
        cpu_ratio: the same for CPU time a request, whose baseline may be another server.
        connection_bytes: memory of an idle connection, ``None`` where it was not measured; likewise
            ``connection_spread`` and ``connection_ratio``, which are to it what the other two are to CPU time.
        errors: of all rounds together.
        rounds: how many rounds went into the medians.
        baseline_bound: whether the generator limited the baseline's requests a second, which the ratio then overstates.
    """

    requests_per_s: float
    cpu_us: float
    cpu_spread: float
    p50_ms: float
    p99_ms: float
    memory_bytes: float
    errors: int
    server_share: float
    generator_share: float
    foreign_share: float
    requests_ratio: float | None
    cpu_ratio: float | None
    rounds: int
    baseline_bound: bool
    message_bytes: float | None = None
    connection_bytes: float | None = None
    connection_spread: float | None = None
    connection_ratio: float | None = None

    @property
    def generator_bound(self) -> bool:
        return self.generator_share > GENERATOR_BOUND_SHARE

    @property
    def requests_bound(self) -> str:
        """``">="`` if the requests a second are only a lower bound, else ``""``."""
        return ">=" if self.generator_bound else ""

    @property
    def ratio_bound(self) -> str:
        """How to read the ratio of requests a second: ``">="`` or ``"<="`` a bound, ``"?"`` nothing, ``""`` as is."""
        if self.generator_bound:
            return "?" if self.baseline_bound else ">="
        return "<=" if self.baseline_bound else ""

    @property
    def noisy(self) -> bool:
        return self.foreign_share > NOISY_SHARE


@dataclass(slots=True)
class Results:
    """Collects the samples of a run.

    Attributes:
        about: what the run was made with: machine, settings, versions; goes into the report as it is.
        baselines: by scenario, the servers that ratios refer to, where they are not the usual one.
        samples: by scenario, server and round.
        failures: by scenario and server, why there are no figures.
        labels: by scenario and server, what a table says of a failure.
        interrupted: whether the run was ended before its plan was done.
    """

    about: dict[str, dict[str, str]]
    baselines: Mapping[str, Baselines] = field(default_factory=dict)
    samples: dict[tuple[str, str], dict[int, Sample]] = field(default_factory=dict)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    labels: dict[tuple[str, str], str] = field(default_factory=dict)
    interrupted: bool = False

    def add(self, scenario: str, server: str, round_number: int, sample: Sample) -> None:
        self.samples.setdefault((scenario, server), {})[round_number] = sample

    def fail(self, scenario: str, server: str, reason: str, label: str = "failed") -> None:
        """Mark the cell as failed; figures of earlier rounds no longer count."""
        self.failures[scenario, server] = reason
        self.labels[scenario, server] = label

    def baselines_of(self, scenario: str) -> Baselines:
        return self.baselines.get(scenario, Baselines())

    def summary(self, scenario: str, server: str) -> Summary | None:
        """The medians of one cell; ``None`` if it failed or was never measured."""
        by_round = self._valid(scenario, server)
        if not by_round:
            return None
        samples = list(by_round.values())
        baselines = self.baselines_of(scenario)
        baseline = self._valid(scenario, baselines.requests)
        cpu_baseline = self._valid(scenario, baselines.cpu)

        def middle(figure: Callable[[Sample], float]) -> float:
            return median(figure(sample) for sample in samples)

        def ratio(figure: Callable[[Sample], float | None], to: Mapping[int, Sample]) -> float | None:
            # Round against round: the two were measured within seconds, so a change of the machine's speed cancels out.
            pairs = [(figure(sample), figure(to[n])) for n, sample in by_round.items() if n in to]
            ratios = [ours / theirs for ours, theirs in pairs if ours is not None and theirs is not None]
            return median(ratios) if ratios else None

        cpu = [sample.cpu_us for sample in samples]
        message = [sample.message_bytes for sample in samples if sample.message_bytes is not None]
        connection = [sample.connection_bytes for sample in samples if sample.connection_bytes is not None]
        return Summary(
            requests_per_s=middle(lambda sample: sample.requests_per_s),
            cpu_us=median(cpu),
            cpu_spread=_spread(cpu),
            p50_ms=middle(lambda sample: sample.p50_ms),
            p99_ms=middle(lambda sample: sample.p99_ms),
            memory_bytes=middle(lambda sample: sample.memory_bytes),
            errors=sum(sample.errors for sample in samples),
            server_share=middle(lambda sample: sample.server_share),
            generator_share=_generator_share(by_round),
            foreign_share=middle(lambda sample: sample.foreign_share),
            requests_ratio=ratio(lambda sample: sample.requests_per_s, baseline),
            cpu_ratio=ratio(lambda sample: sample.cpu_us, cpu_baseline),
            rounds=len(samples),
            baseline_bound=bool(baseline) and _generator_share(baseline) > GENERATOR_BOUND_SHARE,
            message_bytes=median(message) if message else None,
            connection_bytes=median(connection) if connection else None,
            connection_spread=_spread(connection) if connection else None,
            connection_ratio=ratio(lambda sample: sample.connection_bytes, baseline),
        )

    def _valid(self, scenario: str, server: str) -> dict[int, Sample]:
        """The samples of one cell by round; none if it failed."""
        return {} if (scenario, server) in self.failures else self.samples.get((scenario, server), {})

    def cells(self) -> list[tuple[str, str]]:
        """Scenario and server of every cell that was measured or failed, in the order in which they came up."""
        return list(dict.fromkeys([*self.samples, *self.failures]))

    def as_json(self) -> dict[str, object]:
        """Everything, for ``json.dumps``: ``about``, ``interrupted`` and a list of ``cells``."""
        cells = []
        for scenario, server in self.cells():
            summary = self.summary(scenario, server)
            by_round = self.samples.get((scenario, server), {})
            cells.append(
                {
                    "scenario": scenario,
                    "server": server,
                    "failure": self.failures.get((scenario, server)),
                    "median": asdict(summary) if summary else None,
                    "rounds": [{"round": number, **asdict(sample)} for number, sample in sorted(by_round.items())],
                }
            )
        return {"about": self.about, "interrupted": self.interrupted, "cells": cells}


def _spread(values: list[float]) -> float:
    """Half the distance between the smallest and the largest, as a part of the median."""
    return (max(values) - min(values)) / 2 / median(values)


def _generator_share(by_round: dict[int, Sample]) -> float:
    return median(sample.generator_share for sample in by_round.values())
