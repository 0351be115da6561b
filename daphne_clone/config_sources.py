"""Where options come from besides the command line: environment variables and the config file, and how all are merged.

The table is settings.py's; this module only fills it in. Order: what stands first in `combine` wins, option by option.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from daphne_clone.errors import ConfigurationError
from daphne_clone.options.row import ENVIRONMENT_PREFIX
from daphne_clone.settings import OPTIONS, Settings, build_settings, find_option, known_option

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG_VARIABLE = f"{ENVIRONMENT_PREFIX}CONFIG"
_PROJECT_FILE = "pyproject.toml"
_PROJECT_TABLE = "daphne-clone"


@dataclass(frozen=True, slots=True)
class Given:
    """A value somebody gave for an option.

    Attributes:
        value: The value, read and checked.
        label: The option as it was written: a flag, a variable, or a key with its file's name.
        source: Where: "command line", "environment", or the file's path.
    """

    value: object
    label: str
    source: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """The settings to run with, and for each field that somebody gave, the value that won and where it came from."""

    settings: Settings
    given: Mapping[str, Given]


def combine(*sources: Mapping[str, Given]) -> Resolved:
    """Merge values by field name; an earlier source wins over a later one.

    Raises:
        ConfigurationError: Two options do not go together.
    """
    given: dict[str, Given] = {}
    for source in reversed(sources):
        given.update(source)
    values = {name: choice.value for name, choice in given.items()}
    return Resolved(build_settings(values, {name: choice.label for name, choice in given.items()}), given)


def from_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    """Read the options' environment variables.

    An empty variable counts as unset, except where empty text is a value of the option.

    Raises:
        ConfigurationError: A variable's value is not allowed.
    """
    given: dict[str, Given] = {}
    for row in OPTIONS:
        for variable in row.environment:
            text = environ.get(variable)
            if text is not None and (text.strip() or row.kind.takes_empty):
                given[row.name] = Given(row.parse(text, variable), variable, "environment")
                break
    return with_implied(given)


def unknown_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Find variables that look like ours and name no option.

    They are no error, since one environment often serves several versions.

    Returns:
        For each, words on what was expected.
    """
    known = [variable for row in OPTIONS for variable in row.environment] + [CONFIG_VARIABLE]
    return {
        variable: known_option(variable, known)
        for variable in sorted(environ)
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in known
    }


def from_file(path: str | None, label: str = "--config", *, directory: Path | None = None) -> dict[str, Given]:
    """Read the config file.

    Args:
        path: A TOML file of options; one called pyproject.toml has them in `[tool.daphne-clone]`. None looks for that
            table in the directory's pyproject.toml, and gives nothing where it is not there.
        label: What named the path, for errors.
        directory: Where pyproject.toml is looked for; the current directory by default.

    Raises:
        ConfigurationError: The file cannot be read, is no TOML, has a key that is no option, or a value is not allowed.
    """
    if path is None:
        project = (directory or Path()) / _PROJECT_FILE
        return _read_table(_project_table(_load(project, "config file")) or {}, project) if project.is_file() else {}
    file = Path(path)
    document = _load(file, label)
    if file.name != _PROJECT_FILE:
        return _read_table(document, file)
    table = _project_table(document)
    if table is None:
        raise ConfigurationError(label, path, f"a file with a [tool.{_PROJECT_TABLE}] table")
    return _read_table(table, file)


def with_implied(given: dict[str, Given]) -> dict[str, Given]:
    """Add what the options of one source imply for others that the source leaves open."""
    for row in OPTIONS:
        if row.implies is not None and row.name in given:
            name, value = row.implies
            given.setdefault(name, Given(value, given[row.name].label, given[row.name].source))
    return given


def _load(file: Path, label: str) -> dict[str, object]:
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(label, str(file), f"a TOML file that can be read ({reason})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(label, str(file), f"valid TOML ({error})") from error


def _project_table(document: Mapping[str, object]) -> Mapping[str, object] | None:
    tool = document.get("tool")
    table = tool.get(_PROJECT_TABLE) if isinstance(tool, dict) else None
    return table if isinstance(table, dict) else None


def _read_table(table: Mapping[str, object], file: Path) -> dict[str, Given]:
    given: dict[str, Given] = {}
    for key, value in table.items():
        label = f"{key} in {file}"
        row = find_option(key)
        if row is None:
            raise ConfigurationError(label, value, known_option(key))
        if row.name in given:
            raise ConfigurationError(label, value, f"only one of this key and {given[row.name].label}")
        given[row.name] = Given(row.from_file(value, label), label, str(file))
    return with_implied(given)
