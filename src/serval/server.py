"""The composition root: bind, then supervise workers or serve in this process.

Called by the command with a whole configuration.  It alone knows both the supervisor and the
worker, and introduces them to each other; neither the application nor an event loop exists here.
"""

import gc
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Final, TypeAlias

from serval import log
from serval.config import ServerConfig
from serval.errors import ConfigError, ExitStatus
from serval.net.bind import Bind, FdBind
from serval.net.listeners import Listener, activated_binds, close_listeners, open_listeners
from serval.scoreboard import Scoreboard
from serval.supervisor.actions import Settings
from serval.supervisor.loop import Entry, Supervisor
from serval.supervisor.signals import SignalInbox
from serval.version import __version__
from serval.worker.loops import loop_name
from serval.worker.process import run_here, run_worker

ConfigReader: TypeAlias = Callable[[], ServerConfig]

# Room for growing by signal and for a replacement beside each worker; an untouched slot is free.
_LEAST_SLOTS: Final = 64
_SLOTS_PER_WORKER: Final = 4
# What only a restart can change: these sockets are open, and their owner holds them.
_FIXED: Final = ("host", "port", "bind", "backlog")

_log = logging.getLogger("serval.error")


def serve(config: ServerConfig, *, reload_config: ConfigReader | None = None) -> ExitStatus:
    """Serve until a signal says stop; main thread of a process without other threads.

    Args:
        reload_config: Reads the configuration anew on SIGHUP; without it the workers are replaced
            and the configuration stays.

    Raises:
        BindError: A listening socket could not be opened; the application was not touched.
        ConfigError: A setting cannot be honoured here.
    """
    log.configure(config)
    loop_name(config.loop)
    if config.workers == 0:
        with _Listening(config) as listeners:
            _announce(config, listeners)
            return run_here(config, listeners)
    # From here on every signal is caught: PID 1 of a container would lose one without a handler.
    with closing(SignalInbox()) as inbox, _Listening(config) as listeners:
        _announce(config, listeners)
        # What is loaded now stays: out of the collector's reach, its pages stay shared with the
        # workers (9 MiB of private memory instead of 14 for each of four idle ones, 2026-11).
        gc.collect()
        gc.freeze()
        return Supervisor(
            _settings(config),
            Scoreboard(max(_SLOTS_PER_WORKER * config.workers, _LEAST_SLOTS)),
            _entry(config, listeners),
            inbox=inbox,
            reloader=partial(_reload, config, reload_config, listeners),
            unlisten=partial(close_listeners, listeners),
        ).run()


class _Listening:
    """The listening sockets of a configuration, closed at the end."""

    def __init__(self, config: ServerConfig) -> None:
        self._listeners = open_listeners(
            _binds(config), backlog=config.backlog, origin=_origin(config)
        )

    def __enter__(self) -> Sequence[Listener]:
        return self._listeners

    def __exit__(self, *_: object) -> None:
        close_listeners(self._listeners)


def _binds(config: ServerConfig) -> tuple[Bind, ...]:
    """Where to listen: sockets passed by a service manager take the place of the default."""
    activated: list[FdBind] = activated_binds(os.environ, os.getpid())
    asked = config.bind or any(config.origin(name) != "default" for name in ("host", "port"))
    return (*activated, *config.binds) if asked or not activated else tuple(activated)


def _origin(config: ServerConfig) -> str:
    """What an operator should change when the sockets cannot be opened."""
    names = ("bind",) if config.bind else ("host", "port")
    origins = dict.fromkeys(config.origin(name) for name in names)
    return " and ".join(origin for origin in origins if origin != "default")


def _settings(config: ServerConfig) -> Settings:
    return Settings(
        workers=config.workers,
        startup_seconds=config.timeout_startup,
        graceful_seconds=config.timeout_graceful_shutdown,
        closing_seconds=config.timeout_lifespan_shutdown,
    )


def _entry(config: ServerConfig, listeners: Sequence[Listener]) -> Entry:
    return partial(run_worker, config=config, listeners=listeners)


def _reload(
    old: ServerConfig, read: ConfigReader | None, listeners: Sequence[Listener]
) -> tuple[Settings, Entry]:
    """What workers run on from now on.

    Raises:
        StartupError: The new configuration cannot be used.
    """
    config = read() if read is not None else old
    if config.workers == 0:
        raise ConfigError("workers is 0, which only a restart can bring about")
    loop_name(config.loop)
    log.configure(config)
    for name in _FIXED:
        if getattr(config, name) != getattr(old, name):
            _log.warning("%s has changed; that takes effect with a restart", name)
    return _settings(config), _entry(config, listeners)


def _announce(config: ServerConfig, listeners: Sequence[Listener]) -> None:
    where = ", ".join(listener.url for listener in listeners)
    _log.info("serval %s serves %s on %s", __version__, config.app, where)
    who = {0: "this process", 1: "1 worker"}.get(config.workers, f"{config.workers} workers")
    _log.info("pid %d, %s, event loop %s", os.getpid(), who, loop_name(config.loop))
