"""Every option of the server, once: the fields of `Settings` are the table.

Each field states its kind, default, spellings, group and help. The command line (cli.py), the environment variables and
the config file (config_sources.py) and docs/reference/settings.md (scripts/settings-reference) are all made from it, so
a new option is one new field here. Nothing in this module reads arguments, the environment or a file.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from daphne_clone.errors import ConfigurationError
from daphne_clone.options.kinds import (
    Choice,
    FilePath,
    Flag,
    Integer,
    ListOf,
    NumberedChoice,
    Permissions,
    Seconds,
    SecondsOrNever,
    Secret,
    Text,
)
from daphne_clone.options.network import ACCESS_FORMAT, ENDPOINT, TOKEN, BindAddress, HeaderField, TrustedPeer
from daphne_clone.options.row import Option, option

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
DEFAULT_REDIRECT_PORT = 80

APPLICATION = "Application"
BIND = "Where to listen"
TLS = "TLS"
TIMES = "Times"
LIMITS = "Limits"
WEBSOCKETS = "WebSockets"
HTTP2 = "HTTP/2"
PROXY = "Behind a proxy"
LOGS = "Logs"
RESPONSES = "Responses"
RUNTIME = "Runtime"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the server runs with; every value is checked and brought into its final form on construction.

    Raises:
        ConfigurationError: A value is not allowed; the option is named as its field.
    """

    # fmt: off
    application: str = option(
        Text("APPLICATION", "module:attribute"), "", group=APPLICATION, unset="required",
        help="the application to serve, as module:attribute.path",
    )
    factory: bool = option(
        Flag(), False, "--factory", group=APPLICATION,
        help="what the path names is called without arguments and returns the application",
    )
    app_dir: str = option(
        FilePath("DIRECTORY", "a directory"), ".", "--app-dir", group=APPLICATION,
        help="directory to import the application from",
    )
    interface: str = option(
        Choice("auto", "asgi3", "asgi2", "wsgi"), "auto", "--interface", group=APPLICATION,
        help="what the application speaks; auto finds out",
    )
    lifespan: str = option(
        Choice("auto", "on", "off"), "auto", "--lifespan", group=APPLICATION,
        help="lifespan events: auto serves an application that does not support them, on refuses it, off sends none",
    )
    env_file: str | None = option(
        FilePath("PATH", "a path"), None, "--env-file", group=APPLICATION, unset="none",
        help="file of environment variables for the application (needs python-dotenv); variables already set win",
    )

    bind: tuple[str, ...] = option(
        ListOf(BindAddress(), r"[,\s]+", "commas or blanks"), (), "-b", "--bind", "--host", group=BIND,
        unset=f"{DEFAULT_HOST}, unless --unix-socket, --fd, --endpoint or systemd gives a socket",
        help="address to listen on: host, host:port, [ipv6]:port, unix:path or fd://number; may be repeated",
    )
    port: int | None = option(
        Integer("PORT", minimum=0, maximum=65535), None, "-p", "--port", group=BIND, unset=str(DEFAULT_PORT),
        help="TCP port for each host given without one; 0 lets the system choose",
    )
    unix_socket: str | None = option(
        FilePath(), None, "-u", "--unix-socket", "--uds", group=BIND, unset="none",
        help="UNIX socket to listen on",
    )
    unix_socket_permissions: int | None = option(
        Permissions(), None, "--unix-socket-permissions", "--uds-permissions", group=BIND, unset="from the umask",
        help="permissions of the UNIX sockets this server makes, in octal, such as 660",
    )
    file_descriptor: int | None = option(
        Integer("NUMBER", minimum=0, maximum=2**31 - 1), None, "--fd", group=BIND, unset="none",
        help="listening socket to use, already open under this descriptor",
    )
    endpoints: tuple[str, ...] = option(
        ListOf(
            Text("DESCRIPTION", "an endpoint description such as tcp:port=8000:interface=127.0.0.1", pattern=ENDPOINT),
            r"\s+", "blanks",
        ),
        (), "-e", "--endpoint", group=BIND, unset="none",
        help="Twisted endpoint description to listen on; may be repeated",
    )
    backlog: int = option(
        Integer(minimum=1, maximum=2**31 - 1), 2048, "--backlog", group=BIND, unit="connections",
        help="how many connections the system may hold until they are accepted",
    )

    ssl_certfile: tuple[str, ...] = option(
        ListOf(FilePath(), ",", "commas"), (), "--ssl-certfile", group=TLS, unset="no TLS",
        help="certificate in PEM, its chain behind it: TLS on all that --bind, --port, --unix-socket and --fd open; "
        "of several, clients get the one for the host name they ask for, or the first",
    )
    ssl_keyfile: tuple[str, ...] = option(
        ListOf(FilePath(), ",", "commas"), (), "--ssl-keyfile", group=TLS, unset="in the file of the certificate",
        help="private key in PEM, one for each --ssl-certfile, in the same order",
    )
    ssl_keyfile_password: str | None = option(
        Secret("PASSWORD", "text without control characters"), None, "--ssl-keyfile-password", group=TLS, unset="none",
        help="password of the private keys, of those of ssl: endpoints too; not in the command line, which others see",
    )
    ssl_ca_certs: str | None = option(
        FilePath(), None, "--ssl-ca-certs", group=TLS, unset="none",
        help="who signs the certificates of clients: a file in PEM, or a directory of .pem files",
    )
    ssl_cert_reqs: str | None = option(
        NumberedChoice("none", "optional", "required"), None, "--ssl-cert-reqs", group=TLS,
        unset="required with --ssl-ca-certs, otherwise none", help="whether clients must show a certificate",
    )
    ssl_ciphers: str | None = option(
        Text("CIPHERS", "a list of ciphers as OpenSSL has it"), None, "--ssl-ciphers", group=TLS,
        unset="OpenSSL's choice", help="ciphers for TLS 1.2, as a list of OpenSSL's; those of TLS 1.3 are not affected",
    )
    ssl_min_version: str = option(
        Choice("1.2", "1.3"), "1.2", "--ssl-min-version", group=TLS, help="oldest version of TLS that is spoken",
    )
    ssl_handshake_timeout: float = option(
        Seconds(), 10.0, "--ssl-handshake-timeout", group=TLS, unit="seconds",
        help="how long a handshake may take, from the start of the connection; 0: no limit",
    )
    redirect_http: tuple[str, ...] = option(
        ListOf(BindAddress(), r"[,\s]+", "commas or blanks"), (), "--redirect-http", group=TLS, unset="none",
        help="address where plain HTTP is sent on to https with status 308: as for --bind, but "
        f"without a port it is {DEFAULT_REDIRECT_PORT}; may be repeated",
    )
    redirect_http_port: int | None = option(
        Integer("PORT", minimum=1, maximum=65535), None, "--redirect-http-port", group=TLS,
        unset="the first one with TLS", help="port that --redirect-http sends to, where clients know another than ours",
    )

    timeout_keep_alive: float = option(
        Seconds(), 75.0, "--timeout-keep-alive", group=TIMES, unit="seconds",
        help="how long a connection may wait for its next request; 0: no limit",
    )
    timeout_graceful_shutdown: float = option(
        Seconds(), 30.0, "--timeout-graceful-shutdown", group=TIMES, unit="seconds",
        help="how long running requests may take to end when the server stops; 0: no limit",
    )
    timeout_request_head: float = option(
        Seconds(), 30.0, "--timeout-request-head", group=TIMES, unit="seconds",
        help="how long the head of a request may take to arrive; 0: no limit",
    )
    timeout_request_body: float = option(
        Seconds(), 60.0, "--timeout-request-body", group=TIMES, unit="seconds",
        help="how long a request body may stall; 0: no limit",
    )
    timeout_write: float = option(
        Seconds(), 60.0, "--timeout-write", group=TIMES, unit="seconds",
        help="how long a client may take no bytes of a response that waits for it; 0: no limit",
    )
    http_timeout: float | None = option(
        Seconds(), None, "-t", "--http-timeout", group=TIMES, unit="seconds", unset="no limit",
        help="how long a request may take as a whole; 0: no limit",
    )
    application_close_timeout: float = option(
        Seconds(), 10.0, "--application-close-timeout", group=TIMES, unit="seconds",
        help="how long an application may go on after its client has gone; 0: not at all",
    )

    limit_concurrency: int | None = option(
        Integer(minimum=1), None, "--limit-concurrency", group=LIMITS, unit="requests", unset="no limit",
        help="requests at the same time; further ones are answered with 503",
    )
    limit_connections: int | None = option(
        Integer(minimum=1), None, "--limit-connections", group=LIMITS, unit="connections", unset="no limit",
        help="connections at the same time",
    )
    limit_request_line: int = option(
        Integer("BYTES", minimum=16), 16384, "--limit-request-line", group=LIMITS, unit="bytes",
        help="length of a request line; a longer one is answered with 414",
    )
    limit_request_fields: int = option(
        Integer(minimum=1), 100, "--limit-request-fields", group=LIMITS, unit="fields",
        help="header fields of a request; more are answered with 431",
    )
    limit_request_head: int = option(
        Integer("BYTES", minimum=64), 65536, "--limit-request-head", group=LIMITS, unit="bytes",
        help="size of a request's head as a whole; a larger one is answered with 431",
    )
    limit_request_body: int = option(
        Integer("BYTES", minimum=0), 0, "--limit-request-body", group=LIMITS, unit="bytes",
        help="size of a request body; a larger one is answered with 413; 0: no limit",
    )
    request_buffer_size: int | None = option(
        Integer("BYTES", minimum=1), None, "--request-buffer-size", group=LIMITS, unit="bytes", unset="as it arrives",
        help="size of the pieces a request body is given to the application in",
    )

    websocket_max_message_size: int = option(
        Integer("BYTES", minimum=0), 1_048_576, "--websocket-max-message-size", "--ws-max-size",
        group=WEBSOCKETS, unit="bytes",
        help="size of a message, decompressed; a larger one closes the connection with 1009; 0: no limit",
    )
    websocket_max_frame_size: int = option(
        Integer("BYTES", minimum=0), 1_048_576, "--websocket-max-frame-size", group=WEBSOCKETS, unit="bytes",
        help="size of a frame; a larger one closes the connection with 1009; 0: no limit",
    )
    ws_max_queue: int = option(
        Integer(minimum=1), 32, "--ws-max-queue", group=WEBSOCKETS, unit="messages",
        help="messages that may wait for the application; then the client has to wait",
    )
    ws_per_message_deflate: bool = option(
        Flag(), True, "--ws-per-message-deflate", group=WEBSOCKETS,
        help="compress messages for clients that offer it (permessage-deflate)",
    )
    ping_interval: float = option(
        Seconds(), 20.0, "--ping-interval", "--ws-ping-interval", group=WEBSOCKETS, unit="seconds",
        help="how long a client may be silent before it is sent a ping; 0: no pings",
    )
    ping_timeout: float = option(
        Seconds(), 30.0, "--ping-timeout", "--ws-ping-timeout", group=WEBSOCKETS, unit="seconds",
        help="how long a client may then be silent before it is cut off; anything it sends counts; 0: no limit",
    )
    websocket_timeout: float = option(
        SecondsOrNever(), 86_400.0, "--websocket-timeout", "--websocket_timeout", group=WEBSOCKETS, unit="seconds",
        help="how long a WebSocket may last; 0 or -1: no limit",
    )
    websocket_connect_timeout: float = option(
        SecondsOrNever(), 5.0, "--websocket-connect-timeout", "--websocket_connect_timeout", group=WEBSOCKETS,
        unit="seconds",
        help="how long an application may take to accept a WebSocket before it is rejected with 403; 0 or -1: no limit",
    )
    websocket_handshake_timeout: float | None = option(
        Seconds(), None, "--websocket-handshake-timeout", "--websocket_handshake_timeout", group=WEBSOCKETS,
        unit="seconds", unset="that of websocket-connect-timeout",
        help="how long a handshake may go unanswered before it ends with 503; 0: no limit",
    )

    http2: bool = option(
        Flag(), True, "--http2", group=HTTP2,
        help="speak HTTP/2: over TLS where clients ask for it (ALPN), without TLS where they begin with it",
    )
    http2_max_concurrent_streams: int = option(
        Integer(minimum=1, maximum=100_000), 100, "--http2-max-concurrent-streams", group=HTTP2, unit="requests",
        help="requests that may be under way at a time on a connection",
    )
    http2_initial_stream_window_size: int = option(
        Integer("BYTES", minimum=65_535, maximum=2**31 - 1), 262_144, "--http2-initial-stream-window-size",
        group=HTTP2, unit="bytes", help="how much of a request's body may be on its way",
    )
    http2_initial_connection_window_size: int = option(
        Integer("BYTES", minimum=65_535, maximum=2**31 - 1), 1_048_576, "--http2-initial-connection-window-size",
        group=HTTP2, unit="bytes",
        help="how much of all bodies of a connection may be on its way, or wait for the application",
    )

    proxy_headers: bool = option(
        Flag(), False, "--proxy-headers", group=PROXY,
        help="believe what trusted proxies say of the client, and of the scheme, host and path it has asked for",
    )
    forwarded_allow_ips: tuple[str, ...] = option(
        ListOf(TrustedPeer(), r"[,\s]+", "commas or blanks", split_arguments=True), ("127.0.0.0/8", "::1", "unix"),
        "--forwarded-allow-ips", group=PROXY, variables=("FORWARDED_ALLOW_IPS",),
        help="which peers are trusted proxies: addresses, ranges, unix, or * for everyone; separated by commas",
    )
    proxy_headers_host: str | None = option(
        Text("FIELD", "the name of a header field", pattern=TOKEN), None, "--proxy-headers-host", group=PROXY,
        unset="X-Forwarded-For",
        help="field that carries the client's address; Forwarded: that field alone; only with --proxy-headers",
    )
    proxy_headers_port: str | None = option(
        Text("FIELD", "the name of a header field", pattern=TOKEN), None, "--proxy-headers-port", group=PROXY,
        unset="X-Forwarded-Port", help="field that carries the client's port; only with --proxy-headers",
    )
    proxy_protocol: bool = option(
        Flag(), False, "--proxy-protocol", group=PROXY,
        help="expect a PROXY protocol header (version 1 or 2) on each connection; only trusted proxies may connect",
    )
    root_path: str = option(
        Text("PATH", takes_empty=True), "", "--root-path", group=PROXY, unset="none",
        help="path the application is mounted at, for its scope",
    )

    log_level: str | None = option(
        Choice("critical", "error", "warning", "info", "debug", "trace"), None, "--log-level", group=LOGS,
        unset="from --verbosity", help="least severe log messages to write",
    )
    log_config: str | None = option(
        FilePath(), None, "--log-config", group=LOGS, unset="none",
        help="logging configuration to use instead: .json, .yaml, .toml, or the ini format under any other name",
    )
    access_log: str | None = option(
        FilePath("PATH", "a path, or '-' for standard output; access-log-enabled says whether there is one"), None,
        "--access-log", group=LOGS, bare="-", unset="standard output", implies=("access_log_enabled", True),
        help="file to append the access log to; - or no value: standard output",
    )
    access_log_enabled: bool | None = option(
        Flag(), None, group=LOGS, constants={"--no-access-log": False}, unset="on from --verbosity 1 up",
        help="whether requests are logged; with --no-access-log they are not",
    )
    access_log_format: str = option(
        Text("FORMAT", "'daphne', 'json' or a format with atoms such as %(h)s", pattern=ACCESS_FORMAT), "daphne",
        "--access-log-format", group=LOGS,
        help="form of an access log line: daphne, json, or text with gunicorn's atoms",
    )
    log_fmt: str = option(
        Text("FORMAT", "a format for logging.Formatter"), "%(asctime)-15s %(levelname)-8s %(message)s",
        "--log-fmt", group=LOGS, help="form of a log line, for logging.Formatter",
    )
    verbosity: int = option(
        Integer("LEVEL", minimum=0, maximum=3), 1, "-v", "--verbosity", group=LOGS,
        help="how much to log: 0 warnings, 1 also requests and what the server does, 2 and 3 details",
    )
    use_colors: bool | None = option(
        Flag(), None, "--use-colors", group=LOGS, unset="on a terminal", help="colour the log",
    )

    headers: tuple[tuple[bytes, bytes], ...] = option(
        ListOf(HeaderField(), r"\r?\n", "line breaks"), (), "--header", group=RESPONSES, unset="none",
        help="field to add to every response; may be repeated",
    )
    server_name: str = option(
        Text("NAME", "text without control characters", takes_empty=True), "daphne", "-s", "--server-name",
        group=RESPONSES, constants={"--no-server-name": ""}, help="value of the Server field; empty: no such field",
    )
    date_header: bool = option(
        Flag(), True, "--date-header", group=RESPONSES, help="send a Date field",
    )

    loop: str = option(
        Choice("auto", "uvloop", "asyncio"), "auto", "--loop", group=RUNTIME,
        help="event loop; auto takes uvloop where it is installed",
    )
    # fmt: on

    def __post_init__(self) -> None:
        for row in OPTIONS:
            object.__setattr__(self, row.name, row.check(getattr(self, row.name), row.name))
        self._check_tls()
        for name in ("proxy_headers_host", "proxy_headers_port"):
            if getattr(self, name) is not None and not self.proxy_headers:
                raise ConfigurationError(name, getattr(self, name), "proxy-headers to be switched on with it")
        if self.proxy_headers_port is not None and (self.proxy_headers_host or "").lower() == "forwarded":
            raise ConfigurationError(
                "proxy_headers_port", self.proxy_headers_port, "no such field: Forwarded carries the port as well"
            )

    def _check_tls(self) -> None:
        if self.ssl_keyfile and len(self.ssl_keyfile) != len(self.ssl_certfile):
            count = len(self.ssl_certfile)
            expected = f"one for each ssl-certfile, which are {count}" if count else "ssl-certfile beside it"
            raise ConfigurationError("ssl_keyfile", ", ".join(self.ssl_keyfile), expected)
        for name in ("ssl_ca_certs", "ssl_cert_reqs", "ssl_ciphers"):
            value = getattr(self, name)
            if value is not None and not self.ssl_certfile:
                raise ConfigurationError(name, value, "ssl-certfile beside it")
        if self.ssl_cert_reqs in ("optional", "required") and self.ssl_ca_certs is None:
            raise ConfigurationError("ssl_cert_reqs", self.ssl_cert_reqs, "ssl-ca-certs to check certificates against")
        own = any(text.startswith(("ssl:", "tls:", "https:")) for text in self.endpoints)
        for name in ("redirect_http", "ssl_keyfile_password"):
            value = getattr(self, name)
            if value and not (self.ssl_certfile or own):
                shown = "***" if name == "ssl_keyfile_password" else ", ".join(value)
                raise ConfigurationError(name, shown, "ssl-certfile, or an endpoint ssl:..., beside it")
        if self.redirect_http_port is not None and not self.redirect_http:
            raise ConfigurationError("redirect_http_port", self.redirect_http_port, "redirect-http beside it")


