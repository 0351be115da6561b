"""The load generator for WebSockets: compiled, and run against servers that count as well."""

from __future__ import annotations

import os
import random
import shutil
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench import load_ws
from bench.errors import EnvironmentFailed, MeasurementFailed
from bench.ws_scenarios import WEBSOCKET_SCENARIOS, messages
from tests.bench.websocket_servers import Echo, Fanout, answering, serving

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the load generator uses epoll"),
    pytest.mark.skipif(
        shutil.which(os.environ.get("CC", "cc")) is None, reason="the load generator needs a C compiler: cc"
    ),
]
BY_NAME = {scenario.name: scenario for scenario in WEBSOCKET_SCENARIOS}
NONE = dict.fromkeys(("connect", "handshake", "read", "write", "close", "frame", "timeout"), 0)
Loading = Callable[..., AbstractContextManager[load_ws.Generator]]
ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return load_ws.build(tmp_path_factory.mktemp("build"))


@pytest.fixture
def loading(program: Path, tmp_path: Path) -> Loading:
    """Runs the program for a moment with a scenario's messages."""

    @contextmanager
    def loading(
        name: str, port: int, *, connections: int, warm_up: float = 0, seconds: float = 0.3, timeout_s: float = 5
    ) -> Iterator[load_ws.Generator]:
        plan = tmp_path / "plan"
        plan.write_bytes(BY_NAME[name].plan())
        with load_ws.generating(
            program,
            plan,
            mode=BY_NAME[name].mode,
            port=port,
            connections=connections,
            warm_up=warm_up,
            seconds=seconds,
            answer_timeout_s=timeout_s,
        ) as generator:
            yield generator

    return loading


@pytest.mark.parametrize("name", ["ws-echo-64", "ws-echo-16k", "ws-echo-64-deflate", "ws-echo-16k-deflate"])
def test_echo_counts_what_the_server_has_received(name: str, loading: Loading) -> None:
    echo = Echo()
    compression = "deflate" if BY_NAME[name].deflate else None
    with serving(echo, compression=compression) as port, loading(name, port, connections=8) as generator:
        before = generator.ready()
        result = generator.run()
        assert before.requests + result.requests == len(echo.received)
    assert result.errors == NONE
    assert result.requests > 8
    assert 0.3 <= result.duration_s < 3
    assert 0 < result.p50_us <= result.p99_us
    assert 0 < result.cpu_s < result.duration_s
    assert set(echo.received) <= {text.decode() for text in messages(BY_NAME[name].message_bytes)}


def test_bytes_received_are_those_of_the_frames(loading: Loading) -> None:
    with serving(Echo()) as port, loading("ws-echo-16k", port, connections=2) as generator:
        generator.ready()
        result = generator.run()
    assert result.bytes_received == result.requests * (4 + 16 * 1024)


def test_all_messages_are_sent_in_turn(loading: Loading) -> None:
    echo = Echo()
    with serving(echo) as port, loading("ws-echo-16k", port, connections=1) as generator:
        generator.ready()
        generator.run()
    seen = Counter(echo.received)
    assert len(seen) == len(messages(16 * 1024))
    assert max(seen.values()) - min(seen.values()) <= 1


def test_message_in_several_frames_counts_once(loading: Loading) -> None:
    echo = Echo(lambda text: [text[:20], text[20:20], text[20:]])
    with serving(echo) as port, loading("ws-echo-64", port, connections=4) as generator:
        before = generator.ready()
        result = generator.run()
        assert before.requests + result.requests == len(echo.received)
    assert result.errors == NONE


def test_pings_are_answered(loading: Loading) -> None:
    async def ping_before_the_answer(connection: ServerConnection) -> None:
        async for message in connection:
            await (await connection.ping())
            await connection.send(message)

    with serving(ping_before_the_answer) as port, loading("ws-idle", port, connections=20) as generator:
        opening = generator.ready()
    assert (opening.requests, opening.errors) == (20, NONE)


def test_fanout_counts_what_all_receivers_got(loading: Loading) -> None:
    fanout = Fanout()
    with serving(fanout) as port, loading("ws-fanout", port, connections=21) as generator:
        before = generator.ready()
        result = generator.run()
        assert before.requests + result.requests == 20 * len(fanout.received)
    assert result.errors == NONE
    assert result.bytes_received == result.requests * (2 + 64)


def test_message_that_nobody_waits_for_is_an_error(loading: Loading) -> None:
    with serving(Fanout(also_back=True)) as port, loading("ws-fanout", port, connections=3) as generator:
        result = generator.ready()
    assert result.errors == NONE | {"frame": 1}


def test_idle_connections_are_opened_with_one_message_each_and_then_left_alone(loading: Loading) -> None:
    echo = Echo()
    with serving(echo) as port, loading("ws-idle", port, connections=100) as generator:
        opening = generator.ready()
        assert (opening.requests, len(echo.received)) == (100, 100)
        left_alone = generator.run()
        assert (left_alone.requests, len(echo.received)) == (0, 100)
    assert opening.errors == left_alone.errors == NONE
    assert left_alone.duration_s >= 0.3


