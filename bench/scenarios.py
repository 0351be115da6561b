"""All scenarios, in the order in which they are measured and reported."""

from __future__ import annotations

from typing import TypeAlias

from bench.h2_scenarios import HTTP2_SCENARIOS, Http2Scenario
from bench.http_scenarios import HTTP_SCENARIOS, HttpScenario
from bench.servers import HTTP2_BASELINES, Baselines
from bench.ws_scenarios import WEBSOCKET_SCENARIOS, WebSocketScenario

Scenario: TypeAlias = HttpScenario | Http2Scenario | WebSocketScenario

SCENARIOS: tuple[Scenario, ...] = (*HTTP_SCENARIOS, *HTTP2_SCENARIOS, *WEBSOCKET_SCENARIOS)

BASELINES: dict[str, Baselines] = {
    scenario.name: HTTP2_BASELINES if isinstance(scenario, Http2Scenario) else Baselines() for scenario in SCENARIOS
}
"""By scenario, the servers that ratios refer to."""
