"""The access log: what a line says, and that lines keep coming whatever the application does to logging."""

from __future__ import annotations

import base64
import datetime
import errno
import io
import json
import logging
import logging.config
import os
import re
import subprocess
import sys
import time

import pytest

from daphne_clone import access
from daphne_clone.access import AccessLogGenerator, make_access_logger, make_renderer, reopen_logs
from daphne_clone.errors import ConfigurationError
from daphne_clone.settings import Settings

NOW = datetime.datetime(2026, 11, 21, 10, 0, 0, 123_456, tzinfo=datetime.UTC).timestamp()
COMBINED = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'

DETAILS = {
    "path": "/path?a=1",
    "status": 200,
    "method": "GET",
    "client": "127.0.0.1:52814",
    "time_taken": 0.0123456,
    "size": 12,
}
FULL = {
    **DETAILS,
    "http_version": "1.1",
    "scheme": "http",
    "headers": [
        (b"host", b"example.org"),
        (b"user-agent", b"curl/8"),
        (b"referer", b"http://example.org/"),
        (b"authorization", b"Basic " + base64.b64encode(b"ann:secret")),
    ],
    "response_headers": [(b"content-type", b"text/plain")],
}
HOSTILE = 'x"\r\n127.0.0.1 - - "GET /fake" 200 1\x1b[2J\\\u2028\ud800'
HOSTILE_BYTES = HOSTILE.encode("utf-8", "surrogatepass")
HOSTILE_DETAILS = {
    "path": HOSTILE,
    "method": HOSTILE,
    "client": HOSTILE,
    "status": 200,
    "http_version": HOSTILE,
    "scheme": HOSTILE,
    "query_string": HOSTILE_BYTES,
    "headers": [
        (b"user-agent", HOSTILE_BYTES),
        (b"referer", HOSTILE_BYTES),
        (b"authorization", b"Basic " + base64.b64encode(HOSTILE.encode("utf-8", "replace") + b":x")),
    ],
    "response_headers": [(b"x-echo", HOSTILE_BYTES)],
}


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that stands, in UTC, and can be set."""
    now = [NOW]
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(access.time, "time", lambda: now[0])
    yield now
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def logger():
    """The access log's logger, and afterwards all of logging as it was."""
    root = logging.getLogger()
    root_before = root.handlers[:], root.level
    before = {
        name: (each.handlers[:], each.level, each.propagate)
        for name, each in root.manager.loggerDict.items()
        if isinstance(each, logging.Logger)
    }
    yield logging.getLogger(access.LOGGER_NAME)
    for handler in list(access._access_handlers):
        handler.close()
    root.handlers[:], level = root_before
    root.setLevel(level)
    for name, each in root.manager.loggerDict.items():
        if isinstance(each, logging.Logger):
            each.handlers[:], level, each.propagate = before.get(name, ([], logging.NOTSET, True))
            each.setLevel(level)
            each.disabled = False
            each.filters[:] = []


def make(**options):
    return make_access_logger(Settings(**options))


def line(form, details=DETAILS, protocol="http", action="complete"):
    return make_renderer(form)(protocol, action, details)


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

    def test_failing_stream_raises_nothing_and_is_reported_once(self, caplog):
        generator = AccessLogGenerator(Failing())
        for _ in range(3):
            generator("http", "complete", DETAILS)
        assert [record.levelname for record in caplog.records] == ["ERROR"]


class Failing(io.StringIO):
    """A stream on a full disk, while ``error`` is set."""

    error: Exception | None = OSError(errno.ENOSPC, "No space left on device")

    def write(self, text):
        if self.error is not None:
            raise self.error
        return super().write(text)


