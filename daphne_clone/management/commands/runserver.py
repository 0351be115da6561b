"""`manage.py runserver` on this server: autoreload, checks and static files are Django's, the requests are ours.

The names of the class's attributes and methods are Daphne's: projects derive from it.

With the autoreloader there are three threads of control: the process that the user started, which only starts another
one whenever that ends with status 3; of that other one the main thread, which watches files and gets the signals; and
a thread that runs `inner_run`, and with it the reactor. Without it, all happens in the main thread of one process.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler, StaticFilesHandler
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.core.management.commands.runserver import Command as RunserverCommand
from django.db import connections
from django.utils import autoreload

from daphne_clone import __version__, reactor
from daphne_clone.asgi.application import adapt
from daphne_clone.endpoints import build_endpoint_description_strings, build_tls_endpoint_description_string
from daphne_clone.errors import ConfigurationError, ListenError
from daphne_clone.management.certificates import CertificateFiles, check_options, chosen_files
from daphne_clone.server import Server
from daphne_clone.settings import Settings, build_settings
from daphne_clone.utils import import_by_path

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from asgiref.typing import ASGI3Application

# Channels' name, from when the command was there; projects' LOGGING names it.
logger = logging.getLogger("django.channels.server")

# How long running requests may take to end when the server is stopped, in seconds. Whoever presses Ctrl-C waits for
# it, and so does the edit that is to be seen. It must not be much: the process that starts the others kills this one
# 0.25 s after a Ctrl-C (`subprocess.run`).
_GRACE_S = 0.1

# How long the main thread waits for the thread with the reactor to end, in seconds, before it leaves without it.
_STOP_S = 1.0

# The default of Daphne's, and of `Server`.
_HANDSHAKE_TIMEOUT_S = 5.0

# The words are Django's own runserver's, for the same errors.
_LISTEN_ERRORS = {
    errno.EACCES: "You don't have permission to access that port.",
    errno.EADDRINUSE: "That port is already in use.",
    errno.EADDRNOTAVAIL: "That IP address can't be assigned to.",
}

# Django settings by the option that goes before them; their names are Daphne's.
_LIMITS = {
    "websocket_max_message_size": "DAPHNE_WEBSOCKET_MAX_MESSAGE_SIZE",
    "websocket_max_frame_size": "DAPHNE_WEBSOCKET_MAX_FRAME_SIZE",
}

_WEBSOCKET_ACTIONS = {
    "connecting": "WebSocket HANDSHAKING %(path)s [%(client)s]",
    "connected": "WebSocket CONNECT %(path)s [%(client)s]",
    "disconnected": "WebSocket DISCONNECT %(path)s [%(client)s]",
    "rejected": "WebSocket REJECT %(path)s [%(client)s]",
}


def get_default_application() -> Callable[..., object]:
    """Import what the setting ASGI_APPLICATION names.

    Raises:
        ImproperlyConfigured: It is not set, or there is nothing under that name.
    """
    path = getattr(settings, "ASGI_APPLICATION", None)
    if not isinstance(path, str) or "." not in path:
        raise ImproperlyConfigured(
            f"ASGI_APPLICATION is {path!r}: expected the path of an application, such as 'mysite.asgi.application'."
        )
    module, _, name = path.rpartition(".")
    try:
        application = import_by_path(f"{module}:{name}")
    except ImportError as error:
        raise ImproperlyConfigured(f"ASGI_APPLICATION: module {module!r} cannot be imported: {error}") from error
    except AttributeError as error:
        raise ImproperlyConfigured(f"ASGI_APPLICATION: module {module!r} has no {name!r}: {error}") from error
    if not callable(application):
        raise ImproperlyConfigured(f"ASGI_APPLICATION: {path!r} is a {type(application).__name__}, no application.")
    return application


class Command(RunserverCommand):
    """The command.

    Attributes:
        protocol: What the address that is shown begins with; ``https`` with TLS.
        server_cls: What serves; called with arguments of `Server`.
    """

    help = "Starts a web server for development: ASGI, WebSockets, static files."
    protocol = "http"
    server_cls: type[Server] = Server

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add Daphne's options to Django's, and those for TLS."""
        super().add_arguments(parser)
        parser.add_argument(
            "--noasgi",
            action="store_false",
            dest="use_asgi",
            help="Runs Django's own WSGI server, without WebSockets.",
        )
        parser.add_argument(
            "--http_timeout",
            "--http-timeout",
            type=float,
            dest="http_timeout",
            metavar="SECONDS",
            help="How long a request may take as a whole (default: no limit).",
        )
        parser.add_argument(
            "--websocket_handshake_timeout",
            "--websocket-handshake-timeout",
            type=float,
            default=_HANDSHAKE_TIMEOUT_S,
            dest="websocket_handshake_timeout",
            metavar="SECONDS",
            help="How long a WebSocket handshake may go unanswered (default: %(default)g; 0: no limit).",
        )
        for name, setting in _LIMITS.items():
            parser.add_argument(
                f"--{name.replace('_', '-')}",
                type=int,
                dest=name,
                metavar="BYTES",
                help=f"Size of a WebSocket {name.split('_')[2]} (default: the setting {setting}, or 1 MiB; 0: no "
                "limit, so that any client can fill the memory).",
            )
        parser.add_argument("--ssl-certfile", metavar="PATH", help="Speaks TLS, with the certificate in this PEM file.")
        parser.add_argument("--ssl-keyfile", metavar="PATH", help="PEM file with its key, if that is another one.")
        parser.add_argument(
            "--ssl-adhoc",
            action="store_true",
            help="Speaks TLS, with a self-signed certificate that is made for as long as the server runs.",
        )
        if apps.is_installed("django.contrib.staticfiles"):
            parser.add_argument(
                "--nostatic",
                action="store_false",
                dest="use_static_handler",
                help="Leaves the static files under STATIC_URL to somebody else.",
            )
            parser.add_argument(
                "--insecure",
                action="store_true",
                dest="insecure_serving",
                help="Serves static files also where DEBUG is off.",
            )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the server until a signal or, in a process of the autoreloader's, an edit ends it.

        Raises:
            CommandError: Options, or settings of Django's, that cannot be used.
        """
        self._server: Server | None = None
        self._server_thread: threading.Thread | None = None
        self._certificate: CertificateFiles | None = None
        check_options(options)
        if options.get("use_asgi", True):
            if not hasattr(settings, "ASGI_APPLICATION"):
                raise CommandError("The setting ASGI_APPLICATION is missing; without it there is nothing to serve.")
            self._server_settings = chosen = _server_settings(options)
            self.http_timeout = chosen.http_timeout
            given = chosen.websocket_handshake_timeout
            self.websocket_handshake_timeout = _HANDSHAKE_TIMEOUT_S if given is None else given
            self.websocket_max_message_size = chosen.websocket_max_message_size
            self.websocket_max_frame_size = chosen.websocket_max_frame_size
        status: object = 1
        try:
            super().handle(*args, **options)
            status = 0
        except SystemExit as leaving:  # the autoreloader after an edit (3), and at SIGTERM
            status = leaving.code
            raise
        except KeyboardInterrupt:  # before the server handles the signal itself
            self._say_goodbye(options)
            status = 0
        finally:
            self._end_server(status)

    def run(self, **options: Any) -> None:
        """Run with the autoreloader or without, with a certificate if there is to be one."""
        with chosen_files(options, self.addr) as self._certificate:
            if self._certificate is not None:
                self.protocol = "https"
            super().run(**options)

    def inner_run(self, *args: Any, **options: Any) -> None:
        """Check the project, then serve until the server is stopped."""
        if not options.get("use_asgi", True):
            self.server_cls = RunserverCommand.server_cls
            super().inner_run(*args, **options)
            return
        # What was raised while the apps were loaded, and was kept back so that there is a reloader to wait for the edit
        autoreload.raise_last_exception()
        if not options.get("skip_checks"):
            self.stdout.write("Performing system checks...\n\n")
            # Django 5.2 has it, and 4.2 does not. The base's own: that of runserver means none, for it checks here.
            has_choice = hasattr(BaseCommand, "get_check_kwargs")
            chosen = BaseCommand.get_check_kwargs(self, options) if has_choice else {}
            self.check(display_num_errors=True, **chosen)
        self.check_migrations()
        # Of this thread, which from now on runs the loop: views and consumers have connections of their own.
        for connection in connections.all(initialized_only=True):
            connection.close()
        self._serve(options)

    def get_application(self, options: Mapping[str, Any]) -> ASGI3Application:
        """Return what is served: ASGI_APPLICATION, behind Django's static files where they are to be served."""
        application = adapt(get_default_application())
        if _serves_static_files(options):
            with_static_files: ASGI3Application = ASGIStaticFilesHandler(application)
            return with_static_files
        return application

    def get_handler(self, *args: Any, **options: Any) -> object:
        """Return the WSGI application of --noasgi, behind static files as `runserver` of staticfiles has it."""
        handler: object = super().get_handler(*args, **options)
        return StaticFilesHandler(handler) if _serves_static_files(options) else handler

    def log_action(self, protocol: str, action: str, details: dict[str, Any]) -> None:
        """Write a line for a request, or for a step in the life of a WebSocket, in the terminal's colours."""
        if (protocol, action) == ("http", "complete"):
            level, style = _importance(details["status"])
            template = "HTTP %(method)s %(path)s %(status)s [%(time_taken).2f, %(client)s]"
            logger.log(level, getattr(self.style, style)(template), details)
        elif protocol == "websocket" and action in _WEBSOCKET_ACTIONS:
            logger.info(_WEBSOCKET_ACTIONS[action], details)

    # Serving

    def _serve(self, options: Mapping[str, Any]) -> None:
        in_main_thread = threading.current_thread() is threading.main_thread()
        server = self.server_cls(
            application=self.get_application(options),
            endpoints=[self._endpoint()],
            # In any other thread, signals are the business of whoever has the main one: of `_end_server`.
            signal_handlers=in_main_thread,
            action_logger=self.log_action,
            http_timeout=self.http_timeout,
            root_path=getattr(settings, "FORCE_SCRIPT_NAME", "") or "",
            websocket_handshake_timeout=self.websocket_handshake_timeout,
            websocket_max_message_size=self.websocket_max_message_size,
            websocket_max_frame_size=self.websocket_max_frame_size,
            ready_callable=self._announce,
            settings=self._server_settings,
        )
        self._server = server
        if not in_main_thread:
            self._server_thread = threading.current_thread()
        server.run()
        logger.debug("The server has ended")
        if isinstance(server.start_error, ListenError):
            reason = server.start_error.__cause__
            self.stderr.write(f"Error: {_LISTEN_ERRORS.get(getattr(reason, 'errno', 0), reason)}")
            self._leave(server.exit_status)
        if options["use_reloader"]:
            return  # an application that does not start is one to edit
        if server.exit_status:
            self._leave(server.exit_status)
        self._say_goodbye(options)

    def _endpoint(self) -> str:
        host, port = self.addr, int(self.port)
        if self.use_ipv6 and not self._raw_ipv6:
            host = _ipv6_address(host)
        if self._certificate is not None:
            return build_tls_endpoint_description_string(host, port, **self._certificate._asdict())
        return build_endpoint_description_strings(host=host, port=port)[0]

    def _announce(self) -> None:
        """Say where the server is, once it is there: with port 0, nobody knows before."""
        assert self._server is not None, "it has called this"
        port = self._server.listening_addresses[0][1]
        host = f"[{self.addr}]" if self._raw_ipv6 else "0.0.0.0" if self.addr == "0" else self.addr
        logger.debug("Listening on %s:%s", host, port)
        key = "CTRL-BREAK" if sys.platform == "win32" else "CONTROL-C"
        self.stdout.write(
            f"{datetime.now():%B %d, %Y - %X}\n"  # noqa: DTZ005  # the user's clock
            f"Django version {self.get_version()}, using settings {settings.SETTINGS_MODULE!r}\n"
            f"Starting ASGI/Daphne-clone version {__version__} development server at {self.protocol}://{host}:{port}/\n"
            f"Quit the server with {key}.\n"
        )

    # Ending

    def _end_server(self, status: object) -> None:
        """End the server that another thread runs, and the process where something would hold it up.

        The interpreter waits at its end for every thread of every executor, and one of them may be in a view.
        """
        thread = self._server_thread
        if thread is not None and self._server is not None:
            reactor.install().callFromThread(self._server.stop)  # type: ignore[no-untyped-call]  # not annotated
            thread.join(_STOP_S)
        is_stuck = thread is not None and thread.is_alive()
        if is_stuck or (self._server is not None and self._server.was_cut_short):
            self._leave_at_once(status if isinstance(status, int) else 1)

    def _leave(self, status: int) -> NoReturn:
        if threading.current_thread() is threading.main_thread():
            sys.exit(status)
        self._leave_at_once(status)

    def _leave_at_once(self, status: int) -> NoReturn:
        """End the process, whichever thread this is, and whatever the others do."""
        logging.shutdown()
        for stream in (self.stdout, self.stderr):
            stream.flush()
        os._exit(status)

    def _say_goodbye(self, options: Mapping[str, Any]) -> None:
        message = options.get("shutdown_message")  # Django's, for those who call this command
        if message:
            self.stdout.write(message)


