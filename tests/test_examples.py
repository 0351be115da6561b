"""Every example starts by the line it documents, and answers an ordinary client."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import pytest

httpx = pytest.importorskip("httpx", reason="the package httpx is not installed")

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
# Where each example documents its line.
HOMES = {
    "hello": EXAMPLES / "hello.py",
    "starlette": EXAMPLES / "starlette_app.py",
    "fastapi": EXAMPLES / "fastapi_app.py",
    "django": EXAMPLES / "django_project/mysite/asgi.py",
}
START_S = 20.0  # a cold start of FastAPI on a busy two-core machine takes about three
STOP_S = 10.0


def documented_line(example: str) -> str:
    """The indented line of its docstring that starts it."""
    lines = re.findall(r"^    (server .+)$", HOMES[example].read_text(), re.MULTILINE)
    assert len(lines) == 1, f"{HOMES[example]} documents {len(lines)} lines"
    return str(lines[0])


@contextmanager
def started(line: str) -> Iterator[str]:
    """Run a documented line, from the checkout as it says, on a free port; yields the base URL.

    The server must stop on SIGTERM with status 0 when the block ends well.
    """
    command, *arguments = shlex.split(line)
    assert command == "server"
    installed = Path(sys.executable).with_name(command)
    program = [str(installed)] if installed.exists() else [sys.executable, "-m", "daphne_clone"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DAPHNE_CLONE_")}
    environment["PYTHONUNBUFFERED"] = "1"
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    server = subprocess.Popen(
        # Port 0: the system chooses a free one, and the banner says which.
        [*program, *arguments, "-p", "0"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output: list[str] = []
    try:
        yield wait_for_url(server, output)
        server.send_signal(signal.SIGTERM)
        status = server.wait(timeout=STOP_S)
        assert status == 0, f"exit status {status}\n{''.join(output)}"
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
        assert server.stdout is not None
        server.stdout.close()


def wait_for_url(server: subprocess.Popen[str], output: list[str]) -> str:
    """Read the server's output until it names the address it listens on; afterwards it goes on into `output`.

    A thread reads to the end: a server whose pipe nobody empties would stand still on its log.
    """
    lines: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        assert server.stdout is not None
        try:
            for line in server.stdout:
                output.append(line)
                lines.put(line)
        except ValueError:
            pass  # closed by the main thread: the test is over
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    deadline = time.monotonic() + START_S
    while True:
        try:
            line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            line = ""
        assert line, f"no address in the server's output:\n{''.join(output)}"
        if found := re.search(r"127\.0\.0\.1:([1-9]\d*)", line):
            return f"http://127.0.0.1:{found[1]}"


@contextmanager
def client(example: str, *modules: str) -> Iterator[httpx.Client]:
    """A client of a started example; skips where a module it needs is not installed."""
    for module in modules:
        pytest.importorskip(module, reason=f"the package {module} is not installed")
    with started(documented_line(example)) as url, httpx.Client(base_url=url, timeout=10, trust_env=False) as session:
        yield session


@pytest.fixture(scope="module")
def hello() -> Iterator[httpx.Client]:
    with client("hello") as session:
        yield session


@pytest.fixture(scope="module")
def starlette() -> Iterator[httpx.Client]:
    with client("starlette", "starlette", "python_multipart") as session:
        yield session


@pytest.fixture(scope="module")
def fastapi() -> Iterator[httpx.Client]:
    with client("fastapi", "fastapi", "python_multipart") as session:
        yield session


@pytest.fixture(scope="module")
def django() -> Iterator[httpx.Client]:
    with client("django", "django") as session:
        yield session


# 300 kB do not fit into one read, nor into what a server may take before the application asks.
UPLOAD = {"file": ("notes.bin", b"\x00\xff" * 150_000, "application/octet-stream")}
TICKS = [f"data: tick {number}" for number in range(3)]


@pytest.mark.parametrize("example", HOMES)
def test_readme_names_the_line_of_each_example(example: str) -> None:
    assert f"`{documented_line(example)}`" in (ROOT / "README.md").read_text()


class TestHello:
    def test_greets_by_name(self, hello: httpx.Client) -> None:
        response = hello.get("/any/path", params={"name": "Åsa & Bo"})
        assert response.status_code == 200
        assert response.text.startswith("Hello, Åsa & Bo!\n")

    def test_lifespan_state_reaches_requests(self, hello: httpx.Client) -> None:
        assert re.search(r"^Up for \d+\.\d s\.$", hello.get("/").text, re.MULTILINE)


class TestStarlette:
    def test_lifespan_state_reaches_requests(self, starlette: httpx.Client) -> None:
        assert starlette.get("/").text == "Hello from Starlette!\n"

    def test_upload_arrives_whole(self, starlette: httpx.Client) -> None:
        assert starlette.post("/upload", files=UPLOAD).json() == {"name": "notes.bin", "size": 300_000}

    def test_events_arrive_one_by_one(self, starlette: httpx.Client) -> None:
        assert_streamed(starlette, "/clock")


class TestFastAPI:
    def test_answers_json(self, fastapi: httpx.Client) -> None:
        assert fastapi.get("/", params={"name": "Ada"}).json() == {"message": "Hello, Ada!"}

    def test_body_is_validated(self, fastapi: httpx.Client) -> None:
        assert fastapi.post("/orders", json={"item": "tea", "count": 2}).status_code == 201
        assert fastapi.post("/orders", json={"item": "tea", "count": 0}).status_code == 422

    def test_blocking_view_runs_in_a_thread(self, fastapi: httpx.Client) -> None:
        assert fastapi.get("/blocking").json() == {"on_main_thread": False}

    def test_upload_arrives_whole(self, fastapi: httpx.Client) -> None:
        assert fastapi.post("/upload", files=UPLOAD).json() == {"name": "notes.bin", "size": 300_000}


class TestDjango:
    def test_sync_view(self, django: httpx.Client) -> None:
        response = django.get("/")
        assert response.status_code == 200
        assert "Hello from Django!" in response.text

    def test_async_view_runs_on_the_loop(self, django: httpx.Client) -> None:
        assert django.get("/async/").json() == {"on_main_thread": True}

    def test_upload_arrives_whole(self, django: httpx.Client) -> None:
        assert django.post("/upload/", files=UPLOAD).json() == {"name": "notes.bin", "size": 300_000}

    def test_upload_that_is_spooled_to_disk_arrives_whole(self, django: httpx.Client) -> None:
        content = os.urandom(1024) * 3000
        assert django.post("/upload/", files={"file": ("big", content)}).json() == {"name": "big", "size": 3_072_000}

    def test_sync_stream_arrives_whole(self, django: httpx.Client) -> None:
        assert django.get("/stream/").text.splitlines() == [f"row {number}" for number in range(1000)]

    def test_async_stream_arrives_part_by_part(self, django: httpx.Client) -> None:
        assert_streamed(django, "/async-stream/")

    def test_unknown_path_and_wrong_method_are_djangos_to_answer(self, django: httpx.Client) -> None:
        assert django.get("/nothing-here/").status_code == 404
        assert django.get("/upload/").status_code == 405


def assert_streamed(session: httpx.Client, path: str) -> None:
    """Each event arrives when it is sent; between the first and the last lie two pauses of 0.1 s."""
    arrivals: list[float] = []
    events: list[str] = []
    with session.stream("GET", path) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in filter(None, response.iter_lines()):
            events.append(line)
            arrivals.append(time.monotonic())
    assert events == TICKS
    assert arrivals[-1] - arrivals[0] > 0.1, "the events came together"
