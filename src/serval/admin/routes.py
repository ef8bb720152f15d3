"""Which question gets which answer.  Pure but for what the supervisor is asked to do."""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from serval.admin.figures import Figures
from serval.admin.metrics import MEDIA_TYPE, metrics_text
from serval.admin.status import status_text
from serval.outlook import Overseer

_PLAIN: Final = "text/plain; charset=utf-8"
_JSON: Final = "application/json"
_WORKERS: Final = re.compile(r"workers=([0-9]{1,4})")

LEGAL: Final = "GET /livez, /readyz, /metrics, /status; POST /reload, /scale?workers=N"


class Ask(NamedTuple):
    """A request, as far as it matters here."""

    method: str
    path: str
    query: str = ""


class Answer(NamedTuple):
    """A response, before it is bytes.

    Attributes:
        allow: For an Allow field, or nothing.
    """

    status: int
    text: str
    media_type: str = _PLAIN
    allow: str = ""


class Routes:
    """The questions that a client of the admin endpoint may ask.

    Args:
        overseer: Who acts.
        gather: Reads the figures; called only where they are asked for.
        may_act: Whether the client may change anything: true for the owner of a Unix socket only.
    """

    def __init__(self, overseer: Overseer, gather: Callable[[], Figures], *, may_act: bool) -> None:
        self._overseer = overseer
        self._gather = gather
        self._may_act = may_act
        self._reads: Final = {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/status": self._status,
        }
        self._acts: Final = {"/reload": self._reload, "/scale": self._scale}

    def answer(self, ask: Ask) -> Answer:
        """The response to a request; never raises."""
        if ask.path in self._reads:
            if ask.method not in ("GET", "HEAD"):
                return Answer(405, f"{ask.path} is asked with GET\n", allow="GET, HEAD")
            return self._reads[ask.path]()
        if ask.path in self._acts:
            if ask.method != "POST":
                return Answer(405, f"{ask.path} is asked with POST\n", allow="POST")
            if not self._may_act:
                return Answer(
                    403,
                    f"{ask.path} is refused over TCP, where anybody could ask; "
                    "give admin_bind unix:path\n",
                )
            return self._acts[ask.path](ask.query)
        return Answer(404, f"nothing is here; legal: {LEGAL}\n")

    def _livez(self) -> Answer:
        return Answer(200, "alive\n")

    def _readyz(self) -> Answer:
        why = self._gather().readiness
        return Answer(503, f"not ready: {why}\n") if why else Answer(200, "ready\n")

    def _metrics(self) -> Answer:
        return Answer(200, metrics_text(self._gather()), MEDIA_TYPE)

    def _status(self) -> Answer:
        return Answer(200, status_text(self._gather()), _JSON)

    def _reload(self, _query: str) -> Answer:
        if why := self._overseer.ask_reload():
            return Answer(409, f"{why}\n")
        return Answer(202, status_text(self._gather()), _JSON)

    def _scale(self, query: str) -> Answer:
        found = _WORKERS.fullmatch(query)
        if found is None:
            return Answer(400, "how many workers is not said; legal: POST /scale?workers=N\n")
        if why := self._overseer.ask_scale(int(found[1])):
            return Answer(409, f"{why}\n")
        return Answer(202, status_text(self._gather()), _JSON)
