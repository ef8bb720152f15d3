"""A WSGI application's half of a request, by PEP 3333: its input, and how it answers.

Pure: bytes come from and go to whoever calls, which is `worker/threads/wsgi_worker.py`.  How an
answer is framed is not decided here.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from serval.errors import AppError
from serval.protocols.response import ResponseHead, response_head

Environ: TypeAlias = dict[str, Any]
ExcInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)
Write: TypeAlias = Callable[[bytes], object]
WSGIApp: TypeAlias = Callable[[Environ, Callable[..., Write]], Iterable[bytes]]
Fields: TypeAlias = tuple[tuple[bytes, bytes], ...]

FILE_BLOCK_BYTES: Final = 65_536
# Blocks of a list that are joined before they are sent.
JOIN_BYTES: Final = 1_048_576


class Given(NamedTuple):
    """What an application gave to `start_response`, checked and in bytes.

    Attributes:
        status: The code.
        reason: What stood beside it.
        fields: The header fields.
        head: What they become on the wire.
    """

    status: int
    reason: bytes
    fields: Fields
    head: ResponseHead


# Status and fields as applications give them -> the same, checked and in bytes.  Threads may share
# it, since what a key maps to never depends on who asked.
_HEADS: dict[tuple[str, tuple[tuple[str, str], ...]], Given] = {}
_HEADS_COUNT: Final = 256
_HEAD_FIELDS: Final = 32


# -- the input ---------------------------------------------------------------------------------


class BodyReader(io.RawIOBase):
    """A body that is still on its way, as a raw stream; `io.BufferedReader` makes the rest of it.

    Args:
        next_piece: Waits for more of the body; b"" at its end.
    """

    def __init__(self, next_piece: Callable[[], bytes]) -> None:
        super().__init__()
        self._next_piece = next_piece
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there, at least one byte unless the body has ended."""
        if not self._piece:
            self._piece = memoryview(self._next_piece())
        size = min(len(buffer), len(self._piece))
        buffer[:size] = self._piece[:size]
        self._piece = self._piece[size:]
        return size


class FileWrapper:
    """`wsgi.file_wrapper`: an iterable over a file, which the server may recognise.

    Attributes:
        file: What is read.
    """

    def __init__(self, file: Any, block_size: int = FILE_BLOCK_BYTES) -> None:
        self.file = file
        self.block_size = block_size
        if hasattr(file, "close"):
            self.close = file.close

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        block: bytes = self.file.read(self.block_size)
        if not block:
            raise StopIteration
        return block


# -- the answer --------------------------------------------------------------------------------


class Answer(Protocol):
    """Where the response goes."""

    @property
    def has_begun(self) -> bool:
        """Whether the client may have seen some of it, so that it can't be taken back."""

    def start(self, given: Given) -> None:
        """Hold a head; called again, hold another instead, or nothing where it is sent."""

    def write(self, data: bytes) -> None:
        """Send a part of the body, which is not empty; returns when it is on its way."""

    def write_file(self, file: Any) -> bool:
        """Send all that is left of a file as the body; False, with nothing sent, if it can't be."""

    def finish(self, data: bytes = b"") -> None:
        """Send the last part of the body."""


def call(app: WSGIApp, environ: Environ, answer: Answer) -> None:
    """Call the application and send what it answers; its iterable is closed, come what may.

    Raises:
        AppError: It broke PEP 3333.
    """
    response = Response(lambda: answer)
    response.send_and_close(app(environ, response.start))


