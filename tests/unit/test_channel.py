import os
from collections.abc import Iterator
from contextlib import suppress

import pytest

from serval.channel import ChildChannel
from serval.scoreboard import Scoreboard


@pytest.fixture
def ends() -> Iterator[tuple[ChildChannel, int, int]]:
    """A channel, the parent's end of its bell, and the parent's end of the claim."""
    (bell_reader, bell), (claim, claim_writer) = os.pipe(), os.pipe()
    for fd in (bell_reader, bell, claim):
        os.set_blocking(fd, False)
    slot = Scoreboard(1).slot(0)
    channel = ChildChannel(
        slot, 0, 1, parent_gone_fd=-1, bell_fd=bell, claim_fd=claim, dump_fds=(-1, -1)
    )
    yield channel, bell_reader, claim_writer
    for fd in (bell_reader, bell, claim, claim_writer):
        os.close(fd)


def test_notifying_rings_the_bell(ends: tuple[ChildChannel, int, int]) -> None:
    channel, bell_reader, _ = ends

    channel.notify()

    assert os.read(bell_reader, 100) == b"\0"


def test_notifying_a_parent_that_does_not_listen_is_harmless(
    ends: tuple[ChildChannel, int, int],
) -> None:
    channel, _, _ = ends
    with suppress(BlockingIOError):
        while True:
            os.write(channel.bell_fd, bytes(65536))

    channel.notify()


def test_notifying_a_parent_that_is_gone_is_harmless() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    slot = Scoreboard(1).slot(0)

    ChildChannel(
        slot, 0, 1, parent_gone_fd=-1, bell_fd=writer, claim_fd=-1, dump_fds=(-1, -1)
    ).notify()

    os.close(writer)


def test_the_first_who_asks_may_report(ends: tuple[ChildChannel, int, int]) -> None:
    channel, _, claim_writer = ends
    os.write(claim_writer, b"\0")

    assert [channel.claim_report() for _ in range(3)] == [True, False, False]
