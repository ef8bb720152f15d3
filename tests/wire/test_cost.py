"""What hostile input costs: in proportion to its length, however it is cut.

Ratios of CPU time rather than times, which depend on the machine; the least of a few runs each.
"""

import time
from collections.abc import Callable, Iterable

import pytest

from serval.errors import PeerError
from serval.protocols.http1 import H1Protocol, HeadLimits

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def feed(protocol: H1Protocol, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        protocol.receive_data(piece)
        while protocol.next_event() is not None:
            pass


def single_bytes(data: bytes) -> Iterable[bytes]:
    return (data[place : place + 1] for place in range(len(data)))


def least_cpu_seconds(work: Callable[[], None], rounds: int = 3) -> float:
    taken = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return min(taken)


def growth(work: Callable[[int], None], small: int, factor: int) -> float:
    """How many times as much the work costs if it is `factor` times as large."""
    work(small)
    return least_cpu_seconds(lambda: work(small * factor)) / least_cpu_seconds(lambda: work(small))


def head_in_single_bytes(size: int) -> None:
    limits = HeadLimits(field_bytes=2 * size, block_bytes=2 * size)
    feed(H1Protocol(limits), single_bytes(HEAD + b"X: " + b"a" * size))


def many_short_fields_in_single_bytes(size: int) -> None:
    limits = HeadLimits(block_bytes=2 * size, count=size)
    feed(H1Protocol(limits), single_bytes(HEAD + b"X: a\r\n" * (size // 6)))


def tiny_chunks_at_once(count: int) -> None:
    feed(H1Protocol(), [CHUNKED + b"1\r\nx\r\n" * count + b"0\r\n\r\n"])


def tiny_chunks_in_single_bytes(count: int) -> None:
    feed(H1Protocol(), single_bytes(CHUNKED + b"1\r\nx\r\n" * count + b"0\r\n\r\n"))


def long_chunk_extension_in_single_bytes(size: int) -> None:
    feed(H1Protocol(), single_bytes(CHUNKED + b"1;" + b"a" * size))


def body_in_single_bytes(size: int) -> None:
    head = HEAD + b"Content-Length: %d\r\n\r\n" % size
    feed(H1Protocol(), [head, *single_bytes(b"x" * size)])


def body_received_before_it_is_read(size: int) -> None:
    protocol = H1Protocol()
    protocol.receive_data(HEAD + b"Content-Length: %d\r\n\r\n" % size)
    for piece in single_bytes(b"x" * size):
        protocol.receive_data(piece)
    feed(protocol, [])


def pipelined_requests_at_once(count: int) -> None:
    protocol = H1Protocol()
    protocol.receive_data((HEAD + b"\r\n") * count)
    for _ in range(count):
        protocol.next_event()
        protocol.start_next_cycle()


def trailers_in_single_bytes(size: int) -> None:
    limits = HeadLimits(field_bytes=2 * size, block_bytes=2 * size)
    feed(H1Protocol(limits), single_bytes(CHUNKED + b"0\r\nX: " + b"a" * size))


def hostile_extension(size: int) -> None:
    with pytest.raises(PeerError):
        feed(H1Protocol(), [CHUNKED + b"1" + b';a="' * (size // 4 | 1) + b"\r\n"])


@pytest.mark.alone
@pytest.mark.parametrize(
    ("work", "small"),
    [
        (head_in_single_bytes, 5_000),
        (many_short_fields_in_single_bytes, 5_000),
        (tiny_chunks_at_once, 1_000),
        (tiny_chunks_in_single_bytes, 500),
        (long_chunk_extension_in_single_bytes, 2_000),
        (body_in_single_bytes, 5_000),
        (body_received_before_it_is_read, 10_000),
        (pipelined_requests_at_once, 1_000),
        (trailers_in_single_bytes, 5_000),
        (hostile_extension, 2_000),
    ],
)
def test_the_cost_grows_in_proportion_to_the_input(work: Callable[[int], None], small: int) -> None:
    assert growth(work, small, 8) < 24  # 8 if linear, 64 if quadratic


def test_a_field_of_10_mb_in_single_bytes_is_refused_before_it_has_cost_much() -> None:
    data = HEAD + b"X: " + b"a" * 10_000_000

    def refuse() -> None:
        with pytest.raises(PeerError, match="field line"):
            feed(H1Protocol(), single_bytes(data))

    def slice_up() -> None:
        assert len(list(single_bytes(data[:100_000]))) == 100_000

    plain = least_cpu_seconds(slice_up)
    assert least_cpu_seconds(refuse) < 20 * plain  # 30 ms on a quiet machine


def test_a_large_body_is_passed_through_and_not_copied() -> None:
    piece = b"x" * 262_144
    protocol = H1Protocol()
    protocol.receive_data(HEAD + b"Content-Length: %d\r\n\r\n" % (64 * len(piece)))
    protocol.next_event()

    def pass_one() -> object:
        protocol.receive_data(piece)
        return protocol.next_event()

    assert all(getattr(pass_one(), "data", None) is piece for _ in range(64))
