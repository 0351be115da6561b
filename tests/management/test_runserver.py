"""`manage.py runserver`: what it serves and says.

Most of it is asked of servers that reload nothing: any edit of the checkout, while a test runs, would restart them.
"""

from __future__ import annotations

import re
import socket
from contextlib import closing

import django
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import daphne_clone
from tests.support.django_project import DjangoProject, RunServer, free_port
from tests.support.server_process import START_S, WAIT_S

BOTH = pytest.mark.parametrize("options", [[], ["--noreload"]])

NAMES = """
import socket
def getaddrinfo(host, *args, lookup=socket.getaddrinfo, **kwargs):
    return lookup({"six.test": "::1", "four.test": "127.0.0.1"}.get(host, host), *args, **kwargs)
socket.getaddrinfo = getaddrinfo
"""


def websocket(server, path="/"):
    url = server.url.replace("http", "ws", 1) + path
    return connect(url, proxy=None, open_timeout=WAIT_S, compression=None)  # sizes are those of what is sent


def has_ipv6():
    try:
        free_port("::1")
    except OSError:
        return False
    return True


def exit_of(project, *arguments, addrport="0"):
    """Run it to its end, which is to be at once; return its exit status and its output."""
    with project.runserver(*arguments, addrport=addrport, wait=False) as server:
        return server.wait(START_S), server.log


# What it says


def test_the_messages_are_djangos_and_daphnes(server):
    for message in [
        "Performing system checks...",
        "System check identified no issues",
        f"Django version {django.get_version()}, using settings 'local_settings'",
        f"Starting ASGI/Daphne-clone version {daphne_clone.__version__} development server at {server.url}/",
        "Quit the server with CONTROL-C.",
    ]:
        assert message in server.log


def test_unapplied_migrations_are_told(tmp_path):
    settings = "INSTALLED_APPS += ['django.contrib.contenttypes']\n"
    settings += "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}"
    with DjangoProject(tmp_path, settings).runserver("--noreload") as server:
        assert "2 unapplied migration(s)" in server.log


def test_checks_can_be_skipped(project):
    with project.runserver("--noreload", "--skip-checks") as server:
        assert "system check" not in server.log.lower()


def test_a_failed_check_ends_it(tmp_path):
    settings = "INSTALLED_APPS += ['own']"
    project = DjangoProject(tmp_path, settings)
    project.write("own/__init__.py", "")
    project.write(
        "own/apps.py",
        "from django.apps import AppConfig\nfrom django.core.checks import Error, register\n"
        "@register()\ndef check(**kwargs): return [Error('the sky falls')]\n"
        "class OwnConfig(AppConfig): name = 'own'",
    )
    status, log = exit_of(project, "--noreload")
    assert status == 1
    assert "the sky falls" in log


@pytest.mark.parametrize(("option", "colours"), [("--force-color", True), ("--no-color", False)])
def test_lines_are_coloured_by_what_came_of_the_request(project, get, option, colours):
    with project.runserver("--noreload", option) as server:
        for path, status in (("/facts/", 200), ("/redirect/", 302), ("/nope/", 404), ("/boom/", 500)):
            get(server, path)
            line = server.wait_for_log(rf"(.*)HTTP GET {path} {status} \[\d+\.\d\d, 127\.0\.0\.1:\d+\]")
            assert line[1].startswith("\x1b[") == colours


def test_requests_are_logged_under_channels_name_with_daphnes_details(tmp_path, get):
    logging = {
        "version": 1,
        "formatters": {
            "all": {"format": "<{name} {levelname} {args[status]} {args[method]} {args[path]}>", "style": "{"}
        },
        "handlers": {"all": {"class": "logging.StreamHandler", "formatter": "all"}},
        "loggers": {"django.channels.server": {"handlers": ["all"], "level": "INFO", "propagate": False}},
    }
    with DjangoProject(tmp_path, f"LOGGING = {logging}").runserver("--noreload") as server:
        get(server, "/facts/?x=1")
        server.wait_for_log(r"<django\.channels\.server INFO 200 GET /facts/\?x=1>")
        get(server, "/nope/")
        server.wait_for_log("<django.channels.server WARNING 404 GET /nope/>")
        get(server, "/boom/")
        server.wait_for_log("<django.channels.server ERROR 500 GET /boom/>")


