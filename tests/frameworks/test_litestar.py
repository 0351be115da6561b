"""A Litestar application, driven by ordinary clients."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("litestar", reason="the package litestar is not installed")
httpx = pytest.importorskip("httpx", reason="the package httpx is not installed")

APP = "litestar_app:app"
ROWS = "".join(f"row {number}\n" for number in range(2000))


@pytest.fixture(scope="module")
def server(serve: Any, big_file: Path) -> Iterator[Any]:
    with serve(APP, "--lifespan", "on", environment={"BIG_FILE": str(big_file)}) as running:
        yield running


@pytest.fixture
def client(server: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=10, trust_env=False) as session:
        yield session
    assert not server.faults()


def summary(content: bytes) -> dict[str, object]:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize("loop", ["auto", "asyncio"])
def test_lifespan_hooks_run_once_around_what_is_served(serve: Any, big_file: Path, loop: str) -> None:
    with serve(APP, "--loop", loop, environment={"BIG_FILE": str(big_file)}) as server:
        before = server.log().partition("Listening")[0]
        assert "lifespan started" in before
        assert "on_startup ran" in before
        with httpx.Client(base_url=server.url, timeout=10, trust_env=False) as client:
            content = big_file.read_bytes()
            assert client.get("/").text == "Hello, you!"
            assert client.post("/digest", content=content).json() == summary(content)
            assert client.get("/stream").text == ROWS
            assert client.get("/file").content == content
        server.send_and_leave(f"/events?{loop}", after=b"data: 3\r\n")
        server.wait_for_log(f"closed /events?{loop}")
        assert server.terminate() == 0
        assert server.log().count("on_shutdown ran") == server.log().count("lifespan ended") == 1


class TestViews:
    def test_parameters_reach_them(self, client: httpx.Client) -> None:
        assert client.get("/", params={"name": "Åsa & Bo"}).text == "Hello, Åsa & Bo!"

    def test_body_is_validated(self, client: httpx.Client) -> None:
        assert client.post("/orders", json={"item": "tea", "count": 2}).status_code == 201
        assert client.post("/orders", json={"item": "tea", "count": "two"}).status_code == 400

    def test_wrong_method_and_path(self, client: httpx.Client) -> None:
        assert client.put("/").status_code == 405
        assert client.get("/nothing").status_code == 404

    def test_broken_one_is_500(self, server: Any, client: httpx.Client) -> None:
        response = client.get("/boom")
        assert response.status_code == 500
        assert "the view broke" not in response.text

    def test_background_tasks_run_behind_the_answer(self, server: Any, client: httpx.Client) -> None:
        assert client.get("/background").text == "accepted"
        server.wait_for_log("background task ended")
        assert server.logged_in_order('"GET /background" 20', "background task ended")


class TestBodies:
    def test_request_arrives_whole(self, client: httpx.Client, big_file: Path) -> None:
        content = big_file.read_bytes()
        parts = (content[start : start + 50_001] for start in range(0, len(content), 50_001))
        assert client.post("/digest", content=content).json() == summary(content)
        assert client.post("/digest", content=parts).json() == summary(content)

    @pytest.mark.parametrize("field", ["Transfer-Encoding: chunked", "Expect: 100-continue"])
    def test_curl_upload_arrives_whole(self, server: Any, curl: Any, big_file: Path, field: str) -> None:
        answer = json.loads(curl("-F", f"data=@{big_file}", "-H", field, f"{server.url}/upload"))
        assert answer == {"name": "big.bin", **summary(big_file.read_bytes())}

    def test_too_large_request_is_413(self, client: httpx.Client) -> None:
        assert client.post("/digest", content=b"x" * 11_000_000).status_code == 413
        assert client.get("/").status_code == 200

    @pytest.mark.parametrize(("path", "count"), [("/stream", 2000), ("/stream/sync", 50)])
    def test_streams_arrive_whole(self, client: httpx.Client, path: str, count: int) -> None:
        assert client.get(path).text == "".join(f"row {number}\n" for number in range(count))

    @pytest.mark.parametrize("path", ["/file", "/static/big.bin"])
    def test_files_arrive_whole(self, server: Any, client: httpx.Client, curl: Any, big_file: Path, path: str) -> None:
        content = big_file.read_bytes()
        response = client.get(path)
        assert (response.content, response.headers["content-length"]) == (content, "3000000")
        assert client.head(path).content == b""
        assert client.get("/").status_code == 200, "the connection is still usable"
        assert curl("--http1.0", f"{server.url}{path}") == content


@pytest.mark.parametrize("how", ["FIN", "RST"])
def test_events_are_closed_when_the_client_leaves(server: Any, how: str) -> None:
    server.send_and_leave(f"/events?{how}", after=b"data: 3\r\n", reset=how == "RST")
    server.wait_for_log(f"closed /events?{how}")
    assert not server.faults()
