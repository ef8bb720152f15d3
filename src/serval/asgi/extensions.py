"""The messages of an HTTP response that are not of the specification itself.  Pure.

Apart from the others, so that those take no longer for it; `asgi/exchange.py` calls this.
"""

from collections.abc import MutableMapping
from typing import Final

from serval.asgi.file_body import FILE_MESSAGES, FileResponse, send_file
from serval.asgi.http_messages import WHEN_OVER
from serval.asgi.lane import Lane
from serval.asgi.types import Message
from serval.errors import AppError

# Our own: the application sets the limit of the request's body.
BODY_LIMIT: Final = "serval.body_limit"
EXTENSIONS: Final = (*FILE_MESSAGES, BODY_LIMIT)


def is_extension(message: object) -> bool:
    """Whether a message is one of these."""
    return isinstance(message, MutableMapping) and message.get("type") in EXTENSIONS


async def take_extension(response: FileResponse, lane: Lane, message: Message) -> None:
    """Do what a message says.

    Raises:
        AppError: It is malformed or out of turn.
        ClientDisconnected: The client is gone.
    """
    if message["type"] != BODY_LIMIT:
        await send_file(response, lane, message)
        return
    limit = message.get("bytes")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        raise AppError(f"{BODY_LIMIT} needs bytes, a number or 0 for no limit, not {limit!r:.80}")
    if response.phase not in WHEN_OVER:  # or it would be that of another request
        lane.limit_body(limit)
