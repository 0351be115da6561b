"""The command: what it hands to the server, where it listens, what it prints, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from daphne_clone import cli, reactor
from daphne_clone.cli import CommandLineInterface, endpoint_strings
from daphne_clone.errors import ApplicationLoadError, ConfigurationError
from daphne_clone.observe import logs
from daphne_clone.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., "RecordingServer"]

ROOT = Path(__file__).resolve().parent.parent

MODULE = """
async def app(scope, receive, send):
    pass

def make():
    return app

class Site:
    app = app
"""


class RecordingServer:
    """Stands in for the server: keeps what it was made with, and stops as soon as it runs."""

    made: ClassVar[list[RecordingServer]] = []
    exit_status = 0
    was_cut_short = False

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments
        self.ran = False
        self.made.append(self)

    def run(self) -> None:
        self.ran = True


class Command(CommandLineInterface):
    server_class = RecordingServer  # type: ignore[assignment]  # a stand-in with the server's arguments


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep `run` from changing this process, and note in which order it would have."""
    taken: list[str] = []
    monkeypatch.setattr(logs, "configure", lambda settings: taken.append("logs"))
    monkeypatch.setattr(reactor, "install", lambda loop: taken.append(f"reactor {loop}"))
    monkeypatch.setattr(cli, "make_access_logger", lambda settings: f"access log to {settings.access_log}")
    monkeypatch.setattr(RecordingServer, "made", [])
    return taken


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a directory with the module `site_under_test`, and without options in the environment."""
    (tmp_path / "site_under_test.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in [name for name in os.environ if name.startswith(("DAPHNE_CLONE_", "LISTEN_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "site_under_test", raising=False)
    return tmp_path


@pytest.fixture
def run(site: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command with arguments for the application above, and give the server it made."""

    def run_command(*arguments: str, application: str = "site_under_test:app") -> RecordingServer:
        Command().run([*arguments, application])
        monkeypatch.delitem(sys.modules, "site_under_test", raising=False)
        (server,) = RecordingServer.made
        assert server.ran
        return server

    return run_command


def exit_status(*arguments: str) -> object:
    with pytest.raises(SystemExit) as caught:
        Command().run([*arguments])
    return caught.value.code


# What the server is made with


def test_the_server_gets_the_arguments_that_daphne_gives(run: Run) -> None:
    arguments = run().arguments
    settings = arguments.pop("settings")
    assert settings == Settings(application="site_under_test:app")
    assert callable(arguments.pop("application"))
    assert arguments == {
        "action_logger": "access log to None",
        "endpoints": ["tcp:port=8000:interface=127.0.0.1"],
        "http_timeout": None,
        "request_buffer_size": None,
        "websocket_timeout": 86_400.0,
        "websocket_connect_timeout": 5.0,
        "ping_interval": 20.0,
        "ping_timeout": 30.0,
        "websocket_handshake_timeout": 5.0,
        "websocket_max_message_size": 1_048_576,
        "websocket_max_frame_size": 1_048_576,
        "application_close_timeout": 10.0,
        "root_path": "",
        "proxy_forwarded_address_header": None,
        "proxy_forwarded_port_header": None,
        "proxy_forwarded_proto_header": None,
        "verbosity": 1,
        "server_name": "daphne",
    }


def test_options_reach_the_server(run: Run) -> None:
    options = "-p 9000 -t 5 --request-buffer-size 7 --application-close-timeout 3 --root-path /x -v 0 --no-server-name"
    arguments = run(*options.split()).arguments
    assert arguments["endpoints"] == ["tcp:port=9000:interface=127.0.0.1"]
    assert arguments["http_timeout"] == 5.0
    assert arguments["request_buffer_size"] == 7
    assert arguments["application_close_timeout"] == 3.0
    assert arguments["root_path"] == "/x"
    assert arguments["verbosity"] == 0
    assert arguments["server_name"] == ""


