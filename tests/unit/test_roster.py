"""How many threads may block at a time, and what waits meanwhile."""

from serval.worker.threads.roster import Roster


class Worker:
    running = b""


def roster_of(limit: int) -> Roster[Worker, str]:
    return Roster(limit)


def test_no_more_may_block_than_the_limit() -> None:
    roster, first, second = roster_of(1), Worker(), Worker()
    roster.paces.note(b"/slow", 1.0)

    assert roster.may_run(first, b"/slow")
    assert not roster.may_run(second, b"/slow")
    assert roster.may_run(first, b"/slow")  # it is one of them already
    roster.ended(first)
    assert first.running == b""
    assert roster.may_run(second, b"/slow")


def test_what_is_known_to_be_quick_is_never_held_up() -> None:
    roster, first, second = roster_of(1), Worker(), Worker()
    roster.paces.note(b"/quick", 0.0)

    assert roster.may_run(first, b"/slow")
    assert roster.may_run(second, b"/quick")
    assert second.running == b""


def test_what_nobody_knows_gets_the_benefit_of_the_doubt_once() -> None:
    roster, workers = roster_of(1), [Worker() for _ in range(3)]

    assert roster.may_run(workers[0], b"/a")
    assert not roster.may_run(workers[1], b"/a")
    assert roster.may_run(workers[1], b"/b")
    assert not roster.may_run(workers[2], b"/b")


def test_what_is_parked_is_taken_in_order_once_a_thread_may_block() -> None:
    roster, first, second = roster_of(1), Worker(), Worker()
    roster.may_run(first, b"/a")
    roster.park("one")
    roster.park("two")

    assert roster.parked_count == 2
    assert roster.take(second) is None
    roster.ended(first)
    assert [roster.take(second), roster.take(second), roster.take(second)] == ["one", "two", None]


def test_what_is_parked_can_be_dropped_though_no_thread_may_block() -> None:
    roster, first = roster_of(1), Worker()
    roster.may_run(first, b"/a")
    roster.park("one")

    assert [roster.drop(), roster.drop()] == ["one", None]
    assert roster.parked_count == 0
