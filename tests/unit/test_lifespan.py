import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from itertools import product
from typing import Any, Literal

import pytest

from serval.asgi.lifespan import NEXT, Lifespan, Phase, Sent, after
from serval.asgi.types import ASGIApp, Receive, Scope, Send
from serval.errors import AppError, LifespanError, LifespanShutdownError

USER: contextvars.ContextVar[str] = contextvars.ContextVar("USER")


def a_lifespan(
    app: ASGIApp,
    mode: Literal["auto", "on", "off"] = "auto",
    *,
    startup_seconds: float = 5,
    shutdown_seconds: float = 5,
    is_first: bool = True,
) -> Lifespan:
    return Lifespan(
        app,
        mode,
        startup_seconds=startup_seconds,
        shutdown_seconds=shutdown_seconds,
        is_first=is_first,
    )


def run(main: Coroutine[Any, Any, None]) -> None:
    """On a loop whose complaints are failures: a task's exception that nobody has looked at."""
    complaints: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, said: complaints.append(said))
        await main

    asyncio.run(watched(), debug=True)
    assert complaints == []


class Polite:
    """Does what the specification says and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "lifespan"
        while True:
            message = await receive()
            self.told.append(message["type"])
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return


# -- which message is legal when ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "sent"), sorted({*product(Phase, Sent)} - {*NEXT}, key=str), ids=str
)
def test_a_message_out_of_turn_is_refused_by_name(phase: Phase, sent: Sent) -> None:
    with pytest.raises(AppError) as refusal:
        after(phase, {"type": sent.value})

    assert f"app sent {sent.value!r} in lifespan phase {phase.name}; legal: " in str(refusal.value)


@pytest.mark.parametrize("message", [{}, {"type": 3}, {"type": "http.response.start"}])
def test_a_message_of_no_known_type_is_refused(message: dict[str, object]) -> None:
    with pytest.raises(AppError, match=r"legal: lifespan\.startup\.complete or lifespan\.startup"):
        after(Phase.STARTING, message)


# -- startup and shutdown ----------------------------------------------------------------------


def test_an_application_is_told_of_startup_and_of_shutdown_exactly_once() -> None:
    app = Polite()

    async def main() -> None:
        lifespan = a_lifespan(app)
        await lifespan.startup()
        assert app.told == ["lifespan.startup"]
        await asyncio.gather(lifespan.shutdown(), lifespan.shutdown())
        await lifespan.shutdown()

    run(main())
    assert app.told == ["lifespan.startup", "lifespan.shutdown"]


def test_the_scope_names_the_versions_and_offers_an_empty_state() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append({**scope, "state": dict(scope["state"])})
        scope["state"]["pool"] = "a pool"
        await receive()
        await send({"type": "lifespan.startup.complete"})

    async def main() -> None:
        lifespan = a_lifespan(app)
        await lifespan.startup()
        assert lifespan.state == {"pool": "a pool"}

    run(main())
    assert seen == [
        {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    ]


def test_mode_off_never_calls_the_application() -> None:
    app = Polite()

    async def main() -> None:
        lifespan = a_lifespan(app, "off")
        await lifespan.startup()
        await lifespan.shutdown()

    run(main())
    assert app.told == []


def test_variables_set_in_startup_are_in_the_context_and_nowhere_else() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        USER.set("set in startup")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def main() -> None:
        lifespan = a_lifespan(app)
        await lifespan.startup()
        request = lifespan.context.copy()
        request.run(USER.set, "set in a request")
        assert lifespan.context.copy()[USER] == "set in startup"
        assert USER not in contextvars.copy_context()
        await lifespan.shutdown()

    run(main())


def test_the_whole_lifespan_runs_in_one_task() -> None:
    tasks: list[asyncio.Task[Any] | None] = []

    @asynccontextmanager
    async def resource() -> AsyncIterator[None]:
        tasks.append(asyncio.current_task())
        yield
        tasks.append(asyncio.current_task())

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        async with resource():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def main() -> None:
        lifespan = a_lifespan(app)
        await lifespan.startup()
        await lifespan.shutdown()

    run(main())
    assert tasks[0] is tasks[1] is not None


# -- applications without lifespan --------------------------------------------------------------


async def refuses_the_scope(scope: Scope, receive: Receive, send: Send) -> None:
    raise KeyError("unknown scope type")


def test_an_exception_before_the_first_receive_means_unsupported_in_mode_auto(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        lifespan = a_lifespan(refuses_the_scope)
        await lifespan.startup()
        await lifespan.shutdown()

    with caplog.at_level(logging.INFO, logger="serval.error"):
        run(main())
    [record] = caplog.records
    assert record.levelname == "INFO"
    assert "does not support lifespan (KeyError: 'unknown scope type')" in record.getMessage()


def test_that_lifespan_is_unsupported_is_said_by_the_first_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        await a_lifespan(refuses_the_scope, is_first=False).startup()

    with caplog.at_level(logging.INFO, logger="serval.error"):
        run(main())
    assert caplog.records == []


def test_an_exception_before_the_first_receive_is_fatal_in_mode_on() -> None:
    async def main() -> None:
        with pytest.raises(LifespanError, match=r"raised KeyError in its lifespan startup\n"):
            await a_lifespan(refuses_the_scope, "on").startup()

    run(main())


def test_an_application_that_returns_at_once_is_served_in_mode_auto() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        return

    async def main() -> None:
        lifespan = a_lifespan(app)
        await lifespan.startup()
        await lifespan.shutdown()

    run(main())


def test_an_application_that_returns_without_an_answer_is_refused_in_mode_on() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    async def main() -> None:
        with pytest.raises(LifespanError, match="returned from lifespan without an answer"):
            await a_lifespan(app, "on").startup()

    run(main())


def test_a_send_before_the_first_receive_is_refused_in_the_application() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.startup.complete"})

    async def main() -> None:
        with pytest.raises(LifespanError, match="in lifespan phase UNASKED; legal: nothing"):
            await a_lifespan(app, "on").startup()

    run(main())


# -- startups that fail -------------------------------------------------------------------------


def test_startup_failed_is_raised_with_the_message_of_the_application() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    async def main() -> None:
        with pytest.raises(LifespanError, match="lifespan startup failed: no database"):
            await a_lifespan(app).startup()

    run(main())


def test_startup_failed_needs_no_message() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed"})

    async def main() -> None:
        with pytest.raises(LifespanError, match="lifespan startup failed: no reason given"):
            await a_lifespan(app).startup()

    run(main())


def test_an_exception_that_follows_startup_failed_tells_the_reason_where_the_message_does_not() -> (
    None
):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed"})
        raise OSError("the database is gone")

    async def main() -> None:
        with pytest.raises(LifespanError, match="OSError: the database is gone"):
            await a_lifespan(app).startup()

    run(main())


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_an_exception_after_the_first_receive_is_fatal_with_the_traceback_of_the_application(
    mode: Literal["auto", "on"],
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise ValueError("bad settings")

    async def main() -> None:
        with pytest.raises(LifespanError) as refusal:
            await a_lifespan(app, mode).startup()
        told = str(refusal.value)
        assert told.startswith("the application raised ValueError in its lifespan startup\n")
        assert told.endswith("ValueError: bad settings")
        assert "test_lifespan.py" in told
        assert "asgi/lifespan.py" not in told

    run(main())


def test_sys_exit_in_startup_is_an_error_and_not_the_end_of_the_loop() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise SystemExit(7)

    async def main() -> None:
        with pytest.raises(LifespanError, match=r"called sys\.exit\(7\)"):
            await a_lifespan(app).startup()

    run(main())


def test_a_startup_that_takes_too_long_is_cancelled_and_named() -> None:
    ended: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cleaned up")

    async def main() -> None:
        with pytest.raises(LifespanError, match=r"within 0\.01 s, the limit set by timeout_start"):
            await a_lifespan(app, startup_seconds=0.01).startup()

    run(main())
    assert ended == ["cleaned up"]


def test_cancelling_the_startup_cancels_the_application_and_waits_for_its_clean_up() -> None:
    ended: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("cleaned up")

    async def main() -> None:
        lifespan = a_lifespan(app, startup_seconds=0)
        starting = asyncio.create_task(lifespan.startup())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert ended == ["cleaned up"]
        await lifespan.shutdown()

    run(main())


# -- while serving ------------------------------------------------------------------------------


def test_an_application_that_returns_after_startup_is_told_nothing_more() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})

    async def main() -> None:
        lifespan = a_lifespan(app)
        await lifespan.startup()
        await asyncio.sleep(0)
        await lifespan.shutdown()

    run(main())


@pytest.mark.parametrize("says_so", [True, False])
def test_a_lifespan_that_breaks_off_while_serving_is_logged_once_when_it_happens(
    says_so: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        if says_so:
            await send({"type": "lifespan.shutdown.failed", "message": "the pump has stopped"})
        raise RuntimeError("the pump has stopped")

    async def main() -> None:
        lifespan = a_lifespan(app)
        await lifespan.startup()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(caplog.records) == 1
        await lifespan.shutdown()

    run(main())
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert "the pump has stopped" in record.getMessage()


# -- shutdowns that fail ------------------------------------------------------------------------


def test_shutdown_failed_is_raised_with_the_message_of_the_application() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "could not flush"})
        raise OSError("could not flush")

    async def main() -> None:
        lifespan = a_lifespan(app)
        await lifespan.startup()
        with pytest.raises(LifespanShutdownError, match="lifespan shutdown failed: could not flu"):
            await lifespan.shutdown()
        await lifespan.shutdown()

    run(main())


@pytest.mark.parametrize("completes", [True, False])
def test_an_exception_in_shutdown_is_raised_with_its_traceback(completes: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if completes:
            await send({"type": "lifespan.shutdown.complete"})
        raise OSError("could not flush")

    async def main() -> None:
        lifespan = a_lifespan(app)
        await lifespan.startup()
        with pytest.raises(LifespanShutdownError, match="raised OSError in its lifespan shutdown"):
            await lifespan.shutdown()

    run(main())


def test_a_shutdown_that_takes_too_long_is_cancelled_and_named() -> None:
    ended: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cleaned up")

    async def main() -> None:
        lifespan = a_lifespan(app, shutdown_seconds=0.01)
        await lifespan.startup()
        with pytest.raises(LifespanShutdownError, match=r"within 0\.01 s"):
            await lifespan.shutdown()

    run(main())
    assert ended == ["cleaned up"]


def test_cancelling_the_shutdown_cancels_the_application() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.Event().wait()

    async def main() -> None:
        lifespan = a_lifespan(app)
        await lifespan.startup()
        stopping = asyncio.create_task(lifespan.shutdown())
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping

    run(main())


def test_an_application_that_asks_again_after_its_shutdown_does_not_hold_up_the_stop() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})

    async def main() -> None:
        lifespan = a_lifespan(app)
        await lifespan.startup()
        await lifespan.shutdown()

    run(main())


def test_a_lifespan_that_resists_its_cancellation_is_left_behind(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serval.asgi.lifespan._CANCEL_SECONDS", 0.01)
    release = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async def main() -> None:
        with pytest.raises(LifespanError):
            await a_lifespan(app, startup_seconds=0.01).startup()
        release.set()
        await asyncio.sleep(0)

    run(main())
    assert "does not let itself be cancelled" in caplog.text
