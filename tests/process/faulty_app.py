"""Everything that an application can do wrong, by path; and `/`, which does it right."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from process.lanes import answer, last, part, start
from serval.asgi.types import Message, Receive, Scope, Send

Fault = Callable[[Receive, Send], Awaitable[None]]
FAULTS: Final[dict[str, Fault]] = {}


def fault(function: Fault) -> Fault:
    FAULTS["/" + getattr(function, "__name__", "")] = function
    return function


def app(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    """Not itself a coroutine function: what it returns is the fault's own affair."""
    if scope["path"] == "/nothing_to_await":
        return None  # type: ignore[return-value]  # the fault in question
    if scope["path"] == "/raises_before_there_is_a_coroutine":
        raise ValueError("too early")
    return FAULTS.get(scope["path"], right)(receive, send)


async def right(receive: Receive, send: Send) -> None:
    await answer(send, b"right")


class Odd(Exception):
    """Cannot even be shown."""

    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


# Headers and statuses: each is refused in `send`, where nothing is on the wire yet.

BAD_STARTS: Final[dict[str, Message]] = {
    "name with CR LF": {"status": 200, "headers": [(b"x\r\ny", b"a")]},
    "value with CR LF": {"status": 200, "headers": [(b"x", b"a\r\nset-cookie: b")]},
    "value with LF": {"status": 200, "headers": [(b"x", b"a\nb")]},
    "value with NUL": {"status": 200, "headers": [(b"x", b"a\0b")]},
    "name with a space": {"status": 200, "headers": [(b"x y", b"a")]},
    "name with a colon": {"status": 200, "headers": [(b"x:", b"a")]},
    "empty name": {"status": 200, "headers": [(b"", b"a")]},
    "name of str": {"status": 200, "headers": [("x", b"a")]},
    "value of str": {"status": 200, "headers": [(b"x", "a")]},
    "value of int": {"status": 200, "headers": [(b"content-length", 5)]},
    "field of one": {"status": 200, "headers": [(b"x",)]},
    "field of three": {"status": 200, "headers": [(b"x", b"a", b"b")]},
    "no fields": {"status": 200, "headers": None},
    "a number for fields": {"status": 200, "headers": 5},
    "a dict for fields": {"status": 200, "headers": {b"x": b"a"}},
    "numbers for fields": {"status": 200, "headers": [1, 2]},
    "two lengths": {"status": 200, "headers": [(b"content-length", b"1")] * 2},
    "other lengths": {
        "status": 200,
        "headers": [(b"content-length", b"1"), (b"content-length", b"2")],
    },
    "bad length": {"status": 200, "headers": [(b"content-length", b"-1")]},
    "length in words": {"status": 200, "headers": [(b"content-length", b"five")]},
    "status 0": {"status": 0},
    "status 99": {"status": 99},
    "status 100": {"status": 100},
    "status 1000": {"status": 1000},
    "status of str": {"status": "200"},
    "status of float": {"status": 200.5},
    "status of None": {"status": None},
    "no status": {},
    "status -200": {"status": -200},
}
BAD_MESSAGES: Final[dict[str, object]] = {
    "no type": {"status": 200},
    "unknown type": {"type": "http.response.begin"},
    "type with line end": {"type": "http\r\nrefused 1.2.3.4: 400 forged"},
    "type of list": {"type": ["http.response.start"]},
    "of another protocol": {"type": "websocket.accept"},
    "not a dict": "http.response.start",
    "nothing": None,
    "a number": 5,
    "body before start": {"type": "http.response.body", "body": b"a"},
    "trailers before start": {"type": "http.response.trailers", "headers": []},
    "hint without links": {"type": "http.response.early_hint"},
    "hint of str": {"type": "http.response.early_hint", "links": ["a"]},
    "hint of two lines": {"type": "http.response.early_hint", "links": [b"a\r\nb: c"]},
    "hint of nothing": {"type": "http.response.early_hint", "links": None},
}
BAD_BODIES: Final[dict[str, Message]] = {
    "body of str": {"body": "text"},
    "body of None": {"body": None},
    "body of list": {"body": [b"a"]},
    "body of int": {"body": 5},
    "a second start": {"type": "http.response.start", "status": 200, "headers": []},
    "unknown": {"type": "http.response.pathsend2"},
    "trailers not announced": {"type": "http.response.trailers", "headers": []},
}


def bad_first(message: object) -> Fault:
    async def send_it(receive: Receive, send: Send) -> None:
        await send(message)

    return send_it


def bad_body(message: Message, headers: list[tuple[bytes, bytes]]) -> Fault:
    async def send_it(receive: Receive, send: Send) -> None:
        await start(send, 200, *headers)
        await part(send, b"good")
        await send({"type": "http.response.body", **message})

    return send_it


for name, message in BAD_STARTS.items():
    FAULTS[f"/start/{name.replace(' ', '-')}"] = bad_first(
        {"type": "http.response.start", **message}
    )
