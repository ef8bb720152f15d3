"""Every known weakness and every rule of the parser has its tests, by name: see audit.py."""

import ast
from pathlib import Path

import pytest

from wire.audit import NOT_OURS, RULES, WEAKNESSES
from wire.driver import CORPUS

TESTS = Path(__file__).resolve().parent.parent
CASES = {path.relative_to(CORPUS).with_suffix("").as_posix() for path in CORPUS.rglob("*.json")}


def is_there(place: str) -> bool:
    """Whether a place is a case of the corpus, or a test that is defined in its file."""
    file, _, name = place.partition("::")
    if not name:
        return place in CASES
    tree = ast.parse((TESTS / file).read_text())
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body)


@pytest.mark.parametrize("name", [*WEAKNESSES, *RULES])
def test_a_weakness_or_a_rule_is_tested_where_the_table_says(name: str) -> None:
    places = (WEAKNESSES | RULES)[name]

    assert places
    assert [place for place in places if not is_there(place)] == []


def test_every_case_with_the_name_of_a_weakness_is_in_the_table() -> None:
    named = {place for places in WEAKNESSES.values() for place in places}

    assert {case for case in CASES if case.startswith("vulnerabilities/")} <= named


def test_what_is_not_ours_has_its_reason_and_no_test() -> None:
    assert all(NOT_OURS.values())
    assert not NOT_OURS.keys() & WEAKNESSES.keys()
