"""Channels' ``ChannelsLiveServerTestCase``, unchanged, on this server: under every start method of ``multiprocessing``.

The test case says ``from daphne.testing import DaphneProcess``; the Django app gives it ours, so that a project which
comes from Daphne changes one name in its settings.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("channels", reason="the package channels is not installed")
pytest.importorskip("websockets", reason="the package websockets is not installed")

ROOT = Path(__file__).resolve().parents[2]
APPS = Path(__file__).resolve().parent / "apps"

# Guarded, so that a process that is not forked has nothing of it: what it needs must have been sent there.
MANAGE = """
    import multiprocessing
    import os
    import sys

    if __name__ == "__main__":
        multiprocessing.set_start_method(os.environ["START_METHOD"])
        from django.core.management import execute_from_command_line
        execute_from_command_line(sys.argv)
"""

SETTINGS = """
    from pathlib import Path
    from chat_site.settings import *

    HERE = Path(__file__).parent
    ALLOWED_HOSTS = ["localhost"]
    DATABASES["default"]["TEST"] = {"NAME": str(HERE / "test.sqlite3")}
    INSTALLED_APPS = ["daphne", *INSTALLED_APPS, "django.contrib.staticfiles"]
    STATIC_URL = "/static/"
    STATICFILES_DIRS = [HERE / "assets"]
"""

TESTS = """
    import json
    import os
    import urllib.error
    import urllib.request
    from channels.testing import ChannelsLiveServerTestCase
    from django.contrib.auth.models import User
    from websockets.sync.client import connect


    def get(url):
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, ""


    class LiveTests(ChannelsLiveServerTestCase):
        def test_server_is_a_process_of_its_own(self):
            assert self._server_process.pid != os.getpid()
            assert type(self._server_process).__module__ == "daphne_clone.testing"

        def test_server_and_test_share_the_database(self):
            User.objects.create(username="mia")
            assert get(self.live_server_url + "/login/mia/") == (200, "mia")
            assert User.objects.get().last_login is not None

        def test_chat(self):
            url = self.live_server_ws_url + "/ws/chat/lobby/"
            with connect(url, origin=self.live_server_url) as one, connect(url, origin=self.live_server_url) as other:
                one.send(json.dumps({"message": "hello"}))
                for client in (one, other):
                    assert json.loads(client.recv(timeout=10))["message"] == "hello"

        def test_static_files(self):
            assert get(self.live_server_url + "/static/style.css") == (200, "body {}")


    class WithoutStaticFiles(ChannelsLiveServerTestCase):
        serve_static = False

        def test_static_files(self):
            assert get(self.live_server_url + "/static/style.css")[0] == 404
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_live_server_test_case(tmp_path: Path, method: str, redis_socket: str) -> None:
    settings = SETTINGS.replace('"daphne"', '"daphne_clone"')
    for name, text in {"manage.py": MANAGE, "live_settings.py": settings, "live_tests.py": TESTS}.items():
        (tmp_path / name).write_text(textwrap.dedent(text))
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "style.css").write_text("body {}")
    done = subprocess.run(
        [sys.executable, "manage.py", "test", "--no-input", "live_tests"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(APPS)]),
            "DATABASE": str(tmp_path / "db.sqlite3"),
            "CHANNEL_LAYER": "channels_redis.core.RedisChannelLayer",
            "REDIS_SOCKET": redis_socket,
            "DJANGO_SETTINGS_MODULE": "live_settings",
            "START_METHOD": method,
        },
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ran 5 tests" in done.stderr
    assert "Traceback" not in done.stderr
