"""A file that counts: applications append one line per event, tests read them back.

Appending is atomic over processes, so several workers may write to one ledger.
"""

import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "TEST_LEDGER"
GIVE_UP_SECONDS = 20.0


def note(*words: object) -> None:
    """Append one line.  Called by applications, in a worker."""
    line = " ".join(map(str, words)).encode() + b"\n"
    ledger = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND)
    try:
        os.write(ledger, line)
    finally:
        os.close(ledger)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The reading side, in the test's process."""

    path: Path

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()

    def count(self, line: str) -> int:
        return self.lines().count(line)

    def starting_with(self, word: str) -> Counter[str]:
        """How often each line stands there that begins with this word, the word taken off."""
        return Counter(
            line.removeprefix(word + " ") for line in self.lines() if line.startswith(word + " ")
        )

    def wait_for(self, beginning: str, *, count: int = 1) -> None:
        """Return once that many lines begin so: what follows a response comes a little later."""
        give_up_at = time.monotonic() + GIVE_UP_SECONDS
        while sum(line.startswith(beginning) for line in self.lines()) < count:
            assert time.monotonic() < give_up_at, f"never noted: {beginning}; is: {self.lines()}"
            time.sleep(0.01)
