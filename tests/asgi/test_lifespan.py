"""ASGI lifespan 2.0, with applications that behave and applications that do not."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging

import pytest

from daphne_clone.asgi import lifespan as lifespan_module
from daphne_clone.asgi.lifespan import Lifespan
from daphne_clone.errors import ApplicationProtocolError, ConfigurationError, LifespanFailed

LOGGER = "daphne_clone.asgi.lifespan"


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level(logging.DEBUG, logger=LOGGER)
    return caplog


@pytest.fixture
def short_grace(monkeypatch):
    monkeypatch.setattr(lifespan_module, "_RETURN_GRACE_S", 0.05)


def run(app, scenario, mode="auto"):
    """Run a scenario against a lifespan of the application; no task may be left behind."""

    async def main():
        async with asyncio.timeout(5):
            result = await scenario(Lifespan(app, mode, asyncio.get_running_loop()))
        assert asyncio.all_tasks() <= {asyncio.current_task()}
        return result

    return asyncio.run(main())


async def whole_life(lifespan):
    await lifespan.startup()
    return await lifespan.shutdown(1.0)


def levels(caplog):
    return [record.levelname for record in caplog.records if record.levelno > logging.DEBUG]


class Recorder:
    """A well-behaved application that notes what it is told."""

    def __init__(self):
        self.scope = None
        self.events = []

    async def __call__(self, scope, receive, send):
        self.scope = scope
        while True:
            event = await receive()
            self.events.append(event)
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return


async def raises_on_scope(scope, receive, send):
    raise ValueError("only http here")


async def raises_in_startup(scope, receive, send):
    await receive()
    raise ZeroDivisionError("no database")


async def returns(scope, receive, send):
    return


async def hello(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})


def answering(*messages, then=None):
    async def app(scope, receive, send):
        for message in messages:
            await receive()
            await send(message)
        if then is not None:
            raise then

    return app


class TestScope:
    def test_scope_is_that_of_the_specification(self):
        app = Recorder()
        run(app, whole_life)
        assert app.scope == {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}

    def test_state_is_shared_with_the_server(self):
        async def app(scope, receive, send):
            scope["state"]["pool"] = 1
            await answering({"type": "lifespan.startup.complete"})(scope, receive, send)

        async def scenario(lifespan):
            await lifespan.startup()
            return lifespan.state

        assert run(app, scenario) == {"pool": 1}

    def test_task_has_a_name(self):
        names = []

        async def app(scope, receive, send):
            names.append(asyncio.current_task().get_name())

        run(app, whole_life)
        assert names == ["daphne_clone lifespan"]

    def test_unknown_mode_is_refused(self):
        with pytest.raises(ConfigurationError, match="--lifespan"):
            run(returns, whole_life, mode="maybe")


class TestModeOff:
    def test_application_is_never_called(self):
        app = Recorder()
        assert run(app, whole_life, mode="off") is True
        assert app.scope is None


class TestStartup:
    @pytest.mark.parametrize("mode", ["auto", "on"])
    def test_both_events_are_sent_in_order(self, mode, log):
        app = Recorder()
        assert run(app, whole_life, mode) is True
        assert app.events == [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
        assert levels(log) == []

    def test_startup_waits_for_the_answer(self):
        ready = asyncio.Event()

        async def app(scope, receive, send):
            await receive()
            await ready.wait()
            await send({"type": "lifespan.startup.complete"})

        async def scenario(lifespan):
            starting = asyncio.ensure_future(lifespan.startup())
            await asyncio.sleep(0.01)
            assert not starting.done()
            ready.set()
            await starting

        run(app, scenario)

    def test_application_may_answer_before_it_receives(self):
        async def app(scope, receive, send):
            await send({"type": "lifespan.startup.complete"})

        assert run(app, whole_life, mode="on") is True

    @pytest.mark.parametrize("mode", ["auto", "on"])
    @pytest.mark.parametrize("then", [None, RuntimeError("again")])
    def test_failure_raises_with_the_applications_message(self, mode, then, log):
        app = answering({"type": "lifespan.startup.failed", "message": "no database"}, then=then)
        with pytest.raises(LifespanFailed, match="no database"):
            run(app, whole_life, mode)
        assert levels(log) == []  # the caller logs it

    @pytest.mark.parametrize("message", [{}, {"message": ""}])
    def test_failure_without_message_says_so(self, message):
        with pytest.raises(LifespanFailed, match="no reason"):
            run(answering({"type": "lifespan.startup.failed", **message}), whole_life)

    def test_application_that_stays_after_its_failure_is_ended(self):
        async def app(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no"})
            await receive()

        async def scenario(lifespan):
            with pytest.raises(LifespanFailed):
                await lifespan.startup()
            assert asyncio.all_tasks() == {asyncio.current_task()}

        run(app, scenario)

    def test_slow_startup_is_mentioned(self, monkeypatch, log):
        monkeypatch.setattr(lifespan_module, "_SLOW_STARTUP_S", 0.01)

        async def app(scope, receive, send):
            await receive()
            while not log.records:
                await asyncio.sleep(0)
            await send({"type": "lifespan.startup.complete"})

        run(app, whole_life)
        assert levels(log) == ["WARNING"]

    def test_cancelled_startup_ends_the_application(self):
        ended = []

        async def app(scope, receive, send):
            await receive()
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(True)

        async def scenario(lifespan):
            starting = asyncio.ensure_future(lifespan.startup())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting
            assert ended == [True]
            assert await lifespan.shutdown() is True

        run(app, scenario)


class TestAuto:
    @pytest.mark.parametrize("app", [raises_on_scope, returns, hello])
    def test_unsupported_lifespan_is_quiet(self, app, log):
        assert run(app, whole_life) is True
        assert levels(log) == []

    def test_error_in_the_startup_is_visible(self, log):
        assert run(raises_in_startup, whole_life) is True
        assert levels(log) == ["WARNING"]
        assert "no database" in log.text

    def test_misspelt_answer_is_visible(self, log):
        assert run(answering({"type": "lifespan.startup.completed"}), whole_life) is True
        assert levels(log) == ["WARNING"]


class TestOn:
    @pytest.mark.parametrize("app", [raises_on_scope, raises_in_startup, hello])
    def test_exception_is_chained(self, app):
        with pytest.raises(LifespanFailed) as caught:
            run(app, whole_life, mode="on")
        assert isinstance(caught.value.__cause__, (ValueError, ZeroDivisionError))

    def test_returning_is_a_failure(self):
        with pytest.raises(LifespanFailed, match="without answering"):
            run(returns, whole_life, mode="on")


class TestSend:
    @pytest.mark.parametrize(
        "message",
        [
            {"type": "lifespan.startup.completed"},
            {"type": "http.response.start"},
            {"type": "lifespan.shutdown.complete"},
            {"type": "lifespan.shutdown.failed"},
            {"type": None},
            {},
            {"type": "lifespan.startup.failed", "message": b"bytes"},
        ],
    )
    def test_wrong_message_raises_from_send(self, message):
        caught = []

        async def app(scope, receive, send):
            await receive()
            with pytest.raises(ApplicationProtocolError) as error:
                await send(message)
            caught.append(error.value)
            await send({"type": "lifespan.startup.complete"})

        run(app, whole_life, mode="on")
        assert len(caught) == 1

    @pytest.mark.parametrize(
        "second", ["lifespan.startup.complete", "lifespan.startup.failed", "lifespan.shutdown.complete"]
    )
    def test_message_out_of_order_raises(self, second):
        async def app(scope, receive, send):
            await send({"type": "lifespan.startup.complete"})
            with pytest.raises(ApplicationProtocolError, match="out of order"):
                await send({"type": second})

        assert run(app, whole_life, mode="on") is True

    def test_error_is_a_value_error(self):
        async def app(scope, receive, send):
            with pytest.raises(ValueError, match="nonsense"):
                await send({"type": "nonsense"})

        run(app, whole_life)


class TestReceive:
    def test_receive_after_shutdown_blocks_until_cancelled(self):
        cancelled = []

        async def app(scope, receive, send):
            while True:
                event = await receive_noting_cancellation(receive)
                await send({"type": event["type"] + ".complete"})

        async def receive_noting_cancellation(receive):
            try:
                return await receive()
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

        assert run(app, whole_life) is True
        assert cancelled == [True]

    def test_shutdown_is_there_after_a_receive_that_was_given_up(self):
        async def app(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.complete"})
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(receive(), 0.01)
            event = await receive()
            await send({"type": event["type"] + ".complete"})

        async def scenario(lifespan):
            await lifespan.startup()
            await asyncio.sleep(0.02)
            return await lifespan.shutdown(1.0)

        assert run(app, scenario, mode="on") is True


class TestShutdown:
    def test_failure_is_logged_and_returned(self, log):
        app = answering(
            {"type": "lifespan.startup.complete"},
            {"type": "lifespan.shutdown.failed", "message": "pool is stuck"},
            then=RuntimeError("once more"),
        )
        assert run(app, whole_life) is False
        assert levels(log) == ["ERROR"]
        assert "pool is stuck" in log.text

    def test_exception_is_logged_and_returned(self, log):
        async def app(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            raise ZeroDivisionError("in shutdown")

        assert run(app, whole_life) is False
        assert levels(log) == ["ERROR"]
        assert "in shutdown" in log.text

    def test_return_without_an_answer_is_tolerated(self, log):
        async def app(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()

        assert run(app, whole_life) is True
        assert levels(log) == []

    def test_exception_after_complete_is_logged(self, log):
        app = answering(
            {"type": "lifespan.startup.complete"},
            {"type": "lifespan.shutdown.complete"},
            then=ZeroDivisionError("late"),
        )
        assert run(app, whole_life) is False
        assert levels(log) == ["ERROR"]

    def test_no_answer_in_time_is_a_failure(self, log):
        async def app(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await asyncio.sleep(60)

        async def scenario(lifespan):
            await lifespan.startup()
            assert await lifespan.shutdown(0.01) is False
            return await lifespan.shutdown(0.01)

        assert run(app, scenario) is False
        assert levels(log) == ["ERROR"]

    def test_second_call_sends_nothing(self):
        app = Recorder()

        async def scenario(lifespan):
            await lifespan.startup()
            return await asyncio.gather(lifespan.shutdown(), lifespan.shutdown()), await lifespan.shutdown()

        assert run(app, scenario) == ([True, True], True)
        assert [event["type"] for event in app.events] == ["lifespan.startup", "lifespan.shutdown"]

    def test_before_startup_there_is_nothing_to_do(self):
        async def scenario(lifespan):
            return await lifespan.shutdown()

        assert run(Recorder(), scenario) is True

    def test_cancelled_shutdown_ends_the_application(self):
        async def app(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await asyncio.sleep(60)

        async def scenario(lifespan):
            await lifespan.startup()
            stopping = asyncio.ensure_future(lifespan.shutdown())
            await asyncio.sleep(0)
            stopping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await stopping

        run(app, scenario)

    def test_application_that_does_not_return_is_cancelled(self, short_grace):
        async def app(scope, receive, send):
            await answering({"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"})(
                scope, receive, send
            )
            await asyncio.sleep(60)

        assert run(app, whole_life) is True

    def test_application_that_ignores_its_cancellation_is_named(self, short_grace, log):
        release = asyncio.Event()

        async def app(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.complete"})
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        async def scenario(lifespan):
            await lifespan.startup()
            result = await lifespan.shutdown(0.01)
            release.set()
            while len(asyncio.all_tasks()) > 1:
                await asyncio.sleep(0)
            return result

        assert run(app, scenario) is False
        assert "ignores its cancellation" in log.text


class TestDeathWhileServing:
    def test_exception_is_logged_when_it_happens(self, log):
        async def app(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.complete"})
            raise ZeroDivisionError("background job")

        async def scenario(lifespan):
            await lifespan.startup()
            while not log.records:
                await asyncio.sleep(0)
            assert levels(log) == ["ERROR"]
            assert "background job" in log.text
            return await lifespan.shutdown()

        assert run(app, scenario) is False
        assert levels(log) == ["ERROR"]

    def test_unasked_shutdown_failure_is_logged_once(self, log):
        async def app(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.failed", "message": "task group broke"})
            raise ZeroDivisionError("task group broke")

        async def scenario(lifespan):
            await lifespan.startup()
            while not levels(log):
                await asyncio.sleep(0)
            return await lifespan.shutdown()

        assert run(app, scenario) is False
        assert levels(log) == ["ERROR"]
        assert "while serving: task group broke" in log.text

    def test_return_is_tolerated(self, log):
        assert run(answering({"type": "lifespan.startup.complete"}), whole_life) is True
        assert levels(log) == []


class TestLoop:
    def test_loop_closed_without_shutdown_loses_no_task(self, log):
        async def main():
            await Lifespan(Recorder(), "auto", asyncio.get_running_loop()).startup()

        asyncio.run(main())
        gc.collect()
        assert "destroyed" not in log.text
        assert levels(log) == []

    def test_frameworks_take_part(self, log):
        starlette = pytest.importorskip("starlette.applications")
        seen = []

        async def context(app):
            seen.append("up")
            yield {"answer": 42}
            seen.append("down")

        async def scenario(lifespan):
            await lifespan.startup()
            assert lifespan.state == {"answer": 42}
            return await lifespan.shutdown(1.0)

        app = starlette.Starlette(lifespan=contextlib.asynccontextmanager(context))
        assert run(app, scenario, mode="on") is True
        assert seen == ["up", "down"]
        assert levels(log) == []
