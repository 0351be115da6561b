"""Makes the virtual environment that all servers run in, and says what machine and versions a run was made with.

The environment is this benchmark's own, so that the peers' requirements never meet those of the project, and every
server runs on the same Python, uvloop and httptools.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from bench.errors import EnvironmentFailed

CHECKOUT = Path(__file__).resolve().parent.parent
_DIRECTORY = CHECKOUT / "bench" / ".venv-peers"
_STAMP = _DIRECTORY / "made-from.json"
_PEERS = CHECKOUT / "bench" / "peers.txt"
_PROJECT_FILES = ("setup.cfg", "pyproject.toml")
_INSTALL_TIMEOUT_S = 900


def prepare(python: str) -> Path:
    """Make the environment, or keep it if it was made by this Python from the same files.

    Args:
        python: the interpreter, a path or a name on ``PATH``.

    Returns:
        The directory of the environment's programs.

    Raises:
        EnvironmentFailed: the interpreter does not run or the peers do not install.
    """
    programs = _DIRECTORY / "bin"
    version = _run([python, "-c", "import sys; print(sys.version)"], f"{python} does not run")
    peers = {"python": version, "peers": _digest(_PEERS)}
    project = {"project": _digest(*(CHECKOUT / name for name in _PROJECT_FILES))}
    stamp = json.loads(_STAMP.read_text()) if _STAMP.exists() else {}
    if stamp != stamp | peers:
        _say(f"making {_DIRECTORY.relative_to(CHECKOUT)} from bench/peers.txt (about a minute) ...")
        _run([python, "-m", "venv", "--clear", str(_DIRECTORY)], "no virtual environment")
        _pip(programs, "-r", str(_PEERS))
        stamp = peers
        _STAMP.write_text(json.dumps(stamp))
    if stamp != stamp | project:
        try:
            _pip(programs, "-c", str(_PEERS), "-e", str(CHECKOUT))
        except EnvironmentFailed as error:
            # The checkout is on the import path in any case; the report shows whether the server starts without this.
            _say(f"warning: daphne-clone is not installed from the checkout: {error}")
        else:
            _STAMP.write_text(json.dumps(stamp | project))
    return programs


def versions(programs: Path, distributions: Iterable[str]) -> dict[str, str]:
    """The versions of ``distributions`` in the environment, ``"not installed"`` for those it lacks."""
    code = (
        "import json, sys\nfrom importlib.metadata import PackageNotFoundError, version\nfound = {}\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n        found[name] = version(name)\n"
        "    except PackageNotFoundError:\n        found[name] = 'not installed'\n"
        "print(json.dumps(found))"
    )
    found: dict[str, str] = json.loads(_run([str(programs / "python"), "-c", code, *distributions], "no versions"))
    return found


def choose_cores() -> tuple[int, int]:
    """The core for the server and the one for the load: the last and the first that this process may use.

    Raises:
        EnvironmentFailed: not Linux, or fewer than two cores.
    """
    if sys.platform != "linux":
        raise EnvironmentFailed("the comparison reads /proc and pins processes to cores: it runs on Linux only")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise EnvironmentFailed("the comparison needs two cores, one for the server and one for the load")
    return cores[-1], cores[0]


def machine(programs: Path) -> dict[str, str]:
    """What a run was made on: processor, kernel, Python and its OpenSSL, load generators, the checkout's revision."""
    return {
        "cpu": f"{_cpu_model()}, {os.cpu_count()} cores",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": _run([str(programs / "python"), "-c", "import sys; print(sys.version.split()[0])"], "no Python"),
        "openssl": _run([str(programs / "python"), "-c", "import ssl; print(ssl.OPENSSL_VERSION)"], "no OpenSSL"),
        "wrk": _first_line(["wrk", "-v"]).partition(" Copyright")[0] or "none",
        "h2load": _first_line(["h2load", "--version"]) or "none",
        "revision": _first_line(["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty"]) or "none",
    }


def _pip(programs: Path, *arguments: str) -> None:
    command = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    _run(command, "pip install failed")


def _run(command: list[str], complaint: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentFailed(f"{complaint}: {error}") from error
    if done.returncode:
        raise EnvironmentFailed(f"{complaint}: {done.stderr.strip()[-800:]}")
    return done.stdout.strip()


def _first_line(command: list[str]) -> str:
    """The first line a program prints, ``""`` if it does not run; `wrk -v` ends with status 1 and still tells."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.partition("\n")[0].strip()


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()


def _digest(*paths: Path) -> str:
    return hashlib.sha256(b"\0".join(path.read_bytes() if path.exists() else b"" for path in paths)).hexdigest()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
