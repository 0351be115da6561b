"""daphne_clone.service: the server under a parent, in a reactor that a program of ours runs; tests/process has twistd.

Scripts run where `app` and a few helpers are defined (PRELUDE), and print what their test looks at.
"""

from __future__ import annotations

import ast
import logging
import os
import signal
import sys
import textwrap
from pathlib import Path

import pytest
from twisted.logger import LogLevel, globalLogPublisher

from daphne_clone.errors import ConfigurationError
from daphne_clone.service import ASGIService, _Signals, _TwistedHandler, asyncio_reactor
from tests.support.server_process import ServerProcess

ROOT = Path(__file__).resolve().parent.parent

PRELUDE = '''
import asyncio, http.client, socket, sys, threading
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.threads import deferToThread
from daphne_clone.service import ASGIService, asyncio_reactor

reactor = asyncio_reactor()
events = []

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            events.append(step)
            await send({"type": f"lifespan.{step}.complete"})
    else:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"served"})

with socket.create_server(("127.0.0.1", 0)) as chosen:
    PORT = chosen.getsockname()[1]

def get():
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read()
    except ConnectionRefusedError:
        return "refused"
    finally:
        connection.close()

def is_free():
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError:
            return False
    return True

async def listens():
    while await deferToThread(get) == "refused":
        await deferToThread(threading.Event().wait, 0.02)

def run(main):
    """Run the reactor until a coroutine of Twisted's ends."""
    deferred = None
    def start():
        ensureDeferred(main()).addErrback(lambda failure: failure.printTraceback()).addBoth(lambda _: stop())
    def stop():
        if reactor.running:
            reactor.stop()
    reactor.callWhenRunning(start)
    reactor.run()
'''


def run(script: str, status: int = 0) -> str:
    program = ["-W", "error", "-c", PRELUDE + textwrap.dedent(script)]
    with ServerProcess(program=program, wait=False) as process:
        assert process.wait() == status, process.log
        return process.log


def printed(script: str) -> object:
    log = run(script)
    assert "Traceback" not in log, log
    return ast.literal_eval(log.strip().splitlines()[-1])


# Its life


def test_service_binds_when_it_starts_and_serves_when_the_reactor_runs():
    script = """
        service = ASGIService(app, port=PORT)
        seen = [is_free()]
        service.startService()
        seen += [is_free(), get(), list(events)]

        async def main():
            await listens()
            seen.extend([service.running, await deferToThread(get), list(events)])
            await service.stopService()
            seen.extend([service.running, await deferToThread(get), list(events), service.server])

        run(main)
        print(seen)
    """
    before = [True, False, "refused", []]
    assert printed(script) == [*before, 1, b"served", ["startup"], 0, "refused", ["startup", "shutdown"], None]


def test_service_can_be_added_to_a_parent_that_runs_and_started_again():
    script = """
        parent = MultiService()
        parent.startService()
        service = ASGIService(app, port=PORT)
        seen = []

        async def main():
            service.setServiceParent(parent)
            for _ in range(2):
                await listens()
                seen.append(await deferToThread(get))
                await service.stopService()
                seen.append(await deferToThread(get))
                service.startService()
            await listens()
            await parent.stopService()
            seen.append(await deferToThread(get))

        run(main)
        print([*seen, events])
    """
    once = [b"served", "refused"]
    assert printed(script) == [*once, *once, "refused", ["startup", "shutdown"] * 3]


def test_service_that_stops_before_the_reactor_runs_lets_go_of_its_port():
    script = """
        service = ASGIService(app, port=PORT)
        service.privilegedStartService()
        service.startService()
        result = service.stopService()
        seen = [result, is_free()]

        async def main():
            seen.append(await deferToThread(get))

        run(main)
        print([*seen, events])
    """
    assert printed(script) == [None, True, "refused", []]


def test_service_started_twice_before_the_reactor_runs_serves_once():
    script = """
        service = ASGIService(app, port=PORT)
        service.startService()
        service.stopService()
        service.startService()

        async def main():
            await listens()
            await service.stopService()

        run(main)
        print(events)
    """
    assert printed(script) == ["startup", "shutdown"]


