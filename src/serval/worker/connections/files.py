"""Files on their way to a socket.

A page that is in the kernel's cache is sent or read by the event loop itself, which costs it less
than to ask a thread; what must come from the disk first is waited for in a thread.  Threads never
touch a socket: it may be closed under them, and its descriptor be another's.
"""

import asyncio
import errno
import inspect
import os
import stat
from contextlib import suppress
from typing import Any, Final

from serval.errors import AppError

# One `sendfile`; other connections have their turn after it.
WINDOW_BYTES: Final = 262_144
# What is not sent by the kernel is read in pieces of that size; below it, one `send` of all is
# quicker than the kernel's way.
READ_BYTES: Final = 65_536
# What a thread brings into the cache at once.
WARM_BYTES: Final = 1_048_576

# preadv(2): fails where the answer would have to wait for the disk.  Linux only.
_NO_WAIT: Final[int] = getattr(os, "RWF_NOWAIT", 0)


class SentFile:
    """A regular file, open for reading.

    Attributes:
        fd: A descriptor of our own.
        size_bytes: As it was when it was opened.
        position: Where it stood then.

    Args:
        source: What it was made of, to be left where the sending ends; None where nobody asks.

    Raises:
        OSError: It is no regular file; the descriptor is closed.
    """

    __slots__ = ("_can_ask", "_source", "_warm_end", "fd", "position", "size_bytes")

    def __init__(self, fd: int, source: Any = None) -> None:
        self.fd = fd
        self._source = source
        self._can_ask = bool(_NO_WAIT)
        self._warm_end = 0
        try:
            self.size_bytes = _size_of(fd)
            self.position = 0 if source is None else _position_of(source, fd)
        except BaseException:
            os.close(fd)
            raise

    def close(self) -> None:
        """Close our descriptor."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def leave_at(self, position: int) -> None:
        """Let the next part that names no offset begin there."""
        seek = getattr(self._source, "seek", None)
        if seek is None or inspect.iscoroutinefunction(seek):
            os.lseek(self.fd, position, os.SEEK_SET)  # which its duplicate shares
        else:
            seek(position)

    def is_at_hand(self, offset: int, count: int) -> bool:
        """Whether those bytes can be read without waiting for the disk, as far as one can tell."""
        if offset + count <= self._warm_end:
            return True
        return self._has(offset) and self._has(offset + count - 1)

    def _has(self, offset: int) -> bool:
        return self._can_ask and self._read_now(offset, 1) is not None

    def _read_now(self, offset: int, count: int) -> bytes | None:
        """What is in the cache; None where nothing is, or nobody can tell."""
        buffer = bytearray(count)
        try:
            size = os.preadv(self.fd, [buffer], offset, _NO_WAIT)
        except BlockingIOError:
            return None
        except OSError:  # EOPNOTSUPP: not every file system can tell
            self._can_ask = False
            return None
        return bytes(memoryview(buffer)[:size])

    async def fetch(self, offset: int, count: int) -> None:
        """Bring those bytes into the cache, and some behind them."""
        end = offset + max(count, WARM_BYTES)
        await asyncio.get_running_loop().run_in_executor(None, _touch, self.fd, offset, end)
        self._warm_end = end

    async def read(self, offset: int, count: int) -> bytes:
        """Some of those bytes; none at the end of the file.

        Raises:
            AppError: They cannot be read.
        """
        count = min(count, READ_BYTES)
        if self._can_ask:
            data = self._read_now(offset, count)
            if data is not None:
                return data
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(None, os.pread, self.fd, count, offset)
        except OSError as error:
            raise AppError(f"cannot read the file: {error.strerror}") from error


async def open_file(source: Any) -> SentFile:
    """Open what an application names: a path, a descriptor, or an object with one.

    Raises:
        AppError: It cannot be opened, or is no regular file.
    """
    if not isinstance(source, str):
        try:
            return SentFile(os.dup(source if isinstance(source, int) else source.fileno()), source)
        except (OSError, ValueError) as error:  # ValueError: a file object that is closed
            raise AppError(f"cannot send from {source!r:.80}: {_why(error)}") from error
    opening = asyncio.get_running_loop().run_in_executor(None, _open, source)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)
        raise
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        raise AppError(f"cannot send the file {source!r:.200}: {_why(error)}") from error


def _why(error: OSError | ValueError) -> object:
    return error.strerror if isinstance(error, OSError) else error


def _open(path: str) -> SentFile:
    # Without O_NONBLOCK a named pipe would hold the thread until somebody writes to it.
    return SentFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))


def _close(opening: "asyncio.Future[SentFile]") -> None:
    """Nobody waits for the file any more."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _touch(fd: int, offset: int, end: int) -> None:
    """Read the bytes and forget them; in a thread.  Whoever sends them meets what is wrong."""
    with suppress(OSError):  # closed meanwhile, as its request was cancelled, or unreadable
        while offset < end and (data := os.pread(fd, READ_BYTES, offset)):
            offset += len(data)


def _size_of(fd: int) -> int:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    return status.st_size


def _position_of(source: Any, fd: int) -> int:
    tell = getattr(source, "tell", None)
    if tell is None or inspect.iscoroutinefunction(tell):
        return os.lseek(fd, 0, os.SEEK_CUR)
    # A file object reads ahead of where it stands.
    return int(tell())
