"""Where the server's log goes, and how Twisted's log and a configuration file join it."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import sys
import warnings

import pytest
from twisted.logger import LogBeginner, Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure

from daphne_clone.errors import ConfigurationError
from daphne_clone.observe import logs
from daphne_clone.settings import Settings


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def root():
    """The root logger; what the test does to it and to other loggers is undone."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)
    for each in root.manager.loggerDict.values():
        if isinstance(each, logging.Logger):
            each.disabled = False
            each.removeFilter(logs._is_news)


class StandardError:
    """What was written to standard error so far."""

    def __init__(self, capsys):
        self._capsys = capsys
        self._text = ""

    def getvalue(self):
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture(autouse=True)
def stderr(capsys):
    return StandardError(capsys)


@pytest.fixture(autouse=True)
def twisted_log(monkeypatch):
    """A publisher of Twisted's log that is ours alone, and not begun yet."""
    publisher = LogPublisher()
    monkeypatch.setattr(logs, "globalLogBeginner", LogBeginner(publisher, io.StringIO(), sys, warnings))
    monkeypatch.setattr(logs, "_bridge", logs._TwistedBridge())
    return publisher


def configure(**options):
    root = logging.getLogger()
    # pytest puts its own on the root logger for the time of the test, and takes them away itself
    root.handlers[:] = [each for each in root.handlers if not type(each).__module__.startswith("_pytest")]
    logs.configure(Settings(**options))


class TestLevel:
    @pytest.mark.parametrize(
        ("verbosity", "level"), [(0, logging.WARNING), (1, logging.INFO), (2, logging.DEBUG), (3, logging.DEBUG)]
    )
    def test_verbosity_sets_it(self, root, verbosity, level):
        configure(verbosity=verbosity)
        assert root.level == level

    @pytest.mark.parametrize(("name", "level"), [("error", logging.ERROR), ("debug", logging.DEBUG), ("trace", 5)])
    def test_log_level_wins(self, root, name, level):
        configure(verbosity=0, log_level=name)
        assert root.level == level


class TestForm:
    def test_default_is_daphnes(self, stderr):
        configure()
        logging.getLogger("daphne_clone.server").info("hello")
        assert stderr.getvalue().endswith(" INFO     hello\n")

    def test_log_fmt_is_used(self, stderr):
        configure(log_fmt="[%(name)s] %(message)s")
        logging.getLogger("a.b").warning("hello")
        assert stderr.getvalue() == "[a.b] hello\n"

    @pytest.mark.parametrize("form", ["%(nothing)s", "%(message", "%(message)d", "plain"])
    def test_log_fmt_that_formats_nothing_is_refused(self, form):
        with pytest.raises(ConfigurationError, match="--log-fmt"):
            configure(log_fmt=form)

    def test_colours_are_on_when_asked_for(self, stderr):
        configure(use_colors=True, log_fmt="%(levelname)-8s|%(message)s")
        logging.getLogger("a").error("hello")
        assert stderr.getvalue() == "\x1b[31mERROR\x1b[0m   |hello\n"

    def test_colours_need_a_level_in_the_format(self, stderr):
        configure(use_colors=True, log_fmt="%(message)s")
        logging.getLogger("a").error("an ERROR")
        assert stderr.getvalue() == "an ERROR\n"

    def test_colours_are_on_at_a_terminal(self, monkeypatch):
        monkeypatch.setattr(sys, "stderr", Terminal())
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("TERM", "xterm")
        configure()
        logging.getLogger("a").error("hello")
        assert "\x1b[31m" in sys.stderr.getvalue()

    @pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
    def test_terminal_may_refuse_colours(self, monkeypatch, variable, value):
        monkeypatch.setattr(sys, "stderr", Terminal())
        monkeypatch.setenv(variable, value)
        configure()
        logging.getLogger("a").error("hello")
        assert "\x1b" not in sys.stderr.getvalue()

    def test_no_colours_when_not_wanted(self, monkeypatch):
        monkeypatch.setattr(sys, "stderr", Terminal())
        configure(use_colors=False)
        logging.getLogger("a").error("hello")
        assert "\x1b" not in sys.stderr.getvalue()


class TestHandlers:
    def test_second_call_replaces_the_first(self, root, stderr):
        configure()
        configure(log_fmt="%(message)s", verbosity=0)
        logging.getLogger("a").warning("once")
        assert stderr.getvalue() == "once\n"
        assert (len(root.handlers), root.level) == (1, logging.WARNING)

    def test_handlers_of_somebody_else_stay_alone(self, root):
        theirs = logging.NullHandler()
        root.addHandler(theirs)
        configure()
        assert root.handlers == [theirs]

    def test_configuration_file_replaces_ours(self, root, tmp_path):
        configure()
        path = tmp_path / "logging.json"
        path.write_text('{"version": 1}')
        configure(log_config=str(path))
        assert root.handlers == []


