"""The client, and the commands that use it, against a real endpoint."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from admin_server import answering
from admin_world import RUNNING, FakeOverseer, two_workers

from serval.admin import commands
from serval.admin.client import AdminClient
from serval.admin.status import parse_status
from serval.errors import AdminError, ExitStatus
from serval.net.bind import TcpBind, UnixBind
from serval.outlook import Outlook, ServerState


class Replacing(FakeOverseer):
    """Comes to the end of a reload with the second look at it."""

    def __init__(self, *outlooks: Outlook) -> None:
        super().__init__()
        self.outlooks = list(outlooks)

    def outlook(self) -> Outlook:
        return self.outlooks.pop(0) if len(self.outlooks) > 1 else self.outlooks[0]


RELOADING = replace(RUNNING, state=ServerState.RELOADING, generation=4)


@pytest.fixture
def bind(tmp_path: Path) -> UnixBind:
    return UnixBind(str(tmp_path / "a"))


def reload_of(bind: UnixBind, *outlooks: Outlook, wait: bool = True) -> str:
    with answering(bind, Replacing(*outlooks), two_workers()):
        return commands.reload(AdminClient(bind), wait=wait)


def test_the_status_comes_over_a_unix_socket(bind: UnixBind) -> None:
    with answering(bind, FakeOverseer(), two_workers()):
        text = commands.status(AdminClient(bind), as_json=False)

    assert "2 of 2 workers ready" in text
    assert text.count("\n") == 7


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", ""])
def test_the_status_comes_over_a_port(host: str) -> None:
    with answering(TcpBind(host, 0), FakeOverseer(), two_workers()) as bind:
        text = commands.status(AdminClient(bind), as_json=True)

    assert parse_status(text) == json.loads(text)


def test_scaling_is_told_to_the_server(bind: UnixBind) -> None:
    overseer = FakeOverseer()
    with answering(bind, overseer, two_workers()):
        said = commands.scale(AdminClient(bind), 5)

    assert overseer.asked == ["scale 5"]
    assert said == "workers wanted: 2"


def test_a_refusal_is_told_with_its_reason(bind: UnixBind) -> None:
    with (
        answering(bind, FakeOverseer("the server is stopping"), two_workers()),
        pytest.raises(AdminError) as refusal,
    ):
        commands.scale(AdminClient(bind), 5)

    assert str(refusal.value) == f"the server on {bind} refuses: the server is stopping"
    assert refusal.value.exit_status is ExitStatus.UNANSWERED


def test_over_a_port_nothing_is_changed() -> None:
    with (
        answering(TcpBind("127.0.0.1", 0), FakeOverseer(), two_workers()) as bind,
        pytest.raises(AdminError, match="/reload is refused over TCP"),
    ):
        commands.reload(AdminClient(bind), wait=False)


def test_a_reload_is_followed_to_its_end(bind: UnixBind) -> None:
    reloaded = replace(RUNNING, generation=4)

    assert reload_of(bind, RELOADING, RELOADING, reloaded) == "reloaded: 2 workers of generation 4"


def test_a_reload_need_not_be_waited_for(bind: UnixBind) -> None:
    said = reload_of(bind, RELOADING, wait=False)

    assert said == "reloading: generation 4 replaces the workers"


def test_a_reload_whose_workers_do_not_start_has_failed(bind: UnixBind) -> None:
    with pytest.raises(AdminError, match="generation 4 does not start, generation 3 goes on"):
        reload_of(bind, RELOADING, RUNNING)


def test_a_stop_in_the_middle_of_a_reload_is_told(bind: UnixBind) -> None:
    with pytest.raises(AdminError, match="the reload was not finished"):
        reload_of(bind, RELOADING, replace(RELOADING, state=ServerState.STOPPING))


def test_where_nobody_listens_that_is_told(bind: UnixBind) -> None:
    with pytest.raises(AdminError) as refusal:
        AdminClient(bind).status()

    assert str(refusal.value) == f"no server answers on {bind}: No such file or directory"


@pytest.fixture
def stranger() -> Iterator[tuple[TcpBind, socket.socket]]:
    """A port at which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield TcpBind("127.0.0.1", listener.getsockname()[1]), listener


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"SSH-2.0-x\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "is no serval of this version"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", "does not speak HTTP"),
    ],
)
def test_whoever_is_no_serval_is_not_believed(
    stranger: tuple[TcpBind, socket.socket], answer: bytes, message: str
) -> None:
    bind, listener = stranger

    def speak() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.recv(65536)
            sock.sendall(answer)

    thread = threading.Thread(target=speak)
    thread.start()
    with pytest.raises(AdminError, match=message):
        AdminClient(bind).status()
    thread.join()


def test_a_path_that_is_no_socket_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").touch()

    with pytest.raises(AdminError, match=os.strerror(111)):
        AdminClient(UnixBind(str(tmp_path / "a"))).status()