class Response:
    """The response of one call: what `start_response` was told, and whether it was.

    Attributes:
        given: What that was, None before.
        answer: Where it goes; None where nothing has been sent.

    Args:
        begin: Makes the answer, asked once there is something to send.
    """

    __slots__ = ("_begin", "answer", "given")

    def __init__(self, begin: Callable[[], Answer]) -> None:
        self._begin = begin
        self.answer: Answer | None = None
        self.given: Given | None = None

    def start(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Write:
        """The application's `start_response`.

        Raises:
            AppError: The status or the headers are malformed, or it was called before and this is
                no error (`exc_info` is missing).
        """
        if exc_info is not None:
            try:
                has_begun = self.answer is not None and self.answer.has_begun
                if has_begun and exc_info[1] is not None:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # a cycle through the frame, as PEP 3333 warns
        elif self.given is not None:
            raise AppError("app called start_response twice, and without exc_info")
        self.given = head_of(status, headers)
        return self.write

    def write(self, data: bytes) -> None:
        """The application's `write`, for those that do not return their body."""
        if data:
            self._started().write(_block(data))

    def send_and_close(self, result: Iterable[bytes]) -> None:
        """Send what the application returned, and close it exactly once."""
        try:
            self._send(result)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def _send(self, result: Iterable[bytes]) -> None:
        if type(result) is list or type(result) is tuple:
            self._send_all(result)
            return
        if isinstance(result, FileWrapper) and self._started().write_file(result.file):
            return
        for block in result:
            if block:
                self._started().write(_block(block))
        self._started().finish()

    def _send_all(self, blocks: list[bytes] | tuple[bytes, ...]) -> None:
        """All of the body is here, and its length known."""
        answer = self._started()
        if len(blocks) == 1:
            answer.finish(_block(blocks[0]))
        elif sum(len(_block(block)) for block in blocks) <= JOIN_BYTES:
            answer.finish(b"".join(blocks))
        else:
            for block in blocks:
                if block:
                    answer.write(block)
            answer.finish()

    def _started(self) -> Answer:
        """The answer, told of what was given.

        Raises:
            AppError: Nothing was.
        """
        if self.given is None:
            raise AppError("app gave a body without having called start_response")
        if self.answer is None:
            self.answer = self._begin()
        self.answer.start(self.given)
        return self.answer


def head_of(status: str, headers: list[tuple[str, str]]) -> Given:
    """What `start_response` was given, in bytes.

    Raises:
        AppError: The status is not a string of a code and a reason, or a header is not a pair of
            strings of Latin-1 that may stand in a head.
    """
    try:
        key = status, tuple(headers)
        known = _HEADS.get(key)
    except TypeError:  # not iterable, or pairs that are lists
        raise AppError(
            f"headers must be a list of tuples of a name and a value, not {headers!r:.80}"
        ) from None
    if known is None:
        known = _read_head(status, key[1])
        if len(key[1]) <= _HEAD_FIELDS:
            if len(_HEADS) >= _HEADS_COUNT:
                _HEADS.clear()
            _HEADS[key] = known
    return known


def _read_head(status: str, headers: tuple[tuple[str, str], ...]) -> Given:
    if not isinstance(status, str):
        raise AppError(f"status must be a str such as '200 OK', not {status!r}")
    code, _, reason = status.partition(" ")
    if len(code) != 3 or not (code.isascii() and code.isdigit()) or code < "200":
        raise AppError(f"status must be a code from 200 on and a reason, not {status!r}")
    if not (reason.isprintable() and reason.isascii()):
        raise AppError(f"the reason of a status must be printable ASCII: {status!r}")
    fields: list[tuple[bytes, bytes]] = []
    for pair in headers:
        try:
            name, value = pair
            fields.append((name.encode("latin-1"), value.encode("latin-1")))
        except (AttributeError, TypeError, ValueError):
            raise AppError(
                f"a header must be a tuple of two str of Latin-1 characters, not {pair!r:.80}"
            ) from None
    return Given(int(code), reason.encode(), (*fields,), _with_reason(int(code), reason, fields))


def _with_reason(code: int, reason: str, fields: Iterable[tuple[bytes, bytes]]) -> ResponseHead:
    """The head on the wire, with the application's own reason where there is one."""
    head = response_head(code, fields)
    usual, _, rest = head.start.partition(b"\r\n")
    if reason and usual[13:] != reason.encode():
        head = head._replace(start=b"%b%b\r\n%b" % (usual[:13], reason.encode(), rest))
    return head


def _block(data: object) -> bytes:
    if isinstance(data, bytes):
        return data
    raise AppError(f"body must be bytes, not {type(data).__name__}: {data!r:.60}")
