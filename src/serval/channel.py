"""What a worker has of its parent: a slot to write to, a bell to ring, and a way to see it die.

Made by the supervisor before each fork and handed to the worker's entry function, which alone uses
it; any thread of the worker may.
"""

import contextlib
import os
from dataclasses import dataclass

from serval.scoreboard import Slot


@dataclass(frozen=True, slots=True)
class ChildChannel:
    """The worker's end of everything it shares with its parent.

    Attributes:
        slot: Where the worker says what it does and counts; already cleared, its state BOOTING.
        index: The number of the slot, from 0.
        generation: Which reading of the configuration this is, from 1.
        parent_gone_fd: Reads end of file once the parent has died; nothing is ever written to it.
        bell_fd: A non-blocking pipe to the parent.
        claim_fd: A non-blocking pipe with one byte in it, for the first who reads.
        dump_fds: Both ends of a pipe.  What the worker writes into it and does not read itself is
            shown by the parent after its death.
    """

    slot: Slot
    index: int
    generation: int
    parent_gone_fd: int
    bell_fd: int
    claim_fd: int
    dump_fds: tuple[int, int]

    def notify(self) -> None:
        """Make the parent look at the slot; call it whenever `slot.state` has changed."""
        # Either it has been rung often enough already, or nobody is left to hear it.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self.bell_fd, b"\0")

    def claim_report(self) -> bool:
        """Whether this worker should explain why it cannot start.

        Workers that are started together fail together, for one reason: the first to ask gets True
        and logs its traceback, the others stay silent.
        """
        try:
            return os.read(self.claim_fd, 1) != b""
        except BlockingIOError:
            return False