for name, anything in BAD_MESSAGES.items():
    FAULTS[f"/message/{name.replace(' ', '-')}"] = bad_first(anything)
for name, message in BAD_BODIES.items():
    FAULTS[f"/body/{name.replace(' ', '-')}"] = bad_body(message, [])


# Exceptions: each before anything is sent, after suspending, and in mid-response.

RAISED: Final[dict[str, Callable[[], BaseException]]] = {
    "ValueError": lambda: ValueError("a\r\nb"),
    "StopIteration": StopIteration,
    "StopAsyncIteration": StopAsyncIteration,
    "AssertionError": AssertionError,
    "MemoryError": MemoryError,
    "BaseException": BaseException,
    "SystemExit": lambda: SystemExit(7),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "TimeoutError": TimeoutError,
    "BrokenPipeError": BrokenPipeError,
    "ConnectionResetError": ConnectionResetError,
    "EOFError": EOFError,
    "UnicodeError": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"),
    "ExceptionGroup": lambda: ExceptionGroup("several", [ValueError("one"), KeyError("two")]),
    "BaseExceptionGroup": lambda: BaseExceptionGroup("several", [KeyboardInterrupt()]),
    "Odd": Odd,
}


def raising(error: Callable[[], BaseException], *, suspended: bool, begun: bool) -> Fault:
    async def raise_it(receive: Receive, send: Send) -> None:
        if suspended:
            await asyncio.sleep(0)
        if begun:
            await start(send)
            await part(send, b"good")
        raise error()

    return raise_it


for name, error in RAISED.items():
    FAULTS[f"/raised/{name}"] = raising(error, suspended=False, begun=False)
    FAULTS[f"/raised-later/{name}"] = raising(error, suspended=True, begun=False)
    FAULTS[f"/raised-amidst/{name}"] = raising(error, suspended=False, begun=True)
    FAULTS[f"/raised-late-amidst/{name}"] = raising(error, suspended=True, begun=True)


@fault
async def recurses(receive: Receive, send: Send) -> None:
    await recurses(receive, send)


@fault
async def returns_without_an_answer(receive: Receive, send: Send) -> None:
    pass


@fault
async def returns_after_start(receive: Receive, send: Send) -> None:
    await start(send)


@fault
async def returns_amidst(receive: Receive, send: Send) -> None:
    await start(send)
    await part(send, b"good")


@fault
async def fails_in_a_task_group(receive: Receive, send: Send) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(60))
        group.create_task(_fail())


async def _fail() -> None:
    await asyncio.sleep(0)
    raise ValueError("one of several")


@fault
async def body_too_long(receive: Receive, send: Send) -> None:
    await start(send, 200, (b"content-length", b"4"))
    await last(send, b"goodbad")


@fault
async def body_too_long_in_parts(receive: Receive, send: Send) -> None:
    await start(send, 200, (b"content-length", b"4"))
    await part(send, b"good")
    await part(send, b"bad")
    await last(send, b"worse")


@fault
async def body_too_short(receive: Receive, send: Send) -> None:
    await start(send, 200, (b"content-length", b"100"))
    await last(send, b"good")


@fault
async def body_too_short_in_parts(receive: Receive, send: Send) -> None:
    await start(send, 200, (b"content-length", b"100"))
    await part(send, b"good")
    await last(send)


@fault
async def sends_after_the_end(receive: Receive, send: Send) -> None:
    await answer(send, b"right")
    await part(send, b"bad")
    await start(send, 500)
    await answer(send, b"bad")


@fault
async def raises_after_the_end(receive: Receive, send: Send) -> None:
    await answer(send, b"right")
    raise ValueError("late")


@fault
async def raises_after_the_end_and_a_pause(receive: Receive, send: Send) -> None:
    await answer(send, b"right")
    await asyncio.sleep(0.01)
    raise SystemExit(3)


@fault
async def no_content_with_a_body(receive: Receive, send: Send) -> None:
    await start(send, 204, (b"content-length", b"3"))
    await last(send, b"bad")


@fault
async def swallows_its_own_faults(receive: Receive, send: Send) -> None:
    with suppress(Exception):
        await send({"type": "http.response.start", "status": "bad"})
    with suppress(Exception):
        await last(send, b"too early")
    await answer(send, b"right")


@fault
async def asks_too_much(receive: Receive, send: Send) -> None:
    """Receives from many tasks at once, and gives up on all of them."""
    waiting = [asyncio.ensure_future(_receive(receive)) for _ in range(100)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await answer(send, b"right")


async def _receive(receive: Receive) -> None:
    await receive()


@fault
async def reads_for_ever(receive: Receive, send: Send) -> None:
    while True:
        await receive()


@fault
async def reads_for_ever_after_its_answer(receive: Receive, send: Send) -> None:
    await answer(send, b"right")
    while True:
        await receive()


@fault
async def never_answers(receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


@fault
async def never_answers_and_cannot_be_cancelled(receive: Receive, send: Send) -> None:
    for _ in range(3):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
