"""`manage.py runserver` for a Channels project on a real Redis, which says "daphne_clone" where it said "daphne"."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.django_project import DjangoProject, RunServer

pytest.importorskip("channels", reason="the package channels is not installed")
pytest.importorskip("websockets", reason="the package websockets is not installed")

# Behind those of DjangoProject, which tell when an edit would be noticed, and where the static files are.
SETTINGS = """
from chat_site.settings import *
DEBUG = True
INSTALLED_APPS = ["daphne", *INSTALLED_APPS, "django.contrib.staticfiles"]
ROOT_URLCONF = "pages"
"""

PAGES = """
from django.http import HttpResponse
from django.urls import include, path
urlpatterns = [path("edition/", lambda request: HttpResponse("first")), path("", include("chat_site.urls"))]
"""


def get(server: RunServer, path: str) -> str:
    with urllib.request.urlopen(server.url + path, timeout=5) as response:
        text: str = response.read().decode()
        return text


def test_an_edit_is_seen_and_the_chat_and_static_files_work_on(tmp_path: Path, connect: Any, redis_socket: str) -> None:
    project = DjangoProject(tmp_path, SETTINGS.replace('"daphne"', '"daphne_clone"'))
    project.write("pages.py", PAGES)
    environment = {
        "CHANNEL_LAYER": "channels_redis.core.RedisChannelLayer",
        "DATABASE": str(tmp_path / "db.sqlite3"),
        "REDIS_SOCKET": redis_socket,
    }

    def heard_by_all(room: str) -> list[str]:
        place = SimpleNamespace(port=server.address[1])
        with (
            connect(place, f"/ws/chat/{room}/", origin=server.url) as one,
            connect(place, f"/ws/sync/{room}/", origin=server.url) as other,
        ):
            one.send('{"message": "hello"}')
            return [json.loads(client.recv())["message"] for client in (one, other)]

    with project.runserver(**environment) as server:
        for start, edition in ((1, "first"), (2, "second")):
            server.wait_for_start(start)
            assert get(server, "/edition/") == edition
            assert heard_by_all(edition) == ["hello", "hello"]
            assert get(server, "/static/site.css") == "body { color: red }\n"
            if start == 1:
                project.edit("pages.py", "first", "second", seen_by=server)
        server.press_ctrl_c()
        assert server.wait() == 0
