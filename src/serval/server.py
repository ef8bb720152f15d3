"""The composition root: bind, then supervise workers or serve in this process.

Called by the command with a whole configuration.  It alone knows both the supervisor and the
worker, and introduces them to each other; neither the application nor an event loop exists here.
"""

import gc
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from functools import partial
from typing import Final, NoReturn, TypeAlias

from serval import log
from serval.channel import ChildChannel
from serval.config import ServerConfig
from serval.errors import ConfigError, ExitStatus
from serval.loader import LoadedApp
from serval.net.addresses import is_local
from serval.net.bind import Bind, FdBind
from serval.net.listeners import Listener, activated_binds, close_listeners, open_listeners
from serval.net.listening import Listening
from serval.net.tls import Certificates, load_certificates
from serval.outlook import Companion
from serval.pid_file import PidFile
from serval.privileges import Identity, identity_of
from serval.process_title import set_process_title
from serval.proxy_settings import credulous_settings
from serval.scoreboard import Scoreboard
from serval.service_settings import parse_mode
from serval.supervisor.actions import Replacement, Settings
from serval.supervisor.loop import Entry, Supervisor
from serval.supervisor.metric_files import metric_files
from serval.supervisor.notify import service_manager
from serval.supervisor.signals import SignalInbox
from serval.version import __version__
from serval.worker.application import preload_app
from serval.worker.early_stop import StopRequested, early_stop
from serval.worker.loops import loop_name, runs_free_threaded
from serval.worker.process import Inheritance, leave, run_here, run_worker

ConfigReader: TypeAlias = Callable[[], ServerConfig]

# Room for growing by signal and for a replacement beside each worker; an untouched slot is free.
_LEAST_SLOTS: Final = 64
_SLOTS_PER_WORKER: Final = 4
# What only a restart can change: these sockets and files are open, and their owner holds them.
_FIXED: Final = (
    *("host", "port", "bind", "backlog", "uds_mode", "uds_owner", "uds_group"),
    *("admin_bind", "pid_file", "umask", "preload", "reload"),
)
# In development nobody waits for streams.
_QUICK_SECONDS: Final = 1.0
_QUICK_GRACE_SECONDS: Final = 0.2
_ADMIN_MODE: Final = 0o600  # whoever can write to it may reload and scale
_ADMIN_BACKLOG: Final = 64

_log = logging.getLogger("serval.error")


def serve(config: ServerConfig, *, reload_config: ConfigReader | None = None) -> ExitStatus:
    """Serve until a signal says stop; main thread of a process without other threads.

    Args:
        reload_config: Reads the configuration anew on SIGHUP; without it the workers are replaced
            and the configuration stays.

    Raises:
        BindError: A listening socket could not be opened; the application was not touched.
        TlsError: A certificate cannot be loaded; no socket was opened.
        ConfigError: A setting cannot be honoured here.
    """
    if config.umask:
        os.umask(parse_mode(config.umask))
    log.configure(config)
    loop_name(config.loop)
    config = _in_development(config) if config.reload else config
    identity = identity_of(config.user, config.group)
    log.give_files(identity.uid, identity.gid)
    certificates = load_certificates(config)
    if config.workers == 0:
        with Listening(config, _binds(config)) as listeners, closing(PidFile(config.pid_file)):
            _announce(config, listeners)
            _assume(identity, config)
            return run_here(Inheritance(config, listeners, certificates))
    return _supervised(config, identity, certificates=certificates, reload_config=reload_config)


def _supervised(
    config: ServerConfig,
    identity: Identity,
    *,
    certificates: Certificates | None,
    reload_config: ConfigReader | None,
) -> ExitStatus:
    """Serve from worker processes."""
    # From here on every signal is caught: PID 1 of a container would lose one without a handler.
    with (
        closing(SignalInbox()) as inbox,
        Listening(config, _binds(config)) as listeners,
        closing(PidFile(config.pid_file)),
        ExitStack() as stack,
    ):
        _announce(config, listeners)
        scoreboard = Scoreboard(max(_SLOTS_PER_WORKER * config.workers, _LEAST_SLOTS))
        companions = _companions(config, listeners, scoreboard, stack)
        if files := metric_files(os.environ, (identity.uid, identity.gid), scoreboard):
            companions.append(files)
        with suppress(StopRequested):  # of the preloading: what comes later is in the inbox
            inheritance = Inheritance(
                config, listeners, certificates, _preloaded(config), scoreboard.slots
            )
            # What is loaded now stays: out of the collector's reach, its pages stay shared with the
            # workers (9 MiB of private memory instead of 14 for each of four idle ones, 2026-11).
            gc.collect()
            gc.freeze()
            return Supervisor(
                _settings(config),
                scoreboard,
                _entry(inheritance, identity),
                inbox=inbox,
                reloader=partial(_reload, inheritance, reload_config),
                unlisten=partial(close_listeners, listeners),
                reopen_logs=log.reopen_files,
                companions=companions,
            ).run()
        return ExitStatus.OK


def _preloaded(config: ServerConfig) -> LoadedApp | None:
    """The application, where the workers shall have it from us.

    Raises:
        StopRequested: A signal has cut the import short.
    """
    if not config.preload:
        return None
    with early_stop((signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)) as early:
        app = preload_app(config)
    if early.asked:
        raise StopRequested
    return app


