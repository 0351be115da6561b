"""Asks a server for an HTTP scenario's answer and compares it with the right one, before anything is measured.

A server that drops half a body or closes every connection would otherwise look fast or slow for the wrong reason.
"""

from __future__ import annotations

import socket
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING

from bench import tls
from bench.errors import MeasurementFailed

if TYPE_CHECKING:
    from bench.http_scenarios import HttpScenario

_TIMEOUT_S = 5.0


def check(port: int, scenario: HttpScenario) -> None:
    """Send the request twice over one connection, or once where the connection has to be closed.

    Raises:
        MeasurementFailed: an answer is wrong or missing, or the connection did not stay open or get closed as asked.
    """
    try:
        with _connect(port, scenario) as connection:
            _ask(connection, scenario, serial=0)
            if scenario.keeps_alive:
                _ask(connection, scenario, serial=1)
            elif connection.recv(1):
                raise MeasurementFailed("sent more than the answer before it closed the connection")
    except TimeoutError as error:
        what = "answer" if scenario.keeps_alive else "answer and close the connection"
        raise MeasurementFailed(f"did not {what} within {_TIMEOUT_S:.0f} s") from error
    except (OSError, HTTPException) as error:
        raise MeasurementFailed(f"no valid answer: {type(error).__name__}: {error}") from error


def _connect(port: int, scenario: HttpScenario) -> socket.socket:
    if scenario.tls:
        return tls.connect(port, timeout_s=_TIMEOUT_S)  # offers nothing by ALPN, as wrk
    return socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)


def _ask(connection: socket.socket, scenario: HttpScenario, *, serial: int) -> None:
    connection.sendall(scenario.request(serial))
    response = HTTPResponse(connection, method="POST" if scenario.body else "GET")
    with response:
        response.begin()
        body = response.read()
    complaint = complaint_about(response.status, body, scenario.expected)
    if complaint:
        raise MeasurementFailed(complaint)


def complaint_about(status: int, body: bytes, expected: bytes) -> str | None:
    """What is wrong with an answer, or ``None``."""
    if status != 200:
        return f"answered {status} instead of 200"
    if len(body) != len(expected):
        return f"answered {len(body):,} bytes instead of {len(expected):,}"
    if body != expected:
        return "answered the right number of bytes, but other ones"
    return None
