"""What the fuzzer once found worth keeping, checked again without it."""

import random
import zlib
from pathlib import Path

import pytest

from wire.agreement import check

KEPT = sorted((Path(__file__).parent / "corpus" / "http1").iterdir())


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name[:12])
def test_a_kept_input_is_read_like_h11_reads_it(path: Path) -> None:
    data = path.read_bytes()
    chance = random.Random(zlib.crc32(data))  # noqa: S311 - chooses cuts, not secrets

    check(data, [chance.randrange(len(data) + 1) for _ in range(4)])
