"""Serval, a production ASGI server for the command line: its public names.

Each is imported when it is first asked for: a command that serves nothing needs no event loop.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from serval.version import __version__

if TYPE_CHECKING:
    from serval.config import ServerConfig
    from serval.embedding import Server
    from serval.errors import LifespanShutdownError, StartupError
    from serval.lifecycle import LifecycleCollector
    from serval.worker.async_pool import AsyncPool
    from serval.worker.handoffs import HandoffRequest, StreamingHandoff, WebSocketHandoff
    from serval.worker.sync_worker import SyncWorker

__all__ = [
    "AsyncPool",
    "HandoffRequest",
    "LifecycleCollector",
    "LifespanShutdownError",
    "Server",
    "ServerConfig",
    "StartupError",
    "StreamingHandoff",
    "SyncWorker",
    "WebSocketHandoff",
    "__version__",
]

_PLACES: Final = {
    "AsyncPool": "serval.worker.async_pool",
    "HandoffRequest": "serval.worker.handoffs",
    "LifecycleCollector": "serval.lifecycle",
    "LifespanShutdownError": "serval.errors",
    "Server": "serval.embedding",
    "ServerConfig": "serval.config",
    "StartupError": "serval.errors",
    "StreamingHandoff": "serval.worker.handoffs",
    "SyncWorker": "serval.worker.sync_worker",
    "WebSocketHandoff": "serval.worker.handoffs",
}


def __getattr__(name: str) -> Any:
    """Import a public name (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return value


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return sorted({*globals(), *__all__})
