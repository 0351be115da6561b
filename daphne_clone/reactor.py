"""Install Twisted's reactor on an asyncio event loop; the one module that chooses a loop.

It knows nothing of servers. ``daphne_clone.server`` calls ``install()`` when it is imported, since Twisted wants its
reactor before anything that imports ``twisted.internet.reactor``.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.base import ReactorBase
from twisted.internet.main import installReactor

from daphne_clone.errors import ConfigurationError

_REACTOR_MODULE = "twisted.internet.reactor"


def install(loop: str = "auto") -> AsyncioSelectorReactor:
    """Make the global reactor one that runs on asyncio, and return it.

    A reactor of that kind that is installed already is returned as it is, whatever its loop. Any other is replaced,
    with a warning: what has imported it before keeps it, and will never see it run.

    Args:
        loop: ``"uvloop"``, ``"asyncio"``, or ``"auto"`` for uvloop where it can be imported.

    Raises:
        ConfigurationError: ``loop`` is none of these, or names a missing uvloop; ``ASGI_THREADS`` is no number.
    """
    installed = sys.modules.get(_REACTOR_MODULE)
    if isinstance(installed, AsyncioSelectorReactor):
        return installed
    event_loop = _new_loop(loop)
    try:
        _size_thread_pool(event_loop)
    except ConfigurationError:
        event_loop.close()
        raise
    if installed is not None:
        warnings.warn(
            f"{type(installed).__name__} was installed before daphne_clone, which needs a reactor on asyncio and "
            "replaces it; import daphne_clone.server before anything that imports twisted.internet.reactor",
            UserWarning,
            stacklevel=2,
        )
        del sys.modules[_REACTOR_MODULE]
    asyncio.set_event_loop(event_loop)
    reactor = AsyncioSelectorReactor(event_loop)
    installReactor(reactor)  # type: ignore[no-untyped-call]  # Twisted has not annotated it
    return reactor


def for_running_loop(loop: asyncio.AbstractEventLoop) -> GuestReactor:
    """Return a started reactor on a loop that somebody else runs; the global reactor is left alone.

    ``stop()`` ends it, with its triggers, and leaves the loop running; ``GuestReactor.release`` then gives back its
    descriptors. Code that imports the global ``twisted.internet.reactor`` does not meet it.

    Args:
        loop: A running loop that can watch file descriptors.
    """
    reactor = GuestReactor(loop)
    # No signal handlers: the signals are the loop owner's. Without the start, reactor threads never begin to work and
    # stop() refuses.
    reactor.startRunning(installSignalHandlers=False)
    return reactor


def loop_of(reactor: AsyncioSelectorReactor) -> asyncio.AbstractEventLoop:
    """Return the loop that a reactor runs on, with which ``asyncio.set_event_loop`` can be called in another thread."""
    loop: asyncio.AbstractEventLoop = (
        reactor._asyncioEventloop
    )  # there is no public name for it in Twisted 24.7 to 26.10
    return loop


class GuestReactor(AsyncioSelectorReactor):
    """A reactor that lives on a loop without owning it."""

    def crash(self) -> None:
        """End the reactor, but not the loop."""
        # AsyncioSelectorReactor.crash would stop the loop, and with it its owner's program.
        ReactorBase.crash(self)

    def release(self) -> None:
        """Give back the descriptors and the timer that the reactor holds; for after ``stop()`` has run its triggers."""
        for reader in list(self._internalReaders):
            self.removeReader(reader)  # type: ignore[no-untyped-call]  # Twisted has not annotated it
            reader.connectionLost(None)
        self._internalReaders.clear()


def _new_loop(name: str) -> asyncio.AbstractEventLoop:
    if name not in ("auto", "uvloop", "asyncio"):
        raise ConfigurationError("--loop", name, "auto, uvloop or asyncio")
    if name != "asyncio":
        try:
            uvloop = importlib.import_module("uvloop")
        except ImportError as error:
            if name == "uvloop":
                raise ConfigurationError("--loop", name, "auto or asyncio, as uvloop cannot be imported") from error
        else:
            loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
            return loop
    # Not asyncio.new_event_loop(): a policy of the application's may make a loop of any kind.
    return asyncio.SelectorEventLoop()


def _size_thread_pool(loop: asyncio.AbstractEventLoop) -> None:
    """Give the loop's default executor, in which synchronous views run, as many threads as ``ASGI_THREADS`` says."""
    threads = os.environ.get("ASGI_THREADS")
    if not threads:
        return
    if not (threads.isascii() and threads.isdigit()) or int(threads) < 1:
        raise ConfigurationError("ASGI_THREADS", threads, "a number of threads, 1 or more")
    loop.set_default_executor(ThreadPoolExecutor(max_workers=int(threads)))
