"""The service manager's socket, where there is one; a companion of the supervisor's loop."""

import logging
import socket
from collections.abc import MutableMapping
from typing import Final

from serval.outlook import Overseer
from serval.scoreboard import Scoreboard, WorkerState
from serval.supervisor.notices import Notices, notification

_VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_READY: Final = (WorkerState.READY, WorkerState.RETIRING)

_log = logging.getLogger("serval.error")


class ServiceManager:
    """Tells a service manager how the server does.  Supervisor process only.

    Args:
        address: The socket's path, or a name in the abstract namespace behind an `@`.
        notices: What to tell.
        scoreboard: Where the workers' heartbeats are.
    """

    def __init__(self, address: str, notices: Notices, scoreboard: Scoreboard) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._notices = notices
        self._scoreboard = scoreboard
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.setblocking(False)
        self._faulty = False

    @property
    def deadline(self) -> float:
        """When a sign of life is due."""
        return self._notices.deadline

    def fileno(self) -> int:
        """It never reads."""
        return -1

    def turn(self, overseer: Overseer, now: float) -> None:
        """Tell what has changed."""
        beats = [slot.heartbeat_at for slot in self._scoreboard if slot.state in _READY]
        for assignments in self._notices.turn(overseer.outlook(), beats, now):
            self._send(notification(assignments))

    def close_in_child(self) -> None:
        """Close the socket."""
        self._sock.close()

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def _send(self, datagram: bytes) -> None:
        try:
            self._sock.sendto(datagram, self._address)
        except OSError as exc:  # the manager restarts, or its queue is full: not our end
            if not self._faulty:
                _log.warning("cannot notify the service manager: %s", exc.strerror)
            self._faulty = True
        else:
            self._faulty = False


def service_manager(
    environ: MutableMapping[str, str], pid: int, scoreboard: Scoreboard
) -> ServiceManager | None:
    """The manager that the environment names, or None.

    Its variables are removed, so that no subprocess takes them for its own.
    """
    address, microseconds, watched = (environ.pop(name, "") for name in _VARIABLES)
    if not address.startswith(("/", "@")):  # sd_notify(3) knows vsock:, too, for virtual machines
        return None
    # Without a pid they are meant for whoever reads them, sd_watchdog_enabled(3).
    is_ours = microseconds.isdecimal() and watched in ("", str(pid))
    notices = Notices(pid, watchdog_seconds=int(microseconds) / 1e6 if is_ours else 0.0)
    return ServiceManager(address, notices, scoreboard)
