"""Environment variables and the config file: what they may say, how errors name it, and who wins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daphne_clone.config_sources import (
    Given,
    combine,
    from_environment,
    from_file,
    unknown_variables,
)
from daphne_clone.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def values(given: dict[str, Given]) -> dict[str, object]:
    return {name: choice.value for name, choice in given.items()}


def write(file: Path, text: str) -> str:
    file.write_text(text, encoding="utf-8")
    return str(file)


# Environment


def test_variables_are_read_by_kind() -> None:
    assert values(
        from_environment(
            {
                "DAPHNE_CLONE_APPLICATION": "app:app",
                "DAPHNE_CLONE_PORT": "9000",
                "DAPHNE_CLONE_TIMEOUT_WRITE": "2.5",
                "DAPHNE_CLONE_PROXY_HEADERS": "yes",
                "DAPHNE_CLONE_UNIX_SOCKET_PERMISSIONS": "660",
                "DAPHNE_CLONE_BIND": "127.0.0.1, [::1]:8001",
                "DAPHNE_CLONE_ENDPOINTS": "tcp:8000 unix:/run/a,b",
                "DAPHNE_CLONE_HEADERS": "X-A: 1, 2\nX-B: 3\n",
                "PORT": "1",
            }
        )
    ) == {
        "application": "app:app",
        "port": 9000,
        "timeout_write": 2.5,
        "proxy_headers": True,
        "unix_socket_permissions": 0o660,
        "bind": ("127.0.0.1", "[::1]:8001"),
        "endpoints": ("tcp:8000", "unix:/run/a,b"),
        "headers": ((b"x-a", b"1, 2"), (b"x-b", b"3")),
    }


def test_an_empty_variable_is_unset_unless_empty_is_a_value() -> None:
    given = from_environment({"DAPHNE_CLONE_PORT": "", "DAPHNE_CLONE_BIND": " ", "DAPHNE_CLONE_SERVER_NAME": ""})
    assert values(given) == {"server_name": ""}


def test_forwarded_allow_ips_goes_by_two_names_and_ours_wins() -> None:
    other = {"FORWARDED_ALLOW_IPS": "10.0.0.1,unix"}
    assert values(from_environment(other)) == {"forwarded_allow_ips": ("10.0.0.1", "unix")}
    ours = {**other, "DAPHNE_CLONE_FORWARDED_ALLOW_IPS": "*"}
    assert values(from_environment(ours)) == {"forwarded_allow_ips": ("*",)}


@pytest.mark.parametrize("variable", ["DAPHNE_CLONE_FORWARDED_ALLOW_IPS", "FORWARDED_ALLOW_IPS"])
def test_a_wrong_value_names_the_variable(variable: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_environment({variable: "127.0.0.1,here"})
    assert (caught.value.option, caught.value.value) == (variable, "here")


def test_variables_that_look_like_ours_are_found() -> None:
    environ = {"DAPHNE_CLONE_PROT": "1", "DAPHNE_CLONE_PORT": "1", "DAPHNE_CLONE_CONFIG": "x", "OTHER": "1"}
    found = unknown_variables(environ)
    assert list(found) == ["DAPHNE_CLONE_PROT"]
    assert "did you mean 'DAPHNE_CLONE_PORT'" in found["DAPHNE_CLONE_PROT"]


# File


def test_keys_are_fields_and_long_flags_with_either_joint(tmp_path: Path) -> None:
    path = write(
        tmp_path / "server.toml",
        """
        application = "app:app"
        host = ["127.0.0.1", "[::1]:8001"]
        timeout-keep-alive = 5
        limit_request_fields = 50
        uds-permissions = "660"
        header = ["X-A: 1, 2"]
        proxy-headers = true
        endpoint = "tcp:8000"
        """,
    )
    assert values(from_file(path)) == {
        "application": "app:app",
        "bind": ("127.0.0.1", "[::1]:8001"),
        "timeout_keep_alive": 5.0,
        "limit_request_fields": 50,
        "unix_socket_permissions": 0o660,
        "headers": ((b"x-a", b"1, 2"),),
        "proxy_headers": True,
        "endpoints": ("tcp:8000",),
    }


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("port = 70000", "port", 70000),
        ('port = "80"', "port", "80"),
        ("host = ['::1', 5]", "host", 5),
        ("uds-permissions = 660", "uds-permissions", 660),
        ("lifespan = true", "lifespan", True),
        ("access-log = false", "access-log", False),
        ("[bind]\nhost = 1", "bind", {"host": 1}),
    ],
)
def test_a_wrong_value_names_key_and_file(tmp_path: Path, line: str, key: str, value: object) -> None:
    path = write(tmp_path / "server.toml", line)
    with pytest.raises(ConfigurationError) as caught:
        from_file(path)
    assert (caught.value.option, caught.value.value) == (f"{key} in {path}", value)


def test_an_unknown_key_is_an_error_with_the_closest_name(tmp_path: Path) -> None:
    path = write(tmp_path / "server.toml", "timeout-keep-alife = 5")
    with pytest.raises(ConfigurationError, match=r"timeout-keep-alife in .*did you mean 'timeout_keep_alive'"):
        from_file(path)


def test_two_keys_for_one_option_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "server.toml", "host = '::1'\nbind = '::1'")
    with pytest.raises(ConfigurationError, match=r"bind in .* only one of this key and host in"):
        from_file(path)


@pytest.mark.parametrize("content", [b"port = ", b"port = '\xff'"])
def test_what_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "server.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"DAPHNE_CLONE_CONFIG: .*server.toml.* expected valid TOML"):
        from_file(str(path), "DAPHNE_CLONE_CONFIG")


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--config: .*No such file"):
        from_file(str(tmp_path / "server.toml"))


def test_pyproject_toml_of_the_directory_is_used_where_it_has_our_table(tmp_path: Path) -> None:
    assert from_file(None, directory=tmp_path) == {}
    write(tmp_path / "pyproject.toml", "[tool.other]\nport = 'x'")
    assert from_file(None, directory=tmp_path) == {}
    path = write(tmp_path / "pyproject.toml", "[tool.daphne-clone]\nport = 9000")
    assert from_file(None, directory=tmp_path) == {"port": Given(9000, f"port in {path}", path)}
    assert values(from_file(path)) == {"port": 9000}


def test_a_pyproject_toml_that_was_named_must_have_our_table(tmp_path: Path) -> None:
    path = write(tmp_path / "pyproject.toml", "[project]\nname = 'x'")
    with pytest.raises(ConfigurationError, match=r"\[tool.daphne-clone\]"):
        from_file(path)


# Both


def test_an_earlier_source_wins_option_by_option(tmp_path: Path) -> None:
    path = write(tmp_path / "server.toml", "port = 1\nhost = ['a', 'b']\nbacklog = 1\nverbosity = 0")
    environment = from_environment({"DAPHNE_CLONE_PORT": "2", "DAPHNE_CLONE_BIND": "c", "DAPHNE_CLONE_BACKLOG": "2"})
    resolved = combine({"port": Given(3, "-p", "command line")}, environment, from_file(path))
    settings = resolved.settings
    assert (settings.port, settings.backlog, settings.verbosity, settings.bind) == (3, 2, 0, ("c",))
    assert {name: choice.label for name, choice in resolved.given.items()} == {
        "port": "-p",
        "backlog": "DAPHNE_CLONE_BACKLOG",
        "verbosity": f"verbosity in {path}",
        "bind": "DAPHNE_CLONE_BIND",
    }


def test_options_that_do_not_go_together_are_named_as_written() -> None:
    with pytest.raises(ConfigurationError, match="DAPHNE_CLONE_PROXY_HEADERS_HOST: 'X-Real-IP'"):
        combine(from_environment({"DAPHNE_CLONE_PROXY_HEADERS_HOST": "X-Real-IP"}))


def test_an_access_log_in_one_source_outweighs_its_absence_in_a_later_one(tmp_path: Path) -> None:
    off = from_file(write(tmp_path / "off.toml", "access-log-enabled = false"))
    assert combine(from_environment({"DAPHNE_CLONE_ACCESS_LOG": "a.log"}), off).settings.access_log_enabled is True
    both = from_file(write(tmp_path / "both.toml", "access-log = 'a.log'\naccess-log-enabled = false"))
    assert combine(both).settings.access_log_enabled is False
