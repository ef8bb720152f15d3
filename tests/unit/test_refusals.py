"""The table of reasons for which a request is refused."""

import re

import pytest

from serval.protocols.refusals import REFUSALS, refusal


@pytest.mark.parametrize("reason", REFUSALS)
def test_a_reason_is_a_stable_code_with_a_status_and_a_sentence(reason: str) -> None:
    status, detail = REFUSALS[reason]

    assert re.fullmatch(r"[a-z0-9.]+(-[a-z0-9.]+)*", reason)
    assert status in {400, 405, 413, 414, 431, 501, 505}
    assert detail
    assert not detail.endswith(".")


def test_a_refusal_carries_status_reason_excerpt_and_offset() -> None:
    refused = refusal("bad-chunk-size", b"zz", 17)

    assert (refused.status, refused.reason, refused.excerpt, refused.offset) == (
        400,
        "bad-chunk-size",
        b"zz",
        17,
    )
    assert str(refused) == "a chunk size is 1 to 16 hexadecimal digits"


def test_an_excerpt_is_cut_at_64_bytes() -> None:
    assert refusal("bad-target", b"x" * 1000).excerpt == b"x" * 64
