"""FastAPI as people use it: dependencies that clean up, tasks, uploads, streams, sockets."""

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, TypedDict

from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, UploadFile, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.websockets import WebSocketDisconnect

from frameworks.ledger import note


class State(TypedDict):
    """What lifespan gives to every request."""

    lock: asyncio.Lock
    loop_id: int
    visits: list[str]


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
    note("startup", os.getpid())
    yield {"lock": asyncio.Lock(), "loop_id": id(asyncio.get_running_loop()), "visits": []}
    note("shutdown", os.getpid())


app = FastAPI(lifespan=lifespan)


class Order(BaseModel):
    """A body that is validated."""

    name: str
    count: int


async def async_session(key: str) -> AsyncIterator[str]:
    note("opened", key)
    try:
        yield f"session-{key}"
    finally:
        note("closed", key)


def sync_session(key: str) -> Iterator[str]:
    note("opened", key)
    try:
        yield f"session-{key}"
    finally:
        note("closed", key)


@app.get("/async")
async def async_endpoint() -> dict[str, int]:
    return {"pid": os.getpid()}


@app.get("/sync")
def sync_endpoint() -> dict[str, object]:
    on_main_thread = threading.current_thread() is threading.main_thread()
    return {"pid": os.getpid(), "on_main_thread": on_main_thread}


@app.get("/dependency/async")
async def with_async_dependency(session: Annotated[str, Depends(async_session)]) -> str:
    return session


@app.get("/dependency/sync")
def with_sync_dependency(session: Annotated[str, Depends(sync_session)]) -> str:
    return session


@app.get("/dependency/broken")
async def with_broken_handler(session: Annotated[str, Depends(async_session)]) -> str:
    raise HTTPException(409, detail=session)


@app.post("/orders", status_code=201)
async def order(order: Order, tasks: BackgroundTasks, key: str) -> Order:
    tasks.add_task(note, "confirmed", key)
    return order


@app.post("/upload")
async def upload(file: UploadFile) -> dict[str, object]:
    content = await file.read()
    digest = hashlib.sha256(content).hexdigest()
    return {"name": file.filename, "size": len(content), "sha256": digest}


@app.post("/raw")
async def raw(request: Request) -> dict[str, object]:
    digest, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        digest.update(chunk)
        size += len(chunk)
    return {"size": size, "sha256": digest.hexdigest()}


@app.get("/stream/async")
async def async_stream(count: int) -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        for number in range(count):
            yield f"line {number}\n"
            await asyncio.sleep(0)

    return StreamingResponse(lines(), media_type="text/plain")


@app.get("/stream/sync")
def sync_stream(count: int) -> StreamingResponse:
    return StreamingResponse((f"line {n}\n" for n in range(count)), media_type="text/plain")


@app.get("/state")
async def state(request: Request) -> dict[str, bool]:
    async with request.state.lock:
        await asyncio.sleep(0.001)
    return {"on_the_loop_of_lifespan": request.state.loop_id == id(asyncio.get_running_loop())}


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept(headers=[(b"x-pid", str(os.getpid()).encode())])
    try:
        while True:
            message = await websocket.receive_json()
            await websocket.send_json({"echo": message, "loop": websocket.state.loop_id})
    except WebSocketDisconnect as exc:
        note("left", websocket.query_params["key"], exc.code)


@app.websocket("/refused")
async def refused(websocket: WebSocket) -> None:
    await websocket.close(code=4003)


@app.websocket("/dependency")
async def socket_dependency(
    websocket: WebSocket, session: Annotated[str, Depends(async_session)]
) -> None:
    await websocket.accept()
    await websocket.send_text(session)
    await websocket.close(code=4000, reason="that was all")
