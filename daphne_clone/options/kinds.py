"""The kinds of value an option takes: how each is read from text, from TOML and from Python, and what is allowed.

They know no option by name, read no file and no environment, and raise only `Unusable`: who wrote the value, and where,
is known to the caller, who turns that into a ``ConfigurationError``. What names addresses and fields is in network.py.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from typing import Generic, TypeVar

V_co = TypeVar("V_co", covariant=True)

# No use in any option, and dangerous in those that reach a header field (RFC 9110 section 5.5); HTAB is legal there
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+")


class Unusable(Exception):
    """A value is not of the kind wanted.

    Args:
        value: The part that is wrong; for a list, the item.
        allowed: What would have been accepted, as words that follow "expected".
    """

    def __init__(self, value: object, allowed: str) -> None:
        super().__init__(value, allowed)
        self.value = value
        self.allowed = allowed


class Kind(Generic[V_co]):
    """One kind of value.

    Attributes:
        metavar: What stands for the value in the help output.
        allowed: What is accepted, as words that follow "expected".
        repeatable: Whether the option may be given several times, its values adding up.
        takes_empty: Whether the empty text is a value; where it is not, an empty environment variable counts as unset.
    """

    metavar = "TEXT"
    allowed = "text"
    repeatable = False
    takes_empty = False

    def parse(self, text: str) -> V_co:
        """Read one environment variable, whole.

        Raises:
            Unusable: The text is not of this kind.
        """
        return self.check(text)

    def parse_argument(self, text: str) -> V_co:
        """Read the text behind one flag on the command line; raises as `parse` does."""
        return self.parse(text)

    def check(self, value: object) -> V_co:
        """Take a value that came from Python, and bring it into the form that Settings holds.

        What it returns it also accepts, unchanged.

        Raises:
            Unusable: The value is not of this kind.
        """
        raise NotImplementedError

    def from_file(self, value: object) -> V_co:
        """Take a value that came from TOML; raises as `check` does."""
        return self.check(value)

    def show(self, value: object) -> str:
        """Write a value as its user would."""
        return str(value)

    def refuse(self, value: object, allowed: str | None = None) -> Unusable:
        """Make the exception for a value; `allowed` replaces the words of the kind."""
        return Unusable(value, self.allowed if allowed is None else allowed)


class Text(Kind[str]):
    """Text without control characters, optionally of one shape."""

    def __init__(
        self, metavar: str, allowed: str = "text", *, pattern: re.Pattern[str] | None = None, takes_empty: bool = False
    ) -> None:
        self.metavar = metavar
        self.allowed = allowed
        self.takes_empty = takes_empty
        self._pattern = pattern

    def check(self, value: object) -> str:
        if not isinstance(value, str) or CONTROL.search(value) or not (value or self.takes_empty):
            raise self.refuse(value)
        if value and self._pattern is not None and not self._pattern.fullmatch(value):
            raise self.refuse(value)
        return value


class Secret(Text):
    """Text that is never shown: who reads what the server prints need not know it."""

    def check(self, value: object) -> str:
        try:
            return super().check(value)
        except Unusable:
            raise self.refuse("***") from None

    def show(self, value: object) -> str:
        return "***" if value else ""


class FilePath(Kind[str]):
    """A path; it need not exist, which only its reader can say. Python callers may pass any `os.PathLike`."""

    def __init__(self, metavar: str = "PATH", allowed: str = "a path") -> None:
        self.metavar = metavar
        self.allowed = allowed

    def check(self, value: object) -> str:
        path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
        if not isinstance(path, str) or not path or "\0" in path:
            raise self.refuse(value)
        return path


class Choice(Kind[str]):
    """One of a few names, in any case; held in lower case."""

    def __init__(self, *names: str) -> None:
        self.metavar = "{" + ",".join(names) + "}"
        self.allowed = ", ".join(names[:-1]) + " or " + names[-1]
        self._names = frozenset(names)

    def check(self, value: object) -> str:
        if not isinstance(value, str) or value.lower() not in self._names:
            raise self.refuse(value)
        return value.lower()


class NumberedChoice(Choice):
    """One of a few names, or its number, from 0 on: for what other programs number."""

    def __init__(self, *names: str) -> None:
        super().__init__(*names)
        self._ordered = names

    def check(self, value: object) -> str:
        if isinstance(value, str) and value.isascii() and value.isdigit():
            number = int(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            number = value
        else:
            return super().check(value)
        if not 0 <= number < len(self._ordered):
            raise self.refuse(value)
        return self._ordered[number]


class Flag(Kind[bool]):
    """Yes or no; a pair of flags on the command line, a word in the environment."""

    metavar = ""
    allowed = "true or false"

    def parse(self, text: str) -> bool:
        word = text.strip().lower()
        if word in {"1", "true", "yes", "on"}:
            return True
        if word in {"0", "false", "no", "off"}:
            return False
        raise self.refuse(text, "true, yes, on, 1, false, no, off or 0")

    def check(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise self.refuse(value)
        return value

    def show(self, value: object) -> str:
        return "on" if value else "off"


class Integer(Kind[int]):
    """A whole number between two bounds, both included; `maximum` None is no upper bound."""

    def __init__(self, metavar: str = "N", *, minimum: int, maximum: int | None = None) -> None:
        self.metavar = metavar
        self._minimum = minimum
        self._maximum = maximum
        span = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        self.allowed = f"a whole number {span}"

    def parse(self, text: str) -> int:
        # int() alone would also take "1_000" and digits of other scripts
        if not _WHOLE_NUMBER.fullmatch(text.strip()):
            raise self.refuse(text)
        try:
            return self.check(int(text))
        except (Unusable, ValueError):  # int() refuses thousands of digits with a ValueError
            raise self.refuse(text) from None

    def check(self, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < self._minimum:
            raise self.refuse(value)
        if self._maximum is not None and value > self._maximum:
            raise self.refuse(value)
        return value


class Seconds(Kind[float]):
    """A time: finite and not negative; what 0 means is said in the option's help."""

    metavar = "SECONDS"
    allowed = "a number of seconds of at least 0"

    def parse(self, text: str) -> float:
        try:
            return self.check(float(text))
        except (Unusable, ValueError):
            raise self.refuse(text) from None

    def check(self, value: object) -> float:
        if not isinstance(value, (int, float)) or isinstance(value, bool) or value < 0:
            raise self.refuse(value)
        try:
            seconds = float(value)
        except OverflowError:
            raise self.refuse(value) from None
        if not math.isfinite(seconds):
            raise self.refuse(value)
        return seconds

    def show(self, value: object) -> str:
        return f"{value:g}" if isinstance(value, float) else str(value)


