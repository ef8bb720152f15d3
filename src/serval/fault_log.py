"""What is said of clients that break the protocol: little, however many they are.

A worker owns one `FaultLog` and gives it every `PeerError`; it logs, at INFO, the lines that come
back.  Pure: the caller says what time it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from serval.errors import PeerError
from serval.escaping import escape_target, escape_text, escape_value

# One line per reason and second keeps a flood from filling the disk, or the loop's time.
INTERVAL_SECONDS: Final = 1.0
_EXCERPT_CHARACTERS: Final = 64
_DETAIL_CHARACTERS: Final = 160
_METHOD_CHARACTERS: Final = 32
_PATH_CHARACTERS: Final = 128


@dataclass(slots=True)
class _Tally:
    """How often one reason was met."""

    total_count: int = 0
    hidden_count: int = 0
    shown_at: float = float("-inf")


class FaultLog:
    """Counts refusals by reason and tells which of them deserve a line.  One thread only."""

    __slots__ = ("_tallies",)

    def __init__(self) -> None:
        self._tallies: dict[str, _Tally] = {}

    @property
    def counts(self) -> dict[str, int]:
        """How many requests or frames were refused since the start, by reason."""
        return {reason: tally.total_count for reason, tally in self._tallies.items()}

    def refused(self, peer: str, error: PeerError, now: float) -> str | None:
        """Count one refusal; the line to log, or None where the reason had its line already.

        Args:
            peer: The client's address.
            now: Monotonic seconds.
        """
        tally = self._tallies.setdefault(error.reason, _Tally())
        tally.total_count += 1
        if now - tally.shown_at < INTERVAL_SECONDS:
            tally.hidden_count += 1
            return None
        line = _line(peer, error)
        if tally.hidden_count:
            line += f" (and {tally.hidden_count} more like it before)"
        tally.hidden_count = 0
        tally.shown_at = now
        return line

    def summaries(self, now: float) -> Iterator[str]:
        """Lines for refusals that were counted but not shown; for a tick of a second or more."""
        for reason, tally in self._tallies.items():
            if tally.hidden_count and now - tally.shown_at >= INTERVAL_SECONDS:
                yield f"refused {tally.hidden_count} more: {escape_text(reason)}"
                tally.hidden_count = 0
                tally.shown_at = now


def _line(peer: str, error: PeerError) -> str:
    line = f"refused {escape_text(peer)}: {error.status} {escape_text(error.reason)}"
    if error.offset >= 0:
        line += f" at byte {error.offset}"
    if error.request_line is not None:
        method, target, _ = error.request_line
        path = escape_target(target.partition(b"?")[0])
        line += f", {escape_value(method, limit=_METHOD_CHARACTERS)} {path[:_PATH_CHARACTERS]}"
    if str(error) != error.reason:
        line += f", {escape_text(str(error), limit=_DETAIL_CHARACTERS)}"
    if error.excerpt:
        line += f': "{escape_value(error.excerpt, limit=_EXCERPT_CHARACTERS)}"'
    return line
