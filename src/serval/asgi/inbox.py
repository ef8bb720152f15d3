"""Messages of a peer that wait for the application, bounded in number and size.  Pure.

Owned by `asgi/websocket.py`, which stops parsing while it is full.
"""


class Inbox:
    """First in, first out; text as `str`, binary as `bytes`.

    Args:
        most_count: Messages that make it full.
        most_bytes: Their size together that makes it full; the last may go over it.

    Attributes:
        full: Nothing more should be put in.
    """

    __slots__ = ("_bytes", "_messages", "_most_bytes", "_most_count", "full")

    def __init__(self, most_count: int, most_bytes: int) -> None:
        # A list: an empty deque takes 700 bytes, and a queue of 32 is quickly moved up.
        self._messages: list[str | bytes] = []
        self._bytes = 0
        self._most_count = most_count
        self._most_bytes = most_bytes
        self.full = False

    def __bool__(self) -> bool:
        return bool(self._messages)

    def put(self, message: str | bytes) -> None:
        """Add a message behind the others."""
        messages = self._messages
        messages.append(message)
        self._bytes += len(message)
        if len(messages) >= self._most_count or self._bytes >= self._most_bytes:
            self.full = True

    def take(self) -> str | bytes | None:
        """Remove and return the oldest message, or None where there is none."""
        messages = self._messages
        if not messages:
            return None
        message = messages.pop(0)
        self._bytes -= len(message)
        if self.full:
            self.full = len(messages) >= self._most_count or self._bytes >= self._most_bytes
        return message
