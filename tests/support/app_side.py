"""What the applications of tests/support/apps.py tell about a test's own requests; asked for over HTTP/1.1."""

from __future__ import annotations

import ast
from urllib.parse import quote

from tests.support.http1 import Address, Connection, Response


class AppSide:
    """What the application tells about the test's own requests.

    Args:
        address: Of the server.
        key: The second part of the paths.
    """

    def __init__(self, address: Address, key: str) -> None:
        self._address = address
        self.key = key

    def path(self, name: str, query: str | int = "") -> str:
        """The target that runs an application of tests/support/apps.py."""
        return f"/{name}/{self.key}" + (f"?{query}" if query != "" else "")

    def script(self, *steps: object) -> str:
        """The target that has the application do these steps; see `script` in tests/support/apps.py."""
        return self.path("script", quote(repr(list(steps))))

    def noted(self, count: int = 0) -> list[object]:
        """The application's notes; waits until there are ``count`` at least."""
        notes = ast.literal_eval(self._request("noted", count).body.decode())
        assert len(notes) >= count, f"{len(notes)} notes where {count} were to come: {notes}"
        return notes

    def release(self) -> None:
        """Let the application go on."""
        self._request("release", "")

    def _request(self, name: str, query: str | int) -> Response:
        with Connection(self._address, timeout_s=12) as connection:
            connection.send(f"GET {self.path(name, query)} HTTP/1.1\r\nHost: tests\r\n\r\n".encode())
            return connection.read_response()
