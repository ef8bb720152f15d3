"""Which event loop a worker runs on."""

import asyncio
import importlib.util
import sys
from collections.abc import Callable
from typing import Literal

from serval.errors import ConfigError


def runs_free_threaded() -> bool:
    """Whether this interpreter runs several threads at once, for the moment at least."""
    has_lock: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    return not has_lock()


def loop_name(name: Literal["auto", "asyncio", "uvloop"]) -> Literal["asyncio", "uvloop"]:
    """The loop that a setting stands for here: auto is uvloop where it is installed.

    Not so on a free-threaded interpreter, which its import would make an ordinary one.

    Raises:
        ConfigError: uvloop is asked for and not installed.
    """
    if name == "asyncio" or (name == "auto" and runs_free_threaded()):
        return "asyncio"
    if importlib.util.find_spec("uvloop") is not None:
        return "uvloop"
    if name == "uvloop":
        raise ConfigError("loop is uvloop, which is not installed; install it or use asyncio")
    return "asyncio"


def loop_factory(
    name: Literal["auto", "asyncio", "uvloop"],
) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the loop that a setting stands for.

    Raises:
        ConfigError: uvloop is asked for and not installed.
    """
    if loop_name(name) == "asyncio":
        return asyncio.SelectorEventLoop
    uvloop = importlib.import_module("uvloop")
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
