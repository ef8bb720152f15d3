"""The end of a service: from the last accept to the last connection, in bounded time."""

import asyncio
import logging
from typing import Any, Final

from serval.worker.service import Service

logger = logging.getLogger("serval.error")

# What an application gets for its cleanup after it was cancelled.
CANCEL_SECONDS: Final = 0.5


async def drain(service: Service, seconds: float, *, hurry: asyncio.Event | None = None) -> None:
    """Let what runs finish, then ask it to, then make it.

    Idle connections close at once, or after a time for a last request, and running requests
    finish, told that the server drains; after the grace, `receive()` of whatever still runs yields
    a disconnect; at the deadline the rest is cancelled.

    Args:
        service: What shall end; it must accept nothing new.
        seconds: The deadline, from now.
        hurry: When set, the deadline is now.
    """
    service.leave()
    service.farewell.announce()
    if service.last_request_seconds and len(service.idle):
        allowed = min(service.last_request_seconds, seconds)
        if await _emptied_within(service, allowed, hurry):
            return
        seconds -= allowed
    service.draining = True
    grace = min(service.config.shutdown_stream_grace or seconds / 2, seconds)
    for connection in list(service.connections):
        connection.drain()
    if await _emptied_within(service, grace, hurry):
        return
    if hurry is None or not hurry.is_set():
        logger.info(
            "%d connections are still open %.3g s after the stop began: what runs there is told "
            "that its client has gone, and is cancelled in %.3g s",
            len(service.connections),
            grace,
            seconds - grace,
        )
    for connection in list(service.connections):
        connection.disconnect()
    if not await _emptied_within(service, seconds - grace, hurry):
        await _cancel(service)


async def _cancel(service: Service) -> None:
    """The deadline is over."""
    logger.warning(
        "the graceful stop ends with %d connections open and %d requests or tasks running; "
        "they are cancelled",
        len(service.connections),
        len(service.tasks),
    )
    for connection in list(service.connections):
        connection.abort()
    for task in list(service.tasks):
        task.cancel()
    if not await _emptied_within(service, CANCEL_SECONDS, None) and service.tasks:
        logger.warning("%d tasks ignore their cancellation and are abandoned", len(service.tasks))
        service.stats.abandoned += len(service.tasks)
        for task in service.tasks:
            _abandon(task)


def _abandon(task: asyncio.Task[None]) -> None:
    """Let the loop be closed though the task is pending: `asyncio.Runner` would wait for its end.

    What it takes is told to those who implement tasks of their own (asyncio, "Extending").
    """
    asyncio.tasks._unregister_task(task)
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # as asyncio does in `gather`


async def _emptied_within(service: Service, seconds: float, hurry: asyncio.Event | None) -> bool:
    """Whether the service came to rest in time."""
    waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(service.emptied())]
    if hurry is not None:
        waits.append(asyncio.ensure_future(hurry.wait()))
    await asyncio.wait(waits, timeout=max(seconds, 0.0), return_when=asyncio.FIRST_COMPLETED)
    emptied = waits[0].done()
    for wait in waits:
        wait.cancel()
    return emptied
