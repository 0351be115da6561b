"""A raw HTTP/1.1 client that takes nothing on trust: it says whether a response came whole, and how it was framed."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.support.server_process import WAIT_S

Address = tuple[str, int] | str
Field = tuple[bytes, bytes]


class Truncated(Exception):
    """The connection ended before the response was whole; ``clean`` tells a FIN from a reset."""

    def __init__(self, received: bytes, *, clean: bool) -> None:
        super().__init__(f"the response ended early ({'FIN' if clean else 'reset'}) behind {received[-200:]!r}")
        self.received = received
        self.clean = clean


@dataclass
class Response:
    """A whole response.

    Attributes:
        framing: ``"none"``, ``"length"``, ``"chunked"`` or ``"close"``.
        interim: The 1xx responses before it.
    """

    version: bytes
    status: int
    headers: list[Field]
    body: bytes = b""
    framing: str = "none"
    trailers: list[Field] = field(default_factory=list)
    interim: list[Response] = field(default_factory=list)

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key.lower() == name]

    def get(self, name: bytes) -> bytes | None:
        return next(iter(self.all(name)), None)


class Connection:
    """One connection; every wait is bounded.

    Args:
        address: ``(host, port)`` or the path of a UNIX socket.
        receive_buffer: Octets the kernel may hold for us; None is the system's choice.
    """

    def __init__(self, address: Address, *, receive_buffer: int | None = None, timeout_s: float = WAIT_S) -> None:
        if isinstance(address, str):
            family = socket.AF_UNIX
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout_s)
        try:
            self.socket.connect(address)
        except BaseException:
            self.socket.close()
            raise
        self.pending = b""

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Close with a reset instead of a FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_fin(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    # Reading

    def read_until(self, end: bytes) -> bytes:
        while end not in self.pending:
            self._receive()
        at = self.pending.index(end) + len(end)
        taken, self.pending = self.pending[:at], self.pending[at:]
        return taken

    def read_exactly(self, count: int) -> bytes:
        parts, missing = [], count
        while missing:
            if not self.pending:
                try:
                    self._receive()
                except Truncated as error:
                    raise Truncated(b"".join(parts), clean=error.clean) from None
            part, self.pending = self.pending[:missing], self.pending[missing:]
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def read_to_end(self) -> bytes:
        """Everything up to a clean end; a reset raises `Truncated`."""
        parts = [self.pending]
        self.pending = b""
        while True:
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                raise Truncated(b"".join(parts), clean=False) from None
            if not data:
                return b"".join(parts)
            parts.append(data)

    def is_closed(self) -> bool:
        """Tell whether the server closes, cleanly or not, without sending anything more; waits for either."""
        if self.pending:
            return False
        try:
            return not self.socket.recv(1)
        except ConnectionError:
            return True

    def read_head(self) -> Response:
        """The next head, final or interim."""
        text = self.read_until(b"\r\n\r\n")
        line, *rest = text[:-4].split(b"\r\n")
        match = re.fullmatch(rb"(HTTP/1\.[01]) ([1-9][0-9][0-9]) ([^\r\n]*)", line)
        assert match is not None, f"a status line that is none: {line!r}"
        headers = []
        for item in rest:
            name, colon, value = item.partition(b":")
            assert colon and re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name), f"a field that is none: {item!r}"
            assert b"\n" not in value and b"\r" not in value
            headers.append((name, value.strip(b" \t")))
        return Response(match[1], int(match[2]), headers)

    def read_response(self, method: bytes = b"GET") -> Response:
        """The next final response, whole.

        Raises:
            Truncated: It ended before it was whole.
        """
        interim = []
        while (response := self.read_head()).status < 200:
            interim.append(response)
        response.interim = interim
        lengths, codings = response.all(b"content-length"), response.all(b"transfer-encoding")
        assert len(lengths) + len(codings) <= 1, f"framed twice: {response.headers}"
        if method == b"HEAD" or response.status in (204, 304):
            return response
        if codings:
            assert codings == [b"chunked"]
            response.framing = "chunked"
            self._read_chunks(response)
        elif lengths:
            response.framing = "length"
            response.body = self.read_exactly(int(lengths[0]))
        else:
            response.framing = "close"
            response.body = self.read_to_end()
        return response

    def read_chunk(self) -> bytes:
        """The next chunk; ``b""`` is the last one, without what follows it."""
        size = int(self.read_until(b"\r\n")[:-2], 16)
        if not size:
            return b""
        data = self.read_exactly(size + 2)
        assert data.endswith(b"\r\n")
        return data[:-2]

    def _read_chunks(self, response: Response) -> None:
        while chunk := self.read_chunk():
            response.body += chunk
        while (line := self.read_until(b"\r\n")[:-2]) != b"":
            name, _, value = line.partition(b":")
            response.trailers.append((name, value.strip()))

    def _receive(self) -> None:
        try:
            data = self.socket.recv(262_144)
        except ConnectionError:
            data, clean = b"", False
        else:
            clean = True
        if not data:
            received, self.pending = self.pending, b""
            raise Truncated(received, clean=clean)
        self.pending += data


def head(
    target: bytes | str,
    fields: Iterable[Field] = (),
    *,
    method: bytes = b"GET",
    version: bytes = b"1.1",
    host: bytes | None = b"testserver",
) -> bytes:
    """A request's head; ``host=None`` leaves the Host out."""
    target = target.encode() if isinstance(target, str) else target
    hosts = [] if host is None else [(b"Host", host)]
    lines = [b"%b: %b\r\n" % pair for pair in (*hosts, *fields)]
    return b"%b %b HTTP/%b\r\n%b\r\n" % (method, target, version, b"".join(lines))


