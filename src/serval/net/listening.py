"""The listening sockets that a configuration names: opened together, closed together."""

from collections.abc import Iterable, Sequence

from serval.config import ServerConfig
from serval.net.bind import Bind
from serval.net.listeners import Listener, close_listeners, open_listeners
from serval.privileges import group_id, user_id
from serval.service_settings import parse_mode


class Listening:
    """Sockets that are closed at the end of the block; the process that opened them only.

    Args:
        config: What Unix sockets look like, and how many connections may queue.
        binds: Where to listen.

    Raises:
        BindError: A socket could not be opened; none is left open.
        ConfigError: The user or group of Unix sockets does not exist.
    """

    def __init__(self, config: ServerConfig, binds: Iterable[Bind]) -> None:
        self.listeners: Sequence[Listener] = open_listeners(
            binds,
            backlog=config.backlog,
            unix_mode=parse_mode(config.uds_mode),
            unix_owner=(user_id(config.uds_owner), group_id(config.uds_group)),
            origin=_origin(config),
        )

    def __enter__(self) -> Sequence[Listener]:
        return self.listeners

    def __exit__(self, *_: object) -> None:
        close_listeners(self.listeners)


def _origin(config: ServerConfig) -> str:
    """What an operator should change when the sockets cannot be opened."""
    names = ("bind",) if config.bind else ("host", "port")
    origins = dict.fromkeys(config.origin(name) for name in names)
    return " and ".join(origin for origin in origins if origin != "default")
