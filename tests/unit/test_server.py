"""What the composition root decides before anything is forked."""

import os
from collections.abc import Iterator

import pytest

from serval import log, server
from serval.config import ServerConfig
from serval.errors import BindError, ConfigError
from serval.net.bind import FdBind, TcpBind, UnixBind
from serval.net.listeners import Listener, close_listeners, open_listeners
from serval.supervisor.actions import Settings
from serval.worker.process import Inheritance


@pytest.fixture
def activated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two descriptors are passed by a service manager."""
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")


@pytest.fixture
def listeners() -> Iterator[list[Listener]]:
    opened = open_listeners([TcpBind("127.0.0.1", 0)], backlog=1)
    yield opened
    close_listeners(opened)


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    yield
    for handler in log.own_handlers():
        log.error_log.parent.removeHandler(handler)  # type: ignore[union-attr]  # it has one


def test_without_activation_the_configuration_says_where_to_listen() -> None:
    assert server._binds(ServerConfig(port=81)) == (TcpBind("127.0.0.1", 81),)


@pytest.mark.usefixtures("activated")
def test_passed_sockets_take_the_place_of_the_default() -> None:
    assert server._binds(ServerConfig()) == (FdBind(3), FdBind(4))


@pytest.mark.usefixtures("activated")
@pytest.mark.parametrize(
    ("config", "bind"),
    [
        (ServerConfig(bind=("unix:/run/x",)), UnixBind("/run/x")),
        (ServerConfig(port=81, origins={"port": "--port"}), TcpBind("127.0.0.1", 81)),
    ],
)
def test_what_was_asked_for_is_opened_beside_passed_sockets(
    config: ServerConfig, bind: TcpBind | UnixBind
) -> None:
    assert server._binds(config) == (FdBind(3), FdBind(4), bind)


@pytest.mark.usefixtures("activated")
def test_a_passed_socket_that_was_asked_for_is_opened_once() -> None:
    config = ServerConfig(bind=("fd:3", "fd:5"))

    assert server._binds(config) == (FdBind(3), FdBind(4), FdBind(5))


def test_serving_ends_at_a_bind_that_fails(listeners: list[Listener]) -> None:
    port = listeners[0].sock.getsockname()[1]

    for workers in (0, 1):
        with pytest.raises(BindError, match=f"127.0.0.1:{port}"):
            server.serve(ServerConfig(app="no:app", port=port, workers=workers))


def test_a_reload_gives_the_new_settings(listeners: list[Listener]) -> None:
    new = ServerConfig(workers=3, timeout_graceful_shutdown=7.0)

    settings, _ = server._reload(Inheritance(ServerConfig(), listeners), lambda: new)

    assert settings == Settings(workers=3, graceful_seconds=7.0, heartbeat_seconds=60.0)


def test_a_reload_without_a_reader_keeps_the_configuration(listeners: list[Listener]) -> None:
    settings, _ = server._reload(Inheritance(ServerConfig(workers=2), listeners), None)

    assert settings.workers == 2


def test_a_reload_cannot_leave_the_supervisor(listeners: list[Listener]) -> None:
    with pytest.raises(ConfigError, match="workers is 0"):
        server._reload(Inheritance(ServerConfig(), listeners), lambda: ServerConfig(workers=0))


def test_a_reload_says_what_only_a_restart_can_change(
    listeners: list[Listener], caplog: pytest.LogCaptureFixture
) -> None:
    server._reload(Inheritance(ServerConfig(), listeners), lambda: ServerConfig(port=81, backlog=5))

    assert "port has changed; that takes effect with a restart" in caplog.text
    assert "backlog has changed" in caplog.text
    assert "host has changed" not in caplog.text
