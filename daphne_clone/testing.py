"""Servers in processes of their own, for tests: Daphne's helpers under Daphne's names.

`DaphneProcess` is what Channels' ``ChannelsLiveServerTestCase`` starts. Importing this module imports no reactor, and
everything that a child needs can be pickled, so that it works under every start method of ``multiprocessing``.

Lifespan is off and there is no Date field, as Daphne has neither: test applications record every event they get.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import tempfile
import time
import traceback
import weakref
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Generic, ParamSpec, Self, TypeVar

from daphne_clone import reactor
from daphne_clone.asgi.application import AnyApplication, adapt
from daphne_clone.endpoints import build_endpoint_description_strings
from daphne_clone.errors import ClientDisconnected
from daphne_clone.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType, TracebackType

    from asgiref.typing import ASGI3Application

    from daphne_clone.server import Server

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_Events = list[dict[str, Any]]  # asgiref's TypedDicts cannot be spelled for a list of any of them

# How long running requests may take to end after SIGTERM, in seconds: who stops a test's server waits for it.
DRAIN_S = 1.0

# When a process that was told to end is ended whatever keeps it: a blocked loop, a thread that never returns.
_STOP_S = 5.0

# How long a server may take to listen, in seconds: a cold start on a busy machine takes two or three.
START_S = 15.0

_POLL_S = 0.02

# What a fork left in this process of its parent's.
_inherited: list[object] = []


class DaphneProcess(multiprocessing.Process):
    """A process that runs a server and tells its parent the port.

    SIGTERM, and so `terminate`, stops the server as it does elsewhere, only that running requests have but a second;
    after five the process ends whatever keeps it. Daphne's ends at once, and never comes to its teardown.

    Under the start methods forkserver and spawn, all arguments must be picklable: functions at module level, not
    lambdas.

    Args:
        host: Name or address to listen on.
        get_application: Called in the process; returns the application, of any interface.
        kwargs: Arguments for `Server`; among them ``settings``, for all that has no argument of its own.
        setup: Called in the process behind ``get_application``, before the server runs.
        teardown: Called in the process when the server has stopped.
        port: TCP port; None or 0 for any free one.

    Attributes:
        port: Its ``value`` is the port, once `ready` is set.
        ready: An event that is set when the server listens.
        errors: A queue of what went wrong in the process: pairs of the exception and its traceback as text.
        server: The server; only in the process itself.
    """

    _loop = "auto"

    def __init__(
        self,
        host: str,
        get_application: Callable[[], AnyApplication],
        kwargs: Mapping[str, Any] | None = None,
        setup: Callable[[], object] | None = None,
        teardown: Callable[[], object] | None = None,
        port: int | None = None,
    ) -> None:
        self._alias = _Alias()  # before all else: a child that is sent this object may need it for the rest
        super().__init__()
        self.host = host
        self.get_application = get_application
        self.kwargs = dict(kwargs or {})
        self.setup = setup
        self.teardown = teardown
        self.port = multiprocessing.Value("i", port or 0)
        self.ready = multiprocessing.Event()
        self.errors: multiprocessing.Queue[tuple[BaseException, str]] = multiprocessing.Queue()

    def run(self) -> None:
        """Serve; called in the process, by `start`."""
        _forget_signal_handlers()
        try:
            _reinstall_reactor(self._loop)
            self.server = self.make_server(adapt(self.get_application()))
            if self.setup is not None:
                self.setup()
            self._stop_on_signals()
            try:
                self.server.run()
            finally:
                if self.teardown is not None:
                    self.teardown()
            if self.server.start_error is not None:
                raise self.server.start_error
        except BaseException as error:  # noqa: BLE001  # the process's last line; whatever it is, the parent is told
            self.errors.put((_picklable(error), "".join(traceback.format_exception(error))))

    def make_server(self, application: ASGI3Application) -> Server:
        """Make the server that `run` runs; an override must have it call `announce` when it listens."""
        from daphne_clone.server import Server  # noqa: PLC0415  # not before this process has its own reactor

        # Signals are `_stop_on_signals`' here.
        arguments = {"settings": _quiet_settings(), **self.kwargs, "signal_handlers": False}
        then = arguments.pop("ready_callable", None)
        endpoints = build_endpoint_description_strings(host=self.host, port=self.port.value)
        return Server(application, endpoints, ready_callable=partial(self.announce, then), **arguments)

    def announce(self, then: Callable[[], object] | None = None) -> None:
        """Tell the parent that the server listens, and where."""
        if self.server.listening_addresses:
            self.port.value = self.server.listening_addresses[0][1]
        self.ready.set()
        if then is not None:
            then()

    def resolve_port(self) -> None:
        """Wait for the server to listen, and tell the parent; for overrides of `run` that have Daphne's for a model."""
        if self.server.listening_addresses:
            self.announce()
        else:
            reactor.loop_of(reactor.install()).call_later(_POLL_S, self.resolve_port)

    def wait_until_ready(self, timeout_s: float = START_S) -> None:
        """Wait, in the parent, until the server listens.

        Raises:
            RuntimeError: It ended, or the time is up; with the traceback from the process, if there is one.
        """
        deadline = time.monotonic() + timeout_s
        while not self.ready.wait(_POLL_S):
            has_ended = not self.is_alive()  # asked first: what it told, it told before its end
            if not self.errors.empty():
                error, report = self.errors.get()
                raise RuntimeError(f"The server did not start:\n{report}") from error
            if has_ended:
                raise RuntimeError(f"The server did not start: its process ended with status {self.exitcode}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"The server did not start within {timeout_s:g} seconds")

    def end(self) -> None:
        """Stop the server and wait, in the parent, until its process has ended."""
        self.terminate()
        self.join(2 * _STOP_S)
        if self.exitcode is None:
            self.kill()
            self.join()

    def _stop_on_signals(self) -> None:
        loop = reactor.loop_of(reactor.install())

        def stop(signum: int, frame: FrameType | None) -> None:
            # The system's own timer with the system's own answer: no Python code has to come to its turn for it.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, _STOP_S)
            signal.signal(signum, signal.SIG_DFL)
            loop.call_soon_threadsafe(self.server.stop)

        # Not the loop's handlers: those of a blocked loop would not even set the timer.
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, stop)


