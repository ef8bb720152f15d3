"""A coroutine that knows how long its steps take: how long it holds up its loop."""

import time
from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import Any


class Timed(Coroutine[Any, Any, None]):
    """The same coroutine, timed.

    Attributes:
        longest_seconds: Of all steps that are over.
    """

    __slots__ = ("_began_at", "_coro", "_made_at", "longest_seconds")

    def __init__(self, coro: Coroutine[Any, Any, None]) -> None:
        self._coro = coro
        self._made_at = self._began_at = time.monotonic()
        self.longest_seconds = 0.0

    @property
    def longest_yet_seconds(self) -> float:
        """Of all steps, the running one included."""
        return max(self.longest_seconds, time.monotonic() - self._began_at)

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.monotonic() - self._made_at

    def send(self, value: Any) -> Any:
        """Run the next step."""
        began_at = self._began_at = time.monotonic()
        try:
            return self._coro.send(value)
        finally:
            seconds = time.monotonic() - began_at
            self.longest_seconds = max(self.longest_seconds, seconds)

    def throw(self, kind: Any, value: Any = None, traceback: TracebackType | None = None, /) -> Any:
        """Run the next step with an exception."""
        self._began_at = time.monotonic()
        if value is None and traceback is None:
            return self._coro.throw(kind)
        return self._coro.throw(kind, value, traceback)

    def close(self) -> None:
        """End it."""
        self._coro.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._coro.__await__()

    def __getattr__(self, name: str) -> Any:
        """Where it stands, what it is called: asked by those who show the tasks of a loop."""
        return getattr(self._coro, name)
