"""The server within a program: on its event loop, or on a loop in a thread of its own.

Touches nothing that belongs to the process: no signals, no logging, no import path.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from serval.asgi.types import Address
from serval.config import ServerConfig
from serval.errors import ConfigError
from serval.loader import LoadedApp, load, recognise
from serval.net.addresses import bound_address
from serval.net.listeners import Listener, remove_socket_files
from serval.net.listening import Listening
from serval.net.tls import load_certificates
from serval.options import near, options_of
from serval.worker.loops import loop_factory
from serval.worker.serving import Serving

logger = logging.getLogger("serval.error")

# What only a command can honour, since it owns the process.
_OF_THE_COMMAND: Final = (
    *("env_file", "pid_file", "user", "group", "umask", "drain_delay"),
    *("log_level", "log_format", "use_colors", "log_config", "error_log_file", "access_log_file"),
)
# What a thread gets to clean its loop up once the server has stopped.
JOIN_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Run:
    """A server from its start to its stop."""

    serving: Serving
    listeners: tuple[Listener, ...]
    resources: ExitStack

    async def stop(self) -> None:
        """Let what runs finish, then shut the application down.

        Raises:
            LifespanShutdownError: The application failed in it.
        """
        with self.resources:
            remove_socket_files(self.listeners)
            try:
                await self.serving.drain()
            finally:
                errors = await self.serving.shutdown()
            if errors:
                raise errors[0]


class Server:
    """An application, served for the length of an `async with` block or of a thread.

        async with Server(app, port=0) as server:
            print(server.url)

    Inside the block it listens and the application's startup is done; its end is a graceful stop,
    within `timeout_graceful_shutdown` and `timeout_lifespan_shutdown`.  A cancellation of that stop
    hurries it.  Opening a Unix socket changes the umask of the process for a moment.

    Args:
        app: The application, ASGI or WSGI, or its name, such as "shop.main:app".
        config: The settings; those of the command alone, such as `pid_file`, are refused.
        options: Single settings by their names, over those of `config`.

    Raises:
        ConfigError: A setting cannot be honoured here, or contradicts another.
        TypeError: There is no such setting.
    """

    def __init__(
        self,
        app: Callable[..., Any] | str,
        config: ServerConfig | None = None,
        /,
        **options: Any,
    ) -> None:
        self._app = app
        self._config = _embedded(app, config, options)
        self._run: _Run | None = None

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where it listens: host and port, or the path of a Unix socket and None.  Any thread.

        Empty while it does not.
        """
        run = self._run
        return () if run is None else tuple(bound_address(one.sock) for one in run.listeners)

    @property
    def urls(self) -> tuple[str, ...]:
        """The same for people and clients: `http://127.0.0.1:8000`, `unix:/run/shop.sock`."""
        run = self._run
        scheme = "http" if self._config.certificate is None else "https"
        return () if run is None else tuple(one.url(scheme) for one in run.listeners)

    @property
    def url(self) -> str:
        """The first of its URLs; empty while it does not listen."""
        return next(iter(self.urls), "")

    # On the running loop.

    async def __aenter__(self) -> Self:
        """Listen and run the application's startup.

        Raises:
            StartupError: The application could not be loaded or did not start, a socket could not
                be opened, a certificate not be used; nothing is left open.
        """
        if self._run is not None:
            raise ConfigError("this server is running; make another for a second time at once")
        self._run = await _start(self._app, self._config)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop gracefully.

        Raises:
            LifespanShutdownError: The application failed in its shutdown.
        """
        run, self._run = self._run, None
        assert run is not None
        stopping = asyncio.ensure_future(run.stop())
        cancelled: asyncio.CancelledError | None = None
        while not stopping.done():
            try:
                await asyncio.wait((stopping,))
            except asyncio.CancelledError as error:
                cancelled = error
                run.serving.hurry()
        try:
            stopping.result()
        finally:
            if cancelled is not None:
                raise cancelled

    async def serve_until(self, *signals: signal.Signals) -> signal.Signals:
        """Wait for one of these signals, and return it; main thread of the process only.

        Their handlers are set for as long as this waits, and put back.
        """
        loop = asyncio.get_running_loop()
        came: asyncio.Future[signal.Signals] = loop.create_future()

        def tell(number: signal.Signals) -> None:
            if not came.done():
                came.set_result(number)

        before = {number: signal.getsignal(number) for number in signals}
        try:
            for number in signals:
                loop.add_signal_handler(number, tell, number)
            return await came
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                if handler is not None:  # it was not set by Python
                    signal.signal(number, handler)

    # In a thread.

    @contextmanager
    def in_thread(self) -> Iterator[Self]:
        """Serve on a loop in a thread of its own, for the length of a `with` block.

        Raises:
            StartupError: As `__aenter__`.
            LifespanShutdownError: As `__aexit__`.
        """
        started: Future[None] = Future()
        stop: Future[None] = Future()
        ended: Future[None] = Future()
        thread = threading.Thread(
            target=self._live, args=(started, stop, ended), name="serval", daemon=True
        )
        thread.start()
        try:
            started.result()
            yield self
        finally:
            stop.set_result(None)
            try:
                ended.result()
            finally:
                thread.join(JOIN_SECONDS)
                if thread.is_alive():
                    logger.warning("a thread of a server that has stopped is left behind")

    def _live(self, started: "Future[None]", stop: "Future[None]", ended: "Future[None]") -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory(self._config.loop)) as runner:
                runner.run(self._serve(started, stop))
                ended.set_result(None)  # what is left is the loop's
        except BaseException as error:
            if not started.done():
                started.set_exception(error)
                ended.set_result(None)
            elif not ended.done():
                ended.set_exception(error)
            else:
                logger.exception("closing the loop of a server that has stopped failed")

    async def _serve(self, started: "Future[None]", stop: "Future[None]") -> None:
        async with self:
            started.set_result(None)
            await asyncio.wrap_future(stop)


def _embedded(
    app: Callable[..., Any] | str, config: ServerConfig | None, options: dict[str, Any]
) -> ServerConfig:
    """The settings of a server without a process of its own.

    Raises:
        ConfigError: One cannot be honoured.
        TypeError: There is no such setting.
    """
    known = {one.name: one.default for one in options_of(ServerConfig)}
    for name, value in options.items():
        if name not in known:
            raise TypeError(f"there is no setting {name!r}{near(name, list(known))}")
        if isinstance(value, list):
            options[name] = tuple(value)
    if config is None:
        # The loop is its owner's, who knows whether it may be blocked.
        config = ServerConfig(**{"watchdog_lag": 0.0, **options})
    else:
        config = replace(config, **options)
    if config.workers > 1:
        raise ConfigError(f"workers is {config.workers}, and this process is the only one")
    if config.app and config.app != app:
        raise ConfigError(f"app is {config.app}, and another application is given")
    for name in _OF_THE_COMMAND:
        if getattr(config, name) != known[name]:
            raise ConfigError(f"{name} is for the command, which has a process of its own")
    return replace(config, workers=0)


async def _start(app: Callable[..., Any] | str, config: ServerConfig) -> _Run:
    with ExitStack() as stack:
        certificates = load_certificates(config)
        listeners = tuple(stack.enter_context(Listening(config, config.binds)))
        loaded = _loaded(app, config)
        serving = Serving(config, loaded, listeners=listeners, certificates=certificates)
        stack.callback(serving.close)
        try:
            await serving.startup()
        except BaseException:
            await serving.shutdown()
            raise
        serving.start()
        return _Run(serving, listeners, stack.pop_all())


def _loaded(app: Callable[..., Any] | str, config: ServerConfig) -> LoadedApp:
    if isinstance(app, str):
        return load(
            app,
            factory=config.factory,
            app_dir=config.app_dir or None,
            interface=config.interface,
        )
    return recognise(app, "the application", factory=config.factory, interface=config.interface)
