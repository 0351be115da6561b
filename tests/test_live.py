"""daphne_clone.live and daphne_clone.pytest_plugin: the server for tests of other people's applications."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import textwrap
import urllib.request
from pathlib import Path

import pytest

from daphne_clone.errors import ConfigurationError
from daphne_clone.live import LiveServer, live_server
from tests.support import live_apps

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(params=["fork", "forkserver", "spawn"])
def every_method(request):
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(request.param, force=True)
    yield request.param
    multiprocessing.set_start_method(before, force=True)


def get(url):
    with urllib.request.urlopen(url, timeout=5) as response:
        return response.read(), response.headers


@pytest.mark.parametrize("app", [live_apps.hello, "tests.support.live_apps:hello"], ids=["object", "path"])
def test_server_is_there_within_the_block_and_gone_behind_it(every_method, app):
    with live_server(app) as server:
        assert server.host == "127.0.0.1"
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert server.ws_url == f"ws://127.0.0.1:{server.port}"
        assert get(f"{server.url}/")[0] == b"hello"
    with pytest.raises(OSError, match="refused"):
        get(server.url)
    assert multiprocessing.active_children() == []


def test_options_are_those_of_the_command_line():
    with live_server(
        "tests.support.live_apps:get_hello", factory=True, server_name="mine", header=["X-Test: yes"], loop="asyncio"
    ) as server:
        body, headers = get(f"{server.url}/")
    assert (body, headers["Server"], headers["X-Test"]) == (b"hello", "mine", "yes")
    assert headers["Date"]  # it is the server as users run it


def test_lifespan_of_the_application_is_run(tmp_path):
    app = """
        from pathlib import Path

        async def app(scope, receive, send):
            assert scope["type"] == "lifespan"
            for step in ("startup", "shutdown"):
                await receive()
                Path(__file__).with_name(step).touch()
                await send({"type": f"lifespan.{step}.complete"})
    """
    (tmp_path / "lifespan_of_mine.py").write_text(textwrap.dedent(app))
    with live_server("lifespan_of_mine:app", app_dir=str(tmp_path)):
        assert (tmp_path / "startup").exists()
        assert not (tmp_path / "shutdown").exists()
    assert (tmp_path / "shutdown").exists()


def test_url_of_an_ipv6_address_has_brackets():
    server = LiveServer("::1", 8000)
    assert (server.url, server.ws_url) == ("http://[::1]:8000", "ws://[::1]:8000")


def test_application_that_cannot_be_loaded_is_told_and_leaves_no_process():
    with (
        pytest.raises(RuntimeError, match="(?s)did not start.*has no attribute 'hallo'"),
        live_server("tests.support.live_apps:hallo"),
    ):
        pass
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    "options",
    [
        {"unix_socket": "/tmp/x"},
        {"uds": "/tmp/x"},
        {"fd": 3},
        {"endpoints": ["tcp:0"]},
        {"bind": "unix:/tmp/x"},
        {"bind": ["127.0.0.1", "127.0.0.2"]},
        {"no_such_option": 1},
        {"log_config": "/no/such/file", "app_dir": "/no/such/directory", "port": "x"},
    ],
)
def test_options_that_cannot_be_used_are_refused(options):
    with pytest.raises(ConfigurationError), live_server(live_apps.hello, **options):
        pass


# The fixture

CONFTEST = """
import pytest
from daphne_clone.live import live_server

pytest_plugins = ["daphne_clone.pytest_plugin"]

@pytest.fixture(scope="session")
def site():
    with live_server("mysite:app") as server:
        yield server
"""

MYSITE = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": scope["path"].encode()})
"""

TESTS = """
import socket
import urllib.request
import pytest

def get(server, path):
    with urllib.request.urlopen(server.url + path, timeout=5) as response:
        return response.read()

@pytest.mark.parametrize("number", range(4))
def test_server(asgi_server, number):
    server = asgi_server("mysite:app", access_log_enabled=False)
    other = asgi_server("mysite:app", access_log_enabled=False)
    assert get(server, f"/{number}") == get(other, f"/{number}") == f"/{number}".encode()
    assert server.port != other.port
    global last
    last = server

def test_server_of_the_test_before_is_gone(asgi_server):
    if "last" in globals():
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((last.host, last.port))

def test_server_of_the_session(site):
    assert get(site, "/a") == b"/a"

def test_server_that_fails_to_start_shows_what_it_said(asgi_server):
    with pytest.raises(RuntimeError, match="has no attribute 'missing'"):
        asgi_server("mysite:missing")
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "mysite.py").write_text(MYSITE)
    (tmp_path / "test_mysite.py").write_text(TESTS)
    return tmp_path


def run_pytest(project, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_fixture_starts_servers_for_the_length_of_a_test(project):
    assert "7 passed" in run_pytest(project)


def test_fixture_works_in_parallel_test_runs(project):
    pytest.importorskip("xdist", reason="the package pytest-xdist is not installed")
    assert "7 passed" in run_pytest(project, "-n", "2")


def test_fixture_is_not_there_unless_asked_for(project):
    (project / "conftest.py").write_text("")
    (project / "test_mysite.py").write_text(
        "import sys\n\ndef test_it():\n    assert 'daphne_clone' not in sys.modules\n"
    )
    assert "1 passed" in run_pytest(project)
