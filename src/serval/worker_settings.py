"""The settings of a worker's life: how it stops, when it is replaced, what it may be busy with.

A base of `ServerConfig`, apart for room.  Inert like all settings.
"""

from dataclasses import dataclass

from serval.options import Group, seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Stopping, replacing and watching workers."""

    drain_delay: float = seconds(
        0.0,
        "How long everything is served as before after SIGTERM, while /readyz says 503 and each "
        "response closes its connection: for load balancers that take a moment to notice.",
        group=Group.WORKERS,
        zero_means="stopping at once",
    )
    shutdown_stream_grace: float = seconds(
        0.0,
        "How long streams may go on after a stop signal until they are told that their client "
        "has left.",
        group=Group.WORKERS,
        zero_means="half of timeout_graceful_shutdown",
    )
