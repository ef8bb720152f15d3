"""How long requests hold their thread, by experience."""

from serval.worker.threads.pace import (
    INSTANT_SECONDS,
    QUICK_SECONDS,
    SHAPES_COUNT,
    TARGET_BYTES,
    TARGETS_COUNT,
    Paces,
)


def test_requests_that_differ_by_identifiers_have_one_shape() -> None:
    paces = Paces()

    assert paces.shape(b"/users/42/a") == paces.shape(b"/users/4711/a") == b"/users/*/a"
    assert paces.shape(b"/users/a") != paces.shape(b"/users/b")


def test_what_was_never_seen_is_not_known_to_be_quick() -> None:
    paces = Paces()

    assert not paces.is_quick(b"/")
    assert not paces.is_instant(b"/")


def test_what_was_quick_is_quick_and_what_was_instant_is_both() -> None:
    paces = Paces()
    paces.note(b"/quick", QUICK_SECONDS / 2)
    paces.note(b"/instant", INSTANT_SECONDS / 2)
    paces.note(b"/slow", QUICK_SECONDS * 2)

    assert [paces.is_quick(b"/quick"), paces.is_instant(b"/quick")] == [True, False]
    assert [paces.is_quick(b"/instant"), paces.is_instant(b"/instant")] == [True, True]
    assert [paces.is_quick(b"/slow"), paces.is_instant(b"/slow")] == [False, False]


def test_one_slow_request_among_many_changes_little_and_many_do() -> None:
    paces = Paces()
    paces.note(b"/", 0.0)
    paces.note(b"/", QUICK_SECONDS)
    assert paces.is_quick(b"/")

    for _ in range(100):
        paces.note(b"/", QUICK_SECONDS * 2)
    assert not paces.is_quick(b"/")


def test_one_that_was_never_seen_to_end_is_not_held_for_quick_while_another_like_it_runs() -> None:
    paces = Paces()
    paces.note(b"/slow", 1.0)

    assert paces.may_be_quick(b"/new", [b"/other"])
    assert not paces.may_be_quick(b"/new", [b"/new"])
    assert not paces.may_be_quick(b"/slow", [])


def test_clients_cannot_make_the_tables_grow() -> None:
    paces = Paces()
    for number in range(TARGETS_COUNT + 1):
        paces.shape(b"/%x" % number)
    for number in range(SHAPES_COUNT + 1):
        paces.note(b"/" + b"x" * (number % TARGET_BYTES) + b"y" * (number // TARGET_BYTES), 0.0)
    long = b"/" + b"x" * TARGET_BYTES
    paces.note(long, 0.0)

    assert len(paces._shapes) <= TARGETS_COUNT
    assert len(paces._averages) <= SHAPES_COUNT
    assert paces.shape(long) == long
    assert not paces.is_quick(long)
