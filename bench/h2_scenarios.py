"""What is asked of every server over HTTP/2, and the answer that counts as right.

Knows no server and opens no socket. h2load writes the requests itself; ``h2_frames`` makes the same ones for the check.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench import apps


@dataclass(frozen=True, slots=True)
class Http2Scenario:
    """One kind of request, asked again and again on all streams of all connections.

    Attributes:
        name: what ``--scenario`` and the report call it.
        title: one line for the report.
        path: one of the paths of ``bench.apps``.
        expected: the response body that counts as right; the status must be 200.
        tls: whether HTTP/2 is agreed on by ALPN; otherwise the client begins with it, by prior knowledge.
        connections: how many, whatever ``--connections`` says.
        streams: requests under way on each connection.
    """

    name: str
    title: str
    path: str
    expected: bytes
    tls: bool
    connections: int = 8
    streams: int = 16
    unit: ClassVar[str] = "req"

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    def connections_for(self, asked: int) -> int:
        """How many connections to use where ``asked`` are asked for."""
        return self.connections


HTTP2_SCENARIOS = (
    Http2Scenario("h2-hello", "HTTP/2 over TLS, 13 bytes", "/hello", apps.HELLO, tls=True),
    Http2Scenario("h2-16k", "HTTP/2 over TLS, 16 KiB response, one message", "/16k", apps.CHUNKS[0], tls=True),
    Http2Scenario("h2c-hello", "HTTP/2 in the clear, 13 bytes", "/hello", apps.HELLO, tls=False),
    Http2Scenario("h2c-16k", "HTTP/2 in the clear, 16 KiB response, one message", "/16k", apps.CHUNKS[0], tls=False),
)
