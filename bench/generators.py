"""Makes sure of the load generators that a run needs, before anything is measured."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import load_tls, load_ws, tls
from bench.errors import EnvironmentFailed
from bench.h2_scenarios import Http2Scenario
from bench.http_scenarios import HttpScenario
from bench.ws_scenarios import WebSocketScenario

if TYPE_CHECKING:
    from bench.scenarios import Scenario


@dataclass(frozen=True, slots=True)
class Generators:
    """What was compiled.

    Attributes:
        ws: the program that ``load_ws.build`` has made; ``None`` without WebSocket scenarios.
        tls: the one of ``load_tls.build``; ``None`` where no scenario is about new TLS connections.
    """

    ws: Path | None = None
    tls: Path | None = None


def prepare(scenarios: Sequence[Scenario]) -> Generators:
    """Look for the programs on ``PATH``, compile the others, and make the certificate of the TLS scenarios.

    Raises:
        EnvironmentFailed: something is missing or does not work.
    """
    http = [scenario for scenario in scenarios if isinstance(scenario, HttpScenario)]
    if any(not scenario.connects_over_tls for scenario in http):
        _require("wrk", "wrk")
    if any(isinstance(scenario, Http2Scenario) for scenario in scenarios):
        _require("h2load", "nghttp2-client")
    if any(scenario.tls for scenario in scenarios):
        tls.make_certificate()
    return Generators(
        ws=load_ws.build() if any(isinstance(scenario, WebSocketScenario) for scenario in scenarios) else None,
        tls=load_tls.build() if any(scenario.connects_over_tls for scenario in http) else None,
    )


def _require(program: str, package: str) -> None:
    if shutil.which(program) is None:
        raise EnvironmentFailed(f"{program} is not on PATH; on Debian and Ubuntu: apt-get install {package}")
