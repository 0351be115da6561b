"""What a trusted proxy says about the client, and who is trusted; it does not know where requests come from.

Proxies speak in one of two ways: the X-Forwarded-* fields, or `Forwarded` (RFC 7239). A proxy that writes the one
mostly lets a client's own version of the other pass. So they are never mixed: `Forwarded` is read only in a request
without any of the X-Forwarded-* fields that say the same, or where it is the only one to be read.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote_to_bytes

from daphne_clone.asgi.forwarded_field import elements_from_right
from daphne_clone.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daphne_clone.interfaces import Field, RequestHead

_SCHEMES = {b"http": "http", b"https": "https", b"ws": "http", b"wss": "https"}

_FORWARDED = b"forwarded"
_X_FORWARDED_FOR = b"x-forwarded-for"
_X_FORWARDED_HOST = b"x-forwarded-host"
_X_FORWARDED_PREFIX = b"x-forwarded-prefix"

# Addresses in X-Forwarded-For that are looked at: more than any chain of proxies, and little enough to be no work.
_MAX_HOPS = 100

# A name or an address, with an optional port: less than RFC 3986 allows, but all that a site can be called. A name of
# no letter and no digit is none: with nginx's catch-all, `server_name _`, that is what $server_name passes on.
_HOST = re.compile(rb"(?:_?[0-9A-Za-z][0-9A-Za-z._-]{0,251}|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")

# The path of a URL and nothing else. Two slashes, or what browsers take for them, would make it another site's as soon
# as an application puts it in front of a redirect.
_PREFIX = re.compile(r"/(?![/\\])[^\x00-\x1f\x7f]*")

# The same without the first slash, which Daphne does not insist on.
_ROOT_PATH = re.compile(r"(?![/\\]{2})[^\x00-\x1f\x7f]*")


class TrustedPeers:
    """The peers whose word on the client is taken.

    Args:
        allowed: Addresses, CIDR ranges, ``"unix"`` for peers on UNIX sockets, ``"*"`` for all.

    Raises:
        ConfigurationError: One of them is none of these.
    """

    __slots__ = ("_everyone", "_known", "_networks", "_unix")

    def __init__(self, allowed: Iterable[str]) -> None:
        names = set(allowed)
        self._everyone = "*" in names
        self._unix = "unix" in names
        self._known: dict[str | None, bool] = {}
        self._networks: list[IPv4Network | IPv6Network] = []
        for name in sorted(names - {"*", "unix"}):
            try:
                self._networks.append(ip_network(name, strict=False))
            except ValueError as error:
                expected = "an address, a CIDR range, 'unix' or '*'"
                raise ConfigurationError("--forwarded-allow-ips", name, expected) from error

    def trusts(self, host: str | None) -> bool:
        """Tell whether the peer at ``host`` (an address; None is a UNIX socket) is trusted."""
        known = self._known.get(host)
        if known is None:
            # Once for each address, not for each connection: it takes 5 us. Bounded, for addresses come from outside.
            if len(self._known) >= 1024:
                self._known.clear()
            known = self._known[host] = self._look_up(host)
        return known

    def _look_up(self, host: str | None) -> bool:
        if self._everyone:
            return True
        if host is None:
            return self._unix
        try:
            address = ip_address(host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)


class Told(NamedTuple):
    """What the proxies say of a request; None where they do not, or where it cannot be read.

    Attributes:
        client: ``[host, port]``; the port is 0 where it is not known.
        scheme: ``"http"`` or ``"https"``.
        host: What the client has asked for.
        prefix: The part of the path that the proxy has taken off.
    """

    client: list[Any] | None = None
    scheme: str | None = None
    host: bytes | None = None
    prefix: str | None = None


_NOTHING = Told()


class Forwarding:
    """Reads the fields in which proxies pass on the client's address, and how it has asked.

    Args:
        trusted: The proxies; whoever calls `read` has found that the peer itself is one.
        address_header: Such as ``X-Forwarded-For``; ``Forwarded`` is for that field alone.
        port_header: Such as ``X-Forwarded-Port``, read where an address was found; None for none.
        proto_header: Such as ``X-Forwarded-Proto``; None for none.
    """

    __slots__ = ("_address_header", "_names", "_own_names", "_port_header", "_proto_header", "_trusted")

    def __init__(
        self, trusted: TrustedPeers, address_header: str, port_header: str | None, proto_header: str | None
    ) -> None:
        self._trusted = trusted
        self._address_header, self._port_header, self._proto_header = (
            name.lower().encode("latin-1") if name else b"" for name in (address_header, port_header, proto_header)
        )
        own = {self._address_header, self._port_header, self._proto_header, _X_FORWARDED_HOST} - {b""}
        others = {_X_FORWARDED_PREFIX}  # RFC 7239 has no such parameter: it goes with either
        if self._address_header == _FORWARDED:
            own = set()
            others.add(_FORWARDED)
        elif self._address_header == _X_FORWARDED_FOR and proto_header:
            # Where all are the usual ones. Who names a field, or leaves one out, wants just what was named.
            others.add(_FORWARDED)
        self._own_names = frozenset(own)
        self._names = frozenset(own | others)

    def read(self, headers: list[Field]) -> Told:
        """What the proxies tell; of several values, the last is the nearest proxy's, who is trusted."""
        values: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in self._names:
                values[name] = b"%b,%b" % (values[name], value) if name in values else value
        if not values:
            return _NOTHING
        prefix = _prefix(_last(values.pop(_X_FORWARDED_PREFIX, b"")))
        forwarded = values.pop(_FORWARDED, None)
        if values:
            client = self._client(values)
            scheme = _SCHEMES.get(_last(values.get(self._proto_header, b"")).lower())
            return Told(client, scheme, _host(_last(values.get(_X_FORWARDED_HOST, b""))), prefix)
        if forwarded is not None:
            return self._read_forwarded(forwarded, prefix)
        return Told(prefix=prefix)

    def _client(self, values: dict[bytes, bytes]) -> list[Any] | None:
        """The nearest address that is not one of our own proxies, read from the right; or the farthest of those."""
        found = None
        for hop in reversed(values.get(self._address_header, b"").rsplit(b",", _MAX_HOPS)):
            node = _node(hop.strip())
            if node is None:
                break  # what stands left of something unreadable was passed on by nobody we know
            found = node
            if not self._trusted.trusts(node[0]):
                break
        if found is None:
            return None
        return [found[0], found[1] or _port(_last(values.get(self._port_header, b"")))]

    def _read_forwarded(self, value: bytes, prefix: str | None) -> Told:
        """The same from RFC 7239's field, where each element tells all three of one hop: the farthest trusted wins."""
        client, scheme, host = None, None, None
        for element in elements_from_right(value):
            scheme = _SCHEMES.get((element.proto or b"").lower(), scheme)
            host = _host(element.host or b"") or host
            node = _node(element.node or b"")
            if node is None:
                break  # "unknown", or "_hidden": who has written further left cannot be told
            client = [*node]
            if not self._trusted.trusts(node[0]):
                break
        return Told(client, scheme, host, prefix)


