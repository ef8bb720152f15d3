"""The server within a program: what it gives, and what it leaves alone."""

import asyncio
import contextlib
import gc
import logging
import os
import re
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import trustme

from process.harness import running
from process.lanes import Client
from serval import LifespanShutdownError, Server, ServerConfig, StartupError
from serval.asgi.types import ASGIApp, Receive, Scope, Send
from serval.errors import BindError, ConfigError, LifespanError, LoadError
from serval.worker.loops import loop_factory

PATIENCE_SECONDS = 20.0
README = Path(__file__).parents[2] / "README.md"

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]


async def say(send: Send, text: bytes) -> None:
    length = (b"content-length", b"%d" % len(text))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": text})


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await say(send, b"hello")


def application(handler: Handler = hello, log: list[str] | None = None) -> ASGIApp:
    """An application that notes its startup and its shutdown."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await handler(scope, receive, send)
            return
        while True:
            kind = (await receive())["type"]
            if log is not None:
                log.append(kind)
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return

    return app


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    """An application whose startup fails."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


def flask_like(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "4")])
    return [b"wsgi"]


async def get(server: Server, path: str = "/", **options: Any) -> str:
    async with httpx.AsyncClient(**options) as client:
        answer = await client.get(server.url + path, timeout=PATIENCE_SECONDS)
    return f"{answer.status_code} {answer.text}"


async def connected(server: Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = server.addresses[0]
    return await asyncio.open_connection(host, port)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Awaitable[None]], None]:
    """Runs a coroutine on each event loop."""

    def on_a_new_loop(main: Any) -> None:
        with asyncio.Runner(debug=True, loop_factory=loop_factory(request.param)) as runner:
            runner.run(in_time(main))

    async def in_time(main: Any) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await main

    return on_a_new_loop


Run = Callable[[Awaitable[None]], None]


# --- in a running loop ------------------------------------------------------------------------


def test_inside_the_block_it_listens_and_the_application_has_started(run: Run) -> None:
    log: list[str] = []

    async def main() -> None:
        async with Server(application(log=log), port=0) as server:
            ((host, port),) = server.addresses
            assert host == "127.0.0.1"
            assert port
            assert server.urls == (f"http://127.0.0.1:{port}",)
            assert log == ["lifespan.startup"]
            assert await get(server) == "200 hello"
        assert log[1:] == ["lifespan.shutdown"]
        assert server.addresses == ()
        assert server.url == ""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, port)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


def test_a_server_can_be_used_again(run: Run) -> None:
    async def main() -> None:
        server = Server(application(), port=0)
        for _ in range(2):
            async with server:
                assert await get(server) == "200 hello"

    run(main())


def test_a_server_that_runs_is_not_started_twice(run: Run) -> None:
    async def main() -> None:
        async with Server(application(), port=0) as server:
            with pytest.raises(ConfigError, match="this server is running"):
                await server.__aenter__()
            assert await get(server) == "200 hello"

    run(main())


def test_several_servers_share_a_loop(run: Run) -> None:
    async def other(scope: Scope, receive: Receive, send: Send) -> None:
        await say(send, b"other")

    async def main() -> None:
        async with Server(application(), port=0) as one, Server(application(other), port=0) as two:
            answers = await asyncio.gather(get(one), get(two))
            assert [*answers] == ["200 hello", "200 other"]

    run(main())


def test_what_was_asked_before_the_end_is_answered(run: Run) -> None:
    async def main() -> None:
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            asked.set()
            await go_on.wait()
            await say(send, b"done")

        async with Server(application(slow), port=0) as server:
            answer = asyncio.create_task(get(server))
            await asked.wait()
            asyncio.get_running_loop().call_later(0.1, go_on.set)
        assert await answer == "200 done"

    run(main())


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    await asyncio.Event().wait()


def test_what_does_not_end_is_cancelled_in_time(run: Run) -> None:
    log: list[str] = []

    async def main() -> None:
        app = application(endless, log)
        async with Server(app, port=0, timeout_graceful_shutdown=0.2) as server:
            reader, writer = await connected(server)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"begun")
        writer.close()
        assert log[-1] == "lifespan.shutdown"

    run(main())


def test_a_stop_that_is_cancelled_hurries(run: Run) -> None:
    log: list[str] = []

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        async with contextlib.AsyncExitStack() as stack:
            server = await stack.enter_async_context(Server(application(endless, log), port=0))
            reader, writer = await connected(server)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"begun")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await stack.aclose()
        writer.close()
        assert log[-1] == "lifespan.shutdown"
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


def test_an_error_in_the_block_comes_out_of_it(run: Run) -> None:
    log: list[str] = []

    async def main() -> None:
        with pytest.raises(LookupError):
            async with Server(application(log=log), port=0):
                raise LookupError
        assert log[-1] == "lifespan.shutdown"

    run(main())


