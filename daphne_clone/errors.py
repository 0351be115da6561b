"""Every error this package raises, in one tree; it knows nothing of the code that raises them.

::

    DaphneCloneError
    ├── ConfigurationError        an option that cannot be used: names it, its value and what is allowed
    ├── ApplicationLoadError      the application cannot be imported or is not one
    ├── ListenError               (OSError) an endpoint cannot be listened on
    │   └── UnusableFile          one of its files: names the parameter, the path, what is wrong
    ├── LifespanFailed            the application refused to start
    ├── RequestRefused            the peer's fault: carries the status to answer with
    ├── H2ConnectionFault         the peer's fault in HTTP/2: carries the error code to end the connection with
    ├── H2StreamFault             the same, with the stream that it ends
    ├── ApplicationProtocolError  (ValueError) the application broke a rule of ASGI
    └── ClientDisconnected        (ConnectionError) the application replied to a client that is gone
"""

from __future__ import annotations

from http import HTTPStatus


class DaphneCloneError(Exception):
    """Base of all errors raised by this package."""


class ConfigurationError(DaphneCloneError):
    """An option has a value that cannot be used.

    Args:
        option: The option as its user wrote it, such as ``--port`` or ``DAPHNE_CLONE_PORT``.
        value: The value given.
        allowed: What would have been accepted, as words that follow "expected".
    """

    def __init__(self, option: str, value: object, allowed: str) -> None:
        super().__init__(f"{option}: {value!r} cannot be used; expected {allowed}")
        self.option = option
        self.value = value
        self.allowed = allowed


class ApplicationLoadError(DaphneCloneError):
    """The application's path does not lead to an application."""


class ListenError(DaphneCloneError, OSError):
    """An endpoint cannot be listened on: in use, not permitted, or malformed."""


class UnusableFile(ListenError):
    """A file that TLS needs is missing, or is not what it should be.

    Args:
        parameter: Which file it is, by the name of the parameter it was given as.
        path: Where it is.
        expected: What it should have been, as words that follow "expected".
        reason: Why it is not.
    """

    def __init__(self, parameter: str, path: str, expected: str, reason: str) -> None:
        super().__init__(f"{path}: expected {expected} ({reason})")
        self.parameter = parameter
        self.path = path
        self.expected = expected
        self.reason = reason


class LifespanFailed(DaphneCloneError):
    """The application answered ``lifespan.startup`` with a failure, or does not support lifespan where it must."""


class RequestRefused(DaphneCloneError):
    """What the peer sent cannot be served.

    The reason is for our log and the answer's short text; it never quotes what the peer sent, and never an exception.

    Args:
        status: The HTTP status to answer with (RFC 9110 section 15.5 and 15.6).
        reason: A few words on what is wrong.
    """

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(f"{status.value} {status.phrase}: {reason}")
        self.status = status
        self.reason = reason


class H2ConnectionFault(DaphneCloneError):
    """A peer broke HTTP/2 so that the connection cannot go on (RFC 9113 section 5.4.1).

    Args:
        code: The error code for GOAWAY (RFC 9113 section 7).
        reason: A few words on what is wrong, for our log.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"HTTP/2 error {code:#x}: {reason}")
        self.code = code
        self.reason = reason


class H2StreamFault(DaphneCloneError):
    """A peer broke HTTP/2 on one stream; the connection goes on (RFC 9113 section 5.4.2).

    Args:
        stream_id: The stream.
        code: The error code for RST_STREAM.
        reason: As for `H2ConnectionFault`.
    """

    def __init__(self, stream_id: int, code: int, reason: str) -> None:
        super().__init__(f"stream {stream_id}: HTTP/2 error {code:#x}: {reason}")
        self.stream_id = stream_id
        self.code = code
        self.reason = reason


class ApplicationProtocolError(DaphneCloneError, ValueError):
    """The application sent what ASGI does not allow; raised from its ``send()``."""


class ClientDisconnected(DaphneCloneError, ConnectionError):
    """The application sent to a client that is gone (ASGI "Disconnected Client - send exception": an OSError)."""


# What frameworks raise of their own where receive() has told them of a disconnect; by name, for they are not imported.
_FRAMEWORKS_DISCONNECTS = frozenset({"ClientDisconnect", "ClientDisconnected", "RequestAborted", "WebSocketDisconnect"})


def is_disconnect(error: BaseException | None, *, was_told: bool = False) -> bool:
    """Tell whether an application ended because its client had gone.

    Args:
        error: What it raised: our `ClientDisconnected` or a framework's, alone, in groups or as the cause of another.
        was_told: The application has been given its disconnect event; only then a framework's own error counts.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, ClientDisconnected):
            return True
        is_builtin = type(error).__module__ == "builtins"
        if was_told and not is_builtin and type(error).__name__ in _FRAMEWORKS_DISCONNECTS:
            return True
        if isinstance(error, BaseExceptionGroup) and all(is_disconnect(e, was_told=was_told) for e in error.exceptions):
            return True
        seen.add(id(error))
        # Frameworks raise an exception of their own where they catch ours (Starlette's ClientDisconnect). A built-in
        # one in that place is more likely a fault in the code that caught it.
        error = error.__cause__ or (None if is_builtin else error.__context__)
    return False
