"""An application in whose process a signal to stop comes while uvloop begins to run."""

import os
import signal
import sys
from collections.abc import Sequence

from serval.asgi.types import Receive, Scope, Send

# As the loop begins to run it sets its hooks, then opens the sockets that signals come by.
_expected = ["socket.__new__", "sys.set_asyncgen_hook_firstiter"]


def _watch(event: str, _details: Sequence[object]) -> None:
    if _expected and event == _expected[-1]:
        _expected.pop()
        if not _expected:
            os.write(1, b"the loop begins\n")
            os.kill(os.getpid(), signal.SIGTERM)


sys.addaudithook(_watch)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError
