"""The header of the PROXY protocol, in which a proxy tells whose connection it passes on; it knows no socket.

Source: "The PROXY protocol, Versions 1 & 2" (doc/proxy-protocol.txt of HAProxy, revision of 2020/03/05), here "PP".
Both versions begin a connection, once, before anything else, TLS included::

    version 1   PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 CR LF
    version 2   signature (12 octets) | version, command | family, transport | length (2) | addresses, TLVs

Which of the two it is shows in the first octet.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final

Name = tuple[str, int] | tuple[str, int, int, int] | bytes
"""One end of a connection, as ``getsockname`` has it: IPv4, IPv6, or the path of a UNIX socket."""

# PP section 2.1: the longest line, with its line end; that of two IPv6 addresses at full length takes 104.
_MAX_LINE: Final = 107
_LINE_BEGIN: Final = b"PROXY "
# One blank each, and no zeros in front of a port: PP allows one form only.
_LINE: Final = re.compile(
    r"PROXY (?:UNKNOWN(?: .*)?|TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4}))\r\n",
    re.ASCII,
)

# PP section 2.2
_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED_BYTES: Final = 16
# Far from what 16 bits can announce, and as much as nginx takes: addresses are 216 octets at most, and the TLVs that
# proxies send (names of certificates, an endpoint's number) a few hundred.
_MAX_BYTES: Final = 4096
_LOCAL, _PROXY = 0, 1
_UNSPECIFIED, _INET, _INET6, _UNIX = range(4)
_STREAM: Final = 1
_DATAGRAM: Final = 2
_UNIX_PATH_BYTES: Final = 108


class MalformedHeader(ValueError):
    """What a connection begins with is no header of the PROXY protocol, or one too long."""


class ProxyHeaderParser:
    """Reads the one header of a connection, in whatever pieces it comes.

    Attributes:
        is_whole: The header is complete.
        ends: ``(source, destination)`` of the connection that the proxy passes on. None is the proxy's own, a health
            check say, or one of a kind that is not known here: PP wants such a connection served by its own addresses.
    """

    __slots__ = ("_received", "ends", "is_whole")

    def __init__(self) -> None:
        self.is_whole = False
        self.ends: tuple[Name, Name] | None = None
        self._received = bytearray()

    def receive_data(self, data: bytes) -> int:
        """Take the next octets of the connection, while `is_whole` is false.

        Returns:
            How many of them belong to the header; all, until it is complete.

        Raises:
            MalformedHeader: It is none, or it is longer than it may be.
        """
        before = len(self._received)
        self._received += data
        begin = self._received[:1]
        if begin == _LINE_BEGIN[:1]:
            size = self._receive_line()
        elif begin == _SIGNATURE[:1] or not begin:
            size = self._receive_binary()
        else:
            raise MalformedHeader("no PROXY header")
        return len(data) if size is None else size - before

    def _receive_line(self) -> int | None:
        """Version 1: the length of the header, or None while it is not known."""
        received = self._received
        if not received.startswith(_LINE_BEGIN[: len(received)]):
            raise MalformedHeader("no PROXY header")
        end = received.find(b"\n", 0, _MAX_LINE)
        if end < 0:
            if len(received) >= _MAX_LINE:
                raise MalformedHeader("a PROXY header of version 1 over its limit")
            return None
        try:
            line = _LINE.fullmatch(received[: end + 1].decode("ascii"))
        except UnicodeDecodeError:
            line = None
        if line is None:
            raise MalformedHeader("a malformed PROXY header of version 1")
        family, source, destination, source_port, destination_port = line.groups()
        if family is not None:
            self.ends = _name(family, source, source_port), _name(family, destination, destination_port)
        self.is_whole = True
        return end + 1

    def _receive_binary(self) -> int | None:
        """Version 2: the length of the header, or None while it is not whole."""
        received = self._received
        if not received.startswith(_SIGNATURE[: len(received)]):
            raise MalformedHeader("no PROXY header")
        if len(received) < _FIXED_BYTES:
            return None
        version, command = divmod(received[12], 16)
        if version != 2 or command not in (_LOCAL, _PROXY):
            raise MalformedHeader("a PROXY header of a version or a command that is not known")
        size = _FIXED_BYTES + int.from_bytes(received[14:16], "big")
        if size > _MAX_BYTES:
            raise MalformedHeader("a PROXY header of version 2 over its limit")
        if len(received) < size:
            return None
        if command == _PROXY:  # PP section 2.2: of a LOCAL header, family and addresses are ignored
            family, transport = divmod(received[13], 16)
            if family > _UNIX or transport > _DATAGRAM:
                raise MalformedHeader("a PROXY header of a family or a transport that is not known")
            if transport == _STREAM and family != _UNSPECIFIED:
                self.ends = _ENDS[family](bytes(received[_FIXED_BYTES:size]))
        self.is_whole = True
        return size


def _name(family: str, address: str, port: str) -> Name:
    number = int(port)
    if number > 65535:
        raise MalformedHeader("a PROXY header with a port over 65535")
    try:
        # Written in the one form that the socket itself would tell: trust and logs compare texts.
        if family == "4":
            return str(IPv4Address(address)), number
        return str(IPv6Address(address)), number, 0, 0
    except ValueError as error:
        raise MalformedHeader("a PROXY header with an address that is none of its family") from error


def _inet_ends(block: bytes) -> tuple[Name, Name]:
    _check_size(block, 12)
    ports = int.from_bytes(block[8:10], "big"), int.from_bytes(block[10:12], "big")
    return (str(IPv4Address(block[:4])), ports[0]), (str(IPv4Address(block[4:8])), ports[1])


def _inet6_ends(block: bytes) -> tuple[Name, Name]:
    _check_size(block, 36)
    ports = int.from_bytes(block[32:34], "big"), int.from_bytes(block[34:36], "big")
    return (str(IPv6Address(block[:16])), ports[0], 0, 0), (str(IPv6Address(block[16:32])), ports[1], 0, 0)


def _unix_ends(block: bytes) -> tuple[Name, Name]:
    _check_size(block, 2 * _UNIX_PATH_BYTES)
    source, destination = block[:_UNIX_PATH_BYTES], block[_UNIX_PATH_BYTES : 2 * _UNIX_PATH_BYTES]
    return source.rstrip(b"\0"), destination.rstrip(b"\0")


def _check_size(block: bytes, size: int) -> None:
    """PP section 2.2: what is behind the addresses (TLVs) is skipped; less than the addresses is an error."""
    if len(block) < size:
        raise MalformedHeader("a PROXY header of version 2 too short for its addresses")


_ENDS: Final = {_INET: _inet_ends, _INET6: _inet6_ends, _UNIX: _unix_ends}
