"""The kinds of value: what each reads from text, from TOML and from Python, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from daphne_clone.options.kinds import (
    Choice,
    FilePath,
    Flag,
    Integer,
    Kind,
    ListOf,
    NumberedChoice,
    Permissions,
    Seconds,
    SecondsOrNever,
    Secret,
    Text,
    Unusable,
)

PORT = Integer("PORT", minimum=0, maximum=65535)
NAMES = ListOf(Choice("one", "two"), r"[,\s]+", "commas or blanks")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (PORT, "0", 0),
        (PORT, "65535", 65535),
        (PORT, " 80 ", 80),
        (Integer(minimum=1), "9" * 30, int("9" * 30)),
        (Seconds(), "0", 0.0),
        (Seconds(), "2.5", 2.5),
        (Seconds(), "1e3", 1000.0),
        (SecondsOrNever(), "2.5", 2.5),
        (SecondsOrNever(), "0", 0.0),
        (SecondsOrNever(), "-1", 0.0),
        (SecondsOrNever(), "-1.0", 0.0),
        (Permissions(), "660", 0o660),
        (Permissions(), "0660", 0o660),
        (Permissions(), "0o600", 0o600),
        (Permissions(), "0", 0),
        (Flag(), "Yes", True),
        (Flag(), "0", False),
        (Choice("debug", "info"), "DEBUG", "debug"),
        (NumberedChoice("no", "maybe", "yes"), "Maybe", "maybe"),
        (NumberedChoice("no", "maybe", "yes"), "2", "yes"),
        (Secret("PASSWORD"), "a b", "a b"),
        (Text("NAME", takes_empty=True), "", ""),
        (FilePath(), "a b", "a b"),
        (NAMES, "one, two one", ("one", "two", "one")),
        (NAMES, ",one,", ("one",)),
    ],
)
def test_text_is_read(kind: Kind[object], text: str, value: object) -> None:
    read = kind.parse(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (PORT, "-1"),
        (PORT, "65536"),
        (PORT, "80x"),
        (PORT, ""),
        (PORT, "8_0"),
        (PORT, "٨"),  # int() would take the digit of another script
        (PORT, "8.0"),
        (PORT, "9" * 5000),
        (Seconds(), "-0.1"),
        (Seconds(), "nan"),
        (Seconds(), "inf"),
        (Seconds(), "soon"),
        (SecondsOrNever(), "-2"),
        (SecondsOrNever(), "-0.5"),
        (SecondsOrNever(), "-inf"),
        (SecondsOrNever(), "never"),
        (SecondsOrNever(), ""),
        (Permissions(), "888"),
        (Permissions(), "1000"),
        (Permissions(), "-1"),
        (Permissions(), "rw-"),
        (Flag(), "maybe"),
        (Choice("debug", "info"), "loud"),
        (Text("NAME"), ""),
        (Text("NAME"), "a\r\nb"),
        (FilePath(), ""),
        (FilePath(), "a\0b"),
        (NAMES, "one, three"),
    ],
)
def test_text_of_another_kind_is_refused(kind: Kind[object], text: str) -> None:
    with pytest.raises(Unusable):
        kind.parse(text)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (PORT, True),
        (PORT, "80"),
        (PORT, 80.0),
        (Seconds(), True),
        (Seconds(), "5"),
        (Seconds(), float("nan")),
        (Seconds(), 10**400),
        (Seconds(), -1),
        (SecondsOrNever(), -2),
        (SecondsOrNever(), "-1"),
        (SecondsOrNever(), None),
        (SecondsOrNever(), True),
        (Permissions(), 0o1000),
        (Permissions(), True),
        (Flag(), 1),
        (Flag(), "yes"),
        (Choice("debug", "info"), 1),
        (Text("NAME"), None),
        (FilePath(), b"path"),
        (NAMES, b"one"),
        (NAMES, {"one": 1}),
        (NAMES, ["one", 2]),
        (NAMES, 5),
    ],
)
def test_values_of_another_type_are_refused(kind: Kind[object], value: object) -> None:
    with pytest.raises(Unusable):
        kind.check(value)


@pytest.mark.parametrize(
    ("kind", "value", "held"),
    [
        (Seconds(), 5, 5.0),
        (SecondsOrNever(), 5, 5.0),
        (SecondsOrNever(), -1, 0.0),
        (SecondsOrNever(), -1.0, 0.0),
        (Permissions(), 0o660, 0o660),
        (Permissions(), "660", 0o660),
        (FilePath(), Path("a") / "b", "a/b"),
        (NAMES, ["one", "TWO"], ("one", "two")),
        (NAMES, "one two", ("one", "two")),
        (NAMES, iter(["one"]), ("one",)),
        (NAMES, [], ()),
    ],
)
def test_values_from_python_are_held_in_one_form(kind: Kind[object], value: object, held: object) -> None:
    checked = kind.check(value)
    assert checked == held
    assert type(checked) is type(held)
    assert kind.check(checked) == held


def test_a_list_names_the_item_that_is_wrong() -> None:
    with pytest.raises(Unusable) as caught:
        NAMES.parse("one three")
    assert caught.value.value == "three"
    assert caught.value.allowed == "one or two"


def test_an_argument_is_one_value_of_a_list_unless_the_list_splits_arguments() -> None:
    words = Text("WORD")
    assert ListOf(words, r"\s+", "blanks").parse_argument("a b") == ("a b",)
    assert ListOf(words, r"\s+", "blanks", split_arguments=True).parse_argument("a b") == ("a", "b")


@pytest.mark.parametrize("split", [False, True])
def test_an_empty_argument_is_no_value_of_a_list(split: bool) -> None:
    with pytest.raises(Unusable):
        ListOf(Text("WORD"), r"\s+", "blanks", split_arguments=split).parse_argument("")


def test_permissions_in_a_file_are_text_since_toml_hides_how_a_number_was_written() -> None:
    assert Permissions().from_file("400") == 0o400
    with pytest.raises(Unusable, match="quotes"):
        Permissions().from_file(400)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (PORT, "80"),
        (Seconds(), "2.5"),
        (Seconds(), "75"),
        (SecondsOrNever(), "0"),
        (Permissions(), "660"),
        (NAMES, "one, two"),
        (Flag(), "on"),
    ],
)
def test_a_value_is_shown_as_it_would_be_written(kind: Kind[object], text: str) -> None:
    assert kind.show(kind.parse(text)) == text


def test_a_number_stands_for_its_choice_and_true_for_none() -> None:
    kind = NumberedChoice("no", "maybe", "yes")
    assert [kind.check(number) for number in range(3)] == ["no", "maybe", "yes"]
    for value in (3, -1, True, "3", "-1", 1.0, None):
        with pytest.raises(Unusable, match="no, maybe or yes"):
            kind.check(value)


def test_a_secret_is_not_shown_not_even_when_it_is_refused() -> None:
    kind = Secret("PASSWORD", "text without control characters")
    assert kind.show("open sesame") == "***"
    assert kind.show("") == ""
    for value in ("open\nsesame", b"open sesame"):
        with pytest.raises(Unusable) as raised:
            kind.check(value)
        assert "sesame" not in str(raised.value)


def test_one_path_is_a_list_of_one() -> None:
    kind = ListOf(FilePath(), ",", "commas")
    assert kind.check(Path("a b")) == ("a b",)
    assert kind.check([Path("a"), "b"]) == ("a", "b")