def as_forwarded(
    head: RequestHead, client: list[Any] | None, scheme: str, root_path: str, forwarding: Forwarding | None
) -> tuple[RequestHead, list[Any] | None, str, str]:
    """Head, client, scheme (``"http"`` or ``"https"``) and root path of a request that came from a trusted proxy.

    Args:
        head: The request; left as it is. What is returned has the Host that the client has asked for.
        client: The proxy, and so on: what holds unless it says otherwise.
        forwarding: None believes nothing but ``Daphne-Root-Path``.
    """
    if forwarding is not None:
        told = forwarding.read(head.headers)
        if told.client is not None:
            client = told.client
        if told.scheme is not None:
            scheme = told.scheme
        if told.host is not None:
            head = _with_host(head, told.host)
        if told.prefix is not None:
            root_path = told.prefix
    if head.root_path is not None:  # it is for us and nobody else, so it goes before what a proxy says to everyone
        given = _decoded(head.root_path)
        if given is not None and _ROOT_PATH.fullmatch(given):
            root_path = given
    return head, client, scheme, root_path


def _with_host(head: RequestHead, host: bytes) -> RequestHead:
    field = (b"host", host)
    if field in head.headers:
        return head
    # A copy: the parser may give the same head to the next request. Not copy.copy(), which takes 5 us of the 6.
    changed = object.__new__(type(head))
    for name in head.__slots__:
        setattr(changed, name, getattr(head, name))
    changed.headers = [field, *(field for field in head.headers if field[0] != b"host")]
    return changed


def _last(value: bytes) -> bytes:
    return value.rpartition(b",")[2].strip()


@lru_cache(maxsize=1024)
def _node(text: bytes) -> tuple[str, int] | None:
    """Address and port (0 for none) of a hop; None when it is no address. Kept, for most clients come again."""
    address = text.decode("ascii", "replace")
    port = ""
    if address.startswith("["):
        address, bracket, port = address[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            return None
        port = port[1:]
    elif address.count(":") == 1:
        address, _, port = address.partition(":")
    if "%" in address:
        return None  # a zone (RFC 4007) is any text, and means nothing to who is elsewhere
    try:
        ip_address(address)
    except ValueError:
        return None
    return address, _port(port.encode("ascii", "replace"))


def _port(text: bytes) -> int:
    """A port; 0 when it is none, or not known."""
    number = int(text) if text.isdigit() and len(text) <= 5 else 0
    return number if number <= 65535 else 0


def _host(text: bytes) -> bytes | None:
    return text if _HOST.fullmatch(text) else None


def _prefix(text: bytes) -> str | None:
    path = _decoded(text)
    if path is None or b"?" in text or b"#" in text or not _PREFIX.fullmatch(path):
        return None
    return path.rstrip("/")


def _decoded(text: bytes) -> str | None:
    """Percent- and UTF-8-decoded; None when it is not UTF-8."""
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        return None
