"""Options whose effect is on what clients see, and the server as a part of other programs: run() and serve()."""

from __future__ import annotations

import json
import os
import re
import signal
import textwrap
from pathlib import Path

import pytest

from tests.support.http1 import Client, Connection, head
from tests.support.server_process import ServerProcess


def answer_of(*options):
    with ServerProcess(options=options) as server:
        return Client(server.address).request("/hello/x"), server


# Responses


def test_server_and_date_are_there_by_default():
    response, _ = answer_of()
    assert response.all(b"server") == [b"daphne"]
    assert len(response.all(b"date")) == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["-s", "mine/1.0"], [b"mine/1.0"]),
        (["--server-name", ""], []),
        (["--no-server-name"], []),
    ],
)
def test_server_name_is_that_of_the_option(options, expected):
    response, _ = answer_of(*options)
    assert response.all(b"server") == expected


def test_no_date_header_holds_for_every_answer():
    with ServerProcess(options=["--no-date-header"]) as server:
        client = Client(server.address)
        assert client.request("/hello/x").all(b"date") == []
        assert client.request("/script/x?['fail']").all(b"date") == []
        with Connection(server.address) as connection:
            connection.send(b"BROKEN\r\n\r\n")
            response = connection.read_response()
            assert (response.status, response.all(b"date")) == (400, [])


def test_headers_of_the_options_are_on_every_answer():
    options = ["--header", "X-One: 1", "--header", "X-Two: a, b"]
    with ServerProcess(options=options) as server:
        for target in ("/hello/x", "/missing/x", "/script/x?['fail']"):
            response = Client(server.address).request(target)
            assert (response.all(b"x-one"), response.all(b"x-two")) == ([b"1"], [b"a, b"])
        with Connection(server.address) as connection:
            connection.send(b"BROKEN\r\n\r\n")
            assert connection.read_response().all(b"x-one") == [b"1"]


# Where options come from


def test_environment_is_read_and_the_command_line_wins():
    with ServerProcess(environment={"DAPHNE_CLONE_SERVER_NAME": "environment"}) as server:
        assert Client(server.address).request("/hello/x").all(b"server") == [b"environment"]
    with ServerProcess(options=["-s", "line"], environment={"DAPHNE_CLONE_SERVER_NAME": "environment"}) as server:
        assert Client(server.address).request("/hello/x").all(b"server") == [b"line"]


def test_config_file_is_read(tmp_path: Path):
    file = tmp_path / "server.toml"
    file.write_text('server-name = "file"\nlimit-request-line = 60\n')
    with ServerProcess(options=["-c", str(file)]) as server:
        assert Client(server.address).request("/hello/x").all(b"server") == [b"file"]
        assert Client(server.address).request("/hello/" + "x" * 60).status == 414


def test_wrong_value_is_exit_status_2_and_names_option_value_and_what_is_allowed():
    with ServerProcess(options=["--timeout-keep-alive", "soon"], wait=False) as server:
        assert server.wait() == 2
        assert re.search("--timeout-keep-alive.*soon.*expected", server.log)


# The access log


def test_access_log_is_written_by_default_and_names_the_client():
    with ServerProcess() as server, Connection(server.address) as connection:
        client = "{}:{}".format(*connection.socket.getsockname())
        connection.send(head("/hello/x?q=1"))
        assert connection.read_response().status == 200
        server.wait_for_log(rf'{client} - - \[.*\] "GET /hello/x\?q=1" 200 5')


def test_no_access_log_writes_none():
    with ServerProcess(options=["--no-access-log"]) as server:
        Client(server.address).request("/hello/x")
        assert server.stop() == 0
        assert "/hello/x" not in server.log


def test_access_log_goes_to_a_file_in_the_form_asked_for(tmp_path: Path):
    file = tmp_path / "access.log"
    with ServerProcess(options=["--access-log", str(file), "--access-log-format", "json"]) as server:
        Client(server.address).request("/echo/x", method=b"POST", body=b"four")
        assert server.stop() == 0
        assert "/echo/x" not in server.log
    [line] = file.read_text().splitlines()
    entry = json.loads(line)
    assert {"POST", "/echo/x", 200, 4} <= {value for value in entry.values() if isinstance(value, str | int)}


def test_refused_requests_are_no_access_log_entries_that_lie():
    with ServerProcess() as server:
        with Connection(server.address) as connection:
            connection.send(b"GET /hello/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            assert connection.read_response().status == 400
        assert server.stop() == 0
        assert '" 200 ' not in server.log


# From Python


def embedded(script, **more):
    """A server in a program of its own, which has ``app`` and ``plain`` to serve."""
    prelude = """
        import asyncio, sys
        import daphne_clone
        from apps import application as app
        async def plain(scope, receive, send):
            assert scope["type"] == "http"
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"plain"})
    """
    return ServerProcess(program=["-c", textwrap.dedent(prelude) + textwrap.dedent(script)], **more)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=lambda signum: signum.name)
def test_run_serves_until_a_signal_and_returns_the_status(signum):
    with embedded("print('returned', daphne_clone.run(app, port=0, server_name='embedded'))") as server:
        response = Client(server.address).request("/hello/x")
        assert (response.body, response.all(b"server")) == (b"hello", [b"embedded"])
        assert server.stop(signum) == 0
        assert "app: shutdown" in server.log
        assert "returned 0" in server.log


