"""daphne_clone.reactor: a process has one global reactor, so what installs it runs in a process of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap

import pytest
import uvloop

from daphne_clone.reactor import for_running_loop, loop_of

LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.SelectorEventLoop}


@pytest.fixture(params=LOOPS)
def kind(request):
    return request.param


def in_new_process(script: str, *arguments: str, **environment: str) -> str:
    """Run a script with warnings as errors; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# Installing


def test_the_reactor_is_installed_once_on_the_loop_asked_for(kind):
    printed = in_new_process(
        """
        import asyncio, sys
        from daphne_clone.reactor import install, loop_of
        reactor = install(sys.argv[1])
        from twisted.internet import reactor as the_global
        assert the_global is reactor and install("auto") is reactor and install("asyncio") is reactor
        assert asyncio.get_event_loop_policy().get_event_loop() is loop_of(reactor) if sys.version_info < (3, 14) \
            else asyncio.get_event_loop() is loop_of(reactor)
        print(type(loop_of(reactor)).__module__.split(".")[0])
        """,
        kind,
    )
    assert printed.strip() == kind


def test_auto_is_uvloop_where_it_can_be_imported():
    script = """
        import sys
        sys.modules.update(dict.fromkeys(sys.argv[1:]))
        from daphne_clone.reactor import install, loop_of
        print(type(loop_of(install())).__module__.split(".")[0])
    """
    assert in_new_process(script).strip() == "uvloop"
    assert in_new_process(script, "uvloop").strip() == "asyncio"


def test_a_loop_that_cannot_be_had_is_refused():
    printed = in_new_process(
        """
        import sys
        sys.modules["uvloop"] = None
        from daphne_clone.errors import ConfigurationError
        from daphne_clone.reactor import install
        for loop in ("uvloop", "trio"):
            try:
                install(loop)
            except ConfigurationError as error:
                print(error)
        assert "twisted.internet.reactor" not in sys.modules
        """
    )
    assert printed.splitlines() == [
        "--loop: 'uvloop' cannot be used; expected auto or asyncio, as uvloop cannot be imported",
        "--loop: 'trio' cannot be used; expected auto, uvloop or asyncio",
    ]


def test_a_reactor_of_another_kind_is_replaced_with_a_warning():
    in_new_process(
        """
        import warnings
        from twisted.internet import selectreactor
        selectreactor.install()
        from twisted.internet import reactor as former
        from daphne_clone.reactor import install
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            reactor = install()
        assert [warning.category for warning in caught] == [UserWarning], caught
        assert "SelectReactor was installed before" in str(caught[0].message)
        assert caught[0].filename == "<string>"
        from twisted.internet import reactor as present
        assert present is reactor and present is not former
        """
    )


def test_an_asyncio_reactor_of_somebody_elses_is_kept():
    in_new_process(
        """
        from twisted.internet import asyncioreactor
        asyncioreactor.install()
        from twisted.internet import reactor as theirs
        from daphne_clone.reactor import install
        assert install() is theirs
        """
    )


def test_asgi_threads_sizes_the_executor(kind):
    script = """
        import asyncio, sys, threading
        from daphne_clone.reactor import install, loop_of
        loop = loop_of(install(sys.argv[1]))
        meeting = threading.Barrier(4)  # three threads of the executor, and us

        async def main():
            working = [loop.run_in_executor(None, meeting.wait) for _ in range(3)]
            await asyncio.sleep(0.02)
            late = loop.run_in_executor(None, print, "a fourth has to wait")
            await asyncio.sleep(0.02)
            print("three are busy")
            meeting.wait(10)
            await asyncio.gather(late, *working)

        loop.run_until_complete(main())
    """
    assert in_new_process(script, kind, ASGI_THREADS="3").splitlines() == ["three are busy", "a fourth has to wait"]


def test_asgi_threads_that_are_no_number_are_refused():
    script = """
        import os, sys
        from daphne_clone.errors import ConfigurationError
        from daphne_clone.reactor import install
        for value in ("0", "-1", "many", "1_0"):
            os.environ["ASGI_THREADS"] = value
            try:
                install()
            except ConfigurationError as error:
                print(error)
    """
    assert in_new_process(script).splitlines() == [
        f"ASGI_THREADS: {value!r} cannot be used; expected a number of threads, 1 or more"
        for value in ("0", "-1", "many", "1_0")
    ]


