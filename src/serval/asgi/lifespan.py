"""The lifespan of an application: startup before the first request, shutdown after the last.

A worker owns one `Lifespan` per event loop that serves requests and awaits `startup()` and
`shutdown()` on that loop.  The lifespan never decides what an error means for the process: it
raises, and the worker maps the exception to an exit status.
"""

import asyncio
import contextvars
import logging
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, Final, Literal, TypeAlias

from serval.asgi.types import ASGIApp, Message
from serval.errors import AppError, LifespanError, LifespanShutdownError
from serval.log import error_log
from serval.tracebacks import user_traceback

Mode: TypeAlias = Literal["auto", "on", "off"]


class Phase(Enum):
    """How far the application has come."""

    UNASKED = auto()  # it has not called receive(): it may not know of lifespan at all
    STARTING = auto()
    SERVING = auto()
    STOPPING = auto()
    STOPPED = auto()
    FAILED = auto()
    BROKEN = auto()  # it failed after its startup, unasked


class Sent(Enum):
    """What the application may say."""

    STARTUP_COMPLETE = "lifespan.startup.complete"
    STARTUP_FAILED = "lifespan.startup.failed"
    SHUTDOWN_COMPLETE = "lifespan.shutdown.complete"
    SHUTDOWN_FAILED = "lifespan.shutdown.failed"


NEXT: Final = {
    (Phase.STARTING, Sent.STARTUP_COMPLETE): Phase.SERVING,
    (Phase.STARTING, Sent.STARTUP_FAILED): Phase.FAILED,
    # Starlette says this whenever its lifespan context breaks, asked to stop or not.
    (Phase.SERVING, Sent.SHUTDOWN_FAILED): Phase.BROKEN,
    (Phase.STOPPING, Sent.SHUTDOWN_COMPLETE): Phase.STOPPED,
    (Phase.STOPPING, Sent.SHUTDOWN_FAILED): Phase.FAILED,
}

_ASGI_VERSIONS: Final = {"version": "3.0", "spec_version": "2.0"}
# A task that was cancelled gets this long to clean up before it is left behind.
_CANCEL_SECONDS: Final = 1.0
_WHILE_SERVING: Final = (
    "the application's lifespan broke off while serving; it serves on and will not be told of the"
    " shutdown: %s"
)


def after(phase: Phase, message: Message) -> Phase:
    """The phase that follows a message of the application.

    Raises:
        AppError: The message has no or an unknown type, or is not legal in this phase.
    """
    legal = " or ".join(sent.value for at, sent in NEXT if at is phase) or "nothing"
    try:
        return NEXT[phase, Sent(message["type"])]
    except (KeyError, TypeError, ValueError):
        said = message.get("type") if isinstance(message, dict) else message
        raise AppError(
            f"app sent {said!r} in lifespan phase {phase.name}; legal: {legal}"
        ) from None


