"""A FastAPI application, driven by ordinary clients."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the package fastapi is not installed")
pytest.importorskip("python_multipart", reason="the package python-multipart is not installed")
httpx = pytest.importorskip("httpx", reason="the package httpx is not installed")

APP = "fastapi_app:app"
ROWS = "".join(f"row {number}\n" for number in range(2000))


@pytest.fixture(scope="module")
def server(serve: Any) -> Iterator[Any]:
    with serve(APP, "--lifespan", "on") as running:
        yield running
        running.terminate()
        assert running.log().count("lifespan ended") == 1


@pytest.fixture
def client(server: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=10, trust_env=False) as session:
        yield session
    assert not server.faults()


class TestViews:
    def test_lifespan_state_and_parameters_reach_them(self, client: httpx.Client) -> None:
        response = client.get("/", params={"name": "Åsa & Bo"})
        assert response.json() == {"message": "Hello, Åsa & Bo!"}
        assert response.headers["x-stamp"] == "/"

    def test_blocking_ones_run_in_threads(self, client: httpx.Client) -> None:
        assert client.get("/dependency/sync").json() == {"dependency": False, "view": False}

    def test_documentation_is_served(self, client: httpx.Client) -> None:
        assert "/orders" in client.get("/openapi.json").json()["paths"]
        assert "swagger" in client.get("/docs").text

    def test_body_is_validated(self, client: httpx.Client) -> None:
        tokens = [("x-token", "a"), ("x-token", "b")]
        good = client.post("/orders", json={"item": "tea", "count": 2}, headers=tokens)
        assert (good.status_code, good.json()["tokens"]) == (201, ["a", "b"])
        bad = client.post("/orders", json={"item": "t", "count": 0})
        assert bad.status_code == 422
        assert {tuple(fault["loc"]) for fault in bad.json()["detail"]} == {("body", "item"), ("body", "count")}
        broken = client.post("/orders", content=b'{"item": ', headers={"content-type": "application/json"})
        assert broken.json()["detail"][0]["type"] == "json_invalid"

    def test_answer_without_content_keeps_the_connection(self, client: httpx.Client) -> None:
        response = client.delete("/orders/1")
        assert (response.status_code, response.content) == (204, b"")
        assert "content-length" not in response.headers
        assert client.get("/").status_code == 200

    def test_wrong_method_and_path(self, client: httpx.Client) -> None:
        assert (client.put("/").status_code, client.put("/").headers["allow"]) == (405, "GET")
        assert client.get("/nothing").json() == {"detail": "Not Found"}

    @pytest.mark.parametrize(("path", "error"), [("/boom", "the view broke"), ("/invalid-answer", "ResponseVali")])
    def test_broken_one_is_500(self, server: Any, client: httpx.Client, path: str, error: str) -> None:
        with server.expecting(error):
            response = client.get(path)
        assert (response.status_code, response.text) == (500, "Internal Server Error")


class TestDependencies:
    def test_are_closed_behind_the_answer(self, server: Any, client: httpx.Client) -> None:
        assert client.get("/dependency?whole").json() == "connection of /dependency?whole"
        server.wait_for_log("closed /dependency?whole")

    def test_see_what_the_view_refused(self, server: Any, client: httpx.Client) -> None:
        response = client.get("/dependency/refused?409")
        assert (response.status_code, response.headers["x-reason"]) == (409, "busy")
        server.wait_for_log("rolled back /dependency/refused?409: 409\nclosed /dependency/refused?409")

    @pytest.mark.parametrize("how", ["FIN", "RST"])
    def test_are_closed_when_the_client_leaves_a_stream(self, server: Any, how: str) -> None:
        server.send_and_leave(f"/events?{how}", after=b"data: 3\n", reset=how == "RST")
        server.wait_for_log(f"closed /events?{how}")
        assert not server.faults()


class TestBodies:
    def test_uploads_arrive_whole(self, client: httpx.Client, big_file: Path) -> None:
        contents = {"a.bin": big_file.read_bytes(), "b.bin": b"", "å.bin": b"\r\n--x\r\n"}
        files = [("files", (name, content)) for name, content in contents.items()]
        answer = client.post("/upload", files=files, data={"by": "Åsa"}).json()
        sums = {name: [len(content), hashlib.sha256(content).hexdigest()] for name, content in contents.items()}
        assert answer == {"by": "Åsa", "files": sums}

    @pytest.mark.parametrize("field", ["Transfer-Encoding: chunked", "Expect: 100-continue"])
    def test_curl_uploads_arrive_whole(self, server: Any, curl: Any, big_file: Path, field: str) -> None:
        answer = json.loads(curl("-F", f"files=@{big_file}", "-F", "by=curl", "-H", field, f"{server.url}/upload"))
        assert answer["files"] == {"big.bin": [3_000_000, hashlib.sha256(big_file.read_bytes()).hexdigest()]}

    def test_upload_without_its_field_is_422(self, client: httpx.Client) -> None:
        assert client.post("/upload", files={"files": ("a", b"x" * 200_000)}).status_code == 422
        assert client.get("/").status_code == 200

    @pytest.mark.parametrize(("path", "count"), [("/stream", 2000), ("/stream/sync", 50)])
    def test_streams_arrive_whole(self, client: httpx.Client, path: str, count: int) -> None:
        assert client.get(path).text == "".join(f"row {number}\n" for number in range(count))

    def test_background_tasks_run_behind_the_answer(self, server: Any, client: httpx.Client) -> None:
        assert client.get("/background").json() == "accepted"
        server.wait_for_log("background task ended")
        assert server.logged_in_order('"GET /background" 20', "background task ended")


def test_plain_asyncio_loop_serves_the_same(serve: Any, big_file: Path) -> None:
    with serve(APP, "--loop", "asyncio") as server:
        with httpx.Client(base_url=server.url, timeout=10, trust_env=False) as client:
            assert client.get("/").json() == {"message": "Hello, you!"}
            files = {"files": ("big.bin", big_file.read_bytes())}
            assert client.post("/upload", files=files, data={"by": "x"}).json()["files"]["big.bin"][0] == 3_000_000
            assert client.get("/stream").text == ROWS
        server.send_and_leave("/events?asyncio", after=b"data: 3\n")
        server.wait_for_log("closed /events?asyncio")
