"""The settings of the logs: what is written, how and where.

A base of `ServerConfig`, apart for room.  Inert like all settings.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from serval.options import Group, option
from serval.tokens import is_token

# In place of a file or a configuration: a standard stream, and none at all.
STREAM: Final = "-"
HANDS_OFF: Final = "none"
_MEANT_OTHERWISE: Final = frozenset(
    ("host", "connection", "content-length", "transfer-encoding", "upgrade", "traceparent")
)


@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False)
class LogSettings:
    """The error log and the access log."""

    log_level: Literal["critical", "error", "warning", "info", "debug", "trace"] = option(
        "info", "The least severe messages to log.", group=Group.LOGGING, aliases=("--loglevel",)
    )
    log_format: Literal["text", "json"] = option(
        "text", "How lines are written: for people, or a JSON object each.", group=Group.LOGGING
    )
    error_log_file: str = option(
        "",
        "A file for errors and notices in place of standard error, opened anew on USR1.",
        group=Group.LOGGING,
        placeholder="FILE",
        completes="file",
        aliases=("--error-logfile", "--log-file"),
    )
    log_config: str = option(
        "",
        "A file that configures Python's logging: .json or .toml for a dictConfig, .ini or .conf "
        "for a fileConfig; none leaves logging to the application.",
        group=Group.LOGGING,
        placeholder="FILE",
        completes="file",
        aliases=("--log-config-json",),
    )
    access_log: bool = option(True, "Log a line for each request.", group=Group.LOGGING)
    access_log_file: str = option(
        "",
        "A file for access lines in place of standard output, opened anew on USR1.",
        group=Group.LOGGING,
        placeholder="FILE",
        completes="file",
        aliases=("--access-logfile",),
    )
    access_log_format: str = option(
        "",
        "The access line in gunicorn's atoms, such as '%(h)s %(r)s %(s)s'.",
        group=Group.LOGGING,
        placeholder="FORMAT",
        aliases=("--access-logformat", "--access-log-fmt"),
    )
    access_log_exclude: tuple[str, ...] = option(
        (),
        "A path whose requests get no access line when they succeed, such as /healthz, or "
        "/static/* for all that begin so. May be repeated.",
        group=Group.LOGGING,
        placeholder="PATH",
    )
    request_id_header: str = option(
        "",
        "Give each request an id, such as X-Request-ID: taken from this header where a trusted "
        "proxy has set it, else made. The application and the logs see it.",
        group=Group.LOGGING,
        placeholder="NAME",
    )
    request_id_response: bool = option(
        True, "Send the request's id in the same header of the response.", group=Group.LOGGING
    )
    use_colors: Literal["auto", "on", "off"] = option(
        "auto", "Colour the log; auto does on a terminal.", group=Group.LOGGING, as_switch=True
    )


def log_faults(settings: LogSettings) -> Iterator[tuple[str, str]]:
    """What contradicts itself: the name of a setting, and what is wrong, as the end of a sentence.

    Args:
        settings: What to look at.
    """
    for path in settings.access_log_exclude:
        if not path.startswith("/") or "*" in path[:-1] or not path.isascii():
            yield (
                "access_log_exclude",
                f"must be paths as clients send them, such as /healthz or /static/*, not {path!r}",
            )
    yield from _id_faults(settings)
    if settings.log_config == HANDS_OFF:
        for name in ("error_log_file", "access_log_file"):
            if getattr(settings, name):
                yield name, "contradicts log_config none, which leaves logging to the application"
    if not settings.access_log:
        for name in ("access_log_file", "access_log_format", "access_log_exclude"):
            if getattr(settings, name):
                yield name, "has no effect without an access log; leave out --no-access-log"


def _id_faults(settings: LogSettings) -> Iterator[tuple[str, str]]:
    header = settings.request_id_header
    if header and (not is_token(header) or header.lower() in _MEANT_OTHERWISE):
        yield (
            "request_id_header",
            f"must be the name of a header for ids, such as X-Request-ID, not {header!r}",
        )
    if not header and not settings.request_id_response:
        yield "request_id_response", "is off, and without request_id_header there is no id"
