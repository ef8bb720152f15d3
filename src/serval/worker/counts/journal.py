"""What happens to the requests of a service, told to the logs, the counters and a collector.

Kept by `worker/service.py`; what is told of each request is told only where the service is
`observed`.  The thread of the service's loop only.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from serval.access_log import CLIENT_LEFT, AccessLog, Finished
from serval.asgi.types import Address, Scope
from serval.errors import PeerError
from serval.escaping import request_extras, request_text
from serval.fault_log import FaultLog
from serval.lifecycle import (
    Lane,
    LifecycleCollector,
    LifecycleEvent,
    RequestFinished,
    RequestStarted,
)
from serval.net.addresses import address_text
from serval.worker.counts.shared_counts import SharedFaultLog
from serval.worker.counts.tally import Tally

logger = logging.getLogger("serval.error")

# Routes whose mistakes are remembered, so that each is logged once and not per request.
WARNED_COUNT: Final = 1024
# What the access log is told of a request that could not be read.
_UNREAD: Final[Scope] = {
    "method": "-",
    "raw_path": b"-",
    "query_string": b"",
    "http_version": "1.1",
    "headers": [],
}


Finisher: TypeAlias = "Callable[[RequestSource, Finished, Scope, float, str], None]"


class RequestSource(Protocol):
    """A connection as the counters and logs see it."""

    @property
    def lane(self) -> Lane:
        """Which lane serves it."""

    @property
    def connection_id(self) -> int:
        """Its number in this process."""


class Journal:
    """Tells of the requests of one service.

    Attributes:
        access_log: Is told of each request at its end; None where there is none.
        lifecycle: Is told of each connection and request; None where there is none.
        faults: Says which refusals are worth a line.
        request_finished: Called with the connection, its exchange, the scope, the time of the start
            and why the request did not end as it should, once it is over.

    Args:
        loop: Whose time counts.
        tally: Counts refusals, and measures.
    """

    __slots__ = (
        "_loop",
        "_tally",
        "_warned",
        "access_log",
        "faults",
        "lifecycle",
        "request_finished",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        tally: Tally,
        *,
        access_log: AccessLog | None = None,
        lifecycle: LifecycleCollector | None = None,
    ) -> None:
        self._loop = loop
        self._tally = tally
        self._warned: set[str] = set()
        self.access_log = access_log
        self.lifecycle = lifecycle
        self.faults = FaultLog()
        self.request_finished: Finisher = self._request_finished
        self.choose_finisher()

    def choose_finisher(self) -> None:
        """Let the access log be told of requests directly where it is the only one; again later."""
        if self.access_log is not None and self.lifecycle is None and self._tally.meter is None:
            self.request_finished = self.access_log.finished
        else:
            self.request_finished = self._request_finished

    def share(self) -> None:
        """Let other threads count refusals in the same log of faults."""
        self.faults = SharedFaultLog()

    def sibling(self, loop: asyncio.AbstractEventLoop, tally: Tally) -> "Journal":
        """One for another thread, which tells the same logs."""
        other = Journal(loop, tally, access_log=self.access_log, lifecycle=self.lifecycle)
        other.faults = self.faults
        other._warned = self._warned
        return other

    def request_started(self, source: RequestSource, scope: Scope) -> None:
        """The application is about to be called, which the collector wants to know."""
        method = scope.get("method", "GET")
        at = self._loop.time()
        self.tell(RequestStarted(source.connection_id, source.lane, method, scope["path"], at))

    def _request_finished(
        self,
        source: RequestSource,
        exchange: Finished,
        scope: Scope,
        started_at: float,
        cause: str,
    ) -> None:
        """The response is complete, or was given up for `cause`."""
        seconds = time.monotonic() - started_at
        sent_bytes = exchange.sent_bytes
        meter = self._tally.meter
        if meter is not None:
            meter.finished(seconds, sent_bytes, exchange.received_bytes)
        if self.access_log is not None:
            self.access_log.finished(source, exchange, scope, started_at, cause)
        if self.lifecycle is not None:
            status = CLIENT_LEFT if exchange.lost else exchange.status
            at = started_at + seconds
            self.tell(
                RequestFinished(source.connection_id, source.lane, status, sent_bytes, seconds, at)
            )

    def count_refusal(self, reason: str) -> None:
        """The server answers a request in the application's stead."""
        self._tally.stats.rejected += 1
        if self._tally.meter is not None:
            self._tally.meter.refused(reason)

    def refused(self, client: Address | None, error: PeerError) -> None:
        """A client's mistake was answered; one line says so, however often it is repeated."""
        self.count_refusal(error.reason)
        line = self.faults.refused(address_text(client), error, self._loop.time())
        if line is not None:
            logger.info("%s", line)

    def refusal_sent(
        self, client: Address | None, scheme: str, error: PeerError, sent_bytes: int
    ) -> None:
        """A request that has no scope, since it was refused before, was answered."""
        if self.access_log is not None:
            known = {} if error.request_line is None else _read(error.request_line)
            self.access_log.record(
                {**_UNREAD, **known, "client": client, "scheme": scheme},
                status=error.status,
                sent_bytes=sent_bytes,
                received_bytes=0,
                seconds=0.0,
                headers=(),
                cause=error.reason,
            )

    def warn_once(self, key: str, text: str, scope: Scope) -> None:
        """Log a mistake of the application the first time that it is seen."""
        if key in self._warned:
            return
        if len(self._warned) >= WARNED_COUNT:
            self._warned.clear()
        self._warned.add(key)
        logger.warning("%s: %s", text, request_text(scope), extra=request_extras(scope))

    def tell(self, event: LifecycleEvent) -> None:
        """Give an event to the collector; what that raises is not our end."""
        assert self.lifecycle is not None
        try:
            self.lifecycle.record(event)
        except Exception:
            logger.exception("the lifecycle collector failed on %r", event)


def _read(request_line: tuple[bytes, bytes, str]) -> Scope:
    """What the access log is told of a request line that could be read."""
    method, target, version = request_line
    raw_path, _, query = target.partition(b"?")
    return {
        "method": method.decode("latin-1"),
        "raw_path": raw_path,
        "query_string": query,
        "http_version": version,
    }
