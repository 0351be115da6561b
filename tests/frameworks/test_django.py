"""A Django project, over ASGI and over WSGI, driven by ordinary clients."""

from __future__ import annotations

import hashlib
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("django", reason="the package django is not installed")
httpx = pytest.importorskip("httpx", reason="the package httpx is not installed")

ASGI = "django_site.asgi:application"
WSGI = "django_site.wsgi:application"
ROWS = "".join(f"row {number}\n" for number in range(2000))


@pytest.fixture(scope="module")
def server(serve: Any, big_file: Path) -> Iterator[Any]:
    with serve(ASGI, environment={"BIG_FILE": str(big_file)}) as running:
        yield running


@pytest.fixture(scope="module")
def wsgi_server(serve: Any, big_file: Path) -> Iterator[Any]:
    with serve(WSGI, "--interface", "wsgi", environment={"BIG_FILE": str(big_file)}) as running:
        yield running


@pytest.fixture
def client(server: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=10, trust_env=False) as session:
        yield session
    assert not server.faults()


@pytest.fixture
def wsgi_client(wsgi_server: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=wsgi_server.url, timeout=10, trust_env=False) as session:
        yield session
    assert not wsgi_server.faults()


@pytest.fixture(params=["asgi", "wsgi"])
def either(request: pytest.FixtureRequest) -> httpx.Client:
    """A client of each: what a project does is the same over both interfaces."""
    return request.getfixturevalue("client" if request.param == "asgi" else "wsgi_client")


def summary(content: bytes) -> dict[str, object]:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


class TestViews:
    def test_sync_view_runs_off_the_loop(self, either: httpx.Client) -> None:
        response = either.get("/", params={"name": "Åsa & Bo"})
        assert response.text == "Hello, Åsa & Bo! False"
        assert response.headers["server"] == "daphne"
        assert response.headers["x-frame-options"] == "DENY"

    def test_async_view_runs_on_the_loop(self, client: httpx.Client) -> None:
        assert client.get("/async/", params={"name": "Ada"}).text == "Hello, Ada! True"

    def test_head_has_the_fields_of_get_and_no_body(self, either: httpx.Client) -> None:
        got, asked = either.get("/"), either.head("/")
        assert (asked.status_code, asked.content) == (200, b"")
        assert asked.headers["content-length"] == got.headers["content-length"] == str(len(got.content))

    def test_head_of_a_stream_has_no_body(self, either: httpx.Client) -> None:
        assert either.head("/stream/").content == b""
        assert either.get("/").status_code == 200, "the connection is still usable"

    def test_conditional_get_is_304_without_body(self, either: httpx.Client) -> None:
        first = either.get("/conditional/")
        second = either.get("/conditional/", headers={"if-none-match": first.headers["etag"]})
        assert (first.status_code, first.text) == (200, "the first version")
        assert (second.status_code, second.content, second.headers["etag"]) == (304, b"", '"v1"')
        assert either.get("/").status_code == 200, "the connection is still usable"

    def test_cookies_are_fields_of_their_own(self, either: httpx.Client) -> None:
        set_cookies = either.get("/cookies/").headers.get_list("set-cookie")
        assert set_cookies[0].startswith("flavour=oat; HttpOnly")
        assert set_cookies[1].startswith("shape=round; expires=")
        assert either.get("/cookies/").json() == {"flavour": "oat", "shape": "round"}

    def test_session_lasts_over_requests(self, either: httpx.Client) -> None:
        assert [either.get("/session/").text for _ in range(3)] == ["1", "2", "3"]

    def test_redirect_is_followed(self, server: Any) -> None:
        with urllib.request.urlopen(f"{server.url}/redirect/", timeout=10) as response:
            assert response.url == f"{server.url}/?name=redirected"
            assert response.read() == b"Hello, redirected! False"

    def test_missing_slash_is_redirected(self, either: httpx.Client) -> None:
        response = either.get("/async")
        assert (response.status_code, response.headers["location"]) == (301, "/async/")

    def test_unknown_path_is_djangos_404(self, server: Any) -> None:
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{server.url}/nothing/", timeout=10)
        with caught.value as response:
            assert response.code == 404
            assert b"<h1>Not Found</h1>" in response.read()

    def test_unknown_host_is_djangos_400(self, server: Any, client: httpx.Client) -> None:
        with server.expecting("Invalid HTTP_HOST header"):
            assert client.get("/", headers={"host": "example.com"}).status_code == 400

    @pytest.mark.parametrize("path", ["/boom/", "/boom/async/"])
    def test_broken_view_is_djangos_500(self, server: Any, client: httpx.Client, path: str) -> None:
        with server.expecting("the view broke"):
            response = client.get(path)
        assert response.status_code == 500
        assert "<h1>Server Error (500)</h1>" in response.text
        assert "the view broke" not in response.text
        assert client.get("/").status_code == 200


