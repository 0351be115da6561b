"""daphne_clone.testing: real servers in processes of every kind, and what is told across the border."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import traceback
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from daphne_clone import testing
from daphne_clone.errors import ApplicationProtocolError, ListenError
from daphne_clone.settings import Settings
from daphne_clone.testing import BaseDaphneTestingInstance, DaphneProcess, DaphneTestingInstance, TestApplication
from tests.support import live_apps
from tests.support.http1 import Connection, head
from tests.support.server_process import until
from tests.support.ws_client import Session, handshake

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"

OK = [{"type": "http.response.start", "status": 200}, {"type": "http.response.body", "body": b"OK"}]


@pytest.fixture
def start_method(monkeypatch):
    """Choose how processes are started, for this test."""
    before = multiprocessing.get_start_method(allow_none=True)
    yield partial(multiprocessing.set_start_method, force=True)
    multiprocessing.set_start_method(before, force=True)


@pytest.fixture(params=["fork", "forkserver", "spawn"])
def every_method(request, start_method):
    start_method(request.param)
    return request.param


@pytest.fixture
def fork(start_method):
    """The quickest, where it does not matter."""
    start_method("fork")


@pytest.fixture
def run():
    """Start a process and wait until it is ready; it is ended behind the test."""
    processes = []

    def start(*arguments, **keywords):
        process = DaphneProcess(*arguments, **keywords)
        processes.append(process)
        process.start()
        process.wait_until_ready()
        return process

    yield start
    for process in processes:
        process.end()


def get(process, path="/"):
    with urllib.request.urlopen(f"http://{HOST}:{process.port.value}{path}", timeout=5) as response:
        return response.read()


def request(instance, **more):
    """Send a request to an instance and read its response."""
    with Connection((HOST, instance.port)) as client:
        client.send(head("/", **more))
        return client.read_response()


def received(instance, count):
    """What an instance's application was given, as soon as it is that many events; results come in their own time."""
    seen = []

    def is_there():
        try:
            seen[:] = instance.get_received()
        except ValueError:
            return False
        return len(seen[1]) >= count

    until(is_there, f"{count} events")
    return seen


# DaphneProcess


def test_process_serves_and_tells_its_port(every_method, run):
    process = run("localhost", live_apps.get_hello)
    assert process.ready.is_set()
    assert process.port.value > 0
    assert get(process) == b"hello"
    assert process.errors.empty()


def test_setup_and_teardown_are_called_in_the_process_around_serving(every_method, run, tmp_path):
    notes = tmp_path / "notes"
    call = partial(partial, live_apps.note, notes)
    process = run(HOST, live_apps.get_hello, setup=call("setup"), teardown=call("teardown"))
    assert notes.read_text() == f"setup {process.pid}\n"
    process.terminate()
    process.join(5)
    assert process.exitcode == 0
    assert notes.read_text() == f"setup {process.pid}\nteardown {process.pid}\n"


def test_process_listens_on_the_port_it_is_given(fork, run):
    with socket.socket() as chosen:
        chosen.bind((HOST, 0))
        port = chosen.getsockname()[1]
    process = run(HOST, live_apps.get_hello, port=port)
    assert process.port.value == port
    assert get(process) == b"hello"


def test_arguments_of_the_server_have_their_effect(fork, run, tmp_path):
    notes = tmp_path / "notes"
    settings = Settings(headers=[("x-test", "yes")])
    ready = partial(live_apps.note, notes, "ready")
    process = run(HOST, live_apps.get_hello, {"settings": settings, "server_name": "other", "ready_callable": ready})
    with Connection((HOST, process.port.value)) as client:
        client.send(head("/"))
        response = client.read_response()
    assert (response.get(b"x-test"), response.get(b"server")) == (b"yes", b"other")
    until(notes.exists, "the caller's ready_callable")


def test_application_of_asgi_2_is_served(fork, run):
    assert get(run(HOST, live_apps.get_asgi2)) == b"two"


def refusal(*arguments, **keywords):
    """Start a process that must fail; return what it told: the exception and its traceback."""
    process = DaphneProcess(*arguments, **keywords)
    process.start()
    error, report = process.errors.get(timeout=15)
    process.join(5)
    assert not process.ready.is_set()
    assert process.exitcode == 0
    return error, report


def test_error_of_the_application_is_told(every_method):
    error, report = refusal(HOST, live_apps.get_nothing)
    assert isinstance(error, LookupError)
    assert str(error) == "no application here"
    assert "in get_nothing" in report


