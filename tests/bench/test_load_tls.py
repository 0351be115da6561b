"""The load generator for new TLS connections: compiled, and run against servers that count as well."""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import load_tls, tls
from bench.errors import EnvironmentFailed, MeasurementFailed
from bench.http_scenarios import HTTP_SCENARIOS
from bench.load import LoadResult
from tests.bench.tls_servers import Answering, conversing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the load generator uses epoll")
SCENARIO = next(scenario for scenario in HTTP_SCENARIOS if scenario.connects_over_tls)
NONE = dict.fromkeys(("connect", "handshake", "read", "write", "answer", "timeout"), 0)
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\nHello, world!"
Loading = Callable[..., LoadResult]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return load_tls.build(tmp_path_factory.mktemp("build"))
    except EnvironmentFailed as error:
        pytest.skip(str(error))


@pytest.fixture
def loading(program: Path, tmp_path: Path) -> Loading:
    """Runs the program for a moment; each connection is begun once where ``seconds`` is not given."""

    def loading(port: int, *, connections: int = 1, seconds: float = 1e-6, timeout_s: float = 5) -> LoadResult:
        return load_tls.run(
            program,
            port,
            SCENARIO,
            tmp_path / "request",
            connections=connections,
            seconds=seconds,
            answer_timeout_s=timeout_s,
        )

    return loading


def test_every_connection_is_a_full_handshake_with_the_cipher_and_is_counted(
    loading: Loading, tls_context: ssl.SSLContext
) -> None:
    answering = Answering(tls_context, GOOD)
    with conversing(answering) as port:
        result = loading(port, connections=4, seconds=0.2)
    assert result.errors == NONE
    assert result.requests > 4
    assert answering.handshakes == {(tls.PROTOCOL, tls.CIPHER, "full"): result.requests}
    assert result.bytes_received == result.requests * len(GOOD)
    assert 0.2 <= result.duration_s < 3
    assert 0 < result.p50_us <= result.p99_us
    assert 0 < result.cpu_s < result.duration_s


def test_connection_closed_without_close_notify_counts(loading: Loading, tls_context: ssl.SSLContext) -> None:
    with conversing(Answering(tls_context, GOOD, close_notify=False)) as port:
        result = loading(port)
    assert (result.requests, result.errors) == (1, NONE)


def test_answer_in_pieces_counts_once(loading: Loading, tls_context: ssl.SSLContext) -> None:
    def converse(plain: socket.socket) -> None:
        with tls_context.wrap_socket(plain, server_side=True) as connection:
            connection.recv(65536)
            for i in range(len(GOOD)):
                connection.sendall(GOOD[i : i + 1])

    with conversing(converse) as port:
        result = loading(port)
    assert (result.requests, result.errors) == (1, NONE)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(GOOD.replace(b"200", b"500"), id="status"),
        pytest.param(GOOD[:-1], id="shorter"),
        pytest.param(GOOD + b"!", id="longer"),
        pytest.param(GOOD[:20], id="half a head"),
        pytest.param(b"", id="nothing"),
        pytest.param(bytes(70_000), id="more than an answer can be"),
    ],
)
def test_wrong_answer_is_an_error(answer: bytes, loading: Loading, tls_context: ssl.SSLContext) -> None:
    with conversing(Answering(tls_context, answer)) as port:
        result = loading(port)
    assert (result.requests, result.errors) == (0, NONE | {"answer": 1})


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""], ids=["in the clear", "closed"])
def test_what_is_no_handshake_is_an_error(said: bytes, loading: Loading) -> None:
    def converse(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(said)

    with conversing(converse) as port:
        result = loading(port)
    assert (result.requests, result.errors) == (0, NONE | {"handshake": 1})


def test_older_tls_is_an_error(loading: Loading, tls_context: ssl.SSLContext) -> None:
    tls_context.maximum_version = ssl.TLSVersion.TLSv1_2
    with conversing(Answering(tls_context, GOOD)) as port:
        assert loading(port).errors == NONE | {"handshake": 1}


def test_answer_that_does_not_come_is_a_timeout(loading: Loading) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        result = loading(silent.getsockname()[1], connections=2, timeout_s=0.1)
    assert (result.requests, result.errors) == (0, NONE | {"timeout": 2})
    assert 0.1 <= result.duration_s < 3


def test_refused_connections_are_counted(loading: Loading) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        result = loading(unused.getsockname()[1], connections=2)
    assert (result.requests, result.errors) == (0, NONE | {"connect": 2})


def test_what_the_program_says_before_it_gives_up_is_told(loading: Loading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.tls.CIPHER", "TLS_NONE")
    with pytest.raises(MeasurementFailed, match="load_tls ended with status 1: OpenSSL has no TLS_NONE"):
        loading(1)


def test_missing_program_is_told(tmp_path: Path) -> None:
    with pytest.raises(MeasurementFailed, match="load_tls: .*nowhere"):
        load_tls.run(tmp_path / "nowhere", 1, SCENARIO, tmp_path / "request", connections=1, seconds=1)
