"""Turn an endpoint string into a listening port on the loop's own transports, or on Twisted's where only it can.

The strings are those of ``twisted.internet.endpoints.serverFromString``, and ``https:`` in front of one that the loop
carries: TLS with the certificates that the caller has, where ``ssl:`` names files of its own. This module knows neither
what the factory builds nor which options of ours became the string.
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from twisted.internet.endpoints import serverFromString
from twisted.python.systemd import ListenFDs

from daphne_clone.errors import ListenError
from daphne_clone.transport import sockets, tls
from daphne_clone.transport.ports import LoopPort, ReactorPort, Security, telling_of

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocolFactory, IReactorCore

    from daphne_clone.transport.proxied import ProxyProtocol

DEFAULT_BACKLOG: Final = 2048
_DEFAULT_MODE: Final = 0o666  # as Twisted's `unix:`; who may connect is then the directory's business

# The parameters of each kind, in the order in which they may be given without a name; Twisted's, where it has the kind.
_PARAMETERS: Final[Mapping[str, tuple[str, ...]]] = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "fd": ("fileno",),
    "systemd": ("domain", "index", "name"),
    "ssl": (
        *("port", "privateKey", "certKey", "sslmethod", "interface", "backlog"),
        *("dhParameters", "extraCertChain", "caCertsDir"),
    ),
}
_ALIASES: Final = {"tls": "ssl"}

# Those of `ssl:` that name files.
_FILES: Final = ("privateKey", "certKey", "extraCertChain", "dhParameters", "caCertsDir")

# In front of a string: the connections are under TLS.
SECURED: Final = "https:"


@dataclass(frozen=True, slots=True)
class TLSOptions:
    """What TLS needs besides an endpoint's string.

    Attributes:
        context: For ``https:`` endpoints; None where there are no certificates.
        alpn: What ``ssl:`` endpoints offer, best first.
        key_password: Opens the keys of ``ssl:`` endpoints, if they are under one.
        handshake_timeout_s: What a peer has for its handshake, from the start of its connection.
        plain_factory: Makes the protocols of connections that begin in plain text, as HTTP does; None: they are closed.
    """

    context: tls.RenewableContext | None = None
    alpn: Sequence[str] = ("http/1.1",)
    key_password: str | None = None
    handshake_timeout_s: float = tls.HANDSHAKE_TIMEOUT_S
    plain_factory: IProtocolFactory | None = None


async def listen(
    description: str,
    factory: IProtocolFactory,
    *,
    reactor: IReactorCore,
    loop: asyncio.AbstractEventLoop,
    backlog: int = DEFAULT_BACKLOG,
    unix_socket_permissions: int | None = None,
    proxy_protocol: ProxyProtocol | None = None,
    tls_options: TLSOptions | None = None,
) -> LoopPort | ReactorPort:
    """Listen as an endpoint string says: `open_port`, which see, and its ``start()`` in one step."""
    port = await open_port(
        description,
        factory,
        reactor=reactor,
        loop=loop,
        backlog=backlog,
        unix_socket_permissions=unix_socket_permissions,
        proxy_protocol=proxy_protocol,
        tls_options=tls_options,
    )
    await port.start()
    return port


async def open_port(
    description: str,
    factory: IProtocolFactory,
    *,
    reactor: IReactorCore,
    loop: asyncio.AbstractEventLoop,
    backlog: int = DEFAULT_BACKLOG,
    unix_socket_permissions: int | None = None,
    proxy_protocol: ProxyProtocol | None = None,
    tls_options: TLSOptions | None = None,
) -> LoopPort | ReactorPort:
    """Do all that listening as an endpoint string says may fail at, but do not listen yet.

    The socket is bound and the certificates are read; of a port of Twisted's own, only its string is.

    The loop carries ``tcp``, ``tcp6``, ``unix``, ``fd``, ``systemd``, ``ssl`` and ``tls``; every other prefix goes to
    Twisted, whose transport then carries the bytes.

    Args:
        description: Such as ``tcp:port=8000:interface=127.0.0.1``; a colon inside a value is written ``\\:``.
        factory: Builds a protocol for each connection. Its ``doStart`` and ``doStop`` are called once for each port.
        reactor: For the endpoints that only Twisted knows; it runs ``loop``.
        loop: The running loop.
        backlog: Completed connections the kernel may queue; the string's own ``backlog=`` goes before it.
        unix_socket_permissions: For ``unix:`` without ``mode=``; 0o666 when None.
        proxy_protocol: Connections begin with a PROXY header; only on the loop's own transports. None for none.
        tls_options: For the endpoints with TLS; None is the defaults.

    Raises:
        ListenError: With the description and what is wrong with it, or the system's reason; so does ``start()``.
    """
    with telling_of(description):
        is_secured = description.startswith(SECURED)
        kind, options = parse(description.removeprefix(SECURED))
        if kind not in _PARAMETERS:
            if is_secured or proxy_protocol is not None:
                # Of Twisted's, only `haproxy:` reads the header, and that from whoever connects.
                kinds = ", ".join((*_PARAMETERS, *_ALIASES))
                raise ListenError(
                    f"{SECURED if is_secured else '--proxy-protocol'} goes with the endpoints {kinds} only"
                )
            return _port_of_reactor(description, factory, reactor, loop)
        queue = _number(options, "backlog", 1, 2**31 - 1, default=backlog)
        tls_options = TLSOptions() if tls_options is None else tls_options
        # Before the socket is bound: who waits for the port to open must not meet a server that fails after it.
        context = _context(kind, options, is_secured, tls_options)
        opened = await _OPEN[kind](options, loop, _mode(options, unix_socket_permissions))
        return LoopPort(
            description,
            opened.listener,
            factory,
            loop,
            security=None
            if context is None
            else Security(context, tls_options.handshake_timeout_s, tls_options.plain_factory),
            file=opened.file,
            backlog=queue,
            proxy_protocol=proxy_protocol,
        )


def _context(
    kind: str, options: Mapping[str, str], is_secured: bool, tls_options: TLSOptions
) -> tls.RenewableContext | None:
    if kind == "ssl":
        if is_secured:
            raise ListenError(f"ssl: has a certificate of its own; expected another endpoint behind {SECURED}")
        # Absolute: at a renewal the process may be in another directory.
        files = {name: os.path.abspath(options[name]) for name in _FILES if name in options}
        private_key = files.get("privateKey", os.path.abspath("server.pem"))
        return tls.RenewableContext(
            functools.partial(
                tls.server_context,
                private_key=private_key,
                certificate=files.get("certKey", private_key),
                extra_chain=files.get("extraCertChain"),
                password=tls_options.key_password,
                method=options.get("sslmethod"),
                dh_parameters=files.get("dhParameters"),
                authorities=files.get("caCertsDir"),
                alpn=tls_options.alpn,
            )
        )
    if is_secured and tls_options.context is None:
        raise ListenError(f"{SECURED} needs a certificate (--ssl-certfile)")
    return tls_options.context if is_secured else None


def _port_of_reactor(
    description: str, factory: IProtocolFactory, reactor: IReactorCore, loop: asyncio.AbstractEventLoop
) -> ReactorPort:
    try:
        endpoint = serverFromString(reactor, description)  # type: ignore[no-untyped-call]  # Twisted has not annotated it
    except Exception as error:
        # A plugin raises what it likes about its parameters.
        raise ListenError(str(error)) from error
    return ReactorPort(description, endpoint, factory, loop)


def parse(description: str) -> tuple[str, dict[str, str]]:
    """Split an endpoint string of ours into its kind and its named parameters.

    For a kind that is not ours the parameters are empty: only its plugin knows the grammar behind the first colon.

    Raises:
        ListenError: A parameter is unknown, given twice, or one too many.
    """
    kind, *rest = _split(description, ":")
    kind = _ALIASES.get(kind, kind)
    if kind not in _PARAMETERS:
        return kind, {}
    names = _PARAMETERS[kind]
    options: dict[str, str] = {}
    positional = iter(names)
    for part in rest:
        name, *value = _split(part, "=", at_most=1)
        if not value:
            name, value = next(positional, ""), [name]
            if not name:
                raise ListenError(f"too many parameters; expected {', '.join(names)}")
        if name not in names:
            raise ListenError(f"unknown parameter {_unescape(name)!r}; expected {', '.join(names)}")
        if name in options:
            raise ListenError(f"{name} is given twice")
        options[name] = _unescape(value[0])
    return kind, options


def _split(text: str, separator: str, at_most: int = -1) -> list[str]:
    """Split at each separator that has no backslash before it; the backslashes stay."""
    parts = [""]
    characters = iter(text)
    for character in characters:
        if character == "\\":
            parts[-1] += character + next(characters, "")
        elif character == separator and len(parts) - 1 != at_most:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _unescape(text: str) -> str:
    characters = iter(text)
    return "".join(next(characters, "") if character == "\\" else character for character in characters)


@dataclass(slots=True)
class _Opened:
    """A bound socket and what goes with it."""

    listener: socket.socket
    file: sockets.SocketFile | None = None


async def _open_tcp(options: Mapping[str, str], loop: asyncio.AbstractEventLoop, _mode: int) -> _Opened:
    return await _bind(options, loop, socket.AF_UNSPEC, "")


async def _open_tcp6(options: Mapping[str, str], loop: asyncio.AbstractEventLoop, _mode: int) -> _Opened:
    return await _bind(options, loop, socket.AF_INET6, "::")


async def _open_unix(options: Mapping[str, str], _loop: asyncio.AbstractEventLoop, mode: int) -> _Opened:
    # Twisted tells a live server from a stale file by a lock file. We ask the socket, so that both values are met.
    if options.get("lockfile", "1") not in ("0", "1"):
        raise ListenError(f"lockfile={options['lockfile']} cannot be used; expected 0 or 1")
    listener, file = sockets.bind_unix(_required(options, "address"), mode)
    return _Opened(listener, file=file)


async def _open_fd(options: Mapping[str, str], _loop: asyncio.AbstractEventLoop, _mode: int) -> _Opened:
    return _Opened(sockets.adopt(_number(options, "fileno", 0, 2**31 - 1)))


async def _open_systemd(options: Mapping[str, str], _loop: asyncio.AbstractEventLoop, _mode: int) -> _Opened:
    if ("index" in options) == ("name" in options):
        raise ListenError("expected one of index and name")
    # Of a copy: Twisted removes the variables that it reads, and the next `systemd:` endpoint needs them.
    passed = ListenFDs.fromEnvironment(dict(os.environ))
    if "name" in options:
        fileno = passed.inheritedNamedDescriptors().get(options["name"])
        if fileno is None:
            raise ListenError(f"systemd passed no socket named {options['name']!r} to this process")
    else:
        descriptors = passed.inheritedDescriptors()
        index = _number(options, "index", 0, 2**31 - 1)
        if index >= len(descriptors):
            raise ListenError(f"systemd passed {len(descriptors)} sockets to this process, none has index {index}")
        fileno = descriptors[index]
    listener = sockets.adopt(fileno)
    domain = options.get("domain")
    if domain is not None and listener.family != getattr(socket, f"AF_{domain}", None):
        family = listener.family.name
        listener.close()
        raise ListenError(f"the socket is {family}, not AF_{domain}")
    return _Opened(listener)


_OPEN: Final = {
    "tcp": _open_tcp,
    "tcp6": _open_tcp6,
    "ssl": _open_tcp,
    "unix": _open_unix,
    "fd": _open_fd,
    "systemd": _open_systemd,
}


async def _bind(
    options: Mapping[str, str], loop: asyncio.AbstractEventLoop, family: socket.AddressFamily, any_host: str
) -> _Opened:
    port = _number(options, "port", 0, 65535)
    host = options.get("interface") or any_host
    if not host:
        family = socket.AF_INET  # "tcp:8000" is every IPv4 address, as Twisted has it
    found = await loop.getaddrinfo(host or None, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # One endpoint, one address. IPv4 goes first where a name has both: to Daphne `localhost` is 127.0.0.1.
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    chosen, _, _, _, address = found[0]
    return _Opened(sockets.bind_tcp(chosen, address))


def _required(options: Mapping[str, str], name: str) -> str:
    value = options.get(name)
    if not value:
        raise ListenError(f"{name} is missing")
    return value


def _number(options: Mapping[str, str], name: str, low: int, high: int, default: int | None = None) -> int:
    if default is not None and name not in options:
        return default
    text = _required(options, name)
    # int() would also take blanks, signs, underscores and the digits of every script.
    if not (text.isascii() and text.isdigit()) or not low <= int(text) <= high:
        raise ListenError(f"{name}={text} cannot be used; expected a number from {low} to {high}")
    return int(text)


def _mode(options: Mapping[str, str], permissions: int | None) -> int:
    if "mode" not in options:
        return _DEFAULT_MODE if permissions is None else permissions
    try:
        mode = int(options["mode"], 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise ListenError(f"mode={options['mode']} cannot be used; expected octal permissions such as 660")
    return mode
