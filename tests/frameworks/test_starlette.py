"""A Starlette application, driven by ordinary clients."""

from __future__ import annotations

import hashlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the package starlette is not installed")
httpx = pytest.importorskip("httpx", reason="the package httpx is not installed")

APP = "starlette_app:app"
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


@pytest.fixture(params=["", "/wrapped"], ids=["plain", "BaseHTTPMiddleware"])
def prefix(request: pytest.FixtureRequest) -> str:
    """Where the routes are mounted: bare, and under middleware that takes each response in hand."""
    return str(request.param)


def summary(content: bytes) -> dict[str, object]:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


class TestLifespan:
    def test_state_is_shared_by_requests(self, client: httpx.Client) -> None:
        first, second = (client.get("/state").json() for _ in range(2))
        assert second["count"] == first["count"] + 1
        assert second["same_loop"]

    @pytest.mark.parametrize("loop", ["auto", "asyncio"])
    @pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
    def test_ends_at_a_signal(self, serve: Any, big_file: Path, loop: str, sign: signal.Signals) -> None:
        with serve(APP, "--loop", loop, environment={"BIG_FILE": str(big_file)}) as server:
            assert "lifespan started" in server.log()
            with urllib.request.urlopen(f"{server.url}/state", timeout=10):
                pass
            server.process.send_signal(sign)
            assert server.process.wait(timeout=10) == 0
            assert server.log().count("lifespan ended") == 1

    def test_response_under_way_is_ended_before_it(self, serve: Any, curl: Any, big_file: Path) -> None:
        with serve(APP, environment={"BIG_FILE": str(big_file)}) as server:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            connection.request("GET", "/countdown")
            response = connection.getresponse()
            server.wait_for_log("countdown started")
            server.process.send_signal(signal.SIGTERM)
            assert response.read() == b"0\n1\n2\n3\n4\n"
            connection.close()
            assert server.process.wait(timeout=10) == 0
            assert server.log().rstrip().endswith("lifespan ended")


class TestBackgroundTasks:
    def test_run_on_behind_the_response(self, server: Any, client: httpx.Client, prefix: str) -> None:
        assert client.get(f"{prefix}/background?kept{prefix}").text == "accepted"
        assert client.get(f"/state?kept{prefix}").status_code == 200
        server.wait_for_log(f"last task kept{prefix}")
        assert f"blocking task kept{prefix}: main thread: False" in server.log()
        # Not under BaseHTTPMiddleware, which ends the response when they have ended, under any server.
        if not prefix:
            answer, next_answer = '"GET /background?kept" 200', '"GET /state?kept" 200'
            assert server.logged_in_order(answer, next_answer, "last task kept"), "the connection waits for no task"

    def test_run_to_the_end_when_the_client_leaves(self, server: Any, prefix: str) -> None:
        server.send_and_leave(f"{prefix}/background?left{prefix}", after=b"accepted")
        server.wait_for_log(f"last task left{prefix}")
        assert not server.faults()

    def test_run_to_the_end_when_the_server_stops(self, serve: Any, big_file: Path) -> None:
        with serve(APP, environment={"BIG_FILE": str(big_file)}) as server:
            server.send_and_leave("/background?stop", after=b"accepted")
            assert server.terminate() == 0
            log = server.log()
            assert log.index("last task stop") < log.index("lifespan ended")

    def test_failure_is_logged_and_harms_nobody(self, server: Any, client: httpx.Client) -> None:
        with server.expecting("the task broke"):
            assert client.get("/background/failure").text == "accepted"
        assert client.get("/state").status_code == 200


class TestStreams:
    def test_arrive_whole(self, client: httpx.Client, prefix: str) -> None:
        response = client.get(f"{prefix}/stream")
        assert response.text == ROWS
        assert response.headers.get("x-stamp") == (f"{prefix}/stream" if prefix else None)

    def test_of_a_thread_arrive_whole(self, client: httpx.Client, prefix: str) -> None:
        assert client.get(f"{prefix}/stream/sync").text == "".join(f"row {number}\n" for number in range(50))

    def test_arrive_part_by_part(self, server: Any, client: httpx.Client, prefix: str) -> None:
        with client.stream("GET", f"{prefix}/gate") as response:
            parts = response.iter_raw()
            assert next(parts) == b"first\n"
            assert httpx.get(f"{server.url}/gate/open", timeout=10, trust_env=False).status_code == 200
            assert list(parts) == [b"second\n"]

    def test_head_has_no_body(self, client: httpx.Client, prefix: str) -> None:
        assert client.head(f"{prefix}/stream").content == b""
        assert client.get(f"{prefix}/state").status_code == 200, "the connection is still usable"

    def test_broken_one_is_cut_visibly(self, server: Any, client: httpx.Client) -> None:
        # Not under BaseHTTPMiddleware, which ends such a stream as if it were whole, under any server.
        with server.expecting("the stream broke"), pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            client.get("/boom/stream")
        assert client.get("/state").status_code == 200

    def test_curl_sees_that_a_stream_was_cut(self, server: Any, curl: Any) -> None:
        with server.expecting("the stream broke"):
            # CURLE_PARTIAL_FILE or CURLE_RECV_ERROR
            assert curl(f"{server.url}/boom/stream", status=(18, 56)) == b"the only part"

    def test_broken_endpoint_is_500(self, server: Any, client: httpx.Client, prefix: str) -> None:
        with server.expecting("the endpoint broke"):
            response = client.get(f"{prefix}/boom")
        assert (response.status_code, response.text) == (500, "Internal Server Error")


