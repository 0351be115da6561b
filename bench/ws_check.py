"""Goes through a WebSocket scenario once with a server and compares what comes back, before anything is measured.

A server that does not compress is told from one that does here: measured, it would only look fast.
"""

from __future__ import annotations

import socket
import struct
import zlib
from contextlib import ExitStack
from email.message import Message as Headers
from email.parser import BytesHeaderParser
from typing import TYPE_CHECKING

from bench import ws_frames
from bench.errors import MeasurementFailed, Unsupported
from bench.ws_frames import CLOSE, PING, PONG, TEXT, Inflater, Message, Messages
from bench.ws_scenarios import messages

if TYPE_CHECKING:
    from bench.ws_scenarios import WebSocketScenario

_TIMEOUT_S = 5.0
_MASK = b"\x12\x34\x56\x78"
_NORMAL_CLOSURE = struct.pack("!H", 1000)
_COMPRESSED_FROM = 1024
"""Messages of this length must come back compressed where compression was agreed on. A server may send shorter ones as
they are, because compressing them gains nothing."""


def check(port: int, scenario: WebSocketScenario) -> None:
    """Have two messages echoed, or broadcast among three connections; with ``connect``, close the connection as well.

    Raises:
        Unsupported: the server speaks no WebSocket, or does not compress.
        MeasurementFailed: an answer is wrong or missing.
    """
    first, second = messages(scenario.message_bytes)[:2]
    try:
        with ExitStack() as stack:
            a, *others = [
                stack.enter_context(_Client(port, scenario)) for _ in range(3 if scenario.mode == "fanout" else 1)
            ]
            if others:
                b, c = others
                a.send(first)
                b.expect(first)
                c.expect(first)
                # The first that `a` gets is the message of `b`: its own has not come back to it.
                b.send(second)
                a.expect(second)
                c.expect(second)
            else:
                for message in (first, second):
                    a.send(message)
                    a.expect(message)
            if scenario.mode == "connect":
                a.close()
    except TimeoutError as error:
        raise MeasurementFailed(f"did not answer within {_TIMEOUT_S:.0f} s") from error
    except (OSError, ValueError, zlib.error) as error:
        raise MeasurementFailed(f"no valid answer: {type(error).__name__}: {error}") from error


class _Client:
    """One connection, open from the beginning of the ``with`` block to its end."""

    def __init__(self, port: int, scenario: WebSocketScenario) -> None:
        self._deflate = scenario.deflate
        self._messages = Messages()
        self._waiting: list[Message] = []
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
        try:
            self._socket.sendall(scenario.request())
            head, behind = self._read_head()
            self._inflater = Inflater(keep_window=_agreed_window(head, deflate=scenario.deflate))
            self._waiting += self._messages.receive(behind)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> _Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, payload: bytes) -> None:
        wire = ws_frames.compress(payload) if self._deflate else payload
        self._socket.sendall(ws_frames.frame(wire, _MASK, compressed=self._deflate))

    def expect(self, payload: bytes) -> None:
        message = self._receive()
        got = self._inflater.inflate(message.payload) if message.compressed else message.payload
        if message.opcode != TEXT:
            raise MeasurementFailed(f"answered with opcode {message.opcode} instead of a text message")
        if got != payload:
            raise MeasurementFailed(
                f"answered {len(got):,} bytes, other ones than the {len(payload):,} that were right"
            )
        if message.compressed and not self._deflate:
            raise MeasurementFailed("compressed without having been asked to")
        if self._deflate and not message.compressed and len(payload) >= _COMPRESSED_FROM:
            raise MeasurementFailed(f"agreed to compress, but sent {len(payload):,} bytes as they are")

    def close(self) -> None:
        """Go through the closing handshake; the server has to close the TCP connection (RFC 6455, 7.1.1)."""
        self._socket.sendall(ws_frames.frame(_NORMAL_CLOSURE, _MASK, opcode=CLOSE))
        message = self._receive()
        if (message.opcode, message.payload) != (CLOSE, _NORMAL_CLOSURE):
            raise MeasurementFailed(f"answered a close with opcode {message.opcode}, {message.payload!r}")
        if self._waiting or self._socket.recv(1):
            raise MeasurementFailed("sent more after its close frame")

    def _read_head(self) -> tuple[bytes, bytes]:
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more()
        head, _, behind = received.partition(b"\r\n\r\n")
        return head, behind

    def _receive(self) -> Message:
        while True:
            while not self._waiting:
                self._waiting += self._messages.receive(self._more())
            message = self._waiting.pop(0)
            if message.opcode == PING:
                self._socket.sendall(ws_frames.frame(message.payload, _MASK, opcode=PONG))
            elif message.opcode != PONG:
                return message

    def _more(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise MeasurementFailed("closed the connection without an answer")
        return data


def _agreed_window(head: bytes, *, deflate: bool) -> bool:
    """Check the answer to a handshake; returns whether the server keeps its window from message to message."""
    status_line, _, fields = head.partition(b"\r\n")
    if not status_line.startswith(b"HTTP/1.1 101"):
        raise Unsupported(f"answered {status_line.decode('latin-1')!r} instead of 101 to a handshake", "no WebSocket")
    headers = BytesHeaderParser().parsebytes(fields)
    if headers.get("Sec-WebSocket-Accept", "") != ws_frames.right_accept():
        raise MeasurementFailed(f"answered Sec-WebSocket-Accept {headers.get('Sec-WebSocket-Accept')!r}")
    agreed = _extension(headers)
    if not deflate:
        if agreed:
            raise MeasurementFailed(f"agreed to {agreed}, which was not offered")
        return True
    if agreed[:1] != ["permessage-deflate"]:
        raise Unsupported("agreed to the handshake, but not to permessage-deflate", "no permessage-deflate")
    for parameter in agreed[1:]:
        name, _, value = parameter.partition("=")
        if name == "client_max_window_bits" and int(value.strip('"') or 15) < ws_frames.WINDOW_BITS:
            raise MeasurementFailed(f"asked for {parameter}; the messages are compressed with {ws_frames.WINDOW_BITS}")
    return "server_no_context_takeover" not in agreed


def _extension(headers: Headers) -> list[str]:
    """The extension that was agreed on, its name first and its parameters behind it; empty if there is none."""
    value = ", ".join(headers.get_all("Sec-WebSocket-Extensions", []))
    return [part.strip().lower() for part in value.split(";") if part.strip()]
