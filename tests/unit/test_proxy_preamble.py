"""The PROXY protocol."""

import struct
import time
from collections import deque
from ipaddress import ip_address

import pytest

from serval.errors import PeerError
from serval.protocols.proxy_preamble import (
    BLOCK_BYTES,
    LINE_BYTES,
    REASON,
    SIGNATURE,
    Preamble,
    PreambleReader,
    Version,
)

REST = b"GET / HTTP/1.1\r\n"


def block(command: int, family: int, payload: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(payload)) + payload


def addresses(source: str, target: str, *ports: int) -> bytes:
    packed = ip_address(source).packed + ip_address(target).packed
    return packed + struct.pack("!HH", *ports)


def extension(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


V4 = addresses("1.2.3.4", "10.0.0.1", 5678, 443)
V6 = addresses("2001:db8::1", "fd00::1", 5678, 443)
FROM_V4 = Preamble(("1.2.3.4", 5678), ("10.0.0.1", 443))
FROM_V6 = Preamble(("2001:db8::1", 5678), ("fd00::1", 443))

VALID = [
    (b"PROXY TCP4 1.2.3.4 10.0.0.1 5678 443\r\n", FROM_V4),
    (b"PROXY TCP6 2001:db8::1 fd00::1 5678 443\r\n", FROM_V6),
    (b"PROXY TCP6 2001:DB8:0::1 fd00::1 5678 443\r\n", FROM_V6),
    (b"PROXY TCP4 1.2.3.4 10.0.0.1 0 65535\r\n", Preamble(("1.2.3.4", 0), ("10.0.0.1", 65535))),
    (
        b"PROXY TCP6 " + b"ffff:" * 7 + b"ffff " + b"ffff:" * 7 + b"ffff 65535 65535\r\n",
        Preamble(("ffff:" * 7 + "ffff", 65535), ("ffff:" * 7 + "ffff", 65535)),
    ),
    (b"PROXY UNKNOWN\r\n", Preamble()),
    (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", Preamble()),
    (block(0x21, 0x11, V4), FROM_V4),
    (block(0x21, 0x21, V6), FROM_V6),
    (block(0x20, 0x11, V4), Preamble()),
    (block(0x20, 0x00, b""), Preamble()),
    (block(0x21, 0x00, b""), Preamble()),
    (block(0x21, 0x00, extension(0x04, b"anything")), Preamble()),
    (block(0x21, 0x31, b"/run/x".ljust(216, b"\0")), Preamble()),
    (block(0x21, 0x11, V4 + extension(0x02, b"example.org")), FROM_V4),
    (block(0x21, 0x11, V4 + extension(0x04, b"")), FROM_V4),
    (
        block(0x21, 0x11, V4 + extension(0x03, b"abcd") + extension(0x20, b"\x01" + bytes(4))),
        FROM_V4._replace(over_tls=True),
    ),
    (block(0x21, 0x11, V4 + extension(0x20, bytes(5))), FROM_V4),
    (block(0x21, 0x11, V4 + extension(0x20, b"")), FROM_V4),
]

INVALID = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00",
    b"PROXY",  # a word of another protocol follows
    b"proxy TCP4 1.2.3.4 10.0.0.1 5678 443\r\n",
    b"PROXY \r\n",
    b"PROXY TCP5 1.2.3.4 10.0.0.1 5678 443\r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP4 1.2.3.4 10.0.0.1 5678\r\n",
    b"PROXY TCP4 1.2.3.4 10.0.0.1 5678 443 1\r\n",
    b"PROXY TCP4  1.2.3.4 10.0.0.1 5678 443\r\n",
    b"PROXY TCP4 1.2.3.4 10.0.0.1 5678 443 \r\n",
    b"PROXY TCP4 1.2.3.4\t10.0.0.1 5678 443\r\n",
    b"PROXY TCP4 2001:db8::1 fd00::1 5678 443\r\n",
    b"PROXY TCP6 1.2.3.4 10.0.0.1 5678 443\r\n",
    b"PROXY TCP6 fe80::1%eth0 fd00::1 5678 443\r\n",
    b"PROXY TCP4 1.2.3 10.0.0.1 5678 443\r\n",
    b"PROXY TCP4 1.2.3.\xc3 10.0.0.1 5678 443\r\n",
    b"PROXY TCP4 1.2.3.4 10.0.0.1 05678 443\r\n",
    b"PROXY TCP4 1.2.3.4 10.0.0.1 -1 443\r\n",
    b"PROXY TCP4 1.2.3.4 10.0.0.1 65536 443\r\n",
    b"PROXY TCP4 1.2.3.4 10.0.0.1 5678 https\r\n",
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    b"PROXY " + b"x" * LINE_BYTES,
    SIGNATURE[:-1] + b"x",
    block(0x11, 0x11, V4),
    block(0x22, 0x11, V4),
    block(0x21, 0x12, V4),
    block(0x21, 0x41, V4),
    block(0x21, 0x11, V4[:-1]),
    block(0x21, 0x21, V4),
    block(0x21, 0x11, V4 + b"\x04\x00"),
    block(0x21, 0x11, V4 + b"\x04\x00\x05abcd"),
    SIGNATURE + struct.pack("!BBH", 0x21, 0x11, BLOCK_BYTES + 1),
]


@pytest.mark.parametrize(("data", "expected"), VALID)
def test_a_preamble_is_read_up_to_its_end(data: bytes, expected: Preamble) -> None:
    assert PreambleReader(Version.AUTO).feed(data + REST) == (expected, REST)


@pytest.mark.parametrize(("data", "expected"), VALID)
def test_it_may_come_byte_by_byte(data: bytes, expected: Preamble) -> None:
    reader = PreambleReader(Version.AUTO)

    *early, last = [reader.feed(data[at : at + 1]) for at in range(len(data))]

    assert early == [None] * (len(data) - 1)
    assert last == (expected, b"")


@pytest.mark.parametrize("data", INVALID)
def test_what_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(PeerError) as refusal:
        PreambleReader(Version.AUTO).feed(data + b"?" if data == b"PROXY" else data)

    assert refusal.value.reason == REASON


@pytest.mark.parametrize("data", [data for data in INVALID if data != b"PROXY"])
def test_what_is_none_is_refused_byte_by_byte_as_well(data: bytes) -> None:
    reader = PreambleReader(Version.AUTO)

    with pytest.raises(PeerError):
        deque(reader.feed(data[at : at + 1]) for at in range(len(data)))


@pytest.mark.parametrize(
    ("version", "data"),
    [(Version.V1, block(0x21, 0x11, V4)), (Version.V2, VALID[0][0])],
)
def test_a_version_that_is_not_expected_is_refused(version: Version, data: bytes) -> None:
    with pytest.raises(PeerError):
        PreambleReader(version).feed(data)


@pytest.mark.parametrize(
    ("version", "data"),
    [(Version.V2, block(0x21, 0x11, V4)), (Version.V1, VALID[0][0])],
)
def test_the_version_that_is_expected_is_read(version: Version, data: bytes) -> None:
    assert PreambleReader(version).feed(data) == (FROM_V4, b"")


def test_the_largest_block_takes_little_time_in_single_bytes() -> None:
    data = block(0x21, 0x11, V4 + extension(0x04, bytes(BLOCK_BYTES - len(V4) - 3)))
    reader = PreambleReader(Version.V2)
    started_at = time.process_time()

    found = [reader.feed(data[at : at + 1]) for at in range(len(data))]

    assert found[-1] == (FROM_V4, b"")
    assert time.process_time() - started_at < 1.0
