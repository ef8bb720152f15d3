"""Everything that a WSGI application can do wrong, by path; and `/`, which does it right."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from process.faulty_app import RAISED

Start = Callable[..., Callable[[bytes], object]]
Fault = Callable[[dict[str, Any], Start], Any]

# Refused in `start_response`, or where its result is looked at.
BAD_STARTS: Final[dict[str, tuple[object, object]]] = {
    "reason with CR LF": ("200 OK\r\nset-cookie: a", []),
    "reason with LF": ("200 O\nK", []),
    "status of int": (200, []),
    "status of bytes": (b"200 OK", []),
    "status 99": ("99 Few", []),
    "status 1000": ("1000 Many", []),
    "no status": ("", []),
    "words for a status": ("OK", []),
    "name with CR LF": ("200 OK", [("x\r\ny", "a")]),
    "name with a space": ("200 OK", [("x y", "a")]),
    "empty name": ("200 OK", [("", "a")]),
    "name of bytes": ("200 OK", [(b"x", "a")]),
    "value with CR LF": ("200 OK", [("x", "a\r\nset-cookie: b")]),
    "value with NUL": ("200 OK", [("x", "a\0b")]),
    "value of bytes": ("200 OK", [("x", b"a")]),
    "value of int": ("200 OK", [("content-length", 5)]),
    "value beyond Latin-1": ("200 OK", [("x", "\u20ac")]),
    "field of one": ("200 OK", [("x",)]),
    "no fields": ("200 OK", None),
    "a dict for fields": ("200 OK", {"x": "a"}),
    "bad length": ("200 OK", [("content-length", "-1")]),
    "two lengths": ("200 OK", [("content-length", "1"), ("content-length", "2")]),
}
BAD_RESULTS: Final[dict[str, object]] = {
    "None": None,
    "a number": 5,
    "str": "text",
    "a list of str": ["text"],
    "a list of None": [None],
    "a list of numbers": [1, 2],
}


def bad_start(status: object, fields: object) -> Fault:
    def start_badly(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        start(status, fields)
        return [b"bad"]

    return start_badly


def bad_result(result: object) -> Fault:
    def return_it(environ: dict[str, Any], start: Start) -> object:
        start("200 OK", [])
        return result

    return return_it


def raising(error: Callable[[], BaseException]) -> Fault:
    def raise_it(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        raise error()

    return raise_it


def raising_started(error: Callable[[], BaseException]) -> Fault:
    def raise_it(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("200 OK", [])
        raise error()

    return raise_it


def raising_amidst(error: Callable[[], BaseException]) -> Fault:
    def blocks() -> Iterator[bytes]:
        yield b"good"
        raise error()

    def stream(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("200 OK", [])
        return blocks()

    return stream


def no_start(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    return [b"bad"]


def start_twice(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", [])
    start("200 OK", [])
    return [b"bad"]


def recurse(environ: dict[str, Any], start: Start) -> Any:
    return recurse(environ, start)


def too_long(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", [("Content-Length", "4")])
    return [b"good", b"bad"]


def too_short(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", [("Content-Length", "100")])
    return [b"good"]


def str_amidst(environ: dict[str, Any], start: Start) -> Iterable[Any]:
    start("200 OK", [])
    yield b"good"
    yield "bad"


def no_content_with_a_body(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("204 No Content", [])
    return [b"bad"]


class Unclosable:
    """A body whose `close` fails."""

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"right"])

    def close(self) -> None:
        raise ValueError("cannot be closed")


def close_fails(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", [("Content-Length", "5")])
    return Unclosable()


def reads_on(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    for _ in range(1000):
        environ["wsgi.input"].read()
    return right(environ, start)


def slow(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    time.sleep(0.2)
    return right(environ, start)


def right(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", [("Content-Length", "5")])
    return [b"right"]


def paths(kind: str, faults: dict[str, Fault]) -> dict[str, Fault]:
    return {f"/{kind}/{name.replace(' ', '-')}": fault for name, fault in faults.items()}


ANSWERED: Final[dict[str, Fault]] = {
    **paths("start", {name: bad_start(*given) for name, given in BAD_STARTS.items()}),
    **paths("result", {name: bad_result(given) for name, given in BAD_RESULTS.items()}),
    **paths("raised", {name: raising(error) for name, error in RAISED.items()}),
    **paths("raised-started", {name: raising_started(error) for name, error in RAISED.items()}),
    "/no-start": no_start,
    "/start-twice": start_twice,
    "/recurse": recurse,
}
CUT_SHORT: Final[dict[str, Fault]] = {
    **paths("raised-amidst", {name: raising_amidst(error) for name, error in RAISED.items()}),
    "/too-short": too_short,
    "/str-amidst": str_amidst,
}
SURVIVED: Final[dict[str, Fault]] = {
    "/too-long": too_long,
    "/no-content-with-a-body": no_content_with_a_body,
    "/close-fails": close_fails,
}
HARMLESS: Final[dict[str, Fault]] = {"/reads-on": reads_on, "/slow": slow}
_ALL: Final = ANSWERED | CUT_SHORT | SURVIVED | HARMLESS


def app(environ: dict[str, Any], start: Start) -> Any:
    fault: Fault = _ALL.get(environ["PATH_INFO"], right)
    return fault(environ, start)
