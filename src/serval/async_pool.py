"""The public place of the async lane: the pool, what may be handed over to it, its parser.

For embedders; `serval.worker.async_pool` says how it works.
"""

from serval.worker.async_pool import AsyncPool, _create_h1_protocol
from serval.worker.handoffs import (
    ConnectionHandoff,
    HandoffRequest,
    StreamingHandoff,
    WebSocketHandoff,
)

__all__ = [
    "AsyncPool",
    "ConnectionHandoff",
    "HandoffRequest",
    "StreamingHandoff",
    "WebSocketHandoff",
    "_create_h1_protocol",
]
