"""`python -m daphne_clone`: the same command as the console scripts."""

from __future__ import annotations

from daphne_clone.cli import CommandLineInterface

if __name__ == "__main__":
    CommandLineInterface.entrypoint()