class TestRequestBodies:
    def test_arrive_in_parts(self, client: httpx.Client, big_file: Path, prefix: str) -> None:
        content = big_file.read_bytes()
        answer = client.post(f"{prefix}/digest", content=content).json()
        assert answer.pop("parts") > 3
        assert answer == summary(content)

    def test_chunked_one_arrives_whole(self, client: httpx.Client, big_file: Path, prefix: str) -> None:
        content = big_file.read_bytes()
        parts = (content[start : start + 50_001] for start in range(0, len(content), 50_001))
        answer = client.post(f"{prefix}/digest", content=parts).json()
        assert answer.pop("parts") > 3
        assert answer == summary(content)

    @pytest.mark.parametrize("expect", ["100-continue", ""], ids=["expect", "no expect"])
    def test_curl_puts_a_file(self, server: Any, curl: Any, big_file: Path, expect: str) -> None:
        answer = json.loads(curl("-T", str(big_file), "-H", f"Expect: {expect}".strip(), f"{server.url}/digest"))
        del answer["parts"]
        assert answer == summary(big_file.read_bytes())

    def test_form_arrives_whole(self, client: httpx.Client, big_file: Path, prefix: str) -> None:
        pytest.importorskip("python_multipart", reason="the package python-multipart is not installed")
        content = big_file.read_bytes()
        answer = client.post(f"{prefix}/form", files={"file": ("big.bin", content)}).json()
        assert answer == {"name": "big.bin", **summary(content)}

    def test_answer_begins_before_the_request_has_ended(self, client: httpx.Client) -> None:
        parts = [b"%d" % number * 1000 for number in range(10)]
        assert client.post("/echo", content=iter(parts)).content == b"".join(parts)

    def test_that_breaks_off_is_no_error(self, server: Any, prefix: str) -> None:
        before = server.log().count("upload started")
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.putrequest("POST", f"{prefix}/digest")
        connection.putheader("Content-Length", "1000000")
        connection.endheaders(b"x" * 300_000)
        server.wait_for_log("upload started", before + 1)
        ended = server.log().count("upload broke off")
        connection.close()
        server.wait_for_log("upload broke off", ended + 1)
        assert not server.faults()

    def test_that_breaks_off_behind_the_start_of_the_answer_is_no_error(self, server: Any) -> None:
        head = b"POST /echo?broken HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(head + b"x" * 100_000)
            assert client.recv(12) == b"HTTP/1.1 200"
        server.wait_for_log("closed /echo?broken")
        with urllib.request.urlopen(f"{server.url}/state", timeout=10) as response:
            assert response.status == 200
        assert not server.faults()


class TestFiles:
    def test_arrive_whole_by_pathsend(self, server: Any, client: httpx.Client, big_file: Path) -> None:
        response = client.get("/file?whole")
        assert response.content == big_file.read_bytes()
        assert response.headers["content-length"] == "3000000"
        server.wait_for_log("sent GET /file?whole: start pathsend")

    def test_pass_middleware_whole(self, client: httpx.Client, big_file: Path) -> None:
        response = client.get("/wrapped/file")
        assert response.content == big_file.read_bytes()
        assert response.headers["x-stamp"] == "/wrapped/file"

    def test_static_one_arrives_whole_and_then_is_304(self, client: httpx.Client, big_file: Path) -> None:
        first = client.get("/static/big.bin")
        second = client.get("/static/big.bin", headers={"if-none-match": first.headers["etag"]})
        assert first.content == big_file.read_bytes()
        assert (second.status_code, second.content) == (304, b"")
        assert client.get("/state").status_code == 200, "the connection is still usable"

    def test_head_has_the_length_and_no_body(self, client: httpx.Client) -> None:
        response = client.head("/file")
        assert (response.headers["content-length"], response.content) == ("3000000", b"")
        assert client.get("/state").status_code == 200, "the connection is still usable"

    def test_many_on_one_connection_arrive_whole(self, client: httpx.Client, big_file: Path) -> None:
        content = big_file.read_bytes()
        for _ in range(5):
            assert client.get("/file").content == content
            assert client.get("/state").status_code == 200

    def test_parts_are_206(self, client: httpx.Client, big_file: Path) -> None:
        response = client.get("/file", headers={"range": "bytes=1000-1999"})
        assert (response.status_code, response.headers["content-range"]) == (206, "bytes 1000-1999/3000000")
        assert response.content == big_file.read_bytes()[1000:2000]

    def test_curl_resumes_a_download(self, server: Any, curl: Any, big_file: Path, tmp_path: Path) -> None:
        content = big_file.read_bytes()
        (tmp_path / "copy").write_bytes(content[:1_234_567])
        curl("-C", "-", "-o", str(tmp_path / "copy"), f"{server.url}/file")
        assert (tmp_path / "copy").read_bytes() == content

    def test_http_1_0_ends_with_the_connection(self, server: Any, curl: Any, big_file: Path) -> None:
        assert curl("--http1.0", f"{server.url}/file") == big_file.read_bytes()

    def test_missing_one_is_an_error_of_the_application(self, server: Any, client: httpx.Client) -> None:
        with server.expecting("File at path /nowhere/at/all does not exist"):
            assert client.get("/file/missing").status_code == 500

    def test_slow_reader_gets_it_whole(self, server: Any, curl: Any, big_file: Path) -> None:
        assert curl("--limit-rate", "6M", f"{server.url}/file") == big_file.read_bytes()


