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


WHOSE_DAPHNE = """
import sys
from django.core.management.base import BaseCommand
class Command(BaseCommand):
    def handle(self, *args, **options):
        try:
            from daphne.testing import DaphneProcess
        except ModuleNotFoundError as error:
            print("no", error.name)
        else:
            print(DaphneProcess.__module__)
"""


@pytest.fixture
def whose_daphne(project):
    """The module that has `daphne.testing.DaphneProcess`, in a project of these files."""

    def whose_daphne(files):
        project.write("own/__init__.py", "")
        for package in ("own/management", "own/management/commands"):
            project.write(f"{package}/__init__.py", "")
        project.write("own/management/commands/whose.py", WHOSE_DAPHNE)
        settings = (project.directory / "local_settings.py").read_text()
        project.write("local_settings.py", f"{settings}INSTALLED_APPS.append('own')")
        for name, text in files.items():
            project.write(name, text)
        done = project.manage("whose")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return whose_daphne


@pytest.mark.parametrize(
    ("files", "found"),
    [
        pytest.param({}, "daphne_clone.testing", id="none"),
        # A directory without a module, as projects have for what they deploy, is no Daphne.
        pytest.param({"daphne/Dockerfile": ""}, "daphne_clone.testing", id="directory"),
        pytest.param(
            {"daphne/__init__.py": "", "daphne/testing.py": "class DaphneProcess: pass"}, "daphne.testing", id="package"
        ),
    ],
)
def test_the_app_stands_for_daphne_where_that_is_not_installed(whose_daphne, files, found):
    """Channels' helpers for tests import daphne.testing, and projects change nothing but a name."""
    assert whose_daphne(files) == found


def test_what_a_project_has_put_in_daphnes_place_stays(project):
    stub = "import sys, types\nsys.modules['daphne'] = types.ModuleType('daphne')\n"
    project.write("manage.py", stub + (project.directory / "manage.py").read_text())
    script = "import sys; print(vars(sys.modules['daphne'])['__name__'])"
    done = project.manage("shell", "-c", script)
    assert done.stdout.splitlines()[-1] == "daphne", done.stderr
