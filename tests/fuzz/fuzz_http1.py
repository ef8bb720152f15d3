"""Coverage-guided fuzzing of the HTTP/1 parser against h11 and against itself.

    python tests/fuzz/fuzz_http1.py [SECONDS]      needs `pip install atheris`

Begins with the wire corpus and the inputs kept in corpus/http1; adds what reaches new code to a
folder of its own, /tmp/serval-fuzz-http1, and writes an input that breaks a promise as
crash-... into the current folder.  A kept input becomes a test, see test_kept_inputs.py.
"""

import random
import sys
import zlib
from pathlib import Path
from tempfile import gettempdir

import atheris  # type: ignore[import-untyped]  # it ships no types

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent / "src"), str(HERE.parent)]

with atheris.instrument_imports(include=["serval.protocols", "h11"]):
    from wire.agreement import check


def test_one_input(data: bytes) -> None:
    """Check one input at cuts that the input itself decides, so that a crash can be replayed."""
    chance = random.Random(zlib.crc32(data))  # noqa: S311 - chooses cuts, not secrets
    check(data, [chance.randrange(len(data) + 1) for _ in range(chance.randrange(5))])


def main() -> None:
    seconds = sys.argv[1] if len(sys.argv) > 1 else "30"
    found = Path(gettempdir()) / "serval-fuzz-http1"
    found.mkdir(exist_ok=True)
    kept = [HERE / "corpus" / "http1", *sorted((HERE.parent / "wire" / "corpus").iterdir())]
    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={seconds}",
            "-max_len=2048",
            "-timeout=10",
            f"-dict={HERE / 'http1.dict'}",
            *sys.argv[2:],
            str(found),
            *map(str, kept),
        ],
        test_one_input,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
