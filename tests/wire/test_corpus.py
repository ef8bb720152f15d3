"""Every request of the corpus, fed whole, byte by byte and at random cuts."""

import json
import random

import pytest

from serval.protocols.refusals import REFUSALS
from wire.driver import CORPUS, Case, Outcome, cases, cut, drive, refused_after

CASES = cases()
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def verdict(outcome: Outcome) -> tuple[object, ...]:
    refusal = outcome.refusal[:2] if outcome.refusal else None
    return outcome.requests, refusal, outcome.rest


def expected(case: Case) -> tuple[object, ...]:
    return case.requests, case.refusal, case.rest


@every_case
def test_fed_whole_a_case_comes_out_as_expected(case: Case) -> None:
    outcome = drive([case.data], case.limits, case.max_body_bytes)

    assert verdict(outcome) == expected(case)


@every_case
def test_taken_the_short_way_a_case_comes_out_the_same(case: Case) -> None:
    for _ in range(2):  # the second time its requests are known
        outcome = drive([case.data], case.limits, case.max_body_bytes, short_way=True)

        assert verdict(outcome) == expected(case)


@every_case
def test_fed_byte_by_byte_a_case_comes_out_the_same(case: Case) -> None:
    whole = drive([case.data], case.limits, case.max_body_bytes)

    pieces = cut(case.data, range(len(case.data)))
    outcome = drive(pieces, case.limits, case.max_body_bytes)

    assert verdict(outcome) == expected(case)
    assert outcome.refusal == whole.refusal  # at the same offset


@every_case
def test_fed_at_random_cuts_a_case_comes_out_the_same(case: Case) -> None:
    whole = drive([case.data], case.limits, case.max_body_bytes)
    chance = random.Random(case.name)  # noqa: S311 - chooses cuts, not secrets

    for _ in range(16):
        places = chance.sample(range(len(case.data)), min(len(case.data), chance.randint(1, 6)))
        outcome = drive(cut(case.data, places), case.limits, case.max_body_bytes)

        assert verdict(outcome) == expected(case), places
        assert outcome.refusal == whole.refusal, places


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.refusal], ids=lambda case: case.name
)
def test_a_refusal_waits_for_no_further_bytes_wherever_the_input_was_cut(case: Case) -> None:
    limits = case.limits, case.max_body_bytes
    known_at = refused_after(cut(case.data, range(len(case.data))), *limits)
    needed = case.data[:known_at]
    chance = random.Random(case.name)  # noqa: S311 - chooses cuts, not secrets

    for place in chance.sample(range(len(needed)), min(len(needed), 150)):
        assert refused_after(cut(needed, [place]), *limits) == known_at, place


def test_the_corpus_is_large_and_pairs_every_request_with_an_expectation() -> None:
    requests = {path.with_suffix("") for path in CORPUS.rglob("*.http")}
    expectations = {path.with_suffix("") for path in CORPUS.rglob("*.json")}

    assert requests == expectations
    assert len(requests) >= 300


def test_every_case_says_what_it_is_about() -> None:
    silent = [
        path.name
        for path in CORPUS.rglob("*.json")
        if not json.loads(path.read_text("ascii"))["about"]
    ]

    assert not silent


def test_every_reason_code_occurs_in_the_corpus() -> None:
    seen = {case.refusal[1] for case in CASES if case.refusal}

    assert set(REFUSALS) - seen == {"refused-by-h11"}  # which nothing should ever reach
