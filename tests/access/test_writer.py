"""The action loggers: Daphne's, and the one whose lines keep coming whatever the application does to logging."""

from __future__ import annotations

import datetime
import io
import logging
import logging.config
import os
import re
import subprocess
import sys

import pytest

from daphne_clone import access
from daphne_clone.access import AccessLogGenerator, make_access_logger, reopen_logs
from daphne_clone.errors import ConfigurationError
from daphne_clone.settings import Settings
from tests.support.access_details import DETAILS, HOSTILE, NOW, Failing


def make(**options):
    return make_access_logger(Settings(**options))


class TestAccessLogGenerator:
    def log(self, *events):
        stream = io.StringIO()
        generator = AccessLogGenerator(stream)
        for event in events:
            generator(*event)
        return stream.getvalue()

    def test_http_line_is_daphnes(self):
        assert self.log(("http", "complete", DETAILS)) == (
            '127.0.0.1:52814 - - [21/Nov/2026:10:00:00] "GET /path?a=1" 200 12\n'
        )

    @pytest.mark.parametrize(
        ("action", "verb"),
        [
            ("connecting", "WSCONNECTING"),
            ("connected", "WSCONNECT"),
            ("disconnected", "WSDISCONNECT"),
            ("rejected", "WSREJECT"),
        ],
    )
    def test_websocket_line_is_daphnes(self, action, verb):
        details = {"path": "/chat", "client": "127.0.0.1:52814"}
        assert self.log(("websocket", action, details)) == (
            f'127.0.0.1:52814 - - [21/Nov/2026:10:00:00] "{verb} /chat" - -\n'
        )

    def test_other_actions_are_not_logged(self):
        assert self.log(("http", "started", DETAILS), ("quic", "complete", DETAILS)) == ""

    @pytest.mark.parametrize("missing", [{"status": None, "size": None, "client": None}, {"size": 0, "status": 0}])
    def test_what_is_missing_is_a_dash(self, missing):
        assert re.fullmatch(
            r'\S+ - - \[[^]]+\] "GET /path\?a=1" - -\n', self.log(("http", "complete", {**DETAILS, **missing}))
        )

    def test_details_may_be_empty(self):
        assert self.log(("http", "complete", {})) == '- - - [21/Nov/2026:10:00:00] "- -" - -\n'

    def test_time_moves_on(self, clock):
        stream = io.StringIO()
        generator = AccessLogGenerator(stream)
        for second in range(2):
            clock[0] = NOW + second
            generator("http", "complete", DETAILS)
        assert re.findall(r"10:00:0\d", stream.getvalue()) == ["10:00:00", "10:00:01"]

    def test_write_entry_takes_all_columns(self):
        stream = io.StringIO()
        date = datetime.datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001  # Daphne's callers give it so
        AccessLogGenerator(stream).write_entry("h", date, "R", 201, 5, "i", "u")
        AccessLogGenerator(stream).write_entry("h", date, "R")
        assert stream.getvalue() == 'h i u [02/Jan/2026:03:04:05] "R" 201 5\nh - - [02/Jan/2026:03:04:05] "R" - -\n'

    def test_write_entry_may_be_overridden(self):
        requests = []

        class Mine(AccessLogGenerator):
            def write_entry(self, host, date, request, **rest):
                requests.append(request)

        Mine(io.StringIO())("http", "complete", DETAILS)
        assert requests == ["GET /path?a=1"]

    def test_write_entry_escapes(self):
        stream = io.StringIO()
        AccessLogGenerator(stream).write_entry(
            HOSTILE, datetime.datetime.now(datetime.UTC), HOSTILE, 200, 1, HOSTILE, HOSTILE
        )
        assert stream.getvalue()[:-1].isprintable()
        assert stream.getvalue().count('"') == 2

    def test_failing_stream_raises_nothing_and_is_reported_once(self, caplog):
        generator = AccessLogGenerator(Failing())
        for _ in range(3):
            generator("http", "complete", DETAILS)
        assert [record.levelname for record in caplog.records] == ["ERROR"]


