"""What a user installs: the distributions' contents, their metadata, and what an import costs."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path
from signal import SIGTERM
from subprocess import Popen

import pytest

import daphne_clone

ROOT = Path(__file__).resolve().parent.parent
VERSION = daphne_clone.__version__
SOURCES = ("LICENSE", "README.md", "CHANGELOG.md", "MANIFEST.in", ".importlinter", "pyproject.toml", "setup.cfg")
TREES = ("daphne_clone", "docs", "examples", "scripts", "tests", "twisted")
PLUGIN = "twisted/plugins/daphne_clone_plugin.py"
COMMANDS = dict.fromkeys(("server", "daphne-clone"), "daphne_clone.cli:CommandLineInterface.entrypoint")


def run(*arguments: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a command that must succeed, and return what it wrote to standard output."""
    done = subprocess.run([*map(str, arguments)], env=env, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Distributions:
    """The two files that would be uploaded."""

    wheel: Path
    sdist: Path
    checkout: Path  # the copy they were built from

    def wheel_text(self, name: str) -> str:
        with zipfile.ZipFile(self.wheel) as archive:
            return archive.read(name).decode()

    def wheel_names(self) -> set[str]:
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())

    def sdist_names(self) -> set[str]:
        """Paths inside the sdist's one directory."""
        with tarfile.open(self.sdist) as archive:
            return {name.partition("/")[2] for name in archive.getnames()}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """Build both from a copy: the checkout keeps no build/, and nothing left there by earlier builds gets in."""
    pytest.importorskip("build", reason="the package `build` is not installed")
    checkout = tmp_path_factory.mktemp("checkout")
    out = tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        shutil.copy(ROOT / name, checkout)
    for name in filter(lambda name: (ROOT / name).is_dir(), TREES):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
    # Without isolation it needs no network. The wheel is made from the sdist, as it is for who installs from that.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, checkout)
    (wheel,) = out.glob("*.whl")
    (sdist,) = out.glob("*.tar.gz")
    return Distributions(wheel, sdist, checkout)


