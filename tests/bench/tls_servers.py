"""TLS servers to load and to check, blocking and in a thread."""

from __future__ import annotations

import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Conversation = Callable[[socket.socket], None]


@contextmanager
def conversing(converse: Conversation) -> Iterator[int]:
    """A port where each connection is handed to ``converse``, one after the other, and closed after it."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                connection, _ = listener.accept()
                connection.settimeout(5)
                with connection, suppress(OSError):  # a client that has had enough
                    converse(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        port: int = listener.getsockname()[1]
        try:
            yield port
        finally:
            ended.set()
            socket.create_connection(("127.0.0.1", port), timeout=5).close()  # wakes accept()
            thread.join(10)
            assert not thread.is_alive()


class Answering:
    """Goes through the handshake and gives one of ``answers`` for each thing that comes.

    Attributes:
        handshakes: how often each version, cipher and kind of handshake came before the first of them.
    """

    def __init__(self, context: ssl.SSLContext, *answers: bytes, close_notify: bool = True) -> None:
        self.handshakes: Counter[tuple[str | None, str, str]] = Counter()
        self._context = context
        self._answers = answers
        self._close_notify = close_notify

    def __call__(self, plain: socket.socket) -> None:
        with self._context.wrap_socket(plain, server_side=True) as connection:
            for number, answer in enumerate(self._answers):
                if not connection.recv(65536):
                    return
                if number == 0:
                    self._remember(connection)
                connection.sendall(answer)
            if self._close_notify:
                connection.unwrap()

    def _remember(self, connection: ssl.SSLSocket) -> None:
        cipher = connection.cipher()
        assert cipher is not None
        kind = "resumed" if connection.session_reused else "full"
        self.handshakes[connection.version(), cipher[0], kind] += 1
