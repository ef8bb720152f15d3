"""Every setting of the server, once: its default, its bounds and what it means.

Each field is a flag, a `SERVAL_` variable, a key of the TOML file and an entry of the manual.
Inert: it opens, logs and imports nothing of what it describes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from serval.body_limit_items import parse_body_limits
from serval.errors import ConfigError
from serval.header_lines import parse_header
from serval.layers import Rivals, Sources, layers_of, merged
from serval.log_settings import log_faults
from serval.net.bind import Bind, TcpBind, parse_bind
from serval.options import Alias, Group, fault, option, options_of, seconds, size
from serval.proxy_settings import proxy_faults
from serval.service_settings import service_faults
from serval.tls_settings import TlsSettings, tls_faults

_RIVALS: Final = (
    Rivals(frozenset({"bind"}), frozenset({"host", "port"})),
    Rivals(frozenset({"proxy_hops"}), frozenset({"forwarded_allow_ips"})),
)
_DEFAULT_BIND: Final = TcpBind("127.0.0.1", 8000)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig(TlsSettings):
    """All settings, flat; made by `load` from what an operator gave, or by an embedder directly.

    Durations are seconds and sizes bytes; a value is checked when the object is made.

    Raises:
        ConfigError: A value is out of its bounds, or contradicts another.
    """

    app: str = option(
        "",
        "The application: a module and the name in it, such as myapp:app.",
        positional=True,
        placeholder="MODULE:ATTRIBUTE",
    )
    factory: bool = option(False, "The name is a function that makes the application.")
    app_dir: str = option(
        "",
        "Where modules are looked for first; the current directory by default.",
        completes="dir",
        placeholder="DIR",
        aliases=("--chdir", "--working-dir"),
    )
    env_file: tuple[str, ...] = option(
        (),
        "A file of KEY=VALUE lines for the environment, which wins over it.",
        completes="file",
        placeholder="FILE",
        aliases=("--env-files",),
    )
    interface: Literal["auto", "asgi", "wsgi"] = option(
        "auto", "What the application speaks; auto looks at it."
    )
    lifespan: Literal["auto", "on", "off"] = option(
        "auto",
        "Whether to tell the application of start and stop; auto does if it listens.",
        aliases=("--asgi-lifespan",),
    )
    root_path: str = option(
        "",
        "The path at which a proxy mounts the application, such as /api.",
        placeholder="PATH",
        aliases=("--url-path-prefix",),
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
        at_most=2**31 - 1,  # listen(2) takes an int
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
        aliases=("--blocking-threads",),
    )
    loop: Literal["auto", "asyncio", "uvloop"] = option(
        "auto",
        "The event loop; auto takes uvloop where it is installed.",
        group=Group.PROCESSES,
        aliases=("--asgi-loop",),
    )

    timeout_startup: float = seconds(
        600.0,
        "Longest wait for the application to start.",
        zero_means="no limit",
        aliases=("--startup-timeout",),
    )
    timeout_tls_handshake: float = seconds(
        10.0,
        "Longest wait for a TLS handshake.",
        zero_means="no limit",
        aliases=("--ssl-handshake-timeout",),
    )
    timeout_headers: float = seconds(
        15.0,
        "Longest wait for a whole request head.",
        zero_means="no limit",
        aliases=(Alias("--http1-header-read-timeout", after="ms"), "--header-timeout"),
    )
    timeout_body_idle: float = seconds(
        30.0,
        "Longest silence within a request body.",
        zero_means="no limit",
        aliases=("--read-timeout",),
    )
    timeout_keep_alive: float = seconds(
        75.0,
        "How long a connection may wait for its next request.",
        zero_means="closing after each response",
        aliases=("--keep-alive", "--keep-alive-timeout"),
    )
    timeout_write_idle: float = seconds(
        60.0,
        "How long a client may take none of a response.",
        zero_means="no limit",
        aliases=("--write-timeout",),
    )
    timeout_graceful_shutdown: float = seconds(
        30.0,
        "How long running requests may go on after a stop signal.",
        aliases=("--graceful-timeout", "--shutdown-timeout", "--workers-kill-timeout"),
    )
    timeout_lifespan_shutdown: float = seconds(
        5.0, "Longest wait for the application to stop, once no request runs."
    )

    limit_request_line: int = size(8192, "Largest request line.", at_least=64)
    limit_header_field: int = size(
        16384,
        "Largest header field, name and value.",
        at_least=64,
        aliases=("--limit-request-field_size", "--limit-request-field-size"),
    )
    limit_header_block: int = size(
        65536,
        "Largest header section, all fields together.",
        at_least=256,
        aliases=("--h11-max-incomplete-event-size",),
    )
    limit_header_count: int = option(
        100,
        "Most header fields of a request.",
        group=Group.LIMITS,
        at_least=1,
        aliases=("--limit-request-fields",),
    )
    max_body_size: int = size(100 * 1024 * 1024, "Largest request body.", zero_means="no limit")
    max_body_size_at: tuple[str, ...] = option(
        (),
        "The same for a path and all below it, such as /upload=1GiB; of several, the longest path "
        "counts. May be repeated.",
        group=Group.LIMITS,
        placeholder="PATH=SIZE",
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

    ws_max_size: int = size(
        1024 * 1024,
        "Largest WebSocket message.",
        group=Group.WEBSOCKET,
        zero_means="no limit",
        aliases=("--websocket-max-message-size",),
    )
    ws_max_fragments: int = option(
        1024, "Most frames of one message.", group=Group.WEBSOCKET, zero_means="no limit"
    )
    ws_max_queue: int = option(
        32, "Most messages that wait for the application.", group=Group.WEBSOCKET, at_least=1
    )
    ws_ping_interval: float = seconds(
        20.0,
        "Time between pings.",
        group=Group.WEBSOCKET,
        zero_means="no pings",
        aliases=("--websocket-ping-interval", "--ping-interval"),
    )
    ws_ping_timeout: float = seconds(
        20.0,
        "Longest wait for the answer to a ping.",
        group=Group.WEBSOCKET,
        zero_means="no limit",
        aliases=("--ping-timeout",),
    )
    ws_close_timeout: float = seconds(
        5.0, "Longest wait for the other half of a closing handshake.", group=Group.WEBSOCKET
    )
    ws_shutdown_code: Literal["1001", "1012"] = option(
        "1012",
        "The code that sessions are closed with when the server stops: 1012 says that it comes "
        "back, 1001 that it goes away.",
        group=Group.WEBSOCKET,
    )
    ws_per_message_deflate: bool = option(
        True, "Offer compression of messages.", group=Group.WEBSOCKET
    )

    origins: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for one in options_of(type(self)):
            if found := fault(one, getattr(self, one.name)):
                raise ConfigError(f"{self._named(one.name)} {found}")
        if self.threads == 1 and self.interface != "wsgi":
            raise ConfigError(
                f"{self._named('threads')} is 1, and one thread is slower than none; "
                "give 0 to serve on the event loop, or 2 and more (a WSGI application that stands "
                "only one thread can have it with interface wsgi)"
            )
        if self.interface == "wsgi" and self.lifespan == "on":
            raise ConfigError(
                f"{self._named('lifespan')} is on, which contradicts {self._named('interface')}: "
                "a WSGI application has no lifespan"
            )
        if self.root_path and (self.root_path[0] != "/" or self.root_path[-1] == "/"):
            raise ConfigError(
                f"{self._named('root_path')} must begin with a slash and end without one, "
                f"not {self.root_path!r}"
            )
        self._check_binds()
        self._check_headers()
        try:
            parse_body_limits(self.max_body_size_at)
        except ConfigError as exc:
            raise ConfigError(f"{self._named('max_body_size_at')}: {exc}") from None
        for name, found in (
            *service_faults(self, self.binds, workers=self.workers, preload=self.preload),
            *proxy_faults(
                self, root_path=self.root_path, trust_origin=self.origin("forwarded_allow_ips")
            ),
            *tls_faults(self),
            *log_faults(self),
        ):
            raise ConfigError(f"{self._named(name)} {found}")

    def _check_binds(self) -> None:
        plain = TcpBind(self.host, self.port)
        if self.bind and plain != _DEFAULT_BIND:
            raise ConfigError(
                f"{self._named('bind')} contradicts host and port; give the one or the other"
            )
        try:
            binds = self.binds
        except ConfigError as exc:
            raise ConfigError(f"{exc}{self._from('bind')}") from None
        for count, bind in enumerate(binds):
            if bind in binds[:count] and not (isinstance(bind, TcpBind) and bind.port == 0):
                raise ConfigError(f"{self._named('bind')} names {bind} twice")

    def _check_headers(self) -> None:
        try:
            headers = self.extra_headers
        except ConfigError as exc:
            raise ConfigError(f"{exc}{self._from('header')}") from None
        for name, _ in headers:
            if (name == b"server" and self.server_header) or (name == b"date" and self.date_header):
                word = name.decode()
                raise ConfigError(
                    f"{self._named('header')} sets {word}, which contradicts {word}_header; "
                    f"add --no-{word}-header"
                )

    def _named(self, name: str) -> str:
        """A setting in a message: its name, and where its value came from."""
        return name + self._from(name)

    def _from(self, name: str) -> str:
        return f" (from {self.origins[name]})" if name in self.origins else ""

    def origin(self, name: str) -> str:
        """Where a setting's value came from: a flag, a variable, a file, or `default`."""
        return self.origins.get(name, "default")

    @property
    def binds(self) -> tuple[Bind, ...]:
        """Where to listen; never empty."""
        if not self.bind:
            return (TcpBind(self.host, self.port),)
        return tuple(parse_bind(spec) for spec in self.bind)

    @property
    def body_limits(self) -> dict[bytes, int]:
        """The largest bodies for paths that have limits of their own."""
        return parse_body_limits(self.max_body_size_at)

    @property
    def extra_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The headers for every response, their names in lower case."""
        return tuple(parse_header(line) for line in self.header)

    @classmethod
    def load(cls, sources: Sources) -> "ServerConfig":
        """The settings that several sources make together; it opens nothing.

        Raises:
            ConfigError: A source names an unknown setting, or a value is wrong.
        """
        options = options_of(cls)
        values, origins = merged(options, layers_of(options, sources), _RIVALS)
        # Each value was parsed to its field's type, and is checked once more as the object is made.
        return cls(**values, origins=origins)  # type: ignore[arg-type]
