"""How large a request body may be, by the path that it is sent to.  Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from serval.protocols.targets import origin_form


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """The largest bodies, 0 for no limit.

    Attributes:
        usual_bytes: What holds where nothing else does.
        by_path: What holds for a path and everything below it; of several, the longest path's.
        least_bytes: What is no larger passes everywhere.
    """

    usual_bytes: int = 0
    by_path: Mapping[bytes, int] = field(default_factory=dict)
    least_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        limits = [limit for limit in (self.usual_bytes, *self.by_path.values()) if limit]
        object.__setattr__(self, "least_bytes", min(limits, default=0))

    def of(self, target: bytes) -> int:
        """The limit for a request target."""
        if not self.by_path:
            return self.usual_bytes
        path = _path_of(target)
        while path:
            limit = self.by_path.get(path)
            if limit is not None:
                return limit
            path = path[: path.rfind(b"/")]
        return self.by_path.get(b"/", self.usual_bytes)


NO_LIMITS: Final = BodyLimits()


def _path_of(target: bytes) -> bytes:
    """The decoded path of a target: what is encoded must not escape its limit."""
    path = target.partition(b"?")[0]
    if path[:1] != b"/":
        path = origin_form(path)
    return unquote_to_bytes(path)
