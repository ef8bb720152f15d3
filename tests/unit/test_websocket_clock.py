from serval.worker.connections.websocket_clock import LATE_SECONDS, NEVER, Due, WebSocketClock


def test_the_earliest_moment_is_the_next() -> None:
    clock = WebSocketClock()
    clock.start(Due.BEAT, 5.0)
    clock.start(Due.CLOSE, 3.0)

    assert clock.next_at() == 3.0


def test_a_clock_that_waits_for_nothing_is_never_due() -> None:
    clock = WebSocketClock()
    clock.start(Due.WRITE, 1.0)

    clock.stop(Due.WRITE)
    clock.stop(Due.WRITE)

    assert clock.next_at() == NEVER
    assert clock.take(100.0) == []


def test_what_is_due_is_taken_once() -> None:
    clock = WebSocketClock()
    clock.start(Due.BEAT, 1.0)
    clock.start(Due.LAST_WORD, 2.0)
    clock.start(Due.WRITE, 1.1)

    taken = clock.take(1.2)

    assert taken == [Due.BEAT, Due.WRITE]
    assert Due.BEAT not in clock
    assert clock.next_at() == 2.0


def test_a_later_start_takes_the_place_of_an_earlier_one() -> None:
    clock = WebSocketClock()
    clock.start(Due.CLOSE, 1.0)

    clock.start(Due.CLOSE, 2.0)

    assert clock.take(1.5) == []


def test_a_peer_gets_time_to_be_seen_after_the_loop_was_held_up() -> None:
    clock = WebSocketClock()
    for due in Due:
        clock.start(due, 1.0)

    late = clock.take(30.0)

    assert late == [Due.BEAT, Due.LAST_WORD]
    assert clock.next_at() == 30.0 + LATE_SECONDS
    assert clock.take(30.0 + LATE_SECONDS) == [Due.WRITE, Due.CLOSE]