@pytest.mark.parametrize(
    ("options", "argument", "value"),
    [
        *((f"--websocket{dash}timeout 7", "websocket_timeout", 7.0) for dash in "_-"),
        *((f"--websocket{dash}timeout -1", "websocket_timeout", 0.0) for dash in "_-"),
        *((f"--websocket{dash}timeout=-1", "websocket_timeout", 0.0) for dash in "_-"),
        ("--websocket_connect_timeout 7", "websocket_connect_timeout", 7.0),
        ("--websocket_connect_timeout -1", "websocket_connect_timeout", 0.0),
        ("--websocket-connect-timeout 7", "websocket_connect_timeout", 7.0),
        ("--websocket_handshake_timeout 7", "websocket_handshake_timeout", 7.0),
        ("--websocket-handshake-timeout 0", "websocket_handshake_timeout", 0.0),
        ("--websocket-max-message-size 7", "websocket_max_message_size", 7),
        ("--ws-max-size 7", "websocket_max_message_size", 7),
        ("--websocket-max-frame-size 0", "websocket_max_frame_size", 0),
        ("--ping-interval 7", "ping_interval", 7.0),
        ("--ws-ping-interval 0", "ping_interval", 0.0),
        ("--ping-timeout 7", "ping_timeout", 7.0),
        ("--ws-ping-timeout 7.5", "ping_timeout", 7.5),
    ],
)
def test_options_of_websockets_reach_the_server_by_each_of_their_spellings(
    run: Run, options: str, argument: str, value: float
) -> None:
    arguments = run(*options.split()).arguments
    assert arguments[argument] == value
    assert getattr(arguments["settings"], argument) == value


@pytest.mark.parametrize(
    ("options", "connect", "handshake"),
    [
        ("", 5.0, 5.0),
        ("--websocket_connect_timeout 7", 7.0, 7.0),
        ("--websocket_connect_timeout -1", 0.0, 0.0),
        ("--websocket_handshake_timeout 7", 5.0, 7.0),
        ("--websocket_connect_timeout 9 --websocket_handshake_timeout 0", 9.0, 0.0),
    ],
)
def test_daphnes_option_for_the_accept_bounds_the_handshake_too(
    run: Run, options: str, connect: float, handshake: float
) -> None:
    arguments = run(*options.split()).arguments
    assert arguments["websocket_connect_timeout"] == connect
    assert arguments["websocket_handshake_timeout"] == handshake


def test_queue_and_compression_of_websockets_are_settings(run: Run) -> None:
    settings = run("--ws-max-queue", "7", "--no-ws-per-message-deflate").arguments["settings"]
    assert settings.ws_max_queue == 7
    assert settings.ws_per_message_deflate is False


def test_a_websocket_without_end_may_come_from_the_environment_and_from_a_file(
    site: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "server.toml").write_text("application = 'site_under_test:app'\nwebsocket_timeout = -1", encoding="utf-8")
    Command().run(["-c", "server.toml"])
    monkeypatch.setenv("DAPHNE_CLONE_WEBSOCKET_TIMEOUT", "-1")
    Command().run(["site_under_test:app"])
    assert [server.arguments["websocket_timeout"] for server in RecordingServer.made] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--websocket_timeout -2", "a number of seconds of at least 0, or -1 for no limit"),
        ("--websocket_handshake_timeout -1", "a number of seconds of at least 0"),
        ("--ws-ping-interval -1", "a number of seconds of at least 0"),
        ("--ws-max-queue 0", "a whole number of at least 1"),
        ("--ws-max-size -1", "a whole number of at least 0"),
    ],
)
def test_what_a_websocket_cannot_have_is_told_by_the_spelling_used(
    site: Path, capsys: pytest.CaptureFixture[str], options: str, expected: str
) -> None:
    flag, value = options.split()
    assert exit_status(flag, value, "site_under_test:app") == 2
    assert capsys.readouterr().err == f"error: {flag}: {value!r} cannot be used; expected {expected}\n"


