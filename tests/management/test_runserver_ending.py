"""How `manage.py runserver` ends and begins again: Ctrl-C, signals, edits."""

from __future__ import annotations

import signal
import socket
import time
from contextlib import closing

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support.django_project import DjangoProject, free_port
from tests.support.server_process import WAIT_S, until

# Interrupted views would sleep for a minute. What is below is a stop that waits for nothing, on a busy machine.
AT_ONCE_S = 5.0

BOTH = pytest.mark.parametrize("options", [[], ["--noreload"]])


def send_request(server, path):
    connection = socket.create_connection(server.address, timeout=WAIT_S)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {server.address[0]}\r\n\r\n".encode())
    return connection


def stop_by_ctrl_c(server):
    started = time.monotonic()
    server.press_ctrl_c()
    status = server.wait()
    assert time.monotonic() - started < AT_ONCE_S
    until(server.is_gone, "all processes to end")
    return status


@BOTH
def test_ctrl_c_ends_it_cleanly(project, options):
    with project.runserver(*options) as server:
        assert stop_by_ctrl_c(server) == 0
        assert "application: lifespan.shutdown" in server.log
        assert "Traceback" not in server.log


@BOTH
def test_ctrl_c_closes_websockets_properly(project, options):
    with project.runserver(*options) as server, connect(server.url.replace("http", "ws"), proxy=None) as client:
        assert stop_by_ctrl_c(server) == 0
        with pytest.raises(ConnectionClosed):
            client.recv(WAIT_S)
        assert client.close_code == 1012
        assert "application: closed with 1012" in server.log


@BOTH
def test_ctrl_c_does_not_wait_for_a_stream(project, options):
    with project.runserver(*options) as server, closing(send_request(server, "/stream/")) as client:
        received = b""
        while b"tick" not in received:
            received += client.recv(1000)
        assert stop_by_ctrl_c(server) == 0


@BOTH
def test_ctrl_c_does_not_wait_for_a_view_in_a_thread(project, options):
    with project.runserver(*options) as server, closing(send_request(server, "/slow/")):
        server.wait_for_log("application: slow")
        assert stop_by_ctrl_c(server) == 0


@BOTH
def test_sigterm_leaves_no_process_behind(project, options):
    with project.runserver(*options) as server:
        assert server.stop(signal.SIGTERM) == 0
        until(server.is_gone, "all processes to end")


def test_an_edit_does_not_wait_for_a_view_in_a_thread(project):
    with project.runserver(addrport=str(free_port())) as server, closing(send_request(server, "/slow/")):
        server.wait_for_log("application: slow")
        project.edit("local_urls.py", '"edition": 1', '"edition": 2', seen_by=server)
        server.wait_for_start(2)
        assert "GET /slow/ was still running" in server.log


def test_an_edit_tells_the_application_and_websockets(project):
    with project.runserver() as server, connect(server.url.replace("http", "ws"), proxy=None) as client:
        project.edit("local_urls.py", '"edition": 1', '"edition": 2', seen_by=server)
        server.wait_for_start(2)
        with pytest.raises(ConnectionClosed):
            client.recv(WAIT_S)
        assert client.close_code == 1012
        assert server.log.count("application: lifespan.shutdown") == 1
        assert server.log.count("application: lifespan.startup") == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('await send({"type": event + ".complete"})', 'await send({"type": event + ".failed"})', "failed to start"),
        ("async def application", "raise RuntimeError('broken')\nasync def application", "RuntimeError: broken"),
    ],
)
def test_an_application_that_does_not_start_can_be_edited(project, get, old, new, message):
    good = (project.directory / "local_asgi.py").read_text()
    project.edit("local_asgi.py", old, new)
    with project.runserver(wait=False) as server:
        server.wait_for_log(message, 15)
        server.wait_until_watched(project.directory / "local_asgi.py")
        project.write("local_asgi.py", good)
        server.wait_for_start(1)
        assert get(server, "/facts/").status == 200


def test_an_application_that_does_not_start_ends_it_where_nothing_is_reloaded(project):
    project.edit("local_asgi.py", '".complete"', '".failed"')
    with project.runserver("--noreload", wait=False) as server:
        assert server.wait() == 3
        assert "The application failed to start" in server.log


def test_a_certificate_made_for_the_occasion_goes_with_it(tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with DjangoProject(tmp_path).runserver("--ssl-adhoc", TMPDIR=str(temporary)) as server:
        assert list(temporary.iterdir())
        assert stop_by_ctrl_c(server) == 0
        assert not list(temporary.iterdir())
