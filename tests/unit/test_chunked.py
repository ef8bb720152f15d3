"""The strict framing of chunked bodies."""

import pytest

from serval.errors import PeerError
from serval.protocols.chunked import EXTENSION_BYTES, ChunkScanner, Part
from serval.protocols.sections import Budget, HeadLimits


def scan(data: bytes, *, step: int = 1 << 20, limit: int = 0) -> tuple[ChunkScanner, int]:
    """Walk as far as the data goes; the scanner, and how many bytes it passed."""
    scanner = ChunkScanner(Budget(HeadLimits()), limit)
    place = 0
    for end in [*range(step, len(data), step), len(data)]:
        while (after := scanner.advance(data[:end], place, place)) > place:
            place = after
    return scanner, place


@pytest.mark.parametrize("step", [1, 2, 3, 1000])
@pytest.mark.parametrize(
    "body",
    [
        b"0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"5;a\r\nhello\r\n0;b=c\r\n\r\n",
        b'5;a="b\\"";c\r\nhello\r\n00\r\n\r\n',
        b"5;a = b\t;c\r\nhello\r\n0\r\n\r\n",
        b"0000000000000005\r\nhello\r\n0\r\nX: a\r\n\r\n",
    ],
)
def test_a_good_body_is_passed_to_its_end_and_no_further(body: bytes, step: int) -> None:
    scanner, place = scan(body + b"rest", step=step)

    assert (scanner.part, place) == (Part.DONE, len(body))
    assert scanner.passed_bytes == (5 if b"hello" in body else 0)


@pytest.mark.parametrize(
    "size",
    [b"", b"g", b"0x5", b"+5", b"5_", b" 5", b"5 ", b"5\t", b"0" * 17, b"5 ;a", b"5,"],
)
def test_a_bad_size_is_refused(size: bytes) -> None:
    with pytest.raises(PeerError) as refusal:
        scan(size + b"\r\nhello\r\n")

    assert (refusal.value.reason, refusal.value.offset) == ("bad-chunk-size", 0)


@pytest.mark.parametrize(
    "extension", [b";", b";=a", b";a=", b";;a", b";a\0", b";\xe9", b';a="b', b';a="b"c', b"; a b"]
)
def test_a_bad_extension_is_refused(extension: bytes) -> None:
    with pytest.raises(PeerError) as refusal:
        scan(b"5" + extension + b"\r\nhello\r\n")

    assert refusal.value.reason == "bad-chunk-extension"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"5\n", "bare-lf"),
        (b"5;a\nb", "bare-lf"),
        (b"5\rX", "bare-cr"),
        (b"5;a\rb\r\n", "bare-cr"),
        (b"5\r\r\n", "bare-cr"),
        (b"5;" + b"a" * EXTENSION_BYTES + b"a" * 20, "chunk-extensions-too-long"),
        (b"5;" + b"a" * EXTENSION_BYTES + b"a" * 20 + b"\r\n", "chunk-extensions-too-long"),
    ],
)
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_a_bad_size_line_is_refused_the_same_way_whole_and_in_pieces(
    line: bytes, reason: str, step: int
) -> None:
    if len(line) > 1000 and step == 1:
        step = 1000

    with pytest.raises(PeerError) as refusal:
        scan(line, step=step)

    assert (refusal.value.reason, refusal.value.offset) == (reason, 0)


def test_the_extensions_of_all_chunks_share_one_limit() -> None:
    chunk = b"1;" + b"a" * 8000 + b"\r\nx\r\n"

    with pytest.raises(PeerError) as refusal:
        scan(chunk * 3)

    assert (refusal.value.reason, refusal.value.offset) == (
        "chunk-extensions-too-long",
        2 * len(chunk),
    )


@pytest.mark.parametrize("end", [b"XX", b"\rX", b"\n\n", b"X"])
def test_data_not_followed_by_cr_lf_is_refused(end: bytes) -> None:
    with pytest.raises(PeerError) as refusal:
        scan(b"1\r\nx" + end, step=1)

    assert (refusal.value.reason, refusal.value.offset) == ("bad-chunk-end", 4)


def test_a_body_is_cut_at_the_first_byte_over_its_limit() -> None:
    scanner, place = scan(b"5\r\nhello\r\n5\r\nwor", limit=8)

    with pytest.raises(PeerError) as refusal:
        scanner.advance(b"l", 0, place)

    assert (scanner.passed_bytes, place) == (8, 16)
    assert (refusal.value.status, refusal.value.reason, refusal.value.offset) == (
        413,
        "body-too-large",
        16,
    )


def test_a_chunk_is_passed_up_to_the_limit_before_it_is_cut() -> None:
    scanner = ChunkScanner(Budget(HeadLimits()), 4)
    data = b"a\r\n0123456789"
    start = scanner.advance(data, 0, 0)

    assert scanner.advance(data, start, start) == start + 4
    with pytest.raises(PeerError, match="limit"):
        scanner.advance(data, start + 4, start + 4)


def test_a_body_of_just_its_limit_passes() -> None:
    scanner, _ = scan(b"8\r\n12345678\r\n0\r\n\r\n", limit=8)

    assert scanner.part is Part.DONE


def test_a_scanner_that_is_done_passes_nothing_more() -> None:
    scanner, place = scan(b"0\r\n\r\n")

    assert scanner.advance(b"0\r\n\r\nGET", place, place) == place


def test_a_refused_part_is_refused_again() -> None:
    scanner = ChunkScanner(Budget(HeadLimits()), 0)

    for _ in range(2):
        with pytest.raises(PeerError, match="hexadecimal"):
            scanner.advance(b"zz\r\n", 0, 0)
