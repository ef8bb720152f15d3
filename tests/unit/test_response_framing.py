import pytest

from serval.protocols.response import response_head
from serval.protocols.response_framing import Framing, frame

LENGTH = [(b"content-length", b"5")]
MORE = -1


def test_an_announced_length_frames_the_body() -> None:
    framing, left_bytes, start = frame(response_head(200, LENGTH), 200, b"GET", "1.1", MORE)

    assert (framing, left_bytes) == (Framing.LENGTH, 5)
    assert start == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("size", [0, 7])
def test_the_length_of_a_whole_body_is_announced(size: int, version: str) -> None:
    framing, left_bytes, start = frame(response_head(200, []), 200, b"GET", version, size)

    assert (framing, left_bytes) == (Framing.LENGTH, size)
    assert start == b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n" % size


@pytest.mark.parametrize(
    ("version", "framing", "line"),
    [("1.1", Framing.CHUNKED, b"transfer-encoding: chunked\r\n"), ("1.0", Framing.CLOSE, b"")],
)
def test_a_body_of_unknown_length_is_chunked_or_ends_with_the_connection(
    version: str, framing: Framing, line: bytes
) -> None:
    found = frame(response_head(200, []), 200, b"GET", version, MORE)

    assert found == (framing, 0, b"HTTP/1.1 200 OK\r\n" + line)


def test_an_answer_to_head_keeps_the_length_of_get() -> None:
    head = response_head(200, LENGTH)

    assert frame(head, 200, b"HEAD", "1.1", 5) == (Framing.NONE, 0, head.start)


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_only_a_304_keeps_a_length_for_no_body(method: bytes) -> None:
    kept = response_head(304, LENGTH)
    dropped = response_head(204, LENGTH)

    assert frame(kept, 304, method, "1.1", 5) == (Framing.NONE, 0, kept.start)
    assert frame(dropped, 204, method, "1.1", 5) == (
        Framing.NONE,
        0,
        b"HTTP/1.1 204 No Content\r\n",
    )
