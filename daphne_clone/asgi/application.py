"""From the path on the command line to an ASGI 3 application; it starts nothing and serves nothing.

`load_application` imports, and says what is wrong in words that lead to the mistake. `adapt` makes one kind of callable
of the three that exist: ASGI 3, ASGI 2 and WSGI. WSGI goes through asgiref's bridge; `_WSGIExchange` lists what is
corrected there.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, cast

from asgiref.compatibility import double_to_single_callable, is_double_callable
from asgiref.sync import iscoroutinefunction, sync_to_async
from asgiref.wsgi import WsgiToAsgiInstance

from daphne_clone.errors import ApplicationLoadError, ApplicationProtocolError, ConfigurationError

if TYPE_CHECKING:
    from tempfile import SpooledTemporaryFile

    from asgiref.typing import (
        ASGI2Application,
        ASGI3Application,
        ASGIReceiveCallable,
        ASGIReceiveEvent,
        ASGISendCallable,
        ASGISendEvent,
        HTTPResponseStartEvent,
        HTTPScope,
        Scope,
    )

_log = logging.getLogger(__name__)

AnyApplication = Callable[..., object]
"""An application before `adapt`: of which kind is not yet known."""

_EXPECTED = "expected module:attribute, such as mysite.asgi:application"
_USUAL_NAMES = ("app", "application")
_MAX_SUGGESTIONS = 3


def load_application(path: str, *, factory: bool = False, app_dir: str = ".") -> AnyApplication:
    """Import the application that ``"module:attribute.path"`` names.

    Args:
        path: The module's dotted name, a colon, and the attribute; nested attributes with dots.
        factory: The attribute is called without arguments and returns the application.
        app_dir: A directory, put first on ``sys.path`` as an absolute path, once.

    Raises:
        ApplicationLoadError: There is no such module or attribute, or what is there is no application. When the
            user's own code raised, ``__cause__`` is its exception, traceback and all.
        ConfigurationError: ``app_dir`` is not a directory.
    """
    _put_first_on_path(app_dir)
    module_name, colon, attributes = path.partition(":")
    if not colon or not module_name or not attributes:
        raise ApplicationLoadError(f"{path!r} names no application: {_EXPECTED}{_usual_applications(module_name)}")
    found: object = _import_module(module_name)
    walked = module_name
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError as error:
            message = f"{path!r}: {walked} has no attribute {attribute!r}{_suggestion(found, attribute)}"
            raise ApplicationLoadError(message) from error
        walked += f".{attribute}"
    if not callable(found):
        raise ApplicationLoadError(f"{path!r} is no application: it is {_described(found)}, which cannot be called")
    if factory:
        return _call_factory(path, found)
    if inspect.isroutine(found) and not _accepts(found, 1) and _accepts(found, 0):
        raise ApplicationLoadError(f"{path!r} is no application: it takes no arguments; --factory calls it to make one")
    return found


def adapt(app: AnyApplication, interface: str = "auto") -> ASGI3Application:
    """Return the application as an ASGI 3 coroutine function.

    An ASGI 3 application whose call is a coroutine function comes back as it is: nothing is added to a request's trip.

    Args:
        app: An application of any of the three kinds.
        interface: ``asgi3``, ``asgi2`` or ``wsgi``; ``auto`` finds out.

    Raises:
        ConfigurationError: The interface is none of these.
    """
    if interface == "auto":
        interface = detect_interface(app)
        _log.debug("The application's interface is %s", interface)
    if interface == "asgi3":
        asgi3 = cast("ASGI3Application", app)  # what the user says, or what was detected
        return asgi3 if _is_coroutine_function(app) else _as_coroutine_function(asgi3)
    if interface == "asgi2":
        # asgiref's function has no annotations
        return cast("ASGI3Application", double_to_single_callable(cast("ASGI2Application", app)))  # type: ignore[no-untyped-call]
    if interface == "wsgi":
        return _wsgi_to_asgi(app)
    raise ConfigurationError("--interface", interface, "auto, asgi3, asgi2 or wsgi")


def detect_interface(app: AnyApplication) -> str:
    """Return ``asgi3``, ``asgi2`` or ``wsgi``.

    asgiref knows coroutine functions, which are ASGI 3, and marked objects. What is left is told apart by the number of
    positional arguments: three is an ASGI 3 application in a plain function or a class, two is WSGI's
    ``(environ, start_response)``, one is ASGI 2's scope. Where any number would do, asgiref's answer stands: ASGI 2.
    """
    if _is_coroutine_function(app) or not is_double_callable(app):  # type: ignore[no-untyped-call]  # no annotations
        return "asgi3"
    if getattr(app, "_asgi_double_callable", False):
        return "asgi2"
    if inspect.isclass(app) and hasattr(app, "__await__"):
        return "asgi3"  # Starlette's HTTPEndpoint: its instances are awaited
    one, two, three = (_accepts(app, count) for count in (1, 2, 3))
    if one:
        return "asgi2"
    if two:
        return "wsgi"
    return "asgi3" if three else "asgi2"


# Loading


def _put_first_on_path(app_dir: str) -> None:
    directory = os.path.abspath(app_dir)
    if not os.path.isdir(directory):
        raise ConfigurationError("--app-dir", app_dir, "an existing directory")
    if sys.path[:1] != [directory]:
        sys.path[:] = [directory, *(entry for entry in sys.path if entry != directory)]
    importlib.invalidate_caches()


def _import_module(name: str) -> ModuleType:
    """Import a module by its absolute name.

    Raises:
        ApplicationLoadError: There is no such module, or its code raised; ``__cause__`` is the exception either way.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise ApplicationLoadError(f"{name!r} is not a module's name{_dotted(name)}; {_EXPECTED}")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if _is_missing(name, error):
            message = f"there is no module {error.name!r}{_dotted(name)}; --app-dir says where to look"
            raise ApplicationLoadError(message) from error
        raise ApplicationLoadError(f"importing {name!r} failed: {_one_line(error)}") from error
    except (Exception, SystemExit) as error:  # broad: the user's code, which may raise anything; always chained
        raise ApplicationLoadError(f"importing {name!r} failed: {_one_line(error)}") from error


