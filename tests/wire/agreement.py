"""Holds the parser against h11 and against itself, on any input and any cuts.

What it accepts, h11 accepts and reads alike; what it refuses, h11 may accept, since the policy is
stricter.  No cut changes anything.  Shared by the property tests and the fuzzer.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

import h11

from wire.driver import SeenRequest, cut, drive


def check(data: bytes, places: Iterable[int]) -> None:
    """Assert that `data`, whole and cut at the places, is read like h11 reads it."""
    whole = drive([data])
    for outcome in (
        drive(cut(data, places)),
        drive([data] if data else [], short_way=True),
        drive(cut(data, places), short_way=True),
    ):
        assert outcome == whole, "a cut has changed the outcome"
    theirs = read_by_h11(data)
    for ours in whole.requests:
        other = next(theirs, None)
        assert other is not None, f"h11 refuses {ours}"
        if ours.ended:
            assert comparable(ours) == comparable(other)
        else:
            assert head_of(ours) == head_of(other)
            assert other.body.startswith(ours.body)


def comparable(request: SeenRequest) -> tuple[object, ...]:
    """What h11 knows of a request."""
    return (*head_of(request), request.body, request.trailers, request.ended)


def head_of(request: SeenRequest) -> tuple[object, ...]:
    return request.method, request.target, request.headers, request.version


def read_by_h11(data: bytes) -> Iterator[SeenRequest]:
    """The requests that h11 reads, each on a connection of its own, until it refuses one."""
    while data:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 40)
        # h11 knows no empty line before a request line; RFC 9112 section 2.2 does.
        connection.receive_data(data.removeprefix(b"\r\n"))
        request = _request_of(connection)
        if request is None:
            return
        yield request
        if not request.ended:
            return
        data = connection.trailing_data[0]


def _request_of(connection: h11.Connection) -> SeenRequest | None:
    """The first request on a connection, as far as h11 takes it."""
    found: SeenRequest | None = None
    pieces: list[bytes] = []
    trailers: tuple[tuple[bytes, bytes], ...] = ()
    ended = False
    with suppress(h11.RemoteProtocolError):
        while not ended:
            event = connection.next_event()
            if type(event) is h11.Request:
                version = "1.0" if event.http_version == b"1.0" else "1.1"
                headers = tuple(event.headers)
                found = SeenRequest(event.method, event.target, headers, version)
            elif type(event) is h11.Data:
                pieces.append(bytes(event.data))
            elif type(event) is h11.EndOfMessage:
                trailers, ended = tuple(event.headers), True
            else:
                break
    if found is None:
        return None
    return replace(found, body=b"".join(pieces), trailers=trailers, ended=ended)
