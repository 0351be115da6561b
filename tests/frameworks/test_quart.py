"""A Quart application, driven by ordinary clients."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("quart", reason="the package quart is not installed")
httpx = pytest.importorskip("httpx", reason="the package httpx is not installed")

APP = "quart_app:app"
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
def test_functions_before_and_after_serving_run_once(serve: Any, big_file: Path, loop: str) -> None:
    with serve(APP, "--loop", loop, environment={"BIG_FILE": str(big_file)}) as server:
        assert "before_serving ran" in server.log().partition("Listening")[0]
        with httpx.Client(base_url=server.url, timeout=10, trust_env=False) as client:
            content = big_file.read_bytes()
            assert client.get("/").text == "Hello, you! True"
            assert client.post("/digest", content=content).json() == summary(content)
            assert client.get("/stream").text == ROWS
            assert client.get("/file").content == content
            assert client.get("/background").text == "accepted"
        server.send_and_leave(f"/events?{loop}", after=b"data: 3\n")
        server.wait_for_log(f"closed /events?{loop}")
        assert server.terminate() == 0
        log = server.log()
        assert log.count("before_serving ran") == log.count("pool closed") == 1
        assert log.count("after_serving ran, on the same loop: True") == 1
        assert "background task ended" in log, "Quart waits for its background tasks at shutdown"


class TestViews:
    def test_async_one(self, client: httpx.Client) -> None:
        assert client.get("/", params={"name": "Åsa & Bo"}).text == "Hello, Åsa & Bo! True"

    def test_sync_one_runs_in_a_thread(self, client: httpx.Client) -> None:
        assert client.get("/sync").text == "False"

    def test_session_lasts_over_requests(self, client: httpx.Client) -> None:
        assert [client.get("/visits").text for _ in range(3)] == ["1", "2", "3"]

    def test_redirect_is_followed(self, server: Any) -> None:
        with urllib.request.urlopen(f"{server.url}/redirect", timeout=10) as response:
            assert response.read() == b"Hello, redirected! True"

    def test_head_has_no_body(self, client: httpx.Client) -> None:
        for path in ("/", "/stream", "/file"):
            assert client.head(path).content == b""
        assert client.get("/").status_code == 200, "the connection is still usable"

    def test_broken_one_is_500(self, server: Any, client: httpx.Client) -> None:
        with server.expecting("the view broke"):
            assert client.get("/boom").status_code == 500

    def test_unknown_path_is_404(self, client: httpx.Client) -> None:
        assert client.get("/nothing").status_code == 404


class TestBodies:
    @pytest.mark.parametrize("size", [0, 1, 65_536, 3_000_000])
    def test_request_arrives_whole(self, client: httpx.Client, big_file: Path, size: int) -> None:
        content = big_file.read_bytes()[:size]
        assert client.post("/digest", content=content).json() == summary(content)

    def test_chunked_request_arrives_whole(self, client: httpx.Client, big_file: Path) -> None:
        content = big_file.read_bytes()
        parts = (content[start : start + 50_001] for start in range(0, len(content), 50_001))
        assert client.post("/digest", content=parts).json() == summary(content)

    def test_answer_in_parts_of_the_request(self, client: httpx.Client) -> None:
        parts = [b"%d" % number * 1000 for number in range(10)]
        assert client.post("/echo", content=iter(parts)).content == b"".join(parts)

    @pytest.mark.parametrize("field", ["Transfer-Encoding: chunked", "Expect: 100-continue"])
    def test_curl_upload_arrives_whole(self, server: Any, curl: Any, big_file: Path, field: str) -> None:
        answer = json.loads(curl("-F", f"file=@{big_file}", "-F", "by=curl", "-H", field, f"{server.url}/form"))
        assert answer == {"by": "curl", **summary(big_file.read_bytes())}

    def test_too_large_request_is_413(self, client: httpx.Client) -> None:
        response = client.post("/form", data={"by": "x" * 9_000_000})
        assert response.status_code == 413
        assert response.headers.get("connection") == "close", "it was answered before it was read, and is not read on"
        assert client.get("/").status_code == 200

    def test_stream_arrives_whole(self, client: httpx.Client) -> None:
        assert client.get("/stream").text == ROWS

    def test_file_arrives_whole_and_in_parts(self, client: httpx.Client, big_file: Path) -> None:
        content = big_file.read_bytes()
        whole = client.get("/file")
        assert whole.content == content
        assert client.get("/file", headers={"range": "bytes=1000-1999"}).content == content[1000:2000]
        assert client.get("/file", headers={"if-none-match": whole.headers["etag"]}).status_code == 304

    def test_curl_resumes_a_download(self, server: Any, curl: Any, big_file: Path, tmp_path: Path) -> None:
        content = big_file.read_bytes()
        (tmp_path / "copy").write_bytes(content[:1_234_567])
        curl("-C", "-", "-o", str(tmp_path / "copy"), f"{server.url}/file")
        assert (tmp_path / "copy").read_bytes() == content


@pytest.mark.parametrize("how", ["FIN", "RST"])
class TestClientsThatLeave:
    def test_view_is_cancelled(self, server: Any, how: str) -> None:
        server.send_and_leave(f"/slow?{how}", reset=how == "RST")
        server.wait_for_log(f"cancelled /slow?{how}")
        assert not server.faults()

    def test_events_are_closed(self, server: Any, how: str) -> None:
        server.send_and_leave(f"/events?{how}", after=b"data: 3\n", reset=how == "RST")
        server.wait_for_log(f"closed /events?{how}")
        assert not server.faults()
