"""The access log: a line for each request and each turn of a WebSocket's life; it serves nothing and knows no clients.

What happened comes in as Daphne's ``(protocol, action, details)``. A renderer makes a line of it (`formats`), and an
action logger writes the line (`writer`) to a stream or file (`outputs`).
"""

from daphne_clone.access.details import AccessDetails, ActionLogger
from daphne_clone.access.formats import Renderer, make_renderer
from daphne_clone.access.writer import (
    LOGGER_NAME,
    AccessHandler,
    AccessLog,
    AccessLogGenerator,
    make_access_logger,
    reopen_logs,
)

__all__ = [
    "LOGGER_NAME",
    "AccessDetails",
    "AccessHandler",
    "AccessLog",
    "AccessLogGenerator",
    "ActionLogger",
    "Renderer",
    "make_access_logger",
    "make_renderer",
    "reopen_logs",
]
