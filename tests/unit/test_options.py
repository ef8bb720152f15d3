"""The option machinery, on a small class of settings of its own."""

from dataclasses import dataclass
from typing import Literal

import pytest

from serval.options import (
    Alias,
    Group,
    Kind,
    Option,
    fault,
    near,
    option,
    options_of,
    parse,
    render,
    seconds,
    size,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    name: str = option("cat", "A name.")
    count: int = option(3, "A count.", group=Group.LIMITS, at_least=1, at_most=9)
    loud: bool = option(False, "A switch.")
    color: Literal["auto", "on", "off"] = option("auto", "Colours.", as_switch=True)
    items: tuple[str, ...] = option((), "Items.", short="-i", aliases=("--things",))
    pause: float = seconds(2.0, "A pause.", zero_means="none", at_most=60)
    room: int = size(1024, "Room.", at_least=10)
    plain: int = 7


NAME, COUNT, LOUD, COLOR, ITEMS, PAUSE, ROOM = options_of(Settings)


def test_a_field_made_by_option_is_a_plain_field_with_its_default() -> None:
    assert Settings() == Settings(name="cat", count=3, loud=False, pause=2.0)


def test_options_come_in_the_order_of_the_fields_and_leave_others_out() -> None:
    names = [one.name for one in options_of(Settings)]

    assert names == ["name", "count", "loud", "color", "items", "pause", "room"]


def test_the_kind_of_an_option_follows_from_its_default_and_unit() -> None:
    kinds = [one.kind for one in options_of(Settings)]

    assert kinds == [
        Kind.TEXT,
        Kind.NUMBER,
        Kind.SWITCH,
        Kind.CHOICE,
        Kind.LIST,
        Kind.DURATION,
        Kind.SIZE,
    ]


def test_choices_are_read_off_the_type_of_the_field() -> None:
    assert COLOR.choices == ("auto", "on", "off")


def test_flag_and_variable_follow_from_the_name() -> None:
    one = Option(name="keep_alive", help="", default=1)

    assert (one.flag, one.negative_flag, one.variable) == ("--keep-alive", "", "SERVAL_KEEP_ALIVE")


def test_a_switch_has_a_negative_flag_unless_it_says_otherwise() -> None:
    assert (LOUD.negative_flag, COLOR.negative_flag) == ("--no-loud", "--no-color")
    assert Option(name="now", help="", default=False, negatable=False).negative_flag == ""


def test_an_alias_given_as_text_takes_the_same_values() -> None:
    assert ITEMS.aliases == (Alias("--things"),)
    assert ITEMS.aliases[0].spelled("7") == "7"


@pytest.mark.parametrize(
    ("alias", "raw", "spelled"),
    [
        (Alias("--uds", before="unix:"), "/x", "unix:/x"),
        (Alias("--millis", after="ms"), "500", "500ms"),
        (Alias("--millis", after="ms"), "5s", "5s"),
    ],
)
def test_an_alias_may_spell_its_value_otherwise(alias: Alias, raw: str, spelled: str) -> None:
    assert alias.spelled(raw) == spelled


@pytest.mark.parametrize(
    ("one", "raw", "expected"),
    [
        (NAME, " dog ", "dog"),
        (COUNT, "4", 4),
        (COUNT, 4, 4),
        (LOUD, "YES", True),
        (LOUD, "0", False),
        (LOUD, True, True),
        (COLOR, "ON", "on"),
        (COLOR, True, "on"),
        (COLOR, False, "off"),
        (ITEMS, "a", ("a",)),
        (ITEMS, ["a", "b"], ("a", "b")),
        (PAUSE, "500ms", 0.5),
        (PAUSE, 4, 4.0),
        (PAUSE, 0, 0.0),
        (ROOM, "1k", 1024),
        (ROOM, 4096, 4096),
    ],
)
def test_a_value_is_parsed_to_the_type_of_its_field(
    one: Option, raw: object, expected: object
) -> None:
    value = parse(one, raw)

    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("one", "raw", "message"),
    [
        (COUNT, "x", "must be a whole number, not 'x'"),
        (COUNT, "", "is empty; it must be a whole number"),
        (COUNT, True, "must be a whole number, not True"),
        (COUNT, 1.5, "must be a whole number, not 1.5"),
        (COUNT, "0", "must be at least 1, not 0"),
        (COUNT, "10", "must be at most 9, not 10"),
        (LOUD, "maybe", "must be true or false, not 'maybe'"),
        (LOUD, 1, "must be true or false, not 1"),
        (COLOR, "red", "must be one of auto, on, off, not 'red'"),
        (COLOR, 3, "must be a text, not 3"),
        (NAME, 3, "must be a text, not 3"),
        (ITEMS, [1], r"must be a list of texts, not \(1,\)"),
        (ITEMS, 1, "must be a list of texts, not 1"),
        (PAUSE, "soon", "must be a duration such as 90, 500ms, 6m or 1h30m, not 'soon'"),
        (PAUSE, True, "must be a duration .*, not True"),
        (PAUSE, "2m", "must be at most 60s, not 2m"),
        (PAUSE, -1, "must be at least 0, or 0 for none, not -1"),
        (PAUSE, float("nan"), "must be at least 0, or 0 for none, not nan"),
        (ROOM, "big", "must be a size such as 65536, 64k, 16MiB or 100MB, not 'big'"),
        (ROOM, "9", "must be at least 10, not 9"),
    ],
)
def test_a_value_that_is_not_of_its_kind_is_refused_with_what_would_be(
    one: Option, raw: object, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        parse(one, raw)


@pytest.mark.parametrize("one", options_of(Settings))
def test_the_default_is_no_fault(one: Option) -> None:
    assert fault(one, one.default) == ""


@pytest.mark.parametrize(
    ("one", "value", "shown"),
    [
        (LOUD, True, "true"),
        (LOUD, False, "false"),
        (COUNT, 3, "3"),
        (PAUSE, 600.0, "10m"),
        (PAUSE, 0.0, "0"),
        (ROOM, 1024 * 1024, "1MiB"),
        (ROOM, 0, "0"),
        (ITEMS, ("a", "b"), "a, b"),
        (NAME, "cat", "cat"),
    ],
)
def test_a_value_is_shown_as_a_person_would_write_it(
    one: Option, value: object, shown: str
) -> None:
    assert render(one, value) == shown


def test_names_that_look_alike_are_suggested_by_their_canonical_name() -> None:
    hint = near("keepalive", {"keep_alive": "timeout_keep_alive", "port": "port"})

    assert hint == "; did you mean timeout_keep_alive"


def test_names_without_a_canonical_one_are_suggested_as_they_are() -> None:
    assert near("prot", ["port", "host"]) == "; did you mean port"


def test_where_nothing_looks_alike_nothing_is_suggested() -> None:
    assert near("zebra", {"port": "port"}) == ""
