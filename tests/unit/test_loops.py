"""Which loop a setting stands for."""

import asyncio
import importlib.util
import sys

import pytest

from serval.errors import ConfigError
from serval.worker import loops


def test_asyncio_is_asyncio() -> None:
    assert loops.loop_name("asyncio") == "asyncio"
    assert loops.loop_factory("asyncio") is asyncio.SelectorEventLoop


def test_auto_is_uvloop_only_where_it_is_installed_and_ends_no_freedom_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True, raising=False)
    assert loops.loop_name("auto") == "uvloop"

    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    assert loops.loop_name("auto") == "asyncio"
    assert loops.loop_name("uvloop") == "uvloop"  # who asks for it by name gets it

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert loops.loop_name("auto") == "asyncio"
    with pytest.raises(ConfigError, match="not installed"):
        loops.loop_name("uvloop")
