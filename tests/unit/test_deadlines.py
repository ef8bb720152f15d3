import pytest

from serval.worker.deadlines import Deadlines, Wait, WaitQueue


def queue_of(seconds: float, **started_at: float) -> WaitQueue[str]:
    queue: WaitQueue[str] = WaitQueue(seconds)
    for item, at in started_at.items():
        queue.start(item, at)
    return queue


def test_the_oldest_wait_is_the_next_to_end() -> None:
    queue = queue_of(10.0, a=1.0, b=2.0)

    assert queue.next_at() == 11.0
    assert len(queue) == 2
    assert list(queue) == ["a", "b"]
    assert "a" in queue
    assert "c" not in queue


def test_what_has_waited_long_enough_is_taken_once_and_in_order() -> None:
    queue = queue_of(10.0, a=1.0, b=2.0, c=3.0)

    assert queue.take_expired(10.9) == []
    assert queue.take_expired(12.0) == ["a", "b"]
    assert queue.take_expired(12.0) == []
    assert queue.next_at() == 13.0


@pytest.mark.parametrize("again", ["start", "restart"])
def test_a_wait_that_begins_anew_goes_behind_the_others(again: str) -> None:
    queue = queue_of(10.0, a=1.0, b=2.0)
    getattr(queue, again)("a", 3.0)

    assert queue.next_at() == 12.0
    assert queue.take_expired(100.0) == ["b", "a"]


def test_only_what_waits_can_be_restarted() -> None:
    with pytest.raises(KeyError):
        queue_of(10.0).restart("a", 1.0)


def test_a_wait_can_be_ended_more_than_once() -> None:
    queue = queue_of(10.0, a=1.0)
    queue.stop("a")
    queue.stop("a")

    assert queue.next_at() is None
    assert queue.take_expired(100.0) == []


def test_no_limit_lets_wait_for_ever() -> None:
    queue = queue_of(0.0, a=1.0)

    assert queue.next_at() is None
    assert queue.take_expired(1e9) == []
    assert "a" in queue


def test_kinds_of_waits_have_limits_of_their_own() -> None:
    deadlines: Deadlines[str] = Deadlines({Wait.HEAD: 10.0, Wait.BODY: 5.0})
    deadlines[Wait.HEAD].start("a", 1.0)
    deadlines[Wait.BODY].start("a", 2.0)
    deadlines[Wait.WRITE].start("a", 0.0)  # no limit was given

    assert deadlines.next_at() == 7.0
    assert list(deadlines.take_expired(8.0)) == [(Wait.BODY, "a")]
    assert deadlines.next_at() == 11.0


def test_where_nothing_waits_there_is_no_next_deadline() -> None:
    deadlines: Deadlines[str] = Deadlines({Wait.HEAD: 10.0})

    assert deadlines.next_at() is None
    assert list(deadlines.take_expired(1e9)) == []


def test_all_waits_of_an_item_can_be_ended() -> None:
    deadlines: Deadlines[str] = Deadlines(dict.fromkeys(Wait, 1.0))
    for wait in Wait:
        deadlines[wait].start("a", 0.0)
        deadlines[wait].start("b", 0.0)
    deadlines.forget("a")

    assert {item for _, item in deadlines.take_expired(9.0)} == {"b"}
