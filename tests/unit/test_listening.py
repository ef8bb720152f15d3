"""The sockets of a configuration."""

import pytest

from serval.config import ServerConfig
from serval.net.bind import TcpBind
from serval.net.listening import Listening, _origin


@pytest.mark.parametrize(
    ("config", "origin"),
    [
        (ServerConfig(), ""),
        (ServerConfig(port=81, origins={"port": "--port"}), "--port"),
        (
            ServerConfig(host="::", port=81, origins={"host": "serval.toml", "port": "PORT"}),
            "serval.toml and PORT",
        ),
        (ServerConfig(bind=("81",), origins={"bind": "--bind"}), "--bind"),
    ],
)
def test_a_bind_that_fails_names_what_to_change(config: ServerConfig, origin: str) -> None:
    assert _origin(config) == origin


def test_the_sockets_are_closed_at_the_end() -> None:
    with Listening(ServerConfig(), [TcpBind("127.0.0.1", 0)]) as listeners:
        (listener,) = listeners
        assert listener.sock.fileno() >= 0

    assert listener.sock.fileno() == -1