def test_a_shutdown_that_fails_is_raised(run: Run) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise LookupError("no goodbye")

    async def main() -> None:
        server = Server(app, port=0)
        await server.__aenter__()
        with pytest.raises(LifespanShutdownError, match="no goodbye"):
            await server.__aexit__()

    run(main())


# --- a start that fails -----------------------------------------------------------------------


def test_a_start_that_fails_is_an_ordinary_exception_and_leaves_nothing(run: Run) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(BindError, match=f"127.0.0.1:{port}"):
                await Server(hello, bind=["127.0.0.1:0", f"127.0.0.1:{port}"]).__aenter__()
        server = Server(failing, port=port)
        with pytest.raises(LifespanError, match="no database"):
            await server.__aenter__()
        with pytest.raises(LoadError, match="no module named 'nowhere'"):
            await Server("nowhere:app", port=port).__aenter__()
        with pytest.raises(StartupError, match="is not callable"):
            await Server(1, port=port).__aenter__()  # type: ignore[arg-type]  # that is the point
        async with Server(application(), port=port) as last:
            assert await get(last) == "200 hello"
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


def test_a_start_that_is_cancelled_leaves_nothing(run: Run) -> None:
    async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.Event().wait()

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await Server(stuck, port=port).__aenter__()
        with socket.create_server(("127.0.0.1", port)):
            pass
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 2}, "workers is 2"),
        ({"reload": True}, "needs a supervisor"),
        ({"limit_max_requests": 9}, "needs a supervisor"),
        ({"pid_file": "x.pid"}, "pid_file is for the command"),
        ({"log_level": "debug"}, "log_level is for the command"),
        ({"port": 70_000}, "port must be at most"),
        ({"app": "other:app"}, "app is other:app"),
    ],
)
def test_a_setting_that_cannot_be_honoured_is_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Server(hello, **options)


def test_a_setting_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(TypeError, match="no setting 'prot'; did you mean port"):
        Server(hello, prot=1)


def test_single_settings_win_over_the_configuration() -> None:
    config = ServerConfig(port=1, root_path="/api")

    with Server(hello, config, port=0).in_thread() as server:
        assert server.addresses[0][1] not in (0, 1)


# --- what it leaves alone ---------------------------------------------------------------------


def test_nothing_of_the_process_changes(run: Run) -> None:
    def state() -> list[object]:
        return [
            [signal.getsignal(number) for number in signal.valid_signals()],
            [(one.level, one.handlers[:], one.propagate) for one in loggers],
            logging.getLevelName(5),
            sys.path[:],
            sys.excepthook,
            gc.get_freeze_count(),
            os.umask(os.umask(0o022)),
            dict(os.environ),
            asyncio.get_running_loop().get_exception_handler(),
        ]

    loggers = [logging.getLogger(name) for name in ("", "serval", "serval.error", "serval.access")]

    async def main() -> None:
        before = state()
        # Some that others have left may end meanwhile.
        threads = set(threading.enumerate())
        async with Server("process.scope_app:app", port=0):
            assert state() == before
            assert threads.issuperset(threading.enumerate())
        assert state() == before
        assert threads.issuperset(threading.enumerate())

    umask = os.umask(0o022)
    try:
        run(main())
    finally:
        os.umask(umask)


# --- everything that the command can serve ----------------------------------------------------


def test_tls_is_spoken(run: Run, tmp_path: Path) -> None:
    authority = trustme.CA()
    path = tmp_path / "both.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
    context = ssl.create_default_context()
    authority.configure_trust(context)

    async def main() -> None:
        async with Server(application(), port=0, ssl_certfile=str(path)) as server:
            assert server.url.startswith("https://127.0.0.1:")
            assert await get(server, verify=context) == "200 hello"

    run(main())