class TestSettings:
    @pytest.mark.parametrize(
        ("options", "on"),
        [
            ({}, True),
            ({"verbosity": 0}, False),
            ({"verbosity": 0, "access_log": "-"}, True),
            ({"verbosity": 0, "access_log_enabled": True}, True),
            ({"verbosity": 3, "access_log_enabled": False}, False),
            ({"access_log": "-", "access_log_enabled": False}, False),
        ],
    )
    def test_when_it_is_on(self, options, on):
        assert (make(**options) is not None) is on

    @pytest.mark.parametrize("options", [{}, {"access_log": "-"}])
    def test_standard_output_is_the_default(self, capsys, options):
        make(**options)("http", "complete", DETAILS)
        assert capsys.readouterr().out == '127.0.0.1:52814 - - [21/Nov/2026:10:00:00] "GET /path?a=1" 200 12\n'

    def test_process_without_standard_output_has_none(self, monkeypatch):
        monkeypatch.setattr(sys, "stdout", None)
        assert make() is None

    def test_file_is_appended_to(self, tmp_path):
        path = tmp_path / "access.log"
        path.write_text("earlier\n")
        make(access_log=str(path))("http", "complete", DETAILS)
        assert path.read_text().startswith("earlier\n127.0.0.1")

    def test_file_that_cannot_be_opened_is_refused(self, tmp_path):
        with pytest.raises(ConfigurationError, match=r"--access-log: .*No such file"):
            make(access_log=str(tmp_path / "none" / "access.log"))

    def test_failing_standard_output_raises_nothing(self, monkeypatch, caplog):
        monkeypatch.setattr(sys, "stdout", Failing())
        make()("http", "complete", DETAILS)
        assert [record.levelname for record in caplog.records] == ["ERROR"]

    def test_other_actions_are_not_logged(self, capsys):
        make()("http", "started", DETAILS)
        assert capsys.readouterr().out == ""

    def test_second_logger_replaces_the_first(self, tmp_path, logger):
        make(access_log=str(tmp_path / "one"))
        make(access_log=str(tmp_path / "two"))("http", "complete", DETAILS)
        assert (tmp_path / "one").read_text() == ""
        assert len(logger.handlers) == 1


class TestReopening:
    def test_reopen_writes_to_the_new_file(self, tmp_path):
        path = tmp_path / "access.log"
        log = make(access_log=str(path))
        log("http", "complete", DETAILS)
        path.rename(tmp_path / "access.log.1")
        reopen_logs()
        log("http", "complete", DETAILS)
        assert path.read_text() == (tmp_path / "access.log.1").read_text() != ""

    def test_reopen_reaches_file_handlers_of_logging(self, tmp_path):
        path = tmp_path / "server.log"
        handler = logging.FileHandler(path)
        server = logging.getLogger("daphne_clone.some_server")
        server.addHandler(handler)
        try:
            path.rename(tmp_path / "server.log.1")
            reopen_logs()
            server.error("after")
            assert path.read_text() == "after\n"
        finally:
            server.removeHandler(handler)
            handler.close()

    def test_file_handler_that_cannot_reopen_is_reported(self, tmp_path, caplog):
        path = tmp_path / "logs" / "server.log"
        path.parent.mkdir()
        handler = logging.FileHandler(path)
        server = logging.getLogger("daphne_clone.some_server")
        server.addHandler(handler)
        try:
            path.unlink()
            path.parent.rmdir()
            reopen_logs()
            assert "cannot be opened again" in caplog.text
        finally:
            server.removeHandler(handler)
            handler.close()

    def test_reopen_leaves_standard_output_alone(self, capsys):
        log = make()
        reopen_logs()
        log("http", "complete", DETAILS)
        assert capsys.readouterr().out != ""


ROOT_ONLY = {
    "version": 1,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}


