"""BlackSheep as people use it: bindings, uploads, streams, server-sent events, sockets."""

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass

from blacksheep import (
    Application,
    FromFiles,
    FromJSON,
    FromQuery,
    Request,
    Response,
    StreamedContent,
    WebSocket,
    WebSocketDisconnectError,
    get,
    json,
    post,
    text,
    ws,
)
from blacksheep.server.sse import ServerSentEvent

from frameworks.ledger import note

app = Application()
loops: list[int] = []


@dataclass
class Order:
    """A body that is bound."""

    name: str
    count: int


@app.on_start
async def start(_app: Application) -> None:
    loops.append(id(asyncio.get_running_loop()))


@app.on_stop
async def stop(_app: Application) -> None:
    note("shutdown", os.getpid())


@get("/async")
async def async_handler() -> Response:
    return json({"on_the_loop_of_lifespan": loops == [id(asyncio.get_running_loop())]})


@get("/sync")
def sync_handler() -> Response:
    return text(str(os.getpid()))


@post("/orders")
async def order(data: FromJSON[Order]) -> Response:
    return json({"name": data.value.name, "count": data.value.count + 1})


@post("/upload")
async def upload(files: FromFiles) -> Response:
    return json([len(part.data) for part in files.value])


@post("/chunks")
async def chunks(request: Request) -> Response:
    size = 0
    async for part in request.stream():  # type: ignore[attr-defined]  # its stub is wrong
        size += len(part)
    return json({"size": size})


@get("/stream")
async def stream(count: FromQuery[int]) -> Response:
    async def lines() -> AsyncIterator[bytes]:
        for number in range(count.value):
            yield f"line {number}\n".encode()

    return Response(200, content=StreamedContent(b"text/plain", lines))


@get("/events")
async def events() -> AsyncIterable[ServerSentEvent]:
    for number in range(20):
        yield ServerSentEvent({"number": number})
        await asyncio.sleep(0.001)


@ws("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnectError as exc:
        note("left", exc.code)
