"""Settings in words."""

import pytest

from serval.option_text import default_shown, told, usage
from serval.options import Option, Unit

PORT = Option(name="port", default=8000, help="A port.", fallback_variable="PORT")
LOUD = Option(name="loud", default=False, help="A switch.")
COLOR = Option(name="color", default="auto", help="Colours.", choices=("auto", "on"), short="-k")
PAUSE = Option(name="a_pause", default=0.0, help="A pause.", unit=Unit.SECONDS, zero_means="none")
NAME = Option(name="name", default="", help="A name.", positional=True, placeholder="NAME")


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (PORT, "--port N"),
        (LOUD, "--[no-]loud"),
        (COLOR, "-k, --color auto|on"),
        (PAUSE, "--a-pause TIME"),
        (NAME, "NAME"),
    ],
)
def test_usage_shows_the_flags_and_what_stands_for_the_value(one: Option, expected: str) -> None:
    assert usage(one) == expected


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (PORT, "A port. [SERVAL_PORT=8000 or PORT]"),
        (LOUD, "A switch. [SERVAL_LOUD=false]"),
        (PAUSE, "A pause. [SERVAL_A_PAUSE=0; 0: none]"),
        (NAME, "A name. [SERVAL_NAME]"),
    ],
)
def test_help_ends_with_variable_and_default(one: Option, expected: str) -> None:
    assert told(one) == expected


def test_an_empty_text_is_no_default_to_speak_of() -> None:
    assert (default_shown(NAME), default_shown(LOUD)) == ("", "false")
