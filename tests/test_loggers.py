"""The package's loggers speak whatever an application does to logging, unless it silences them by level."""

from __future__ import annotations

import io
import logging
import logging.config
import os
import subprocess
import sys

import pytest

from daphne_clone.loggers import get_logger

NAME = "daphne_clone.some_module"

# What disables every logger that it does not name. Neither has handlers: pytest's on the root logger stay.
DICT = {"version": 1, "disable_existing_loggers": True}
INI = """
[loggers]
keys=root
[handlers]
keys=
[formatters]
keys=
[logger_root]
handlers=
"""


@pytest.fixture
def logger():
    """The logger under `NAME`; it and every other logger are enabled again afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logger = logging.getLogger(NAME)
    yield logger
    logger.setLevel(logging.NOTSET)
    logger.filters.clear()
    root.handlers[:] = handlers
    root.setLevel(level)
    for each in root.manager.loggerDict.values():
        if isinstance(each, logging.Logger):
            each.disabled = False


@pytest.fixture
def records(logger):
    """What the logger's handlers were given; they are its own, so that no configuration of others takes them away."""
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


def fail():
    raise ZeroDivisionError("in the application")


class TestDisabled:
    def test_dict_config_disables_a_logger_of_logging(self, logger):
        """What the tests below rely on."""
        logging.config.dictConfig(DICT)
        assert logger.disabled

    def test_dict_config_leaves_ours_speaking(self, records):
        log = get_logger(NAME)
        logging.config.dictConfig(DICT)
        log.error("one")
        logging.config.dictConfig(DICT)
        log.error("two")
        assert [record.getMessage() for record in records] == ["one", "two"]

    def test_file_config_leaves_ours_speaking(self, records):
        log = get_logger(NAME)
        logging.config.fileConfig(io.StringIO(INI), disable_existing_loggers=True)
        log.error("one")
        assert len(records) == 1

    def test_exception_keeps_its_traceback(self, logger, records):
        log = get_logger(NAME)
        logging.config.dictConfig(DICT)
        try:
            fail()
        except ZeroDivisionError:
            log.exception("Exception inside application")
        assert "in fail" in logging.Formatter().format(records[0])

    def test_asking_for_a_level_tells_the_truth(self, logger):
        log = get_logger(NAME)
        logging.config.dictConfig(DICT)
        assert log.isEnabledFor(logging.CRITICAL)


class TestSilence:
    def test_level_of_the_configuration_counts(self, records):
        log = get_logger(NAME)
        logging.config.dictConfig({**DICT, "loggers": {NAME: {"level": "CRITICAL"}}})
        log.error("silenced")
        assert records == []

    def test_level_of_the_package_counts(self, records):
        log = get_logger(NAME)
        package = logging.getLogger("daphne_clone")
        try:
            logging.config.dictConfig({**DICT, "loggers": {"daphne_clone": {"level": "CRITICAL"}}})
            log.error("silenced")
        finally:
            package.setLevel(logging.NOTSET)
        assert records == []

    def test_logging_disable_counts(self, records):
        logging.disable(logging.ERROR)
        try:
            get_logger(NAME).error("silenced")
        finally:
            logging.disable(logging.NOTSET)
        assert records == []

    def test_filter_counts(self, logger, records):
        logger.addFilter(lambda record: False)
        get_logger(NAME).error("silenced")
        assert records == []


class TestRecord:
    def test_says_where_it_was_logged(self, records):
        get_logger(NAME).warning("%s of %d", "one", 2)
        (record,) = records
        assert (record.name, record.funcName) == (NAME, "test_says_where_it_was_logged")
        assert (record.pathname, record.getMessage()) == (__file__, "one of 2")

    def test_has_the_extra_values_it_was_given(self, records):
        get_logger(NAME).warning("w", extra={"client": "c:1"})
        assert records[0].client == "c:1"


CONFIGURE = {
    "dictConfig": """
import logging.config
def configure():
    logging.config.dictConfig(LOGGING)
""",
    "django.setup": """
import django
from django.conf import settings
def configure():
    if not settings.configured:
        settings.configure(LOGGING=LOGGING)
        django.setup()
""",
}
PROGRAM = """
import asyncio
from daphne_clone.server import Server

LOGGING = {{
    "version": 1,
    "disable_existing_loggers": True,
    "handlers": {{"console": {{"class": "logging.StreamHandler"}}}},
    "root": {{"handlers": ["console"], "level": {level!r}}},
}}

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        if {moment!r} == "startup":
            configure()
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        await send({{"type": "lifespan.shutdown.complete"}})
    else:
        configure()
        raise ZeroDivisionError("in the application")

async def main():
    server = Server(application, ["tcp:port=0:interface=127.0.0.1"])
    stop = asyncio.Event()
    ready = asyncio.Event()
    server.ready_callable = ready.set
    serving = asyncio.create_task(server.serve(stop.wait))
    await ready.wait()
    reader, writer = await asyncio.open_connection(*server.listening_addresses[0])
    writer.write(b"GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 500 ")
    writer.close()
    stop.set()
    await serving

asyncio.run(main())
"""


class TestServer:
    """Exceptions inside the application, in a process of its own."""

    def run(self, how, moment, level="WARNING"):
        program = CONFIGURE[how] + PROGRAM.format(moment=moment, level=level)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program], check=False, env=environment, capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    @pytest.mark.parametrize("moment", ["startup", "first request"])
    @pytest.mark.parametrize("how", CONFIGURE)
    def test_exception_is_logged_with_its_traceback(self, how, moment):
        if how == "django.setup":
            pytest.importorskip("django")
        log = self.run(how, moment)
        assert log.count("Exception inside application") == 1
        assert "Traceback" in log
        assert "ZeroDivisionError: in the application" in log

    def test_level_silences_it(self):
        assert self.run("dictConfig", "startup", "CRITICAL") == ""
