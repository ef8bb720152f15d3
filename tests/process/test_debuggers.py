"""Under a debugger nothing is hung, and no request late."""

from http.client import HTTPConnection

import pytest

from process.harness import needs_procfs, running
from serval.errors import ExitStatus

pytestmark = [needs_procfs, pytest.mark.timeout(90)]

COMMAND = ("serval", "process.debugged_app:app", "--port", "0", "--lifespan", "off")


def ask(address: tuple[str, int], *paths: str) -> list[int]:
    """The statuses of requests, one after the other."""
    statuses = []
    for path in paths:
        connection = HTTPConnection(*address, timeout=30)
        connection.request("GET", path)
        statuses.append(connection.getresponse().status)
        connection.close()
    return statuses


def test_a_worker_is_not_hung_while_it_is_debugged_and_is_again_afterwards() -> None:
    with running(*COMMAND, "--timeout-worker-healthcheck", "1s") as program:
        address = program.address()
        program.expect("ready: 1 worker")

        # The wait lasts for longer than the time between two signs of life.
        assert ask(address, "/trace", "/wait", "/block", "/wait") == [200] * 4
        assert "is hung" not in program.text
        assert "was blocked" not in program.text
        assert ask(address, "/untrace", "/wait", "/block") == [200] * 3
        program.expect("is hung")


def test_a_worker_is_not_hung_while_somebody_types_at_a_prompt() -> None:
    with running(
        *COMMAND, "--timeout-worker-healthcheck", "1s", "--watchdog-lag", "0.2s"
    ) as program:
        address = program.address()
        program.expect("ready: 1 worker")

        assert ask(address, "/prompt", "/wait", "/wait") == [200] * 3
        assert program.stop() == ExitStatus.OK
        assert "is hung" not in program.text
        assert "was blocked" not in program.text


@pytest.mark.parametrize(("first", "status"), [("/trace", 200), ("/", 504)])
def test_a_request_takes_its_time_under_a_debugger(first: str, status: int) -> None:
    with running(*COMMAND, "--workers", "0", "--timeout-request", "0.3s") as program:
        address = program.address()

        assert ask(address, first, "/wait") == [200, status]