@pytest.mark.parametrize(
    ("options", "address", "port", "proto"),
    [
        ("--proxy-headers", "X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto"),
        (
            "--proxy-headers --proxy-headers-host X-Real-IP --proxy-headers-port X-Real-Port",
            "X-Real-IP", "X-Real-Port", "X-Forwarded-Proto",
        ),
    ],
)  # fmt: skip
def test_proxy_headers_name_the_fields(run: Run, options: str, address: str, port: str, proto: str) -> None:
    arguments = run(*options.split()).arguments
    assert arguments["proxy_forwarded_address_header"] == address
    assert arguments["proxy_forwarded_port_header"] == port
    assert arguments["proxy_forwarded_proto_header"] == proto


@pytest.mark.parametrize(
    ("options", "application"),
    [
        ((), "site_under_test:Site.app"),
        (("--factory",), "site_under_test:make"),
    ],
)
def test_the_application_is_found_by_its_path(run: Run, options: tuple[str, ...], application: str) -> None:
    assert run(*options, application=application).arguments["application"].__name__ == "app"


def test_the_application_is_imported_from_the_directory_named(site: Path, run: Run) -> None:
    (site / "src").mkdir()
    (site / "site_under_test.py").rename(site / "src" / "site_under_test.py")
    assert run("--app-dir", "src").arguments["application"].__name__ == "app"


