"""Applications for a server that is run as a service: slow to start, blocking, leaving orphans."""

import os
import time

from serval.asgi.types import Receive, Scope, Send

SYSTEMD_VARIABLES = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"}


def say(text: str) -> None:
    """One write, so that lines of several workers never mix."""
    os.write(1, f"app in {os.getpid()}: {text}\n".encode())


async def _live(receive: Receive, send: Send) -> None:
    await receive()
    say(f"starts as {os.getuid()}:{os.getgid()}, HOME {os.environ.get('HOME')}")
    say(f"of the manager's variables it sees {sorted(SYSTEMD_VARIABLES & os.environ.keys())}")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def _answer(send: Send, body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers at once, unless asked to block or to leave an orphan."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    assert scope["type"] == "http"
    if scope["path"] == "/block":
        say("blocks")
        time.sleep(60)  # noqa: ASYNC251 -- that is the point
    if scope["path"] == "/orphan":
        _leave_orphan()
    await receive()
    await _answer(send, str(os.getpid()).encode())


def _leave_orphan() -> None:
    """Fork twice: the grandchild belongs to nobody once its parent has ended."""
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            say("an orphan ends")
        os._exit(0)
    os.waitpid(child, 0)


async def slow_to_start(scope: Scope, receive: Receive, send: Send) -> None:
    """Never completes its startup."""
    assert scope["type"] == "lifespan"
    await receive()
    say("is starting")
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
