"""The access log: one line for every request, written in batches.

Every loop, and every thread with a loop of its own, has one `AccessLog`.  While nobody but us
listens to the logger `serval.access`, lines are collected and leave with one write for all requests
of a turn of the loop; as soon as someone does, they are ordinary records with typed extras.
"""

import logging
import os
import select
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from enum import Enum, auto
from time import monotonic
from typing import Any, Final, Protocol

from serval.access_format import (
    Entry,
    LineFormat,
    QuickLines,
    Stamp,
    colored_line,
    fields,
    line_format,
    plain_line,
)
from serval.asgi.types import Scope
from serval.config import ServerConfig
from serval.log import (
    DATE_FORMAT,
    access_descriptor,
    access_logger,
    colors_wanted,
    error_log,
    iso_time,
    others_listen,
    own_handlers,
)

# The status of a request whose client did not wait for the end of its response (nginx's notion).
CLIENT_LEFT: Final = 499
# Writes to a pipe up to this size never mix with those of another worker (POSIX write()).
_ATOMIC_BYTES: Final = select.PIPE_BUF
# A reader that takes nothing for this long loses lines; requests must not wait for it any longer.
_PATIENCE_SECONDS: Final = 0.1


class Route(Enum):
    """Where a line goes."""

    DIRECT = auto()
    RECORDS = auto()
    NOWHERE = auto()


class Finished(Protocol):
    """A request that is over, as far as its exchange tells of it."""

    status: int
    sent_bytes: int
    received_bytes: int
    response_headers: Iterable[tuple[bytes, bytes]]

    @property
    def lost(self) -> bool:
        """Whether the client left before it had its response."""


class AccessLog:
    """Writes access lines.  Any thread may call `record`, the loop's thread alone `flush`."""

    __slots__ = (
        "_direct",
        "_faint",
        "_fresh_until",
        "_line",
        "_lines",
        "_pid",
        "_prefix",
        "_quick",
        "_route",
        "_schedule_flush",
        "_scheduled",
        "_stamp",
        "_stamped",
        "_write",
    )

    def __init__(
        self,
        write: Callable[[bytes], None],
        schedule_flush: Callable[[Callable[[], None]], None],
        *,
        line: LineFormat = plain_line,
        faint: bool = False,
    ) -> None:
        """Make a log for the current process.

        Args:
            write: Takes whole lines, as many as there are; it must not raise.
            schedule_flush: Has the callable that it gets called soon, once; `loop.call_soon`, or
                `loop.call_soon_threadsafe` where other threads record.
            line: The format of the lines.
            faint: Whether the time before a line is to recede, on a terminal.
        """
        self._write = write
        self._schedule_flush = schedule_flush
        self._line = line
        self._faint = faint
        self._quick = QuickLines() if line is plain_line else None
        self._stamped = line in {plain_line, colored_line}
        self._pid = os.getpid()
        self._lines: list[str] = []
        self._scheduled = False
        self._route = Route.DIRECT
        self._prefix = ""
        self._stamp = Stamp("", "", "")
        self._direct: QuickLines | None = None
        self._fresh_until = 0.0

    def finished(
        self, source: object, exchange: Finished, scope: Scope, started_at: float, cause: str
    ) -> None:
        """Log a request that its connection has served, at little cost in the usual case.

        Args:
            source: The connection; the log has no use for it.
            started_at: When its head was there; monotonic seconds.
            cause: Why it ended otherwise than it should, in our words; empty where it did not.
        """
        now = monotonic()
        lines = self._lines
        if not lines or now >= self._fresh_until:
            self._begin_batch(now)
        if (quick := self._direct) is not None and not cause:
            try:
                line = quick.line(scope, exchange.status, exchange.sent_bytes, now - started_at)
            except (AttributeError, IndexError, KeyError, TypeError):
                line = None  # and `record` will say why
            if line is not None:
                lines.append(line)
                if not self._scheduled:
                    self._scheduled = True
                    self._schedule_flush(self.flush)
                return
        self.record(
            scope,
            status=CLIENT_LEFT if exchange.lost else exchange.status,
            sent_bytes=exchange.sent_bytes,
            received_bytes=exchange.received_bytes,
            seconds=now - started_at,
            headers=exchange.response_headers,
            cause=cause,
        )

    def record(
        self,
        scope: Scope,
        *,
        status: int,
        sent_bytes: int,
        received_bytes: int,
        seconds: float,
        headers: Iterable[tuple[bytes, bytes]],
        cause: str = "",
    ) -> None:
        """Log a request that has ended.

        Args:
            status: Of the response; 499 where the client left before it was complete.
            sent_bytes: Of the response body, framing not counted.
            received_bytes: Of the request body.
            seconds: From the head of the request to the end of the response.
            headers: Of the response.
            cause: Why it ended otherwise than it should, in our words; empty where it did not.
        """
        now = monotonic()
        if not self._lines or now >= self._fresh_until:
            self._begin_batch(now)
        if self._route is Route.NOWHERE:
            return
        try:
            line = self._write_out(
                Entry(
                    scope,
                    status,
                    sent_bytes,
                    received_bytes,
                    seconds,
                    headers,
                    cause,
                    self._stamp,
                    self._pid,
                )
            )
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as exc:
            # The scope belongs to the application, which may have put anything into it.
            error_log.warning("no access line for a scope that the app has changed: %r", exc)
            return
        if line:
            self._lines.append(f"{self._prefix}{line}\n")
            if not self._scheduled:
                self._scheduled = True
                self._schedule_flush(self.flush)

    def _write_out(self, entry: Entry) -> str:
        """The line of a request, or nothing where a record of it has gone to the listeners."""
        line = self._line(entry)
        if self._route is not Route.RECORDS:
            return line
        access_logger.info(line, extra=fields(entry))
        return ""

    def flush(self) -> None:
        """Write what has been collected; also called last before the process ends."""
        self._scheduled = False
        # Another thread may append meanwhile: what it appends stays for the next time.
        count = len(self._lines)
        batch = self._lines[:count]
        del self._lines[:count]
        if batch:
            self._write("".join(batch).encode("ascii", "backslashreplace"))

    def _begin_batch(self, now: float) -> None:
        """See who listens, and what time it is.

        Once in a batch, and in a second, is often enough: an application sets up its logging at any
        time.
        """
        self._route = _route()
        self._direct = self._quick if self._route is Route.DIRECT else None
        if now < self._fresh_until:
            return
        wall = time.time()
        local = time.localtime(wall)
        text = time.strftime(DATE_FORMAT, local)
        self._stamp = Stamp(
            text=text, clf=time.strftime("%d/%b/%Y:%H:%M:%S %z", local), iso=iso_time(int(wall))
        )
        prefix = f"{text} [{self._pid}]"
        if self._faint:
            prefix = f"\x1b[2m{prefix}\x1b[0m"
        self._prefix = f"{prefix} " if self._stamped else ""
        if self._quick is not None:
            self._quick.begin(self._prefix)
        # Last, so that another thread which finds it fresh finds the rest.
        self._fresh_until = now + 1.0 - wall % 1.0


