"""What servers in other processes are given: under forkserver and spawn only what a module has can be sent there."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

from tests.support.apps import answer


def note(path, word):
    """Leave a word and the process it was written in; what the parent looks for is there as a whole or not at all."""
    with Path(path).open("a") as file:
        file.write(f"{word} {os.getpid()}\n")


async def hello(scope, receive, send):
    await answer(send, b"hello")


async def failing(scope, receive, send):
    raise ValueError("the application's own")


async def blocking(scope, receive, send):
    """Answer, and never let go of the loop."""
    await answer(send, b"now")
    time.sleep(60)


async def holding(scope, receive, send):
    """Answer, and leave a thread behind that the interpreter waits for at its end."""
    await answer(send, b"now")
    threading.Thread(target=time.sleep, args=(60,)).start()


def get_hello():
    return hello


def get_failing():
    return failing


def get_blocking():
    return blocking


def get_holding():
    return holding


def get_nothing():
    raise LookupError("no application here")


class OddError(Exception):
    """Cannot be unpickled: its constructor wants two arguments and is given one."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def get_oddness():
    raise OddError("this", "that")


def end_at_once():
    os.kill(os.getpid(), signal.SIGKILL)


class ASGI2:
    """An application of ASGI 2."""

    def __init__(self, scope):
        pass

    async def __call__(self, receive, send):
        await answer(send, b"two")


def get_asgi2():
    return ASGI2
