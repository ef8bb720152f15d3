"""Every setting of the server, once: its default, its bounds and what it means.

Each field is a flag, a `SERVAL_` variable, a key of the TOML file and an entry of the manual.
Inert: it opens, logs and imports nothing of what it describes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from serval.errors import ConfigError
from serval.net.bind import Bind, TcpBind, parse_bind
from serval.options import Alias, Group, Unit, fault, option, options_of

Interface: TypeAlias = Literal["auto", "asgi", "wsgi"]
LifespanMode: TypeAlias = Literal["auto", "on", "off"]
LoopName: TypeAlias = Literal["auto", "asyncio", "uvloop"]
LogLevel: TypeAlias = Literal["critical", "error", "warning", "info", "debug", "trace"]
Colors: TypeAlias = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """All settings, flat; made by `load` from what an operator gave, or by an embedder directly.

    Durations are seconds and sizes bytes; a value is checked when the object is made.

    Raises:
        ConfigError: A value is out of its bounds, or contradicts another.
    """

    app: str = option("", "The application: a module and the name in it, such as myapp:app.")
    factory: bool = option(False, "The name is a function that makes the application.")
    app_dir: str = option(
        "",
        "Where modules are looked for first; the current directory by default.",
        completes="dir",
        placeholder="DIR",
        aliases=(Alias("--chdir"), Alias("--working-dir")),
    )
    env_file: tuple[str, ...] = option(
        (),
        "A file of KEY=VALUE lines for the environment, which wins over it.",
        completes="file",
        placeholder="FILE",
        aliases=(Alias("--env-files"),),
    )
    interface: Interface = option("auto", "What the application speaks; auto looks at it.")
    lifespan: LifespanMode = option(
        "auto",
        "Whether to tell the application of start and stop; auto does if it listens.",
        aliases=(Alias("--asgi-lifespan"),),
    )
    root_path: str = option(
        "",
        "The path at which a proxy mounts the application, such as /api.",
        placeholder="PATH",
        aliases=(Alias("--url-path-prefix"),),
        group=Group.HTTP,
    )

    host: str = option(
        "127.0.0.1", "The address to listen on.", group=Group.LISTENING, placeholder="HOST"
    )
    port: int = option(
        8000,
        "The port to listen on; 0 lets the kernel choose.",
        group=Group.LISTENING,
        at_most=65535,
        placeholder="PORT",
        fallback_variable="PORT",
    )
    bind: tuple[str, ...] = option(
        (),
        "Where to listen, in place of host and port: host:port, [v6]:port, :port, port, "
        "unix:path, unix:@name or fd:N. May be repeated.",
        group=Group.LISTENING,
        short="-b",
        placeholder="ADDRESS",
        aliases=(
            Alias("--uds", before="unix:"),
            Alias("--unix-socket", before="unix:"),
            Alias("--fd", before="fd:"),
        ),
    )
    backlog: int = option(
        2048,
        "Connections that the kernel may queue for us.",
        group=Group.LISTENING,
        at_least=1,
    )

    workers: int = option(
        1,
        "Worker processes; 0 serves in this process, without a supervisor.",
        group=Group.PROCESSES,
        at_most=1024,
        short="-w",
        fallback_variable="WEB_CONCURRENCY",
    )
    threads: int = option(
        0,
        "Threads that run requests in each worker, 2 or more; 0 runs them on the event loop.",
        group=Group.PROCESSES,
        at_most=1024,
        aliases=(Alias("--blocking-threads"),),
    )
    loop: LoopName = option(
        "auto",
        "The event loop; auto takes uvloop where it is installed.",
        group=Group.PROCESSES,
        aliases=(Alias("--asgi-loop"),),
    )

    timeout_startup: float = option(
        600.0,
        "Longest wait for the application to start.",
        group=Group.TIMEOUTS,
        unit=Unit.SECONDS,
        zero_means="no limit",
        aliases=(Alias("--startup-timeout"),),
    )
    timeout_tls_handshake: float = option(
        10.0,
        "Longest wait for a TLS handshake.",
        group=Group.TIMEOUTS,
        unit=Unit.SECONDS,
        zero_means="no limit",
        aliases=(Alias("--ssl-handshake-timeout"),),
    )
    timeout_headers: float = option(
        15.0,
        "Longest wait for a whole request head.",
        group=Group.TIMEOUTS,
        unit=Unit.SECONDS,
        zero_means="no limit",
        aliases=(Alias("--http1-header-read-timeout", after="ms"), Alias("--header-timeout")),
    )
    timeout_body_idle: float = option(
        30.0,
        "Longest silence within a request body.",
        group=Group.TIMEOUTS,
        unit=Unit.SECONDS,
        zero_means="no limit",
        aliases=(Alias("--read-timeout"),),
    )
    timeout_keep_alive: float = option(
        75.0,
        "How long a connection may wait for its next request.",
        group=Group.TIMEOUTS,
        unit=Unit.SECONDS,
        zero_means="closing after each response",
        aliases=(Alias("--keep-alive"), Alias("--keep-alive-timeout")),
    )
    timeout_write_idle: float = option(
        60.0,
        "How long a client may take none of a response.",
        group=Group.TIMEOUTS,
        unit=Unit.SECONDS,
        zero_means="no limit",
        aliases=(Alias("--write-timeout"),),
    )
    timeout_graceful_shutdown: float = option(
        30.0,
        "How long running requests may go on after a stop signal.",
        group=Group.TIMEOUTS,
        unit=Unit.SECONDS,
        aliases=(
            Alias("--graceful-timeout"),
            Alias("--shutdown-timeout"),
            Alias("--workers-kill-timeout"),
        ),
    )
    timeout_lifespan_shutdown: float = option(
        5.0,
        "Longest wait for the application to stop, once no request runs.",
        group=Group.TIMEOUTS,
        unit=Unit.SECONDS,
    )

    limit_request_line: int = option(
        8192,
        "Largest request line.",
        group=Group.LIMITS,
        unit=Unit.BYTES,
        at_least=64,
    )
    limit_header_field: int = option(
        16384,
        "Largest header field, name and value.",
        group=Group.LIMITS,
        unit=Unit.BYTES,
        at_least=64,
        aliases=(Alias("--limit-request-field_size"), Alias("--limit-request-field-size")),
    )
    limit_header_block: int = option(
        65536,
        "Largest header section, all fields together.",
        group=Group.LIMITS,
        unit=Unit.BYTES,
        at_least=256,
        aliases=(Alias("--h11-max-incomplete-event-size"),),
    )
    limit_header_count: int = option(
        100,
        "Most header fields of a request.",
        group=Group.LIMITS,
        at_least=1,
        aliases=(Alias("--limit-request-fields"),),
    )
    max_body_size: int = option(
        100 * 1024 * 1024,
        "Largest request body.",
        group=Group.LIMITS,
        unit=Unit.BYTES,
        zero_means="no limit",
    )

    server_header: bool = option(True, "Send a Server header.", group=Group.HTTP)
    date_header: bool = option(True, "Send a Date header.", group=Group.HTTP)
    header: tuple[str, ...] = option(
        (),
        "A header for every response, 'Name: value'. May be repeated.",
        group=Group.HTTP,
        placeholder="HEADER",
        separator="\n",
    )

    ws_max_size: int = option(
        1024 * 1024,
        "Largest WebSocket message.",
        group=Group.WEBSOCKET,
        unit=Unit.BYTES,
        zero_means="no limit",
        aliases=(Alias("--websocket-max-message-size"),),
    )
    ws_max_fragments: int = option(
        1024, "Most frames of one message.", group=Group.WEBSOCKET, zero_means="no limit"
    )
    ws_max_queue: int = option(
        32,
        "Most messages that wait for the application.",
        group=Group.WEBSOCKET,
        at_least=1,
    )
    ws_ping_interval: float = option(
        20.0,
        "Time between pings.",
        group=Group.WEBSOCKET,
        unit=Unit.SECONDS,
        zero_means="no pings",
        aliases=(Alias("--websocket-ping-interval"), Alias("--ping-interval")),
    )
    ws_ping_timeout: float = option(
        20.0,
        "Longest wait for the answer to a ping.",
        group=Group.WEBSOCKET,
        unit=Unit.SECONDS,
        zero_means="no limit",
        aliases=(Alias("--ping-timeout"),),
    )
    ws_close_timeout: float = option(
        5.0,
        "Longest wait for the other half of a closing handshake.",
        group=Group.WEBSOCKET,
        unit=Unit.SECONDS,
    )
    ws_per_message_deflate: bool = option(
        True, "Offer compression of messages.", group=Group.WEBSOCKET
    )

    log_level: LogLevel = option(
        "info",
        "The least severe messages to log.",
        group=Group.LOGGING,
        aliases=(Alias("--loglevel"),),
    )
    access_log: bool = option(True, "Log a line for each request.", group=Group.LOGGING)
    use_colors: Colors = option(
        "auto",
        "Colour the log; auto does on a terminal.",
        group=Group.LOGGING,
        as_switch=True,
    )

    origins: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for one in options_of(type(self)):
            if found := fault(one, getattr(self, one.name)):
                raise ConfigError(f"{one.name} {found} (from {self.origin(one.name)})")
        _ = self.binds

    def origin(self, name: str) -> str:
        """Where a setting's value came from, in words."""
        return self.origins.get(name, "default")

    @property
    def binds(self) -> tuple[Bind, ...]:
        """Where to listen; never empty."""
        if not self.bind:
            return (TcpBind(self.host, self.port),)
        return tuple(parse_bind(spec) for spec in self.bind)
