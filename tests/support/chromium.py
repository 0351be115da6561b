"""A headless Chromium and its tabs, driven by the DevTools protocol."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import require_program, running_program

ANSWER_S = 20.0

FLAGS = (
    "--headless",
    "--no-sandbox",  # which root, as in a container, cannot have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--ignore-certificate-errors",
    "--remote-debugging-port=0",
)


class Tab:
    """One page. What it is told to do is done when the call returns."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._target = browser.command("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.command("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        browser.command("Page.enable", self._session)

    def open(self, address: str) -> None:
        """Go to an address and wait until the page there has loaded."""
        answer = self._browser.command("Page.navigate", self._session, url=address)
        assert "errorText" not in answer, f"{address}: {answer['errorText']}"
        self._browser.wait_for("Page.loadEventFired", self._session)

    def run(self, expression: str) -> Any:
        """Evaluate JavaScript in the page, wait for it if it is a promise, and return its value."""
        arguments = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = self._browser.command("Runtime.evaluate", self._session, **arguments)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def close(self) -> None:
        self._browser.command("Target.closeTarget", targetId=self._target)


class Browser:
    """The connection to a browser's DevTools."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._numbers = count(1)
        self._events: list[dict[str, Any]] = []

    def command(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        """Send a command and return its result; events that come before it are kept for `wait_for`."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        self._connection.send(json.dumps(message if session is None else message | {"sessionId": session}))
        while (answer := json.loads(self._connection.recv(ANSWER_S))).get("id") != number:
            self._events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def wait_for(self, method: str, session: str) -> None:
        """Wait for an event of a session, and forget everything up to it."""
        while True:
            while self._events:
                event = self._events.pop(0)
                if (event.get("method"), event.get("sessionId")) == (method, session):
                    return
            self._events.append(json.loads(self._connection.recv(ANSWER_S)))


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Run Chromium for the length of a block; skip the test where it is not installed."""
    program = require_program("chromium")
    client = pytest.importorskip("websockets.sync.client", reason="the package websockets is not installed")
    directory = Path(tempfile.mkdtemp(prefix="chromium-"))
    profile, output = directory / "profile", directory / "output.txt"
    devtools = profile / "DevToolsActivePort"  # a line with the port, one with the path
    try:
        with running_program(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            lambda: devtools.exists() and devtools.read_text().count("\n") >= 1,
            output,
        ):
            port, path = devtools.read_text().split()
            address = f"ws://127.0.0.1:{port}{path}"
            with client.connect(address, proxy=None, compression=None, max_size=None, open_timeout=10) as connection:
                yield Browser(connection)
    finally:
        # What it started for itself may still be writing for a moment.
        shutil.rmtree(directory, ignore_errors=True)
