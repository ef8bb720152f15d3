"""Where threads and tasks stand."""

import asyncio
import sys
import threading
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from serval.asgi.types import Scope
from serval.worker.connections.websocket import SERVED, WebSocketConnection
from serval.worker.watch.stacks import (
    frame_of,
    frames_of,
    frames_of_task,
    is_at_rest,
    of_application,
    places,
    scope_behind,
    scope_of,
    stack_lines,
)


def names(frames: list[tuple[FrameType, int]]) -> list[str]:
    return [frame.f_code.co_name for frame, _ in frames]


def here() -> FrameType:
    return sys._getframe()


def test_the_frames_of_a_thread_begin_with_the_outermost() -> None:
    frames = frames_of(here())

    assert names(frames)[-2:] == [
        "test_the_frames_of_a_thread_begin_with_the_outermost",
        "here",
    ]


def test_a_thread_can_be_looked_at_from_another() -> None:
    at_work, over = threading.Event(), threading.Event()

    def work() -> None:
        at_work.set()
        over.wait()

    thread = threading.Thread(target=work)
    thread.start()
    at_work.wait()
    frame = frame_of(thread.ident or 0)
    found = names(frames_of(frame))
    over.set()
    thread.join()

    assert "work" in found
    assert frame_of(-1) is None


def test_the_frames_of_a_task_lead_to_what_it_waits_for() -> None:
    async def inner() -> None:
        await asyncio.get_running_loop().create_future()

    async def outer() -> None:
        await inner()

    async def main() -> list[str]:
        task = asyncio.ensure_future(outer())
        await asyncio.sleep(0)
        found = names(frames_of_task(task))
        task.cancel()
        await asyncio.wait([task])
        return found

    assert asyncio.run(main()) == ["outer", "inner"]


def test_a_callback_is_no_rest() -> None:
    async def main() -> FrameType:
        return here()

    assert not is_at_rest(asyncio.run(main()))


def test_what_serves_no_request_has_no_scope_and_is_shown_whole() -> None:
    frames = frames_of(here())

    assert scope_of(frames) is None
    assert of_application(frames) == frames


def test_stacks_are_shown_as_tracebacks_are() -> None:
    frames = frames_of(here())

    lines = list(stack_lines(frames))

    assert lines[-2].endswith(", in here")
    assert lines[-1] == "    return sys._getframe()"


def test_very_deep_stacks_are_shown_from_their_end() -> None:
    def deep(depth: int) -> FrameType:
        return deep(depth - 1) if depth else here()

    lines = list(stack_lines(frames_of(deep(100))))

    assert "frames before these" in lines[0]
    assert lines[-2].endswith(", in here")


def test_two_stacks_are_alike_if_they_stand_at_the_same_lines() -> None:
    one, other = (places(frames_of(here())[-1:]) for _ in range(2))

    assert one == other
    assert places(frames_of(here())) != places(frames_of(here())[:-1])


class Unpacked(Exception):
    """A session is at work on what has come."""


def test_a_session_that_unpacks_a_message_is_found() -> None:
    found: list[Scope | None] = []

    class Session:
        def receive_data(self, _data: bytes) -> None:
            found.append(scope_of(frames_of(sys._getframe())))
            raise Unpacked

    connection: Any = WebSocketConnection.__new__(WebSocketConnection)
    connection._service = SimpleNamespace(date_is_stale=False)
    connection._received_bytes = 0
    connection._session = Session()
    connection._scope = {"type": "websocket", "path": "/chat"}

    with pytest.raises(Unpacked):
        connection.data_received(b"x")

    assert found == [connection._scope]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.11 tells no context of a task")
def test_a_task_that_a_session_has_started_is_found() -> None:
    scope: Scope = {"type": "websocket", "path": "/chat"}

    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    async def look() -> None:
        stranger = asyncio.ensure_future(wait())
        SERVED.set(scope)
        own = asyncio.ensure_future(wait())

        assert scope_behind(own) is scope
        assert scope_behind(stranger) is None
        assert scope_behind(None) is None
        for task in (stranger, own):
            task.cancel()

    asyncio.run(look())