class BaseDaphneTestingInstance:
    """A server for the length of a ``with`` block, in a process of its own.

    Args:
        xff: Believe ``X-Forwarded-For``, ``-Port`` and ``-Proto``.
        http_timeout: As for `Server`, like the next three; None or 0 is the server's default.
        request_buffer_size: Octets.
        websocket_max_message_size: Octets; here 0 is no limit.
        websocket_max_frame_size: Likewise.
        application: What is served.

    Attributes:
        host: Where it listens.
        port: Likewise, within the block.
        startup_timeout: How long it may take to, in seconds.
        process: The `DaphneProcess`, within the block.
    """

    startup_timeout: float = START_S

    def __init__(
        self,
        xff: bool = False,
        http_timeout: float | None = None,
        request_buffer_size: int | None = None,
        websocket_max_message_size: int | None = None,
        websocket_max_frame_size: int | None = None,
        *,
        application: AnyApplication,
    ) -> None:
        self.xff = xff
        self.http_timeout = http_timeout
        self.host = "127.0.0.1"
        self.request_buffer_size = request_buffer_size
        self.websocket_max_message_size = websocket_max_message_size
        self.websocket_max_frame_size = websocket_max_frame_size
        self.application = application

    def get_application(self) -> AnyApplication:
        """Return the application; called in the server's process."""
        return self.application

    def __enter__(self) -> Self:
        self.process = DaphneProcess(
            self.host,
            self.get_application,
            kwargs=self._server_arguments(),
            setup=self.process_setup,
            teardown=self.process_teardown,
        )
        self.process.start()
        try:
            self.process.wait_until_ready(self.startup_timeout)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.port = self.process.port.value
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.end()
        del self.process

    def process_setup(self) -> None:
        """Do nothing; an override is called in the process just before it serves."""

    def process_teardown(self) -> None:
        """Do nothing; an override is called in the process just after it has served."""

    def get_received(self) -> object:
        """Return nothing; an override returns what the application has been given."""
        return None

    def _server_arguments(self) -> dict[str, object]:
        given: dict[str, object] = {
            "http_timeout": self.http_timeout or None,
            "request_buffer_size": self.request_buffer_size or None,
            "websocket_max_message_size": self.websocket_max_message_size,
            "websocket_max_frame_size": self.websocket_max_frame_size,
        }
        if self.xff:
            for part, field in (("address", "For"), ("port", "Port"), ("proto", "Proto")):
                given[f"proxy_forwarded_{part}_header"] = f"X-Forwarded-{field}"
        return {name: value for name, value in given.items() if value is not None}


