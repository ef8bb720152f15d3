"""A connection whose wire is a few lists: what the peer sends is said, what it gets is read."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

from serval.asgi.types import ASGIApp, Receive, Scope, Send
from serval.config import ServerConfig
from serval.lifecycle import Lane
from serval.protocols.events import RequestReceived
from serval.worker.connections.connection import HttpConnection
from serval.worker.connections.wire import State
from serval.worker.deadlines import Wait
from serval.worker.service import Service

UNBOUNDED = 1 << 40


class StubConnection(HttpConnection):
    """Keeps what it is to send.

    Attributes:
        sent: What the socket has taken.
        room: How much more it takes.
        late: What lies unread in it.
        reading: Whether bytes are let in.
        is_shut: Nothing more will be sent.
        ended: How it was closed: "closed", "reset"; or "handed over".
    """

    __slots__ = ("ended", "handed", "is_shut", "late", "reading", "room", "sent", "when_flushed")

    lane: ClassVar[Lane] = "sync"

    def __init__(self, service: Service) -> None:
        self.sent = b""
        self.room = UNBOUNDED
        self.late = b""
        self.reading = True
        self.is_shut = False
        self.ended = ""
        self.handed: tuple[RequestReceived, Scope] | None = None
        self.when_flushed: Callable[[], None] = lambda: None
        super().__init__(service, ("client", 1), ("server", 2))
        self._wait_for(Wait.HEAD)

    def flush(self) -> None:
        if not self._out:
            return
        data = b"".join(self._out)
        taken, rest = data[: self.room], data[self.room :]
        self.room -= len(taken)
        self.sent += taken
        self._out[:] = [rest] if rest else []
        self._out_bytes = len(rest)
        if rest:
            self.congested = True
            self._expect_progress()
        self.when_flushed()

    def take(self, count: int = UNBOUNDED) -> None:
        """Let the peer read so much."""
        self.room = count
        self.flush()
        if not self._out:
            self._all_sent()

    def _set_reading(self, reading: bool) -> None:
        self.reading = reading

    def _shut_output(self) -> None:
        self.is_shut = True

    def _close_wire(self, *, reset: bool) -> None:
        self.ended = "reset" if reset else "closed"

    def _unread(self) -> int:
        return sum(map(len, self._out))

    def _take_late_bytes(self) -> bool:
        data, self.late = self.late, b""
        if data:
            self.data_received(data)
        return bool(data)

    def _hand_over(self, request: RequestReceived, scope: Scope) -> None:
        self.ended = "handed over"
        self.handed = request, scope

    def taken(self) -> bytes:
        """What the peer got since the last time."""
        data, self.sent = self.sent, b""
        return data

    def at(self, state: State) -> bool:
        """Whether it has come so far."""
        return self.state is state

    def waits_for(self) -> set[Wait]:
        """In which queues it waits."""
        queues = self.service.sweeper.deadlines.queues
        return {wait for wait, queue in queues.items() if self in queue}


class Peer:
    """A connection in the hands of a test: whatever is called of it is called by the loop.

    Attributes:
        connection: Itself, for several calls in one turn of the loop.
    """

    connection: StubConnection

    def __init__(self, world: "World", connection: StubConnection) -> None:
        vars(self).update(world=world, connection=connection)

    def __getattr__(self, name: str) -> Any:
        value = getattr(vars(self)["connection"], name)
        return partial(vars(self)["world"].call, value) if callable(value) else value

    def __setattr__(self, name: str, value: object) -> None:
        setattr(vars(self)["connection"], name, value)


class World:
    """A service with a loop that is turned by hand."""

    def __init__(self, runner: asyncio.Runner, app: ASGIApp, **config: Any) -> None:
        self._runner = runner
        self.loop = runner.get_loop()
        self.service = Service(app, ServerConfig(date_header=False, **config), self.loop)

    def connect(self) -> Peer:
        return Peer(self, StubConnection(self.service))

    def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call something as the loop does, which is in no task."""
        if self.loop.is_running():
            return function(*arguments, **named)

        async def wait() -> Any:
            done = self.loop.create_future()

            def step() -> None:
                try:
                    done.set_result(function(*arguments, **named))
                except Exception as error:
                    done.set_exception(error)

            self.loop.call_soon(step)
            return await done

        return self._runner.run(wait())

    def receiving(self, receive: Receive) -> "asyncio.Task[Any]":
        """A task that receives."""

        async def one() -> Any:
            return await receive()

        return self.loop.create_task(one())

    def wait(self, event: asyncio.Event) -> None:
        """Let everything run until that is set."""
        self._runner.run(asyncio.wait_for(event.wait(), 20))

    def turn(self, count: int = 3) -> None:
        """Let everything run that can."""

        async def sleep() -> None:
            for _ in range(count):
                await asyncio.sleep(0)

        self._runner.run(sleep())


@contextmanager
def world_of(app: ASGIApp, **config: Any) -> Iterator[World]:
    with asyncio.Runner() as runner:
        world = World(runner, app, **config)
        yield world
        world.service.sweeper.close()
        for task in list(world.service.tasks):
            task.cancel()
        world.turn()


class App:
    """An application that does as it is told, request by request."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.receives: list[Receive] = []
        self.sends: list[Send] = []
        self.waits = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer at once, or when `answer` is called."""
        self.scopes.append(scope)
        self.receives.append(receive)
        self.sends.append(send)
        if self.waits:
            self._gate = asyncio.Event()
            await self._gate.wait()
        await respond(send, scope["path"].encode())

    def answer(self) -> None:
        """Let the running request be answered."""
        self._gate.set()


async def respond(send: Send, body: bytes = b"") -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


def ok(body: bytes, line: bytes = b"") -> bytes:
    """The response of `respond`, with what the server adds."""
    return (
        b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n" % len(body)
        + line
        + b"server: serval\r\n\r\n"
        + body
    )


CLOSE = b"connection: close\r\n"


def get(path: str = "/", *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "host: x", *lines, "", ""]).encode()


def post(path: str, size: int, *lines: str) -> bytes:
    return get(path, f"content-length: {size}", *lines).replace(b"GET", b"POST", 1)