def test_error_of_the_setup_is_told(fork):
    error, _ = refusal(HOST, live_apps.get_hello, setup=live_apps.get_nothing)
    assert isinstance(error, LookupError)


def test_error_of_the_teardown_is_told(fork, run):
    process = run(HOST, live_apps.get_hello, teardown=live_apps.get_nothing)
    process.terminate()
    error, _ = process.errors.get(timeout=5)
    assert isinstance(error, LookupError)


def test_port_in_use_is_told(every_method):
    with socket.create_server((HOST, 0)) as taken:
        error, report = refusal(HOST, live_apps.get_hello, port=taken.getsockname()[1])
    assert isinstance(error, ListenError)
    assert "address already in use" in str(error)
    assert "Traceback" in report


def test_error_that_cannot_be_sent_is_told_in_words(fork):
    error, report = refusal(HOST, live_apps.get_oddness)
    assert type(error) is RuntimeError
    assert str(error) == "OddError: this and that"
    assert "in get_oddness" in report


def test_waiting_for_a_process_that_fails_raises_with_its_traceback(fork):
    process = DaphneProcess(HOST, live_apps.get_nothing)
    process.start()
    with pytest.raises(RuntimeError, match="(?s)did not start.*in get_nothing.*no application here") as caught:
        process.wait_until_ready()
    assert isinstance(caught.value.__cause__, LookupError)
    process.end()


def test_waiting_for_a_process_that_was_killed_raises_at_once(fork):
    process = DaphneProcess(HOST, live_apps.get_hello, setup=live_apps.end_at_once)
    begin = time.monotonic()
    process.start()
    with pytest.raises(RuntimeError, match=f"ended with status -{signal.SIGKILL:d}"):
        process.wait_until_ready(30)
    assert time.monotonic() - begin < 15
    process.end()


def test_waiting_too_long_raises(fork):
    process = DaphneProcess(HOST, live_apps.get_hello, setup=partial(time.sleep, 60))
    process.start()
    with pytest.raises(RuntimeError, match=r"did not start within 0\.2 seconds"):
        process.wait_until_ready(0.2)
    process.end()


def test_websockets_and_idle_connections_do_not_keep_a_process_from_ending(fork):
    with DaphneTestingInstance() as instance, Connection((HOST, instance.port)) as idle:
        instance.add_send_messages([{"type": "websocket.accept"}])
        with Session((HOST, instance.port)) as session:
            session.send(handshake("/"))
            session.opened()
            process = instance.process
            process.terminate()
            assert session.read_close()[0] == 1012
        assert idle.is_closed()
        process.join(3)
        assert process.exitcode == 0


@pytest.mark.parametrize("get_application", [live_apps.get_blocking, live_apps.get_holding])
def test_process_ends_whatever_the_application_does(fork, monkeypatch, run, get_application):
    monkeypatch.setattr(testing, "_STOP_S", 0.5)
    process = run(HOST, get_application)
    assert get(process) == b"now"
    process.terminate()
    process.join(5)
    assert process.exitcode == -signal.SIGALRM


def test_second_signal_ends_a_process_at_once(fork, run):
    process = run(HOST, live_apps.get_blocking)
    assert get(process) == b"now"
    until(lambda: process.terminate() or not process.is_alive(), "its end", 3)
    assert process.exitcode == -signal.SIGTERM


FORK_BESIDE_A_REACTOR = """
import asyncio, gc, multiprocessing, sys
from daphne_clone import reactor
the_reactor = reactor.install(sys.argv[1])
from daphne_clone.testing import DaphneProcess
from tests.support.live_apps import get_hello

def child():
    # No reference of ours may keep the parent's loop from being collected in the child.
    global the_reactor
    the_reactor = None
    gc.collect()

multiprocessing.set_start_method("fork")
process = DaphneProcess("127.0.0.1", get_hello, setup=child)
process.start()
process.wait_until_ready()
process.end()
print(process.exitcode, process.errors.empty())
# Only a loop whose selector still has its wake-up descriptor hears of this.
the_reactor.callLater(0, the_reactor.callInThread, the_reactor.callFromThread, the_reactor.stop)
the_reactor.callLater(3, print, "the call from a thread was not heard of before something else woke the loop")
the_reactor.run()
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_forked_process_leaves_the_loop_of_its_parent_alone(loop):
    done = subprocess.run(
        [sys.executable, "-c", FORK_BESIDE_A_REACTOR, loop],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.stdout == "0 True\n", done.stderr


def test_reinstalling_the_reactor_forgets_what_knows_another():
    script = """
        import sys
        import daphne_clone.server
        from daphne_clone.testing import _reinstall_reactor
        from twisted.internet import reactor as old
        old_server = daphne_clone.server.Server
        _reinstall_reactor()
        assert "daphne_clone.server" not in sys.modules
        from twisted.internet import reactor as new
        from daphne_clone.server import Server
        assert new is not old and Server is not old_server

        # Daphne's name for it, if it has one, is no way around that
        import daphne_clone.as_daphne
        from daphne.server import Server
        _reinstall_reactor()
        from daphne.server import Server as newest
        assert newest is not Server and newest is __import__("daphne_clone.server").server.Server
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=20, cwd=ROOT)


