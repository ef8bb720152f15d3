"""What one WebSocket session may cost us.  Records and constants only."""

from dataclasses import dataclass, field
from typing import Final

from serval.protocols.frames import MessageLimits

# What may arrive before the application has answered the handshake; then reading stops.
EARLY_BYTES: Final = 65_536

# Events that are taken before other connections get their turn: a peer can put 40,000 pings into
# what one read brings.
TURN_COUNT: Final = 64


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What one session may cost us.

    Attributes:
        queue_count: Messages that wait for the application.
        queue_bytes: Their size together; one message may go over it.
        deflate: Whether permessage-deflate is agreed to.
    """

    messages: MessageLimits = field(default_factory=MessageLimits)
    queue_count: int = 32
    queue_bytes: int = 1024 * 1024
    deflate: bool = True