CONFIG = {
    "version": 1,
    "formatters": {"f": {"format": "FILE %(message)s"}},
    "handlers": {"h": {"class": "logging.StreamHandler", "formatter": "f"}},
    "root": {"level": "INFO", "handlers": ["h"]},
}
TOML = """
version = 1
formatters.f.format = "FILE %(message)s"
handlers.h = { class = "logging.StreamHandler", formatter = "f" }
root = { level = "INFO", handlers = ["h"] }
"""
YAML = """
version: 1
formatters: {f: {format: "FILE %(message)s"}}
handlers: {h: {class: logging.StreamHandler, formatter: f}}
root: {level: INFO, handlers: [h]}
"""
INI = """
[loggers]
keys=root
[handlers]
keys=h
[formatters]
keys=f
[logger_root]
level=INFO
handlers=h
[handler_h]
class=StreamHandler
formatter=f
args=()
[formatter_f]
format=FILE %(message)s
"""


class TestLogConfig:
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("l.json", json.dumps(CONFIG)),
            ("l.toml", TOML),
            ("l.yaml", YAML),
            ("l.yml", YAML),
            ("l.ini", INI),
            ("logging.conf", INI),
            ("L.JSON", json.dumps(CONFIG)),
        ],
    )
    def test_file_is_applied(self, tmp_path, stderr, name, text):
        if name.endswith(("yaml", "yml")):
            pytest.importorskip("yaml")
        early = logging.getLogger("daphne_clone.early")
        path = tmp_path / name
        path.write_text(text)
        configure(log_config=str(path))
        early.info("made before and not disabled")
        assert stderr.getvalue() == "FILE made before and not disabled\n"

    def test_log_level_wins(self, root, tmp_path):
        path = tmp_path / "l.json"
        path.write_text(json.dumps(CONFIG))
        configure(log_config=str(path), log_level="error")
        assert root.level == logging.ERROR

    def test_file_may_ask_to_disable(self, tmp_path):
        early = logging.getLogger("early")
        path = tmp_path / "l.json"
        path.write_text(json.dumps({**CONFIG, "disable_existing_loggers": True}))
        configure(log_config=str(path))
        assert early.disabled

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("l.json", b"{"),
            ("l.json", b"[]"),
            ("l.json", b"{}"),
            ("l.json", b'{"version": 1, "handlers": {"h": {"class": "no.such.Handler"}}}'),
            ("l.toml", b"="),
            ("l.yaml", b"a: [}"),
            ("l.yaml", b"\xff\xfe\xfd"),
            ("l.ini", b""),
            ("l.ini", b"no section"),
            ("l.ini", b"[loggers]\nkeys=root\n"),
        ],
    )
    def test_broken_file_names_option_and_file(self, tmp_path, name, content):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ConfigurationError) as caught:
            configure(log_config=str(path))
        assert (caught.value.option, caught.value.value) == ("--log-config", str(path))

    def test_missing_file_names_option_and_file(self, tmp_path):
        with pytest.raises(ConfigurationError, match=r"--log-config: .*none\.ini"):
            configure(log_config=str(tmp_path / "none.ini"))

    def test_yaml_without_its_package_says_what_to_install(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "yaml", None)
        path = tmp_path / "l.yaml"
        path.write_text("version: 1")
        with pytest.raises(ConfigurationError, match="PyYAML"):
            configure(log_config=str(path))


class TestKeepEnabled:
    @pytest.fixture
    def disabled(self, root):
        """Makes a logger, and has an application's configuration disable it."""
        made = []

        def make(name, **config):
            made.append(logging.getLogger(name))
            handlers = root.handlers[:]
            logging.config.dictConfig({"version": 1, "disable_existing_loggers": True, **config})
            root.handlers[:] = handlers
            return made[-1]

        yield make
        for logger in made:
            logger.setLevel(logging.NOTSET)

    @pytest.mark.parametrize("name", ["daphne_clone", "daphne_clone.a.b", "asyncio"])
    def test_what_the_server_needs_speaks_again(self, disabled, name):
        logger = disabled(name)
        assert logger.disabled
        logs.keep_enabled()
        assert not logger.disabled

    @pytest.mark.parametrize("name", ["somebody.else", "daphne_clones", "asyncio.extra"])
    def test_other_loggers_stay_disabled(self, disabled, name):
        logger = disabled(name)
        logs.keep_enabled()
        assert logger.disabled

    def test_level_still_silences(self, disabled):
        logger = disabled("daphne_clone.a", loggers={"daphne_clone.a": {"level": "CRITICAL"}})
        logs.keep_enabled()
        assert not logger.isEnabledFor(logging.ERROR)


