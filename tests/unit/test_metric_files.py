import os
from math import inf
from pathlib import Path

import pytest
from admin_world import FakeOverseer, two_workers

from serval.scoreboard import Scoreboard
from serval.supervisor.metric_files import MetricFiles, metric_files

SAME = (-1, -1)
FILES = [
    "counter_41.db",
    "gauge_all_41.db",
    "gauge_livesum_41.db",
    "gauge_livesum_412.db",
    "gauge_liveall_41.db",
    "gauge_liveall_42.db",
    "histogram_42.db",
]


def fill(directory: Path, *more: str) -> None:
    for name in (*FILES, *more):
        (directory / name).touch()


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def made(directory: Path, board: Scoreboard | None = None) -> MetricFiles:
    files = metric_files({"PROMETHEUS_MULTIPROC_DIR": str(directory)}, SAME, board or two_workers())
    assert files is not None
    return files


def test_without_the_variable_there_is_nothing_to_look_after() -> None:
    assert metric_files({}, SAME, two_workers()) is None


def test_what_an_earlier_run_has_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    fill(tmp_path, "precious.db", "counter_41.db.bak", "notes.txt")

    made(tmp_path)

    assert names(tmp_path) == {"precious.db", "counter_41.db.bak", "notes.txt"}


def test_a_directory_that_is_missing_is_made(tmp_path: Path) -> None:
    made(tmp_path / "a" / "b")

    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a directory away")
def test_a_directory_that_is_made_belongs_to_the_workers(tmp_path: Path) -> None:
    metric_files({"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "a")}, (1, 2), two_workers())

    found = (tmp_path / "a").stat()
    assert (found.st_uid, found.st_gid) == (1, 2)


def test_a_dead_worker_loses_its_live_gauges_and_keeps_its_counters(tmp_path: Path) -> None:
    board = two_workers()
    files = made(tmp_path, board)
    files.turn(FakeOverseer(), 1.0)
    fill(tmp_path)

    board.release(0)
    files.turn(FakeOverseer(), 2.0)

    assert {*FILES} - names(tmp_path) == {"gauge_livesum_41.db", "gauge_liveall_41.db"}


def test_while_nobody_dies_nothing_is_removed(tmp_path: Path) -> None:
    files = made(tmp_path)
    fill(tmp_path)

    for now in (1.0, 2.0):
        files.turn(FakeOverseer(), now)

    assert names(tmp_path) == {*FILES}
    files.close_in_child()


def test_it_never_asks_for_a_turn(tmp_path: Path) -> None:
    files = made(tmp_path)

    assert (files.deadline, files.fileno()) == (inf, -1)


def test_a_directory_that_cannot_be_made_is_complained_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()

    found = metric_files(
        {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "file" / "x")}, SAME, two_workers()
    )

    assert found is None
    assert "(PROMETHEUS_MULTIPROC_DIR): Not a directory" in caplog.text


def test_a_directory_that_goes_away_is_complained_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    board = two_workers()
    files = made(tmp_path / "a", board)
    files.turn(FakeOverseer(), 1.0)
    (tmp_path / "a").rmdir()

    board.release(0)
    files.turn(FakeOverseer(), 2.0)

    assert "cannot tidy up" in caplog.text
