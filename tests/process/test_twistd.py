"""The server under Twisted's own commands: real twistd and twist processes, real signals, files and statuses."""

from __future__ import annotations

import os
import pwd
import re
import signal
import socket
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.support.http1 import Client, Connection, Truncated, head
from tests.support.server_process import APPS, ServerProcess, until
from tests.support.ws_client import Session, close_frame, handshake

BIN = Path(sys.executable).parent
TWISTD = (str(BIN / "twistd"), "-n", "--pidfile=")
TWIST = (str(BIN / "twist"), "--log-format=text")
COMMANDS = {
    "twistd": TWISTD,
    "twistd -r asyncio": (*TWISTD, "-r", "asyncio"),
    "twist": TWIST,
    "twist --reactor=asyncio": (*TWIST, "--reactor=asyncio"),
}
EACH_COMMAND = pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
EITHER_COMMAND = pytest.mark.parametrize("command", [TWISTD, TWIST], ids=["twistd", "twist"])


def run(command, *options, app="apps:application", listen=("-p", "0"), **more):
    arguments = [*command, "daphne_clone", "--app-dir", str(APPS), *listen, *options, app]
    return ServerProcess(program=arguments, **more)


def fails(command, *options, **more):
    """Run a command that must not come to serve; return its status and what it said."""
    with run(command, *options, wait=False, **more) as process:
        status = process.wait()
        assert "Listening" not in process.log
        return status, process.log


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield str(listener.getsockname()[1])


# Serving and stopping


@EACH_COMMAND
def test_first_signal_drains_and_second_is_not_needed(command):
    with run(command) as server, Connection(server.address) as busy, Connection(server.address) as idle:
        idle.send(head("/hello/x"))
        assert idle.read_response().body == b"hello"
        busy.send(head("/echo_late/x", [(b"Content-Length", b"4")], method=b"POST"))
        server.wait_for_log("app: called")
        server.send_signal(signal.SIGTERM)
        assert idle.is_closed()
        assert server.refuses_connections()
        busy.send(b"late")
        assert busy.read_response().body == b"late"
        assert server.wait() == -signal.SIGTERM  # how Twisted's commands say what ended them
        assert re.search("app: called.*app: answered.*app: shutdown", server.log, re.DOTALL)
        assert server.log.count("app: shutdown") == 1
        assert "Traceback" not in server.log


@EACH_COMMAND
def test_loop_is_uvloop_unless_the_reactor_was_chosen(command):
    with run(command) as server:
        assert re.search(rf"Python [0-9.]+, {'asyncio' if 'asyncio' in ' '.join(command) else 'uvloop'}\)", server.log)


@EITHER_COMMAND
def test_option_chooses_the_loop(command):
    with run(command, "--loop", "asyncio") as server:
        assert re.search(r"Python [0-9.]+, asyncio\)", server.log)


@EITHER_COMMAND
def test_interrupt_stops_as_well(command):
    with run(command) as server:
        assert server.stop(signal.SIGINT) == -signal.SIGINT
        assert server.log.count("app: shutdown") == 1


@EACH_COMMAND
def test_second_signal_cuts_short_what_the_first_waits_for(command):
    with run(command) as server, Connection(server.address) as busy:
        busy.send(head("/ignores_disconnect/x"))
        assert Client(server.address).request("/noted/x?1").body == b"['called']"
        server.send_signal()
        until(server.refuses_connections, "the ports to close")
        begin = time.monotonic()
        assert server.stop() == -signal.SIGTERM
        assert time.monotonic() - begin < 5
        assert "Stopping at once; 1 requests are cut off" in server.log
        assert "app: cancelled" in server.log
        with pytest.raises(Truncated):
            busy.read_response()


def test_websockets_are_told_of_the_stop():
    with run(TWISTD, app="ws_apps:application") as server, Session(server.address) as session:
        session.send(handshake("/echo/x"))
        session.opened()
        assert session.exchange("hello") == "hello"
        server.send_signal()
        assert session.read_close()[0] == 1012
        session.send(close_frame(1012))
        assert server.wait() == -signal.SIGTERM


