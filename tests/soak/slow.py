"""What thousands of slow clients do to an honest one: its p99 with them held, and without.

    PYTHONPATH=src:tests python -m soak.slow [COUNT]

The last line says how many checks passed and failed; the status is 0 only if none failed.
"""

import resource
import sys
import time
from contextlib import ExitStack

from process.test_hostile import connect, crowd, hardened, nothing, p99, quick_requests

COUNT = 2_000
ROUNDS = 4
ROUND_SECONDS = 2.0
DRIPS_EACH_TENTH = 200  # of the clients send a byte in each tenth of a second: all, in a second


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    with hardened("--no-access-log", "--timeout-headers", "120") as (_, address):
        alone: list[float] = []
        amidst: list[float] = []
        with ExitStack() as stack:
            honest = connect(address)
            stack.callback(honest.close)
            for _ in range(ROUNDS):  # in turns, since the machine is not always as fast
                alone += quick_requests(honest, ROUND_SECONDS, nothing)
                with ExitStack() as others:
                    slow = crowd(others, address, count)
                    for client in slow:
                        client.send(b"GET / HTTP/1.1\r\nX: ")
                    at = 0

                    def drip() -> None:
                        nonlocal at
                        for client in slow[at : at + DRIPS_EACH_TENTH]:  # noqa: B023 - used at once
                            client.send(b"a")
                        at = (at + DRIPS_EACH_TENTH) % count

                    amidst += quick_requests(honest, ROUND_SECONDS, drip)
                time.sleep(0.5)  # for their end
    ratio = p99(amidst) / p99(alone)
    print(f"p99 {p99(alone) * 1e6:.0f} us alone, {p99(amidst) * 1e6:.0f} us beside {count}")
    print(f"median ratio {sorted(amidst)[len(amidst) // 2] / sorted(alone)[len(alone) // 2]:.2f}")
    passed = ratio < 2
    print(f"{'' if passed else 'FAILED: '}p99 is {ratio:.2f} times what it is alone, at most 2")
    print(f"{int(passed)} passed, {int(not passed)} failed")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
