"""A WSGI application that behaves and misbehaves on request, under the eyes of wsgiref.validate."""

import gc
import hashlib
import json
import os
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from wsgiref.validate import validator

from process.kill_threads import kill_others

Start = Callable[..., Callable[[bytes], object]]

PLAIN = [("Content-Type", "text/plain")]
FILE = Path(__file__)
running = 0
most_running = 0
lock = threading.Lock()


def say(text: str) -> None:
    os.write(1, f"app: {text}\n".encode())


class Told:
    """A body that says when it is closed."""

    def __init__(self, blocks: Iterator[bytes], name: str) -> None:
        self._blocks = blocks
        self._name = name

    def __iter__(self) -> Iterator[bytes]:
        return self._blocks

    def close(self) -> None:
        say(f"closed {self._name}")


def hello(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    body = b"" if environ["REQUEST_METHOD"] == "HEAD" else b"hello"
    start("200 OK", [*PLAIN, ("Content-Length", "5")])
    return [body]


def shown(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    lines = "".join(f"{key}={value}\n" for key, value in sorted(environ.items()))
    start("200 Very Well", PLAIN)
    return [lines.encode("latin-1", "backslashreplace")]


def digest(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    found = hashlib.sha256()
    size = 0
    while block := environ["wsgi.input"].read(10_000):
        found.update(block)
        size += len(block)
    start("200 OK", PLAIN)
    return [f"{size} {found.hexdigest()}".encode()]


def ignored(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", PLAIN)
    return [b"not read"]


def stream(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", PLAIN)
    return Told((b"%d\n" % number for number in range(1000)), "stream")


def endless(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    def blocks() -> Iterator[bytes]:
        while True:
            yield b"x" * 50_000

    start("200 OK", PLAIN)
    return Told(blocks(), "endless")


def written(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    write = start("200 OK", PLAIN)
    for number in range(10):
        write(b"%d\n" % number)
    return [b"end"]


def file(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    big = TemporaryFile()  # noqa: SIM115 - closed with the response
    big.write(bytes(range(256)) * 8192)
    big.seek(256)
    start("200 OK", PLAIN)
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](big)
    return wrapped


def small_file(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", PLAIN)
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](FILE.open("rb"), 1000)
    return wrapped


def nothing(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("204 No Content", [])
    return []


def not_modified(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("304 Not Modified", [("ETag", '"x"')])
    return []


def raising(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    raise ValueError("on purpose")


def raising_late(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    def blocks() -> Iterator[bytes]:
        yield b"begun"
        raise ValueError("on purpose, late")

    start("200 OK", PLAIN)
    return Told(blocks(), "raising late")


def exiting(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    raise SystemExit(3)


def too_long(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", [*PLAIN, ("Content-Length", "3")])
    return iter([b"abc", b"def"])


def too_short(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", [*PLAIN, ("Content-Length", "30")])
    return iter([b"abc"])


def sleep(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    global running, most_running  # noqa: PLW0603 - counted over all threads
    with lock:
        running += 1
        most_running = max(most_running, running)
    time.sleep(0.5)
    with lock:
        running -= 1
    return hello(environ, start)


def pause(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    time.sleep(0.002)
    return hello(environ, start)


def most(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", PLAIN)
    return [str(most_running).encode()]


def listed(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", [*PLAIN, ("Content-Length", "9")])
    return [b"one", b"two", b"six"] if environ["REQUEST_METHOD"] != "HEAD" else []


def large(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    """More than a socket takes at once."""
    start("200 OK", [*PLAIN, ("Content-Length", str(2**22))])
    return [b"x" * 2**22 if environ["REQUEST_METHOD"] != "HEAD" else b""]


def no_length(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", PLAIN)
    return [b"whole" if environ["REQUEST_METHOD"] != "HEAD" else b""]


def started_anew(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", PLAIN)
    try:
        int("no number")
    except ValueError:
        start("503 Not Today", [*PLAIN, ("Content-Length", "5")], sys.exc_info())
    return [b"sorry" if environ["REQUEST_METHOD"] != "HEAD" else b""]


def closing(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    """The connection is the server's, but this is heard."""
    start("200 OK", [*PLAIN, ("Content-Length", "5")])
    return Told(iter([b"hello"] if environ["REQUEST_METHOD"] != "HEAD" else []), "closing")


def kill(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", PLAIN)
    return [kill_others().encode()]


class Held:
    """Something large that an application has in its hands as its client leaves."""


held: list[weakref.ref[Held]] = []


def hold(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    gc.disable()  # what is kept shall not go by chance
    one = Held()
    held.append(weakref.ref(one))
    return digest(environ, start)


def still_held(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", PLAIN)
    return [b"%d of %d" % (sum(one() is not None for one in held), len(held))]


def sleep_when_left(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    try:
        return digest(environ, start)
    except OSError:
        time.sleep(1.0)
        say("has slept")
        raise


def sleep_before_reading(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    time.sleep(0.5)
    environ["wsgi.input"].read(10)
    return hello(environ, start)


counts: Counter[str] = Counter()


def counted(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    """Do what the path says, and count that it was asked for under the name at its end."""
    _, _, what, name = environ["PATH_INFO"].split("/")
    with lock:
        counts[name] += 1
    return (UNSEEN.get(f"/{what}") or ROUTES.get(f"/{what}", hello))(environ, start)


def all_counts(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", PLAIN)
    return [json.dumps(counts).encode()]


ROUTES = {
    "/counts": all_counts,
    "/": hello,
    "/environ": shown,
    "/digest": digest,
    "/ignored": ignored,
    "/stream": stream,
    "/endless": endless,
    "/written": written,
    "/nothing": nothing,
    "/not-modified": not_modified,
    "/raising": raising,
    "/raising-late": raising_late,
    "/exiting": exiting,
    "/sleep": sleep,
    "/pause": pause,
    "/most": most,
    "/kill": kill,
    "/sleep-before-reading": sleep_before_reading,
    "/sleep-when-left": sleep_when_left,
    "/hold": hold,
    "/still-held": still_held,
    "/listed": listed,
    "/large": large,
    "/no-length": no_length,
    "/started-anew": started_anew,
    "/closing": closing,
}


def routed(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    if environ["PATH_INFO"].startswith("/counted/"):
        return counted(environ, start)
    return ROUTES.get(environ["PATH_INFO"], hello)(environ, start)


validated = validator(routed)
# What the validator wraps is no file any more, and it has an opinion on lengths of its own.
UNSEEN = {
    "/file": file,
    "/small-file": small_file,
    "/too-long": too_long,
    "/too-short": too_short,
}


def app(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    called = UNSEEN.get(path, validated)
    if path.startswith("/counted/") and f"/{path.split('/')[2]}" in UNSEEN:
        called = counted
    result: Iterable[bytes] = called(environ, start_response)
    return result
