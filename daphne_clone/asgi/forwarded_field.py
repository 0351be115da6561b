"""The `Forwarded` field (RFC 7239), read from the right; whom to believe is not known here.

From the right, because there the nearest proxy has written, and what stands further left may be anybody's: a quote that
a client leaves open must not swallow what a proxy wrote behind it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# Members looked at, well-formed or not: more than any chain of proxies, and little enough to be no work.
_MAX_MEMBERS = 100

# RFC 7239 section 4. Two liberties, for proxies take them: blanks around ";", and values that should be quoted (an IPv6
# address, a port) but are not. Possessive throughout: what does not match fails at once.
_PAIR = rb"""([!#$%&'*+.^_`|~0-9A-Za-z-]++)=("(?:[^"\\]|\\.)*+"|[^\s",;]++)[ \t]*+"""
_ELEMENT = re.compile(rb"[ \t]*+" + _PAIR + rb"(?:;[ \t]*+(?:" + _PAIR + rb")?)*+")
_PAIRS = re.compile(_PAIR)
_QUOTED_PAIR = re.compile(rb"\\(.)")


class Element(NamedTuple):
    """What one proxy says; None where it does not say so.

    Attributes:
        node: ``for``: who has connected to it; an address with or without a port, ``unknown`` or ``_name``.
        proto: How.
        host: The Host it was asked for.
    """

    node: bytes | None
    proto: bytes | None
    host: bytes | None


def elements_from_right(value: bytes) -> Iterator[Element]:
    """Take the field apart, the last element first, up to one that is malformed.

    Args:
        value: Its lines, joined by commas.
    """
    end = comma = len(value)
    for _ in range(_MAX_MEMBERS):
        comma = value.rfind(b",", 0, comma)
        member = value[comma + 1 : end]
        if _ELEMENT.fullmatch(member):
            element = _element(member)
            if element is None:
                return
            yield element
            end = comma
        elif not member.strip(b" \t"):
            end = comma  # RFC 9110 section 5.6.1.2: empty members count for nothing
        # Otherwise the comma may stand in quotes: try with more.
        if comma < 0:
            return


def _element(member: bytes) -> Element | None:
    """One element's parameters; None if one of them is there twice (RFC 7239 section 4)."""
    pairs = {}
    for match in _PAIRS.finditer(member):
        name, value = match[1].lower(), match[2]
        if name in pairs:
            return None
        pairs[name] = _QUOTED_PAIR.sub(rb"\1", value[1:-1]) if value.startswith(b'"') else value
    return Element(pairs.get(b"for"), pairs.get(b"proto"), pairs.get(b"host"))