def test_options_of_the_server_are_taken(tmp_path):
    path = tmp_path / "s"
    with run(
        TWISTD,
        *("--server-name", "mine", "--header", "X-Test: yes", "-t", "0.5", "--root-path", "/sub", "-u", str(path)),
    ) as server:
        for address in (server.address, str(path)):
            with Connection(address) as client:
                client.send(head("/scope_of/x"))
                response = client.read_response()
            assert (response.get(b"server"), response.get(b"x-test")) == (b"mine", b"yes")
            assert b"'root_path': '/sub'" in response.body
        with Connection(server.address) as client:
            client.send(head("/until_disconnect/x"))
            assert client.read_response().status == 503


def test_options_are_taken_from_the_environment_too():
    with run(
        TWISTD, environment={"DAPHNE_CLONE_SERVER_NAME": "of-the-environment", "DAPHNE_CLONE_PROT": "1"}
    ) as server:
        with Connection(server.address) as client:
            client.send(head("/hello/x"))
            assert client.read_response().get(b"server") == b"of-the-environment"
        assert "DAPHNE_CLONE_PROT has no effect: expected the name of an option; did you mean" in server.log


# The log


@EITHER_COMMAND
def test_records_of_logging_are_in_twisteds_log(command, tmp_path):
    app = """
        import logging

        async def app(scope, receive, send):
            logging.getLogger("mine").warning("a warning of mine")
            logging.getLogger("mine").debug("a detail of mine")
            raise ValueError("a fault of mine")
    """
    (tmp_path / "logging_app.py").write_text(textwrap.dedent(app))
    with run(command, "--app-dir", str(tmp_path), app="logging_app:app") as server:
        with Connection(server.address) as client:
            client.send(head("/"))
            assert client.read_response().status == 500
        server.wait_for_log(r'"GET / HTTP/1.1" 500|"GET /" 500')
        assert re.search(r"\[mine#warn\] a warning of mine$", server.log, re.MULTILINE)
        assert "a detail of mine" not in server.log
        assert re.search(
            r"\[daphne_clone\.server#error\] Exception inside application: .*a fault of mine\n"
            r"\tTraceback .*\n(\t.*\n)+\tValueError: a fault of mine$",
            server.log,
            re.MULTILINE,
        )


def test_level_and_form_of_the_log_can_be_chosen():
    with run(TWISTD, "--log-level", "warning", "--log-fmt", "<%(levelname)s> %(message)s", wait=False) as server:
        server.wait_for_log("reactor class")
        until(lambda: server.stop() or True, "the end")
    assert "Listening" not in server.log
    with run(TWISTD, "--log-fmt", "<%(levelname)s> %(message)s") as server:
        assert re.search(r"\[daphne_clone\.server#info\] <INFO> Listening", server.log)


def test_logging_may_be_configured_by_a_file(tmp_path):
    log = tmp_path / "own.log"
    config = tmp_path / "logging.json"
    config.write_text(
        '{"version": 1, "root": {"level": "INFO", "handlers": ["f"]}, "handlers": {"f": '
        f'{{"class": "logging.FileHandler", "filename": "{log}"}}}}}}'
    )
    with run(TWISTD, "--log-config", str(config), wait=False) as server:
        until(lambda: log.exists() and "Listening on" in log.read_text(), "the server", 15)
        server.stop()
        assert "Listening" not in server.log
        assert "twice" not in server.log  # what Twisted says to a second owner of its log
        assert "Server Shut Down" in server.log


# A daemon


@pytest.fixture
def daemon(tmp_path):
    """Start twistd as a daemon; its process is ended behind the test."""
    files = (f"--pidfile={tmp_path / 'twistd.pid'}", f"--logfile={tmp_path / 'twistd.log'}")

    def start(*options, **more):
        return run((TWISTD[0], *files), *options, wait=False, **more)

    yield start
    pidfile = tmp_path / "twistd.pid"
    if pidfile.exists():
        os.kill(int(pidfile.read_text()), signal.SIGKILL)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_daemon_has_a_pid_file_and_a_log_file_and_goes_at_sigterm(daemon, tmp_path, loop):
    log = tmp_path / "twistd.log"
    with daemon("--loop", loop) as launcher:
        assert launcher.wait() == 0
        assert launcher.log == ""
    until(lambda: "Listening on" in log.read_text(), "the daemon", 15)
    port = int(re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text())[1])
    pid = int((tmp_path / "twistd.pid").read_text())
    with Connection(("127.0.0.1", port)) as client:
        client.send(head("/pid/x"))
        assert int(client.read_response().body) == pid != launcher.pid
    os.kill(pid, signal.SIGTERM)
    until(lambda: not (tmp_path / "twistd.pid").exists(), "the pid file to go")
    text = log.read_text()
    assert f"Python {sys.version.split()[0]}, {loop})" in text
    assert re.search(r"app: shutdown.*Server Shut Down", text, re.DOTALL)
    assert "Traceback" not in text


