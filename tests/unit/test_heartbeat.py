from serval.protocols.heartbeat import Beat, Heartbeat


def test_a_peer_that_is_heard_is_never_asked() -> None:
    heart = Heartbeat(20, 20, now=0)

    beats = []
    for _ in range(5):
        beats.append(heart.turn(heart.next_at, heard=True))

    assert beats == [Beat.NOTHING] * 5
    assert heart.next_at == 120


def test_a_silent_peer_is_asked_after_the_interval_and_given_up_after_the_timeout() -> None:
    heart = Heartbeat(20, 3, now=0)

    asked_at = heart.next_at
    beats = [heart.turn(heart.next_at, heard=False)]
    while beats[-1] is not Beat.GIVE_UP:
        given_up_at = heart.next_at
        beats.append(heart.turn(heart.next_at, heard=False))

    assert (asked_at, given_up_at) == (20, 23)
    assert beats.count(Beat.PING) == 1
    assert heart.next_at == float("inf")


def test_any_frame_after_the_ping_saves_the_peer() -> None:
    heart = Heartbeat(20, 3, now=0)
    heart.turn(20, heard=False)

    beat = heart.turn(21, heard=True)

    assert beat is Beat.NOTHING
    assert heart.next_at == 41


def test_time_in_which_the_loop_was_blocked_is_not_held_against_the_peer() -> None:
    heart = Heartbeat(20, 2, now=0)
    heart.turn(20, heard=False)

    late = heart.turn(80, heard=False)

    assert late is Beat.NOTHING
    assert heart.turn(81, heard=False) is Beat.NOTHING
    assert heart.turn(82, heard=False) is Beat.GIVE_UP


def test_an_interval_of_zero_asks_nobody() -> None:
    assert Heartbeat(0, 20, now=5).next_at == float("inf")


def test_a_timeout_of_zero_asks_again_and_gives_nobody_up() -> None:
    heart = Heartbeat(20, 0, now=0)

    beats = [heart.turn(heart.next_at, heard=False) for _ in range(3)]

    assert beats == [Beat.PING] * 3
    assert heart.next_at == 80