def test_service_that_stops_during_the_startup_waits_for_nothing():
    script = """
        started = asyncio.Event()

        async def slow(scope, receive, send):
            await receive()
            started.set()
            await asyncio.Event().wait()

        service = ASGIService(slow, port=PORT)
        service.startService()

        async def main():
            from daphne_clone.reactor import loop_of
            await Deferred.fromFuture(asyncio.ensure_future(started.wait(), loop=loop_of(reactor)))
            await service.stopService()

        run(main)
        print([is_free(), service.running])
    """
    assert printed(script) == [True, 0]


def test_application_that_cannot_be_loaded_leaves_the_service_stopped_and_its_port_free():
    script = """
        from daphne_clone.errors import ApplicationLoadError
        service = ASGIService("apps:missing", port=PORT)
        try:
            service.startService()
        except ApplicationLoadError:
            print([service.running, is_free(), service.server])
    """
    assert printed(script) == [0, True, None]


def test_port_in_use_raises_where_the_service_starts():
    script = """
        from daphne_clone.errors import ListenError
        service = ASGIService(app, port=PORT)
        with socket.create_server(("127.0.0.1", PORT)):
            for start in (service.privilegedStartService, service.startService):
                try:
                    start()
                except ListenError as error:
                    events.append("address already in use" in str(error))
        service.startService()
        service.stopService()
        print([*events, service.running])
    """
    assert printed(script) == [True, True, 0]


REFUSING = """
    async def refusing(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "not today"})

    import atexit
    atexit.register(print, "registered before")
"""


def test_startup_that_fails_stops_the_reactor_and_is_the_exit_status():
    script = """
        service = ASGIService(refusing, port=PORT)
        service.startService()
        reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
        reactor.run()
        print("ran")
    """
    log = run(textwrap.dedent(REFUSING) + textwrap.dedent(script), status=3)
    assert "not today" in log
    assert log.endswith("ran\nregistered before\n")  # others' exit functions have their turn


def test_subclass_may_go_on_without_a_service_that_failed_to_start():
    script = """
        class Optional(ASGIService):
            def start_failed(self, status):
                events.append(status)

        service = Optional(refusing, port=PORT)
        service.startService()

        async def main():
            while not events:
                await deferToThread(threading.Event().wait, 0.02)
            await service.stopService()
            events.append(is_free())

        run(main)
        print(events)
    """
    log = run(textwrap.dedent(REFUSING) + textwrap.dedent(script))
    assert log.endswith("[3, True]\nregistered before\n")


def test_stop_that_fails_is_told():
    script = """
        service = ASGIService(app, port=PORT)
        service.startService()

        async def main():
            await listens()
            close = service.server.listeners[0].stopListening
            def fail():
                close()
                raise OSError("cannot let go")
            service.server.listeners[0].stopListening = fail
            await service.stopService()

        from twisted.logger import globalLogBeginner, textFileLogObserver
        globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
        run(main)
    """
    log = run(script)
    assert "The stop failed" in log
    assert "cannot let go" in log


# What it needs


def test_options_that_cannot_be_used_are_refused_when_the_service_is_made():
    script = """
        from daphne_clone.errors import ConfigurationError
        for options in ({"port": "x"}, {"no_such_option": 1}):
            try:
                ASGIService(app, **options)
            except ConfigurationError as error:
                events.append(error.option)
        print(events)
    """
    assert printed(script) == ["port", "no_such_option"]


class OtherReactor:
    """Stands for any reactor that is not on asyncio."""


def test_other_reactor_is_refused_and_stays(monkeypatch):
    other = OtherReactor()
    monkeypatch.setitem(sys.modules, "twisted.internet.reactor", other)
    with pytest.raises(ConfigurationError, match="'OtherReactor' cannot be used; expected the one on asyncio"):
        ASGIService("apps:application")
    with pytest.raises(ConfigurationError, match="name no reactor"):
        asyncio_reactor()
    assert sys.modules["twisted.internet.reactor"] is other


