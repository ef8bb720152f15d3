"""The exception tree, sorted by who is to blame, and the exit statuses.

Every layer may import this module; it imports nothing of ours.
"""

from enum import IntEnum


class ExitStatus(IntEnum):
    """What the exit status of the `serval` process says."""

    OK = 0
    CRASHED = 1  # of a worker only: it died of an exception of ours
    USAGE = 2
    BOOT = 3
    CRASH_LOOP = 4
    SHUTDOWN = 5
    BIND = 6
    UNANSWERED = 7


class ServalError(Exception):
    """The root of every exception that Serval raises by itself."""


class StartupError(ServalError):
    """The operator must mend something before the server can start."""

    exit_status: ExitStatus = ExitStatus.BOOT


class ConfigError(StartupError):
    """A setting is unknown, malformed, out of bounds or contradicts another."""

    exit_status = ExitStatus.USAGE


class LoadError(StartupError):
    """The application could not be imported, found or recognised."""


class LifespanError(StartupError):
    """The application refused to start: `lifespan.startup.failed`, an exception or a timeout."""


class LifespanShutdownError(ServalError):
    """The application failed while shutting down: `lifespan.shutdown.failed` or an exception."""

    exit_status: ExitStatus = ExitStatus.SHUTDOWN


class CrashLoopError(StartupError):
    """Workers die faster than it makes sense to replace them."""

    exit_status = ExitStatus.CRASH_LOOP


class BindError(StartupError):
    """A listening socket could not be opened."""

    exit_status = ExitStatus.BIND


class AdminError(StartupError):
    """No running server answers a command, or it refuses."""

    exit_status = ExitStatus.UNANSWERED


class PeerError(ServalError):
    """The client broke the protocol; the connection ends with an answer that says so.

    Attributes:
        status: The response status to send, 400 to 505 (RFC 9110 section 15), or for a WebSocket
            the close code to send (RFC 6455 section 7.4), 1002 to 1011.
        reason: A short stable code for logs and counters, such as `bad-chunk-size`.
        excerpt: The offending bytes, unescaped, at most 64; never shown to the peer.
        offset: Where in the connection's input the offence lies, in bytes, or -1 where unknown.
        request_line: Method, target and version (`1.1`) of the request, where these could be read;
            for logs.
    """

    request_line: tuple[bytes, bytes, str] | None = None

    def __init__(
        self, status: int, reason: str, detail: str = "", *, excerpt: bytes = b"", offset: int = -1
    ) -> None:
        super().__init__(detail or reason)
        self.status = status
        self.reason = reason
        self.excerpt = excerpt[:64]
        self.offset = offset


class AppError(ServalError):
    """The application broke ASGI or WSGI; raised out of its own `send` where it can be."""


class ClientDisconnected(OSError):
    """Raised out of the application's `send` once the client is gone (ASGI HTTP 2.4)."""
