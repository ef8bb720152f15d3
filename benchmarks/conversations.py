"""What our own client says on one connection and how much it hears back.  Pure: bytes only."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

MEBIBYTES_10: Final = 10 * 2**20
CHUNK_BYTES: Final = 65536
MASK: Final = b"\x37\xfa\x21\x3d"  # a fixed mask is as good as a fresh one for a measurement
KEY: Final = base64.b64encode(bytes(range(16)))


@dataclass(frozen=True, slots=True)
class Conversation:
    """One exchange, repeated on a connection that is kept.

    Attributes:
        opening: Sent once; its answer is a head that ends with an empty line. Empty: nothing.
        request: Sent for each exchange, whole.
        answer: What an answer ends with; empty where nothing is asked for again and again, as
            with server-sent events, which are counted as they come.
        headed: Whether an answer begins with a head, whose length is learnt from the first one.
    """

    request: bytes
    answer: bytes
    opening: bytes = b""
    headed: bool = True


def masked(payload: bytes) -> bytes:
    """The payload as a client masks it (RFC 6455 section 5.3)."""
    key = int.from_bytes((MASK * (len(payload) // 4 + 1))[: len(payload)], "big")
    return (int.from_bytes(payload, "big") ^ key).to_bytes(len(payload), "big")


def frame_head(opcode: int, length: int, *, mask: bool) -> bytes:
    """The head of one unfragmented frame (RFC 6455 section 5.2), without the mask."""
    flag = 0x80 if mask else 0
    if length < 126:
        return bytes([0x80 | opcode, flag | length])
    return bytes([0x80 | opcode, flag | 126]) + length.to_bytes(2, "big")


def websocket(size_bytes: int) -> Conversation:
    """One binary message, echoed."""
    payload = (bytes(range(256)) * (size_bytes // 256 + 1))[:size_bytes]
    opening = (
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY + b"\r\n\r\n"
    )
    request = frame_head(2, size_bytes, mask=True) + MASK + masked(payload)
    answer = frame_head(2, size_bytes, mask=False) + payload
    return Conversation(request, answer, opening, headed=False)


def upload() -> Conversation:
    """A large body whose length is said beforehand."""
    head = b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % MEBIBYTES_10
    return Conversation(head + bytes(MEBIBYTES_10), b"%013d" % MEBIBYTES_10)


def upload_chunked() -> Conversation:
    """The same body in chunks of 64 KiB."""
    head = b"POST /upload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n" % CHUNK_BYTES + bytes(CHUNK_BYTES) + b"\r\n"
    body = chunk * (MEBIBYTES_10 // CHUNK_BYTES) + b"0\r\n\r\n"
    return Conversation(head + body, b"%013d" % MEBIBYTES_10)


def download() -> Conversation:
    """A large body that comes back."""
    return Conversation(b"GET /download HTTP/1.1\r\nHost: localhost\r\n\r\n", bytes(MEBIBYTES_10))


def events() -> Conversation:
    """A stream without end."""
    request = (
        b"GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
        b"Cache-Control: no-store\r\n\r\n"
    )
    return Conversation(request, b"")


EVENT: Final = b"data: tick\n\n"
CONVERSATIONS: Final[dict[str, Callable[[], Conversation]]] = {
    "events": events,
    "upload": upload,
    "upload-chunked": upload_chunked,
    "download": download,
    "websocket-64": partial(websocket, 64),
    "websocket-4096": partial(websocket, 4096),
}
