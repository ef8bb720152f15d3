"""Feeds bytes to an `H1Protocol` and writes down what comes out, whatever the cuts."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from serval.errors import PeerError
from serval.protocols.body_limits import BodyLimits
from serval.protocols.events import BodyReceived, RequestEnded, RequestReceived
from serval.protocols.http1 import H1Protocol, HeadLimits

CORPUS = Path(__file__).parent / "corpus"


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """A request as an application would see it: the same wherever the input was cut."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    version: str = "1.1"
    body: bytes = b""
    trailers: tuple[tuple[bytes, bytes], ...] = ()
    keep_alive: bool = True
    chunked: bool = False
    upgrade: bytes = b""
    ended: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that came of an input.

    Attributes:
        refusal: Status, reason code and offset of the error that ended it, if one did.
        rest: What was never parsed: bytes after a switch of protocols or a last request.
    """

    requests: tuple[SeenRequest, ...]
    refusal: tuple[int, str, int] | None
    rest: bytes = b""


@dataclass(frozen=True, slots=True)
class Case:
    """A file of the corpus beside its expectation; the offset of a refusal may be left open."""

    name: str
    data: bytes
    requests: tuple[SeenRequest, ...]
    refusal: tuple[int, str] | None
    rest: bytes
    limits: HeadLimits = field(default_factory=HeadLimits)
    max_body_bytes: int = 0


def cut(data: bytes, places: Iterable[int]) -> Iterator[bytes]:
    """The pieces of `data` between the places, empty ones left out."""
    start = 0
    for place in [*sorted(places), len(data)]:
        if start < place <= len(data):
            yield data[start:place]
            start = place


class _Log:
    """Gathers the events of a connection into requests."""

    def __init__(self) -> None:
        self.requests: list[SeenRequest] = []
        self._pieces: list[bytes] = []

    def take(self, event: RequestReceived | BodyReceived | RequestEnded) -> None:
        if isinstance(event, RequestReceived):
            self._pieces = [event.body]
            self.requests.append(
                SeenRequest(
                    event.method,
                    event.target,
                    tuple(event.headers),
                    event.http_version,
                    event.body,
                    (),
                    event.keep_alive,
                    event.content_length is None,
                    event.upgrade,
                    event.complete,
                )
            )
        elif isinstance(event, BodyReceived):
            assert event.data, "a piece of a body is never empty"
            self._pieces.append(event.data)
        else:
            self.requests[-1] = replace(
                self.requests[-1], trailers=tuple(event.trailers), ended=True
            )

    def finish(self) -> tuple[SeenRequest, ...]:
        self.settle()
        return tuple(self.requests)

    def settle(self) -> None:
        """Put the body of the last request together."""
        if self.requests:
            self.requests[-1] = replace(self.requests[-1], body=b"".join(self._pieces))


def drive(
    pieces: Iterable[bytes],
    limits: HeadLimits | None = None,
    max_body_bytes: int = 0,
    *,
    short_way: bool = False,
) -> Outcome:
    """Feed the pieces, then the end of the input, as a server does that answers at once.

    Args:
        short_way: Ask `take_request` first, as a connection does between two requests.
    """
    protocol = H1Protocol(limits or HeadLimits(), body_limits=BodyLimits(max_body_bytes))
    log = _Log()
    waiting = iter(pieces)
    try:
        for piece in waiting:
            if not short_way:
                protocol.receive_data(piece)
            elif (request := protocol.take_request(piece)) is not None:
                log.take(request)
            if not _read_all(protocol, log):
                rest = protocol.trailing_data + b"".join(waiting)
                return Outcome(log.finish(), None, rest)
        protocol.receive_eof()
        _read_all(protocol, log)
    except PeerError as refused:
        return Outcome(log.finish(), (refused.status, refused.reason, refused.offset))
    return Outcome(log.finish(), None)


def refused_after(
    pieces: Iterable[bytes], limits: HeadLimits | None = None, max_body_bytes: int = 0
) -> int | None:
    """After how many bytes the refusal comes; None if it waits for more, or their end."""
    protocol = H1Protocol(limits or HeadLimits(), body_limits=BodyLimits(max_body_bytes))
    log = _Log()
    count = 0
    try:
        for piece in pieces:
            count += len(piece)
            protocol.receive_data(piece)
            if not _read_all(protocol, log):
                return None
    except PeerError:
        return count
    return None


def _read_all(protocol: H1Protocol, log: _Log) -> bool:
    """Read what there is; False once nothing more may be read on this connection."""
    while True:
        while (event := protocol.next_event()) is not None:
            log.take(event)
        if not protocol.request_ended:
            return True
        log.settle()
        last = log.requests[-1]
        if not last.keep_alive or last.upgrade == b"websocket":
            return False
        protocol.start_next_cycle()


def _pairs(given: list[list[str]]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in given)


def load(path: Path) -> Case:
    """Read a case: NAME.http, the raw bytes, and NAME.json, what is expected.

    All text in the JSON is Latin-1, a character for a byte.  What it leaves out has the default of
    `SeenRequest` and `Case`.
    """
    wanted = json.loads(path.with_suffix(".json").read_text("ascii"))
    requests = tuple(
        SeenRequest(
            request["method"].encode("latin-1"),
            request["target"].encode("latin-1"),
            _pairs(request["headers"]),
            request.get("version", "1.1"),
            request.get("body", "").encode("latin-1"),
            _pairs(request.get("trailers", [])),
            request.get("keep_alive", True),
            request.get("chunked", False),
            request.get("upgrade", "").encode("latin-1"),
            request.get("ended", True),
        )
        for request in wanted["requests"]
    )
    refusal = wanted.get("refusal")
    return Case(
        path.relative_to(CORPUS).with_suffix("").as_posix(),
        path.read_bytes(),
        requests,
        (refusal["status"], refusal["reason"]) if refusal else None,
        wanted.get("rest", "").encode("latin-1"),
        HeadLimits(**wanted.get("limits", {})),
        wanted.get("max_body_bytes", 0),
    )


def cases() -> list[Case]:
    """The whole corpus, by name."""
    return [load(path) for path in sorted(CORPUS.rglob("*.http"))]
