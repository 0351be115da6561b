"""daphne_clone.tap: arguments of Twisted's commands become settings of a service; tests/process has the commands."""

from __future__ import annotations

import os
import sys

import pytest
from twisted.python.usage import UsageError

from daphne_clone import service, tap
from daphne_clone.errors import ConfigurationError
from daphne_clone.settings import OPTIONS
from daphne_clone.tap import Options


@pytest.fixture(autouse=True)
def reactors(monkeypatch, tmp_path):
    """Install no reactor in this process, and note for which loop one was asked for; be where no options are."""
    asked = []
    monkeypatch.setattr(tap, "asyncio_reactor", asked.append)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # the application's directory is put there
    for name in [name for name in os.environ if name.startswith("DAPHNE_CLONE_")]:
        monkeypatch.delenv(name)
    return asked


def parsed(*arguments):
    options = Options()
    options.parseOptions(list(arguments))
    return options.settings


def test_every_option_of_the_server_is_one_of_the_command():
    text = str(Options())
    assert [flag for row in OPTIONS for flag in (*row.flags, *row.constants) if flag not in text] == []


def test_arguments_become_settings_and_the_reactor_is_that_of_their_loop(reactors):
    settings = parsed("-b", "0.0.0.0", "-p", "8000", "--loop", "asyncio", "--no-access-log", "mysite:app")
    assert settings.application == "mysite:app"
    assert (settings.bind, settings.port, settings.access_log_enabled) == (("0.0.0.0",), 8000, False)
    assert reactors == ["asyncio"]


def test_environment_and_config_file_count(monkeypatch, tmp_path):
    (tmp_path / "options.toml").write_text('server_name = "of the file"\nport = 1\n')
    monkeypatch.setenv("DAPHNE_CLONE_PORT", "2")
    settings = parsed("--config", "options.toml", "-t", "3", "mysite:app")
    assert (settings.server_name, settings.port, settings.http_timeout) == ("of the file", 2, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "the application is missing"),
        (("-p", "x", "mysite:app"), "-p: 'x' cannot be used"),
        (("--nonsense", "mysite:app"), "--nonsense"),
        (("-c", "missing.toml", "mysite:app"), "missing.toml"),
        (("--check-config", "no_such_module:app"), "no_such_module"),
    ],
)
def test_what_cannot_be_used_is_a_usage_error(arguments, words):
    with pytest.raises(UsageError, match=words):
        parsed(*arguments)


def test_wrong_reactor_is_a_usage_error(monkeypatch):
    def refuse(loop):
        raise ConfigurationError("reactor", "SelectReactor", "the one on asyncio")

    monkeypatch.setattr(tap, "asyncio_reactor", refuse)
    with pytest.raises(UsageError, match="SelectReactor"):
        parsed("mysite:app")


def test_service_is_made_of_the_settings(monkeypatch):
    made = []
    monkeypatch.setattr(tap, "ASGIService", lambda *arguments, **keywords: made.append((arguments, keywords)))
    options = Options()
    options.parseOptions(["mysite:app"])
    tap.makeService(options)
    assert made == [(("mysite:app",), {"settings": options.settings})]
    assert service.ASGIService.__module__ == "daphne_clone.service"


def test_configuration_is_checked_without_a_service(capsys):
    with pytest.raises(SystemExit) as ended:
        parsed("--check-config", "-p", "8001", "json:dumps")
    assert ended.value.code == 0
    assert "endpoint: tcp:port=8001:interface=127.0.0.1" in capsys.readouterr().out
