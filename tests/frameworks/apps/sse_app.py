"""Server-sent events by sse-starlette, endless and bounded, in Starlette."""

import asyncio
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from frameworks.ledger import note


async def bounded(request: Request) -> Response:
    async def numbers() -> AsyncIterator[ServerSentEvent]:
        for number in range(int(request.query_params["count"])):
            yield ServerSentEvent(str(number), id=str(number), event="number")

    return EventSourceResponse(numbers())


async def endless(request: Request) -> Response:
    key = request.query_params["key"]

    async def ticks() -> AsyncIterator[dict[str, str]]:
        note("called", key)
        try:
            while True:
                yield {"data": "tick"}
                await asyncio.sleep(0.02)
        finally:
            note("stopped", key)

    return EventSourceResponse(ticks(), ping=1)


async def polled(request: Request) -> Response:
    """The other common loop: it asks whether the client is still there."""
    key = request.query_params["key"]

    async def ticks() -> AsyncIterator[dict[str, str]]:
        try:
            while not await request.is_disconnected():
                yield {"data": "tick"}
                await asyncio.sleep(0.02)
        finally:  # the loop saw it, or the response cancelled it: whichever was first
            note("stopped", key)

    return EventSourceResponse(ticks())


app = Starlette(
    routes=[
        Route("/bounded", bounded),
        Route("/endless", endless),
        Route("/polled", polled),
    ]
)
