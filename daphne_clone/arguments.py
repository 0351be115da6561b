"""The command line, made from the table of options: an argparse parser, and what it found as `Given` values.

It parses and prints help; it runs nothing and exits only where argparse itself does.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from typing import TYPE_CHECKING

from daphne_clone import __version__
from daphne_clone.config_sources import CONFIG_VARIABLE, Given, Resolved, combine, from_environment, from_file
from daphne_clone.settings import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daphne_clone.options.row import Option

_SOURCE = "command line"


class _Take(argparse.Action):
    """Stores what was given for one option, and notes the spelling it was given by.

    The value is read here rather than by argparse's `type`, whose errors say neither the value nor what is allowed.
    """

    def __init__(self, option_strings: Sequence[str], dest: str, *, row: Option, nargs: int | str | None, help: str):  # noqa: A002 - argparse's name
        metavar = row.kind.metavar or None
        super().__init__(option_strings, dest, nargs=nargs, default=row.default, metavar=metavar, help=help)
        self.row = row

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        if option_string is None and values == self.default:
            return  # argparse reports an absent positional argument as its default
        row, label, given = self.row, option_string or self.dest, _given(namespace)
        value: object
        if option_string is not None and option_string in row.constants:
            value = row.constants[option_string]
        else:
            text = values if isinstance(values, str) else row.bare
            assert isinstance(text, str), "argparse lets a flag without a value through only where the row has `bare`"
            value = row.parse_argument(text, label)
            earlier = given.get(row.name)
            if row.kind.repeatable and earlier is not None:
                assert isinstance(value, tuple), "a repeatable kind reads an argument as a tuple"
                assert isinstance(earlier.value, tuple), "a repeatable option holds a tuple"
                value = (*earlier.value, *value)
        given[row.name] = Given(value, label, _SOURCE)
        setattr(namespace, self.dest, value)
        if row.implies is not None:
            # Set rather than filled in at the end: of --no-access-log and --access-log the later one wins
            name, implied = row.implies
            given[name] = Given(implied, label, _SOURCE)
            setattr(namespace, name, implied)


def build_parser(description: str) -> argparse.ArgumentParser:
    """Make the parser; arguments may be added to it before it is used.

    Args:
        description: What stands above the options in the help output.
    """
    parser = argparse.ArgumentParser(
        prog=_program_name(),
        usage="%(prog)s [options] module:attribute",
        description=description,
        epilog="Each option is also an environment variable, DAPHNE_CLONE_ and its name, and a key in the config file. "
        "The command line wins over the environment, the environment over the file.",
        allow_abbrev=False,
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for row in OPTIONS:
        group = groups.get(row.group) or groups.setdefault(row.group, parser.add_argument_group(row.group))
        _add_row(group, row)
    group = parser.add_argument_group("Configuration")
    group.add_argument(
        "-c", "--config", metavar="PATH",
        help="TOML file of options (default: [tool.daphne-clone] in ./pyproject.toml)",
    )  # fmt: skip
    group.add_argument(
        "--check-config", action="store_true",
        help="validate the options, import the application, print what would run, and exit (default: off)",
    )  # fmt: skip
    version = f"daphne-clone {__version__} ({platform.python_implementation()} {platform.python_version()})"
    group.add_argument("--version", action="version", version=version, help="print the version and exit")
    return parser


def resolve(namespace: argparse.Namespace, environ: Mapping[str, str]) -> Resolved:
    """Merge what the parser found with the environment and the config file.

    Args:
        namespace: What the parser of `build_parser` returned.
        environ: The environment variables.

    Raises:
        ConfigurationError: A value in the environment or the file is not allowed, or two options do not go together.
    """
    path: str | None = namespace.config
    label = "--config"
    if path is None:
        path, label = environ.get(CONFIG_VARIABLE) or None, CONFIG_VARIABLE
    return combine(_given(namespace), from_environment(environ), from_file(path, label))


def _given(namespace: argparse.Namespace) -> dict[str, Given]:
    given: dict[str, Given] = namespace.__dict__.setdefault("_given", {})
    return given


def _add_row(group: argparse._ArgumentGroup, row: Option) -> None:
    notes = [row.unit] if row.unit else []
    notes.append(row.default_words if row.default_words == "required" else f"default: {row.default_words}")
    text = f"{row.help} ({'; '.join(notes)})".replace("%", "%%")
    if row.flags:
        nargs = None if row.bare is None else "?"
        group.add_argument(*row.flags, action=_Take, dest=row.name, row=row, nargs=nargs, help=text)
        if row.constants:
            text = f"the same as an empty {row.flags[-1]} (default: off)"
    elif not row.constants:
        group.add_argument(row.name, action=_Take, row=row, nargs="?", help=text)
    if row.constants:
        group.add_argument(*row.constants, action=_Take, dest=row.name, row=row, nargs=0, help=text)


def _program_name() -> str:
    name = os.path.basename(sys.argv[0])
    return "python -m daphne_clone" if name == "__main__.py" else name