class TestJSON:
    def test_every_key_is_there(self):
        assert json.loads(line("json", FULL)) == {
            "time": "2026-11-21T10:00:00.123Z",
            "protocol": "http",
            "event": "complete",
            "client": "127.0.0.1:52814",
            "method": "GET",
            "path": "/path",
            "query": "a=1",
            "status": 200,
            "size": 12,
            "duration_ms": 12.346,
            "http_version": "1.1",
            "scheme": "http",
            "user_agent": "curl/8",
            "referer": "http://example.org/",
        }

    @pytest.mark.parametrize("details", [{}, DETAILS])
    def test_what_is_missing_is_null(self, details):
        parsed = json.loads(line("json", details))
        assert parsed["user_agent"] is parsed["http_version"] is None
        assert len(parsed) == 14

    def test_websocket(self):
        parsed = json.loads(line("json", {"path": "/chat", "client": "c:1"}, "websocket", "rejected"))
        assert (parsed["protocol"], parsed["event"], parsed["status"]) == ("websocket", "rejected", None)

    def test_size_zero_is_zero(self):
        assert json.loads(line("json", {**DETAILS, "size": 0}))["size"] == 0


ATOMS = [
    ("h", "127.0.0.1"),
    ("l", "-"),
    ("u", "ann"),
    ("t", "[21/Nov/2026:10:00:00 +0000]"),
    ("r", "GET /path?a=1 HTTP/1.1"),
    ("m", "GET"),
    ("U", "/path"),
    ("q", "a=1"),
    ("H", "HTTP/1.1"),
    ("s", "200"),
    ("B", "12"),
    ("b", "12"),
    ("f", "http://example.org/"),
    ("a", "curl/8"),
    ("T", "0"),
    ("M", "12"),
    ("D", "12345"),
    ("L", "0.012346"),
    ("p", f"<{os.getpid()}>"),
    ("{Host}i", "example.org"),
    ("{x-none}i", "-"),
    ("{Content-Type}o", "text/plain"),
    ("{x-none}o", "-"),
    ("{HOME}e", "-"),
]


class TestAtoms:
    @pytest.mark.parametrize(("atom", "value"), ATOMS)
    def test_atom(self, atom, value):
        assert line(f"%({atom})s", FULL) == value

    @pytest.mark.parametrize("atom", [atom for atom, _ in ATOMS])
    def test_atom_with_nothing_known(self, atom):
        assert line(f"<%({atom})s>", {}).startswith("<")
        assert line(f"<%({atom})s>", {}, "websocket", "rejected").startswith("<")

    def test_combined_format(self):
        assert line(COMBINED, FULL) == (
            '127.0.0.1 - ann [21/Nov/2026:10:00:00 +0000] "GET /path?a=1 HTTP/1.1" 200 12 '
            '"http://example.org/" "curl/8"'
        )

    def test_combined_format_with_daphnes_details(self):
        assert line(COMBINED) == ('127.0.0.1 - - [21/Nov/2026:10:00:00 +0000] "GET /path?a=1" 200 12 "-" "-"')

    def test_websocket(self):
        assert (
            line('"%(r)s" %(m)s %(s)s', {"path": "/chat"}, "websocket", "connected") == '"WSCONNECT /chat" WSCONNECT -'
        )

    def test_size_zero_is_a_dash_in_b_alone(self):
        assert line("%(b)s %(B)s", {**DETAILS, "size": 0}) == "- 0"

    def test_ipv6_client(self):
        assert line("%(h)s", {"client": "2001:db8::1:52814"}) == "2001:db8::1"

    def test_percent_and_width(self):
        assert line("100%% %(s)5s|%(m)-5s|%(D)d", DETAILS) == "100%   200|GET  |12345"

    def test_facts_are_found_in_the_scope(self):
        scope = {key: FULL[key] for key in ("http_version", "headers", "scheme")} | {"query_string": b"b=2"}
        details = {**DETAILS, "path": "/path", "scope": scope}
        assert line("%(r)s %(a)s %(q)s", details) == "GET /path?b=2 HTTP/1.1 curl/8 b=2"
        assert json.loads(line("json", details))["scheme"] == "http"

    @pytest.mark.parametrize(
        "authorization",
        [b"Bearer abc", b"Basic", b"Basic !!!", b"Basic /w==", b"Basic " + base64.b64encode(b"password-alone")],
    )
    def test_what_is_no_basic_user_is_a_dash(self, authorization):
        assert line("%(u)s", {"headers": [(b"authorization", authorization)]}) == "-"

    @pytest.mark.parametrize("form", ["%(zz)s", "%({x}z)s", "%(tt)s"])
    def test_unknown_atom_is_named(self, form):
        with pytest.raises(ConfigurationError, match=r"--access-log-format: .*no atom '"):
            make(access_log_format=form)

    @pytest.mark.parametrize("form", ["%(h)s 5%", "%(h)", "%(h)s %s", "%(s)x", "%(h)s %()s", "%(s)99999s"])
    def test_stray_percent_is_refused(self, form):
        with pytest.raises(ConfigurationError, match="--access-log-format"):
            make(access_log_format=form)