def test_steps_of_a_websocket_are_logged(server):
    with websocket(server, "/logged/") as client:
        port = client.socket.getsockname()[1]
        client.close()
    for step in ("HANDSHAKING", "CONNECT", "DISCONNECT"):
        server.wait_for_log(rf"WebSocket {step} /logged/ \[127\.0\.0\.1:{port}\]")


# What it serves


@BOTH
@pytest.mark.parametrize("loop", ["uvloop", "asyncio.unix_events"])
def test_requests_and_websockets_reach_the_application(project, get, options, loop):
    if loop == "uvloop":
        pytest.importorskip("uvloop", reason="the package uvloop is not installed")
    else:
        project.write("uvloop.py", "raise ImportError('not here')")
    with project.runserver(*options) as server:
        answer = get(server, "/facts/")
        assert answer.headers["server"] == "daphne"
        assert answer.facts["loop"] == loop
        # The autoreloader has the main thread, and the server another.
        assert answer.facts["in_main_thread"] is bool(options)
        assert b"Hello, you!" in get(server, "/").body  # of a synchronous view
        with websocket(server) as client:
            client.send("é")
            assert client.recv(WAIT_S) == "é"


def test_channels_consumers_talk_to_each_other(tmp_path):
    pytest.importorskip("channels", reason="the package channels is not installed")
    project = DjangoProject(tmp_path)
    project.write(
        "local_settings.py",
        "from chat_site.settings import *\nDEBUG = True\n"
        "INSTALLED_APPS = ['daphne_clone', 'django.contrib.staticfiles', *INSTALLED_APPS]\nSTATIC_URL = 'static/'",
    )
    with project.runserver("--noreload", DATABASE=str(tmp_path / "database")) as server:
        url = server.url.replace("http", "ws", 1) + "/ws/chat/room/"
        with connect(url, origin=server.url, proxy=None) as one, connect(url, origin=server.url, proxy=None) as other:
            one.send('{"message": "hello"}')
            for client in (one, other):
                assert '"message": "hello"' in client.recv(WAIT_S)


def test_static_files_need_no_collectstatic(server, get):
    answer = get(server, "/static/site.css")
    assert answer.body == b"body { color: red }\n"
    assert answer.headers["content-type"].startswith("text/css")
    assert get(server, "/static/nope.css").status == 404


@pytest.mark.parametrize(
    ("debug", "options", "status"),
    [
        (True, ["--nostatic"], 404),
        (False, [], 404),
        (False, ["--insecure"], 200),
        (False, ["--insecure", "--noasgi"], 200),
        (True, ["--noasgi"], 200),
        (True, ["--noasgi", "--nostatic"], 404),
    ],
)
def test_static_files_are_served_when_asked_for(tmp_path, get, debug, options, status):
    with DjangoProject(tmp_path, f"DEBUG = {debug}").runserver("--noreload", *options) as server:
        assert get(server, "/static/site.css").status == status


def test_without_the_app_of_static_files_there_are_none_and_no_options_for_them(tmp_path, get):
    project = DjangoProject(tmp_path, "INSTALLED_APPS.remove('django.contrib.staticfiles')")
    with project.runserver("--noreload") as server:
        assert get(server, "/static/site.css").status == 404
    assert exit_of(project, "--nostatic")[0] == 2


def test_noasgi_is_djangos_own_server(project, get):
    with project.runserver("--noasgi") as server:
        assert get(server, "/").headers["server"].startswith("WSGIServer")
        assert get(server, "/static/site.css").status == 200
        with pytest.raises(InvalidStatus):
            websocket(server)
        server.press_ctrl_c()
        assert server.wait() == 0


def test_nothreading_is_taken_and_changes_nothing(project, get):
    with project.runserver("--noreload", "--nothreading") as server:
        assert get(server, "/facts/").status == 200


# Settings and options


