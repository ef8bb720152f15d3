"""Env files, from text."""

import pytest

from serval.env_file import parse_env
from serval.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("A=1\nB=2", {"A": "1", "B": "2"}),
        ("A=1\nA=2", {"A": "2"}),
        ("# note\n\n  # more\nA=1", {"A": "1"}),
        ("export A=1", {"A": "1"}),
        ("  A = 1  ", {"A": "1"}),
        ("A=", {"A": ""}),
        ("A=a b # note", {"A": "a b"}),
        ("A=# note", {"A": ""}),
        ("A=a#b", {"A": "a#b"}),
        ("A=x=y", {"A": "x=y"}),
        ("A='a # \\n b' # note", {"A": "a # \\n b"}),
        ('A="a # b" # note', {"A": "a # b"}),
        (r'A="a\nb\t\"c\" \\ \$D \q"', {"A": 'a\nb\t"c" \\ $D \\q'}),
        ('A="one\ntwo"\nB=3', {"A": "one\ntwo", "B": "3"}),
        ("A='one\n# two'\nB=3", {"A": "one\n# two", "B": "3"}),
        ("\ufeffA=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
    ],
)
def test_an_env_file_holds_assignments(text: str, expected: dict[str, str]) -> None:
    assert parse_env(text, "x.env") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\nB 2", "x.env:2: 'B 2' is not KEY=value"),
        ("1A=1", "x.env:1: '1A=1' is not KEY=value"),
        ("A=1\n\nB='open\nC=3", "x.env:3: a single quote has no end, or text follows it"),
        ('B="open', "x.env:1: a double quote has no end, or text follows it"),
        ('B="a" b', "x.env:1: a double quote has no end, or text follows it"),
        ("A=a\0b", "x.env:1: a value holds a NUL byte"),
    ],
)
def test_a_fault_names_file_and_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_env(text, "x.env")

    assert str(refusal.value) == message
