from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    """Applications fail by the thousand here; writing each to a log takes most of the time."""
    logger = logging.getLogger("daphne_clone")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(level)
