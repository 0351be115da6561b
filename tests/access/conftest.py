"""Fixtures of all tests of the access log: a clock that stands, and logging as it was before."""

from __future__ import annotations

import logging
import time

import pytest

from daphne_clone import access
from daphne_clone.access import writer
from tests.support.access_details import NOW


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that stands, in UTC, and can be set."""
    now = [NOW]
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: now[0])
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
    for handler in list(writer._access_handlers):
        handler.close()
    root.handlers[:], level = root_before
    root.setLevel(level)
    for name, each in root.manager.loggerDict.items():
        if isinstance(each, logging.Logger):
            each.handlers[:], level, each.propagate = before.get(name, ([], logging.NOTSET, True))
            each.setLevel(level)
            each.disabled = False
            each.filters[:] = []
