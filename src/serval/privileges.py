"""Users and groups: from what an operator wrote to numbers, and becoming them.

The supervisor resolves names before the first fork and stays who it is, so that it can still read
keys, reopen logs and remove its files; each worker becomes the user before it loads the
application.
"""

import grp
import os
import pwd
from dataclasses import dataclass
from typing import Final

from serval.errors import ConfigError

_SAME: Final = -1  # what chown(2) leaves as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a worker becomes.

    Attributes:
        uid: The user, or -1 to stay.
        gid: The group, or -1 to stay, together with the user.
        groups: The supplementary groups, where user or group change.
        environ: What the environment says of the user: HOME, USER and LOGNAME.
    """

    uid: int = _SAME
    gid: int = _SAME
    groups: tuple[int, ...] = ()
    environ: tuple[tuple[str, str], ...] = ()

    def assume(self) -> None:
        """Become that user and group, for good.

        Raises:
            OSError: The kernel refuses; the process may be left with other groups than before.
        """
        if self != NOBODY_ELSE and os.geteuid() == 0:
            # The groups first: once the user has changed, nothing else can.
            os.setgroups(self.groups)
            os.setgid(self.gid)
            if self.uid != _SAME:
                os.setuid(self.uid)
        os.environ.update(self.environ)


NOBODY_ELSE: Final = Identity()


def identity_of(user: str, group: str) -> Identity:
    """What `--user` and `--group` stand for; either may be empty.

    Raises:
        ConfigError: There is no such user or group, or only root could become it.
    """
    if not user and not group:
        return NOBODY_ELSE
    entry = _passwd(user) if user else None
    uid = user_id(user)
    gid = group_id(group)
    if gid == _SAME:
        if entry is None:
            raise ConfigError(f"user {user!r} is in no database, so that its group must be given")
        gid = entry.pw_gid
    if os.geteuid() != 0 and (uid not in (_SAME, os.geteuid()) or gid != os.getegid()):
        wanted = f"user {user!r}" if user else f"group {group!r}"
        raise ConfigError(f"{wanted} cannot be assumed: only root can, and this is not run by root")
    if entry is None:
        return Identity(uid=uid, gid=gid, groups=(gid,))
    return Identity(
        uid=uid,
        gid=gid,
        groups=tuple(os.getgrouplist(entry.pw_name, gid)),
        environ=(("HOME", entry.pw_dir), ("USER", entry.pw_name), ("LOGNAME", entry.pw_name)),
    )


def user_id(user: str) -> int:
    """The number of a user; -1 for an empty text.

    Raises:
        ConfigError: There is no such user.
    """
    if not user:
        return _SAME
    entry = _passwd(user)
    if entry is None and not user.isdecimal():
        raise ConfigError(f"there is no user {user!r}")
    return int(user) if entry is None else entry.pw_uid


def group_id(group: str) -> int:
    """The number of a group; -1 for an empty text.

    Raises:
        ConfigError: There is no such group.
    """
    if not group:
        return _SAME
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        if not group.isdecimal():
            raise ConfigError(f"there is no group {group!r}") from None
        return int(group)


def _passwd(user: str) -> pwd.struct_passwd | None:
    """The entry of a user, by name or by number; a number without one can be used as it is."""
    try:
        return pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except KeyError:
        return None
