"""The command line: arguments become Settings, the application is loaded, a server runs; the only module that exits.

Exit status: 0 after a normal end, 1 when the application cannot be loaded or an endpoint not be listened on, 2 for an
option that cannot be used, 3 when the application refuses to start, 130 after an interrupt before the server ran, 128
and the signal's number after a stop that was cut short.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from typing import TYPE_CHECKING, ClassVar

from daphne_clone import passed_sockets, reactor
from daphne_clone.access import make_access_logger
from daphne_clone.arguments import build_parser, resolve
from daphne_clone.asgi.application import adapt, load_application
from daphne_clone.config_sources import Given, Resolved, unknown_variables
from daphne_clone.endpoints import REDIRECTING, SECURED, build_endpoint_description_strings
from daphne_clone.errors import ApplicationLoadError, ConfigurationError
from daphne_clone.loggers import get_logger
from daphne_clone.observe import logs
from daphne_clone.options.network import parse_bind
from daphne_clone.settings import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    DEFAULT_REDIRECT_PORT,
    OPTIONS,
    Settings,
    find_option,
)
from daphne_clone.tls_options import renewable_context

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping

    from asgiref.typing import ASGI3Application

    from daphne_clone.server import Server

_STATUS_LOAD_FAILED = 1
_STATUS_USAGE = 2  # what argparse itself exits with
_STATUS_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it

# The first descriptor systemd passes (sd_listen_fds(3), SD_LISTEN_FDS_START)
_FIRST_PASSED_DESCRIPTOR = 3

_logger = get_logger(__name__)


class _ServerOnDemand:
    """Stands for `daphne_clone.server.Server`, whose import installs the reactor: not before `--loop` is known."""

    def __get__(self, instance: object, owner: type) -> type[Server]:
        from daphne_clone.server import Server  # noqa: PLC0415  # the reason for this class

        return Server


class CommandLineInterface:
    """The server as a command; subclasses may set `description` and `server_class`, and add arguments to `parser`.

    Attributes:
        description: What stands above the options in the help output.
        server_class: What runs; called with the arguments of `Server`.
        parser: An `argparse.ArgumentParser`.
        settings: What `run` made of the arguments; the defaults until then.
        server: The running server; None until there is one.
    """

    description = "ASGI server for HTTP and WebSockets"
    if TYPE_CHECKING:
        server_class: ClassVar[type[Server]]
    else:
        server_class = _ServerOnDemand()

    def __init__(self) -> None:
        self.parser: argparse.ArgumentParser = build_parser(self.description)
        self.settings = Settings()
        self.server: Server | None = None

    @classmethod
    def entrypoint(cls) -> None:
        """Run the process's own arguments, and exit with the status (the console scripts' target)."""
        cls().run(sys.argv[1:])
        sys.exit(0)

    def load_asgi_app(self, asgi_app_path: str) -> Callable[..., object]:
        """Import the application; an override may take it from anywhere.

        Args:
            asgi_app_path: `module:attribute.path`.

        Returns:
            The application, of any interface.

        Raises:
            ApplicationLoadError: There is none.
        """
        return load_application(asgi_app_path, factory=self.settings.factory, app_dir=self.settings.app_dir)

    def run(self, args: list[str]) -> None:
        """Run a server until it is stopped.

        Args:
            args: The arguments, without the program's name.

        Raises:
            SystemExit: With the status, unless that is 0. It is raised rather than returned, so that the status
                survives a subclass whose `run` calls this one and returns nothing.
        """
        try:
            status = self._run(args)
        except ConfigurationError as error:
            print(f"error: {error}", file=sys.stderr)
            status = _STATUS_USAGE
        except ApplicationLoadError as error:
            print(f"{_traceback_of_application(error)}error: {error}", file=sys.stderr)
            status = _STATUS_LOAD_FAILED
        except KeyboardInterrupt:
            status = _STATUS_INTERRUPTED
        if status:
            sys.exit(status)

    def _run(self, args: list[str]) -> int:
        namespace = self.parser.parse_args(args)
        resolved = resolve(namespace, os.environ)
        try:
            application = self._prepare(resolved)
            endpoints = endpoint_strings(self.settings)
            if namespace.check_config:
                make_access_logger(self.settings)  # only it can say whether it can use its file and format
                renewable_context(self.settings)  # likewise
                print(describe(resolved, endpoints))
                return 0
            self.server = build_server(self.server_class, application, endpoints, self.settings)
        except ConfigurationError as error:
            raise _as_given(error, resolved.given) from error
        self.server.run()
        # A class that is not derived from ours may have just what Daphne's has.
        status = getattr(self.server, "exit_status", int(bool(getattr(self.server, "abort_start", False))))
        if getattr(self.server, "was_cut_short", False):
            # The interpreter would wait for every thread, and one of them may be what was not waited for.
            logging.shutdown()
            sys.stdout.flush()
            os._exit(status)
        return status

    def _prepare(self, resolved: Resolved) -> ASGI3Application:
        """Set the process up and load the application; the server is not imported before the reactor is chosen."""
        self.settings = settings = resolved.settings
        if not settings.application:
            self.parser.error(_missing_application(resolved.given))
        if settings.env_file is not None:
            load_env_file(settings.env_file)
        logs.configure(settings)
        for variable, expected in unknown_variables(os.environ).items():
            _logger.warning("%s has no effect: expected %s", variable, expected)
        # Before the application, which may import twisted.internet.reactor itself
        reactor.install(settings.loop)
        return adapt(self.load_asgi_app(settings.application), settings.interface)


def endpoint_strings(settings: Settings, environ: Mapping[str, str] | None = None) -> list[str]:
    """Describe where to listen, as Twisted endpoint descriptions.

    A port opens TCP on 127.0.0.1 where no host is bound; a host without a port gets port 8000. Without any of `bind`,
    `port`, `unix_socket`, `file_descriptor` and `endpoints`, the sockets systemd passed are used, or 127.0.0.1:8000.
    With certificates all of these but `endpoints` are under TLS.

    Args:
        settings: The settings.
        environ: Where `LISTEN_PID` and `LISTEN_FDS` are looked for (sd_listen_fds(3)); None is what the process was
            given.
    """
    own = _own_endpoints(settings, environ)
    if settings.ssl_certfile:
        own = [SECURED + description for description in own]
    redirecting = _of_targets(settings.redirect_http, DEFAULT_REDIRECT_PORT)
    return [*own, *settings.endpoints, *(REDIRECTING + description for description in redirecting)]


def _own_endpoints(settings: Settings, environ: Mapping[str, str] | None) -> list[str]:
    """Describe what is listened on by any option but `endpoints`, and by default."""
    port = DEFAULT_PORT if settings.port is None else settings.port
    descriptions = _of_targets(settings.bind, port)
    if settings.port is not None and all(parse_bind(text).host is None for text in settings.bind):
        descriptions += build_endpoint_description_strings(host=DEFAULT_HOST, port=port)
    descriptions += build_endpoint_description_strings(
        unix_socket=settings.unix_socket, file_descriptor=settings.file_descriptor
    )
    if descriptions or settings.endpoints:
        return descriptions
    passed = _passed_descriptors(passed_sockets.environment() if environ is None else environ)
    if not passed:
        return build_endpoint_description_strings(host=DEFAULT_HOST, port=DEFAULT_PORT)
    return [text for number in passed for text in build_endpoint_description_strings(file_descriptor=number)]


def _of_targets(targets: Iterable[str], port: int) -> list[str]:
    """Describe what values of `--bind` name; ``port`` is for hosts without one."""
    descriptions: list[str] = []
    for target in map(parse_bind, targets):
        descriptions += build_endpoint_description_strings(
            host=target.host,
            port=None if target.host is None else port if target.port is None else target.port,
            unix_socket=target.unix_path,
            file_descriptor=target.file_descriptor,
        )
    return descriptions


def build_server(
    server_class: type[Server], application: ASGI3Application, endpoints: list[str], settings: Settings
) -> Server:
    """Make a server from settings, by Daphne's keyword arguments, so that subclasses written for Daphne see theirs.

    Args:
        server_class: `Server` or a subclass.
        application: An ASGI 3 application.
        endpoints: Twisted endpoint descriptions.
        settings: Everything else.
    """
    proxied = settings.proxy_headers
    handshake_timeout = settings.websocket_handshake_timeout
    if handshake_timeout is None:  # Daphne has one option for both
        handshake_timeout = settings.websocket_connect_timeout
    return server_class(
        application=application,
        endpoints=endpoints,
        action_logger=make_access_logger(settings),
        http_timeout=settings.http_timeout,
        request_buffer_size=settings.request_buffer_size,
        websocket_timeout=settings.websocket_timeout,
        websocket_connect_timeout=settings.websocket_connect_timeout,
        ping_interval=settings.ping_interval,
        ping_timeout=settings.ping_timeout,
        websocket_handshake_timeout=handshake_timeout,
        websocket_max_message_size=settings.websocket_max_message_size,
        websocket_max_frame_size=settings.websocket_max_frame_size,
        application_close_timeout=settings.application_close_timeout,
        root_path=settings.root_path,
        proxy_forwarded_address_header=(settings.proxy_headers_host or "X-Forwarded-For") if proxied else None,
        proxy_forwarded_port_header=(settings.proxy_headers_port or "X-Forwarded-Port") if proxied else None,
        proxy_forwarded_proto_header="X-Forwarded-Proto" if proxied else None,
        verbosity=settings.verbosity,
        server_name=settings.server_name,
        settings=settings,
    )


def describe(resolved: Resolved, endpoints: list[str]) -> str:
    """Write what `--check-config` prints: the application, the endpoints, each option that is not at its default."""
    lines = [f"application: {resolved.settings.application}"]
    lines += [f"endpoint: {description}" for description in endpoints]
    for row in OPTIONS:
        choice = resolved.given.get(row.name)
        value = getattr(resolved.settings, row.name)
        if choice is not None and value != row.default and row.name != "application":
            where = choice.label if choice.source != "command line" else f"{choice.label} on the command line"
            shown = row.kind.show(value) or "''"
            lines.append(f"{row.name.replace('_', '-')} = {shown}  ({where})")
    return "\n".join(lines)


def _passed_descriptors(environ: Mapping[str, str]) -> range:
    count = environ.get("LISTEN_FDS", "")
    # A child inherits the variables but not the sockets: the process they are meant for is named
    if environ.get("LISTEN_PID") != str(os.getpid()) or not (count.isascii() and count.isdigit()):
        return range(0)
    return range(_FIRST_PASSED_DESCRIPTOR, _FIRST_PASSED_DESCRIPTOR + int(count))


def _missing_application(given: Mapping[str, Given]) -> str:
    taken = given.get("access_log")
    if taken is None or taken.label != "--access-log" or taken.value == "-":
        return "the application is missing: give it as module:attribute"
    # --access-log may go without a value, but takes the next argument when there is one
    return f"the application is missing, unless {taken.value!r} was meant to be it: put it before --access-log"


def _as_given(error: ConfigurationError, given: Mapping[str, Given]) -> ConfigurationError:
    """Name the option of an error raised further down as its user wrote it."""
    row = find_option(error.option.removeprefix("--"))
    if row is None or row.name not in given:
        return error
    return ConfigurationError(given[row.name].label, error.value, error.allowed)


def load_env_file(path: str) -> None:
    """Put the variables of a file into the environment, for the application; those that are set already win.

    Raises:
        ConfigurationError: python-dotenv is missing, or the file cannot be read.
    """
    try:
        from dotenv import load_dotenv  # noqa: PLC0415  # an optional extra
    except ImportError as error:
        allowed = "python-dotenv to be installed for it: pip install 'daphne-clone[env]'"
        raise ConfigurationError("env_file", path, allowed) from error
    try:
        with open(path, encoding="utf-8") as stream:
            load_dotenv(stream=stream)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigurationError("env_file", path, f"a file that can be read ({reason})") from error


def _traceback_of_application(error: ApplicationLoadError) -> str:
    """Format what went wrong inside the user's modules, from their first frame on; "" where there is no such frame."""
    if error.__cause__ is None:
        return ""
    report = traceback.TracebackException.from_exception(error.__cause__)
    ours = os.path.dirname(__file__) + os.sep
    frames = list(report.stack)
    while frames and frames[0].filename.startswith((ours, importlib.__file__, "<frozen importlib")):
        frames.pop(0)
    # A SyntaxError has no frame in the module it is about, but says where it is
    if not frames and not isinstance(error.__cause__, SyntaxError):
        return ""
    report.stack = traceback.StackSummary.from_list(frames)
    return "".join(report.format())
