"""The bytes that are sent, and that the application answers them as expected."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bench import apps, check
from bench.http_scenarios import HTTP_SCENARIOS, SERIAL_MARK, HttpScenario

BY_NAME = {scenario.name: scenario for scenario in HTTP_SCENARIOS}


def ask(path: str, body: bytes = b"") -> tuple[int, bytes, int]:
    """Status, body and number of body messages of ``bench.apps`` for a request whose body arrives in two messages."""
    incoming = [
        {"type": "http.request", "body": body[:100], "more_body": True},
        {"type": "http.request", "body": body[100:], "more_body": False},
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return incoming.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(apps.app({"type": "http", "path": path}, receive, send))
    return sent[0]["status"], b"".join(message["body"] for message in sent[1:]), len(sent) - 1


@pytest.mark.parametrize("scenario", HTTP_SCENARIOS, ids=lambda scenario: scenario.name)
def test_application_gives_the_expected_answer(scenario: HttpScenario) -> None:
    status, body, _ = ask(scenario.path, scenario.body)
    assert check.complaint_about(status, body, scenario.expected) is None


def test_chunks_are_64_messages_with_content() -> None:
    assert len(apps.CHUNKS) == 64
    assert ask("/chunks")[2] == 64 + 1


def test_unknown_path_is_not_found() -> None:
    assert ask("/nowhere")[0] == 404


def test_lifespan_is_completed() -> None:
    incoming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return incoming.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(apps.app({"type": "lifespan"}, receive, send))
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(HTTP_SCENARIOS)


def test_browser_sends_14_headers() -> None:
    head = BY_NAME["browser"].request().partition(b"\r\n\r\n")[0]
    assert len(head.split(b"\r\n")) == 1 + 14


def test_every_request_of_the_changing_browser_differs_in_one_header_and_not_in_length() -> None:
    changing = BY_NAME["browser-changing"]
    first, second = changing.request(1).split(b"\r\n"), changing.request(2).split(b"\r\n")
    different = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
    assert len(different) == 1
    assert different[0][0].startswith(b"Cookie: ")
    assert len(changing.request(1)) == len(changing.template()) == len(BY_NAME["browser"].request())


def test_only_the_changing_browser_has_a_mark() -> None:
    marked = [scenario.name for scenario in HTTP_SCENARIOS if SERIAL_MARK in scenario.template()]
    assert marked == ["browser-changing"]
    assert BY_NAME["browser-changing"].template().count(SERIAL_MARK) == 1


def test_upload_is_10_kib_with_its_length() -> None:
    head, _, body = BY_NAME["echo"].request().partition(b"\r\n\r\n")
    assert head.startswith(b"POST /echo HTTP/1.1\r\n")
    assert b"\r\nContent-Length: 10240" in head
    assert len(body) == 10240


def test_connect_asks_for_the_connection_to_be_closed() -> None:
    closing = [scenario for scenario in HTTP_SCENARIOS if not scenario.keeps_alive]
    assert [scenario.name for scenario in closing] == ["connect", "tls-connect"]
    assert all(b"\r\nConnection: close\r\n" in scenario.request() for scenario in closing)
    assert [scenario.name for scenario in HTTP_SCENARIOS if scenario.connects_over_tls] == ["tls-connect"]


@pytest.mark.parametrize(
    ("status", "body", "complaint"),
    [
        (500, b"Hello, world!", "answered 500 instead of 200"),
        (200, b"Hello", "answered 5 bytes instead of 13"),
        (200, b"Hello, World!", "answered the right number of bytes, but other ones"),
    ],
)
def test_wrong_answers_are_complained_about(status: int, body: bytes, complaint: str) -> None:
    assert check.complaint_about(status, body, BY_NAME["hello"].expected) == complaint
