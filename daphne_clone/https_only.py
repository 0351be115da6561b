"""Answers to those who speak plain HTTP where they should speak https: 308 on a port for that, 400 on a port with TLS.

No application is involved. The connections are counted, timed and ended like all others of the server.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from daphne_clone.http_protocol import HTTPFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from daphne_clone.errors import RequestRefused
    from daphne_clone.interfaces import Exchange, Field, RequestHead, ResponseChannel

    # Status, fields beside those that every answer has, and text.
    Answer = tuple[HTTPStatus, list[Field], bytes]

# Narrower than what HTTP takes for a host: nothing that a client might read as the end of an authority, or decode.
_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._\-]+)(?::[0-9]*)?")

_HTTPS_PORT: Final = 443


class FixedAnswers(HTTPFactory):
    """Makes connections that answer each request by themselves, once, and close.

    Args:
        factory: The server's own; limits, times and the set of connections are its.
        answer: Makes the answer to a request.
    """

    def __init__(self, factory: HTTPFactory, answer: Callable[[RequestHead], Answer]) -> None:
        vars(self).update(vars(factory))  # and not its __init__: what it makes is to be shared
        self.numPorts = 0
        self._answer = answer

    def make_exchange(self, channel: ResponseChannel, head: RequestHead) -> Exchange:
        """Make what answers a request."""
        return _FixedExchange(channel, self._answer)


class _FixedExchange:
    """A request that is answered as soon as its head is there."""

    __slots__ = ("_answer", "_channel")

    def __init__(self, channel: ResponseChannel, answer: Callable[[RequestHead], Answer]) -> None:
        self._channel = channel
        self._answer = answer

    def request_received(self, head: RequestHead) -> None:
        status, fields, text = self._answer(head)
        fields = [
            *fields,
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(text)),
            (b"connection", b"close"),
        ]
        has_body = head.method != "HEAD"
        self._channel.start_response(status.value, fields, has_body, False)
        self._channel.send_body(text if has_body else b"", False)

    def body_received(self, data: bytes) -> None:
        """The answer does not depend on it."""

    def request_ended(self) -> None:
        """As `body_received`."""

    def request_refused(self, refusal: RequestRefused) -> None:
        """The answer is there already."""

    def client_closed_writing(self) -> None:
        """As `request_refused`."""

    def connection_lost(self) -> None:
        """As `request_refused`."""

    def writing_resumed(self) -> None:
        """As `request_refused`."""

    def shutdown_started(self) -> None:
        """As `request_refused`."""


def this_port_speaks_https(_head: RequestHead) -> Answer:
    """The answer to a request in plain text on a port with TLS."""
    return HTTPStatus.BAD_REQUEST, [], b"This port speaks https, not http.\n"


def redirect_to_https(head: RequestHead, port: int | None) -> Answer:
    """The answer that sends a client to the same host and target, under https.

    Args:
        head: The request; its Host field is the only word on where it was meant to go.
        port: Where https is spoken; None is its own port, 443.

    Returns:
        308, which keeps method and body (RFC 9110 section 15.4.9); 400 without a host that is plainly one.
    """
    hosts = [value for name, value in head.headers if name == b"host"]
    host = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    if host is None:
        return HTTPStatus.BAD_REQUEST, [], b"This port leads to https, but the request names no host.\n"
    authority = host[1] if port in (None, _HTTPS_PORT) else b"%b:%d" % (host[1], port)
    # Behind the authority and a slash nothing can lead to another host, not even "//elsewhere" or "/\elsewhere".
    path = head.raw_path if head.raw_path.startswith(b"/") else b"/"  # "*" is no path
    query = b"?" + head.query_string if head.query_string else b""
    location = b"https://%b%b%b" % (authority, path, query)
    return HTTPStatus.PERMANENT_REDIRECT, [(b"location", location)], b"This site speaks https.\n"