class DaphneTestingInstance(BaseDaphneTestingInstance):
    """A server with a `TestApplication`: what it is to answer is put in, what it was given is taken out.

    Any number of instances may run side by side, in one process or several: each has files of its own.
    """

    application: TestApplication

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # those of the base class
        self.lock = multiprocessing.Lock()
        super().__init__(*args, **kwargs, application=TestApplication(lock=self.lock))
        directory = tempfile.mkdtemp(prefix="daphne_clone-")
        weakref.finalize(self, _remove_directory_of, os.getpid(), directory)
        self.application.setup_storage = os.path.join(directory, "setup")
        self.application.result_storage = os.path.join(directory, "result")

    def __enter__(self) -> Self:
        # What is said of the class, as in `TestApplication.delete_result()`, is meant for the latest instance.
        TestApplication.setup_storage = self.application.setup_storage
        TestApplication.result_storage = self.application.result_storage
        self.application.delete_setup()
        self.application.delete_result()
        return super().__enter__()

    def get_received(self) -> tuple[dict[str, Any], _Events]:
        """Return the scope and all events that the application has been given so far.

        Raises:
            ValueError: There are none yet.
            Exception: What the application failed with.
        """
        try:
            with self.lock:
                result = self.application.load_result()
        except FileNotFoundError:
            raise ValueError("The application has not been given any event yet") from None
        if "exception" in result:
            raise result["exception"]
        return result["scope"], result["messages"]

    def add_send_messages(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Have the application send these when it is given its next event."""
        self.application.save_setup(response_messages=messages)


class _OnClassOrInstance(Generic[_Arguments, _Result]):
    """A method that works on the class, or on an instance if it is called on one."""

    def __init__(self, function: Callable[Concatenate[Any, _Arguments], _Result]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: object | None, owner: type) -> Callable[_Arguments, _Result]:
        return partial(self._function, owner if instance is None else instance)


class TestApplication:
    """An ASGI 3 application that records its events in one file and takes what it is to send from another.

    The methods for the files work on the class as well as on an instance.

    Args:
        lock: Held while a result is written; a lock of ``multiprocessing``.

    Attributes:
        setup_storage: The path of the file with what is to be sent.
        result_storage: The path of the file with what was received.
    """

    __test__ = False  # no test case, whatever pytest thinks of its name

    setup_storage: str = os.path.join(tempfile.gettempdir(), "daphne_clone-setup.testio")
    result_storage: str = os.path.join(tempfile.gettempdir(), "daphne_clone-result.testio")

    _LAST_EVENTS: ClassVar = ("http.disconnect", "websocket.disconnect")

    def __init__(self, lock: Any) -> None:  # noqa: ANN401  # multiprocessing's locks have no common type
        self.lock = lock
        self.messages: _Events = []

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Mapping[str, Any]], Any]
    ) -> None:
        self.scope = scope
        try:
            while True:
                event = await receive()
                self.messages.append(event)
                with self.lock:
                    self.save_result(scope, self.messages)
                setup = self.load_setup()
                self.delete_setup()
                for message in setup["response_messages"]:
                    with suppress(ClientDisconnected):  # Daphne's send() says nothing of it
                        await send(message)
                if event["type"] in self._LAST_EVENTS:
                    return  # there is nothing behind it but itself, again and again
        except Exception as error:  # noqa: BLE001  # the test is told, whatever it is
            self.save_exception(error)

    @_OnClassOrInstance
    def save_setup(self, response_messages: Sequence[Mapping[str, Any]]) -> None:
        """Leave what is to be sent."""
        _write(self.setup_storage, {"response_messages": response_messages})

    @_OnClassOrInstance
    def load_setup(self) -> dict[str, Any]:
        """Return what is to be sent, as ``{"response_messages": [...]}``."""
        try:
            return _read(self.setup_storage)
        except FileNotFoundError:
            return {"response_messages": []}

    @_OnClassOrInstance
    def save_result(self, scope: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> None:
        """Leave what was received."""
        _write(self.result_storage, {"scope": scope, "messages": messages})

    @_OnClassOrInstance
    def save_exception(self, exception: BaseException) -> None:
        """Leave what the application failed with, in place of what was received."""
        _write(self.result_storage, {"exception": _picklable(exception)})

    @_OnClassOrInstance
    def load_result(self) -> dict[str, Any]:
        """Return what was received: ``scope`` and ``messages``, or ``exception``.

        Raises:
            FileNotFoundError: Nothing was.
        """
        return _read(self.result_storage)

    load_exception = load_result

    @_OnClassOrInstance
    def delete_setup(self) -> None:
        """Forget what is to be sent."""
        _delete(self.setup_storage)

    @_OnClassOrInstance
    def delete_result(self) -> None:
        """Forget what was received."""
        _delete(self.result_storage)


class _Alias:
    """Whether this package stands for Daphne in this process; wherever it is unpickled, it stands for it there too.

    A child that is not forked knows nothing of `as_daphne`, and what it is sent may be of code that says ``import
    daphne``: Channels' test case is.
    """

    def __reduce__(self) -> tuple[Callable[[bool], object], tuple[bool]]:
        return _restore_alias, (sys.modules.get("daphne") is sys.modules["daphne_clone"],)


def _restore_alias(is_needed: bool) -> _Alias:
    if is_needed and "daphne" not in sys.modules:
        importlib.import_module("daphne_clone.as_daphne")
    return _Alias()


def _quiet_settings() -> Settings:
    return Settings(lifespan="off", date_header=False, timeout_graceful_shutdown=DRAIN_S)


def _forget_signal_handlers() -> None:
    """Take back what a forked process has of its parent's: a handler would speak to the parent's loop."""
    signal.set_wakeup_fd(-1)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, signal.SIG_DFL)


def _reinstall_reactor(loop: str = "auto") -> None:
    """Install a reactor of this process's own, and forget the modules that know another.

    A forked process shares its parent's selector: on macOS it does not work, on Linux it would change the parent's.
    """
    # Kept for good: a loop that is collected is closed, and takes its descriptors out of the shared selector.
    _inherited.append(sys.modules.pop("twisted.internet.reactor", None))
    server = sys.modules.pop("daphne_clone.server", None)
    if server is not None and sys.modules.get("daphne.server") is server:  # see as_daphne
        del sys.modules["daphne.server"]
    reactor.install(loop)


def _picklable(error: BaseException) -> BaseException:
    """Return an exception that can be sent to another process: the one given, or one that tells of it."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001  # its own code runs there, and may raise anything
        return RuntimeError(f"{type(error).__qualname__}: {error}")
    return error


def _remove_directory_of(pid: int, path: str) -> None:
    """Remove a directory unless this is another process, which was forked and is done with its copy of the instance."""
    if os.getpid() == pid:
        shutil.rmtree(path, ignore_errors=True)


def _write(path: str, value: object) -> None:
    """Replace a file at once: who reads it meanwhile gets the old or the new."""
    new = f"{path}.{os.getpid()}"
    with open(new, "wb") as file:
        pickle.dump(value, file)
    os.replace(new, path)


def _read(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        value: dict[str, Any] = pickle.load(file)
    return value


def _delete(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
