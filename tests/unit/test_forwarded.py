"""The header `Forwarded`."""

import time

import pytest

from serval.asgi.forwarded import forwarded_hops

UNREADABLE: list[dict[str, str]] = [{}]


@pytest.mark.parametrize(
    ("line", "hops"),
    [
        ("", []),
        (" , ,; , ", []),
        ("for=a", [{"for": "a"}]),
        ("for=a, for=b", [{"for": "a"}, {"for": "b"}]),
        ("for=a;by=b;proto=c;host=d", [{"for": "a", "by": "b", "proto": "c", "host": "d"}]),
        ("For=a ; PROTO=b ,\tfor=c", [{"for": "a", "proto": "b"}, {"for": "c"}]),
        (";for=a;;proto=b;", [{"for": "a", "proto": "b"}]),
        ('for="a, b; c"', [{"for": "a, b; c"}]),
        (r'for="a\"b\\c"', [{"for": 'a"b\\c'}]),
        ('for=""', [{"for": ""}]),
        ("for", UNREADABLE),
        ("for=", UNREADABLE),
        ("for =a", UNREADABLE),
        ("for= a", UNREADABLE),
        ("for=a b", UNREADABLE),
        ("for=[::1]", UNREADABLE),
        ("for=a;for=b", UNREADABLE),
        ('for="a', UNREADABLE),
        ('for="a\\', UNREADABLE),
        ('for="a"b', UNREADABLE),
        ("for=a, nonsense", UNREADABLE),
        ("för=a", UNREADABLE),
    ],
)
def test_a_line_is_read_whole_or_not_at_all(line: str, hops: list[dict[str, str]]) -> None:
    assert forwarded_hops([line.encode("latin-1")]) == hops


def test_lines_follow_each_other() -> None:
    assert forwarded_hops([b"for=a", b"??", b"for=b"]) == [{"for": "a"}, {}, {"for": "b"}]


@pytest.mark.parametrize(
    "part", ['for="', 'for="\\', " ", ";", "a=b;", "for=a,", 'for="' + "\\a" * 8 + '",']
)
def test_hostile_lines_take_time_in_proportion(part: str) -> None:
    started_at = time.process_time()

    forwarded_hops([(part * 60_000)[:65_536].encode()])

    assert time.process_time() - started_at < 0.5
