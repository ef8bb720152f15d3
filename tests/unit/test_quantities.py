"""Durations and sizes as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serval.quantities import parse_duration, parse_size, render_duration, render_size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("500ms", 0.5),
        ("6m", 360.0),
        ("1h30m", 5400.0),
        ("1d", 86400.0),
        ("2.5s", 2.5),
        (" 10S ", 10.0),
    ],
)
def test_a_duration_is_a_number_of_seconds_or_numbers_with_units(
    text: str, expected: float
) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "-5", "5 apples", "1h 30m", "m", "inf", "nan", "1e3", "٣"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("65536", 65536),
        ("64k", 65536),
        ("16MiB", 16 * 1024 * 1024),
        ("100MB", 100_000_000),
        ("1.5KiB", 1536),
        ("2 G", 2 * 1024**3),
        ("7b", 7),
    ],
)
def test_a_size_is_a_number_of_bytes_or_has_a_unit(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "10X", "k", "1_000", "inf", "٣"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


def test_a_part_of_a_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="whole number"):
        parse_size("1.0001k")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(75, "75s"), (600, "10m"), (0.5, "500ms"), (60, "60s"), (7200, "2h"), (1.5, "1.5s")],
)
def test_a_duration_is_shown_as_a_person_would_write_it(seconds: float, expected: str) -> None:
    assert render_duration(seconds) == expected


@given(st.integers(0, 10**9))
def test_a_duration_that_was_shown_reads_back_as_it_was(milliseconds: int) -> None:
    shown = render_duration(milliseconds / 1000)

    assert parse_duration(shown) == pytest.approx(milliseconds / 1000, rel=1e-5)


@given(st.integers(0, 2**50))
def test_a_size_that_was_shown_reads_back_as_it_was(size_bytes: int) -> None:
    assert parse_size(render_size(size_bytes)) == size_bytes
