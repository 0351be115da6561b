"""Compiles the C that load generators are made of, when it is missing or older than its source."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.errors import EnvironmentFailed

BUILD = Path(__file__).with_name("build")
"""Where everything goes that a run makes and the next one can use."""
_FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra")
_TIMEOUT_S = 120


def compiled(source: Path, target: Path, *, libraries: Sequence[str] = (), needed_by: str) -> Path:
    """Compile ``source`` into ``target``, unless that is there and newer than it and the headers beside it.

    Args:
        libraries: what it is linked with; their headers have to be installed.
        needed_by: what it is a load generator of, in the words of the message.

    Returns:
        ``target``.

    Raises:
        EnvironmentFailed: there is no C compiler, or it failed.
    """
    newest = max(file.stat().st_mtime for file in (source, *source.parent.glob("*.h")))
    if target.exists() and target.stat().st_mtime > newest:
        return target
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise EnvironmentFailed(
            f"{needed_by} need a C compiler, `cc` on PATH or CC in the environment, to make their load generator; on"
            f" Debian and Ubuntu: apt-get install gcc libc6-dev{_packages(libraries)}"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    # Compiled beside its place and moved there: what is in place is always whole.
    made = target.with_name(f"{target.name}.{os.getpid()}")
    command = [compiler, *_FLAGS, "-o", str(made), str(source), *(f"-l{name}" for name in libraries)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentFailed(f"{source.name} could not be compiled: {error}") from error
    if done.returncode:
        hint = f" (are the headers installed?{_packages(libraries)})" if libraries else ""
        raise EnvironmentFailed(f"{source.name} could not be compiled{hint}: {done.stderr.strip()[-800:]}")
    return made.replace(target)


def _packages(libraries: Sequence[str]) -> str:
    return " libssl-dev" if "ssl" in libraries else ""
