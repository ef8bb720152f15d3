"""Changes in directories as Linux tells them: inotify(7), through the C library.

One descriptor for all directories, readable when something has happened.
"""

import contextlib
import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

# sys/inotify.h
IN_CLOSE_WRITE: Final = 0x008
IN_MOVED_FROM: Final = 0x040
IN_MOVED_TO: Final = 0x080
IN_CREATE: Final = 0x100
IN_DELETE: Final = 0x200
IN_Q_OVERFLOW: Final = 0x4000
IN_IGNORED: Final = 0x8000
IN_ONLYDIR: Final = 0x0100_0000
IN_ISDIR: Final = 0x4000_0000
_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC  # IN_NONBLOCK | IN_CLOEXEC

_WATCHED: Final = IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_ONLYDIR
_EVENT: Final = struct.Struct("iIII")  # wd, mask, cookie, length of the name that follows
_READ_BYTES: Final = 65_536


class Event(NamedTuple):
    """Something has happened to an entry of a directory.

    Attributes:
        watch: What `add` returned for the directory; -1 for an overflow.
        name: Of the entry.
    """

    watch: int
    mask: int
    name: str


class Inotify:
    """The kernel's queue of changes.

    Raises:
        OSError: There is no inotify here, or no more of it for this user.
    """

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise OSError("inotify is for Linux")
        self._libc: Any = ctypes.CDLL(None, use_errno=True)
        self._fd = self._checked(self._libc.inotify_init1(_FLAGS))

    def fileno(self) -> int:
        """Readable when there are events."""
        return self._fd

    def add(self, path: str) -> int:
        """Watch a directory; the number by which its events know it.

        Raises:
            OSError: It is none, or there are too many for this user (ENOSPC).
        """
        return self._checked(self._libc.inotify_add_watch(self._fd, os.fsencode(path), _WATCHED))

    def events(self) -> Iterator[Event]:
        """What has happened since the last call."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._fd, _READ_BYTES):
                yield from parsed(data)

    def close(self) -> None:
        """Watch no more."""
        os.close(self._fd)

    def _checked(self, result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result


def parsed(data: bytes) -> Iterator[Event]:
    """The events in what was read."""
    offset = 0
    while offset < len(data):
        watch, mask, _, length = _EVENT.unpack_from(data, offset)
        offset += _EVENT.size
        name = os.fsdecode(data[offset : offset + length].rstrip(b"\0"))
        offset += length
        yield Event(watch, mask, name)
