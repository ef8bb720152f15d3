"""A real admin endpoint in a thread, in front of a supervisor that only remembers."""

import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from admin_world import CONSTANTS, FakeOverseer

from serval.admin.endpoint import AdminEndpoint
from serval.net.bind import TcpBind, UnixBind
from serval.net.listeners import close_listeners, open_listeners
from serval.scoreboard import Scoreboard


@contextmanager
def answering(
    bind: TcpBind | UnixBind, overseer: FakeOverseer, board: Scoreboard
) -> Iterator[TcpBind | UnixBind]:
    """Answer until the end of the block; gives where."""
    listeners = open_listeners([bind], backlog=8)
    endpoint = AdminEndpoint(listeners, [], CONSTANTS, board)
    ended = threading.Event()

    def turn() -> None:
        while not ended.is_set():
            select.select([endpoint.fileno()], [], [], 0.02)
            endpoint.turn(overseer, CONSTANTS.started_at)

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        yield _at(bind, listeners[0].sock.getsockname())
    finally:
        ended.set()
        thread.join()
        endpoint.close()
        close_listeners(listeners)


def _at(bind: TcpBind | UnixBind, name: object) -> TcpBind | UnixBind:
    if isinstance(bind, TcpBind) and isinstance(name, tuple):
        return TcpBind(bind.host, name[1])
    return bind
