"""What a trusted proxy says about the client, and who is trusted; it does not know where requests come from."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from daphne_clone.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daphne_clone.interfaces import Field, RequestHead

_SCHEMES = {b"http": "http", b"https": "https", b"ws": "http", b"wss": "https"}


def first_value(headers: Iterable[Field], name: bytes) -> bytes | None:
    """The value of the first field of this name (in lower case), or None."""
    for field in headers:
        if field[0] == name:
            return field[1]
    return None


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


class Forwarding:
    """Reads the fields in which proxies pass on the client's address and scheme.

    Args:
        trusted: The proxies; whoever calls `apply` has found that the peer itself is one.
        address_header: Such as ``X-Forwarded-For``.
        port_header: Such as ``X-Forwarded-Port``, read where an address was found; None for none.
        proto_header: Such as ``X-Forwarded-Proto``; None for none.
    """

    __slots__ = ("_address_header", "_port_header", "_proto_header", "_trusted")

    def __init__(
        self, trusted: TrustedPeers, address_header: str, port_header: str | None, proto_header: str | None
    ) -> None:
        self._trusted = trusted
        self._address_header = address_header.lower().encode("latin-1")
        self._port_header = port_header.lower().encode("latin-1") if port_header else None
        self._proto_header = proto_header.lower().encode("latin-1") if proto_header else None

    def apply(self, headers: list[Field], client: list[Any] | None, scheme: str) -> tuple[list[Any] | None, str]:
        """Client and scheme as the proxies tell them; what is absent or cannot be read leaves them as they are."""
        address = self._client_address(headers)
        if address is not None:
            client = [address, self._port(headers)]
        if self._proto_header is not None:
            # The last one is what the nearest proxy, which is trusted, has said.
            value = b",".join(value for name, value in headers if name == self._proto_header)
            scheme = _SCHEMES.get(value.rpartition(b",")[2].strip().lower(), scheme)
        return client, scheme

    def _client_address(self, headers: list[Field]) -> str | None:
        """The nearest address that is not one of our own proxies, read from the right; or the farthest of those."""
        value = b",".join(value for name, value in headers if name == self._address_header)
        found = None
        for hop in reversed(value.split(b",")):
            address = _address_of(hop.strip())
            if address is None:
                break  # what stands left of something unreadable was passed on by nobody we know
            found = address
            if not self._trusted.trusts(address):
                break
        return found

    def _port(self, headers: list[Field]) -> int:
        value = first_value(headers, self._port_header) if self._port_header is not None else None
        return int(value) if value is not None and value.isdigit() and len(value) <= 5 else 0


def as_forwarded(
    head: RequestHead, client: list[Any] | None, scheme: str, root_path: str, forwarding: Forwarding | None
) -> tuple[list[Any] | None, str, str]:
    """Client, scheme (``"http"`` or ``"https"``) and root path of a request that came from a trusted proxy.

    Args:
        head: The request.
        client: The proxy, and so on: what holds unless it says otherwise.
        forwarding: None believes nothing but ``Daphne-Root-Path``.
    """
    if head.root_path is not None:
        root_path = unquote_to_bytes(head.root_path).decode("utf-8", "replace")
    if forwarding is not None:
        client, scheme = forwarding.apply(head.headers, client, scheme)
    return client, scheme, root_path


def _address_of(hop: bytes) -> str | None:
    """The address in one member of the list, which may have a port; None when it is no address."""
    text = hop.decode("ascii", "replace")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        ip_address(text)
    except ValueError:
        return None
    return text
