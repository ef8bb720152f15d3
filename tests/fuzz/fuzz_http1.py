"""Fuzzes the HTTP/1 parser against h11 and against itself; campaign.py tells how.

Begins with the wire corpus, which has most of what a request can be, beside the kept inputs.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent / "src"), str(HERE.parent)]

import atheris  # type: ignore[import-untyped]  # noqa: E402 - it ships no types

from fuzz import campaign  # noqa: E402

with atheris.instrument_imports(include=["serval.protocols", "h11"]):
    from wire.agreement import check

if __name__ == "__main__":
    seeds = (HERE.parent / "wire" / "corpus").rglob("*.http")
    small = [path for path in seeds if path.stat().st_size <= campaign.MAX_BYTES]
    campaign.run("http1", check, small, [f"-dict={HERE / 'http1.dict'}"])
