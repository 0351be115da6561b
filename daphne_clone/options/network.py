"""The kinds of option that name addresses and header fields, and the shapes of text they are made of.

They only read what is written: nothing here resolves a name or opens a socket.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from daphne_clone.options.kinds import CONTROL, Kind, Unusable

# RFC 9110 section 5.6.2
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# A description names its kind first: what follows is for the endpoint's own parser
ENDPOINT = re.compile(r"[A-Za-z][A-Za-z0-9_.+\-]*:.*")
# Text without an atom would be written for every request as it stands: a slip such as "jsno", not a format
ACCESS_FORMAT = re.compile(r"daphne|json|.*%\(.+")

_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]*[A-Za-z0-9_.])?")
_MAX_PORT = 65535

# Fields that frame the message or belong to one hop: on every response they would contradict what the server writes
# (RFC 9112 section 6, RFC 9110 section 7.6.1).
_FRAMING_FIELDS = frozenset(
    {b"connection", b"content-length", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)


class HeaderField(Kind[tuple[bytes, bytes]]):
    """A response field: `Name: value` in text, a pair of bytes in Settings, the name in lower case.

    Text is encoded in UTF-8; bytes of the command line that are no UTF-8 pass as they are.
    """

    metavar = "'NAME: VALUE'"
    allowed = "'Name: value', the name a token and the value without control characters"

    def check(self, value: object) -> tuple[bytes, bytes]:
        name: object
        content: object
        if isinstance(value, str):
            name, colon, content = value.partition(":")
            if not colon:
                raise self.refuse(value)
        elif isinstance(value, (tuple, list)) and len(value) == 2:
            name, content = map(_decoded, value)
        else:
            raise self.refuse(value)
        if not isinstance(name, str) or not isinstance(content, str):
            raise self.refuse(value)
        content = content.strip(" \t")
        if not TOKEN.fullmatch(name) or CONTROL.search(content):
            raise self.refuse(value)
        field = name.lower().encode("ascii")
        if field in _FRAMING_FIELDS:
            raise self.refuse(value, f"another field: the server itself decides on {name}")
        return field, content.encode("utf-8", "surrogateescape")

    def show(self, value: object) -> str:
        name, content = self.check(value)
        return b": ".join((name, content)).decode("utf-8", "backslashreplace")


class TrustedPeer(Kind[str]):
    """Whose proxy headers are believed: an address, a range, `unix` for every UNIX peer, `*` for everyone."""

    metavar = "ADDRESSES"
    allowed = "IP addresses, ranges such as 10.0.0.0/8, 'unix', or '*' for everyone"

    def check(self, value: object) -> str:
        if not isinstance(value, str):
            raise self.refuse(value)
        if value in {"unix", "*"}:
            return value
        try:
            # A range is held without host bits, so that whoever reads the setting need not be lenient
            return str(ipaddress.ip_network(value, strict=False) if "/" in value else ipaddress.ip_address(value))
        except ValueError:
            raise self.refuse(value) from None


class BindTarget(NamedTuple):
    """What one `--bind` names: a host with or without a port, or a path, or a descriptor; the others are None."""

    host: str | None = None
    port: int | None = None
    unix_path: str | None = None
    file_descriptor: int | None = None


class BindAddress(Kind[str]):
    """A place to listen, held as it was written; `parse_bind` takes it apart."""

    metavar = "ADDRESS"
    allowed = "host, host:port, [ipv6]:port, unix:path or fd://number"

    def check(self, value: object) -> str:
        if not isinstance(value, str):
            raise self.refuse(value)
        parse_bind(value)
        return value


def parse_bind(text: str) -> BindTarget:
    """Take apart a value of `--bind`.

    Args:
        text: `host`, `host:port`, `[ipv6]`, `[ipv6]:port`, a bare IPv6 address, `unix:path` or `fd://number`.

    Raises:
        Unusable: It is none of them, or the port is over 65535.
    """
    refusal = Unusable(text, BindAddress.allowed)
    scheme, _, rest = text.partition(":")
    if scheme == "unix":
        if not rest or "\0" in rest:
            raise refusal
        return BindTarget(unix_path=rest)
    if scheme == "fd":
        # Never a host called "fd": fd:3 is a slip for fd://3, and as a host it would open port 3
        number = rest.removeprefix("//")
        if number == rest or not re.fullmatch(r"[0-9]{1,9}", number):
            raise refusal
        return BindTarget(file_descriptor=int(number))
    bracketed = re.fullmatch(r"\[([^\[\]]+)\](?::([0-9]{1,5}))?", text)
    if bracketed or text.count(":") > 1:
        host, port_text = bracketed.groups() if bracketed else (text, None)
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise refusal from None
    else:
        plain = re.fullmatch(r"([^:]+)(?::([0-9]{1,5}))?", text)
        if plain is None or not _HOST_NAME.fullmatch(plain[1]):
            raise refusal
        host, port_text = plain.groups()
    port = None if port_text is None else int(port_text)
    if port is not None and port > _MAX_PORT:
        raise refusal
    return BindTarget(host=host, port=port)


def _decoded(item: object) -> object:
    return item.decode("utf-8", "surrogateescape") if isinstance(item, bytes) else item
