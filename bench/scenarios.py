"""All scenarios, in the order in which they are measured and reported."""

from __future__ import annotations

from typing import TypeAlias

from bench.http_scenarios import HTTP_SCENARIOS, HttpScenario
from bench.ws_scenarios import WEBSOCKET_SCENARIOS, WebSocketScenario

Scenario: TypeAlias = HttpScenario | WebSocketScenario

SCENARIOS: tuple[Scenario, ...] = (*HTTP_SCENARIOS, *WEBSOCKET_SCENARIOS)
