"""An application under a debugger that comes, goes and stops it."""

import asyncio
import sys
import time
from types import FrameType
from typing import Any

from serval.asgi.types import Receive, Scope, Send

BLOCK_SECONDS = 2.5
# A prompt is known by its module.
_pdb: dict[str, Any] = {"__name__": "pdb", "time": time}
exec("def prompt(seconds): time.sleep(seconds)", _pdb)  # noqa: S102


def trace(frame: FrameType, event: str, argument: Any) -> None:
    """What a debugger sets."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Do what the path says."""
    match scope["path"]:
        case "/trace":
            sys.settrace(trace)
        case "/untrace":
            sys.settrace(None)
        case "/wait":
            await asyncio.sleep(1.0)
        case "/block":
            time.sleep(BLOCK_SECONDS)  # noqa: ASYNC251 - to block is what it is for
        case "/prompt":
            _pdb["prompt"](BLOCK_SECONDS)
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"ok"})
