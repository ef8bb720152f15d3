"""One application on the running event loop: startup, connections, drain, shutdown.

Owns neither the loop nor the process: `worker/process.py` and `embedding.py` do, and say when it
stops.  Thread of the loop only.
"""

import asyncio
from collections.abc import Callable, Sequence

from serval.access_log import open_access_log
from serval.asgi.lifespan import Lifespan
from serval.config import ServerConfig
from serval.errors import ConfigError, LifespanShutdownError
from serval.loader import LoadedApp
from serval.net.listeners import Listener
from serval.net.tls import Certificates
from serval.scoreboard import Slot
from serval.worker.anyio_pool import resize_pool
from serval.worker.async_pool import AsyncPool
from serval.worker.guards import guarded, refuse_guards
from serval.worker.lanes import Lanes, flush_soon, open_lanes, runs_in_threads
from serval.worker.watch.pulse import Pulse


def _nobody_cares(*_: object) -> None:
    """There is no supervisor."""


class Serving:
    """An application, from its startup to its shutdown.

    Attributes:
        pool: The async lane.
        service: What all connections share.

    Args:
        config: All settings.
        loaded: The application.
        listeners: Sockets to accept from.
        certificates: What to speak TLS with; None for plain connections.
        slot: Where the supervisor is shown how it goes; None without one.
        slots: What each worker says about itself.

    Raises:
        ConfigError: A setting cannot be honoured by what serves.
    """

    def __init__(
        self,
        config: ServerConfig,
        loaded: LoadedApp,
        *,
        listeners: Sequence[Listener],
        certificates: Certificates | None = None,
        slot: Slot | None = None,
        slots: Sequence[Slot] = (),
    ) -> None:
        self._loaded = loaded
        self._listeners = listeners
        self._certificates = certificates
        self._slot = slot
        if loaded.interface == "wsgi" and config.cancel_after_disconnect:
            raise ConfigError("cancel_after_disconnect is for ASGI: nothing cancels a thread")
        from_threads = runs_in_threads(config, loaded)
        schedule = flush_soon(asyncio.get_running_loop(), from_threads=from_threads)
        self._access_log = open_access_log(config, schedule)
        self.pool = AsyncPool(config, loaded.app)
        service = self.service = self.pool.open(access_log=self._access_log)
        service.tally.slot = slot
        service.tally.slots = slots
        if from_threads:
            refuse_guards(service, loaded.interface)
        service.app = guarded(service.app, service)
        if config.admin_bind:
            service.measure()
        self._lifespan = Lifespan(
            loaded.app,
            "off" if loaded.interface == "wsgi" else config.lifespan,
            startup_seconds=config.timeout_startup,
            shutdown_seconds=config.timeout_lifespan_shutdown,
            extensions={"serval": {"draining": service.farewell}},
            is_first=slot is None or slot.index == 0,
        )
        # What has started and is to be shut down, the last first.
        self._started: list[Lanes | Lifespan] = []
        self._lanes: list[Lanes] = []
        self._beats: list[asyncio.Task[None]] = []

    @property
    def has_started(self) -> bool:
        """Whether the application has run its startup, so that it is to be shut down."""
        return bool(self._started)

    async def startup(self) -> None:
        """Run the application's startup, wherever it will be served.

        Raises:
            LifespanError: It has failed; `shutdown` ends what has started.
            ConfigError: A setting cannot be honoured by what serves; likewise.
        """
        service = self.service
        resize_pool(service.config.anyio_tokens)
        await self._lifespan.startup()
        self._started.append(self._lifespan)
        self.pool.set_lifespan_state(self._lifespan.state)
        service.context = self._lifespan.context
        lanes = open_lanes(self._loaded, service, self._listeners, self.pool, self._certificates)
        self._lanes.append(lanes)
        self._started.append(lanes)
        await lanes.startup()

    def start(
        self,
        retire: Callable[[str], None] = _nobody_cares,
        notify: Callable[[], None] = _nobody_cares,
    ) -> None:
        """Begin to accept and to serve.

        Args:
            retire: Called with the reason why the worker should be replaced; never without a slot.
            notify: Has the supervisor look at the slot.
        """
        for lanes in self._lanes:
            lanes.start()
        pulse = Pulse(self.service, self._slot, retire, notify)
        self._beats.append(asyncio.create_task(pulse.run()))

    async def drain(self, last_request_seconds: float = 0.0) -> None:
        """Accept no more, and let what runs finish, in bounded time.

        Args:
            last_request_seconds: How long idle connections may wait for a last request.
        """
        try:
            for lanes in self._lanes:
                lanes.stop_accepting()
            self.service.last_request_seconds = last_request_seconds
            self.pool.request_stop()
            await self.pool._serve()
        finally:
            for beat in self._beats:
                beat.cancel()
            self.service.tally.publish()

    def hurry(self) -> None:
        """Cut short what still runs."""
        self.pool.hurry()

    async def shutdown(self) -> list[LifespanShutdownError]:
        """Run the application's shutdown wherever it has started; what has failed in it."""
        errors = []
        while self._started:
            try:
                await self._started.pop().shutdown()
            except LifespanShutdownError as error:
                errors.append(error)
        if self._access_log is not None:
            self._access_log.flush()
        return errors

    def close(self) -> None:
        """Give back what serves; every connection must be gone."""
        for lanes in self._lanes:
            lanes.close()
