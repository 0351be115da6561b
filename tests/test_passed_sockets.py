"""What systemd passed is still known after Twisted has been imported, in whichever order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# What systemd does: the variables name the process that gets the sockets, which is known only in it
PROGRAM = """
import json, os
os.environ.update({variables}, LISTEN_PID=str(os.getpid()))
{imports}
from daphne_clone.passed_sockets import environment
found = environment()
print(json.dumps([found.pop("LISTEN_PID", None) == str(os.getpid()), found, "LISTEN_FDS" in os.environ]))
"""


def in_a_process(imports: str, variables: dict[str, str]) -> object:
    program = PROGRAM.format(imports=imports, variables=variables)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LISTEN_")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    found: object = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("variables", [{"LISTEN_FDS": "2"}, {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "http:admin"}])
@pytest.mark.parametrize("imports", ["import daphne_clone.cli", "import daphne_clone.passed_sockets"])
def test_variables_are_noted_before_twisted_removes_them(imports: str, variables: dict[str, str]) -> None:
    assert in_a_process(f"{imports}\nimport twisted.internet.endpoints", variables) == [True, variables, False]


def test_variables_that_twisted_removed_first_are_known_from_twisted() -> None:
    variables = {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "http:admin"}
    assert in_a_process("import twisted.internet.endpoints", variables) == [True, variables, False]


def test_variables_that_are_still_there_are_returned() -> None:
    assert in_a_process("", {"LISTEN_FDS": "1"}) == [True, {"LISTEN_FDS": "1"}, True]


def test_no_sockets_are_made_up() -> None:
    assert in_a_process("import daphne_clone.cli", {}) == [True, {}, False]
