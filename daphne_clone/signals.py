"""The signals that a server takes; what stopping means is not known here.

INT and TERM ask to stop, once gracefully and then at once; QUIT asks to stop at once. USR1 reopens the log files, HUP
asks for what has changed on disk.
"""

from __future__ import annotations

import signal
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Protocol

from daphne_clone.access import reopen_logs

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGQUIT", "SIGBREAK") if hasattr(signal, name)]


class OnSignal(Protocol):
    """What is called with a stopping signal; ``again``: do not wait for anything any more."""

    def __call__(self, signum: int, *, again: bool) -> None: ...


class StopSignals:
    """Turns signals into calls from the loop; the handlers themselves do nothing.

    Outside the main thread, where signals cannot be handled, it does nothing at all.

    Args:
        loop: Where the calls are made.
        on_signal: Called with each stopping signal; for SIGQUIT twice.
        on_hangup: Called with each SIGHUP; None leaves that signal alone, and by default it ends the process, as it
            should where a terminal is closed and there is nothing to renew.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_signal: OnSignal, on_hangup: Callable[[], None] | None = None
    ) -> None:
        self._loop = loop
        self._on_signal = on_signal
        self._seen = 0
        self._handled: list[int] = []
        if threading.current_thread() is not threading.main_thread():
            return
        for signum in _STOPPING:
            self._handle(signum, partial(self._stop, signum))
        if sys.platform != "win32":
            self._handle(signal.SIGUSR1, reopen_logs)
            if on_hangup is not None:
                self._handle(signal.SIGHUP, on_hangup)

    def ignore(self) -> None:
        """Leave the signals to whoever handled them by default."""
        while self._handled:
            self._loop.remove_signal_handler(self._handled.pop())

    def _handle(self, signum: int, callback: Callable[[], None]) -> None:
        try:
            self._loop.add_signal_handler(signum, callback)
            self._handled.append(signum)
        except NotImplementedError:  # Windows
            signal.signal(signum, lambda *_: self._loop.call_soon_threadsafe(callback))

    def _stop(self, signum: int) -> None:
        self._seen += 1
        if self._seen == 1:
            self._on_signal(signum, again=False)
        if self._seen > 1 or signum == getattr(signal, "SIGQUIT", None):
            self._on_signal(signum, again=True)
