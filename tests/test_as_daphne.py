"""daphne_clone.as_daphne: what it stands for cannot be taken back, so each test has a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def in_new_process(directory: Path, script: str) -> str:
    """Run a script with warnings as errors, from a directory that comes before all others; return what it prints."""
    (directory / "script.py").write_text(textwrap.dedent(script))
    done = subprocess.run(
        [sys.executable, "-W", "error", directory / "script.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_modules_of_daphnes_name_are_the_very_modules_of_ours(tmp_path: Path) -> None:
    """Of two copies of the server's module each would want a reactor of its own."""
    in_new_process(
        tmp_path,
        """
        import daphne_clone.as_daphne
        import daphne.server, daphne.testing
        from daphne import __version__
        from daphne.http_protocol import WebRequest
        from daphne.management.commands import __path__ as commands
        import daphne_clone.cli, daphne_clone.http_protocol, daphne_clone.server, daphne_clone.testing
        assert daphne is daphne_clone
        assert daphne.server is daphne_clone.server and daphne.testing is daphne_clone.testing
        assert WebRequest is daphne_clone.http_protocol.WebRequest
        from daphne.cli import CommandLineInterface  # whose module was imported before, under our name
        assert CommandLineInterface is daphne_clone.cli.CommandLineInterface
        # None of them was told that it is called otherwise.
        for module in (daphne_clone, daphne_clone.server, daphne_clone.testing):
            assert module.__name__ == module.__spec__.name
            assert module.__name__.startswith("daphne_clone")
        """,
    )


def test_module_that_we_have_not_is_missed_under_the_name_asked_for(tmp_path: Path) -> None:
    printed = in_new_process(
        tmp_path,
        """
        import daphne_clone.as_daphne
        try:
            import daphne.twisted
        except ModuleNotFoundError as error:
            print(error.name)
        """,
    )
    assert printed == "daphne.twisted\n"


def test_import_of_the_module_loads_nothing_but_the_package(tmp_path: Path) -> None:
    printed = in_new_process(
        tmp_path,
        """
        import sys
        import daphne_clone.as_daphne
        print(*sorted(name for name in sys.modules if name.startswith(("daphne", "twisted"))))
        """,
    )
    assert printed.split() == ["daphne", "daphne_clone", "daphne_clone.as_daphne"]


def test_it_stands_before_a_daphne_that_is_installed(tmp_path: Path) -> None:
    (tmp_path / "daphne").mkdir()
    (tmp_path / "daphne" / "__init__.py").write_text("raise AssertionError('this one')")
    in_new_process(
        tmp_path,
        """
        import daphne_clone.as_daphne
        import daphne.utils
        """,
    )


def test_it_refuses_to_replace_one_that_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "daphne.py").write_text("")
    printed = in_new_process(
        tmp_path,
        """
        import daphne
        try:
            import daphne_clone.as_daphne
        except ImportError as error:
            print(error)
        import sys
        assert sys.modules["daphne"] is daphne
        """,
    )
    assert printed == "daphne is imported already: import daphne_clone.as_daphne before it\n"