def test_force_script_name_is_the_root_path(tmp_path, get):
    with DjangoProject(tmp_path, "FORCE_SCRIPT_NAME = '/mounted'").runserver("--noreload") as server:
        assert get(server, "/mounted/facts/").facts["script_name"] == "/mounted"


def test_http_timeout_answers_503(project, get):
    with project.runserver("--noreload", "--http_timeout", "1") as server:
        assert get(server, "/slow/").status == 503


def test_websocket_handshake_timeout_answers_503(project):
    with project.runserver("--noreload", "--websocket_handshake_timeout", "1") as server:
        with pytest.raises(InvalidStatus) as refused:
            websocket(server, "/never/")
        assert refused.value.response.status_code == 503


@pytest.mark.parametrize(
    ("settings", "options", "limit"),
    [
        ("DAPHNE_WEBSOCKET_MAX_MESSAGE_SIZE = 10", [], 10),
        ("DAPHNE_WEBSOCKET_MAX_FRAME_SIZE = 10", [], 10),
        ("DAPHNE_WEBSOCKET_MAX_MESSAGE_SIZE = 10", ["--websocket-max-message-size", "20"], 20),
        ("DAPHNE_WEBSOCKET_MAX_FRAME_SIZE = 10", ["--websocket-max-frame-size", "20"], 20),
        ("", [], 1024 * 1024),
    ],
)
def test_messages_of_websockets_have_a_limit(tmp_path, settings, options, limit):
    with DjangoProject(tmp_path, settings).runserver("--noreload", *options) as server, websocket(server) as client:
        client.send("x" * limit)
        assert client.recv(WAIT_S) == "x" * limit
        client.send("x" * (limit + 1))
        with pytest.raises(ConnectionClosed):
            client.recv(WAIT_S)
        assert client.close_code == 1009


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ("del ASGI_APPLICATION", [], "ASGI_APPLICATION is missing"),
        ("ASGI_APPLICATION = 'nope'", [], "ASGI_APPLICATION is 'nope': expected the path of an application"),
        ("ASGI_APPLICATION = 'nope.app'", [], "module 'nope' cannot be imported: No module named 'nope'"),
        ("ASGI_APPLICATION = 'local_asgi.nope'", [], "module 'local_asgi' has no 'nope'"),
        ("ASGI_APPLICATION = 'local_urls.urlpatterns'", [], "'local_urls.urlpatterns' is a list, no application"),
        ("DEBUG, ALLOWED_HOSTS = False, []", [], "You must set settings.ALLOWED_HOSTS if DEBUG is False."),
        (
            "DAPHNE_WEBSOCKET_MAX_FRAME_SIZE = 'x'",
            [],
            "The setting DAPHNE_WEBSOCKET_MAX_FRAME_SIZE: 'x' cannot be used",
        ),
        ("", ["--websocket-max-message-size=-1"], "--websocket-max-message-size: -1 cannot be used"),
        ("", ["--http_timeout=-1"], "--http-timeout: -1.0 cannot be used"),
        ("", ["--ssl-adhoc", "--noasgi"], "--ssl-adhoc cannot be used with --noasgi"),
        ("", ["--ssl-adhoc", "--ssl-keyfile=k"], "--ssl-keyfile cannot be used with --ssl-adhoc"),
        ("", ["--ssl-keyfile=k"], "--ssl-keyfile needs --ssl-certfile"),
        ("", ["--ssl-certfile=/nope.pem"], "/nope.pem: expected a file in PEM (no such file or directory)"),
    ],
)
def test_what_cannot_be_used_ends_it_and_is_said(tmp_path, settings, options, message):
    status, log = exit_of(DjangoProject(tmp_path, settings), "--noreload", *options)
    assert status == 1
    assert message in log


def test_noasgi_needs_no_asgi_application(tmp_path, get):
    with DjangoProject(tmp_path, "del ASGI_APPLICATION").runserver("--noreload", "--noasgi") as server:
        assert get(server, "/").status == 200


# Addresses


