"""What the server itself says in responses: the fields that it adds, whole answers.  Pure.

The application's part of a head is made in `protocols/response.py`.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final, Protocol

from serval.protocols.response import CLOSE, field_line, field_name, status_line

_DAYS: Final = b"Mon Tue Wed Thu Fri Sat Sun".split()
_MONTHS: Final = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def _http_date(second: int) -> bytes:
    """The moment as RFC 9110 section 5.6.7 has it; `email.utils` takes 3 ms to load for that."""
    at = datetime.fromtimestamp(second, UTC)
    day = b"%b, %02d %b %04d" % (_DAYS[at.weekday()], at.day, _MONTHS[at.month - 1], at.year)
    return b"%b %02d:%02d:%02d GMT" % (day, at.hour, at.minute, at.second)


class ResponseDefaults:
    """The fields that the server adds to every response: Date, Server and configured ones.

    Threads may share it: one that asks while another renews it may get the last second's date.

    Attributes:
        ends: The ends of heads, empty line included, as of the last call of `lines`: for the
            responses whose application sent none, the first, the second or both of Date and Server.

    Args:
        clock: Gives the time in Unix seconds; asked once per response.
        server: Whether `Server: serval` is sent.
        date: Whether `Date` is sent (RFC 9110 section 6.6.1 wants it where there is a clock).
        headers: Further fields for every response.
    """

    __slots__ = ("_clock", "_date", "_further", "_lines", "_second", "_server", "ends")

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        server: bool = True,
        date: bool = True,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        self._clock = clock
        self._date = date
        self._server = b"server: serval\r\n" if server else b""
        self._further = b"".join(
            field_line(name, value) for name, value in headers if field_name(name)
        )
        self._second = -1
        self._lines: tuple[bytes, ...] = ()
        self.ends: tuple[bytes, ...] = ()
        self.lines()

    def lines(self, own: int = 0) -> bytes:
        """The lines for a response whose application sent the fields marked in `own`."""
        second = int(self._clock())
        if second != self._second:
            date = b"date: %b\r\n" % _http_date(second) if self._date else b""
            self._lines = (
                date + self._server + self._further,
                self._server + self._further,
                date + self._further,
                self._further,
            )
            self.ends = tuple(lines + b"\r\n" for lines in self._lines)
            # Last, so that of several threads the one that was held up leaves no old date behind.
            self._second = second
        return self._lines[own]


class HeadEnds(Protocol):
    """Where a response gets the end of its head."""

    @property
    def ends(self) -> tuple[bytes, ...]:
        """As `ResponseDefaults.ends`."""


class TimelyEnds:
    """Those of `defaults` as of the moment that they are asked for."""

    __slots__ = ("_defaults",)

    def __init__(self, defaults: ResponseDefaults) -> None:
        self._defaults = defaults

    @property
    def ends(self) -> tuple[bytes, ...]:
        """As `ResponseDefaults.ends`."""
        self._defaults.lines()
        return self._defaults.ends


def plain_response(status: int, text: str, defaults: HeadEnds, further: bytes = b"") -> bytes:
    """A whole response of our own, after which the connection closes.

    Args:
        status: The response status.
        text: The body; it must hold nothing that the client sent.
        defaults: Where the end of the head is from.
        further: More field lines, complete with their CR LF.
    """
    body = text.encode() + b"\n"
    return b"".join(
        (
            status_line(status),
            b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n" % len(body),
            further,
            CLOSE,
            defaults.ends[0],
            body,
        )
    )
