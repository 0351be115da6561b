"""The parser that is made from the table: spellings, what it notes of them, and its help output."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from daphne_clone.arguments import build_parser, resolve
from daphne_clone.errors import ConfigurationError
from daphne_clone.settings import OPTIONS, Settings

if TYPE_CHECKING:
    from pathlib import Path

    from daphne_clone.config_sources import Resolved
    from daphne_clone.options.row import Option


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def on_a_wide_terminal_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.setenv("PYTHON_COLORS", "0")


def resolved(*arguments: str, environ: dict[str, str] | None = None) -> Resolved:
    return resolve(build_parser("A server").parse_args(arguments), environ or {})


def settings(*arguments: str) -> Settings:
    return resolved(*arguments).settings


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("app:app", {"application": "app:app"}),
        ("-b 127.0.0.1 -p 8000 app:app", {"application": "app:app", "bind": ("127.0.0.1",), "port": 8000}),
        ("--host ::1 --bind [::1]:80 -b unix:x", {"bind": ("::1", "[::1]:80", "unix:x")}),
        ("-p 1 --port 2", {"port": 2}),
        ("-u a", {"unix_socket": "a"}),
        ("--unix-socket a", {"unix_socket": "a"}),
        ("--uds a", {"unix_socket": "a"}),
        ("--uds-permissions 660", {"unix_socket_permissions": 0o660}),
        ("--unix-socket-permissions 0o600", {"unix_socket_permissions": 0o600}),
        ("--fd 0", {"file_descriptor": 0}),
        ("-e tcp:1 --endpoint tcp:2", {"endpoints": ("tcp:1", "tcp:2")}),
        ("-v 2", {"verbosity": 2}),
        ("--verbosity 0", {"verbosity": 0}),
        ("-t 5", {"http_timeout": 5.0}),
        ("--http-timeout 5", {"http_timeout": 5.0}),
        ("--access-log=x.log", {"access_log": "x.log", "access_log_enabled": True}),
        ("--access-log -", {"access_log": "-", "access_log_enabled": True}),
        ("--access-log", {"access_log": "-", "access_log_enabled": True}),
        ("--no-access-log", {"access_log_enabled": False}),
        ("--access-log --no-access-log", {"access_log": "-", "access_log_enabled": False}),
        ("--no-access-log --access-log", {"access_log": "-", "access_log_enabled": True}),
        ("--log-fmt %(message)s", {"log_fmt": "%(message)s"}),
        ("--application-close-timeout 3", {"application_close_timeout": 3.0}),
        ("--root-path /app", {"root_path": "/app"}),
        ("--proxy-headers", {"proxy_headers": True}),
        ("--proxy-headers --no-proxy-headers", {"proxy_headers": False}),
        ("--proxy-headers --proxy-headers-host X-A", {"proxy_headers": True, "proxy_headers_host": "X-A"}),
        ("--proxy-headers --proxy-headers-port X-A", {"proxy_headers": True, "proxy_headers_port": "X-A"}),
        ("--proxy-protocol", {"proxy_protocol": True}),
        ("-s nginx", {"server_name": "nginx"}),
        ("--no-server-name", {"server_name": ""}),
        ("--no-server-name --server-name x", {"server_name": "x"}),
        ("--no-date-header", {"date_header": False}),
        ("--header X-A:1 --header X-B:2", {"headers": ((b"x-a", b"1"), (b"x-b", b"2"))}),
        (
            "--loop asyncio --lifespan off --interface asgi2",
            {"loop": "asyncio", "lifespan": "off", "interface": "asgi2"},
        ),
        ("--factory --app-dir src", {"factory": True, "app_dir": "src"}),
        ("--log-level DEBUG --log-config l.toml", {"log_level": "debug", "log_config": "l.toml"}),
        ("--no-use-colors", {"use_colors": False}),
        ("--forwarded-allow-ips 10.0.0.0/8,unix", {"forwarded_allow_ips": ("10.0.0.0/8", "unix")}),
        ("--timeout-write 0 --limit-request-body 5", {"timeout_write": 0.0, "limit_request_body": 5}),
        ("--backlog 5 --request-buffer-size 7", {"backlog": 5, "request_buffer_size": 7}),
    ],
)
def test_arguments_become_settings(arguments: str, expected: dict[str, object]) -> None:
    made = settings(*arguments.split())
    assert {row.name: getattr(made, row.name) for row in OPTIONS if row.name in expected} == expected
    untouched = [row.name for row in OPTIONS if row.name not in expected]
    assert [name for name in untouched if getattr(made, name) != getattr(Settings(), name)] == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("-p 70000", "-p: '70000'"),
        ("--port x", "--port: 'x'"),
        ("--uds-permissions 999", "--uds-permissions: '999'"),
        ("--timeout-write -1", "--timeout-write: '-1'"),
        ("--host fd:3", "--host: 'fd:3'"),
        ("--log-level loud", "--log-level: 'loud'"),
        ("--header X", "--header: 'X'"),
        ("--forwarded-allow-ips unix,me", "--forwarded-allow-ips: 'me'"),
        ("--proxy-headers-port X-P", "--proxy-headers-port: 'X-P'"),
        ("-e 8000", "-e: '8000'"),
    ],
)
def test_a_wrong_value_names_the_spelling_used(arguments: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{re.escape(named)} cannot be used; expected "):
        resolved(*arguments.split())


@pytest.mark.parametrize("arguments", ["--timeout-keep 5", "--workers 2", "--port", "app:app other:app"])
def test_what_the_table_does_not_know_ends_with_status_2(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        resolved(*arguments.split())
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text("port = 1\nbacklog = 1\nverbosity = 0\nhost = ['::1']", encoding="utf-8")
    environ = {"DAPHNE_CLONE_PORT": "2", "DAPHNE_CLONE_BACKLOG": "2"}
    found = resolved("-p", "3", "-c", str(path), "-b", "a", "-b", "b", environ=environ)
    assert {name: (choice.value, choice.label) for name, choice in found.given.items()} == {
        "port": (3, "-p"),
        "backlog": (2, "DAPHNE_CLONE_BACKLOG"),
        "verbosity": (0, f"verbosity in {path}"),
        "bind": (("a", "b"), "-b"),
    }


def test_the_config_file_may_be_named_by_a_variable(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text("port = 1", encoding="utf-8")
    assert resolved(environ={"DAPHNE_CLONE_CONFIG": str(path)}).settings.port == 1
    assert resolved(environ={"DAPHNE_CLONE_CONFIG": ""}).settings.port is None
    with pytest.raises(ConfigurationError, match=r"DAPHNE_CLONE_CONFIG: 'none\.toml'"):
        resolved(environ={"DAPHNE_CLONE_CONFIG": "none.toml"})


def test_pyproject_toml_of_the_current_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.daphne-clone]\nport = 1", encoding="utf-8")
    assert settings().port == 1
    (tmp_path / "server.toml").write_text("backlog = 1", encoding="utf-8")
    assert settings("-c", "server.toml") == Settings(backlog=1)


def test_arguments_may_be_added_to_the_parser() -> None:
    parser = build_parser("A server")
    parser.add_argument("--shards", type=int, default=1)
    namespace = parser.parse_args(["--shards", "3", "-p", "9000", "app:app"])
    assert namespace.shards == 3
    assert (namespace.port, namespace.application, namespace.backlog) == (9000, "app:app", 2048)


def test_a_parser_used_twice_remembers_nothing() -> None:
    parser = build_parser("A server")
    assert resolve(parser.parse_args(["-b", "a"]), {}).settings.bind == ("a",)
    assert resolve(parser.parse_args(["-b", "b"]), {}).settings.bind == ("b",)
    assert resolve(parser.parse_args([]), {}).given == {}


@pytest.mark.parametrize("row", OPTIONS, ids=lambda row: row.name)
def test_help_ends_with_unit_and_default_under_the_heading_of_its_topic(row: Option) -> None:
    groups = build_parser("A server").format_help().split("\n\n")
    section = " ".join(next(group for group in groups if group.startswith(f"{row.group}:")).split())
    default = row.default_words if row.default_words == "required" else f"default: {row.default_words}"
    assert f"{row.help} ({row.unit}{'; ' if row.unit else ''}{default})" in section
    assert all(f"{flag}" in section for flag in (*row.flags, *row.constants))


@pytest.mark.parametrize(
    ("argv0", "name"),
    [("/usr/bin/server", "server"), ("/lib/daphne_clone/__main__.py", "python -m daphne_clone")],
)
def test_usage_names_the_command_as_it_was_started(monkeypatch: pytest.MonkeyPatch, argv0: str, name: str) -> None:
    monkeypatch.setattr("sys.argv", [argv0])
    assert build_parser("A server").format_usage() == f"usage: {name} [options] module:attribute\n"