def _server_settings(options: Mapping[str, Any]) -> Settings:
    """Make the server's settings of the options, and of Django's settings where there is no option."""
    values: dict[str, object] = {"timeout_graceful_shutdown": _GRACE_S}
    labels: dict[str, str] = {}
    for name in ("http_timeout", "websocket_handshake_timeout", *_LIMITS):
        value, label = options.get(name), f"--{name.replace('_', '-')}"
        if value is None and name in _LIMITS:
            value, label = getattr(settings, _LIMITS[name], None), f"The setting {_LIMITS[name]}"
        if value is not None:
            values[name], labels[name] = value, label
    try:
        return build_settings(values, labels)
    except ConfigurationError as error:
        raise CommandError(str(error)) from error


def _serves_static_files(options: Mapping[str, Any]) -> bool:
    is_wanted = options.get("use_static_handler", apps.is_installed("django.contrib.staticfiles"))
    return bool(is_wanted and (settings.DEBUG or options.get("insecure_serving")))


def _ipv6_address(name: str) -> str:
    """Return the address of a name that --ipv6 says is not to be taken for an IPv4 one.

    Raises:
        CommandError: It has none.
    """
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET6, socket.SOCK_STREAM)
    except OSError as error:
        raise CommandError(f"{name!r} has no IPv6 address: {error.strerror}") from error
    return str(found[0][4][0])


def _importance(status: int) -> tuple[int, str]:
    """Return the level, and the name of the style, of a response's line."""
    if status == 304:
        return logging.INFO, "HTTP_NOT_MODIFIED"
    if status == 404:
        return logging.WARNING, "HTTP_NOT_FOUND"
    by_class = {
        1: (logging.INFO, "HTTP_INFO"),
        2: (logging.INFO, "HTTP_SUCCESS"),
        3: (logging.INFO, "HTTP_REDIRECT"),
        4: (logging.WARNING, "HTTP_BAD_REQUEST"),
    }
    return by_class.get(status // 100, (logging.ERROR, "HTTP_SERVER_ERROR"))
