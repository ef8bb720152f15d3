"""The files of prometheus_client's multiprocess mode, kept as its documentation asks of a server.

The application's own metrics live there, one file for each worker and kind.  Emptied before the
first worker, since what an earlier run has counted is over; relieved of a dead worker's gauges.
A companion of the supervisor's loop; prometheus_client itself is never imported here.
"""

import logging
import os
import re
from collections.abc import Mapping
from math import inf
from typing import Final

from serval.outlook import Overseer
from serval.scoreboard import Scoreboard

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_FILE: Final = re.compile(r"(counter|histogram|summary|gauge_\w+)_(?P<pid>[0-9]+)\.db")
_LIVE: Final = "gauge_live"  # gauges that are to be shown for living processes alone

_log = logging.getLogger("serval.error")


class MetricFiles:
    """Looks after the directory.  Supervisor process only.

    Args:
        directory: Made where it is missing, and given to `owner`.
        owner: User and group of the workers; -1 for the supervisor's own.
        scoreboard: Where it is to be seen who lives.
    """

    def __init__(self, directory: str, owner: tuple[int, int], scoreboard: Scoreboard) -> None:
        self._directory = directory
        self._scoreboard = scoreboard
        self._alive: set[int] = set()
        if not os.path.isdir(directory):
            os.makedirs(directory)
            os.chown(directory, *owner)
        self._remove(re.compile(""))

    @property
    def deadline(self) -> float:
        """It is never in a hurry."""
        return inf

    def fileno(self) -> int:
        """It reads nothing."""
        return -1

    def turn(self, _overseer: Overseer, _now: float) -> None:
        """Remove the live gauges of whoever has died since the last turn."""
        alive = {slot.pid for slot in self._scoreboard if slot.pid}
        gone, self._alive = self._alive - alive, alive
        for pid in gone:
            self._remove(re.compile(rf"{_LIVE}\w+_{pid}\.db\Z"))

    def close_in_child(self) -> None:
        """Nothing is open."""

    def _remove(self, wanted: re.Pattern[str]) -> None:
        try:
            for name in os.listdir(self._directory):
                if _FILE.fullmatch(name) and wanted.match(name):
                    os.unlink(os.path.join(self._directory, name))
        except OSError as exc:
            _log.warning("cannot tidy up %s (%s): %s", self._directory, VARIABLE, exc.strerror)


def metric_files(
    environ: Mapping[str, str], owner: tuple[int, int], scoreboard: Scoreboard
) -> MetricFiles | None:
    """What looks after the directory that the environment names; None where it names none."""
    directory = environ.get(VARIABLE, "")
    if not directory:
        return None
    try:
        return MetricFiles(directory, owner, scoreboard)
    except OSError as exc:  # the application will complain; without metrics it may still serve
        _log.warning("cannot make %s (%s): %s", directory, VARIABLE, exc.strerror)
        return None