def test_loop_asked_for_is_held_against_the_reactor_that_is_there():
    script = """
        from daphne_clone.errors import ConfigurationError
        from daphne_clone.reactor import loop_of
        name = type(loop_of(reactor)).__module__.partition(".")[0]
        other = {"uvloop": "asyncio", "asyncio": "uvloop"}[name]
        try:
            asyncio_reactor(other)
        except ConfigurationError as error:
            print(repr([asyncio_reactor(name) is asyncio_reactor("auto"), error.option]))
    """
    assert printed(script) == [True, "--loop"]


def test_service_is_one_to_twisted():
    script = """
        from twisted.application.service import IService
        from zope.interface.verify import verifyObject
        print(verifyObject(IService, ASGIService(app)))
    """
    assert printed(script) is True


# The log


@pytest.fixture
def twisted_log():
    events = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


@pytest.fixture
def logger(request):
    logger = logging.getLogger("tests.service")
    handler = _TwistedHandler(getattr(request, "param", "%(asctime)-15s %(levelname)-8s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield logger
    logger.removeHandler(handler)
    logger.propagate = True


@pytest.mark.parametrize(
    ("level", "twisteds"),
    [
        (logging.CRITICAL, LogLevel.critical),
        (logging.ERROR, LogLevel.error),
        (logging.WARNING, LogLevel.warn),
        (logging.INFO, LogLevel.info),
        (logging.DEBUG, LogLevel.debug),
        (5, LogLevel.debug),
    ],
)
def test_record_becomes_an_event_of_its_level_and_namespace(twisted_log, logger, level, twisteds):
    logger.setLevel(1)
    logger.log(level, "with {braces} and %s", "an argument")
    (event,) = twisted_log
    assert (event["log_level"], event["log_namespace"]) == (twisteds, "tests.service")
    assert event["log_format"].format(**event) == "with {braces} and an argument"


def test_traceback_of_a_record_is_in_the_event(twisted_log, logger):
    try:
        raise LookupError("not found")
    except LookupError:
        logger.exception("it failed")
    assert twisted_log[0]["text"].startswith("it failed\nTraceback")
    assert twisted_log[0]["text"].endswith("LookupError: not found")


@pytest.mark.parametrize("logger", ["<%(levelname)s> %(message)s"], indirect=True)
def test_form_that_was_asked_for_is_the_events_text(twisted_log, logger):
    logger.info("x")
    assert twisted_log[0]["text"] == "<INFO> x"


def test_log_that_comes_back_to_logging_does_not_go_round(twisted_log, logger):
    def bridge(event):
        logger.error("again: %s", event["text"])

    globalLogPublisher.addObserver(bridge)
    try:
        logger.error("once")
    finally:
        globalLogPublisher.removeObserver(bridge)
    assert [event["text"] for event in twisted_log] == ["once"]


# Signals


def test_signals_are_taken_for_the_time_of_a_stop_only():
    before = [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)]
    calls = []
    signals = _Signals(lambda: calls.append("cut"), signal.SIGTERM, signal.SIGINT)
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert calls == ["cut", "cut"]
    finally:
        assert signals.restore("result") == "result"
    assert [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)] == before


def test_service_says_in_its_own_module_how_it_is_used(tmp_path):
    """The example in the docstring is run by twistd as it stands, but for the application and the port."""
    from daphne_clone import service

    example = textwrap.dedent(service.__doc__.split("::\n", 1)[1].split("\n\nWhat the parent", 1)[0])
    example = example.replace("mysite.asgi:application", "apps:application").replace("0.0.0.0", "127.0.0.1")
    (tmp_path / "example.tac").write_text(example.replace("port=8000", "port=0"))
    with ServerProcess(
        program=[str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=", "-y", str(tmp_path / "example.tac")]
    ) as server:
        assert server.stop() == -signal.SIGTERM