def _is_missing(name: str, error: ModuleNotFoundError) -> bool:
    """Tell a module that is not there from one whose own imports fail.

    The name alone does not tell: a package may import itself wrongly. Code of the user's in the traceback does.
    """
    if error.name is None or not f"{name}.".startswith(f"{error.name}."):
        return False
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        ours = code is _import_module.__code__ or code.co_filename == importlib.__file__
        if not ours and not code.co_filename.startswith("<frozen importlib"):
            return False
        trace = trace.tb_next
    return True


def _call_factory(path: str, factory: AnyApplication) -> AnyApplication:
    try:
        app = factory()
    except Exception as error:  # broad: the user's code, which may raise anything; always chained
        raise ApplicationLoadError(f"the factory {path!r} failed: {_one_line(error)}") from error
    if inspect.iscoroutine(app):
        app.close()  # or Python warns that it was never awaited, on top of our message
        raise ApplicationLoadError(f"the factory {path!r} is a coroutine function; expected one that returns at once")
    if not callable(app):
        raise ApplicationLoadError(f"the factory {path!r} returned {_described(app)}, which cannot be called")
    return app


def _suggestion(holder: object, attribute: str) -> str:
    names = [name for name in dir(holder) if not name.startswith("_") and callable(getattr(holder, name, None))]
    usual = [name for name in _USUAL_NAMES if name in names]
    close = list(dict.fromkeys(difflib.get_close_matches(attribute, names) + usual))[:_MAX_SUGGESTIONS]
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _usual_applications(module_name: str) -> str:
    """Return a suggestion for a path without a colon, or ``""``; what fails here is not what the user must hear of."""
    try:
        module = _import_module(module_name)
    except ApplicationLoadError:
        return ""
    usual = [f"{module_name}:{name}" for name in _USUAL_NAMES if callable(getattr(module, name, None))]
    return f"; did you mean {' or '.join(usual)}?" if usual else ""


def _dotted(name: str) -> str:
    """Return a suggestion for a file's path given as a module, or ``""``."""
    dotted = name.removesuffix(".py").replace("/", ".").strip(".")
    return f"; did you mean {dotted}?" if dotted != name and dotted else ""


def _described(value: object) -> str:
    return f"{value.__name__}, a module" if isinstance(value, ModuleType) else f"of type {type(value).__name__}"


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".split("\n", 1)[0]


# Kinds of application


def _is_coroutine_function(app: object) -> bool:
    while isinstance(app, partial):
        app = app.func
    # asgiref's is the one that also knows functions marked as coroutine functions
    if iscoroutinefunction(app):
        return True
    return not inspect.isclass(app) and iscoroutinefunction(getattr(app, "__call__", None))  # noqa: B004  # not a test for callable


def _accepts(app: AnyApplication, count: int) -> bool:
    """Tell whether the call takes ``count`` positional arguments; False also when its signature cannot be read."""
    try:
        inspect.signature(app).bind(*(None,) * count)
    except (TypeError, ValueError):
        return False
    return True


