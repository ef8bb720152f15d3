"""The settings of a server as a service of its machine: who runs it, who may ask how it does.

A base of `ServerConfig`, apart for room.  Inert like all settings.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from serval.errors import ConfigError
from serval.net.bind import Bind, TcpBind, UnixBind, parse_bind
from serval.options import Group, option
from serval.worker_settings import WorkerSettings, worker_faults

UDS_MODE: Final = "0660"
_MODE: Final = re.compile(r"(0o|0)?[0-7]{1,3}")


@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False)
class ServiceSettings(WorkerSettings):
    """Identity, files and the admin endpoint."""

    admin_bind: str = option(
        "",
        "Where the supervisor answers /livez, /readyz, /metrics and /status: unix:path, which also "
        "lets its owner reload and scale, or host:port.",
        group=Group.SERVICE,
        placeholder="ADDRESS",
    )
    pid_file: str = option(
        "",
        "A file for the process id of the supervisor; removed at the end.",
        group=Group.SERVICE,
        placeholder="FILE",
        completes="file",
        aliases=("--pid", "--pidfile"),
    )
    user: str = option(
        "",
        "Who the application runs as, a name or a number; only root can give it.",
        group=Group.SERVICE,
        short="-u",
        placeholder="USER",
    )
    group: str = option(
        "",
        "The group of the application, a name or a number; the user's own by default.",
        group=Group.SERVICE,
        short="-g",
        placeholder="GROUP",
    )
    umask: str = option(
        "",
        "Permissions that new files shall lack, such as 027; inherited by default.",
        group=Group.SERVICE,
        short="-m",
        placeholder="MODE",
    )
    uds_mode: str = option(
        UDS_MODE,
        "Permissions of Unix sockets.",
        group=Group.SERVICE,
        placeholder="MODE",
        aliases=("--uds-permissions",),
    )
    uds_owner: str = option(
        "",
        "The owner of Unix sockets, a name or a number.",
        group=Group.SERVICE,
        placeholder="USER",
    )
    uds_group: str = option(
        "",
        "The group of Unix sockets, a name or a number.",
        group=Group.SERVICE,
        placeholder="GROUP",
    )

    @property
    def admin(self) -> TcpBind | UnixBind | None:
        """Where the admin endpoint listens; None where there is none.

        Raises:
            ConfigError: The setting names nothing that it could be.
        """
        bind = parse_bind(self.admin_bind) if self.admin_bind else None
        if isinstance(bind, UnixBind) and bind.is_abstract:
            raise ConfigError(
                f"bind {self.admin_bind!r} is an abstract name, which nothing protects; "
                "legal: unix:path or host:port"
            )
        if bind is None or isinstance(bind, TcpBind | UnixBind):
            return bind
        raise ConfigError(f"bind {self.admin_bind!r} is no address; legal: unix:path or host:port")


def parse_mode(text: str) -> int:
    """Permission bits from `660`, `0660` or `0o660`.

    Raises:
        ValueError: It is none of these.
    """
    if not _MODE.fullmatch(text):
        raise ValueError("not octal digits such as 660")
    return int(text, 8)


def service_faults(
    settings: ServiceSettings, binds: tuple[Bind, ...], *, workers: int, preload: bool
) -> Iterator[tuple[str, str]]:
    """What contradicts itself: the name of a setting, and what is wrong, as the end of a sentence.

    Args:
        settings: What to look at.
        binds: Where the application listens.
        workers: How many worker processes there shall be.
        preload: Whether the supervisor loads the application.
    """
    for name in ("user", "group"):
        if preload and getattr(settings, name):
            yield name, "contradicts preload: the supervisor, which stays root, would run the code"
    yield from worker_faults(settings, workers)
    for name in ("umask", "uds_mode"):
        text = getattr(settings, name)
        if text and not _MODE.fullmatch(text):
            yield name, f"must be octal digits such as 027 or 660, not {text!r}"
    try:
        admin = settings.admin
    except ConfigError as exc:
        yield "admin_bind", f"cannot be used: {exc}"
        return
    if admin is not None and workers == 0:
        yield "admin_bind", "needs a supervisor, which workers 0 does without"
    if admin in binds and not (isinstance(admin, TcpBind) and admin.port == 0):
        yield "admin_bind", f"is {admin}, where the application listens"
    if not any(isinstance(bind, UnixBind) and not bind.is_abstract for bind in binds):
        yield from _idle_socket_settings(settings)


def _idle_socket_settings(settings: ServiceSettings) -> Iterator[tuple[str, str]]:
    """What is said of Unix sockets where there are none."""
    for name, default in (("uds_mode", UDS_MODE), ("uds_owner", ""), ("uds_group", "")):
        if getattr(settings, name) != default:
            yield name, "is for Unix sockets, and bind names none; legal: bind unix:path"
