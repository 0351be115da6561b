"""Clients that nobody here wrote: curl, nghttp, h2load, httpx and Chromium; with TLS and without."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.chromium import Tab, running_chromium
from tests.support.http1 import Client
from tests.support.nginx import running_nginx
from tests.support.programs import require_program

SCHEMES = pytest.mark.parametrize("scheme", ["http", "https"])
MB = 1_000_000


@pytest.fixture
def url(request, scheme):
    """Where the server is."""
    server = request.getfixturevalue("plain_server" if scheme == "http" else "tls_server")
    return "{}://{}:{}".format(scheme, *server.address)


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, **options)
    assert done.returncode == 0, f"{command}: {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


# curl


@pytest.fixture
def curl(url, scheme, authority):
    program = require_program("curl")
    if "HTTP2" not in run(program, "--version"):
        pytest.skip("this curl does not speak HTTP/2")
    version = ["--http2", "--cacert", authority.file] if scheme == "https" else ["--http2-prior-knowledge"]

    def request(path: str, *arguments: str) -> str:
        return run(program, "-sS", "--noproxy", "*", *version, *arguments, url + path)

    return request


@SCHEMES
def test_curl_speaks_http_2(curl, scheme):
    scope = ast.literal_eval(curl("/scope_of/x?q"))
    assert (scope["http_version"], scope["scheme"]) == ("2", scheme)
    assert scope["headers"][0][0] == b"host"


@SCHEMES
def test_curl_uploads_and_downloads(curl, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 20_000)
    got = tmp_path / "got"
    shown = curl("/echo/x", "--data-binary", f"@{file}", "-o", str(got), "-w", "%{http_version} %{http_code}")
    assert shown == "2 200"
    assert got.read_bytes() == file.read_bytes()


@pytest.mark.parametrize("scheme", ["https"])
def test_curl_makes_many_requests_on_a_connection(curl):
    """Over TLS only: curl 7.88 cannot go on with a connection begun with prior knowledge, whatever the server."""
    arguments = ["-Z", "--parallel-max", "10", "-o", "/dev/null"]
    shown = curl("/hello/[1-30]", *arguments, "-w", "%{http_version} %{http_code} %{num_connects}\n")
    assert len(re.findall(r"^2 200 [01]$", shown, re.MULTILINE)) == 30
    assert shown.count(" 1\n") <= 10


@SCHEMES
def test_curl_shows_early_hints_head_and_trailers(curl):
    steps = [
        {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]},
        {"type": "http.response.start", "status": 200, "headers": [], "trailers": True},
        {"type": "http.response.body", "body": b"part", "more_body": True},
        {"type": "http.response.body", "body": b"end"},
        {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]},
    ]
    shown = curl(f"/script/x?{quote(repr(steps))}", "-i")
    assert re.search(r"HTTP/2 103 .*link: </a.css>.*HTTP/2 200 .*end", shown, re.DOTALL)
    assert "x-sum: 1" in shown
    assert re.match(r"HTTP/2 200 \n", curl("/large/x?1000", "-I"))


@SCHEMES
def test_curl_expects_100_continue(curl, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(bytes(2 * MB))
    assert curl("/slow_reader/x?0", "-H", "Expect: 100-continue", "--data-binary", f"@{file}") == str(2 * MB)


# nghttp and h2load


@pytest.fixture
def nghttp2(url):
    def command(name: str, *arguments: str) -> str:
        return run(require_program(name), *arguments)

    return command


@SCHEMES
def test_nghttp_uploads_and_shows_the_frames(nghttp2, url, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"x" * 200_000)
    shown = nghttp2("nghttp", "-v", "-n", "-d", str(file), f"{url}/echo/x")
    assert ":status: 200" in shown
    assert "END_STREAM" in shown
    assert "RST_STREAM" not in shown
    assert len(nghttp2("nghttp", "-d", str(file), f"{url}/echo/x")) == 200_000


@SCHEMES
def test_nghttp_with_padding_trailers_and_continuation(nghttp2, url, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"body")
    arguments = ["-b", "200", "--trailer", "x-sum: 1", "--continuation", "-d", str(file)]
    assert nghttp2("nghttp", *arguments, f"{url}/echo/x") == "body"


@SCHEMES
def test_nghttp_makes_many_requests_on_a_connection(nghttp2, url):
    assert nghttp2("nghttp", "-m", "50", f"{url}/hello/x") == "hello" * 50


@SCHEMES
@pytest.mark.parametrize(("path", "window"), [("/hello/x", 30), ("/large/x?16000", 30), ("/large/x?100000", 16)])
def test_h2load_loses_no_request(nghttp2, url, path, window):
    shown = nghttp2("h2load", "-n", "500", "-c", "4", "-m", "16", "-w", str(window), "-W", str(window), url + path)
    assert "requests: 500 total, 500 started, 500 done, 500 succeeded, 0 failed, 0 errored, 0 timeout" in shown
    assert "Application protocol: h2" in shown


# httpx


@pytest.fixture
def httpx_client(url, scheme, authority):
    httpx = pytest.importorskip("httpx", reason="the package httpx is not installed")
    pytest.importorskip("h2", reason="the package h2 is not installed")
    verify = authority.client_context() if scheme == "https" else True
    with httpx.Client(http2=True, http1=False, verify=verify, base_url=url, trust_env=False) as client:
        yield client


@SCHEMES
def test_httpx_makes_requests_on_one_connection(httpx_client):
    for number in range(20):
        response = httpx_client.post("/echo/x", content=b"x" * number * 10_000, headers={"X-Number": str(number)})
        assert (response.http_version, response.status_code) == ("HTTP/2", 200)
        assert len(response.content) == number * 10_000
    assert response.headers["server"] == "daphne"


@SCHEMES
def test_httpx_downloads_large_bodies_and_closes_others_early(httpx_client):
    assert len(httpx_client.get(f"/large/x?{5 * MB}").content) == 5 * MB
    with httpx_client.stream("GET", f"/torrent/x?{100 * MB}") as response:
        assert response.status_code == 200
        next(response.iter_raw())
    assert httpx_client.get("/hello/x").text == "hello"


# nginx, whose module for gRPC is a client of HTTP/2 in the clear, on connections that it keeps


@pytest.fixture(scope="module")
def nginx_client(plain_server, tmp_path_factory):
    locations = "location / { grpc_pass grpc://application; grpc_set_header Host $http_host; }"
    upstream = "{}:{}; keepalive 2".format(*plain_server.address)
    with running_nginx(upstream, tmp_path_factory.mktemp("nginx"), locations=locations) as nginx:
        yield Client(("127.0.0.1", nginx.port))


def test_nginx_passes_requests_on_over_http_2(nginx_client):
    scope = ast.literal_eval(nginx_client.request("/scope_of/x?q").body.decode())
    assert (scope["http_version"], scope["query_string"]) == ("2", b"q")
    for number in range(30):
        body = b"x" * number * 20_000
        assert nginx_client.request("/echo/x", method=b"POST", body=body).body == body
    assert len(nginx_client.request(f"/large/x?{5 * MB}").body) == 5 * MB
    assert nginx_client.request("/large_head/x?3,900").get(b"x-2") == b"v" * 900
    assert nginx_client.request("/nothing").status == 404
    assert nginx_client.request("/script/x?['fail']").status == 500


def test_nginx_gives_up_requests_whose_clients_have(nginx_client):
    for _ in range(20):
        with nginx_client.open(f"/torrent/x?{100 * MB}") as exchange:
            exchange.read_head()
    assert nginx_client.request("/hello/x").body == b"hello"


# Chromium


@pytest.fixture(scope="module")
def tab(tls_server):
    with running_chromium() as browser:
        opened = Tab(browser)
        opened.open("https://{}:{}/page/x".format(*tls_server.address))
        yield opened


def test_chromium_loads_a_page_over_http_2(tab):
    assert tab.run("document.title") == "page"
    assert tab.run("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"


def test_chromium_makes_many_requests_at_once(tab):
    fetched = tab.run(
        "Promise.all(Array.from({length: 50}, (_, i) => fetch('/echo/x', {method: 'POST', body: 'x'.repeat(i * 5000)})"
        ".then(r => r.text()).then(t => t.length)))"
    )
    assert fetched == [number * 5000 for number in range(50)]


def test_chromium_aborts_a_download_and_goes_on(tab):
    assert (
        tab.run(
            "(async () => { const abort = new AbortController();"
            "const r = await fetch('/torrent/x?100000000', {signal: abort.signal}); await r.body.getReader().read();"
            "abort.abort(); return (await fetch('/hello/x')).text(); })()"
        )
        == "hello"
    )


OPEN = "const ws = new WebSocket('wss://' + location.host + '%s');"
MESSAGE = "new Promise((done, fail) => { ws.onmessage = e => done(e.data); ws.onclose = e => fail(e.code); })"


def test_chromium_opens_a_websocket_over_http_2(tab):
    told = tab.run("(async () => {" + OPEN % "/scope_of/x" + "return await " + MESSAGE + "; })()")
    scope = ast.literal_eval(told)
    assert (scope["type"], scope["http_version"], scope["scheme"]) == ("websocket", "2", "wss")
    assert dict(scope["headers"])[b"sec-websocket-extensions"].startswith(b"permessage-deflate")


def test_chromium_and_a_websocket_exchange_messages(tab):
    sizes = [0, 1, 125, 126, 65_536, 500_000]
    told = tab.run(
        "(async () => {" + OPEN % "/echo/x" + "await new Promise(done => ws.onopen = done); const got = [];"
        f"for (const size of {json.dumps(sizes)}) {{ ws.send('x'.repeat(size)); got.push((await {MESSAGE}).length); }}"
        "ws.onclose = null; const closed = new Promise(done => ws.onclose = e => done([e.code, e.reason, e.wasClean]));"
        "ws.close(3001, 'bye'); return [got, await closed]; })()"
    )
    assert told == [sizes, [3001, "bye", True]]
