"""The check against a server that answers with fixed bytes."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.check import check
from bench.errors import MeasurementFailed
from bench.http_scenarios import HTTP_SCENARIOS
from tests.bench.tls_servers import Answering, conversing

BY_NAME = {scenario.name: scenario for scenario in HTTP_SCENARIOS}
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, world!"


@contextmanager
def answering(*answers: bytes) -> Iterator[int]:
    """A port where one connection gets one of ``answers`` for each request and is then closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                for answer in answers:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join(5)


def test_two_right_answers_on_one_connection_pass() -> None:
    with answering(GOOD, GOOD) as port:
        check(port, BY_NAME["hello"])


def test_connection_closed_after_the_first_answer_is_a_failure() -> None:
    with answering(GOOD) as port, pytest.raises(MeasurementFailed, match="no valid answer"):
        check(port, BY_NAME["hello"])


def test_wrong_body_is_a_failure() -> None:
    with (
        answering(GOOD.replace(b"Hello", b"HELLO")) as port,
        pytest.raises(MeasurementFailed, match="right number of bytes"),
    ):
        check(port, BY_NAME["hello"])


def test_closed_connection_is_right_where_it_was_asked_for() -> None:
    with answering(GOOD) as port:
        check(port, BY_NAME["connect"])


def test_connection_left_open_is_a_failure_where_it_has_to_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.check._TIMEOUT_S", 0.2)
    with (
        answering(GOOD, GOOD) as port,
        pytest.raises(MeasurementFailed, match="did not answer and close the connection"),
    ):
        check(port, BY_NAME["connect"])


def test_nobody_listening_is_a_failure() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(MeasurementFailed, match="ConnectionRefusedError"):
            check(unused.getsockname()[1], BY_NAME["hello"])


def test_right_answers_over_tls_pass(tls_context: ssl.SSLContext) -> None:
    with conversing(Answering(tls_context, GOOD, GOOD)) as port:
        check(port, BY_NAME["tls-hello"])
    with conversing(Answering(tls_context, GOOD)) as port:
        check(port, BY_NAME["tls-connect"])


def test_wrong_answer_over_tls_is_a_failure(tls_context: ssl.SSLContext) -> None:
    with (
        conversing(Answering(tls_context, GOOD.replace(b"200", b"503"))) as port,
        pytest.raises(MeasurementFailed, match="answered 503 instead of 200"),
    ):
        check(port, BY_NAME["tls-hello"])


@pytest.mark.usefixtures("tls_context")
def test_server_in_the_clear_is_a_failure_where_tls_is_asked_for() -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port, pytest.raises(MeasurementFailed, match="SSLError"):
        check(port, BY_NAME["tls-hello"])
