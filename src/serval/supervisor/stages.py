"""How far the end of the server has come, and what brings it nearer.  Pure."""

from enum import Enum, auto
from itertools import product
from typing import Final

from serval.supervisor.actions import Order, Settings, Wish
from serval.supervisor.child import Phase

SERVING: Final = (Phase.READY, Phase.RETIRING)
ALIVE: Final = (Phase.BOOTING, *SERVING, Phase.OVERDUE, Phase.HUNG)
_REACHABLE: Final = (Phase.BOOTING, *SERVING, Phase.HUNG, Phase.STOPPING, Phase.CLOSING)


class Stage(Enum):
    """What the children are being asked to do."""

    RUNNING = auto()
    LEAVING = auto()  # serve on, while those who send us clients learn of the end
    GRACEFUL = auto()  # finish what runs, within the time for it
    QUICK = auto()  # only the application's own shutdown
    ENDING = auto()  # nothing: they are killed
    OVER = auto()  # there are none any more


LISTENING: Final = (Stage.RUNNING, Stage.LEAVING)

ESCALATION: Final = {
    (Stage.RUNNING, Wish.STOP): Stage.LEAVING,  # for no time, where no delay is set
    (Stage.RUNNING, Wish.INTERRUPT): Stage.GRACEFUL,
    (Stage.RUNNING, Wish.QUIT): Stage.QUICK,
    (Stage.LEAVING, Wish.STOP): Stage.GRACEFUL,
    (Stage.LEAVING, Wish.INTERRUPT): Stage.GRACEFUL,
    (Stage.LEAVING, Wish.QUIT): Stage.QUICK,
    (Stage.GRACEFUL, Wish.STOP): Stage.QUICK,
    (Stage.GRACEFUL, Wish.INTERRUPT): Stage.QUICK,
    (Stage.GRACEFUL, Wish.QUIT): Stage.QUICK,
    (Stage.QUICK, Wish.STOP): Stage.ENDING,
    (Stage.QUICK, Wish.INTERRUPT): Stage.ENDING,
    (Stage.QUICK, Wish.QUIT): Stage.ENDING,
}

# What children are told as a stage begins, by their phase; the others are left alone.
ORDERS: Final = {
    (Stage.LEAVING, Phase.BOOTING): Order.STOP,
    **dict.fromkeys(product((Stage.LEAVING,), SERVING), Order.LEAVE),
    **dict.fromkeys(product((Stage.GRACEFUL,), (Phase.BOOTING, *SERVING)), Order.STOP),
    # Not a second SIGTERM: a service manager may send one to the whole group beside the
    # parent's, and that must not shorten anything.
    **dict.fromkeys(product((Stage.QUICK,), _REACHABLE), Order.QUIT),
    **dict.fromkeys(product((Stage.ENDING,), _REACHABLE), Order.KILL),
}

_NOTICES: Final = {
    Stage.LEAVING: "leaving: everything is served for {:g} s more, a second signal ends that",
    Stage.GRACEFUL: "stopping: running requests have {:g} s, a second signal shortens that",
    Stage.QUICK: "stopping quickly: running requests are cut short, one more signal kills",
    Stage.ENDING: "killing the workers",
}


def notice(stage: Stage, settings: Settings) -> str:
    """What the log says as a stage begins that an operator wants."""
    leaving = stage is Stage.LEAVING
    seconds = settings.drain_delay_seconds if leaving else settings.graceful_seconds
    return _NOTICES[stage].format(seconds)
