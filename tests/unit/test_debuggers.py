"""Who counts as a debugger."""

import sys
from collections.abc import Iterator
from types import FrameType, ModuleType
from typing import Any

import pytest

from serval.worker.debuggers import is_at_prompt, is_debugged


def tracer(frame: FrameType, event: str, argument: Any) -> None:
    """Of no module that measures."""


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    """Whatever measures the tests is out of the way."""
    trace = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(trace)


def test_nobody_looks_on() -> None:
    assert not is_debugged()


def test_a_trace_function_is_a_debugger_s() -> None:
    sys.settrace(tracer)

    assert is_debugged()


def test_coverage_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracer, "__module__", "coverage.tracer")
    sys.settrace(tracer)

    assert not is_debugged()


def test_a_debugger_that_stays_counts_once_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydevd", ModuleType("pydevd"))

    assert is_debugged()


if sys.version_info >= (3, 12):

    def test_a_monitoring_debugger_counts() -> None:
        sys.monitoring.use_tool_id(sys.monitoring.DEBUGGER_ID, "fake")
        try:
            assert is_debugged()
        finally:
            sys.monitoring.free_tool_id(sys.monitoring.DEBUGGER_ID)


@pytest.mark.parametrize(("name", "found"), [("pdb", True), ("bdb", True), ("shop", False)])
def test_a_prompt_is_known_by_the_modules_on_the_stack(name: str, found: bool) -> None:
    namespace: dict[str, Any] = {"__name__": name, "sys": sys}
    exec("def stand(): return sys._getframe()", namespace)  # noqa: S102 - a frame in that module

    assert is_at_prompt([sys._getframe(), namespace["stand"]()]) is found