def test_daemon_that_cannot_listen_says_so_where_it_was_started(daemon, tmp_path, taken):
    with daemon(listen=["-p", taken]) as launcher:
        assert launcher.wait() == 1
        assert f"ListenError: cannot listen on tcp:port={taken}:interface=127.0.0.1" in launcher.log
    assert not (tmp_path / "twistd.pid").exists()
    # The daemon tells its starter before it writes its own log to the end.
    until(lambda: "address already in use" in (tmp_path / "twistd.log").read_text(), "the daemon's log")


def test_daemon_without_an_application_says_so_where_it_was_started(daemon, tmp_path):
    with daemon(app="apps:missing") as launcher:
        assert launcher.wait() == 1
        assert "ApplicationLoadError: 'apps:missing'" in launcher.log
    assert not (tmp_path / "twistd.pid").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up being root")
def test_sockets_are_bound_before_root_is_given_up_and_the_application_is_imported_behind(tmp_path):
    (tmp_path / "who.py").write_text(
        textwrap.dedent("""
        import os
        uids = [os.getuid()]

        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                uids.append(os.getuid())
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": repr(uids + [os.getuid()]).encode()})
        """)
    )
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.getuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    nobody = pwd.getpwnam("nobody").pw_uid
    path = tmp_path / "s"  # nobody may not make a file here
    # Nobody may not read what is below /root, where the interpreter may be: what it imports later is imported now.
    twistd = ("-c", "import importlib.metadata; from twisted.scripts.twistd import run; run()", *TWISTD[1:])
    with run(
        (*twistd, "--uid", "nobody"), "--app-dir", str(tmp_path), app="who:app", listen=["-p", "0", "-u", str(path)]
    ) as server:
        with Connection(str(path)) as client:
            client.send(head("/"))
            assert client.read_response().body == repr([nobody] * 3).encode()
        assert server.stop() == -signal.SIGTERM
        assert "Server Shut Down" in server.log
        assert "Traceback" not in server.log


# What cannot be


@EITHER_COMMAND
def test_port_in_use_ends_the_command_with_status_1(command, taken):
    status, log = fails(command, listen=["-p", taken])
    assert status == 1
    assert f"cannot listen on tcp:port={taken}:interface=127.0.0.1: address already in use" in log


@EITHER_COMMAND
def test_application_that_cannot_be_loaded_ends_the_command_with_status_1(command):
    status, log = fails(command, app="apps:aplication")
    assert status == 1
    assert "did you mean application?" in log


@EITHER_COMMAND
def test_application_that_refuses_to_start_ends_the_command_with_status_3(command):
    status, log = fails(command, app="lifespan_apps:refusing")
    assert status == 3
    assert re.search(r"\[daphne_clone\.server#critical\] The application failed to start", log)


@pytest.fixture(scope="module")
def usage_status():
    """What each command exits with when it is used wrongly: twistd's 0 became 1 in the course of time."""

    def of(command):
        with ServerProcess(program=[command[0], "--no-such-option"], wait=False) as process:
            return process.wait()

    return {command[0]: of(command) for command in (TWISTD, TWIST)}


@pytest.mark.parametrize(
    "command",
    [(*TWISTD, "-r", "select"), (*TWIST, "--reactor=select"), (*TWIST, "--reactor=default")],
    ids=["twistd -r select", "twist --reactor=select", "twist --reactor=default"],
)
def test_wrong_reactor_is_refused_with_what_to_do(command, usage_status):
    status, log = fails(command)
    assert status == usage_status[command[0]]
    assert re.search(
        r"reactor: '\w+Reactor' cannot be used; expected the one on asyncio: start with `twistd -r asyncio`", log
    )
    assert "Traceback" not in log


