"""Puts the least of what a fuzzer found into the kept corpus.

    python tests/fuzz/keep.py http1|websocket

That is what reaches code, or reaches it more often, that nothing smaller does.  Needs no atheris.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from shutil import copy
from tempfile import gettempdir
from types import FrameType
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent / "src"), str(HERE.parent)]

from fuzz.test_kept_inputs import places_of  # noqa: E402
from wire import agreement, websocket_agreement  # noqa: E402

CHECKS: Final[dict[str, Callable[[bytes, Iterable[int]], None]]] = {
    "http1": agreement.check,
    "websocket": websocket_agreement.check,
}
Step = tuple[str, int, int]


def reached(check: Callable[[], None]) -> set[tuple[Step, int]]:
    """Steps from line to line in the package, with how often each was taken, in powers of two."""
    steps: Counter[Step] = Counter()
    last: dict[FrameType, int] = {}

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if "serval" not in frame.f_code.co_filename:
            return None
        steps[frame.f_code.co_filename, last.get(frame, 0), frame.f_lineno] += 1
        last[frame] = frame.f_lineno
        if event == "return":
            del last[frame]
        return trace

    sys.settrace(trace)
    try:
        check()
    finally:
        sys.settrace(None)
    return {(step, count.bit_length()) for step, count in steps.items()}


def main(name: str) -> None:
    check = CHECKS[name]
    kept = HERE / "corpus" / name
    before = [*kept.iterdir(), *(Path(gettempdir()) / f"serval-fuzz-{name}").iterdir()]
    smallest_first = sorted(before, key=lambda path: (path.stat().st_size, path.name))
    known: set[tuple[Step, int]] = set()
    least: list[Path] = []
    for path in smallest_first:
        data = path.read_bytes()
        found = reached(lambda data=data: check(data, places_of(data)))  # type: ignore[misc]
        if found - known:
            known |= found
            least.append(path)
    for path in least:
        if path.parent != kept:
            copy(path, kept)
    for path in before:
        if path.parent == kept and path not in least:
            path.unlink()
    print(f"{len(least)} of {len(before)} kept")


if __name__ == "__main__":
    main(sys.argv[1])
