"""A request on a thread that may take too long: who answers it, the thread or the server.

A thread cannot be stopped.  When its time is over, the main thread answers 504 in the application's
stead and ends the connection; the thread goes on until the application lets it, and whatever it
still says reaches nobody.
"""

import threading
from typing import Protocol

from serval.errors import ClientDisconnected
from serval.worker.deadlines import Wait


class Overtaken(Protocol):
    """The connection of such a request."""

    def overtake(self) -> None:
        """Answer in the application's stead.  Main thread."""


class Overdue:
    """One request under `timeout_request`.

    Attributes:
        lock: Held by whoever touches the socket before the response has begun: that may be the
            thread, or the main thread.

    Args:
        connection: Whose request it is.
    """

    __slots__ = ("_connection", "_has_begun", "_is_over", "lock")

    def __init__(self, connection: Overtaken) -> None:
        self.lock = threading.Lock()
        self._connection = connection
        self._has_begun = False
        self._is_over = False

    def check(self) -> None:
        """See that it is not too late; with the lock, by the thread.

        Raises:
            ClientDisconnected: It is.
        """
        if self._is_over:
            raise ClientDisconnected("the request was given up")

    def begin(self) -> None:
        """Say that the thread answers.

        Raises:
            ClientDisconnected: It is too late.
        """
        with self.lock:
            self.check()
            self._has_begun = True

    def ended(self) -> bool:
        """Say that the application has returned; whether that was in time."""
        with self.lock:
            self._has_begun = True
            return not self._is_over

    def expired(self, wait: Wait, *, late: bool) -> None:
        """The time is over.  Main thread."""
        with self.lock:
            if not self._has_begun:
                self._is_over = True
                self._connection.overtake()
