from dataclasses import replace
from math import inf

import pytest

from serval.outlook import Outlook, ServerState
from serval.supervisor.notices import LEAST_STALE_SECONDS, Notices, notification

BOOTING = Outlook(state=ServerState.BOOTING, workers_wanted=2)
RUNNING = replace(BOOTING, state=ServerState.RUNNING)
RELOADING = replace(RUNNING, state=ServerState.RELOADING, generation=2, reloads=1)
RELOADED = replace(RELOADING, state=ServerState.RUNNING)
STOPPING = replace(RUNNING, state=ServerState.STOPPING)
WATCHDOG_SECONDS = 30.0


def keys(sent: list[dict[str, str]]) -> list[str]:
    """What was said, without its text."""
    return [name for one in sent for name in one if name not in ("STATUS", "MONOTONIC_USEC")]


def running(now: float = 100.0, *, watchdog_seconds: float = 0.0) -> Notices:
    notices = Notices(7, watchdog_seconds=watchdog_seconds)
    notices.turn(RUNNING, [now, now], now)
    return notices


def test_a_booting_server_says_only_how_far_it_is() -> None:
    notices = Notices(7)

    assert notices.turn(BOOTING, [], 1.0) == [
        {"STATUS": "booting: 0 of 2 workers ready, generation 1"}
    ]
    assert notices.turn(BOOTING, [], 2.0) == []
    assert notices.turn(BOOTING, [3.0], 3.0) == [
        {"STATUS": "booting: 1 of 2 workers ready, generation 1"}
    ]


def test_ready_is_said_once_and_names_the_process() -> None:
    notices = Notices(7)
    notices.turn(BOOTING, [], 1.0)

    first = notices.turn(RUNNING, [2.0, 2.0], 2.0)
    again = notices.turn(RUNNING, [3.0, 3.0], 3.0)

    assert first == [
        {
            "READY": "1",
            "MAINPID": "7",
            "STATUS": "running: 2 of 2 workers ready, generation 1",
        }
    ]
    assert again == []


def test_a_reload_is_told_with_its_moment_and_its_end() -> None:
    notices = running()

    begun = notices.turn(RELOADING, [100.0, 100.0], 123.456789)
    meanwhile = notices.turn(RELOADING, [100.0, 100.0], 124.0)
    done = notices.turn(RELOADED, [100.0, 100.0], 125.0)

    assert begun[0]["RELOADING"] == "1"
    assert begun[0]["MONOTONIC_USEC"] == "123456789"
    assert meanwhile == []
    assert keys(done) == ["READY"]


def test_a_reload_that_is_refused_at_once_is_begun_and_ended() -> None:
    notices = running()

    refused = notices.turn(replace(RUNNING, reloads=1), [100.0, 100.0], 101.0)

    assert keys(refused) == ["RELOADING", "READY"]


def test_a_second_reload_while_the_first_goes_on_is_begun_too() -> None:
    notices = running()
    notices.turn(RELOADING, [], 101.0)

    second = notices.turn(replace(RELOADING, reloads=2, generation=3), [], 102.0)
    done = notices.turn(replace(RELOADED, reloads=2, generation=3), [], 103.0)

    assert (keys(second), keys(done)) == (["RELOADING"], ["READY"])


def test_a_refusal_in_the_moment_in_which_a_reload_ends_is_begun_and_ended() -> None:
    notices = running()
    notices.turn(RELOADING, [], 101.0)

    assert keys(notices.turn(replace(RELOADED, reloads=2), [], 102.0)) == ["RELOADING", "READY"]


@pytest.mark.parametrize("before", [BOOTING, RUNNING, RELOADING])
def test_a_stop_is_told_once_whatever_went_on(before: Outlook) -> None:
    notices = Notices(7)
    notices.turn(before, [], 1.0)

    assert keys(notices.turn(STOPPING, [], 2.0)) == ["STOPPING"]
    assert keys(notices.turn(STOPPING, [], 3.0)) == []


def test_without_a_watchdog_nothing_is_ever_due() -> None:
    assert running().deadline == inf


def test_signs_of_life_come_at_half_the_time_asked_for_once_the_server_is_ready() -> None:
    notices = Notices(7, watchdog_seconds=WATCHDOG_SECONDS)
    notices.turn(BOOTING, [], 50.0)
    assert notices.deadline == inf

    notices.turn(RUNNING, [100.0], 100.0)
    assert notices.deadline == 115.0

    assert keys(notices.turn(RUNNING, [114.0], 114.9)) == []
    assert keys(notices.turn(RUNNING, [114.0], 115.0)) == ["WATCHDOG"]
    assert notices.deadline == 130.0


def test_no_sign_of_life_while_every_loop_stands_still() -> None:
    notices = running(watchdog_seconds=WATCHDOG_SECONDS)

    late = 100.0 + WATCHDOG_SECONDS + 1

    assert keys(notices.turn(RUNNING, [100.0, 100.0], late)) == []
    assert keys(notices.turn(RUNNING, [100.0, late], late + WATCHDOG_SECONDS)) == ["WATCHDOG"]


def test_a_loop_may_miss_beats_though_the_watchdog_is_quick() -> None:
    notices = running(watchdog_seconds=2.0)

    assert keys(notices.turn(RUNNING, [100.0], 100.0 + LEAST_STALE_SECONDS)) == ["WATCHDOG"]


def test_while_no_worker_is_ready_the_supervisor_itself_is_the_life() -> None:
    notices = running(watchdog_seconds=WATCHDOG_SECONDS)

    assert keys(notices.turn(RUNNING, [], 500.0)) == ["WATCHDOG"]


def test_signs_of_life_go_on_while_the_server_stops() -> None:
    notices = running(watchdog_seconds=WATCHDOG_SECONDS)
    notices.turn(STOPPING, [], 101.0)

    assert keys(notices.turn(STOPPING, [], 115.0)) == ["WATCHDOG"]


def test_a_notification_is_lines_of_assignments() -> None:
    assert notification({"READY": "1", "STATUS": "up"}) == b"READY=1\nSTATUS=up"
