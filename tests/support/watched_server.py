"""A server whose memory is looked at while something is done to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.support.http1 import Client

if TYPE_CHECKING:
    from tests.support.server_process import ServerProcess

MB = 1024 * 1024
MAX_GROWTH = 20 * MB
ANSWER_S = 4.0  # within which others are answered meanwhile, on a busy machine


class WatchedServer:
    """Has answered a few requests when its memory is first looked at."""

    def __init__(self, process: ServerProcess) -> None:
        self.process = process
        self.address = process.address
        self.client = Client(process.address)
        for _ in range(20):
            self.client.request("/echo/warm", method=b"POST", body=b"x" * 100_000)
        self._before = process.resident_bytes()

    def check(self) -> None:
        """The server has not grown, and others are answered."""
        grown = self.process.resident_bytes() - self._before
        assert grown < MAX_GROWTH, f"grown by {grown / MB:.1f} MB"
        begin = time.monotonic()
        assert self.client.request("/hello/others").body == b"hello"
        assert time.monotonic() - begin < ANSWER_S
