"""Single WebSocket frames: headers, masks, close codes (RFC 6455 sections 5 and 7).  Pure.

Called by `protocols/messages.py` and `protocols/websocket.py`; the events are what they tell.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from importlib import import_module
from typing import Final, NamedTuple, TypeAlias

from serval.errors import AppError, PeerError

CONTROL_BYTES: Final = 125  # the longest payload of a control frame

FIN_TEXT: Final = 0x81
FIN_BINARY: Final = 0x82
CLOSE: Final = 0x88
PING: Final = 0x89
PONG: Final = 0x8A
RSV1: Final = 0x40

# Up to this size one XOR of two wide integers beats four translations of every fourth byte
# (measured on 3.11 and 3.13: they meet between 200 and 500 bytes).
WIDE_BYTES: Final = 300

# The headers of small messages by their size: nearly all that is sent.
TEXT_HEADS: Final = [bytes((FIN_TEXT, size)) for size in range(126)]
BINARY_HEADS: Final = [bytes((FIN_BINARY, size)) for size in range(126)]

Unmask: TypeAlias = Callable[[bytes, bytes], bytes | bytearray]

_integer: Final = int.from_bytes
_EVERY_BYTE: Final = bytes(range(256))
# What every byte becomes under each byte of a mask.
_XOR: Final = [
    (_integer(_EVERY_BYTE) ^ _integer(bytes((one,)) * 256)).to_bytes(256) for one in range(256)
]


class CloseCode(IntEnum):
    """The codes that we send or report ourselves (RFC 6455 section 7.4.1)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    NO_CODE = 1005  # never on the wire: the close frame had none
    LOST = 1006  # never on the wire: there was no close frame
    BAD_PAYLOAD = 1007
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    RESTART = 1012


class PingReceived(NamedTuple):
    """The peer asks for a pong with the same payload."""

    payload: bytes


class PongReceived(NamedTuple):
    """The peer is alive."""

    payload: bytes


class TurnOver(NamedTuple):
    """Enough for one turn of the loop; there may be more events for whoever asks again."""


class CloseReceived(NamedTuple):
    """The peer has begun or completed the closing handshake; `code` is 1005 where it gave none."""

    code: int
    reason: str


# Whole messages are events as they are: text as `str`, binary as `bytes`.  A violation is the last
# event, after the messages that came before it.
Event: TypeAlias = str | bytes | PingReceived | PongReceived | CloseReceived | PeerError | TurnOver

UNLIMITED: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """What one message may cost us; 0 means no limit.

    Attributes:
        message_bytes: Size of a message, decompressed.
        fragment_count: Frames of a message.
    """

    message_bytes: int = 1024 * 1024
    fragment_count: int = 1024


def violation(code: CloseCode, cause: Exception) -> PeerError:
    """What a peer is told whose frames, or whose text, are not valid."""
    slug = "payload-malformed" if code == CloseCode.BAD_PAYLOAD else "frame-malformed"
    return PeerError(code, slug, str(cause))


def frame(first_byte: int, payload: bytes) -> bytes:
    """An unmasked frame; `first_byte` holds FIN, RSV bits and opcode."""
    size = len(payload)
    if size < 126:
        return bytes((first_byte, size)) + payload
    if size < 65_536:
        return bytes((first_byte, 126, size >> 8, size & 255)) + payload
    return bytes((first_byte, 127)) + size.to_bytes(8, "big") + payload


def unmask(payload: bytes, mask: bytes) -> bytes | bytearray:
    """The payload with the mask of four bytes taken off (RFC 6455 section 5.3)."""
    size = len(payload)
    if size <= WIDE_BYTES:
        # No argument says the order of the bytes: that would be a third of the time.
        return (_integer(payload) ^ _integer((mask * (size + 3 >> 2))[:size])).to_bytes(size)
    out = bytearray(payload)
    for offset, key in enumerate(mask):
        out[offset::4] = out[offset::4].translate(_XOR[key])
    return out


@cache
def quickest_unmask() -> Unmask:
    """`unmask`, or the same in C where the extra `fast` is installed and has it for this machine.

    64 bytes take 0.13 us then and not 0.51, 4 KiB take 0.26 and not 5.6 (CPython 3.13, 2026-11).
    Looked for when there is a WebSocket: at a start it would take 20 ms.
    """
    try:
        in_c: Unmask = import_module("websockets.speedups").apply_mask
    except ImportError:
        return unmask
    return in_c


def sendable_code(code: object) -> int:
    """The code, if it may stand in a close frame (RFC 6455 section 7.4, IANA registry).

    Raises:
        AppError: It is not an int, is reserved for local use, or belongs to no range.
    """
    if isinstance(code, int) and (
        3000 <= code <= 4999 or 1000 <= code <= 1003 or 1007 <= code <= 1014
    ):
        return int(code)
    raise AppError(f"close code {code!r} may not be sent; legal: 1000-1003, 1007-1014, 3000-4999")


def close_reason(reason: str) -> bytes:
    """The reason as UTF-8, cut between characters to what a close frame holds beside the code."""
    data = reason.encode("utf-8", "replace")
    limit = CONTROL_BYTES - 2
    return data if len(data) <= limit else data[:limit].decode("utf-8", "ignore").encode()