class OwnRun(DaphneProcess):
    """As projects have it that must do something of their own in the process: Daphne's `run`, with that put in."""

    def run(self):
        testing._reinstall_reactor()
        from twisted.internet import reactor

        from daphne_clone.endpoints import build_endpoint_description_strings
        from daphne_clone.server import Server

        application = self.get_application()
        try:
            endpoints = build_endpoint_description_strings(host=self.host, port=0)
            self.server = Server(application=application, endpoints=endpoints, signal_handlers=False, **self.kwargs)
            reactor.callLater(0.1, self.resolve_port)
            self.server.run()
        except BaseException as error:
            self.errors.put((error, traceback.format_exc()))


def test_run_may_be_overridden_after_daphnes_model(fork):
    process = OwnRun(HOST, live_apps.get_hello)
    process.start()
    try:
        process.wait_until_ready()
        assert get(process) == b"hello"
    finally:
        process.end()


# What test cases do that share a database in memory with their server.
IN_THREADS = """
import threading
import urllib.request
from daphne_clone.endpoints import build_endpoint_description_strings
from daphne_clone.server import Server
from daphne_clone.testing import _reinstall_reactor
from tests.support.live_apps import hello

class ServerThread(threading.Thread):
    def run(self):
        _reinstall_reactor()
        endpoints = build_endpoint_description_strings(host="127.0.0.1", port=0)
        self.server = Server(hello, endpoints, signal_handlers=False, ready_callable=ready.set, verbosity=0)
        self.server.run()

    def terminate(self):
        from twisted.internet import reactor
        reactor.callFromThread(reactor.stop)
        self.join(10)

for _ in range(3):
    ready = threading.Event()
    thread = ServerThread()
    thread.start()
    assert ready.wait(10)
    host, port = thread.server.listening_addresses[0]
    with urllib.request.urlopen(f"http://{host}:{port}/", timeout=5) as response:
        print(response.read().decode())
    thread.terminate()
    assert not thread.is_alive()
"""


def test_servers_may_run_in_threads_one_after_another():
    command = [sys.executable, "-W", "error", "-c", IN_THREADS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=40, check=False)
    assert done.stdout.split() == ["hello"] * 3, done.stderr
    assert "Traceback" not in done.stderr


# Daphne under its own name


