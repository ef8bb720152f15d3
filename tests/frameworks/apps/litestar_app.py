"""Litestar as people use it: typed bodies, dependencies, streams, server-sent events, sockets."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from litestar import Litestar, WebSocket, get, post, websocket, websocket_listener
from litestar.background_tasks import BackgroundTask
from litestar.datastructures import State, UploadFile
from litestar.di import Provide
from litestar.enums import RequestEncodingType
from litestar.params import Body
from litestar.response import Response, ServerSentEvent, Stream

from frameworks.ledger import note


@dataclass
class Order:
    """A body that is validated."""

    name: str
    count: int


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    app.state.loop_id = id(asyncio.get_running_loop())
    yield
    note("shutdown", os.getpid())


async def session(key: str) -> AsyncIterator[str]:
    note("opened", key)
    yield f"session-{key}"
    note("closed", key)


@get("/async")
async def async_handler(state: State) -> dict[str, bool]:
    return {"on_the_loop_of_lifespan": state.loop_id == id(asyncio.get_running_loop())}


@get("/sync", sync_to_thread=True)
def sync_handler() -> int:
    return os.getpid()


@get("/dependency", dependencies={"session": Provide(session)})
async def with_dependency(session: str) -> str:
    return session


@post("/orders")
async def order(data: Order, key: str) -> Response[Order]:
    return Response(data, background=BackgroundTask(note, "confirmed", key))


@post("/upload")
async def upload(
    data: Annotated[UploadFile, Body(media_type=RequestEncodingType.MULTI_PART)],
) -> dict[str, int]:
    return {data.filename: len(await data.read())}


@get("/stream")
async def stream(count: int) -> Stream:
    async def lines() -> AsyncIterator[str]:
        for number in range(count):
            yield f"line {number}\n"

    return Stream(lines())


@get("/events")
async def events(count: int) -> ServerSentEvent:
    async def numbers() -> AsyncIterator[int]:
        for number in range(count):
            yield number
            await asyncio.sleep(0)

    return ServerSentEvent(numbers())


@websocket_listener("/listen")
async def listen(data: dict[str, Any]) -> dict[str, Any]:
    return {"heard": data}


@websocket("/raw")
async def raw(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    await socket.send_bytes(b"first")
    await socket.close(code=4001, reason="enough")


app = Litestar(
    route_handlers=[
        async_handler,
        sync_handler,
        with_dependency,
        order,
        upload,
        stream,
        events,
        listen,
        raw,
    ],
    lifespan=[lifespan],
)
