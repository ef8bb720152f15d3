"""Files that logs are written to, and that others may rename at any time.

Opened by `log.py` before the first fork; every process has its own copy of the descriptor, and
opens the file anew when it is told to.  A descriptor keeps its number, so that nobody who writes
to it needs to know.
"""

import contextlib
import logging
import os
from typing import Final

from serval.errors import ConfigError

MODE: Final = 0o644  # the umask takes away what an operator does not want

_log = logging.getLogger("serval.error")


class LogFile:
    """A file that lines are appended to.

    Attributes:
        path: Its name.
        fd: Its descriptor, the same from start to end.

    Raises:
        ConfigError: It cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.path = os.path.abspath(path)  # fails where the current directory was removed
            self.fd = _opened(self.path)
        except OSError as exc:
            raise ConfigError(f"cannot open the log file {self.path}: {exc.strerror}") from exc

    def fileno(self) -> int:
        """The descriptor."""
        return self.fd

    def write(self, text: str) -> int:
        """Append text, which should be whole lines.

        Raises:
            OSError: It could not be written.
        """
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        while data:
            data = data[os.write(self.fd, data) :]
        return len(text)

    def flush(self) -> None:
        """Nothing is kept."""

    def reopen(self) -> None:
        """Go on in the file that has the name now; in the one of before where there is none."""
        try:
            fd = _opened(self.path)
        except OSError as exc:
            _log.warning("cannot open %s anew, going on as before: %s", self.path, exc.strerror)
            return
        os.dup2(fd, self.fd, inheritable=False)
        os.close(fd)

    def follow(self) -> None:
        """Open it anew if somebody has renamed or removed it."""
        try:
            now = os.stat(self.path)
        except FileNotFoundError:
            self.reopen()
            return
        except OSError:  # nobody lets us look; we go on where we are
            return
        ours = os.fstat(self.fd)
        if (now.st_dev, now.st_ino) != (ours.st_dev, ours.st_ino):
            self.reopen()

    def give(self, uid: int, gid: int) -> None:
        """Let others open it anew.  -1 leaves an id as it is; root alone may do that."""
        if (uid, gid) != (-1, -1):
            with contextlib.suppress(PermissionError):
                os.fchown(self.fd, uid, gid)

    def close(self) -> None:
        """Close it."""
        os.close(self.fd)


def _opened(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, MODE)