ALIASED = """
import multiprocessing, sys

if __name__ == "__main__":  # a child imports this module under another name
    multiprocessing.set_start_method(sys.argv[1])
    import daphne_clone.as_daphne
    from old_code import get_application
    from daphne.testing import DaphneProcess
    process = DaphneProcess("127.0.0.1", get_application)
    process.start()
    try:
        process.wait_until_ready()
    finally:
        process.end()
    print("served")
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_what_stands_for_daphne_does_so_in_the_process_too(method, tmp_path):
    (tmp_path / "old_code.py").write_text(
        "from daphne.testing import TestApplication\n\ndef get_application():\n    return TestApplication(None)\n"
    )
    (tmp_path / "main.py").write_text(ALIASED)
    done = subprocess.run(
        [sys.executable, tmp_path / "main.py", method],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == "served\n", done.stderr


# The testing instances


def test_instance_records_scope_and_events_and_sends_what_it_is_told(every_method):
    with DaphneTestingInstance() as instance:
        instance.add_send_messages(OK)
        response = request(instance, method=b"POST", fields=[(b"Content-Length", b"0")])
        scope, events = received(instance, 2)
    assert (response.status, response.body) == (200, b"OK")
    assert response.get(b"date") is None
    assert (scope["type"], scope["method"], scope["path"]) == ("http", "POST", "/")
    assert events == [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]


def test_instance_takes_daphnes_arguments(fork):
    instance = DaphneTestingInstance(
        xff=True,
        http_timeout=0.5,
        request_buffer_size=2,
        websocket_max_message_size=10,
        websocket_max_frame_size=0,
    )
    with instance:
        assert instance.process.kwargs["websocket_max_frame_size"] == 0
        with Connection((HOST, instance.port)) as client:
            client.send(
                head("/", [(b"X-Forwarded-For", b"1.2.3.4"), (b"Content-Length", b"4")], method=b"POST") + b"body"
            )
            scope, events = received(instance, 2)
            assert client.read_response().status == 503
    assert scope["client"] == ["1.2.3.4", 0]
    assert [event["body"] for event in events[:2]] == [b"bo", b"dy"]


def test_what_was_received_before_anything_was_is_an_error(fork):
    with DaphneTestingInstance() as instance, pytest.raises(ValueError, match="has not been given any event"):
        instance.get_received()


def test_exception_of_the_application_comes_out_where_its_results_are_asked_for(fork):
    with DaphneTestingInstance() as instance:
        instance.add_send_messages([{"type": "http.response.nonsense"}])
        assert request(instance).status == 500
        with pytest.raises(ApplicationProtocolError, match=r"http\.response\.nonsense"):
            instance.get_received()


def test_sending_to_a_client_that_is_gone_is_no_exception(fork):
    with DaphneTestingInstance() as instance:
        with Connection((HOST, instance.port)) as client:
            client.send(head("/"))
            received(instance, 1)
            instance.add_send_messages(OK)
        assert received(instance, 2)[1][-1] == {"type": "http.disconnect"}


def test_instances_side_by_side_have_results_of_their_own(fork):
    with DaphneTestingInstance() as one, DaphneTestingInstance() as other:
        one.add_send_messages(OK)
        other.add_send_messages([{"type": "http.response.start", "status": 404}, OK[1]])
        assert [request(one).status, request(other).status] == [200, 404]
        assert one.port != other.port
        assert received(one, 1)[0]["server"] == [HOST, one.port]
        assert received(other, 1)[0]["server"] == [HOST, other.port]


def test_calls_on_the_class_are_meant_for_the_latest_instance(fork):
    with DaphneTestingInstance() as instance:
        TestApplication.save_setup(response_messages=OK)
        assert instance.application.load_setup() == {"response_messages": OK}
        assert request(instance).body == b"OK"
        scope, _ = received(instance, 2)  # it has ended, and writes no more
        result = TestApplication.load_result()
        assert (result["scope"]["client"], result["messages"][0]["type"]) == (scope["client"], "http.request")
        TestApplication.delete_result()
        with pytest.raises(ValueError, match="not been given"):
            instance.get_received()
        assert TestApplication.load_setup() == {"response_messages": []}
        TestApplication.save_exception(LookupError("told"))
        with pytest.raises(LookupError, match="told"):
            instance.get_received()
        assert str(TestApplication.load_exception()["exception"]) == "told"


def test_instance_leaves_no_files_behind(fork):
    instance = DaphneTestingInstance()
    directory = Path(instance.application.setup_storage).parent
    with instance:
        instance.add_send_messages(OK)
        request(instance)
        received(instance, 1)
    assert directory.is_dir()  # what was received can be asked for behind the block
    assert directory.stat().st_mode & 0o077 == 0  # nobody else may put a pickle there
    del instance
    assert not directory.exists()


class NotingInstance(BaseDaphneTestingInstance):
    def __init__(self, path):
        super().__init__(application=live_apps.hello)
        self.path = path

    def process_setup(self):
        live_apps.note(self.path, "setup")

    def process_teardown(self):
        live_apps.note(self.path, multiprocessing.current_process().server.exit_status)


def test_instance_calls_its_own_setup_and_teardown_in_the_process(fork, tmp_path):
    notes = tmp_path / "notes"
    with NotingInstance(notes) as instance:
        assert request(instance).body == b"hello"
        pid = instance.process.pid
    assert notes.read_text() == f"setup {pid}\n0 {pid}\n"
    assert not hasattr(instance, "process")


class FailingInstance(BaseDaphneTestingInstance):
    def process_setup(self):
        raise LookupError("no setup here")


def test_instance_that_cannot_start_says_why_and_leaves_no_process(fork):
    instance = FailingInstance(application=live_apps.hello)
    before = multiprocessing.active_children()
    with pytest.raises(RuntimeError, match="(?s)did not start.*no setup here"):
        instance.__enter__()
    assert multiprocessing.active_children() == before


def test_application_is_no_test_case():
    assert TestApplication.__test__ is False