class TestTwistedLog:
    @pytest.mark.parametrize(("verbosity", "shown"), [(0, False), (1, False), (2, True), (3, True)])
    def test_events_need_verbosity(self, twisted_log, stderr, verbosity, shown):
        configure(verbosity=verbosity, log_fmt="%(name)s %(message)s")
        Logger("twisted.internet.tcp", observer=twisted_log).info("port {port} is open", port=80)
        assert stderr.getvalue() == ("twisted.internet.tcp port 80 is open\n" if shown else "")

    @pytest.mark.parametrize("level", [LogLevel.error, LogLevel.critical])
    def test_errors_are_always_shown(self, twisted_log, stderr, level):
        configure(verbosity=0, log_fmt="%(levelname)s %(message)s")
        Logger("twisted.x", observer=twisted_log).emit(level, "bad")
        assert stderr.getvalue() == f"{level.name.upper()} bad\n"

    def test_failures_are_shown_with_their_traceback(self, twisted_log, stderr):
        configure(verbosity=0)
        try:
            raise ZeroDivisionError("in a callback")
        except ZeroDivisionError:
            Logger("twisted.x", observer=twisted_log).failure("unhandled")
        assert "unhandled" in stderr.getvalue()
        assert "Traceback" in stderr.getvalue()
        assert "ZeroDivisionError: in a callback" in stderr.getvalue()

    def test_failure_without_traceback_is_shown(self, twisted_log, stderr):
        configure(verbosity=0)
        Logger("twisted.x", observer=twisted_log).failure("lost", Failure(ZeroDivisionError("x")))
        assert "ZeroDivisionError" in stderr.getvalue()

    def test_errors_are_shown_after_the_application_disabled_loggers(self, twisted_log, stderr):
        configure(verbosity=0)
        logging.getLogger("twisted.x").disabled = True
        Logger("twisted.x", observer=twisted_log).error("bad")
        assert "bad" in stderr.getvalue()

    def test_what_this_package_says_is_shown(self, twisted_log, stderr):
        configure(verbosity=1)
        Logger("daphne_clone.server", observer=twisted_log).info("listening")
        Logger("daphne_clone_other", observer=twisted_log).info("else")
        assert "listening" in stderr.getvalue()
        assert "else" not in stderr.getvalue()

    def test_what_this_package_says_is_shown_after_the_application_disabled_loggers(self, twisted_log, stderr):
        configure(verbosity=1)
        logging.getLogger("daphne_clone.transport").disabled = True
        Logger("daphne_clone.transport", observer=twisted_log).warn("odd")
        assert "odd" in stderr.getvalue()

    def test_level_of_the_logger_counts(self, twisted_log, stderr):
        configure(verbosity=2, log_level="error")
        Logger("twisted.x", observer=twisted_log).info("quiet")
        assert stderr.getvalue() == ""

    def test_what_was_said_before_is_shown(self, twisted_log, stderr):
        Logger("twisted.x", observer=twisted_log).error("early")
        configure()
        assert "early" in stderr.getvalue()

    def test_second_call_shows_each_event_once(self, twisted_log, stderr):
        configure(verbosity=2)
        configure(verbosity=2, log_fmt="%(message)s")
        Logger("twisted.x", observer=twisted_log).info("once")
        assert stderr.getvalue() == "once\n"

    def test_python_warnings_stay_where_they_were(self):
        before = warnings.showwarning
        configure()
        assert warnings.showwarning is before

    def test_braces_in_an_event_do_no_harm(self, twisted_log, stderr):
        configure(log_fmt="%(message)s")
        Logger("twisted.x", observer=twisted_log).error("100%s {x}", x="{y}")
        assert stderr.getvalue() == "100%s {y}\n"


class TestLoops:
    def test_writes_behind_the_loss_of_a_connection_are_no_news(self, stderr):
        configure()
        configure()
        logger = logging.getLogger("asyncio")
        logger.warning("socket.send() raised exception.")
        logger.warning("SSL connection is closed")
        logger.warning("something else")
        assert "something else" in stderr.getvalue()
        assert "exception" not in stderr.getvalue()
        assert "closed" not in stderr.getvalue()
