"""The loggers of this package, which an application cannot switch off by accident; where records go is not known here.

``dictConfig``, ``fileConfig`` and Django's ``LOGGING`` disable every logger they do not name, unless told otherwise,
and frameworks configure logging whenever they like: on import, at startup, with the first request. The server would
then serve on, and the traceback of an exception inside the application would be nowhere. A level is meant, and counts.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any


class UndisabledLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger of ``logging``, enabled again before each record; its level, filters and handlers count as ever.

    Neither a subclass of ``Logger`` nor a property on one: the logger may exist already, made by a configuration that
    names it, and one that is shared with others is not ours to replace.
    """

    def isEnabledFor(self, level: int) -> bool:  # logging's name; asked before every record
        self.logger.disabled = False
        return self.logger.isEnabledFor(level)

    def process(
        self,
        msg: Any,  # noqa: ANN401  # anything that str() takes
        kwargs: MutableMapping[str, Any],
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Pass a record's arguments on as they are; the base class would drop its ``extra``."""
        return msg, kwargs


def get_logger(name: str) -> UndisabledLogger:
    """Return the logger of a module, for ``__name__``."""
    return UndisabledLogger(logging.getLogger(name))
