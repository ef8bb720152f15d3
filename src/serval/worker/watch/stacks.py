"""What threads and tasks are doing right now: where they stand, and for which request.

Reads what other threads are about to change, so it is content with less than the truth; for the
watchdog and the dump, which run in threads of their own.
"""

import asyncio
import linecache
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, CoroutineType, FrameType
from typing import Any, Final

from serval.asgi.types import Scope
from serval.worker.connections.connection import HttpConnection
from serval.worker.connections.websocket import SERVED, WebSocketConnection
from serval.worker.connections.websocket_wire import WebSocketWire
from serval.worker.request_timeout import TimedRequest

# Where a loop stands that has nothing to do; uvloop's own frames cannot be seen.
_IDLE_FILES: Final = frozenset(
    str(Path(asyncio.__file__).with_name(name)) for name in ("runners.py", "base_events.py")
) | {str(Path(traceback.__file__).with_name("selectors.py"))}
_SERVES_HTTP: Final = HttpConnection._run.__code__
_SERVES_ONE: Final = frozenset({WebSocketConnection._run.__code__, TimedRequest._call.__code__})
# Where a session's own work begins: large messages are unpacked there.
_WORKS_FOR_ONE: Final = _SERVES_ONE | {
    WebSocketWire.data_received.__code__,
    WebSocketWire._catch_up.__code__,
    WebSocketWire._tick.__code__,
}
_FRAMES_COUNT: Final = 60


def frame_of(thread_id: int) -> FrameType | None:
    """Where a thread stands; None where it has ended."""
    return sys._current_frames().get(thread_id)


def is_at_rest(frame: FrameType) -> bool:
    """Whether a thread stands in its event loop, and in nothing that the loop has called."""
    return frame.f_code.co_filename in _IDLE_FILES


def frames_of(frame: FrameType | None) -> list[tuple[FrameType, int]]:
    """The frames of a running thread with their lines, outermost first."""
    found = []
    while frame is not None:
        found.append((frame, frame.f_lineno or 0))
        frame = frame.f_back
    return found[::-1]


def frames_of_task(task: asyncio.Task[Any]) -> list[tuple[FrameType, int]]:
    """The frames of a task that waits, outermost first, down to what it waits for."""
    found: list[tuple[FrameType, int]] = []
    awaited: Any = task.get_coro()
    while awaited is not None and len(found) < _FRAMES_COUNT:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None:
            found.append((frame, frame.f_lineno or 0))
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
        if not isinstance(awaited, CoroutineType) and not hasattr(awaited, "gi_frame"):
            break
    return found


def scope_of(frames: Iterable[tuple[FrameType, int]]) -> Scope | None:
    """The scope of the request that frames serve; None where they serve none."""
    for frame, _ in frames:
        if frame.f_code is _SERVES_HTTP:
            scope: Scope | None = frame.f_locals.get("scope")
            return scope
        if frame.f_code in _WORKS_FOR_ONE:
            match frame.f_locals.get("self"):
                case TimedRequest() as request:
                    return request.scope
                case WebSocketConnection() as connection:
                    return connection._scope
    return None


def scope_behind(task: asyncio.Task[Any] | None) -> Scope | None:
    """The scope of the WebSocket whose application has started a task; None where none has.

    Python 3.11 does not tell the context of a task.
    """
    if sys.version_info >= (3, 12) and task is not None:
        return task.get_context().get(SERVED)
    return None


def of_application(frames: list[tuple[FrameType, int]]) -> list[tuple[FrameType, int]]:
    """The frames from the application's first one on; all, where none is the application's."""
    for index, (frame, _) in enumerate(frames):
        if frame.f_code is _SERVES_HTTP or frame.f_code in _SERVES_ONE:
            return frames[index + 1 :] or frames
    return frames


def places(frames: Iterable[tuple[FrameType, int]]) -> tuple[tuple[CodeType, int], ...]:
    """What tells one stack from another."""
    return tuple((frame.f_code, line) for frame, line in frames)


def stack_lines(frames: list[tuple[FrameType, int]]) -> Iterator[str]:
    """Frames as a traceback shows them."""
    if len(frames) > _FRAMES_COUNT:
        yield f"  ... {len(frames) - _FRAMES_COUNT} frames before these"
    for frame, line in frames[-_FRAMES_COUNT:]:
        code = frame.f_code
        yield f'  File "{code.co_filename}", line {line}, in {code.co_name}'
        text = linecache.getline(code.co_filename, line).strip()
        if text:
            yield f"    {text}"