def test_the_reactor_is_there_before_the_application_is_imported(
    site: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Watching(Command):
        def load_asgi_app(self, asgi_app_path: str) -> Callable[..., object]:
            steps.append(f"import {asgi_app_path}")
            return super().load_asgi_app(asgi_app_path)

    Watching().run(["--loop", "asyncio", "site_under_test:app"])
    assert steps == ["logs", "reactor asyncio", "import site_under_test:app"]


def test_the_environment_file_is_there_before_the_application_is_imported(
    site: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FROM_BOTH", "environment")
    monkeypatch.setenv("FROM_FILE", "to be undone")
    monkeypatch.delenv("FROM_FILE")
    (site / "vars").write_text("FROM_FILE=file\nFROM_BOTH=file\n", encoding="utf-8")
    (site / "reads_environment.py").write_text(
        "import os\nassert os.environ['FROM_FILE'] == 'file'\nassert os.environ['FROM_BOTH'] == 'environment'\n"
        + MODULE,
        encoding="utf-8",
    )
    run("--env-file", "vars", application="reads_environment:app")


# What Daphne's users override


def test_arguments_of_a_subclass_are_read(site: Path, steps: list[str]) -> None:
    class Sharded(Command):
        def __init__(self) -> None:
            super().__init__()
            self.parser.add_argument("--shards", type=int)

        def run(self, args: list[str]) -> None:
            self.shards = self.parser.parse_args(args).shards
            super().run(args)

    command = Sharded()
    command.run(["--shards", "3", "site_under_test:app"])
    assert command.shards == 3
    assert command.server is RecordingServer.made[0]  # type: ignore[comparison-overlap]  # the stand-in
    assert command.settings.application == "site_under_test:app"


def test_the_application_may_come_from_anywhere(site: Path, steps: list[str]) -> None:
    async def app(scope: object, receive: object, send: object) -> None: ...

    class Elsewhere(Command):
        def load_asgi_app(self, asgi_app_path: str) -> Callable[..., object]:
            return app

    Elsewhere().run(["anything"])
    assert RecordingServer.made[0].arguments["application"] is app


def test_the_server_class_can_be_read_from_class_and_instance() -> None:
    assert Command.server_class is Command().server_class is RecordingServer  # type: ignore[comparison-overlap]


@pytest.mark.parametrize("abort_start", [False, True])
def test_a_server_class_may_have_no_more_than_daphnes(site: Path, steps: list[str], abort_start: bool) -> None:
    class Foreign:
        def __init__(self, **arguments: Any) -> None:
            self.abort_start = False

        def run(self) -> None:
            self.abort_start = abort_start

    class Elsewhere(Command):
        server_class = Foreign  # type: ignore[assignment]  # what is tested

    if not abort_start:
        Elsewhere().run(["site_under_test:app"])
        return
    with pytest.raises(SystemExit) as caught:
        Elsewhere().run(["site_under_test:app"])
    assert caught.value.code == 1


def test_importing_the_command_installs_no_reactor() -> None:
    program = """
    import sys
    from daphne_clone.cli import CommandLineInterface
    command = CommandLineInterface()
    assert "twisted.internet.reactor" not in sys.modules
    assert "daphne_clone.server" not in sys.modules
    from_command = CommandLineInterface.server_class
    from daphne_clone.server import Server
    assert from_command is Server is command.server_class
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, check=True)


# Where it listens


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["tcp:port=8000:interface=127.0.0.1"]),
        ({"port": 9000}, ["tcp:port=9000:interface=127.0.0.1"]),
        ({"port": 0}, ["tcp:port=0:interface=127.0.0.1"]),
        ({"bind": "0.0.0.0"}, ["tcp:port=8000:interface=0.0.0.0"]),
        ({"bind": "0.0.0.0", "port": 80}, ["tcp:port=80:interface=0.0.0.0"]),
        ({"bind": "::1"}, [r"tcp:port=8000:interface=\:\:1"]),
        ({"bind": "[::1]:80", "port": 81}, [r"tcp:port=80:interface=\:\:1"]),
        (
            {"bind": ["a:1", "b"], "port": 2},
            ["tcp:port=1:interface=a", "tcp:port=2:interface=b"],
        ),
        ({"bind": "unix:/run/s"}, ["unix:/run/s"]),
        ({"bind": "fd://3"}, ["fd:fileno=3"]),
        ({"bind": "fd://3", "port": 80}, ["fd:fileno=3", "tcp:port=80:interface=127.0.0.1"]),
        ({"unix_socket": "/run/s"}, ["unix:/run/s"]),
        ({"file_descriptor": 0}, ["fd:fileno=0"]),
        ({"endpoints": ["tcp:1", "tcp:2"]}, ["tcp:1", "tcp:2"]),
        (
            {"unix_socket": "/run/s", "file_descriptor": 5, "port": 80, "endpoints": ["tcp:1"]},
            ["tcp:port=80:interface=127.0.0.1", "unix:/run/s", "fd:fileno=5", "tcp:1"],
        ),
    ],
)  # fmt: skip
def test_endpoints_follow_from_the_options(options: dict[str, Any], expected: list[str]) -> None:
    assert sorted(endpoint_strings(Settings(**options), {})) == sorted(expected)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["https:tcp:port=8000:interface=127.0.0.1"]),
        ({"bind": ("::1", "unix:/s")}, [r"https:tcp:port=8000:interface=\:\:1", "https:unix:/s"]),
        ({"file_descriptor": 3}, ["https:fd:fileno=3"]),
        ({"endpoints": ("tcp:80",)}, ["tcp:80"]),
        (
            {"port": 8443, "endpoints": ("tcp:80",), "redirect_http": ("0.0.0.0", "127.0.0.1:81", "unix:/r")},
            [
                *("https:tcp:port=8443:interface=127.0.0.1", "tcp:80", "redirect:tcp:port=80:interface=0.0.0.0"),
                *("redirect:tcp:port=81:interface=127.0.0.1", "redirect:unix:/r"),
            ],
        ),
    ],
    ids=str,
)
def test_with_certificates_all_but_endpoints_are_under_tls(options: dict[str, Any], expected: list[str]) -> None:
    assert endpoint_strings(Settings(ssl_certfile=("c.pem",), **options), {}) == expected


def test_sockets_from_systemd_are_under_tls_too() -> None:
    passed = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    assert endpoint_strings(Settings(ssl_certfile=("c.pem",)), passed) == ["https:fd:fileno=3"]


def test_sockets_that_systemd_passed_are_used_when_nothing_else_is_said() -> None:
    passed = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"}
    assert endpoint_strings(Settings(), passed) == ["fd:fileno=3", "fd:fileno=4"]
    assert endpoint_strings(Settings(port=80), passed) == ["tcp:port=80:interface=127.0.0.1"]


@pytest.mark.parametrize(
    "environ",
    [
        {"LISTEN_PID": "1", "LISTEN_FDS": "2"},
        {"LISTEN_FDS": "2"},
        {"LISTEN_PID": str(os.getpid())},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"},
    ],
)
def test_sockets_meant_for_another_process_are_not_used(environ: dict[str, str]) -> None:
    assert endpoint_strings(Settings(), environ) == ["tcp:port=8000:interface=127.0.0.1"]


# How it ends


def test_the_servers_status_is_the_commands(site: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RecordingServer, "exit_status", 3)
    assert exit_status("site_under_test:app") == 3


def test_entrypoint_takes_the_arguments_of_the_process_and_exits(
    site: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["server", "-p", "9000", "site_under_test:app"])
    with pytest.raises(SystemExit) as caught:
        Command.entrypoint()
    assert caught.value.code == 0
    assert RecordingServer.made[0].arguments["settings"].port == 9000


def test_a_wrong_option_is_one_line_and_status_2(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status("-p", "70000", "site_under_test:app") == 2
    expected = "error: -p: '70000' cannot be used; expected a whole number from 0 to 65535\n"
    assert capsys.readouterr().err == expected


def test_an_option_refused_further_down_is_named_as_it_was_written(
    site: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def install(loop: str) -> None:
        raise ConfigurationError("--loop", loop, "uvloop to be installed")

    monkeypatch.setattr(reactor, "install", install)
    monkeypatch.setenv("DAPHNE_CLONE_LOOP", "uvloop")
    assert exit_status("site_under_test:app") == 2
    assert (
        capsys.readouterr().err
        == "error: DAPHNE_CLONE_LOOP: 'uvloop' cannot be used; expected uvloop to be installed\n"
    )


def test_what_is_refused_further_down_and_nobody_gave_keeps_its_name(
    site: Path, steps: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    class Refusing(Command):
        def load_asgi_app(self, asgi_app_path: str) -> Callable[..., object]:
            raise ConfigurationError("ASGI_THREADS", "many", "a number")

    with pytest.raises(SystemExit) as caught:
        Refusing().run(["x:y"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: ASGI_THREADS: 'many' cannot be used; expected a number\n"


def test_a_missing_application_is_status_2(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status("-p", "9000") == 2
    assert "error: the application is missing: give it as module:attribute" in capsys.readouterr().err


def test_an_application_taken_for_the_access_logs_file_is_pointed_out(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status("--access-log", "site_under_test:app") == 2
    assert "'site_under_test:app' was meant to be it: put it before --access-log" in capsys.readouterr().err


def test_the_application_may_come_from_environment_and_file(
    site: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "server.toml").write_text("application = 'site_under_test:app'", encoding="utf-8")
    Command().run(["-c", "server.toml"])
    monkeypatch.setenv("DAPHNE_CLONE_APPLICATION", "site_under_test:Site.app")
    Command().run([])
    assert [server.arguments["settings"].application for server in RecordingServer.made] == [
        "site_under_test:app",
        "site_under_test:Site.app",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env-file", "none"], "--env-file: 'none' cannot be used; expected a file that can be read (No such file"),
        (
            ["--env-file", "bytes"],
            "--env-file: 'bytes' cannot be used; expected a file that can be read (it is not UTF-8)",
        ),
        (
            ["-c", "none.toml"],
            "--config: 'none.toml' cannot be used; expected a TOML file that can be read (No such file",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_status_2(
    site: Path, steps: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (site / "bytes").write_bytes(b"A=\xff")
    assert exit_status(*arguments, "site_under_test:app") == 2
    assert f"error: {message}" in capsys.readouterr().err


def test_an_environment_file_without_python_dotenv_says_how_to_get_it(
    site: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "dotenv", None)
    assert exit_status("--env-file", "vars", "site_under_test:app") == 2
    assert "pip install 'daphne-clone[env]'" in capsys.readouterr().err


def test_an_unknown_variable_is_a_warning(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DAPHNE_CLONE_PROT", "9000")
    run()
    assert "DAPHNE_CLONE_PROT has no effect" in caplog.text
    assert "did you mean 'DAPHNE_CLONE_PORT'" in caplog.text


def test_an_application_that_is_not_there_is_one_line_and_status_1(
    site: Path, steps: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status("no_such_module_here:app") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "no_such_module_here" in error
    assert "Traceback" not in error


def test_an_exception_inside_the_application_is_shown_from_its_own_first_line(
    site: Path, steps: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (site / "breaks_on_import.py").write_text("def fail():\n    return 1 / 0\n\nfail()\n", encoding="utf-8")
    assert exit_status("breaks_on_import:app") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert f'{site / "breaks_on_import.py"}", line 4, in <module>' in lines[1]
    assert "ZeroDivisionError: division by zero" in lines
    assert lines[-1].startswith("error: ")
    assert not any("importlib" in line or "application.py" in line for line in lines)


def test_a_syntax_error_in_the_application_is_shown(
    site: Path, steps: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (site / "no_python.py").write_text("def app(:\n", encoding="utf-8")
    assert exit_status("no_python:app") == 1
    error = capsys.readouterr().err
    assert "no_python.py" in error
    assert "SyntaxError" in error


def test_an_error_without_a_cause_has_no_traceback(
    site: Path, steps: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    class Refusing(Command):
        def load_asgi_app(self, asgi_app_path: str) -> Callable[..., object]:
            raise ApplicationLoadError("there is none")

    with pytest.raises(SystemExit) as caught:
        Refusing().run(["x:y"])
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: there is none\n"


def test_an_interrupt_during_the_import_is_quiet_and_status_130(
    site: Path, steps: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (site / "interrupted.py").write_text("raise KeyboardInterrupt", encoding="utf-8")
    assert exit_status("interrupted:app") == 130
    assert capsys.readouterr().err == ""


# --check-config, --version


def test_check_config_prints_what_would_run_and_runs_nothing(
    site: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (site / "server.toml").write_text("timeout-write = 5\nbacklog = 2048", encoding="utf-8")
    monkeypatch.setenv("DAPHNE_CLONE_SERVER_NAME", "")
    options = "-c server.toml --check-config -p 9000 --uds-permissions 660 --header X:y"
    Command().run([*options.split(), "site_under_test:app"])
    assert capsys.readouterr().out.splitlines() == [
        "application: site_under_test:app",
        "endpoint: tcp:port=9000:interface=127.0.0.1",
        "port = 9000  (-p on the command line)",
        "unix-socket-permissions = 660  (--uds-permissions on the command line)",
        "timeout-write = 5  (timeout-write in server.toml)",
        "headers = x: y  (--header on the command line)",
        "server-name = ''  (DAPHNE_CLONE_SERVER_NAME)",
    ]
    assert RecordingServer.made == []


def test_check_config_tries_the_access_log(
    site: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(settings: Settings) -> None:
        raise ConfigurationError("--access-log", settings.access_log, "a file that can be written")

    monkeypatch.setattr(cli, "make_access_logger", refuse)
    (site / "server.toml").write_text("access-log = 'no/such/file'", encoding="utf-8")
    assert exit_status("-c", "server.toml", "--check-config", "site_under_test:app") == 2
    assert capsys.readouterr().err.startswith("error: access-log in server.toml: 'no/such/file' cannot be used")


def test_check_config_reads_the_certificates(site: Path, steps: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status("--check-config", "--ssl-certfile", "/nowhere.pem", "site_under_test:app") == 2
    assert "--ssl-certfile: '/nowhere.pem' cannot be used; expected a file in PEM" in capsys.readouterr().err


def test_check_config_does_not_show_a_password(
    site: Path, steps: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAPHNE_CLONE_SSL_KEYFILE_PASSWORD", "secret")
    Command().run(["--check-config", "-e", "ssl:443:privateKey=k", "site_under_test:app"])
    shown = capsys.readouterr().out
    assert "ssl-keyfile-password = ***" in shown
    assert "secret" not in shown


def test_check_config_imports_the_application(site: Path, steps: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status("--check-config", "site_under_test:nothing") == 1
    assert "nothing" in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status("--version") == 0
    assert capsys.readouterr().out.startswith("daphne-clone ")


def test_the_package_can_be_run(site: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "daphne_clone", "--check-config", "site_under_test:app"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (
        0,
        "application: site_under_test:app\nendpoint: tcp:port=8000:interface=127.0.0.1\n",
    )