@pytest.mark.parametrize(
    ("options", "addrport", "shown", "connected"),
    [
        ([], "0", "127.0.0.1", "127.0.0.1"),
        ([], "localhost:0", "localhost", "127.0.0.1"),
        ([], "0:0", "0.0.0.0", "127.0.0.1"),
        (["--ipv6"], "0", "[::1]", "::1"),
        (["-6"], "six.test:0", "six.test", "::1"),
        ([], "[::1]:0", "[::1]", "::1"),
        (["--ssl-adhoc"], "[::1]:0", "[::1]", "::1"),
    ],
)
def test_it_listens_where_it_is_told(tmp_path, options, addrport, shown, connected):
    if connected == "::1" and not has_ipv6():
        pytest.skip("no IPv6 here")
    with DjangoProject(tmp_path, NAMES).runserver("--noreload", *options, addrport=addrport) as server:
        port = server.address[1]
        assert f"at {server.scheme}://{shown}:{port}/" in server.log
        with closing(socket.create_connection((connected, port), timeout=WAIT_S)):
            pass


@pytest.mark.parametrize("options", [[], ["--noreload"], ["--noreload", "--ssl-adhoc"]])
def test_a_port_in_use_is_exit_status_1_and_said_as_django_says_it(project, options):
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        status, log = exit_of(project, *options, addrport=str(other.getsockname()[1]))
    assert status == 1
    assert "Error: That port is already in use." in log
    assert "Quit the server" not in log


@pytest.mark.parametrize(
    ("addrport", "message"),
    [
        ("192.0.2.1:8000", "Error: That IP address can't be assigned to."),  # RFC 5737: nobody's
        ("127.0.0.1:70000", "Error: port=70000 cannot be used; expected a number from 0 to 65535"),
        ("four.test:1 --ipv6", "CommandError: 'four.test' has no IPv6 address"),
    ],
)
def test_an_address_that_cannot_be_listened_on_is_exit_status_1(tmp_path, addrport, message):
    addrport, *options = addrport.split()
    status, log = exit_of(DjangoProject(tmp_path, NAMES), "--noreload", *options, addrport=addrport)
    assert status == 1
    assert message in log


# Those who build on it


def test_a_command_derived_from_it_can_replace_its_parts(tmp_path, get):
    project = DjangoProject(tmp_path, "INSTALLED_APPS.insert(0, 'own')")
    for package in ("own", "own/management", "own/management/commands"):
        project.write(f"{package}/__init__.py", "")
    project.write(
        "own/management/commands/runserver.py",
        """
from daphne_clone.management.commands import runserver

class Server(runserver.Server):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{**kwargs, "server_name": "mine"})

class Command(runserver.Command):
    server_cls = Server
    default_port = "0"

    def get_application(self, options):
        inner = super().get_application(options)
        print("application:", type(inner).__name__)
        return inner

    def log_action(self, protocol, action, details):
        print(protocol, action, details["path"], details["status"])
""",
    )
    with project.runserver() as server:
        assert get(server, "/facts/").headers["server"] == "mine"
        server.wait_for_log("http complete /facts/ 200")
        assert "application: ASGIStaticFilesHandler" in server.log


def test_it_can_be_called_and_says_the_callers_goodbye(project):
    call = """
import os, sys
sys.path.insert(0, sys.argv[1])
os.environ["DJANGO_SETTINGS_MODULE"] = "local_settings"
import django
from django.core.management import call_command
django.setup()
call_command("runserver", "0", use_reloader=False, shutdown_message="bye")
print("returned")
"""
    project.write("call.py", call)
    program = [str(project.directory / "call.py"), str(project.directory)]
    with RunServer(program=program, environment=project.environment()) as server:
        assert "system check" not in server.log.lower()  # as with every command that is called
        assert server.stop() == 0
        assert re.search(r"bye\s+returned", server.log)


def test_an_edit_keeps_the_port(project, get):
    port = free_port()
    with project.runserver(addrport=str(port)) as server:
        assert get(server, "/facts/").facts["edition"] == 1
        project.edit("local_urls.py", '"edition": 1', '"edition": 2', seen_by=server)
        server.wait_for_start(2)
        assert get(server, "/facts/").facts["edition"] == 2
        assert server.address[1] == port