@pytest.fixture(scope="module")
def installed(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel installed; its dependencies are those of the running interpreter."""
    target = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile")
    run(*pip, "--target", target, distributions.wheel)
    return target


def test_version_is_the_same_everywhere(distributions: Distributions) -> None:
    metadata = Parser().parsestr(distributions.wheel_text(f"daphne_clone-{VERSION}.dist-info/METADATA"))
    assert metadata["Name"] == "daphne-clone"
    assert metadata["Version"] == VERSION
    assert distributions.sdist.name == f"daphne_clone-{VERSION}.tar.gz"
    assert distributions.wheel.name == f"daphne_clone-{VERSION}-py3-none-any.whl"


def test_version_is_written_once() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["version"] == "attr: daphne_clone.__version__"


def test_metadata_says_licence_and_python(distributions: Distributions) -> None:
    metadata = Parser().parsestr(distributions.wheel_text(f"daphne_clone-{VERSION}.dist-info/METADATA"))
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Requires-Python"] == ">=3.11"


def test_wheel_holds_the_whole_package_and_nothing_else(distributions: Distributions) -> None:
    package = {
        path.relative_to(distributions.checkout).as_posix()
        for path in (distributions.checkout / "daphne_clone").rglob("*")
        if path.is_file()
    }
    dist_info = f"daphne_clone-{VERSION}.dist-info/"
    contents = {name for name in distributions.wheel_names() if not name.startswith(dist_info)}
    # Of Twisted's directory for plugins nothing but the plugin: an __init__.py there would hide all of Twisted's own.
    assert contents == package | {PLUGIN}
    assert "daphne_clone/py.typed" in contents
    assert dist_info + "licenses/LICENSE" in distributions.wheel_names()


def test_wheel_declares_both_commands(distributions: Distributions) -> None:
    entry_points = configparser.ConfigParser()
    entry_points.read_string(distributions.wheel_text(f"daphne_clone-{VERSION}.dist-info/entry_points.txt"))
    assert dict(entry_points["console_scripts"]) == COMMANDS


def test_sdist_holds_what_its_tests_need(distributions: Distributions) -> None:
    names = distributions.sdist_names()
    assert {*SOURCES, PLUGIN, "tests/test_packaging.py", "examples/hello.py", "scripts/test"} <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


@pytest.mark.parametrize("command", COMMANDS)
def test_installed_command_says_the_version(installed: Path, command: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(installed)}
    assert VERSION in run(installed / "bin" / command, "--version", env=env)


def test_installed_package_runs_as_a_module(installed: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(installed)}
    where = "import daphne_clone; print(daphne_clone.__file__)"
    assert Path(run(sys.executable, "-P", "-c", where, env=env).strip()).is_relative_to(installed)
    assert VERSION in run(sys.executable, "-P", "-m", "daphne_clone", "--version", env=env)


@contextmanager
def serving(command: Sequence[str | Path], directory: Path, installed: Path) -> Iterator[tuple[str, Popen[str]]]:
    """Run a command that serves, in a directory; give the address that it tells, and end it by SIGTERM."""
    process = subprocess.Popen(
        command,
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(installed), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    with process:
        try:
            log = ""
            while not (found := re.search(r"(?:Listening on|development server at) (http://[^;\s]+)", log)):
                line = process.stdout.readline()  # pytest's own timeout ends a wait without end
                assert line, log
                log += line
            yield found[1], process
        finally:
            process.terminate()
            log += process.stdout.read()
    assert "Traceback" not in log


SERVED = """
import daphne_clone
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": daphne_clone.__file__.encode()})
"""

DJANGO_SETTINGS = """
SECRET_KEY = "only for tests"
DEBUG = True
INSTALLED_APPS = ["daphne_clone", "django.contrib.staticfiles"]
STATIC_URL = "/static/"
ASGI_APPLICATION = "served.app"
ROOT_URLCONF = "site_urls"
"""


@pytest.mark.parametrize(
    ("command", "status"),
    [
        pytest.param(["{installed}/bin/server", "-p", "0", "served:app"], 0, id="server"),
        pytest.param(["{python}", "-P", "-m", "daphne_clone", "-p", "0", "served:app"], 0, id="python -m"),
        pytest.param(
            ["{scripts}/twistd", "-n", "--pidfile=", "daphne_clone", "-p", "0", "served:app"], -SIGTERM, id="twistd"
        ),
        pytest.param(["{scripts}/twist", "daphne_clone", "-p", "0", "served:app"], -SIGTERM, id="twist"),
        pytest.param(
            ["{python}", "-m", "django", "runserver", "0", "--noreload", "--settings=site_settings"], 0, id="runserver"
        ),
    ],
)
def test_installed_wheel_serves_by_every_command(
    installed: Path, tmp_path: Path, command: list[str], status: int
) -> None:
    (tmp_path / "served.py").write_text(SERVED)
    (tmp_path / "site_settings.py").write_text(DJANGO_SETTINGS)
    (tmp_path / "site_urls.py").write_text("urlpatterns = []")
    places = {"installed": installed, "python": sys.executable, "scripts": Path(sys.executable).parent}
    with (
        serving([word.format(**places) for word in command], tmp_path, installed) as (url, process),
        urllib.request.urlopen(url, timeout=5) as response,
    ):
        assert Path(response.read().decode()).is_relative_to(installed)
    assert process.returncode == status


def test_plugin_is_found_where_twisted_cannot_keep_its_cache(installed: Path, tmp_path: Path) -> None:
    """Twisted writes a cache beside its plugins, and site-packages may belong to somebody else."""
    (tmp_path / "served.py").write_text(SERVED)
    site = tmp_path / "site-packages"
    shutil.copytree(installed, site, ignore=shutil.ignore_patterns("dropin.cache"))
    (site / "twisted" / "plugins" / "dropin.cache").mkdir()  # what not even root can write to
    twistd = [Path(sys.executable).with_name("twistd"), "-n", "--pidfile=", "daphne_clone", "-p", "0", "served:app"]
    with serving(twistd, tmp_path, site) as (url, _), urllib.request.urlopen(url, timeout=5) as response:
        assert Path(response.read().decode()).is_relative_to(site)


def test_importing_the_package_imports_nothing_heavy() -> None:
    """A tool that only asks for the version must not get a reactor; `-S -I` keeps out what site-packages imports."""
    check = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import daphne_clone
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""
    imported = set(run(sys.executable, "-S", "-I", "-c", check).split())
    assert "daphne_clone" in imported
    assert not imported & {"twisted", "zope", "asyncio", "uvloop", "asgiref", "django", "logging", "ssl", "socket"}
