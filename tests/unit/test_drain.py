import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from serval.asgi.types import Receive, Scope, Send
from serval.config import ServerConfig
from serval.worker.drain import drain
from serval.worker.service import Service

Run = Callable[[Coroutine[Any, Any, None]], None]


async def no_app(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError


class Connection:
    """Goes away when it is told what it waits for."""

    def __init__(self, service: Service, until: str) -> None:
        self._service = service
        self._until = until
        self.told: list[str] = []
        service.opened(self)

    def _tell(self, what: str) -> None:
        self.told.append(what)
        if what == self._until:
            self._service.closed(self)

    def leave(self) -> None:
        self._tell("leave")

    def drain(self) -> None:
        self._tell("drain")

    def disconnect(self) -> None:
        self._tell("disconnect")

    def abort(self) -> None:
        self._tell("abort")


@pytest.fixture
def run() -> Iterator[Run]:
    with asyncio.Runner() as runner:
        yield lambda main: runner.run(asyncio.wait_for(main, 20))


def service_of(**config: Any) -> Service:
    return Service(no_app, ServerConfig(**config), asyncio.get_running_loop())


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


def test_a_service_at_rest_ends_at_once(run: Run) -> None:
    async def main() -> None:
        service = service_of()
        await drain(service, 1000.0)

        assert service.draining
        assert not service.keeps_alive
        assert service.farewell.is_set()

    run(main())


def test_each_is_told_only_as_much_as_it_needs(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "serval.error")

    async def main() -> None:
        service = service_of()
        untils = ("drain", "disconnect", "abort")
        connections = [Connection(service, until) for until in untils]
        await drain(service, 0.02)

        steps = ["leave", "drain", "disconnect", "abort"]
        assert [one.told for one in connections] == [steps[:2], steps[:3], steps]

    run(main())
    assert "2 connections are still open 0.01 s after the stop began" in caplog.messages[0]
    assert len(warnings_of(caplog)) == 1
    assert "1 connections open and 0 requests or tasks running" in warnings_of(caplog)[0]


def test_a_hurry_makes_the_deadline_now(run: Run) -> None:
    async def main() -> None:
        service = service_of()
        hurry = asyncio.Event()
        connection = Connection(service, "abort")
        hurry.set()
        await drain(service, 1000.0, hurry=hurry)

        assert connection.told[-1] == "abort"

    run(main())


def test_a_task_is_waited_for_and_then_cancelled(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        service = service_of()
        finished = asyncio.Event()
        patient = service.start(_wait_for(finished), service.context.copy())
        asyncio.get_running_loop().call_soon(finished.set)
        await drain(service, 1000.0)
        assert not patient.cancelled()

        service = service_of()
        endless = service.start(_wait_for(asyncio.Event()), service.context.copy())
        await drain(service, 0.0)
        assert endless.cancelled()

    run(main())
    assert len(warnings_of(caplog)) == 1


async def _wait_for(event: asyncio.Event) -> None:
    await event.wait()


def test_a_task_that_ignores_its_cancellation_is_abandoned(
    run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serval.worker.drain.CANCEL_SECONDS", 0.01)
    released = []

    async def stubborn(event: asyncio.Event) -> None:
        while not event.is_set():
            try:
                await event.wait()
            except asyncio.CancelledError:
                released.append("ignored")

    async def main() -> None:
        service = service_of()
        event = asyncio.Event()
        task = service.start(stubborn(event), service.context.copy())
        await drain(service, 0.0)
        event.set()
        await task

    run(main())
    assert released == ["ignored"]
    assert "1 tasks ignore their cancellation and are abandoned" in warnings_of(caplog)[1]


@pytest.mark.parametrize("answers", [True, False])
def test_idle_connections_may_have_a_last_request(run: Run, answers: bool) -> None:
    async def main() -> None:
        service = service_of()
        service.last_request_seconds = 1000.0 if answers else 0.01
        connection = Connection(service, "never")
        service.idle.start(connection, 0.0)  # type: ignore[arg-type]  # it is never told of time
        if answers:
            asyncio.get_running_loop().call_soon(service.closed, connection)
        await drain(service, 1000.0 if answers else 0.02)

        assert ("drain" in connection.told) is not answers
        service.closed(connection)

    run(main())


def test_the_grace_may_be_set(run: Run) -> None:
    async def main() -> None:
        service = service_of(shutdown_stream_grace=0.01)
        connection = Connection(service, "disconnect")
        await drain(service, 1000.0)

        assert connection.told[-1] == "disconnect"

    run(main())
