"""How far apart equal limits are spread, so that workers started together do not end together.

Pure.
"""

import re
from typing import Final, NamedTuple

_SHARE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?%")
_AMOUNT: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")


class Jitter(NamedTuple):
    """The most that is added to a limit.

    Attributes:
        share: Of the limit itself, 0.1 for a tenth.
        amount: In the limit's own unit.
    """

    share: float = 0.0
    amount: float = 0.0

    def spread(self, limit: float, luck: float) -> float:
        """A limit of one worker's own; `luck` is at random from 0 to 1."""
        return limit + luck * (self.share * limit + self.amount)


NO_JITTER: Final = Jitter()


def parse_jitter(text: str) -> Jitter:
    """From `10%` or `50`.

    Raises:
        ValueError: It is neither.
    """
    if share := _SHARE.fullmatch(text.strip()):
        return Jitter(share=float(share[1]) / 100.0)
    if amount := _AMOUNT.fullmatch(text.strip()):
        return Jitter(amount=float(amount[0]))
    raise ValueError(f"must be a share such as 10% or a number such as 50, not {text!r}")
