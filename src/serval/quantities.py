"""Durations and sizes as people write them, `1h30m` and `64k`, from and to text.

Pure; the option machinery calls it for every source of settings alike.
"""

import re
from typing import Final

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
_DURATION_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")

# As in nginx and systemd, a bare letter counts in 1024; `MB` is the decimal unit that it says.
_BYTES: Final = {
    "": 1,
    "b": 1,
    **{unit: 1024**power for power, unit in enumerate("kmgt", start=1)},
    **{f"{unit}ib": 1024**power for power, unit in enumerate("kmgt", start=1)},
    **{f"{unit}b": 1000**power for power, unit in enumerate("kmgt", start=1)},
}
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)")


def parse_duration(text: str) -> float:
    """Seconds from `90`, `500ms`, `6m` or `1h30m`.

    Raises:
        ValueError: It is none of these.
    """
    plain = text.strip().lower()
    if _NUMBER.fullmatch(plain):
        return float(plain)
    parts = _DURATION_PART.findall(plain)
    if not parts or "".join(number + unit for number, unit in parts) != plain:
        raise ValueError("not a duration such as 90, 500ms, 6m or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def parse_size(text: str) -> int:
    """Bytes from `65536`, `64k`, `16MiB` or `100MB`.

    Raises:
        ValueError: It is none of these, or not a whole number of bytes.
    """
    found = _SIZE.fullmatch(text.strip().lower())
    if found is None or found[2] not in _BYTES:
        raise ValueError("not a size such as 65536, 64k, 16MiB or 100MB")
    size = (
        float(found[1]) * _BYTES[found[2]] if "." in found[1] else int(found[1]) * _BYTES[found[2]]
    )
    if size != int(size):
        raise ValueError("not a whole number of bytes")
    return int(size)


def render_duration(seconds: float) -> str:
    """The shortest exact spelling: `75s`, `10m`, `500ms`."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:.12g}ms"
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0 and seconds > _SECONDS[unit]:
            return f"{seconds / _SECONDS[unit]:.12g}{unit}"
    return f"{seconds:.12g}s"


def render_size(size_bytes: int) -> str:
    """The shortest exact spelling: `100MiB`, `8KiB`, `100`."""
    for unit in ("GiB", "MiB", "KiB"):
        factor = _BYTES[unit.lower()]
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return str(size_bytes)
