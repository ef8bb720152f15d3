"""What the fuzzers have in common: the seeds, the time, and the place for what they find.

Coverage-guided by atheris (libFuzzer), which is no dependency of the tests:

    python -m pip install '.[fuzz]'
    python tests/fuzz/fuzz_http1.py [SECONDS] [libFuzzer's options]
    python tests/fuzz/fuzz_websocket.py [SECONDS] [libFuzzer's options]

An input that breaks a promise is written as crash-... into the current folder, and the status is
not 0.  What reaches new code goes to a folder of its own, serval-fuzz-NAME beside other temporary
files; keep.py puts what matters of it into the kept corpus.  Kept inputs are tests of every run of
the suite, see test_kept_inputs.py.
"""

import random
import sys
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory, gettempdir
from typing import Final

import atheris  # type: ignore[import-untyped]  # it ships no types

HERE: Final = Path(__file__).resolve().parent
MAX_BYTES: Final = 2048
Check = Callable[[bytes, Iterable[int]], None]


def run(name: str, check: Check, seeds: Iterable[Path] = (), options: Iterable[str] = ()) -> None:
    """Fuzz until the time is over; does not return.

    Args:
        name: Of the kept corpus.
        check: Takes an input and places to cut it at, and raises where a promise is broken.
        seeds: More inputs to begin with.
        options: More options for libFuzzer.
    """
    kept = HERE / "corpus" / name
    found = Path(gettempdir()) / f"serval-fuzz-{name}"
    found.mkdir(exist_ok=True)
    time, *given = sys.argv[1:] or ["30"]
    limits = [f"-max_len={MAX_BYTES}", "-timeout=10", "-rss_limit_mb=1024", *options, *given]

    def check_one(data: bytes) -> None:
        check(data, places_of(data))

    with TemporaryDirectory() as folder:
        for seed in seeds:
            copy(seed, folder)
        folders = [str(found), str(kept), folder]
        atheris.Setup([sys.argv[0], f"-max_total_time={time}", *limits, *folders], check_one)
        atheris.Fuzz()


def places_of(data: bytes) -> list[int]:
    """Where to cut an input: the input itself decides, so that a crash can be replayed."""
    chance = random.Random(zlib.crc32(data))  # noqa: S311 - chooses cuts, not secrets
    return [chance.randrange(len(data) + 1) for _ in range(chance.randrange(5))]
