"""The file with the supervisor's process id: taken at the start, removed at the end if ours."""

import contextlib
import os
from itertools import pairwise
from pathlib import Path
from typing import Final

from serval.errors import ConfigError

_COMMANDS: Final = frozenset({"serval", "server"})
_MODE: Final = 0o644  # anybody may read it, before the umask


class PidFile:
    """Holds the file while the server runs; an empty path is no file.

    Raises:
        ConfigError: Another server runs already by that file, or it cannot be written.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None
        if not path:
            return
        try:
            # Absolute, for whoever changes the directory before the end.
            self._path = os.path.abspath(path)
            self._identity = _take(self._path)
        except OSError as exc:
            raise ConfigError(f"cannot write pid file {path}: {exc.strerror}") from exc

    def close(self) -> None:
        """Remove it, unless another server has put its own in its place."""
        if self._identity is None:
            return
        with contextlib.suppress(OSError):  # gone already, or not to be removed by us any more
            found = os.lstat(self._path)
            if (found.st_dev, found.st_ino) == self._identity:
                os.unlink(self._path)


def _take(path: str) -> tuple[int, int]:
    """Put a whole file in place at once, so that nobody reads half of one; return what it is."""
    temporary = f"{path}.{os.getpid()}"
    # Not through a symbolic link that somebody has left for root to follow.
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, _MODE)
    try:
        os.write(fd, f"{os.getpid()}\n".encode())
        found = os.fstat(fd)
        if os.path.lexists(path) or not _linked(temporary, path):
            _check(path)
            os.rename(temporary, path)
    except (OSError, ConfigError):
        os.unlink(temporary)
        raise
    finally:
        os.close(fd)
    return found.st_dev, found.st_ino


def _check(path: str) -> None:
    if (pid := running_server(path)) is not None:
        raise ConfigError(f"pid file {path}: a serval runs already, as process {pid}")


def _linked(temporary: str, path: str) -> bool:
    """Give the file its name unless there is one; of two servers that try, one is too late."""
    try:
        os.link(temporary, path)
    except OSError:  # it is there by now, or this file system has no links
        return False
    os.unlink(temporary)
    return True


def running_server(path: str) -> int | None:
    """The process that a pid file names, if it lives and is a serval other than this one.

    A number alone proves nothing: it may have come to another program since, and in a container it
    is often our own.
    """
    try:
        text = Path(path).read_bytes()[:32].strip()
    except OSError:
        return None
    if not text.isdigit():
        return None
    pid = int(text)
    return pid if pid != os.getpid() and _is_alive(pid) and _is_serval(pid) else None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # alive, and another user's
        return True
    return pid > 0


def _is_serval(pid: int) -> bool:
    """Whether a process was started as this command; where nobody can say, it may have been."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except FileNotFoundError:
        return not Path("/proc/self/cmdline").exists()
    except OSError:
        return True
    names = [argument.decode(errors="replace") for argument in arguments]
    if any(os.path.basename(name) in _COMMANDS for name in names[:3]):
        return True
    return any(pair == ("-m", "serval") for pair in pairwise(names))