# Running


RUN = """
    import os, signal, sys
    from daphne_clone.reactor import install, loop_of
    reactor = install(sys.argv[1])
    from twisted.internet import defer, threads

    def before():
        done = defer.Deferred()
        reactor.callLater(0.01, done.callback, None)
        return done.addCallback(lambda _: print("before shutdown"))

    reactor.addSystemEventTrigger("before", "shutdown", before)
    reactor.addSystemEventTrigger("after", "shutdown", print, "after shutdown")
    watchdog = reactor.callLater(10, os._exit, 3)
    work = lambda: threads.deferToThread(print, "in a thread").addCallback(lambda _: end())
"""


def test_timers_threads_and_triggers_work_without_signal_handlers(kind):
    script = (
        RUN
        + """
    end = reactor.stop
    reactor.callLater(0.01, work)
    reactor.run(installSignalHandlers=False)
    """
    )
    assert in_new_process(script, kind).splitlines() == ["in a thread", "before shutdown", "after shutdown"]


@pytest.mark.parametrize("handlers", ["", "1"])
def test_a_signal_handler_of_the_loops_works_beside_the_reactor(kind, handlers):
    script = (
        RUN
        + """
    end = lambda: os.kill(os.getpid(), signal.SIGTERM)
    caught = lambda: (print("caught"), reactor.stop())
    reactor.callWhenRunning(lambda: loop_of(reactor).add_signal_handler(signal.SIGTERM, caught))
    reactor.callLater(0.01, work)
    reactor.run(installSignalHandlers=bool(sys.argv[2]))
    """
    )
    printed = in_new_process(script, kind, handlers).splitlines()
    assert printed == ["in a thread", "caught", "before shutdown", "after shutdown"]


@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM"])
def test_the_reactors_own_signal_handlers_stop_it(kind, signal):
    script = (
        RUN
        + """
    end = lambda: os.kill(os.getpid(), getattr(signal, sys.argv[2]))
    reactor.callLater(0.01, work)
    reactor.run(installSignalHandlers=True)
    """
    )
    printed = in_new_process(script, kind, signal).splitlines()
    assert printed[:3] == ["in a thread", "before shutdown", "after shutdown"]


# On somebody else's loop


def test_a_guest_reactor_works_and_leaves_the_loop_running(kind):
    from twisted.internet import threads

    async def scenario():
        loop = asyncio.get_running_loop()
        descriptors = len(os.listdir("/dev/fd"))
        reactor = for_running_loop(loop)
        assert loop_of(reactor) is loop
        assert reactor.running
        fired = loop.create_future()
        reactor.callLater(0.01, fired.set_result, "timer")
        assert await asyncio.wait_for(fired, 5) == "timer"
        from_thread = loop.create_future()
        await asyncio.to_thread(reactor.callFromThread, from_thread.set_result, "thread")
        assert await asyncio.wait_for(from_thread, 5) == "thread"
        in_pool = threads.deferToThreadPool(reactor, reactor.getThreadPool(), lambda: "pool")
        assert await asyncio.wait_for(in_pool.asFuture(loop), 5) == "pool"
        stopped = loop.create_future()
        reactor.addSystemEventTrigger("after", "shutdown", stopped.set_result, "stopped")
        reactor.stop()
        assert await asyncio.wait_for(stopped, 5) == "stopped"
        await asyncio.sleep(0.01)
        reactor.release()
        assert not reactor.running
        assert len(os.listdir("/dev/fd")) == descriptors

    with asyncio.Runner(loop_factory=LOOPS[kind]) as runner:
        runner.run(scenario())


def test_a_guest_reactor_is_not_the_global_one(kind):
    in_new_process(
        """
        import asyncio, sys
        from daphne_clone.reactor import for_running_loop

        async def main():
            reactor = for_running_loop(asyncio.get_running_loop())
            assert "twisted.internet.reactor" not in sys.modules
            reactor.stop()
            await asyncio.sleep(0.01)
            reactor.release()

        asyncio.run(main())
        """
    )
