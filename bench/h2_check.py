"""Asks a server for an HTTP/2 scenario's answers and compares them with the right one, before anything is measured."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from bench import h2_frames, tls
from bench.check import complaint_about
from bench.errors import MeasurementFailed, Unsupported
from bench.h2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_STREAM,
    GOAWAY,
    HEAD_BYTES,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    Frame,
    Frames,
)

if TYPE_CHECKING:
    from bench.h2_scenarios import Http2Scenario

_TIMEOUT_S = 5.0
_PROTOCOL = "h2"
_LABEL = "no HTTP/2"


def check(port: int, scenario: Http2Scenario) -> None:
    """Ask on two streams at once, and on a third when both have been answered.

    Raises:
        Unsupported: the server does not agree to HTTP/2.
        MeasurementFailed: an answer is wrong or missing.
    """
    try:
        with _connect(port, scenario) as connection:
            client = _Client(connection, port, scenario)
            client.ask(1, 3)
            client.ask(5)
    except TimeoutError as error:
        raise MeasurementFailed(f"did not answer within {_TIMEOUT_S:.0f} s") from error
    except (OSError, ValueError) as error:
        raise MeasurementFailed(f"no valid answer: {type(error).__name__}: {error}") from error


def _connect(port: int, scenario: Http2Scenario) -> socket.socket:
    if not scenario.tls:
        return socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
    connection = tls.connect(port, timeout_s=_TIMEOUT_S, protocols=[_PROTOCOL])
    if connection.selected_alpn_protocol() != _PROTOCOL:
        connection.close()
        raise Unsupported(f"does not agree to {_PROTOCOL} in the TLS handshake", _LABEL)
    return connection


class _Client:
    """One connection; the caller closes it."""

    def __init__(self, connection: socket.socket, port: int, scenario: Http2Scenario) -> None:
        self._connection = connection
        self._authority = f"127.0.0.1:{port}"
        self._scenario = scenario
        self._frames = Frames()
        self._blocks: dict[int, bytes] = {}
        self._bodies: dict[int, bytes] = {}
        self._open: set[int] = set()
        connection.sendall(h2_frames.opening())
        self._receive_preface()

    def ask(self, *streams: int) -> None:
        """Send a request on each of these streams, and wait for all answers."""
        self._open.update(streams)
        self._blocks |= dict.fromkeys(streams, b"")
        self._bodies |= dict.fromkeys(streams, b"")
        for stream in streams:
            request = h2_frames.request(
                stream, scheme=self._scenario.scheme, authority=self._authority, path=self._scenario.path
            )
            self._connection.sendall(request)
        while self._open:
            self._receive()
        for stream in streams:
            status = h2_frames.status(self._blocks[stream])
            complaint = complaint_about(status, self._bodies[stream], self._scenario.expected)
            if complaint:
                raise MeasurementFailed(complaint)

    def _receive_preface(self) -> None:
        """A server begins with a SETTINGS frame (RFC 9113, 3.4); one of HTTP/1.1 answers in words or not at all."""
        received = b""
        while len(received) < HEAD_BYTES:
            data = self._connection.recv(65536)
            if not data:
                raise Unsupported(f"ended the connection with {received!r} where HTTP/2 began", _LABEL)
            received += data
        if (received[3], received[5:HEAD_BYTES]) != (SETTINGS, bytes(4)):
            raise Unsupported(f"answered {received[:40]!r} where HTTP/2 began", _LABEL)
        self._take(received)

    def _receive(self) -> None:
        data = self._connection.recv(65536)
        if not data:
            raise MeasurementFailed("closed the connection without an answer")
        self._take(data)

    def _take(self, data: bytes) -> None:
        for frame in self._frames.receive(data):
            if frame.kind in (SETTINGS, PING) and not frame.flags & ACK:
                back = frame.payload if frame.kind == PING else b""
                self._connection.sendall(h2_frames.frame(frame.kind, back, flags=ACK))
            elif frame.kind in (GOAWAY, RST_STREAM):
                raise MeasurementFailed(_refusal(frame))
            elif frame.stream in self._open:
                self._take_answer(frame)

    def _take_answer(self, frame: Frame) -> None:
        if frame.kind in (HEADERS, CONTINUATION):
            self._blocks[frame.stream] += frame.content() if frame.kind == HEADERS else frame.payload
        elif frame.kind == DATA:
            self._bodies[frame.stream] += frame.content()
        if frame.kind in (HEADERS, DATA) and frame.flags & END_STREAM:
            self._open.remove(frame.stream)


def _refusal(frame: Frame) -> str:
    name, at = ("GOAWAY", 4) if frame.kind == GOAWAY else ("RST_STREAM", 0)
    (code,) = struct.unpack_from(">I", frame.payload, at) if len(frame.payload) >= at + 4 else (0,)
    return f"answered {name} with error code {code}" + (f": {frame.payload[8:]!r}" if frame.payload[8:] else "")