class TestReconfiguration:
    """What an application does to logging after the server has started."""

    @pytest.mark.parametrize(
        "config",
        [
            {"version": 1, "disable_existing_loggers": True},
            ROOT_ONLY,
            {**ROOT_ONLY, "loggers": {"django": {"level": "INFO"}}},
            {**ROOT_ONLY, "loggers": {"daphne_clone": {"level": "ERROR", "handlers": ["console"]}}},
        ],
        ids=["disable", "root", "other logger", "our parent"],
    )
    @pytest.mark.parametrize("to_file", [False, True])
    def test_lines_keep_coming_once_each(self, config, to_file, tmp_path, capsys):
        path = tmp_path / "access.log"
        log = make(access_log=str(path) if to_file else None)
        log("http", "complete", DETAILS)
        logging.config.dictConfig(config)
        log("http", "complete", DETAILS)
        captured = capsys.readouterr()
        assert (path.read_text() if to_file else captured.out).count("\n") == 2
        assert captured.err == ""
        log.close()

    def test_close_takes_the_handler_away(self, logger, tmp_path):
        make(access_log=str(tmp_path / "access.log")).close()
        assert logger.handlers == []

    @pytest.mark.parametrize("disabled", ["True", "False"])
    def test_lines_keep_coming_after_django_setup(self, disabled):
        pytest.importorskip("django")
        program = f"""
from daphne_clone.access import make_access_logger
from daphne_clone.settings import Settings
log = make_access_logger(Settings())
import django
from django.conf import settings
settings.configure(LOGGING={{"version": 1, "disable_existing_loggers": {disabled},
    "handlers": {{"c": {{"class": "logging.StreamHandler"}}}}, "root": {{"handlers": ["c"]}}}})
django.setup()
log("http", "complete", {{"path": "/x", "method": "GET", "client": "c:1", "status": 200, "size": 1}})
"""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program], check=True, env=environment, capture_output=True, timeout=30
        )
        assert (done.stdout.count(b"GET /x"), done.stderr) == (1, b"")

    def test_lines_keep_coming_after_litestar_configured_logging(self):
        pytest.importorskip("litestar")
        program = """
from daphne_clone.access import make_access_logger
from daphne_clone.settings import Settings
log = make_access_logger(Settings())
from litestar import Litestar
Litestar()
log("http", "complete", {"path": "/x", "method": "GET", "client": "c:1", "status": 200, "size": 1})
"""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program], check=True, env=environment, capture_output=True, timeout=30
        )
        assert done.stdout.count(b"GET /x") == 1

    def test_handlers_the_application_gave_the_logger_take_over(self, capsys):
        log = make()
        config = {**ROOT_ONLY, "loggers": {access.LOGGER_NAME: {"handlers": ["console"], "level": "INFO"}}}
        logging.config.dictConfig(config)
        log("http", "complete", DETAILS)
        captured = capsys.readouterr()
        assert (captured.out, captured.err.count("GET /path")) == ("", 1)

    def test_handlers_given_before_take_the_place_of_standard_output(self, logger, capsys):
        stream = io.StringIO()
        logger.addHandler(logging.StreamHandler(stream))
        make()("http", "complete", DETAILS)
        assert (capsys.readouterr().out, stream.getvalue().count("\n")) == ("", 1)

    def test_handlers_given_before_stand_beside_a_file(self, logger, tmp_path):
        stream = io.StringIO()
        logger.addHandler(logging.StreamHandler(stream))
        make(access_log=str(tmp_path / "a"))("http", "complete", DETAILS)
        assert stream.getvalue() == (tmp_path / "a").read_text() != ""

    def test_handler_added_later_gets_lines_too_even_when_disabled(self, logger, capsys):
        log = make()
        stream = io.StringIO()
        logger.addHandler(logging.StreamHandler(stream))
        logger.disabled = True
        log("http", "complete", {**DETAILS, "path": "/100%s"})
        assert stream.getvalue() == capsys.readouterr().out
        assert "/100%s" in stream.getvalue()

    def test_filter_on_the_logger_counts(self, logger, capsys):
        log = make()
        logger.addFilter(lambda record: "/path" not in record.getMessage())
        log("http", "complete", DETAILS)
        log("http", "complete", {**DETAILS, "path": "/other"})
        assert capsys.readouterr().out.count("\n") == 1

    def test_level_above_info_silences(self, logger, capsys):
        log = make()
        logger.setLevel(logging.WARNING)
        log("http", "complete", DETAILS)
        assert capsys.readouterr().out == ""

    def test_logging_disable_silences(self, capsys):
        log = make()
        logging.disable(logging.INFO)
        try:
            log("http", "complete", DETAILS)
        finally:
            logging.disable(logging.NOTSET)
        assert capsys.readouterr().out == ""

    def test_lines_do_not_reach_the_root_logger(self, caplog):
        make()("http", "complete", DETAILS)
        assert caplog.records == []