@pytest.mark.parametrize("how", ["FIN", "RST"])
class TestClientsThatLeave:
    def test_events_are_closed(self, server: Any, how: str, prefix: str) -> None:
        server.send_and_leave(f"{prefix}/events?{how}", after=b"data: 3\n", reset=how == "RST")
        server.wait_for_log(f"closed {prefix}/events?{how}")
        assert not server.faults()

    def test_stream_that_waits_for_the_reader_is_closed(self, server: Any, how: str) -> None:
        server.send_and_leave(f"/flood?{how}", after=b"\0", reset=how == "RST")
        server.wait_for_log(f"closed /flood?{how}")
        assert f"ended /flood?{how}" not in server.log(), "what nobody can receive was made all the same"
        assert not server.faults()

    def test_stream_under_middleware_ends_quietly(self, server: Any, how: str) -> None:
        # Starlette leaves this generator to the garbage collector: that it ends is all there is to see.
        server.send_and_leave(f"/wrapped/flood?{how}", after=b"\0", reset=how == "RST")
        with urllib.request.urlopen(f"{server.url}/state", timeout=10) as response:
            assert response.status == 200
        assert not server.faults()

    def test_is_disconnected_tells(self, server: Any, how: str) -> None:
        # Not under BaseHTTPMiddleware: there it never tells, under any server.
        server.send_and_leave(f"/poll?{how}", reset=how == "RST")
        server.wait_for_log(f"disconnected /poll?{how}")
        assert not server.faults()

    def test_half_of_a_file_is_enough(self, server: Any, how: str, prefix: str) -> None:
        server.send_and_leave(f"{prefix}/file?{how}", after=b"\r\n\r\n", reset=how == "RST")
        with urllib.request.urlopen(f"{server.url}/state", timeout=10) as response:
            assert response.status == 200
        assert not server.faults()


def test_killed_curl_is_no_error(server: Any, curl: Any) -> None:
    """Server-sent events to a real client that is killed."""
    client = subprocess.Popen(["curl", "-qsN", f"{server.url}/events?killed"], stdout=subprocess.PIPE)
    assert client.stdout is not None
    assert client.stdout.readline() == b"data: 0\n"
    client.kill()
    client.communicate()
    server.wait_for_log("closed /events?killed")
    assert not server.faults()


@pytest.mark.skipif(sys.platform == "win32", reason="files are sent by the loop's own transports")
def test_scope_names_the_extensions_of_the_version(server: Any, client: httpx.Client, curl: Any) -> None:
    files = ["http.response.pathsend", "http.response.zerocopysend"]
    assert client.get("/extensions").json() == sorted([*files, "http.response.early_hint", "http.response.trailers"])
    assert json.loads(curl("--http1.0", f"{server.url}/extensions")) == files


def test_plain_asyncio_loop_serves_the_same(serve: Any, big_file: Path) -> None:
    with serve(APP, "--loop", "asyncio", environment={"BIG_FILE": str(big_file)}) as server:
        assert "asyncio) serves" in server.log()
        with httpx.Client(base_url=server.url, timeout=10, trust_env=False) as client:
            content = big_file.read_bytes()
            assert client.get("/stream").text == ROWS
            assert client.get("/file").content == content
            assert client.post("/digest", content=content).json()["size"] == len(content)
        for path in ("/events", "/wrapped/events"):
            server.send_and_leave(f"{path}?asyncio", after=b"data: 3\n")
            server.wait_for_log(f"closed {path}?asyncio")
