"""The lifespan protocol: tell one application that the process starts and stops; it knows no server and no signals.

ASGI lifespan 2.0. The application runs as one task from `Lifespan.startup` to `Lifespan.shutdown`. What it may send is
the table `_ANSWERS`; all else raises from its ``send()``. How it may fail to take part, and what follows:

=====================================================  ===========================  ========================
the application, before it answered startup            mode ``auto``                mode ``on``
=====================================================  ===========================  ========================
raises before it received ``lifespan.startup``         served without lifespan      `LifespanFailed`
raises after it received it: a fault in its handler    logged, served without       `LifespanFailed`
sends a message of another protocol, and raises        served without lifespan      `LifespanFailed`
returns                                                served without lifespan      `LifespanFailed`
sends ``lifespan.startup.failed``                      `LifespanFailed`             `LifespanFailed`
=====================================================  ===========================  ========================

ASGI lifespan, "Scope", asks a server to go on without lifespan when the application raises; an application that cannot
run without its startup has ``startup.failed`` to say so. That is ``auto``; the warning makes a broken handler visible.
"""

from __future__ import annotations

import asyncio
import logging
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, cast

from daphne_clone.errors import ApplicationProtocolError, ConfigurationError, LifespanFailed
from daphne_clone.loggers import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asgiref.typing import ASGI3Application, ASGIReceiveEvent, ASGISendEvent, LifespanScope

_log = get_logger(__name__)

MODES = ("auto", "on", "off")

# An application that loops forever in startup leaves a server that never listens: say what it waits for. Slow starts
# (model weights, migrations) take longer than this quite legally, hence a message and no limit.
_SLOW_STARTUP_S = 10.0
# How long an application may take to return after its last answer; Starlette raises right behind startup.failed.
_RETURN_GRACE_S = 1.0


class _State(Enum):
    IDLE = auto()
    STARTING = auto()
    SERVING = auto()
    STOPPING = auto()
    STOPPED = auto()
    """The application answered shutdown, or startup with a failure; it has nothing more to say."""
    ENDED = auto()
    """The application's task is over, or never was."""


# The answers ASGI lifespan 2.0 knows: in which states each is allowed and which state it leads to. A failure of
# shutdown that nobody asked for is how Starlette and Litestar report a lifespan context that broke while serving.
_ANSWERS = {
    "lifespan.startup.complete": ({_State.STARTING}, _State.SERVING),
    "lifespan.startup.failed": ({_State.STARTING}, _State.STOPPED),
    "lifespan.shutdown.complete": ({_State.STOPPING}, _State.STOPPED),
    "lifespan.shutdown.failed": ({_State.SERVING, _State.STOPPING}, _State.STOPPED),
}