def test_connect_counts_connections_that_both_sides_have_closed(loading: Loading) -> None:
    echo = Echo()
    with serving(echo) as port, loading("ws-connect", port, connections=4) as generator:
        before = generator.ready()
        result = generator.run()
        count = before.requests + result.requests
    assert result.errors == NONE
    assert result.requests > 4
    assert len(echo.received) == count
    assert echo.close_codes == [1000] * count


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        pytest.param([b""], "close", id="closed without a close frame"),
        pytest.param([b"\x88\x02\x03\xe8"], "close", id="close frame"),
        pytest.param([b"\x81\x03abc"], "frame", id="message of another length"),
        pytest.param([b"\x81\xc0" + bytes(68)], "frame", id="masked frame"),
        pytest.param([b"\xc1\x40" + bytes(64)], "frame", id="compressed without agreement"),
        pytest.param([b"\x80\x40" + bytes(64)], "frame", id="continuation of nothing"),
        pytest.param([b"\x83\x40" + bytes(64)], "frame", id="unknown opcode"),
        pytest.param([b"\x89\x7e\x00\x7e" + bytes(126)], "frame", id="ping of 126 bytes"),
    ],
)
def test_what_breaks_a_connection_is_counted_once(answers: list[bytes], kind: str, loading: Loading) -> None:
    with answering(ACCEPTED, *answers) as port, loading("ws-echo-64", port, connections=1) as generator:
        result = generator.ready()
    assert result.errors == NONE | {kind: 1}
    assert result.requests == 0


def test_frames_behind_the_head_are_not_lost(loading: Loading) -> None:
    pong_and_message = 6 + len(b"still there?") + 6 + 64
    sizes = [len(BY_NAME["ws-echo-64"].request()), pong_and_message]
    behind, answer = b"\x89\x0cstill there?", b"\x81\x40" + bytes(64)
    with (
        answering(ACCEPTED + behind, answer, to=sizes) as port,
        loading("ws-echo-64", port, connections=1) as generator,
    ):
        assert generator.ready().requests == 1


def test_message_larger_than_the_sockets_buffers_arrives_whole(program: Path, tmp_path: Path) -> None:
    size = 6_000_000  # Linux takes 2.8 MB of it at once where the receive buffer is small
    request, frame = (
        BY_NAME["ws-echo-64"].request(),
        b"\x82\xff" + size.to_bytes(8) + random.Random(1).randbytes(4 + size),
    )
    plan = tmp_path / "plan"
    plan.write_bytes(
        struct.pack("<II", 0, 1) + b"".join(struct.pack("<I", len(span)) + span for span in (request, frame))
    )
    received: list[bytes] = []
    with (
        answering(ACCEPTED, b"\x82\x00", to=[len(request), len(frame)], received=received, receive_buffer=4096) as port,
        load_ws.generating(program, plan, mode="echo", port=port, connections=1, warm_up=0, seconds=1) as generator,
    ):
        result = generator.ready()
    assert (result.requests, result.errors) == (1, NONE)
    assert received == [request, frame]


def test_answer_that_does_not_come_is_a_timeout(loading: Loading) -> None:
    async def silent(connection: ServerConnection) -> None:
        await connection.wait_closed()

    with serving(silent) as port, loading("ws-echo-64", port, connections=3, timeout_s=0.5) as generator:
        result = generator.ready()
        assert result.errors == NONE | {"timeout": 3}
        assert 0.5 <= result.duration_s < 3
        assert generator.run().requests == 0


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "1 of 1 .* 0 were left .*handshake errors: 1"),
        (b"HTTP/1.1 101 Switching Protocols\r\nX: " + bytes(2000), "handshake errors: 1"),
        (b"", "handshake errors: 1"),
    ],
)
def test_refused_handshake_ends_the_measurement(answer: bytes, told: str, loading: Loading) -> None:
    with (
        answering(answer) as port,
        loading("ws-echo-64", port, connections=1) as generator,
        pytest.raises(MeasurementFailed, match=told),
    ):
        generator.ready()


def test_refused_connection_ends_the_measurement(loading: Loading) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with (
            loading("ws-idle", unused.getsockname()[1], connections=50) as generator,
            pytest.raises(MeasurementFailed, match="status 1: .*connect errors: "),
        ):
            generator.ready()


def test_refused_connections_are_counted_where_new_ones_are_what_is_measured(loading: Loading) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with loading("ws-connect", unused.getsockname()[1], connections=2) as generator:
            generator.ready()
            result = generator.run()
    assert result.errors["connect"] > 0
    assert sum(result.errors.values()) == result.errors["connect"]


def test_warming_up_does_not_count(loading: Loading) -> None:
    echo = Echo()
    with serving(echo) as port, loading("ws-echo-64", port, connections=2, warm_up=0.3) as generator:
        assert generator.ready().requests == len(echo.received)
        before = len(echo.received)
        result = generator.run()
        assert result.requests == len(echo.received) - before


def test_plan_that_is_cut_short_is_told(program: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    plan.write_bytes(BY_NAME["ws-echo-64"].plan()[:-1])
    with (
        load_ws.generating(program, plan, mode="echo", port=1, connections=1, warm_up=0, seconds=1) as generator,
        pytest.raises(MeasurementFailed, match="the plan is cut short"),
    ):
        generator.ready()


def test_program_is_compiled_again_only_when_its_source_is_newer(program: Path) -> None:
    made_at = program.stat().st_mtime_ns
    assert load_ws.build(program.parent) == program
    assert program.stat().st_mtime_ns == made_at
    os.utime(program, (0, 0))
    load_ws.build(program.parent)
    assert program.stat().st_mtime_ns > made_at


def test_missing_compiler_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", str(tmp_path / "nowhere"))
    with pytest.raises(EnvironmentFailed, match="need a C compiler"):
        load_ws.build(tmp_path)


def test_failing_compiler_is_told_with_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho no such standard >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    with pytest.raises(EnvironmentFailed, match="could not be compiled: no such standard"):
        load_ws.build(tmp_path / "build")


def test_missing_program_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(MeasurementFailed, match="cannot be started"),
        load_ws.generating(tmp_path / "nowhere", tmp_path, mode="echo", port=1, connections=1, warm_up=0, seconds=1),
    ):
        pytest.fail("there is nothing to start")
