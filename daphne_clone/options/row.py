"""One row of the table of options: what is known of an option, and how a value for it is read and checked.

The rows themselves are in settings.py; this module knows none of them by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar, cast

from daphne_clone.errors import ConfigurationError
from daphne_clone.options.kinds import Flag, Kind, Unusable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

V = TypeVar("V")
D = TypeVar("D")

ENVIRONMENT_PREFIX = "DAPHNE_CLONE_"


@dataclass(frozen=True, slots=True)
class Option:
    """One row of the table; `option` makes it, and explains what the attributes hold."""

    name: str
    kind: Kind[object]
    default: object
    flags: tuple[str, ...]
    group: str
    help: str
    unit: str
    unset: str
    constants: Mapping[str, object]
    bare: object
    implies: tuple[str, object] | None
    variables: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """Its names in a config file and as keywords, with underscores: its own, then its long flags."""
        spellings = (*self.flags, *(flag for flag, value in self.constants.items() if value is True))
        long_flags = (flag[2:].replace("-", "_") for flag in spellings if flag.startswith("--"))
        return tuple(dict.fromkeys((self.name, *long_flags)))

    @property
    def environment(self) -> tuple[str, ...]:
        """Its environment variables, the one that wins first."""
        return (ENVIRONMENT_PREFIX + self.name.upper(), *self.variables)

    @property
    def default_words(self) -> str:
        """The default as it is told to users."""
        return self.unset or self.kind.show(self.default)

    def parse(self, text: str, label: str) -> object:
        """Read an environment variable.

        Args:
            text: The variable's value.
            label: What an error names: the option as its user wrote it.

        Raises:
            ConfigurationError: The text is not allowed.
        """
        return _read(self.kind.parse, text, label)

    def parse_argument(self, text: str, label: str) -> object:
        """Read one argument of the command line; a repeatable option gives a tuple. Raises as `parse` does."""
        return _read(self.kind.parse_argument, text, label)

    def from_file(self, value: object, label: str) -> object:
        """Take a value of the config file. Raises as `parse` does."""
        return _read(self.kind.from_file, value, label)

    def check(self, value: object, label: str) -> object:
        """Take a value from Python. Raises as `parse` does."""
        if value in (None, "") and value == self.default:
            # "Not said" is a value only of the options whose default it is
            return value
        return _read(self.kind.check, value, label)


def option(
    kind: Kind[V],
    default: D,
    *flags: str,
    group: str,
    help: str,  # noqa: A002 - argparse's word for it
    unit: str = "",
    unset: str = "",
    constants: Mapping[str, object] | None = None,
    bare: object = None,
    implies: tuple[str, object] | None = None,
    variables: tuple[str, ...] = (),
) -> V | D:
    """State one option, in place of the default of its field; the row is then in the field's metadata as "option".

    Args:
        kind: How its values are read, and what is allowed.
        default: What holds when nobody says anything.
        flags: Its spellings on the command line that take a value; none for the positional argument and for flags that
            take no value. A kind of `Flag` gives `--name`, to which `--no-name` is added.
        group: The heading it stands under.
        help: What it is for, without unit and default.
        unit: The unit of its number.
        unset: What the default means where its value alone does not say so.
        constants: Spellings that take no value, with the value they stand for.
        bare: What a spelling of `flags` means when no value follows; None makes the value mandatory.
        implies: Another option, by name, and the value it gets from the same source unless that source gives it one.
        variables: Environment variables beside its own, looked at after it.
    """
    if isinstance(kind, Flag):
        # A dict, so that the order of the help output is the order written
        constants = {**dict.fromkeys(flags, True), **{f"--no-{flag[2:]}": False for flag in flags}, **(constants or {})}
        flags = ()
    row = Option("", kind, default, flags, group, help, unit, unset, constants or {}, bare, implies, variables)
    # What mypy sees is the value the field has; dataclass() turns the one into the other
    return cast("V | D", field(default=default, metadata={"option": row}))


def _read(reader: Callable[[V], object], value: V, label: str) -> object:
    try:
        return reader(value)
    except Unusable as error:
        raise ConfigurationError(label, error.value, error.allowed) from None
