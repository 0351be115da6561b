"""Endpoint strings for the addresses that people give, and addresses for people to read; nothing is opened here.

The grammar is that of ``twisted.internet.endpoints.serverFromString``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from twisted.internet.address import UNIXAddress
from twisted.internet.endpoints import quoteStringArgument

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort


# In front of an endpoint string: under TLS with the certificates of the options; answering with redirects to https.
SECURED = "https:"
REDIRECTING = "redirect:"


def build_endpoint_description_strings(
    host: str | None = None,
    port: int | None = None,
    unix_socket: str | None = None,
    file_descriptor: int | None = None,
) -> list[str]:
    """Return one endpoint string for each place to listen at, TCP first; an empty list when there is none.

    The name, the parameters and the results are Daphne's.

    Args:
        host: Name or address; an IPv6 address may stand in brackets. Goes with ``port``.
        port: 0 to 65535; 0 is any free one.
        unix_socket: Path of a UNIX socket.
        file_descriptor: Number of a socket that listens already; 0 is a number as any other.

    Raises:
        ValueError: One of ``host`` and ``port`` is given without the other.
    """
    descriptions = []
    if bool(host) != (port is not None):
        raise ValueError("a host and a port can only be given together")
    if host and port is not None:
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        descriptions.append(f"tcp:port={int(port)}:interface={_quote(host)}")
    if unix_socket:
        descriptions.append(f"unix:{_quote(unix_socket)}")
    if file_descriptor is not None:
        descriptions.append(f"fd:fileno={int(file_descriptor)}")
    return descriptions


def build_tls_endpoint_description_string(host: str, port: int, *, certificate: str, private_key: str) -> str:
    """Return the endpoint string for TCP with TLS.

    Args:
        host: Name or address; an IPv6 address without brackets.
        port: 0 to 65535; 0 is any free one.
        certificate: Path of a PEM file with the certificate, and behind it, if need be, its chain.
        private_key: Path of a PEM file; it may be the same.
    """
    address = f"port={int(port)}:interface={_quote(host)}"
    return f"ssl:{address}:privateKey={_quote(private_key)}:certKey={_quote(certificate)}"


def speaks_tls(description: str) -> bool:
    """Tell whether an endpoint string is of those that we speak TLS on."""
    return description.startswith((SECURED, "ssl:", "tls:"))


def _quote(argument: str) -> str:
    quoted: str = quoteStringArgument(argument)  # type: ignore[no-untyped-call]  # Twisted has not annotated it
    # Twisted's function leaves this one alone, and its parser then takes "/a=b" for a parameter named "/a".
    return quoted.replace("=", "\\=")


def readable_address(port: IListeningPort) -> str:
    """Say where a port listens, as one would type it into a browser or a configuration."""
    address: Any = port.getHost()  # an IAddress says nothing of what it holds
    if isinstance(address, UNIXAddress):
        return f"unix:{os.fsdecode(address.name or '')}"
    if not hasattr(address, "host"):
        return str(address)
    scheme = "https" if speaks_tls(getattr(port, "description", "")) else "http"
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{scheme}://{host}:{address.port}"
