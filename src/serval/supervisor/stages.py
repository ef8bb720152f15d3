"""How far the end of the server has come, and what brings it nearer.  Pure."""

from enum import Enum, auto
from typing import Final

from serval.supervisor.actions import Wish


class Stage(Enum):
    """What the children are being asked to do."""

    RUNNING = auto()
    GRACEFUL = auto()  # finish what runs, within the time for it
    QUICK = auto()  # only the application's own shutdown
    ENDING = auto()  # nothing: they are killed


ESCALATION: Final = {
    (Stage.RUNNING, Wish.STOP): Stage.GRACEFUL,
    (Stage.RUNNING, Wish.QUIT): Stage.QUICK,
    (Stage.GRACEFUL, Wish.STOP): Stage.QUICK,
    (Stage.GRACEFUL, Wish.QUIT): Stage.QUICK,
    (Stage.QUICK, Wish.STOP): Stage.ENDING,
    (Stage.QUICK, Wish.QUIT): Stage.ENDING,
}

# For the log, with the seconds that running requests have.
NOTICES: Final = {
    Stage.GRACEFUL: "stopping: running requests have {:g} s, a second signal shortens that",
    Stage.QUICK: "stopping quickly: running requests are cut short, one more signal kills",
    Stage.ENDING: "killing the workers",
}