class TestEscaping:
    """No value of a client's can end its field or its line."""

    @pytest.mark.parametrize("form", ["daphne", "json", *(f"%({atom})s" for atom, _ in ATOMS), "%({x-echo}o)s"])
    def test_nothing_gets_through(self, form):
        made = line(form, HOSTILE_DETAILS)
        assert made.isprintable()
        made.encode()
        if form == "json":
            assert json.loads(made)["path"] == HOSTILE
        elif form == "daphne":
            assert made.count('"') == 2
        else:
            assert '"' not in made

    @pytest.mark.parametrize(
        "character", ["\r", "\n", "\t", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\u202e", "\ud800"]
    )
    @pytest.mark.parametrize("form", ["daphne", "json", "%(r)s", "%(U)s", "%(a)s"])
    def test_a_control_character_alone_does_not_get_through(self, form, character):
        # alone, because a quote beside it would send the text down the slow way in any case
        agent = f"a{character}b".encode("utf-8", "surrogatepass")
        details = {**DETAILS, "path": f"/a{character}b", "headers": [(b"user-agent", agent)]}
        made = line(form, details)
        assert character not in made
        assert made.isprintable()

    @pytest.mark.parametrize("character", ['"', "\\"])
    def test_a_quote_or_backslash_alone_does_not_get_through(self, character):
        assert line("%(U)s", {"path": f"/a{character}b"}) == f"/a\\x{ord(character):02x}b"

    @pytest.mark.parametrize("form", ["%(h)s", "%(u)s", "%(m)s"])
    def test_unquoted_atoms_hold_no_blank(self, form):
        assert " " not in line(form, HOSTILE_DETAILS)

    def test_daphnes_client_holds_no_blank(self):
        assert line("daphne", {**DETAILS, "client": "1.2.3.4 - - [x]"}).startswith(r"1.2.3.4\x20-\x20-\x20[x] - - [")

    def test_escapes_can_be_read(self):
        assert line("%(U)s", {"path": '/"\\\n\u2028\U000e0001ä'}) == r"/\x22\x5c\x0a\u2028\U000e0001ä"

    def test_write_entry_escapes_too(self):
        stream = io.StringIO()
        AccessLogGenerator(stream).write_entry(
            HOSTILE, datetime.datetime.now(datetime.UTC), HOSTILE, 200, 1, HOSTILE, HOSTILE
        )
        assert stream.getvalue()[:-1].isprintable()
        assert stream.getvalue().count('"') == 2


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

    def test_other_actions_are_not_logged(self, capsys):
        make()("http", "started", DETAILS)
        assert capsys.readouterr().out == ""

    def test_second_logger_replaces_the_first(self, tmp_path, logger):
        make(access_log=str(tmp_path / "one"))
        make(access_log=str(tmp_path / "two"))("http", "complete", DETAILS)
        assert (tmp_path / "one").read_text() == ""
        assert len(logger.handlers) == 1


class TestFailures:
    def test_failure_is_reported_once_until_it_works_again(self, monkeypatch, caplog):
        stream = Failing()
        monkeypatch.setattr(sys, "stdout", stream)
        log = make()
        for error in (stream.error, stream.error, None, ValueError("I/O operation on closed file"), stream.error):
            stream.error = error
            log("http", "complete", DETAILS)
        assert [record.name for record in caplog.records] == ["daphne_clone", "daphne_clone"]
        assert stream.getvalue().count("\n") == 1

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
    def test_full_disk_is_reported_once_closing_included(self, caplog):
        log = make(access_log="/dev/full")
        log("http", "complete", DETAILS)
        log("http", "complete", DETAILS)
        log.close()
        assert len(caplog.records) == 1

    def test_closed_pipe_is_survived(self, monkeypatch, caplog):
        reading, writing = os.pipe()
        os.close(reading)
        with open(writing, "wb", buffering=0) as raw:
            stream = io.TextIOWrapper(raw, write_through=True)
            monkeypatch.setattr(sys, "stdout", stream)
            log = make()
            log("http", "complete", DETAILS)
            log("http", "complete", DETAILS)
            assert len(caplog.records) == 1
            stream.detach()

    def test_stream_that_cannot_encode_gets_escapes(self, monkeypatch):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
        make()("http", "complete", {**DETAILS, "path": "/ä"})
        assert rb'"GET /\xe4"' in raw.getvalue()

    def test_file_that_cannot_be_closed_is_reported(self, tmp_path, caplog, monkeypatch):
        class Unclosable(io.StringIO):
            def close(self):
                raise OSError(errno.EDQUOT, "Quota exceeded")

        log = make(access_log=str(tmp_path / "access.log"))
        log._handler.output.close()
        log._handler.output._stream = Unclosable()
        reopen_logs()
        log("http", "complete", DETAILS)
        assert "could not be closed" in caplog.text
        assert (tmp_path / "access.log").read_text() != ""

    def test_file_that_vanished_with_its_directory_is_reported(self, tmp_path, caplog, monkeypatch):
        path = tmp_path / "logs" / "access.log"
        path.parent.mkdir()
        log = make(access_log=str(path))
        path.unlink()
        path.parent.rmdir()
        later = access.time.monotonic() + 2
        monkeypatch.setattr(access.time, "monotonic", lambda: later)
        log("http", "complete", DETAILS)
        log("http", "complete", DETAILS)
        assert len(caplog.records) == 1
        path.parent.mkdir()
        log("http", "complete", DETAILS)
        assert path.read_text().count("\n") == 1


class TestRotation:
    def test_reopen_writes_to_the_new_file(self, tmp_path):
        path = tmp_path / "access.log"
        log = make(access_log=str(path))
        log("http", "complete", DETAILS)
        path.rename(tmp_path / "access.log.1")
        reopen_logs()
        log("http", "complete", DETAILS)
        assert path.read_text() == (tmp_path / "access.log.1").read_text() != ""

    def test_moved_file_is_noticed_within_a_second(self, tmp_path, monkeypatch):
        now = [100.0]
        monkeypatch.setattr(access.time, "monotonic", lambda: now[0])
        path = tmp_path / "access.log"
        log = make(access_log=str(path))
        log("http", "complete", DETAILS)
        path.rename(tmp_path / "access.log.1")
        log("http", "complete", DETAILS)
        assert not path.exists()
        now[0] += 1
        log("http", "complete", DETAILS)
        assert path.read_text().count("\n") == 1

    def test_file_replaced_by_another_is_noticed(self, tmp_path, monkeypatch):
        now = [100.0]
        monkeypatch.setattr(access.time, "monotonic", lambda: now[0])
        path = tmp_path / "access.log"
        log = make(access_log=str(path))
        path.rename(tmp_path / "access.log.1")
        path.write_text("new\n")
        for _ in range(2):  # the second look finds nothing to do
            now[0] += 1
            log("http", "complete", DETAILS)
        assert path.read_text().count("\n") == 3
        assert (tmp_path / "access.log.1").read_text() == ""

    def test_relative_path_survives_a_change_of_directory(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        log = make(access_log="access.log")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        reopen_logs()
        log("http", "complete", DETAILS)
        assert (tmp_path / "access.log").read_text() != ""

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
