"""Which event loop a worker runs on."""

import asyncio
import importlib.util
from collections.abc import Callable
from typing import Literal

from serval.errors import ConfigError


def loop_name(name: Literal["auto", "asyncio", "uvloop"]) -> Literal["asyncio", "uvloop"]:
    """The loop that a setting stands for here: auto is uvloop where it is installed.

    Raises:
        ConfigError: uvloop is asked for and not installed.
    """
    if name == "asyncio":
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
