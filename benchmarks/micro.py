"""What the pieces of a request cost, one by one, without sockets.

    python -m benchmarks.micro [NAME ...]      names or beginnings of names; without: all

Needs Serval installed, or `PYTHONPATH=src`.  Figures are the least of several repeats, in
nanoseconds a call: neighbours on the machine only ever add.
"""

import platform
import sys
import time
import timeit
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from typing import Final

import h11

from benchmarks.conversations import MASK, websocket
from benchmarks.works import BROWSER_HEADERS
from serval.asgi.exchange import Exchange
from serval.asgi.lane import NoLane
from serval.asgi.scope import http_scope, scope_template
from serval.protocols.events import RequestReceived
from serval.protocols.frames import MessageLimits, unmask
from serval.protocols.http1 import H1Protocol
from serval.protocols.messages import MessageStream
from serval.protocols.response import response_head
from serval.protocols.response_defaults import ResponseDefaults

HEADER_COUNTS: Final = (1, 4, 13, 30, 60)
UNIQUE_COUNT: Final = 4096  # more than any memory of ours holds, so that each call is a new one
REPEATS: Final = 7
REPEAT_SECONDS: Final = 0.1

Piece = Callable[[], object]
CLIENT: Final = ("127.0.0.1", 50_000)
SERVER: Final = ("127.0.0.1", 8_000)
HEADERS: Final = [(b"content-type", b"text/plain"), (b"content-length", b"13")]
START: Final = {"type": "http.response.start", "status": 200, "headers": HEADERS}
BODY: Final = {"type": "http.response.body", "body": b"Hello, World!"}


class Nowhere(NoLane):
    """A connection that goes nowhere: what is left is the exchange alone."""

    corked = False
    keep_alive = True


def head(count: int, mark: int = 0) -> bytes:
    """A request head of so many fields; a different mark makes a different head."""
    lines = ["GET /items/42 HTTP/1.1", f"Host: 127.0.0.1:{8000 + mark % 1000}"]
    browser = [f"{name}: {value}" for name, value in BROWSER_HEADERS.items()]
    further = [f"X-Field-{number}: value {number} of {mark}" for number in range(count)]
    lines += ([] if mark else browser)[: count - 1]
    lines += further[: count + 1 - len(lines)]
    return "\r\n".join([*lines, "", ""]).encode()


def parsed(data: bytes) -> RequestReceived:
    """The request in these bytes."""
    parser = H1Protocol()
    parser.receive_data(data)
    request = parser.next_event()
    assert isinstance(request, RequestReceived)
    return request


def read_head(parser: H1Protocol, heads: Iterator[bytes]) -> object:
    """As a connection reads it that was idle."""
    data = next(heads)
    request = parser.take_request(data) or parser.next_event()
    parser.start_next_cycle()
    return request


def read_by_h11(data: bytes) -> object:
    """For comparison."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    return connection.next_event()


def head_pieces() -> Iterator[tuple[str, Piece]]:
    """Reading a request head: the same again, always a new one, and h11 for comparison."""
    for count in HEADER_COUNTS:
        name = f"head of {count:2} fields"
        same = cycle([head(count)])
        fresh = cycle([head(count, mark) for mark in range(1, UNIQUE_COUNT)])
        yield f"{name}, seen before", partial(read_head, H1Protocol(), same)
        yield f"{name}, always new", partial(read_head, H1Protocol(), fresh)
        yield f"{name}, h11", partial(read_by_h11, head(count))


def request_pieces() -> Iterator[tuple[str, Piece]]:
    """From a request to a scope, and through an exchange with a plain answer."""
    request = parsed(head(13))
    template = scope_template(server=SERVER, scheme="http", root_path="", lane="sync")
    lane, defaults = Nowhere(), ResponseDefaults(time.time)

    async def answer(exchange: Exchange) -> None:
        await exchange.send(START)
        await exchange.send(BODY)

    def exchanged() -> None:
        try:
            answer(Exchange(request, lane, defaults)).send(None)
        except StopIteration:
            return
        raise AssertionError("an exchange waited although nothing was to be waited for")

    fresh = cycle([[*HEADERS, (b"x-mark", b"%d" % mark)] for mark in range(UNIQUE_COUNT)])
    yield "scope", partial(http_scope, template, CLIENT, request, {})
    yield "exchange, from the request to the last byte", exchanged
    yield "response head, seen before", partial(response_head, 200, HEADERS)
    yield "response head, always new", lambda: response_head(200, next(fresh))


def read_frame(protocol: MessageStream, frame: bytes) -> object:
    """One message in."""
    return protocol.receive_data(frame)


def frame_pieces() -> Iterator[tuple[str, Piece]]:
    """Messages of a WebSocket, in and out."""
    for size in (64, 4096):
        protocol, payload = MessageStream(MessageLimits()), bytes(size)
        name = f"frame of {size} bytes"
        yield f"{name}, in", partial(read_frame, protocol, websocket(size).request)
        yield f"{name}, unmasking alone", partial(unmask, payload, MASK)
        yield f"{name}, out", partial(protocol.binary, payload)


def nanoseconds(piece: Piece) -> float:
    """The least time of a call over some repeats."""
    timer = timeit.Timer(piece)
    once = max(timer.timeit(100) / 100, 1e-8)
    number = max(100, int(REPEAT_SECONDS / once))
    return min(timer.repeat(REPEATS, number)) / number * 1e9


def main() -> None:
    """Time what was asked for."""
    wanted = tuple(sys.argv[1:])
    print(f"CPython {platform.python_version()}, nanoseconds a call")
    for pieces in (head_pieces, request_pieces, frame_pieces):
        for name, piece in pieces():
            if not wanted or name.startswith(wanted):
                print(f"{nanoseconds(piece):10,.0f}  {name}", flush=True)


if __name__ == "__main__":
    main()