def test_a_unix_socket_is_there_for_the_length_of_the_block(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "serval.sock"

    async def main() -> None:
        async with Server(application(), bind=[f"unix:{path}"], uds_mode="600") as server:
            assert server.addresses == ((str(path), None),)
            assert server.url == f"unix:{path}"
            assert path.stat().st_mode & 0o777 == 0o600
            transport = httpx.AsyncHTTPTransport(uds=str(path))
            async with httpx.AsyncClient(transport=transport) as client:
                assert (await client.get("http://localhost/")).text == "hello"
        assert not path.exists()

    run(main())


@pytest.mark.parametrize("options", [{}, {"threads": 2}], ids=["loop", "threads"])
@pytest.mark.skipif(sys.platform != "linux", reason="abstract names and SO_PEERCRED")
def test_a_peer_on_an_abstract_socket_is_known(options: dict[str, Any]) -> None:
    seen: list[Any] = []
    name = f"serval-{os.getpid()}-{len(options)}"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend((scope["extensions"]["serval"]["peer"], scope["client"], scope["server"]))
        await say(send, b"known")

    server = Server(app, bind=[f"unix:@{name}"], lifespan="off", **options)
    with server.in_thread(), socket.socket(socket.AF_UNIX) as sock:
        sock.connect(f"\0{name}")
        assert Client(sock).get().body == b"known"

    us = {"pid": os.getpid(), "uid": os.getuid(), "gid": os.getgid()}
    assert seen == [us, None, (f"@{name}", None)]


def test_a_wsgi_application_cannot_be_cancelled(run: Run) -> None:
    async def main() -> None:
        server = Server(flask_like, port=0, cancel_after_disconnect=1.0)
        with pytest.raises(ConfigError, match="cancel_after_disconnect is for ASGI"):
            await server.__aenter__()

    run(main())


@pytest.mark.parametrize(
    ("app", "options", "answer"),
    [
        (flask_like, {}, "200 wsgi"),
        (hello, {"threads": 2}, "200 hello"),
        ("process.wsgi_app:app", {"threads": 2}, "200 "),
        (lambda: hello, {"factory": True}, "200 hello"),
    ],
    ids=["wsgi", "threads", "name", "factory"],
)
def test_applications_of_every_kind_are_served(
    run: Run, app: Any, options: dict[str, Any], answer: str
) -> None:
    async def main() -> None:
        async with Server(app, port=0, **options) as server:
            assert (await get(server)).startswith(answer)

    run(main())
    assert [one.name for one in threading.enumerate() if "serval" in one.name] == []


def test_a_signal_ends_the_wait_for_it_and_the_handler_is_put_back(run: Run) -> None:
    before = signal.getsignal(signal.SIGUSR1)

    async def main() -> None:
        async with Server(application(), port=0) as server:
            wait = asyncio.create_task(server.serve_until(signal.SIGUSR1, signal.SIGUSR2))
            await asyncio.sleep(0)
            os.kill(os.getpid(), signal.SIGUSR1)
            assert await wait is signal.SIGUSR1

    run(main())
    assert signal.getsignal(signal.SIGUSR1) is before


# --- in a thread ------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_thread_serves_for_the_length_of_a_block(loop: str) -> None:
    log: list[str] = []

    with Server(application(log=log), port=0, loop=loop).in_thread() as server:
        assert httpx.get(server.url).text == "hello"
        with Server(application(), port=0).in_thread() as another:
            assert httpx.get(another.url).text == "hello"

    assert log == ["lifespan.startup", "lifespan.shutdown"]
    assert [one.name for one in threading.enumerate() if "serval" in one.name] == []


def test_a_thread_that_does_not_start_says_why() -> None:
    with (
        pytest.raises(LifespanError, match="no database"),
        Server(failing, port=0).in_thread(),
    ):
        pytest.fail("it has started")


def test_an_error_in_the_block_of_a_thread_comes_out_of_it() -> None:
    with (
        contextlib.suppress(LookupError),
        Server(application(), port=0).in_thread() as server,
    ):
        raise LookupError

    assert server.addresses == ()


def test_an_idle_connection_does_not_hold_up_the_end() -> None:
    with Server(application(), port=0).in_thread() as server:
        host, port = server.addresses[0]
        client = Client(socket.create_connection((host, port)))
        assert client.get().body == b"hello"

    assert client.at_end()
    client.close()


# --- under AnyIO ------------------------------------------------------------------------------


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
async def server() -> Any:
    async with Server(application(), port=0) as running:
        yield running


@pytest.mark.anyio
async def test_a_fixture_of_anyio_serves(server: Server) -> None:
    assert await get(server) == "200 hello"


@pytest.mark.anyio
async def test_a_cancelled_scope_of_anyio_hurries_the_stop() -> None:
    log: list[str] = []
    with anyio.CancelScope() as scope:
        async with Server(application(endless, log), port=0) as server:
            reader, writer = await connected(server)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"begun")
            scope.cancel()

    assert scope.cancelled_caught
    assert log[-1] == "lifespan.shutdown"
    writer.close()


# --- the README -------------------------------------------------------------------------------


def test_the_examples_of_the_readme_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    section = README.read_text().partition("## Within a program\n")[2].partition("\n## ")[0]
    in_loop, in_tests = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (tmp_path / "shop.py").write_text("from process.quiet_app import app")
    (tmp_path / "test_shop.py").write_text(in_tests)
    (tmp_path / "pytest.ini").touch()
    names: dict[str, Any] = {"app": hello, "__name__": "readme"}

    exec(in_loop, names)  # noqa: S102 - it is what the README says
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    with running("pytest", "-q", str(tmp_path), environ=alone) as tests:
        tests.expect("1 passed")

    assert capsys.readouterr().out == "200\n"
