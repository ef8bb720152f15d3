"""Serval, a production ASGI server for the command line: its public names."""

from serval.config import ServerConfig
from serval.lifecycle import LifecycleCollector
from serval.version import __version__
from serval.worker.async_pool import (
    AsyncPool,
    HandoffRequest,
    StreamingHandoff,
    WebSocketHandoff,
)
from serval.worker.sync_worker import SyncWorker

__all__ = [
    "AsyncPool",
    "HandoffRequest",
    "LifecycleCollector",
    "ServerConfig",
    "StreamingHandoff",
    "SyncWorker",
    "WebSocketHandoff",
    "__version__",
]