def _as_coroutine_function(app: ASGI3Application) -> ASGI3Application:
    """Wrap what merely returns an awaitable, because a task is made of a coroutine and nothing else."""

    async def application(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await app(scope, receive, send)

    return application


def _wsgi_to_asgi(app: AnyApplication) -> ASGI3Application:
    async def application(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http":
            await _WSGIExchange(app).serve(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000, "reason": None})  # before accept: a 403
            _log.debug("WebSocket refused: a WSGI application has none")
        else:
            raise ApplicationProtocolError(f"a WSGI application does not know {scope['type']}")

    return application


class _ClientLeft(Exception):
    """The client is gone before its whole request was there."""


class _WSGIExchange(WsgiToAsgiInstance):
    """One request through asgiref's WSGI bridge, with what asgiref 3.13 does not do as PEP 3333 has it.

    - The result's ``close()`` is called; Django ends its request, and returns its connections, there.
    - Requests run side by side in the loop's executor; asgiref runs them one after the other in a single thread.
    - A client that leaves during its upload ends the exchange quietly; asgiref raises ``ValueError``.
    - A body without Content-Length (chunked) has one, as it is whole by then; frameworks read nothing otherwise.
    - ``start_response`` returns ``write``, takes latin-1 in header values, and a status without a reason.
    - SCRIPT_NAME is cut off PATH_INFO at a ``/`` only, and a query may hold any octet; asgiref answers 400.
    - REMOTE_ADDR is always there, and empty on a UNIX socket.

    asgiref keeps a request body of more than 64 KiB in a temporary file, so memory is bounded whatever its size.
    """

    def __init__(self, app: AnyApplication) -> None:
        # asgiref's limit on equal fields is off: the server has its own, and answers it with 431
        super().__init__(app, duplicate_header_limit=0)  # type: ignore[no-untyped-call]  # asgiref's bridge has no annotations
        self._head: HTTPResponseStartEvent | None = None
        self._sent = 0
        self._is_complete = False

    async def serve(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        async def receive_request() -> ASGIReceiveEvent:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientLeft
            return message

        try:
            await self(scope, receive_request, send)
        except _ClientLeft:
            _log.debug("The client left while it sent its request")

    def build_environ(self, scope: HTTPScope, body: SpooledTemporaryFile[bytes]) -> dict[str, object]:
        root_path = scope.get("root_path", "").rstrip("/")
        path = scope["path"]
        if root_path and (path == root_path or path.startswith(f"{root_path}/")):
            path = path[len(root_path) :]
        client = scope.get("client")
        asgiref_scope = {**scope, "query_string": b""}
        environ: dict[str, object] = super().build_environ(asgiref_scope, body)  # type: ignore[no-untyped-call]  # ditto
        environ["SCRIPT_NAME"] = _wsgi_text(root_path)
        environ["PATH_INFO"] = _wsgi_text(path)
        environ["QUERY_STRING"] = scope["query_string"].decode("latin-1")
        environ["REMOTE_ADDR"] = client[0] if client else ""
        if "CONTENT_LENGTH" not in environ and (length := body.seek(0, os.SEEK_END)):
            environ["CONTENT_LENGTH"] = str(length)
            body.seek(0)
        environ.pop("HTTP_TRANSFER_ENCODING", None)  # the body is decoded by now
        environ["wsgi.input_terminated"] = True
        return environ

    def start_response(
        self,
        status: str,
        response_headers: Iterable[tuple[str, str]],
        exc_info: tuple[type[BaseException], BaseException, TracebackType] | None = None,
    ) -> Callable[[bytes], None]:
        if exc_info is not None and self.response_started:
            raise exc_info[1].with_traceback(exc_info[2])
        if exc_info is None and self._head is not None:
            raise ApplicationProtocolError("start_response was called a second time without exc_info")
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response_headers]
        lengths = [int(value) for name, value in headers if name == b"content-length"]
        self.response_content_length = lengths[-1] if lengths else None
        self._head = {
            "type": "http.response.start",
            "status": int(status.split(" ", 1)[0]),
            "headers": headers,
            "trailers": False,
        }
        return self._transmit

    async def run_wsgi_app(self, body: SpooledTemporaryFile[bytes]) -> None:
        # without thread_sensitive every request of the process would share one thread
        await sync_to_async(self._respond, thread_sensitive=False)(body)

    def _respond(self, body: SpooledTemporaryFile[bytes]) -> None:
        """Run the application and send its response; called in a thread of the executor."""
        environ = self.build_environ(self.scope, body)
        result = cast("Iterable[bytes]", self.wsgi_application(environ, self.start_response))
        try:
            for chunk in result:
                self._transmit(chunk)
                if self._is_complete:
                    break
            if not self._is_complete:
                self._start()
                self._sync_send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            if hasattr(result, "close"):
                result.close()

    def _transmit(self, chunk: bytes) -> None:
        """Send a part of the body, no more than Content-Length allows (PEP 3333, "Handling the Content-Length Header").

        The head leaves with the first part that is not empty: until then the application may replace it.
        """
        if not chunk or self._is_complete:
            return
        self._start()
        if (length := self.response_content_length) is not None:
            chunk = chunk[: length - self._sent]
            self._sent += len(chunk)
            self._is_complete = self._sent == length
        self._sync_send({"type": "http.response.body", "body": chunk, "more_body": not self._is_complete})

    def _start(self) -> None:
        if self.response_started:
            return
        if self._head is None:
            raise ApplicationProtocolError("the WSGI application did not call start_response")
        self.response_started = True
        self._sync_send(self._head)

    def _sync_send(self, message: ASGISendEvent) -> None:
        self.sync_send(message)


def _wsgi_text(text: str) -> str:
    """Return text as WSGI has it: octets, each as one latin-1 character (PEP 3333, "Unicode Issues")."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")
