"""The table of options and the dataclass it is: what holds for every option, and what Settings does with values."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
import typing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daphne_clone.errors import ConfigurationError
from daphne_clone.settings import OPTIONS, Settings, find_option, settings_from_options

if TYPE_CHECKING:
    from daphne_clone.options.row import Option

ROOT = Path(__file__).resolve().parent.parent

every_option = pytest.mark.parametrize("row", OPTIONS, ids=lambda row: row.name)

# Spellings that users of Daphne and uvicorn type, by the field they set
SPELLINGS = {
    "bind": {"-b", "--bind", "--host"},
    "port": {"-p", "--port"},
    "unix_socket": {"-u", "--unix-socket", "--uds"},
    "unix_socket_permissions": {"--unix-socket-permissions", "--uds-permissions"},
    "file_descriptor": {"--fd"},
    "endpoints": {"-e", "--endpoint"},
    "verbosity": {"-v", "--verbosity"},
    "http_timeout": {"-t", "--http-timeout"},
    "websocket_timeout": {"--websocket-timeout", "--websocket_timeout"},
    "websocket_connect_timeout": {"--websocket-connect-timeout", "--websocket_connect_timeout"},
    "websocket_handshake_timeout": {"--websocket-handshake-timeout", "--websocket_handshake_timeout"},
    "websocket_max_message_size": {"--websocket-max-message-size", "--ws-max-size"},
    "websocket_max_frame_size": {"--websocket-max-frame-size"},
    "ws_max_queue": {"--ws-max-queue"},
    "ws_per_message_deflate": {"--ws-per-message-deflate", "--no-ws-per-message-deflate"},
    "ping_interval": {"--ping-interval", "--ws-ping-interval"},
    "ping_timeout": {"--ping-timeout", "--ws-ping-timeout"},
    "access_log": {"--access-log"},
    "access_log_enabled": {"--no-access-log"},
    "proxy_headers": {"--proxy-headers", "--no-proxy-headers"},
    "server_name": {"-s", "--server-name", "--no-server-name"},
    "date_header": {"--date-header", "--no-date-header"},
    "use_colors": {"--use-colors", "--no-use-colors"},
    "headers": {"--header"},
}


def test_table_and_dataclass_are_one() -> None:
    assert [row.name for row in OPTIONS] == [declared.name for declared in dataclasses.fields(Settings)]
    assert [row.default for row in OPTIONS] == [declared.default for declared in dataclasses.fields(Settings)]


@every_option
def test_default_has_the_type_of_the_field_and_is_in_final_form(row: Option) -> None:
    annotation = typing.get_type_hints(Settings)[row.name]
    members = typing.get_args(annotation) if typing.get_origin(annotation) is not tuple else (tuple,)
    assert type(row.default) in (members or (annotation,))
    assert getattr(Settings(), row.name) == row.default
    if row.default is not None and row.default != "":
        assert row.kind.check(row.default) == row.default


@every_option
def test_option_can_be_told_to_users(row: Option) -> None:
    assert row.help
    assert not row.help.endswith(".")
    assert row.group
    assert row.default_words
    assert row.kind.allowed


@every_option
def test_no_other_value_stands_for_an_option_left_open(row: Option) -> None:
    if row.default is not None:
        with pytest.raises(ConfigurationError):
            Settings(**{row.name: None})  # type: ignore[arg-type]  # the wrong type is the point


def test_no_spelling_key_or_variable_is_used_twice() -> None:
    for names in (
        [flag for row in OPTIONS for flag in (*row.flags, *row.constants)],
        [key for row in OPTIONS for key in row.keys],
        [variable for row in OPTIONS for variable in row.environment],
    ):
        assert len(names) == len(set(names))


@pytest.mark.parametrize("name", SPELLINGS)
def test_familiar_spellings_are_there(name: str) -> None:
    row = find_option(name)
    assert row is not None
    assert {*row.flags, *row.constants} == SPELLINGS[name]


@every_option
def test_every_other_option_is_spelled_as_its_field(row: Option) -> None:
    if row.name not in SPELLINGS and row.name != "application":
        assert f"--{row.name.replace('_', '-')}" in (*row.flags, *row.constants)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().port = 80  # type: ignore[misc]  # the error is the point
    assert not hasattr(Settings(), "__dict__")


def test_settings_can_be_sent_to_another_process() -> None:
    settings = Settings(bind=("::1",), headers=((b"x", b"y"),))
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_settings_name_a_wrong_value_by_the_field() -> None:
    with pytest.raises(
        ConfigurationError, match=r"port: 70000 cannot be used; expected a whole number from 0 to 65535"
    ):
        Settings(port=70000)


@pytest.mark.parametrize("name", ["proxy_headers_host", "proxy_headers_port"])
def test_fields_of_a_proxy_need_proxy_headers(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}: 'X-Real' cannot be used; expected proxy-headers"):
        settings_from_options(**{name: "X-Real"})
    assert getattr(settings_from_options(proxy_headers=True, **{name: "X-Real"}), name) == "X-Real"


def test_the_field_of_rfc_7239_has_no_other_beside_it_for_the_port() -> None:
    for name in ("Forwarded", "forwarded"):
        with pytest.raises(ConfigurationError, match="proxy_headers_port: 'X-Port' .* no such field"):
            settings_from_options(proxy_headers=True, proxy_headers_host=name, proxy_headers_port="X-Port")
        assert settings_from_options(proxy_headers=True, proxy_headers_host=name).proxy_headers_port is None


def test_keywords_are_fields_and_long_flags() -> None:
    settings = settings_from_options(
        host="::1", port=80, uds=Path("run/s"), header=["X: y"], timeout_write=5, fd=3, log_level="INFO"
    )
    assert settings == Settings(
        bind=("::1",), port=80, unix_socket="run/s", headers=((b"x", b"y"),), timeout_write=5.0, file_descriptor=3,
        log_level="info",
    )  # fmt: skip


def test_daphnes_word_for_a_websocket_without_end_is_understood() -> None:
    for name in ("websocket_timeout", "websocket_connect_timeout"):
        assert getattr(settings_from_options(**{name: -1}), name) == 0.0
        with pytest.raises(ConfigurationError, match=r"at least 0, or -1 for no limit"):
            settings_from_options(**{name: -2})
    for name in ("websocket_handshake_timeout", "ping_interval", "ping_timeout"):
        with pytest.raises(ConfigurationError, match=name):
            settings_from_options(**{name: -1})


def test_an_unknown_keyword_is_an_error_with_the_closest_name() -> None:
    with pytest.raises(ConfigurationError, match=r"prot: 80 cannot be used; expected .*did you mean 'port'"):
        settings_from_options(prot=80)
    with pytest.raises(ConfigurationError) as caught:
        settings_from_options(zzzzzz=1)
    assert "did you mean" not in str(caught.value)


def test_two_keywords_for_one_option_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="bind: 'a' cannot be used; expected only one of host and bind"):
        settings_from_options(host="b", bind="a")


def test_a_wrong_keyword_is_named_as_it_was_written() -> None:
    with pytest.raises(ConfigurationError, match="host: 'fd:3'"):
        settings_from_options(host=["::1", "fd:3"])


def test_reference_page_is_current() -> None:
    script = ROOT / "scripts" / "settings-reference"
    checked = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
