"""Files as parts of a response: what messages may ask for, and their way to the lane.  Pure.

The ASGI extensions `http.response.pathsend` and `http.response.zerocopysend`.  `asgi/exchange.py`
calls this; the lane opens, reads and sends.
"""

from dataclasses import dataclass
from typing import Any, Final, Protocol

from serval.asgi.http_messages import Phase
from serval.asgi.lane import Lane, OpenFile
from serval.asgi.types import Message
from serval.errors import AppError

_PATH: Final = "http.response.pathsend"
_DESCRIPTOR: Final = "http.response.zerocopysend"
FILE_MESSAGES: Final = (_PATH, _DESCRIPTOR)


@dataclass(frozen=True, slots=True)
class FilePart:
    """What an application asks for.

    Attributes:
        source: A path, or a file object or descriptor.
        offset: Where to begin; None where the file stands.
        count: How many bytes at most; None for all to its end.
        more: Whether more of the body follows.
        is_whole: It is the whole body, and not a part of one.
    """

    source: Any
    offset: int | None
    count: int | None
    more: bool
    is_whole: bool


class FileResponse(Protocol):
    """An exchange, as the part of a file sees it."""

    phase: Phase

    def takes_file(self, message: Message, part: FilePart) -> bool:
        """Whether a file may come now, and has a body to be in.

        Raises:
            AppError: It is out of turn.
            ClientDisconnected: The client is gone.
        """

    def file_begins(self, size: int, part: FilePart) -> int:
        """Send what stands before it; how much of it the framing has room for."""

    def file_sent(self, size: int) -> None:
        """So many bytes of it are sent."""

    def file_ends(self, part: FilePart, size: int, missing: int) -> None:
        """Send what stands behind it."""


def file_part(message: Message) -> FilePart:
    """What a message asks for.

    Raises:
        AppError: It is malformed.
    """
    if message["type"] == _PATH:
        path = message.get("path")
        if not isinstance(path, str) or not path:
            raise AppError(f"{_PATH} needs a path, a str, not {path!r:.80}")
        return FilePart(path, 0, None, more=False, is_whole=True)
    source = message.get("file")
    if not isinstance(source, int) and not hasattr(source, "fileno"):
        raise AppError(f"{_DESCRIPTOR} needs a file with a descriptor, not {source!r:.80}")
    offset, count = (_bytes_of(message, name) for name in ("offset", "count"))
    more = bool(message.get("more_body", False))
    return FilePart(source, offset, count, more, is_whole=False)


def _bytes_of(message: Message, name: str) -> int | None:
    value = message.get(name)
    if value is None or (isinstance(value, int) and value >= 0):
        return value
    raise AppError(f"{name} must be a number of bytes, not {value!r:.80}")


async def send_file(response: FileResponse, lane: Lane, message: Message) -> None:
    """Send a file, or a part of one, as a part of the body; waits until the lane has it all.

    Raises:
        AppError: The message is malformed or out of turn, or the file cannot be sent.
        ClientDisconnected: The client is gone.
    """
    part = file_part(message)
    if not response.takes_file(message, part):
        return
    file = await lane.open_file(part.source)
    try:
        # Much may have happened while it was opened, and while it was sent.
        if response.takes_file(message, part) and not await _send(response, lane, file, part):
            response.takes_file(message, part)
    finally:
        file.close()


async def _send(response: FileResponse, lane: Lane, file: OpenFile, part: FilePart) -> bool:
    """Send a part; False where the response was over before its end."""
    offset = file.position if part.offset is None else part.offset
    size = max(file.size_bytes - offset, 0)
    if part.count is not None:
        size = min(size, part.count)
    size = left = response.file_begins(size, part)
    while left:
        sent = await lane.send_from(file, offset, left)
        if response.phase is not Phase.FILE:
            return False
        if not sent:
            break  # it has become shorter since
        offset += sent
        left -= sent
        response.file_sent(sent)
    if part.offset is None:
        file.leave_at(offset)
    response.file_ends(part, size, left)
    return True
