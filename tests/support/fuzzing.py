"""How many examples a fuzz test runs: a fixed few in every run, or as many random ones as FUZZ_EXAMPLES says."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("FUZZ_EXAMPLES", "0"))


def budget(examples: int) -> Any:
    return settings(
        max_examples=FACTOR or examples,
        derandomize=not FACTOR,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
