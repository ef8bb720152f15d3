"""Starlette as people use it: files, ranges, gzip, middleware around streams, mounts, sockets."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from frameworks.ledger import note

FOLDER = os.environ.get("TEST_FILES", ".")


class State(TypedDict):
    """What lifespan gives to every request."""

    visits: list[int]
    greeting: str


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[State]:
    yield {"visits": [], "greeting": "hello"}
    note("shutdown", os.getpid())


async def stamp(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """The classic middleware, which runs the endpoint in a task of a group of its own."""
    response = await call_next(request)
    response.headers["x-stamped"] = request.method
    return response


class Methods(HTTPEndpoint):
    """One endpoint, several methods."""

    async def get(self, request: Request) -> Response:
        return PlainTextResponse(request.state.greeting)

    async def put(self, request: Request) -> Response:
        return JSONResponse(await request.json())

    async def delete(self, _request: Request) -> Response:
        return Response(status_code=204)


async def where(request: Request) -> Response:
    return JSONResponse(
        {
            "part": request.path_params["part"],
            "raw_path": request.scope["raw_path"].decode(),
            "link": str(request.url_for("where", part="here")),
            "client": request.client.host if request.client else "",
            "query": dict(request.query_params),
            "headers": request.headers.getlist("x-many"),
            "cookies": request.cookies,
        }
    )


async def replace_state(request: Request) -> Response:
    before: str = request.state.greeting
    request.state.greeting = "changed"
    return PlainTextResponse(before)


async def after(request: Request) -> Response:
    key = request.query_params["key"]
    return PlainTextResponse("done", background=BackgroundTask(note, "after", key))


async def count(request: Request) -> Response:
    """A form with a file, sizes only."""
    async with request.form() as form:
        return JSONResponse(
            {
                name: value if isinstance(value, str) else len(await value.read())
                for name, value in form.items()
            }
        )


async def ticks(request: Request) -> Response:
    """Streams without end until the client leaves."""
    key = request.query_params["key"]

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"tick\n"
                await asyncio.sleep(0.01)
        finally:
            note("stopped", key)

    return StreamingResponse(endless())


async def wait_for_leaving(request: Request) -> Response:
    """Answers nothing until it sees that the client has left."""
    note("waiting", request.query_params["key"])
    while not await request.is_disconnected():  # noqa: ASYNC110 - the way an application asks
        await asyncio.sleep(0.01)
    note("noticed", request.query_params["key"])
    return Response()


async def large(_request: Request) -> Response:
    return PlainTextResponse("compressible " * 10_000)


async def download(_request: Request) -> Response:
    return FileResponse(f"{FOLDER}/large.bin", filename="large.bin")


async def early(_request: Request) -> Response:
    """Answers without a look at the body."""
    return PlainTextResponse("no thanks", status_code=403)


class Shout(WebSocketEndpoint):
    """Binary and text over one socket, with a subprotocol."""

    encoding = None

    async def on_connect(self, websocket: WebSocket) -> None:
        await websocket.accept(subprotocol="shout" if websocket.scope["subprotocols"] else None)

    async def on_receive(self, websocket: WebSocket, data: str | bytes) -> None:
        if isinstance(data, bytes):
            await websocket.send_bytes(data[::-1])
        else:
            await websocket.send_text(data.upper())


async def denied(websocket: WebSocket) -> None:
    await websocket.send_denial_response(JSONResponse({"why": "closed"}, status_code=451))


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/methods", Methods),
        Route("/where/{part:path}", where, name="where"),
        Route("/state", replace_state),
        Route("/after", after),
        Route("/form", count, methods=["POST"]),
        Route("/ticks", ticks),
        Route("/wait", wait_for_leaving),
        Route("/download", download),
        Route("/early", early, methods=["POST"]),
        Route("/elsewhere", lambda _: RedirectResponse("/methods")),
        Mount("/files", StaticFiles(directory=FOLDER)),
        WebSocketRoute("/shout", Shout),
        WebSocketRoute("/denied", denied),
        Mount(
            "/through",
            routes=[
                Route("/large", large),
                Route("/ticks", ticks),
                Route("/form", count, methods=["POST"]),
            ],
            middleware=[
                Middleware(BaseHTTPMiddleware, dispatch=stamp),
                Middleware(GZipMiddleware, minimum_size=1_000),
            ],
        ),
    ],
)
