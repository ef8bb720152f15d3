import os

import pytest

from serval.errors import AppError
from serval.protocols.frames import (
    WIDE_BYTES,
    Unmask,
    close_reason,
    frame,
    quickest_unmask,
    sendable_code,
    unmask,
)


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_frame_announces_its_length_in_the_shortest_form(size: int, head: bytes) -> None:
    assert frame(0x81, b"x" * size) == head + b"x" * size


@pytest.mark.parametrize("size", [*range(10), WIDE_BYTES - 1, WIDE_BYTES, WIDE_BYTES + 1, 1027])
@pytest.mark.parametrize("unmask", [quickest_unmask(), unmask], ids=["as installed", "in Python"])
def test_unmasking_is_a_bytewise_xor_at_every_size(unmask: Unmask, size: int) -> None:
    mask = b"\x01\x00\xff\x80"
    payload = os.urandom(size)

    plain = unmask(payload, mask)

    assert plain == bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999])
def test_codes_that_may_stand_in_a_close_frame_pass(code: int) -> None:
    assert sendable_code(code) == code


@pytest.mark.parametrize(
    "code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, -1, "1000", 1000.0, True]
)
def test_other_codes_are_the_applications_fault(code: object) -> None:
    with pytest.raises(AppError, match="may not be sent"):
        sendable_code(code)


@pytest.mark.parametrize(
    ("reason", "cut"),
    [
        ("bye", b"bye"),
        ("x" * 200, b"x" * 123),
        ("\u00e9" * 100, b"\xc3\xa9" * 61),
        ("\ud800", b"?"),
    ],
)
def test_a_reason_is_cut_between_characters(reason: str, cut: bytes) -> None:
    assert close_reason(reason) == cut
