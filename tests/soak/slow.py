"""What thousands of slow clients do to an honest one: its p99 with them held, and without.

    PYTHONPATH=src:tests python -m soak.slow [COUNT] [--seconds N] [OPTION OF THE SERVER ...]

The last line says how many checks passed and failed; the status is 0 only if none failed.
"""

import argparse
import resource
import sys
from collections.abc import Callable
from contextlib import ExitStack

from process.test_hostile import ATTEMPTS, DRIPS, Address, crowd, drip, slowdown

COUNT = 2_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=COUNT)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each kind")
    given, options = parser.parse_known_args()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    failed = 0
    for kind, (opening, byte, _) in DRIPS.items():

        def hold(
            others: ExitStack, address: Address, opening: bytes = opening, byte: bytes = byte
        ) -> Callable[[], None]:
            slow = crowd(others, address, given.count)
            for client in slow:
                client.send(opening)
            return drip(slow, byte, given.count // 10)  # each a byte in a second

        for _ in range(ATTEMPTS):
            ratio = slowdown(hold, given.seconds, "--timeout-headers", "120", *options)
            if ratio < 2:
                break
        failed += ratio >= 2
        print(
            f"{'FAILED: ' if ratio >= 2 else ''}{kind}: {ratio:.2f} beside {given.count}, below 2"
        )
    print(f"{len(DRIPS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