def _companions(
    config: ServerConfig, served: Sequence[Listener], scoreboard: Scoreboard, stack: ExitStack
) -> list[Companion]:
    """What the supervisor looks after beside the workers; closed with the stack."""
    companions: list[Companion] = []
    if config.reload:
        from serval.reload.watcher import watch  # noqa: PLC0415 - a start without it is quicker

        companions.append(stack.enter_context(closing(watch(config))))
    manager = service_manager(os.environ, os.getpid(), scoreboard)
    if manager is not None:
        companions.append(stack.enter_context(closing(manager)))
    if config.admin is not None:
        listeners = open_listeners(
            [config.admin],
            backlog=_ADMIN_BACKLOG,
            unix_mode=_ADMIN_MODE,
            origin=config.origin("admin_bind"),
        )
        stack.callback(close_listeners, listeners)
        from serval.admin.endpoint import AdminEndpoint, own_constants  # noqa: PLC0415 - likewise

        constants = own_constants(__version__, config.app, time.monotonic(), time.time())
        endpoint = AdminEndpoint(listeners, served, constants, scoreboard)
        companions.append(stack.enter_context(closing(endpoint)))
        where = ", ".join(listener.url() for listener in listeners)
        _log.info("admin endpoint on %s", where)
    return companions


def _binds(config: ServerConfig) -> tuple[Bind, ...]:
    """Where to listen: sockets passed by a service manager take the place of the default."""
    activated: list[FdBind] = activated_binds(os.environ, os.getpid())
    asked = config.bind or any(config.origin(name) != "default" for name in ("host", "port"))
    if activated and not asked:
        return tuple(activated)
    # The unit's own `--bind fd:3` names a socket that is there already.
    return (*activated, *(bind for bind in config.binds if bind not in activated))


def _in_development(config: ServerConfig) -> ServerConfig:
    """What makes a reload quick, where nobody has said otherwise."""
    usual = ServerConfig().timeout_graceful_shutdown
    graceful = config.timeout_graceful_shutdown
    return replace(
        config,
        timeout_graceful_shutdown=_QUICK_SECONDS if graceful == usual else graceful,
        shutdown_stream_grace=config.shutdown_stream_grace or _QUICK_GRACE_SECONDS,
    )


def _settings(config: ServerConfig) -> Settings:
    return Settings(
        workers=config.workers,
        startup_seconds=config.timeout_startup,
        graceful_seconds=config.timeout_graceful_shutdown,
        closing_seconds=config.timeout_lifespan_shutdown,
        drain_delay_seconds=config.drain_delay,
        heartbeat_seconds=config.timeout_worker_healthcheck,
        crash_limit=config.crash_limit,
        replacement=Replacement.AT_ONCE if config.reload else Replacement(config.replace_mode),
        waits=config.reload,
    )


def _entry(inheritance: Inheritance, identity: Identity) -> Entry:
    # The environment as it is now: a reload that fails has read its env files all the same, and
    # must change nothing for a worker that is forked later in place of one from before.
    environ = dict(os.environ)
    return partial(_be_worker, inheritance=inheritance, identity=identity, environ=environ)


def _be_worker(
    channel: ChildChannel,
    *,
    inheritance: Inheritance,
    identity: Identity,
    environ: dict[str, str],
) -> NoReturn:
    """In the child: take its name, its user and its environment, load the application and serve."""
    config = inheritance.config
    if os.environ != environ:
        os.environ.clear()
        os.environ.update(environ)
    number = channel.index + 1
    set_process_title(
        f"serval: worker {number} {config.app}", short=f"serval w{number} {config.app}"
    )
    try:
        _assume(identity, config)
    except ConfigError as exc:
        if channel.claim_report():
            _log.error("%s", exc)
        leave(ExitStatus.BOOT)
    run_worker(channel, inheritance)


def _assume(identity: Identity, config: ServerConfig) -> None:
    try:
        identity.assume()
    except OSError as exc:
        whom = " and ".join(filter(None, (config.user, config.group)))
        raise ConfigError(f"cannot become {whom}: {exc.strerror}") from exc


def _reload(inherited: Inheritance, read: ConfigReader | None) -> tuple[Settings, Entry]:
    """What workers run on from now on.

    Raises:
        StartupError: The new configuration cannot be used.
    """
    old = inherited.config
    config = read() if read is not None else old
    config = _in_development(config) if config.reload else config
    if config.workers == 0:
        raise ConfigError("workers is 0, which only a restart can bring about")
    loop_name(config.loop)
    identity = identity_of(config.user, config.group)
    certificates = load_certificates(config)
    log.configure(config)
    log.give_files(identity.uid, identity.gid)
    _warn_of_trust(config, inherited.listeners)
    if inherited.app is not None:
        _log.warning("the application was preloaded; a restart loads it anew, a reload does not")
    for name in _FIXED:
        if getattr(config, name) != getattr(old, name):
            _log.warning("%s has changed; that takes effect with a restart", name)
    new = replace(inherited, config=config, certificates=certificates)
    return _settings(config), _entry(new, identity)


def _announce(config: ServerConfig, listeners: Sequence[Listener]) -> None:
    scheme = "http" if config.certificate is None else "https"
    where = ", ".join(listener.url(scheme) for listener in listeners)
    _log.info("serval %s serves %s on %s", __version__, config.app, where)
    who = {0: "this process", 1: "1 worker"}.get(config.workers, f"{config.workers} workers")
    _log.info("pid %d, %s, event loop %s", os.getpid(), who, loop_name(config.loop))
    if runs_free_threaded():
        _log.info("this Python is free-threaded, which loop auto keeps: uvloop would end it")
    _warn_of_trust(config, listeners)


def _warn_of_trust(config: ServerConfig, listeners: Sequence[Listener]) -> None:
    """Say so where whoever reaches us from another machine is believed."""
    exposed = ", ".join(one.address for one in listeners if not is_local(one.sock))
    believing = credulous_settings(config)
    if exposed and believing:
        _log.warning(
            "whoever reaches %s can claim to be any client, since %s; make sure that only proxies "
            "can, or name their addresses",
            exposed,
            " and ".join(believing),
        )