class SelectiveAccessLog(AccessLog):
    """The same, but for successful requests that nobody wants to read of."""

    __slots__ = ("_excluded_paths", "_excluded_prefixes")

    def __init__(
        self,
        write: Callable[[bytes], None],
        schedule_flush: Callable[[Callable[[], None]], None],
        *,
        excluded: Iterable[str],
        line: LineFormat = plain_line,
        faint: bool = False,
    ) -> None:
        """Make a log for the current process.

        Args:
            write: Likewise.
            schedule_flush: Likewise.
            excluded: Paths as clients send them; one that ends with an asterisk stands for all that
                begin like it.
            line: Likewise.
            faint: Likewise.
        """
        super().__init__(write, schedule_flush, line=line, faint=faint)
        paths = [path.encode() for path in excluded]
        self._excluded_paths = frozenset(path for path in paths if path[-1:] != b"*")
        self._excluded_prefixes = tuple(path[:-1] for path in paths if path[-1:] == b"*")

    def finished(
        self, source: object, exchange: Finished, scope: Scope, started_at: float, cause: str
    ) -> None:
        """Log a request that its connection has served, unless it is one of many."""
        if exchange.lost or not self._is_silent(scope, exchange.status, cause):
            super().finished(source, exchange, scope, started_at, cause)

    def record(self, scope: Scope, *, status: int, cause: str = "", **facts: Any) -> None:
        """Log a request that has ended, unless it is one of many."""
        if not self._is_silent(scope, status, cause):
            super().record(scope, status=status, cause=cause, **facts)

    def _is_silent(self, scope: Scope, status: int, cause: str) -> bool:
        path = scope.get("raw_path")
        if status >= 400 or cause or not isinstance(path, bytes):
            return False
        return path in self._excluded_paths or path.startswith(self._excluded_prefixes)


class LineOutput:
    """A descriptor that takes batches of lines, shared with other processes.  Never raises."""

    __slots__ = ("_atomic", "_fd", "_warned")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._warned = False
        try:
            mode = os.fstat(fd).st_mode
        except OSError:  # it is closed, as a daemon's may be
            mode = 0
        self._atomic = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)

    def __call__(self, lines: bytes) -> None:
        """Write whole lines, no more at once than other processes' lines cannot cut in two."""
        for piece in _pieces(lines) if self._atomic else (lines,):
            if not self._written(piece) and not self._warned:
                self._warned = True
                error_log.warning(
                    "access lines are lost: nobody takes them from descriptor %d", self._fd
                )

    def _written(self, data: bytes) -> bool:
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                _, writable, _ = select.select((), (self._fd,), (), _PATIENCE_SECONDS)
                if not writable:
                    return False
            except OSError:  # closed, its reader gone, or the disk full
                return False
        return True


def open_access_log(
    config: ServerConfig, schedule_flush: Callable[[Callable[[], None]], None]
) -> AccessLog | None:
    """The access log of a worker, writing to its file or standard output; None without one.

    Raises:
        ConfigError: The format of the lines cannot be used.
    """
    if not config.access_log:
        return None
    line = line_format(config.access_log_format, config.log_format)
    fd = access_descriptor()
    colored = line is plain_line and colors_wanted(config, fd)
    write = LineOutput(fd)
    if colored:
        line = colored_line
    if excluded := config.access_log_exclude:
        return SelectiveAccessLog(
            write, schedule_flush, excluded=excluded, line=line, faint=colored
        )
    return AccessLog(write, schedule_flush, line=line, faint=colored)


def _route() -> Route:
    if not access_logger.isEnabledFor(logging.INFO):
        return Route.NOWHERE
    if others_listen(access_logger) or access_logger.filters or not own_handlers():
        return Route.RECORDS
    return Route.DIRECT


def _pieces(lines: bytes) -> Iterator[bytes]:
    """Cut behind line ends into pieces that are written atomically, where lines allow it."""
    start = 0
    while len(lines) - start > _ATOMIC_BYTES:
        end = lines.rfind(b"\n", start, start + _ATOMIC_BYTES) + 1
        if end <= start:
            end = lines.find(b"\n", start) + 1 or len(lines)
        yield lines[start:end]
        start = end
    yield lines[start:]
