"""Field lines, shared by every HTTP version: what a name and a value may hold, and the fields every response gets.

It does not know how a version writes a field.
"""

from __future__ import annotations

import re
from email.utils import formatdate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daphne_clone.interfaces import Field

# RFC 9110 section 5.6.2.
TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

# RFC 9110 section 5.5: VCHAR, obs-text, space and tab. Everything else in a value is refused, which is stricter than
# "CR, LF and NUL": no other control byte has a use, and some (VT, FF, 0x1C to 0x1E) split lines in `str.splitlines`.
VALUE_BYTES = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))


# Request fields that differ with every client, or carry a secret: never kept to be recognised when they come again.
NEVER_KEPT = frozenset(
    (
        b"authorization",
        b"cookie",
        b"if-modified-since",
        b"if-none-match",
        b"proxy-authorization",
        b"range",
        b"referer",
        b"traceparent",
        b"x-api-key",
        b"x-csrftoken",
        b"x-forwarded-for",
        b"x-real-ip",
        b"x-request-id",
    )
)


def is_token(name: bytes) -> bool:
    """Tell whether ``name`` is a token (RFC 9110 section 5.6.2)."""
    return TOKEN.fullmatch(name) is not None


class DefaultFields:
    """The fields that a response gets when the application did not give them: Server, Date, and the operator's own.

    Args:
        server_name: The value of ``Server``; empty for none.
        extra: Fields of the operator (``--header``), names in lower case.
        date: Whether to send ``Date`` (RFC 9110 section 6.6.1).
        now: Seconds since the epoch.

    Attributes:
        fields: All of them, names in lower case; another list whenever one has changed.
    """

    __slots__ = ("_date", "_extra", "_second", "_server", "fields")

    def __init__(self, server_name: str, extra: Sequence[Field], date: bool, now: float) -> None:
        self._server: list[Field] = [(b"server", server_name.encode("latin-1"))] if server_name else []
        self._extra = list(extra)
        self._date = date
        self._second = -1
        self.fields: list[Field] = []
        self.refresh(now)

    def refresh(self, now: float) -> None:
        """Bring ``Date`` up to ``now`` (seconds since the epoch); to be called once a second."""
        second = int(now)
        if second == self._second:
            return
        self._second = second
        date = [(b"date", formatdate(second, usegmt=True).encode("ascii"))] if self._date else []
        own = {name for name, _ in self._extra}
        self.fields = [*(field for field in (*self._server, *date) if field[0] not in own), *self._extra]