class Exchange:
    """A request under way, on a connection of its own, as a client of any HTTP version would show it.

    Args:
        body: None announces no body; a number announces that many octets, sent by `send_body`; bytes are sent at once.
    """

    def __init__(
        self, address: Address, method: bytes, target: bytes | str, fields: Sequence[Field], body: bytes | int | None
    ) -> None:
        self._method = method
        self._connection = Connection(address)
        self.client_address = self._connection.socket.getsockname()
        own: list[Field] = []
        if body is not None:
            own = [(b"Content-Length", b"%d" % (body if isinstance(body, int) else len(body)))]
        try:
            self._connection.send(head(target, [*fields, *own], method=method))
            if isinstance(body, bytes):
                self._connection.send(body)
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._connection.close()

    def send_body(self, data: bytes) -> None:
        self._connection.send(data)

    def read_head(self) -> Response:
        """The head of the response alone; `read_part` then reads its body."""
        return self._connection.read_head()

    def read_part(self) -> bytes:
        """The next part of a body of no announced length; ``b""`` is its end."""
        return self._connection.read_chunk()

    def read_response(self) -> Response:
        return self._connection.read_response(self._method)

    def disconnect(self) -> None:
        self._connection.close()

    def cut(self) -> None:
        """Disconnect rudely: a reset."""
        self._connection.reset()

    def ends_without_response(self) -> bool:
        with contextlib.suppress(Truncated):
            self._connection.read_response(self._method)
            return False
        return True


class Client:
    """Speaks HTTP/1.1 to a server; what the version-neutral contract tests use, and another version can take over.

    Args:
        address: Of the server.

    Attributes:
        version: What scopes say for its requests.
    """

    version = "1.1"

    def __init__(self, address: Address) -> None:
        self.address = address

    def open(
        self,
        target: bytes | str,
        *,
        method: bytes = b"GET",
        fields: Sequence[Field] = (),
        body: bytes | int | None = None,
    ) -> Exchange:
        """Begin an exchange; to be used in a ``with`` block."""
        return Exchange(self.address, method, target, fields, body)

    def request(
        self,
        target: bytes | str,
        *,
        method: bytes = b"GET",
        fields: Sequence[Field] = (),
        body: bytes | None = None,
    ) -> Response:
        """Make a request and read the response, whole."""
        with self.open(target, method=method, fields=fields, body=body) as exchange:
            return exchange.read_response()
