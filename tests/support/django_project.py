"""A Django project in a directory of its own, and its `manage.py runserver`, with the Ctrl-C of a terminal."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.support.server_process import ROOT, START_S, ServerProcess, until

PROJECTS = ROOT / "tests" / "frameworks" / "apps"  # whole projects, to take from

# A shell makes a group of each command, to which a terminal's Ctrl-C goes; autoreload's second process is in it too.
MANAGE = """
import os, sys
if os.environ.get("RUN_MAIN") != "true":
    os.setpgrp()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "local_settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""

# Autoreload's log tells which of our files are watched by now: what is edited before that is never noticed.
SETTINGS = """
import logging
from django_site.settings import *

class OurFiles(logging.Filter):
    def filter(self, record):
        return str(BASE) in str(record.args)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"ours": {"()": OurFiles}},
    "handlers": {"ours": {"class": "logging.StreamHandler", "filters": ["ours"]}},
    "loggers": {"django.utils.autoreload": {"handlers": ["ours"], "level": "DEBUG"}},
}
ALLOWED_HOSTS = ["*"]
ASGI_APPLICATION = "local_asgi.application"
DEBUG = True
INSTALLED_APPS = ["daphne_clone", "django.contrib.staticfiles"]
ROOT_URLCONF = "local_urls"
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE / "assets"]
"""

# WebSockets are echoed; the rest is Django's.
ASGI = """
from django.core.asgi import get_asgi_application
django = get_asgi_application()

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            print("application:", event)
            await send({"type": event + ".complete"})
            if event == "lifespan.shutdown":
                return
    if scope["type"] == "http":
        return await django(scope, receive, send)
    await receive()
    if scope["path"] == "/never/":
        return await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})
    print("application: closed with", event["code"])
"""

URLS = """
import asyncio, threading, time
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import include, path

async def facts(request):
    return JsonResponse({
        "edition": 1,
        "loop": type(asyncio.get_running_loop()).__module__,
        "in_main_thread": threading.current_thread() is threading.main_thread(),
        "is_secure": request.is_secure(),
        "script_name": request.META["SCRIPT_NAME"],
        "server": request.META["SERVER_NAME"],
    })

def slow(request):
    print("application: slow")
    time.sleep(60)
    return HttpResponse("late")

async def stream(request):
    async def ticks():
        while True:
            yield "data: tick\\n\\n"
            await asyncio.sleep(0.05)
    return StreamingHttpResponse(ticks(), content_type="text/event-stream")

urlpatterns = [
    path("facts/", facts), path("slow/", slow), path("stream/", stream), path("", include("django_site.urls")),
]
"""


class RunServer(ServerProcess):
    """A process of `manage.py runserver`, and the processes that it starts; `address` is that of its last start."""

    scheme = "http"

    def wait_until_listening(self) -> None:
        self.wait_for_start(1)

    def wait_for_start(self, count: int) -> None:
        """Wait until the server listens for the ``count``-th time, and read where."""
        self.wait_for_log(rf"(?s)(?:Quit the server with.*){{{count}}}", START_S)
        *_, (self.scheme, host, port) = re.findall(r" development server at (https?)://(.*):(\d+)/", self.log)
        self.addresses = [(host.strip("[]"), int(port))]

    def wait_until_watched(self, path: Path) -> None:
        """Wait until autoreload would notice that a file of the project is changed."""
        self.wait_for_log(rf"File {re.escape(str(path))} first seen", START_S)

    @property
    def url(self) -> str:
        host, port = self.address
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def press_ctrl_c(self) -> None:
        os.killpg(self.pid, signal.SIGINT)

    def is_gone(self) -> bool:
        """Whether all of its processes are."""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def end(self) -> None:
        super().end()
        if not self.is_gone():
            os.killpg(self.pid, signal.SIGKILL)
            until(self.is_gone, "all processes of runserver to end")


class DjangoProject:
    """A project with DEBUG, static files, the views of tests/frameworks/apps/django_site and a WebSocket that echoes.

    Args:
        directory: An empty one.
        settings: Lines for the end of its settings.
    """

    def __init__(self, directory: Path, settings: str = "") -> None:
        self.directory = directory
        self.write("manage.py", MANAGE)
        self.write(
            "local_settings.py", f"from pathlib import Path\nBASE = Path({str(directory)!r})\n{SETTINGS}{settings}"
        )
        self.write("local_asgi.py", ASGI)
        self.write("local_urls.py", URLS)
        self.write("assets/site.css", "body { color: red }\n")

    def write(self, name: str, text: str) -> None:
        """Write a file of the project; the modification time is always another, which is what autoreload looks at."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.stat().st_mtime_ns if path.exists() else 0
        path.write_text(text)
        if path.stat().st_mtime_ns <= before:
            os.utime(path, ns=(before + 1_000_000, before + 1_000_000))

    def edit(self, name: str, old: str, new: str, seen_by: RunServer | None = None) -> None:
        """Replace a text in a file, once a server is able to notice."""
        if seen_by is not None:
            seen_by.wait_until_watched(self.directory / name)
        text = (self.directory / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def environment(self, **variables: str) -> dict[str, str]:
        paths = filter(None, [str(ROOT), str(PROJECTS), os.environ.get("PYTHONPATH")])
        return {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1", **variables}

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of manage.py to its end."""
        return subprocess.run(
            [sys.executable, str(self.directory / "manage.py"), *arguments],
            env={**os.environ, **self.environment()},
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )

    def runserver(self, *arguments: str, addrport: str = "0", wait: bool = True, **variables: str) -> RunServer:
        """Start it; to be used in a ``with`` block. By default on a port that the system chooses."""
        program = [str(self.directory / "manage.py"), "runserver", addrport, *arguments]
        return RunServer(program=program, environment=self.environment(**variables), wait=wait)


def free_port(host: str = "127.0.0.1") -> int:
    """A port that was free a moment ago, for what must know it before it starts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
