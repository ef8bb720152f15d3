"""The service manager's socket, with a real one at the other end."""

import socket
import sys
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest
from admin_world import FakeOverseer, two_workers

from serval.supervisor.notify import ServiceManager, service_manager

LINUX = sys.platform == "linux"


def manager(environ: dict[str, str]) -> ServiceManager:
    made = service_manager(environ, 7, two_workers())
    assert made is not None
    return made


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        yield sock


def test_without_a_manager_there_is_nobody_to_tell() -> None:
    assert service_manager({}, 7, two_workers()) is None


def test_an_address_of_a_kind_that_is_not_spoken_is_left_alone() -> None:
    assert service_manager({"NOTIFY_SOCKET": "vsock:2:1234"}, 7, two_workers()) is None


def test_its_variables_are_no_subprocess_s_business(tmp_path: Path) -> None:
    environ = {
        "NOTIFY_SOCKET": str(tmp_path / "n"),
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "7",
        "HOME": "/",
    }

    manager(environ).close()

    assert environ == {"HOME": "/"}


def test_a_manager_at_a_path_is_told(receiver: socket.socket, tmp_path: Path) -> None:
    receiver.bind(str(tmp_path / "n"))
    told = manager({"NOTIFY_SOCKET": str(tmp_path / "n")})

    told.turn(FakeOverseer(), 160.0)

    assert receiver.recv(4096).startswith(b"READY=1\nMAINPID=7\nSTATUS=running: 2 of 2")
    told.close()


@pytest.mark.skipif(not LINUX, reason="abstract names exist on Linux only")
def test_a_manager_with_an_abstract_name_is_told(receiver: socket.socket, tmp_path: Path) -> None:
    receiver.bind(f"\0{tmp_path}")
    told = manager({"NOTIFY_SOCKET": f"@{tmp_path}"})

    told.turn(FakeOverseer(), 160.0)

    assert b"READY=1" in receiver.recv(4096)
    told.close()


@pytest.mark.parametrize(
    ("variables", "watched"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, True),
        ({"WATCHDOG_USEC": "30000000"}, True),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, False),
        ({"WATCHDOG_USEC": "often"}, False),
        ({}, False),
    ],
)
def test_signs_of_life_are_sent_to_who_asks_this_process_for_them(
    variables: dict[str, str], watched: bool, receiver: socket.socket, tmp_path: Path
) -> None:
    receiver.bind(str(tmp_path / "n"))
    told = manager({"NOTIFY_SOCKET": str(tmp_path / "n"), **variables})

    told.turn(FakeOverseer(), 160.0)

    assert told.deadline == (175.0 if watched else inf)
    told.close()


def test_a_manager_that_is_gone_is_complained_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = manager({"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "2000000"})

    for now in (160.0, 162.0, 164.0):
        told.turn(FakeOverseer(), now)

    assert [one.getMessage() for one in caplog.records] == [
        "cannot notify the service manager: No such file or directory"
    ]
    told.close()


def test_a_manager_that_comes_back_is_told_again(receiver: socket.socket, tmp_path: Path) -> None:
    told = manager({"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "2000000"})
    told.turn(FakeOverseer(), 160.0)
    receiver.bind(str(tmp_path / "n"))

    told.turn(FakeOverseer(), 162.0)

    assert receiver.recv(4096) == b"WATCHDOG=1"
    told.close()


def test_it_has_nothing_to_read_and_a_worker_closes_it(tmp_path: Path) -> None:
    told = manager({"NOTIFY_SOCKET": str(tmp_path / "n")})

    told.close_in_child()

    assert told.fileno() == -1
    assert told._sock.fileno() == -1
