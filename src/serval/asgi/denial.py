"""A handshake refused with a response of the application's own (`websocket.http.response`).  Pure.

Made by `asgi/websocket.py`.  The connection closes after it, so only the end of the body has to be
told: by a length where the whole body is there at once, else in chunks.
"""

from serval.asgi.types import Message
from serval.errors import AppError
from serval.protocols.response import (
    CHUNKED,
    CLOSE,
    LAST_CHUNK,
    response_head,
)
from serval.protocols.response_defaults import HeadEnds


class Denial:
    """One such response; its head is held back until the first part of the body.

    Raises:
        AppError: Status or headers are malformed.

    Attributes:
        status: Of the response.
        headers: The application's fields.
    """

    __slots__ = ("_chunked", "_response_head", "_started", "headers", "status")

    def __init__(self, message: Message, headers: list[tuple[bytes, bytes]]) -> None:
        try:
            self.status: int = message["status"]
        except KeyError:
            raise AppError("websocket.http.response.start has no status") from None
        self._response_head = response_head(self.status, headers)
        if self.status < 200:
            raise AppError(
                f"status of websocket.http.response.start must be final, not {self.status}"
            )
        self.headers = headers
        self._started = False
        self._chunked = False

    def body(self, message: Message, defaults: HeadEnds) -> bytes:
        """The bytes for a part of the body, the head before the first.

        Raises:
            AppError: The body is not bytes.
        """
        body = message.get("body", b"")
        if not isinstance(body, bytes | bytearray | memoryview):
            raise AppError(f"body must be bytes, not {type(body).__name__}: {body!r:.60}")
        part = b"" if self._bodiless else bytes(body)
        more = bool(message.get("more_body", False))
        head = b"" if self._started else self._head(len(part), more, defaults)
        if self._chunked:
            part = b"%x\r\n%b\r\n" % (len(part), part) if part else b""
            if not more:
                part += LAST_CHUNK
        return head + part

    @property
    def _bodiless(self) -> bool:
        return self.status in (204, 304)

    def _head(self, size: int, more: bool, defaults: HeadEnds) -> bytes:
        self._started = True
        head = self._response_head
        framing = b""
        if head.content_length is None and not self._bodiless:
            self._chunked = more
            framing = CHUNKED if more else b"content-length: %d\r\n" % size
        return b"".join(
            (
                head.start,
                framing,
                CLOSE,
                defaults.ends[head.own],
            )
        )
