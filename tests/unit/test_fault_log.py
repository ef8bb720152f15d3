from serval.errors import PeerError
from serval.fault_log import FaultLog

BAD_SIZE = PeerError(400, "bad-chunk-size", excerpt=b"0x1f\r\n", offset=112)


def test_a_refusal_is_told_with_peer_status_reason_offset_and_escaped_excerpt() -> None:
    line = FaultLog().refused("10.0.0.1:5000", BAD_SIZE, 100.0)

    assert line == r'refused 10.0.0.1:5000: 400 bad-chunk-size at byte 112: "0x1f\x0d\x0a"'


def test_a_detail_is_told_where_it_says_more_than_the_reason() -> None:
    error = PeerError(431, "too-many-headers", "more than 100 header fields")

    line = FaultLog().refused("10.0.0.1:5000", error, 100.0)

    assert line == "refused 10.0.0.1:5000: 431 too-many-headers, more than 100 header fields"


def test_one_reason_gets_one_line_a_second_and_the_next_line_counts_what_was_hidden() -> None:
    log = FaultLog()

    lines = [log.refused("10.0.0.1:5000", BAD_SIZE, 100 + n / 10_000) for n in range(10_000)]
    shown = [line for line in lines if line]
    later = log.refused("10.0.0.1:5000", BAD_SIZE, 101.0)

    assert len(shown) == 1
    assert later is not None
    assert later.endswith(" (and 9999 more like it before)")
    assert log.counts == {"bad-chunk-size": 10_001}


def test_another_reason_has_its_own_line() -> None:
    log = FaultLog()
    log.refused("10.0.0.1:5000", BAD_SIZE, 100.0)

    assert log.refused("10.0.0.1:5000", PeerError(505, "bad-version"), 100.0)


def test_a_summary_tells_once_of_what_was_hidden_when_a_second_has_passed() -> None:
    log = FaultLog()
    for _ in range(4):
        log.refused("10.0.0.1:5000", BAD_SIZE, 100.0)

    assert list(log.summaries(100.5)) == []
    assert list(log.summaries(101.0)) == ["refused 3 more: bad-chunk-size"]
    assert list(log.summaries(102.5)) == []


def test_a_summary_counts_as_the_line_of_its_second() -> None:
    log = FaultLog()
    log.refused("10.0.0.1:5000", BAD_SIZE, 100.0)
    log.refused("10.0.0.1:5000", BAD_SIZE, 100.0)
    list(log.summaries(101.0))

    assert log.refused("10.0.0.1:5000", BAD_SIZE, 101.5) is None


def test_an_excerpt_never_exceeds_64_characters_and_never_ends_within_an_escape() -> None:
    line = FaultLog().refused("peer", PeerError(400, "junk", excerpt=b"\x00" * 64), 100.0)

    assert line == 'refused peer: 400 junk: "' + r"\x00" * 16 + '"'


def test_no_part_of_a_line_can_break_it_in_two() -> None:
    error = PeerError(400, "a\nb", "c\r\nd\x1b[2J", excerpt=b"\n")

    line = FaultLog().refused("1.2.3.4\n5", error, 100.0)

    assert line is not None
    assert line.isprintable()


def test_a_line_names_the_request_where_its_first_line_could_be_read() -> None:
    error = PeerError(413, "body-too-large")
    error.request_line = (b"POST", b'/up"load?secret', "1.1")

    line = FaultLog().refused("10.0.0.1:5000", error, 100.0)

    assert line == "refused 10.0.0.1:5000: 413 body-too-large, POST /up%22load"
