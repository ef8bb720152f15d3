"""Lines that arrive in pieces."""

import pytest

from serval.errors import PeerError
from serval.protocols.lines import LineFinder


def find(data: bytes, *, step: int = 1 << 20, allowed: int = 8) -> bytes | None:
    finder = LineFinder()
    found = None
    for end in [*range(0, len(data), step), len(data)]:
        found = finder.next_line(data[:end], 0, 50, allowed=allowed, reason="field-too-long")
        if found is not None:
            break
    return found


@pytest.mark.parametrize("step", [1, 2, 3, 1000])
@pytest.mark.parametrize("line", [b"", b"a", b"12345678"])
def test_a_line_ends_with_cr_lf_whatever_the_cuts(line: bytes, step: int) -> None:
    assert find(line + b"\r\nrest", step=step) == line


@pytest.mark.parametrize("data", [b"", b"abc", b"abc\r", b"12345678\r"])
def test_an_unfinished_line_is_waited_for(data: bytes) -> None:
    assert find(data, step=1) is None


@pytest.mark.parametrize("step", [1, 2, 3, 1000])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a\n", "bare-lf"),
        (b"\n", "bare-lf"),
        (b"a\rb", "bare-cr"),
        (b"a\rb\r\n", "bare-cr"),
        (b"a\r\r\n", "bare-cr"),
        (b"\rb\n", "bare-cr"),
        (b"123456789", "field-too-long"),
        (b"123456789\r\n", "field-too-long"),
        (b"123456789\n", "field-too-long"),
        (b"12345678\ra", "bare-cr"),
        (b"12345678\ra\r\n", "bare-cr"),
        (b"123456789\ra\r\n", "field-too-long"),
        (b"1234567\rabc", "bare-cr"),
    ],
)
def test_a_bad_line_is_refused_for_what_comes_first_whatever_the_cuts(
    data: bytes, reason: str, step: int
) -> None:
    with pytest.raises(PeerError) as refusal:
        find(data, step=step)

    assert (refusal.value.reason, refusal.value.offset) == (reason, 50)


@pytest.mark.parametrize("data", [b"a\rb", b"a\rb\r\n", b"a\n", b"123456789", b"123456789\r\n"])
def test_a_bad_line_is_refused_again_if_asked_again(data: bytes) -> None:
    finder = LineFinder()
    reasons = []

    for _ in range(2):
        with pytest.raises(PeerError) as refusal:
            finder.next_line(data, 0, 0, allowed=8, reason="field-too-long")
        reasons.append(refusal.value.reason)

    assert reasons[0] == reasons[1]


def test_one_line_follows_the_other() -> None:
    finder = LineFinder()
    data = b"a\r\nbc\r\n"

    first = finder.next_line(data, 0, 0, allowed=8, reason="field-too-long")
    second = finder.next_line(data, 3, 3, allowed=8, reason="field-too-long")

    assert (first, second) == (b"a", b"bc")
