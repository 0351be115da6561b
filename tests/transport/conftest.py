from __future__ import annotations

import asyncio
import warnings

import pytest
import uvloop
from twisted.logger import globalLogPublisher

LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.SelectorEventLoop}


class LoopRunner:
    """Runs a coroutine to its end on one kind of loop, with a bound on the time.

    Attributes:
        kind: ``"uvloop"`` or ``"asyncio"``.
        loop_errors: What the loop's exception handler was given.
    """

    def __init__(self, kind):
        self.kind = kind
        self.loop_errors = []
        self._runner = asyncio.Runner(loop_factory=LOOPS[kind])

    def __call__(self, coroutine):
        return self._runner.run(self._bounded(coroutine))

    async def _bounded(self, coroutine):
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: self.loop_errors.append(context))
        async with asyncio.timeout(10):
            return await coroutine

    def close(self):
        # uvloop warns of each resource that it has to close itself, and if the warning is an error it waits for that
        # resource for ever. So that a test which fails half-way ends: collect the warnings, and complain afterwards.
        with warnings.catch_warnings(record=True) as leaks:
            warnings.simplefilter("always", ResourceWarning)
            self._runner.close()
        assert not leaks, [str(leak.message) for leak in leaks]


@pytest.fixture(params=LOOPS)
def run(request):
    """Run coroutines on each kind of loop."""
    runner = LoopRunner(request.param)
    yield runner
    runner.close()


@pytest.fixture
def twisted_errors():
    """Collect the failures that are logged through twisted.logger."""
    events = []

    def observe(event):
        if "log_failure" in event:
            events.append(event)

    globalLogPublisher.addObserver(observe)
    yield events
    globalLogPublisher.removeObserver(observe)