class SecondsOrNever(Seconds):
    """A time that may be without end, which is 0, or -1 as Daphne has it."""

    allowed = "a number of seconds of at least 0, or -1 for no limit"

    def check(self, value: object) -> float:
        return 0.0 if value == -1 else super().check(value)


class Permissions(Kind[int]):
    """The mode of a file, written in octal."""

    metavar = "OCTAL"
    allowed = "octal permissions from 0 to 777, such as 660"

    def parse(self, text: str) -> int:
        digits = text.strip().lower().removeprefix("0o")
        if not re.fullmatch(r"0*[0-7]{1,3}", digits):
            raise self.refuse(text)
        return int(digits, 8)

    def check(self, value: object) -> int:
        if isinstance(value, str):
            return self.parse(value)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 0o777:
            raise self.refuse(value)
        return value

    def from_file(self, value: object) -> int:
        # TOML does not say whether 400 was meant as 0o400 or is the decimal it reads as (0o620)
        if not isinstance(value, str):
            raise self.refuse(value, 'octal permissions in quotes, such as "660"')
        return self.parse(value)

    def show(self, value: object) -> str:
        return f"{value:o}" if isinstance(value, int) else str(value)


class ListOf(Kind[tuple[V_co, ...]]):
    """Values of another kind, held as a tuple.

    In TOML and Python a list, or a text that is split as in the environment.

    Args:
        item: The kind of each value.
        separator: What stands between values in an environment variable; blanks around a value and empty values are
            dropped.
        separator_words: The same for the reference page, as words that follow "separated by".
        split_arguments: Whether the command line is split in the same way; otherwise each use of the flag is one value.
    """

    repeatable = True

    def __init__(
        self, item: Kind[V_co], separator: str, separator_words: str, *, split_arguments: bool = False
    ) -> None:
        self.metavar = item.metavar
        self.allowed = item.allowed
        self.separator_words = separator_words
        self._item = item
        self._separator = re.compile(separator)
        self._split_arguments = split_arguments

    def parse(self, text: str) -> tuple[V_co, ...]:
        return tuple(self._item.parse(part.strip()) for part in self._separator.split(text) if part.strip())

    def parse_argument(self, text: str) -> tuple[V_co, ...]:
        return self.parse(text) if self._split_arguments and text.strip() else (self._item.parse(text),)

    def check(self, value: object) -> tuple[V_co, ...]:
        if isinstance(value, str):
            return self.parse(value)
        if isinstance(value, os.PathLike):
            return (self._item.check(value),)
        if not isinstance(value, Iterable) or isinstance(value, (bytes, bytearray, dict)):
            raise self.refuse(value, f"a list of: {self.allowed}")
        return tuple(self._item.check(item) for item in value)

    def show(self, value: object) -> str:
        return ", ".join(self._item.show(item) for item in value) if isinstance(value, tuple) else str(value)
