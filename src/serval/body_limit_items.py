"""Body limits for paths as an operator writes them, `PATH=SIZE`.

Pure; the configuration parses and judges with it.
"""

from collections.abc import Iterable

from serval.errors import ConfigError
from serval.quantities import parse_size


def parse_body_limits(items: Iterable[str]) -> dict[bytes, int]:
    """The limit in bytes for each path, which ends in no slash; 0 for none.

    Raises:
        ConfigError: An item is of another form, or a path is given twice.
    """
    found: dict[bytes, int] = {}
    for item in items:
        path, equals, size = (part.strip() for part in item.rpartition("="))
        if not equals or not path.startswith("/"):
            raise ConfigError(f"{item!r} gives no path a limit; legal: /path=10MiB")
        key = (path.rstrip("/") or "/").encode()
        if key in found:
            raise ConfigError(f"{key.decode()} is given twice")
        try:
            found[key] = parse_size(size)
        except ValueError as exc:
            raise ConfigError(f"{item!r}: {size!r} is {exc}") from None
    return found
