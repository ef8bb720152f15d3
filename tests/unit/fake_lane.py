"""A lane of a few lines, and a loop of fewer: the exchange's coroutines are driven by hand."""

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

from serval.asgi.exchange import Exchange
from serval.asgi.lane import OpenFile
from serval.protocols.events import Headers, RequestReceived
from serval.protocols.response_defaults import ResponseDefaults

END = b"server: serval\r\n\r\n"


class Pause:
    """What a coroutine waits for until it is driven on."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class FakeFile:
    """A file in memory, with what the lane needs of one."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.fd = -1
        self.data = data
        self.size_bytes = len(data)
        self.position = position
        self.is_closed = False

    def fileno(self) -> int:
        return self.fd

    def is_at_hand(self, offset: int, count: int) -> bool:
        return True

    async def fetch(self, offset: int, count: int) -> None:
        """It is all here."""

    async def read(self, offset: int, count: int) -> bytes:
        return self.data[offset : offset + count]

    def leave_at(self, position: int) -> None:
        self.position = position

    def close(self) -> None:
        self.is_closed = True


class FakeLane:
    """Keeps what is written, and counts what is asked of it."""

    def __init__(self) -> None:
        self.wire = b""
        self.congested = self.corked = False
        self.keep_alive = True
        self.done_count = self.broken_count = self.flush_count = self.wanted_count = 0
        self.faults: list[str] = []
        self.opened: list[FakeFile] = []
        self.limits: list[int] = []
        self.when_flushed: Callable[[], None] = lambda: None
        self.when_read_on: Callable[[], bool] = lambda: False

    def queue(self, data: bytes) -> None:
        self.wire += data

    def write(self, data: bytes) -> None:
        self.wire += data
        self.flush()

    def flush(self) -> None:
        self.flush_count += 1
        self.when_flushed()

    async def writable(self) -> None:
        await Pause()

    async def open_file(self, source: Any) -> OpenFile:
        assert isinstance(source, FakeFile)
        await Pause()
        self.opened.append(source)
        return source

    async def send_from(self, file: OpenFile, offset: int, count: int) -> int:
        await Pause()
        data = await file.read(offset, min(count, 4))
        self.wire += data
        return len(data)

    async def input_changed(self) -> None:
        await Pause()

    def body_wanted(self) -> None:
        self.wanted_count += 1

    def read_on(self) -> bool:
        return self.when_read_on()

    def limit_body(self, limit_bytes: int) -> None:
        self.limits.append(limit_bytes)

    def response_done(self) -> None:
        self.done_count += 1

    def break_off(self) -> None:
        self.broken_count += 1

    def fault(self, text: str) -> None:
        self.faults.append(text)


class Waits(Exception):
    """The coroutine waits."""


class Call:
    """A coroutine that is driven by hand."""

    def __init__(self, coroutine: Awaitable[Any]) -> None:
        assert isinstance(coroutine, Coroutine)
        self._coroutine = coroutine

    def go(self) -> Any:
        """Its result; or Waits."""
        try:
            self._coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        raise Waits

    def waits(self) -> bool:
        try:
            self.go()
        except Waits:
            return True
        return False

    def end(self) -> None:
        self._coroutine.close()


class World:
    """An exchange, its lane, and what its application does."""

    def __init__(
        self,
        method: bytes = b"GET",
        *,
        version: str = "1.1",
        keep_alive: bool = True,
        headers: Headers | None = None,
        plain: bool = False,
        **request: Any,
    ) -> None:
        self.lane = FakeLane()
        self.request = RequestReceived(method, b"/", headers or [], version, keep_alive, **request)
        defaults = ResponseDefaults(lambda: 0.0, date=False)
        self.exchange = Exchange(self.request, self.lane, defaults, plain=plain)

    def send(self, **message: Any) -> None:
        Call(self.exchange.send(message)).go()

    def start(self, status: Any = 200, headers: Any = (), **more: Any) -> None:
        self.send(type="http.response.start", status=status, headers=headers, **more)

    def body(self, body: Any = b"", *, more: bool = False) -> None:
        self.send(type="http.response.body", body=body, more_body=more)

    def trailers(self, headers: Any = (), *, more: bool = False) -> None:
        self.send(type="http.response.trailers", headers=headers, more_trailers=more)

    def receive(self) -> Any:
        return Call(self.exchange.receive()).go()

    @property
    def wire(self) -> bytes:
        """What went out, without our own fields at the end of the head."""
        return self.lane.wire.replace(END, b"\r\n", 1)


def upload(method: bytes = b"POST", **request: Any) -> World:
    """A request whose body is still to come."""
    return World(method, complete=False, **{"content_length": 10, **request})
