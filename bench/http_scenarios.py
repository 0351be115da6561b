"""What is asked of every server over HTTP: the bytes of each scenario's request, and the answer that counts as right.

Knows no server and opens no socket. The check before a measurement and the load generator send the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench import apps

SERIAL_MARK = b"@@@@serial@@"
"""Where ``load.lua`` puts a number that differs in every request, as long as this mark: 12 characters."""

_SHORT_HEADERS = ((b"Host", b"127.0.0.1"),)

# What Chrome sends with a navigation that follows a link, cookie included: 14 headers, about 800 bytes of head.
BROWSER_HEADERS = (
    (b"Host", b"127.0.0.1:8000"),
    (b"Connection", b"keep-alive"),
    (b"sec-ch-ua", b'"Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"'),
    (b"sec-ch-ua-mobile", b"?0"),
    (b"sec-ch-ua-platform", b'"Linux"'),
    (b"Upgrade-Insecure-Requests", b"1"),
    (
        b"User-Agent",
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    ),
    (
        b"Accept",
        b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    ),
    (b"Sec-Fetch-Site", b"same-origin"),
    (b"Sec-Fetch-Mode", b"navigate"),
    (b"Sec-Fetch-Dest", b"document"),
    (b"Accept-Encoding", b"gzip, deflate, br, zstd"),
    (b"Accept-Language", b"en-GB,en;q=0.9,de;q=0.8"),
    (b"Cookie", b"sessionid=q3v8m1x7k2d9c4z6; csrftoken=Zk4tW8pL2nR6yB1v; visit=482915736044"),
)
_CHANGING_HEADERS = (
    *BROWSER_HEADERS[:-1],
    (b"Cookie", BROWSER_HEADERS[-1][1].replace(b"482915736044", SERIAL_MARK)),
)

_CLOSING_HEADERS = (*_SHORT_HEADERS, (b"Connection", b"close"))

_UPLOAD = (b"0123456789abcdef" * 640)[: 10 * 1024]


@dataclass(frozen=True, slots=True)
class HttpScenario:
    """One kind of request, asked again and again during a measurement.

    Attributes:
        name: what ``--scenario`` and the report call it.
        title: one line for the report.
        path: one of the paths of ``bench.apps``.
        headers: names and values in the order they are sent; may hold ``SERIAL_MARK`` once.
        body: request body; ``b""`` for a GET.
        expected: the response body that counts as right; the status must be 200.
        max_connections: upper bound for ``--connections``, where more would only measure full socket buffers.
        keeps_alive: whether the connection must stay open after the answer; if not, it must be closed.
        tls: whether all of it goes over TLS.
    """

    name: str
    title: str
    path: str
    expected: bytes
    headers: tuple[tuple[bytes, bytes], ...] = _SHORT_HEADERS
    body: bytes = b""
    max_connections: int = 1024
    keeps_alive: bool = True
    tls: bool = False
    unit: ClassVar[str] = "req"

    @property
    def connects_over_tls(self) -> bool:
        """Whether it is about new TLS connections, which wrk cannot make: see ``load_tls.c``."""
        return self.tls and not self.keeps_alive

    def connections_for(self, asked: int) -> int:
        """How many connections to use where ``asked`` are asked for."""
        return min(asked, self.max_connections)

    def template(self) -> bytes:
        """The request as ``load.lua`` reads it, ``SERIAL_MARK`` still in it if there is one."""
        method = b"POST" if self.body else b"GET"
        lines = [method + b" " + self.path.encode("ascii") + b" HTTP/1.1"]
        lines += [name + b": " + value for name, value in self.headers]
        if self.body:
            lines.append(b"Content-Length: %d" % len(self.body))
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body

    def request(self, serial: int = 0) -> bytes:
        """The request with ``serial`` (0 to 10**12 - 1) in place of the mark."""
        return self.template().replace(SERIAL_MARK, b"%012d" % serial)


HTTP_SCENARIOS = (
    HttpScenario("hello", "13 bytes, one request header", "/hello", apps.HELLO),
    HttpScenario("browser", "13 bytes, a browser's 14 request headers", "/hello", apps.HELLO, headers=BROWSER_HEADERS),
    HttpScenario(
        "browser-changing",
        "as browser, but the cookie differs in every request",
        "/hello",
        apps.HELLO,
        headers=_CHANGING_HEADERS,
    ),
    HttpScenario("echo", "10 KiB POST, echoed", "/echo", _UPLOAD, body=_UPLOAD),
    # 64 answers of 1 MiB in flight would measure memory bandwidth and make the memory figure one of socket buffers.
    HttpScenario("large", "1 MiB response, one message", "/large", apps.LARGE, max_connections=16),
    HttpScenario("chunks", "1 MiB response, 64 messages, chunked", "/chunks", apps.LARGE, max_connections=16),
    HttpScenario(
        "connect",
        "13 bytes, a new connection for each request",
        "/hello",
        apps.HELLO,
        headers=_CLOSING_HEADERS,
        keeps_alive=False,
    ),
    HttpScenario("tls-hello", "as hello, over TLS", "/hello", apps.HELLO, tls=True),
    HttpScenario(
        "tls-connect",
        "as connect, over TLS: a full handshake for each request",
        "/hello",
        apps.HELLO,
        headers=_CLOSING_HEADERS,
        keeps_alive=False,
        tls=True,
    ),
)
