"""Frames as a client sends them: masked, whole or not, right or wrong."""

MASK = b"\x37\xfa\x21\x3d"


def client_frame(first_byte: int, payload: bytes = b"", *, size: int | None = None) -> bytes:
    """A masked frame; `size` is what its header announces, if not the truth."""
    announced = len(payload) if size is None else size
    if announced < 126:
        head = bytes((first_byte, 0x80 | announced))
    elif announced < 65_536:
        head = bytes((first_byte, 0xFE)) + announced.to_bytes(2, "big")
    else:
        head = bytes((first_byte, 0xFF)) + announced.to_bytes(8, "big")
    masked = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))
    return head + MASK + masked


def text(payload: str) -> bytes:
    return client_frame(0x81, payload.encode())


def close(code: int, reason: bytes = b"") -> bytes:
    return client_frame(0x88, code.to_bytes(2, "big") + reason)