def test_reactor_on_another_loop_than_asked_for_is_refused(usage_status):
    status, log = fails((*TWISTD, "-r", "asyncio"), "--loop", "uvloop")
    assert status == usage_status[TWISTD[0]]
    assert "--loop: 'uvloop' cannot be used; expected auto: the reactor is installed already" in log


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-p", "x"], "-p: 'x' cannot be used; expected a whole number from 0 to 65535"),
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
        (["--proxy-headers-host", "X"], "--proxy-headers-host: 'X' cannot be used"),
        (["--config", "/no/such/file"], "--config: '/no/such/file' cannot be used"),
    ],
)
@EITHER_COMMAND
def test_option_that_cannot_be_used_is_named(command, usage_status, options, words):
    status, log = fails(command, *options, listen=[])
    assert status == usage_status[command[0]]
    assert words in log
    assert "Traceback" not in log


def test_missing_application_is_said(usage_status):
    with ServerProcess(program=[*TWISTD, "daphne_clone", "-p", "0"], wait=False) as process:
        assert process.wait() == usage_status[TWISTD[0]]
        assert "the application is missing: give it as module:attribute" in process.log


@EITHER_COMMAND
def test_help_and_check_config_print_and_end(command):
    with ServerProcess(program=[*command, "daphne_clone", "--help"], wait=False) as process:
        assert process.wait() == 0
        name = Path(command[0]).name
        assert f"usage: {name} [options of {name}] daphne_clone [options] module:attribute" in process.log
        assert "--timeout-keep-alive" in process.log
    status, log = fails(command, "--check-config", listen=["-p", "8001"])
    assert status == 0
    assert "endpoint: tcp:port=8001:interface=127.0.0.1" in log


# In a .tac file

TAC = """
    from twisted.application.internet import StreamServerEndpointService
    from twisted.application.service import Application
    from daphne_clone.service import ASGIService

    application = Application("several")
    first = ASGIService("apps:application", app_dir={apps!r}, port=0)
    first.setServiceParent(application)
    ASGIService("apps:application", app_dir={apps!r}, port=0, server_name="second").setServiceParent(application)

    from twisted.internet import reactor
    from twisted.internet.endpoints import TCP4ServerEndpoint
    from twisted.internet.protocol import Factory, Protocol

    class Echo(Protocol):
        def connectionMade(self):
            print("echo on", self.transport.getHost().port)

        def dataReceived(self, data):
            self.transport.write(data)

    echo = TCP4ServerEndpoint(reactor, {port}, interface="127.0.0.1")
    StreamServerEndpointService(echo, Factory.forProtocol(Echo)).setServiceParent(application)
"""


def test_service_in_a_tac_file_lives_beside_others(tmp_path):
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    tac = tmp_path / "several.tac"
    tac.write_text(textwrap.dedent(TAC.format(apps=str(APPS), port=port)))
    with ServerProcess(program=[*TWISTD, "-y", str(tac)], wait=False) as server:
        server.wait_for_log(r"(?s)Listening on.*Listening on", 15)
        ports = [int(number) for number in re.findall(r"Listening on http://127\.0\.0\.1:(\d+)", server.log)]
        names = []
        for each in ports:
            with Connection(("127.0.0.1", each)) as client:
                client.send(head("/hello/x"))
                names.append(client.read_response().get(b"server"))
        assert sorted(names) == [b"daphne", b"second"]
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"echo")
            assert client.recv(4) == b"echo"
        assert len(re.findall(r"Python [0-9.]+, asyncio\)", server.log)) == 2  # which Twisted's transports need
        assert server.stop() == -signal.SIGTERM
        assert server.log.count("app: shutdown") == 2
        assert "Traceback" not in server.log


def test_service_made_behind_another_reactor_says_what_to_do(tmp_path):
    tac = tmp_path / "late.tac"
    tac.write_text("from twisted.internet import reactor\n" + textwrap.dedent(TAC.format(apps=str(APPS), port=0)))
    with ServerProcess(program=[*TWISTD, "-y", str(tac)], wait=False) as server:
        assert server.wait() == 1
        assert "make the service before anything imports twisted.internet.reactor" in server.log
