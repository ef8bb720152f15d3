"""Quart as people use it: request bodies, files, streams, background tasks, sockets."""

import asyncio
import os
from collections.abc import AsyncIterator

from quart import Quart, Response, jsonify, request, websocket

from frameworks.ledger import note

app = Quart(__name__)
app.config["MAX_CONTENT_LENGTH"] = 50_000_000


@app.before_serving
async def start() -> None:
    app.extensions["loop_id"] = id(asyncio.get_running_loop())


@app.after_serving
async def stop() -> None:
    note("shutdown", os.getpid())


@app.get("/async")
async def async_view() -> Response:
    same = app.extensions["loop_id"] == id(asyncio.get_running_loop())
    return jsonify(on_the_loop_of_lifespan=same)


@app.get("/sync")
def sync_view() -> Response:
    return Response(str(os.getpid()))


@app.post("/json")
async def json_view() -> Response:
    return jsonify(await request.get_json())


@app.post("/upload")
async def upload() -> Response:
    files = await request.files
    form = await request.form
    return jsonify(size=len(files["file"].read()), name=form["name"])


@app.post("/chunks")
async def chunks() -> Response:
    size = 0
    async for part in request.body:
        size += len(part)
    return jsonify(size=size)


@app.get("/stream")
async def stream() -> Response:
    count = int(request.args["count"])

    async def lines() -> AsyncIterator[bytes]:
        for number in range(count):
            yield f"line {number}\n".encode()

    return Response(lines(), mimetype="text/plain")


@app.get("/background")
async def background() -> Response:
    async def later(key: str) -> None:
        await asyncio.sleep(0.01)
        note("later", key)

    app.add_background_task(later, request.args["key"])
    return Response("begun")


@app.get("/broken")
async def broken() -> Response:
    raise ValueError("a fault of the application")


@app.websocket("/echo")
async def echo() -> None:
    await websocket.accept()
    while True:
        await websocket.send(await websocket.receive())