class Lifespan:
    """One application's lifespan in one process.

    Args:
        app: An ASGI 3 application, as `asgi.application.adapt` returns it.
        mode: ``auto``: use lifespan where the application takes part; ``on``: it must; ``off``: never call it.
        loop: The loop that serves requests; both methods are awaited on it.

    Attributes:
        state: The namespace the application fills during startup; the server hands each request a shallow copy.

    Raises:
        ConfigurationError: The mode is none of the three.
    """

    def __init__(self, app: ASGI3Application, mode: str, loop: asyncio.AbstractEventLoop) -> None:
        if mode not in MODES:
            raise ConfigurationError("--lifespan", mode, "auto, on or off")
        self.state: dict[str, Any] = {}  # Any: what an application keeps here is its own affair
        self._app = app
        self._mode = mode
        self._loop = loop
        self._state = _State.IDLE
        self._task: asyncio.Task[None] | None = None
        self._was_serving = False
        self._startup_received = False
        self._shutdown_received = False
        self._spoke_another_protocol = False
        self._cancelled_by_us = False
        self._failure: str | None = None  # the message of startup.failed or shutdown.failed
        self._error: BaseException | None = None  # what ended the application's task
        # Each is set once and never carries a value: what happened is in the attributes above.
        self._startup_over: asyncio.Future[None] = loop.create_future()
        self._shutdown_asked: asyncio.Future[None] = loop.create_future()
        self._shutdown_over: asyncio.Future[None] = loop.create_future()
        self._waits_in_vain: asyncio.Future[None] = loop.create_future()

    async def startup(self) -> None:
        """Start the application's lifespan and wait for its answer, without a limit of time.

        Cancelling the wait cancels the application's startup too, and waits up to a second for it to end.

        Raises:
            LifespanFailed: The application refused to start, with its message; or, in mode ``on``, takes no part, with
                the application's exception, if there is one, as ``__cause__``.
        """
        if self._mode == "off" or self._state is not _State.IDLE:
            return
        self._state = _State.STARTING
        self._task = self._loop.create_task(self._run(), name="daphne_clone lifespan")
        reminder = self._loop.call_later(_SLOW_STARTUP_S, self._remind_of_startup)
        try:
            # shielded: a cancelled startup() must leave the future usable for the task that is still ending
            await asyncio.shield(self._startup_over)
        except asyncio.CancelledError:
            await self._end_task(grace_s=0.0)
            raise
        finally:
            reminder.cancel()
        if self._was_serving:  # asked first: it may have ended already, behind its answer
            return
        if self._failure is None:
            self._judge_absence()
            return
        await self._end_task(_RETURN_GRACE_S)
        raise LifespanFailed(self._failure or "the application failed to start and gave no reason")

    async def shutdown(self, timeout_s: float | None = None) -> bool:
        """Tell the application to shut down, once, and wait for its answer and then for its end.

        Errors are logged here. A second call waits for the same answer. Cancelling the wait cancels the application.

        Args:
            timeout_s: How long it may take to answer, in seconds; None waits as long as it takes, 0 not at all.

        Returns:
            Whether all is well: True also when there was nobody to tell, because lifespan is off or not supported.
            False when the application answered with a failure, raised, did not answer in time, or had died while
            serving.
        """
        if self._state is _State.SERVING:
            self._state = _State.STOPPING
            self._shutdown_asked.set_result(None)
        if self._state is _State.STOPPING:
            try:
                await asyncio.wait({self._shutdown_over}, timeout=timeout_s)
                if not self._shutdown_over.done():
                    self._failure = f"no answer within {timeout_s} seconds"
                    _log.error("Application shutdown failed: %s", self._failure)
                    await self._end_task(grace_s=0.0)
            except asyncio.CancelledError:
                await self._end_task(grace_s=0.0)
                raise
        await self._end_task(_RETURN_GRACE_S)
        return self._failure is None and not (self._was_serving and self._error is not None)

    # The application's side

    async def _run(self) -> None:
        scope: LifespanScope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, self._receive, self._send)
        except asyncio.CancelledError as error:
            self._error = None if self._cancelled_by_us else error
            raise
        except Exception as error:  # noqa: BLE001  # the last line of the task; what follows logs or raises it
            self._error = error
        finally:
            self._ended()

    async def _receive(self) -> ASGIReceiveEvent:
        if not self._startup_received:
            self._startup_received = True
            return {"type": "lifespan.startup"}
        if self._state is not _State.STOPPED:
            # shielded: an application may wrap receive() in a timeout, and must find shutdown here afterwards
            await asyncio.shield(self._shutdown_asked)
            if not self._shutdown_received:
                self._shutdown_received = True
                return {"type": "lifespan.shutdown"}
        if not self._waits_in_vain.done():
            self._waits_in_vain.set_result(None)
        await self._loop.create_future()
        raise AssertionError("a future that nobody else holds cannot be resolved")

    async def _send(self, message: ASGISendEvent) -> None:
        fields = cast("Mapping[str, object]", message)  # what an application sends is not yet known to be valid
        kind = str(fields.get("type"))
        answer = _ANSWERS.get(kind)
        if answer is None:
            self._spoke_another_protocol = not kind.startswith("lifespan.")
            raise ApplicationProtocolError(f"{kind!r} is not a message that a lifespan application can send")
        allowed_in, leads_to = answer
        if self._state not in allowed_in:
            raise ApplicationProtocolError(f"{kind!r} was sent twice or out of order")
        reason = fields.get("message", "")
        if not isinstance(reason, str):
            raise ApplicationProtocolError(f"the message of {kind!r} must be a str, not {type(reason).__name__}")
        was, self._state = self._state, leads_to
        if kind.endswith(".failed"):
            self._failure = reason
        if was is _State.STARTING:
            self._was_serving = leads_to is _State.SERVING
            self._startup_over.set_result(None)
            return
        if kind.endswith(".failed"):
            what = "shutdown failed" if was is _State.STOPPING else "lifespan failed while serving"
            _log.error("Application %s: %s", what, reason or "the application gave no reason")
        self._shutdown_over.set_result(None)

    # Endings

    def _ended(self) -> None:
        """Settle what the application left open when its task ended; log what nobody waits for."""
        was, self._state = self._state, _State.ENDED
        for over in (self._startup_over, self._shutdown_over):
            if not over.done():
                over.set_result(None)
        error = self._error
        # a loop that is being torn down cancels whatever is left; nothing died of itself then
        if self._cancelled_by_us or isinstance(error, asyncio.CancelledError):
            return
        if was is _State.SERVING and error is not None:
            _log.error("The application's lifespan died while serving; it will see no shutdown", exc_info=error)
        elif was is _State.SERVING:
            _log.debug("The application's lifespan ended while serving; it will see no shutdown")
        elif was in (_State.STOPPING, _State.STOPPED) and error is not None:
            # Starlette raises what it has just reported as a failure: once is enough
            level = logging.DEBUG if self._failure is not None else logging.ERROR
            _log.log(level, "The application's lifespan raised at its end", exc_info=error)

    def _judge_absence(self) -> None:
        """Decide what it means that the application ended without answering startup; the table is at the top."""
        error = self._error
        if self._mode == "on":
            what = "returned without answering lifespan.startup" if error is None else f"raised {error!r}"
            raise LifespanFailed(f"the application {what}, and --lifespan is on") from error
        if error is not None and self._startup_received and not self._spoke_another_protocol:
            _log.warning("The application raised in its startup; serving without lifespan", exc_info=error)
        else:
            _log.debug("The application does not support lifespan", exc_info=error)

    async def _end_task(self, grace_s: float) -> None:
        """Give the application time to return, then cancel it; returns when its task is over, or will not end."""
        task = self._task
        if task is None or task.done():
            return
        try:
            if grace_s:
                # an application that receives again after its last answer will not return by itself
                await asyncio.wait({task, self._waits_in_vain}, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                self._cancelled_by_us = True
                task.cancel()
        done, _ = await asyncio.wait({task}, timeout=_RETURN_GRACE_S)
        if not done:
            _log.error("The application's lifespan ignores its cancellation")

    def _remind_of_startup(self) -> None:
        _log.warning("Still waiting for the application's startup; nothing is served before it is complete")