def test_run_takes_a_path():
    with embedded("daphne_clone.run('apps:application', port=0, app_dir='tests/support')") as server:
        assert Client(server.address).request("/hello/x").body == b"hello"


def test_run_takes_a_factory():
    with embedded("daphne_clone.run(lambda: plain, factory=True, port=0)") as server:
        assert Client(server.address).request("/").body == b"plain"


def test_run_returns_the_status_of_a_failed_start():
    script = """
        from lifespan_apps import refusing
        sys.exit(daphne_clone.run(refusing, port=0))
    """
    with embedded(script, wait=False) as server:
        assert server.wait() == 3


def test_run_raises_for_an_unknown_option():
    script = """
        from daphne_clone.errors import ConfigurationError
        try:
            daphne_clone.run(app, timeout_keep_alife=1)
        except ConfigurationError as error:
            print("raised", error)
    """
    with embedded(script, wait=False) as server:
        assert server.wait() == 0
        assert re.search("raised timeout_keep_alife.*timeout_keep_alive", server.log)


SERVE = """
    import logging
    logging.basicConfig(level="INFO", stream=sys.stderr)
    LOOPS = {"asyncio": asyncio.SelectorEventLoop}
    try:
        import uvloop
        LOOPS["uvloop"] = uvloop.new_event_loop
    except ImportError:
        pass

    async def main():
        told = asyncio.Event()
        before = asyncio.all_tasks()
        async def other_work():
            while not told.is_set():
                line = await asyncio.to_thread(open, sys.argv[1])
                line.close()
                told.set()
        work = asyncio.create_task(other_work())
        await daphne_clone.serve(app, shutdown_trigger=told.wait, port=0, timeout_graceful_shutdown=1)
        await work
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - before
        print("returned; tasks left:", len(left))

    with asyncio.Runner(loop_factory=LOOPS[sys.argv[2]]) as runner:
        runner.run(main())
    print("the loop was closed by its owner")
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_serve_runs_inside_a_loop_until_the_trigger_and_leaves_the_loop_alone(tmp_path: Path, loop):
    if loop == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not installed")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    script = textwrap.dedent(SERVE)
    program = ["-c", "import asyncio, sys\nimport daphne_clone\nfrom apps import application as app\n" + script]
    with ServerProcess(program=[*program, str(fifo), loop]) as server:
        with Connection(server.address) as idle:
            idle.send(head("/hello/x"))
            assert idle.read_response().body == b"hello"
            fifo.write_bytes(b"")  # opens it for writing: the trigger
            assert idle.is_closed()
        assert server.wait() == 0
        assert "app: shutdown" in server.log
        assert "returned; tasks left: 0" in server.log
        assert "the loop was closed by its owner" in server.log
        assert "Traceback" not in server.log


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=lambda signum: signum.name)
def test_serve_without_a_trigger_stops_on_a_signal(signum):
    script = """
        import logging
        logging.basicConfig(level="INFO", stream=sys.stderr)
        asyncio.run(daphne_clone.serve(app, port=0))
        print("returned")
    """
    with embedded(script) as server:
        assert Client(server.address).request("/hello/x").body == b"hello"
        assert server.stop(signum) == 0
        assert "app: shutdown" in server.log and "returned" in server.log


def test_serve_that_is_cancelled_stops_gracefully():
    script = """
        import logging
        logging.basicConfig(level="INFO", stream=sys.stderr)
        async def main():
            listening = asyncio.Event()
            class Listening(logging.Handler):
                def emit(self, record):
                    if "Listening" in record.getMessage():
                        listening.set()
            logging.getLogger().addHandler(Listening())
            task = asyncio.create_task(daphne_clone.serve(app, port=0, shutdown_trigger=asyncio.Event().wait))
            await listening.wait()
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                print("cancelled")
        asyncio.run(main())
    """
    with embedded(script) as server:
        assert server.wait() == 0
        assert "app: shutdown" in server.log and "cancelled" in server.log


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("daphne_clone.serve(app, endpoints=['nonsense:1'])", "ListenError"),
        ("daphne_clone.serve(refusing, port=0)", "LifespanFailed"),
        ("daphne_clone.serve(app, loop='uvloop')", "ConfigurationError"),
        ("daphne_clone.serve('apps:missing')", "ApplicationLoadError"),
    ],
)
def test_serve_raises_what_is_wrong(call, error):
    script = f"""
        from daphne_clone import errors
        from lifespan_apps import refusing
        try:
            asyncio.run({call})
        except errors.{error} as error:
            print("raised", type(error).__name__)
    """
    with embedded(script, wait=False) as server:
        assert server.wait() == 0, server.log
        assert f"raised {error}" in server.log


def test_package_imports_nothing_heavy():
    program = ["-c", "import sys, daphne_clone; print(sorted({'twisted', 'asyncio', 'uvloop'} & set(sys.modules)))"]
    with ServerProcess(program=program, wait=False) as server:
        assert server.wait() == 0
        assert server.log.strip() == "[]"
