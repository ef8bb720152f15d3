"""What the fuzzers once found worth keeping, checked again without them."""

import random
import zlib
from pathlib import Path

import pytest

from wire import agreement, websocket_agreement

CORPUS = Path(__file__).parent / "corpus"


def kept(name: str) -> list[Path]:
    paths = sorted((CORPUS / name).iterdir())
    assert paths
    return paths


def places_of(data: bytes) -> list[int]:
    chance = random.Random(zlib.crc32(data))  # noqa: S311 - chooses cuts, not secrets
    return [chance.randrange(len(data) + 1) for _ in range(4)]


@pytest.mark.parametrize("path", kept("http1"), ids=lambda path: path.name[:12])
def test_a_kept_request_is_read_like_h11_reads_it(path: Path) -> None:
    data = path.read_bytes()

    agreement.check(data, places_of(data))


@pytest.mark.parametrize("path", kept("websocket"), ids=lambda path: path.name[:12])
def test_kept_frames_are_read_like_wsproto_reads_them(path: Path) -> None:
    data = path.read_bytes()

    websocket_agreement.check(data, places_of(data))
