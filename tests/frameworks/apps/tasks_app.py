"""What a request may expect of asyncio: a real task, timeouts, groups, context, cancellation.

Every path answers with JSON; a test compares it with what plain asyncio would give.
"""

import asyncio
import contextvars
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypedDict

import aiosqlite
import anyio
from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from frameworks.ledger import note

from_lifespan: contextvars.ContextVar[str] = contextvars.ContextVar("from_lifespan")
from_request: contextvars.ContextVar[str] = contextvars.ContextVar("from_request")


class State(TypedDict):
    """What lifespan makes: things that belong to its loop and thread."""

    database: aiosqlite.Connection
    lock: asyncio.Lock
    queue: asyncio.Queue[tuple[int, asyncio.Future[int]]]
    loop_id: int
    thread_id: int


async def square(queue: asyncio.Queue[tuple[int, asyncio.Future[int]]]) -> None:
    """A worker task beside the requests, which it answers through futures."""
    while True:
        number, answer = await queue.get()
        if not answer.cancelled():
            answer.set_result(number * number)


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[State]:
    from_lifespan.set("set in lifespan")
    queue: asyncio.Queue[tuple[int, asyncio.Future[int]]] = asyncio.Queue()
    async with aiosqlite.connect(os.environ["TEST_DATABASE"], timeout=20) as database:
        await database.execute("create table if not exists visits (name text)")
        await database.commit()
        squares = asyncio.create_task(square(queue))
        yield {
            "database": database,
            "lock": asyncio.Lock(),
            "queue": queue,
            "loop_id": id(asyncio.get_running_loop()),
            "thread_id": threading.get_ident(),
        }
        squares.cancel()
    note("closed", os.getpid())


async def visit(request: Request) -> Response:
    """Writes and reads over the one connection that lifespan opened."""
    name = request.query_params["name"]
    database: aiosqlite.Connection = request.state.database
    async with request.state.lock:  # the other worker's lock is the file's
        await database.execute("insert into visits values (?)", (name,))
        await database.commit()
        query = "select count(*) from visits where name = ?"
        (row,) = await database.execute_fetchall(query, (name,))
    return JSONResponse(row[0])


async def place(request: Request) -> Response:
    task = asyncio.current_task()
    return JSONResponse(
        {
            "task": task is not None and task in asyncio.all_tasks(),
            "loop": id(asyncio.get_running_loop()) == request.state.loop_id,
            "thread": threading.get_ident() == request.state.thread_id,
        }
    )


async def timeout(_request: Request) -> Response:
    began = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(0.05):
            await asyncio.sleep(30)
    except TimeoutError:
        took = asyncio.get_running_loop().time() - began
        return JSONResponse({"timed_out": True, "soon": took < 10})
    return JSONResponse({"timed_out": False})


async def unneeded_timeout(_request: Request) -> Response:
    """A timeout around something that never suspends, as a first step of a task."""
    async with asyncio.timeout(30):  # noqa: ASYNC100 - that is the point
        value = 1
    with anyio.fail_after(30):  # noqa: ASYNC100
        value += 1
    return JSONResponse(value)


async def group(_request: Request) -> Response:
    found: list[int] = []

    async def find(number: int) -> None:
        await anyio.sleep(0.001 * (10 - number))
        found.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(find, number)
    return JSONResponse(sorted(found))


async def failing_group(_request: Request) -> Response:
    """One child fails: its sibling is cancelled, the request goes on."""
    seen: list[str] = []

    async def sibling() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            seen.append("sibling cancelled")
            raise

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("on purpose")

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(sibling())
            tasks.create_task(fail())
    except* ValueError:
        seen.append("fault seen")
    return JSONResponse(seen)


async def self_cancelled(_request: Request) -> Response:
    """Cancels the task of the request and takes it back, as timeouts do inside."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        return JSONResponse(task.uncancel())
    return JSONResponse("never cancelled")


async def cancelled(_request: Request) -> Response:
    """Cancels the task of the request and lets it be."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(30)
    return JSONResponse("never cancelled")


async def context(_request: Request) -> Response:
    before = from_request.get("unset")
    from_request.set("set in a request")
    in_thread = await to_thread.run_sync(from_request.get)
    return JSONResponse([from_lifespan.get("lost"), before, in_thread])


async def queued(request: Request) -> Response:
    answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    request.state.queue.put_nowait((int(request.query_params["number"]), answer))
    return JSONResponse(await answer)


async def subprocess(_request: Request) -> Response:
    process = await asyncio.create_subprocess_exec(
        "echo", "from a child", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return JSONResponse([output.decode(), process.returncode])


async def socket(websocket: WebSocket) -> None:
    before = from_request.get("unset")
    from_request.set("set in a socket")
    await websocket.accept()
    await websocket.send_json(
        [
            from_lifespan.get("lost"),
            before,
            id(asyncio.get_running_loop()) == websocket.state.loop_id,
            asyncio.current_task() is not None,
        ]
    )
    await websocket.close()


Endpoint = Callable[[Request], Awaitable[Response]]
ENDPOINTS: tuple[Endpoint, ...] = (
    visit,
    place,
    timeout,
    unneeded_timeout,
    group,
    failing_group,
    self_cancelled,
    cancelled,
    context,
    queued,
    subprocess,
)

app = Starlette(
    lifespan=lifespan,
    routes=[
        *(Route("/" + getattr(endpoint, "__name__", ""), endpoint) for endpoint in ENDPOINTS),
        WebSocketRoute("/socket", socket),
    ],
)