class TestRequestBodies:
    @pytest.mark.parametrize("size", [0, 1, 65_536, 5_000_000])
    @pytest.mark.parametrize("path", ["/digest/", "/digest/async/"])
    def test_post_arrives_whole(self, either: httpx.Client, big_file: Path, path: str, size: int) -> None:
        content = (big_file.read_bytes() * 2)[:size]
        assert either.post(path, content=content).json() == summary(content)

    def test_chunked_post_arrives_whole(self, either: httpx.Client, big_file: Path) -> None:
        content = big_file.read_bytes()
        parts = (content[start : start + 50_001] for start in range(0, len(content), 50_001))
        assert either.post("/digest/", content=parts).json() == summary(content)

    def test_multipart_upload_arrives_whole(self, either: httpx.Client, big_file: Path) -> None:
        content = big_file.read_bytes()
        answer = either.post("/upload/", files={"file": ("big.bin", content)}, data={"by": "Åsa"}).json()
        assert answer == {"name": "big.bin", "by": "Åsa", **summary(content)}

    def test_multipart_upload_with_expect_arrives_whole(self, server: Any, curl: Any, big_file: Path) -> None:
        form = ["-F", f"file=@{big_file}", "-F", "by=curl", "-H", "Expect: 100-continue"]
        answer = json.loads(curl(*form, f"{server.url}/upload/"))
        assert answer == {"name": "big.bin", "by": "curl", **summary(big_file.read_bytes())}

    def test_chunked_multipart_upload_arrives_whole(self, wsgi_server: Any, curl: Any, big_file: Path) -> None:
        # Not over ASGI: Django parses no form there without a Content-Length, whatever the server.
        form = ["-F", f"file=@{big_file}", "-F", "by=curl", "-H", "Transfer-Encoding: chunked"]
        answer = json.loads(curl(*form, f"{wsgi_server.url}/upload/"))
        assert answer == {"name": "big.bin", "by": "curl", **summary(big_file.read_bytes())}

    def test_curl_sends_a_file_of_unknown_length(self, server: Any, curl: Any, big_file: Path) -> None:
        answer = curl("-X", "POST", "-T", "-", f"{server.url}/digest/", stdin=big_file.read_bytes())
        assert json.loads(answer) == summary(big_file.read_bytes())

    def test_upload_that_breaks_off_is_no_error(self, server: Any) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.putrequest("POST", "/digest/")
        connection.putheader("Content-Length", "1000000")
        connection.endheaders()
        connection.send(b"x" * 300_000)
        connection.close()
        with urllib.request.urlopen(f"{server.url}/", timeout=10) as response:
            assert response.status == 200
        assert not server.faults()


class TestResponses:
    def test_stream_of_a_sync_view_arrives_whole(self, server: Any, either: httpx.Client) -> None:
        response = either.get("/stream/")
        assert response.text == ROWS
        assert response.headers["transfer-encoding"] == "chunked"

    def test_stream_of_an_async_view_arrives_whole(self, client: httpx.Client) -> None:
        assert client.get("/stream/async/").text == ROWS

    def test_stream_to_http_1_0_ends_with_the_connection(self, server: Any, curl: Any) -> None:
        answer = curl("--http1.0", "-i", f"{server.url}/stream/async/").decode()
        head, _, body = answer.partition("\r\n\r\n")
        assert "transfer-encoding" not in head.lower()
        assert "connection: close" in head.lower()
        assert body == ROWS

    def test_broken_stream_is_cut_visibly(self, server: Any) -> None:
        with server.expecting("the stream broke"):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            connection.request("GET", "/boom/stream/")
            with connection.getresponse() as response, pytest.raises((http.client.IncompleteRead, ConnectionError)):
                response.read()
            connection.close()

    def test_file_arrives_whole(self, either: httpx.Client, big_file: Path) -> None:
        response = either.get("/file/")
        assert response.headers["content-disposition"] == 'attachment; filename="big.bin"'
        assert response.headers["content-length"] == "3000000"
        assert response.content == big_file.read_bytes()

    def test_curl_downloads_a_file(self, server: Any, curl: Any, big_file: Path) -> None:
        assert curl(f"{server.url}/file/") == big_file.read_bytes()


@pytest.mark.parametrize("how", ["FIN", "RST"])
class TestClientsThatLeave:
    def test_async_view_is_cancelled(self, server: Any, how: str) -> None:
        server.send_and_leave(f"/slow/async/?{how}", reset=how == "RST")
        server.wait_for_log(f"cancelled /slow/async/?{how}")
        assert not server.faults()

    def test_no_500_is_logged_for_a_view_that_was_cancelled(self, server: Any, how: str) -> None:
        server.send_and_leave(f"/slow/async/?quiet-{how}", reset=how == "RST")
        server.wait_for_log(f"cancelled /slow/async/?quiet-{how}")
        with urllib.request.urlopen(f"{server.url}/?behind-{how}", timeout=10):
            server.wait_for_log(f"/?behind-{how}")
        assert f'/slow/async/?quiet-{how}" 500' not in server.log()

    def test_sync_view_ends_in_peace(self, server: Any, how: str) -> None:
        server.send_and_leave(f"/slow/?{how}", reset=how == "RST")
        server.wait_for_log(f"ended /slow/?{how}")
        assert not server.faults()

    def test_async_stream_is_closed(self, server: Any, how: str) -> None:
        server.send_and_leave(f"/events/?{how}", after=b"data: 1\n", reset=how == "RST")
        server.wait_for_log(f"closed /events/?{how}")
        assert not server.faults()


def test_plain_asyncio_loop_serves_the_same(serve: Any, big_file: Path) -> None:
    with serve(ASGI, "--loop", "asyncio", environment={"BIG_FILE": str(big_file)}) as server:
        with httpx.Client(base_url=server.url, timeout=10, trust_env=False) as client:
            content = big_file.read_bytes()
            assert client.get("/").text == "Hello, you! False"
            assert client.post("/digest/", content=content).json() == summary(content)
            assert client.get("/stream/async/").text == ROWS
            assert client.get("/file/").content == content
        server.send_and_leave("/slow/async/?asyncio")
        server.wait_for_log("cancelled /slow/async/?asyncio")