# The table: the fields in their order, each with its name.
OPTIONS: tuple[Option, ...] = tuple(
    replace(declared.metadata["option"], name=declared.name) for declared in fields(Settings)
)
_OPTION_OF_KEY = {key: row for row in OPTIONS for key in row.keys}


def find_option(key: str) -> Option | None:
    """Find an option by its field or a long flag of it, with `-` or `_` between words; None where there is none."""
    return _OPTION_OF_KEY.get(key.replace("-", "_"))


def known_option(key: str, known: Iterable[str] = _OPTION_OF_KEY) -> str:
    """Say what was expected instead of an unknown name: words for a ConfigurationError, with the closest of `known`."""
    closest = difflib.get_close_matches(key, list(known), n=1)
    return f"the name of an option; did you mean {closest[0]!r}?" if closest else "the name of an option"


def settings_from_options(**options: object) -> Settings:
    """Make Settings from keywords, as `run(app, **options)` takes them.

    Args:
        options: Values by field name or by a long flag with underscores (`host` as well as `bind`). Lists may be given
            as text, separated as in the environment; header fields as `"Name: value"` or as pairs.

    Raises:
        ConfigurationError: A keyword is unknown, two name the same option, or a value is not allowed.
    """
    keyword_of: dict[str, str] = {}
    for keyword, value in options.items():
        row = find_option(keyword)
        if row is None:
            raise ConfigurationError(keyword, value, known_option(keyword))
        if row.name in keyword_of:
            raise ConfigurationError(keyword, value, f"only one of {keyword_of[row.name]} and {keyword}")
        keyword_of[row.name] = keyword
    return build_settings({name: options[keyword] for name, keyword in keyword_of.items()}, keyword_of)


def build_settings(values: Mapping[str, object], labels: Mapping[str, str]) -> Settings:
    """Make Settings from values by field name.

    Args:
        values: What was given; every other field keeps its default.
        labels: How an error names each given option.

    Raises:
        ConfigurationError: A value is not allowed, alone or beside the others.
    """
    try:
        return Settings(**values)  # type: ignore[arg-type]  # the table checks each value in __post_init__
    except ConfigurationError as error:
        raise ConfigurationError(labels.get(error.option, error.option), error.value, error.allowed) from None
