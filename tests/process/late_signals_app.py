"""An application in whose process signals to stop come once more while the interpreter ends."""

import atexit
import os
import signal

from serval.asgi.types import Receive, Scope, Send


@atexit.register
def signal_itself() -> None:
    os.write(1, b"signals itself\n")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        os.kill(os.getpid(), number)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError
