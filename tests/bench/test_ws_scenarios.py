"""The messages of the WebSocket scenarios, and what the application does with messages."""

from __future__ import annotations

import asyncio
import struct
import zlib
from typing import Any

import pytest

from bench import apps
from bench.ws_scenarios import WEBSOCKET_SCENARIOS, WebSocketScenario, messages

BY_NAME = {scenario.name: scenario for scenario in WEBSOCKET_SCENARIOS}


def spans(scenario: WebSocketScenario) -> tuple[int, list[bytes]]:
    """The expected size, and request and frames, of a plan."""
    plan = scenario.plan()
    expected, count = struct.unpack_from("<II", plan)
    at, found = 8, []
    while at < len(plan):
        (length,) = struct.unpack_from("<I", plan, at)
        found.append(plan[at + 4 : at + 4 + length])
        at += 4 + length
    assert at == len(plan)
    assert len(found) == count + 1
    return expected, found


def mask_of(frame: bytes) -> bytes:
    return frame[4:8] if frame[1] & 0x7F == 126 else frame[2:6]


@pytest.mark.parametrize("length", [64, 16 * 1024])
def test_messages_are_different_ascii_texts_of_their_length(length: int) -> None:
    texts = messages(length)
    assert {len(text) for text in texts} == {length}
    assert len(set(texts)) == len(texts) >= 16
    assert sum(map(len, texts)) >= 2 * 32 * 1024
    assert all(text.isascii() and text.startswith(b'{"id":') for text in texts)


def test_messages_compress_as_such_texts_do() -> None:
    ratios = [len(text) / len(zlib.compress(text)) for text in messages(16 * 1024)]
    assert 3 < min(ratios) <= max(ratios) < 6


@pytest.mark.parametrize("scenario", WEBSOCKET_SCENARIOS, ids=lambda scenario: scenario.name)
def test_plan_holds_the_request_and_a_frame_for_each_message(scenario: WebSocketScenario) -> None:
    expected, (request, *frames) = spans(scenario)
    assert expected == (0 if scenario.deflate else scenario.message_bytes)
    assert request == scenario.request()
    assert request.startswith(b"GET /ws/%s HTTP/1.1\r\n" % (b"fanout" if scenario.mode == "fanout" else b"echo"))
    assert (b"permessage-deflate" in request) == scenario.deflate
    assert len(frames) == len(messages(scenario.message_bytes))
    assert {frame[0] for frame in frames} == {0xC1 if scenario.deflate else 0x81}
    assert len({mask_of(frame) for frame in frames}) == len(frames)


def test_plan_is_always_the_same() -> None:
    assert BY_NAME["ws-echo-64"].plan() == BY_NAME["ws-echo-64"].plan()


def test_number_of_connections_is_the_scenarios_own_or_the_one_asked_for() -> None:
    assert BY_NAME["ws-echo-64"].connections_for(7) == BY_NAME["ws-connect"].connections_for(7) == 7
    assert BY_NAME["ws-fanout"].connections_for(7) == 1 + 1000
    assert BY_NAME["ws-idle"].connections_for(7) == 5000


class Connection:
    """One connection with ``bench.apps``, driven by messages that a test puts in."""

    def __init__(self, path: str) -> None:
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.gone = False
        self.incoming.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(apps.app({"type": "websocket", "path": path}, self.incoming.get, self.send))

    async def send(self, message: dict[str, Any]) -> None:
        if self.gone:
            raise OSError("gone")
        self.sent.append(message)

    def receive(self, **content: Any) -> None:
        self.incoming.put_nowait({"type": "websocket.receive", **content})

    async def leave(self) -> None:
        self.incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await self.task


ACCEPT = {"type": "websocket.accept"}


def test_echo_sends_back_text_and_bytes_as_what_they_were() -> None:
    async def main() -> list[dict[str, Any]]:
        connection = Connection("/ws/echo")
        connection.receive(text="a")
        connection.receive(bytes=b"b", text=None)
        connection.receive(text="", bytes=None)
        await connection.leave()
        return connection.sent

    kind = {"type": "websocket.send"}
    assert asyncio.run(main()) == [ACCEPT, kind | {"text": "a"}, kind | {"bytes": b"b"}, kind | {"text": ""}]


def test_fanout_reaches_all_others_that_are_still_there() -> None:
    async def main() -> list[list[str]]:
        a, b, c = (Connection("/ws/fanout") for _ in range(3))
        await asyncio.sleep(0)  # all three have been accepted after one turn
        assert a.sent == b.sent == c.sent == [ACCEPT]
        b.gone = True
        a.receive(text="one")
        await a.leave()
        c.receive(text="two")
        await c.leave()
        await b.leave()
        return [[message["text"] for message in connection.sent[1:]] for connection in (a, b, c)]

    assert asyncio.run(main()) == [[], [], ["one"]]
