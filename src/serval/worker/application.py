"""The application as a worker gets it: loaded in its own process, or once before the fork."""

import gc
import logging
import os
import threading
from pathlib import Path
from typing import Final

from serval.config import ServerConfig
from serval.loader import LoadedApp, load

logger = logging.getLogger("serval.error")

_TASKS: Final = Path("/proc/self/task")  # proc(5): a directory for each thread, C's own included


def load_app(config: ServerConfig) -> LoadedApp:
    """Load the application of a configuration.

    Raises:
        LoadError: It cannot be loaded, or is none that can be served.
    """
    loaded = load(
        config.app,
        factory=config.factory,
        app_dir=config.app_dir,
        interface=config.interface,
    )
    # What the import left behind lives as long as the process: the collector need not look.
    gc.collect()
    gc.freeze()
    return loaded


def preload_app(config: ServerConfig) -> LoadedApp:
    """Load it in the supervisor, for all workers; before the first fork.

    Raises:
        LoadError: As of `load_app`.
    """
    app = load_app(config)
    for name in running_threads():
        logger.warning(
            "preload: the import of %s has left %s running, which no worker will have; what it "
            "holds or does is lost to them",
            config.app,
            name,
        )
    return app


def running_threads() -> list[str]:
    """The threads of this process beside the main one, in words."""
    names = [
        f"the thread {thread.name!r}"
        for thread in threading.enumerate()
        if thread is not threading.main_thread()
    ]
    if _TASKS.is_dir():
        foreign = len(os.listdir(_TASKS)) - 1 - len(names)
        if foreign > 0:
            names.append(f"{foreign} threads of a C library")
    return names
