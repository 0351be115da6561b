"""The Django app: what it brings into a project, and what it does not."""

from __future__ import annotations

import ast

import pytest

from tests.support.django_project import DjangoProject

PRINT_MODULES = """
import sys
from django.core.management.base import BaseCommand
class Command(BaseCommand):
    def handle(self, *args, **options):
        reactor = sys.modules["twisted.internet.reactor"]
        heavy = ("daphne_clone.server", "autobahn")
        print([type(reactor).__name__, [name for name in heavy if name in sys.modules]])
"""


@pytest.fixture
def project(tmp_path):
    return DjangoProject(tmp_path)


def test_the_app_installs_the_reactor_and_loads_no_server(project):
    """Other apps may import twisted.internet.reactor; commands that serve nothing need not wait for what serves."""
    project.write(
        "local_settings.py", (project.directory / "local_settings.py").read_text() + "INSTALLED_APPS.append('own')"
    )
    for package in ("own", "own/management", "own/management/commands"):
        project.write(f"{package}/__init__.py", "")
    project.write("own/management/commands/modules.py", PRINT_MODULES)
    done = project.manage("modules")
    assert done.returncode == 0, done.stderr
    assert ast.literal_eval(done.stdout) == ["AsyncioSelectorReactor", []]


def test_the_config_has_the_name_that_projects_know(project):
    script = (
        "from django.apps import apps; c = apps.get_app_config('daphne_clone'); print([type(c).__qualname__, c.name])"
    )
    done = project.manage("shell", "-c", script)
    assert ast.literal_eval(done.stdout.splitlines()[-1]) == ["DaphneConfig", "daphne_clone"], done.stderr


def test_runserver_is_ours(project):
    done = project.manage("runserver", "--help")
    assert "--websocket_handshake_timeout" in done.stdout
    assert "--ssl-adhoc" in done.stdout
