from __future__ import annotations

import asyncio

import pytest
import uvloop

LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.SelectorEventLoop}


@pytest.fixture(params=LOOPS)
def run(request):
    """Run a coroutine to its end on each kind of loop, with a bound on the time."""
    loop_errors = []

    async def bounded(coroutine):
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: loop_errors.append(context))
        async with asyncio.timeout(10):
            return await coroutine

    with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
        run_on_loop = lambda coroutine: runner.run(bounded(coroutine))  # noqa: E731 - it carries attributes
        run_on_loop.kind = request.param
        run_on_loop.loop_errors = loop_errors
        yield run_on_loop


@pytest.fixture
def twisted_errors(request):
    """Collect the failures that are logged through twisted.logger."""
    from twisted.logger import globalLogPublisher

    events = []

    def observe(event):
        if "log_failure" in event:
            events.append(event)

    globalLogPublisher.addObserver(observe)
    yield events
    globalLogPublisher.removeObserver(observe)
