"""What the soak of the WSGI lane is served: the same as `mixed_app`, without the echo."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from soak.held import held_bytes
from soak.mixed_app import STREAM_COUNT

Start = Callable[..., object]

_lock = threading.Lock()
_running: set[int] = set()  # the threads that are in a call


def app(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    """Never fails by itself: whatever 5xx a client sees is the server's."""
    with _lock:
        _running.add(threading.get_ident())
    try:
        return _answer(environ, start)
    finally:
        with _lock:
            _running.discard(threading.get_ident())


def _answer(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    match environ["PATH_INFO"]:
        case "/stream":
            start("200 OK", [])
            return _stream()
        case "/early":
            body = b"early"
        case "/late":
            time.sleep(0.002)
            body = b"late"
        case "/tasks":
            body = b"%d" % len(_running)
        case "/held":
            body = b"%d" % held_bytes()
        case _:
            body = b"%d" % _size_of(environ["wsgi.input"])
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def _stream() -> Iterator[bytes]:
    for _ in range(STREAM_COUNT):
        yield bytes(8192)


def _size_of(body: Any) -> int:
    size = 0
    while block := body.read(65_536):
        size += len(block)
    return size
