"""What cannot be installed on this Python: the tests that need it are skipped, and say why.

Elsewhere all of it is there, and a test that cannot import it fails.
"""

import importlib.util
import sys
import sysconfig
from types import ModuleType
from typing import Any

import pytest

# Of the packages that the tests need, those that are not built for free-threaded interpreters
# (CPython 3.13t, 2026), themselves or by what they rest on.  uvloop may be missing on others, too.
UNBUILT = ("uvloop", "trustme", "litestar") if sysconfig.get_config_var("Py_GIL_DISABLED") else ()
MISSING = [name for name in {"uvloop", *UNBUILT} if importlib.util.find_spec(name) is None]


class Missing(ModuleType):
    """Stands for such a package where a test imports it: whoever uses it is skipped."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        pytest.skip(reason(self.__name__), allow_module_level=True)


def reason(package: str) -> str:
    """Why a test was skipped."""
    return f"{package} is not installed"


if "trustme" in MISSING:  # for want of cryptography, which rests on cffi
    for module in ("trustme", "cryptography.hazmat.primitives.serialization"):
        sys.modules[module] = Missing(module)


def skip_what_is_missing(items: list[pytest.Item]) -> None:
    """Skip what is for a missing package by the name of its module or of its variant."""
    for item in items:
        variant: str = getattr(getattr(item, "callspec", None), "id", "")
        names = {item.path.stem.removeprefix("test_"), *variant.split("-")}
        for package in names.intersection(MISSING):
            item.add_marker(pytest.mark.skip(reason=reason(package)))