class Lifespan:
    """One run of an application's lifespan.  For the thread of its event loop only.

    Attributes:
        state: What the application put into `scope["state"]`; requests get shallow copies.
        context: The context that the lifespan runs in.  After `startup()` it holds every variable
            that the startup has set; requests run in copies of it.
    """

    def __init__(
        self,
        app: ASGIApp,
        mode: Mode,
        *,
        startup_seconds: float,
        shutdown_seconds: float,
        extensions: Mapping[str, object] | None = None,
        is_first: bool = True,
    ) -> None:
        """Both limits are seconds; a startup of 0 has no limit.

        Args:
            is_first: Others, in other threads and processes, will find what this finds; they need
                not say so.
        """
        self._extensions = dict(extensions or {})
        self.state: dict[str, Any] = {}
        self.context = contextvars.copy_context()
        self._app = app
        self._mode: Final = mode
        self._remark_level = logging.INFO if is_first else logging.DEBUG
        self._startup_seconds = startup_seconds
        self._shutdown_seconds = shutdown_seconds
        self._phase = Phase.UNASKED
        self._failure = ""
        self._tasks: set[asyncio.Task[None]] = set()  # empty before startup(), then one
        self._progress = asyncio.Event()  # it said its word on startup or shutdown, or it ended
        self._stop = asyncio.Event()

    async def startup(self) -> None:
        """Run the application's startup to its end.  Once per object.

        Cancelling this coroutine cancels the startup.

        Raises:
            LifespanError: The application said `lifespan.startup.failed`, raised an exception after
                it had asked for the first message (in mode "on": at any time), or took too long.
        """
        if self._mode == "off":
            return
        task = asyncio.create_task(self._run(), name="serval-lifespan", context=self.context)
        task.add_done_callback(self._ended)
        self._tasks.add(task)
        if not await self._wait(task, self._startup_seconds or None):
            raise LifespanError(
                "the application's lifespan startup did not end within"
                f" {self._startup_seconds:g} s, the limit set by timeout_startup"
            )
        if self._phase in {Phase.UNASKED, Phase.STARTING, Phase.FAILED}:
            await self._started_badly(task)

    async def shutdown(self) -> None:
        """Run the application's shutdown to its end; nothing where it isn't serving (any more).

        Raises:
            LifespanShutdownError: The application said `lifespan.shutdown.failed`, raised an
                exception or took too long.
        """
        running = [task for task in self._tasks if not task.done()]
        if self._phase is not Phase.SERVING or not running:
            return
        self._phase = Phase.STOPPING
        self._progress.clear()
        self._stop.set()
        if not await self._wait(running[0], self._shutdown_seconds, to_the_end=True):
            raise LifespanShutdownError(
                "the application's lifespan shutdown did not end within"
                f" {self._shutdown_seconds:g} s, the limit set by timeout_lifespan_shutdown"
            )
        error = _error_of(running[0])
        if self._phase is Phase.FAILED or error is not None:
            raise LifespanShutdownError(self._story("shutdown", error)) from error

    async def _wait(
        self, task: asyncio.Task[None], limit_seconds: float | None, *, to_the_end: bool = False
    ) -> bool:
        """Wait for progress, or for the task's end too; False, with the task cancelled, if late."""
        try:
            async with asyncio.timeout(limit_seconds):
                await self._progress.wait()
                if to_the_end:
                    await asyncio.wait({task})
        except TimeoutError:
            await _cancel(task)
            return False
        except asyncio.CancelledError:
            await _cancel(task)
            raise
        return True

    async def _started_badly(self, task: asyncio.Task[None]) -> None:
        """Say why the application isn't serving, unless it may simply not know of lifespan."""
        # Starlette raises once more after startup.failed.
        await asyncio.wait({task}, timeout=_CANCEL_SECONDS)
        await _cancel(task)
        error = _error_of(task)
        unsupported = self._phase is Phase.UNASKED or (self._phase is Phase.STARTING and not error)
        if self._mode == "auto" and unsupported:
            why = f"{type(error).__name__}: {error}" if error else "it returned without an answer"
            text = "the application does not support lifespan (%s)"
            error_log.log(self._remark_level, text, why)
            return
        raise LifespanError(self._story("startup", error)) from error

    async def _run(self) -> None:
        """Call the application; the body of the lifespan's task."""
        scope = {"type": "lifespan", "asgi": dict(_ASGI_VERSIONS), "state": self.state}
        if self._extensions:
            scope["extensions"] = self._extensions
        try:
            await self._app(scope, self._receive, self._send)
        except SystemExit as exc:
            # Let out, it would end the event loop, and with it the process, behind everyone's back.
            raise AppError(f"the application called sys.exit({exc.code!r})") from exc

    async def _receive(self) -> dict[str, str]:
        if self._phase is Phase.UNASKED:
            self._phase = Phase.STARTING
            return {"type": "lifespan.startup"}
        await self._stop.wait()
        if self._phase is not Phase.STOPPING:
            # Nothing can come after its last word: asking for it would be a wait for ever.
            for task in self._tasks:
                task.cancel()
            await asyncio.get_running_loop().create_future()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        self._phase = after(self._phase, message)
        self._failure = str(message.get("message") or "")
        if self._phase is Phase.BROKEN:
            error_log.error(_WHILE_SERVING, self._failure or "no reason given")
        self._progress.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = _error_of(task)
        if self._phase is Phase.SERVING and error is not None and not task.cancelled():
            error_log.error(_WHILE_SERVING, "\n" + user_traceback(error))
        self._progress.set()

    def _story(self, half: str, error: BaseException | None) -> str:
        """What went wrong, in the application's own words where it has found any."""
        if self._phase is Phase.FAILED and (self._failure or not error):
            return f"the application's lifespan {half} failed: {self._failure or 'no reason given'}"
        if error is None:
            return f"the application returned from lifespan without an answer to {half}"
        return (
            f"the application raised {type(error).__name__} in its lifespan {half}\n"
            + user_traceback(error)
        )


async def _cancel(task: asyncio.Task[None]) -> None:
    """End a task; one that resists is left behind, for no one can wait for it."""
    task.cancel()
    _, pending = await asyncio.wait({task}, timeout=_CANCEL_SECONDS)
    if pending:
        error_log.warning(
            "the application's lifespan does not let itself be cancelled; left behind"
        )


def _error_of(task: asyncio.Task[None]) -> BaseException | None:
    """How a task has failed; None where it has not ended or was cancelled."""
    return None if not task.done() or task.cancelled() else task.exception()
