"""Real sockets, on ports that the kernel chooses: only a bind tells whether an address is good."""

import errno
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serval.errors import BindError, ExitStatus
from serval.net import listeners as module
from serval.net.bind import Bind, FdBind, TcpBind, UnixBind
from serval.net.listeners import (
    Listener,
    activated_binds,
    close_listeners,
    open_listeners,
)

Opener = Callable[..., list[Listener]]


@pytest.fixture
def opened() -> Iterator[Opener]:
    """Opens listeners and closes them after the test."""
    everything: list[Listener] = []

    def open_them(*binds: Bind, unix_mode: int = 0o660) -> list[Listener]:
        listeners = open_listeners(binds, backlog=8, unix_mode=unix_mode)
        everything.extend(listeners)
        return listeners

    yield open_them
    close_listeners(everything)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens already."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


def test_port_0_becomes_a_real_port(opened: Opener) -> None:
    (listener,) = opened(TcpBind("127.0.0.1", 0))

    port = listener.sock.getsockname()[1]
    assert port > 0
    assert listener.address == f"127.0.0.1:{port}"
    assert listener.url() == f"http://127.0.0.1:{port}"


def test_a_listener_accepts_and_does_not_block(opened: Opener) -> None:
    (listener,) = opened(TcpBind("127.0.0.1", 0))

    with pytest.raises(BlockingIOError):
        listener.sock.accept()
    with socket.create_connection(listener.sock.getsockname()):
        accepted, _ = listener.sock.accept()
        accepted.close()


def test_accepted_sockets_send_small_answers_at_once(opened: Opener) -> None:
    (listener,) = opened(TcpBind("127.0.0.1", 0))

    with socket.create_connection(listener.sock.getsockname()):
        accepted, _ = listener.sock.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def taken_by(sock: socket.socket) -> int:
    """How many bytes a non-blocking socket takes before it is full."""
    taken_bytes = 0
    while True:
        try:
            taken_bytes += sock.send(bytes(65_536))
        except BlockingIOError:
            return taken_bytes


def test_the_kernel_takes_little_of_an_answer_that_nobody_reads(opened: Opener) -> None:
    (listener,) = opened(TcpBind("127.0.0.1", 0))

    with socket.create_connection(listener.sock.getsockname()):
        accepted, _ = listener.sock.accept()
        with accepted:
            accepted.setblocking(False)
            taken_bytes = taken_by(accepted)

    assert taken_bytes < 2 << 20  # else it is 4 MiB, on Linux


def test_workers_do_not_pass_a_listener_on_to_programs_they_run(opened: Opener) -> None:
    (listener,) = opened(TcpBind("127.0.0.1", 0))

    assert not listener.sock.get_inheritable()


@needs_ipv6
def test_localhost_listens_in_both_families_on_one_port(opened: Opener) -> None:
    listeners = opened(TcpBind("localhost", 0))

    hosts, ports = zip(*(one.sock.getsockname()[:2] for one in listeners), strict=True)
    assert hosts == ("127.0.0.1", "::1")
    assert len(set(ports)) == 1


@needs_ipv6
@pytest.mark.parametrize("host", ["", "::"])
def test_every_interface_means_both_families(opened: Opener, host: str) -> None:
    (listener,) = opened(TcpBind(host, 0))

    port = listener.sock.getsockname()[1]
    assert listener.address == f"[::]:{port}"
    for peer in ("127.0.0.1", "::1"):
        with socket.create_connection((peer, port)):
            listener.sock.accept()[0].close()


def test_a_host_without_ipv6_listens_on_ipv4_and_says_so(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    forget_ipv6(monkeypatch)

    (listener,) = opened(TcpBind("::", 0))

    assert listener.address.startswith("0.0.0.0:")
    assert "no IPv6" in caplog.text


def test_localhost_is_content_with_ipv4(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_ipv6(monkeypatch)

    (listener,) = opened(TcpBind("localhost", 0))

    assert listener.address.startswith("127.0.0.1:")


def forget_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    listen = module._listen

    def without(family: socket.AddressFamily, host: str, port: int, backlog: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return listen(family, host, port, backlog)

    monkeypatch.setattr(module, "_listen", without)


def test_a_port_free_in_one_family_only_is_tried_again(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen = module._listen
    calls = iter([True, False])

    def taken_once(
        family: socket.AddressFamily, host: str, port: int, backlog: int
    ) -> socket.socket:
        if family == socket.AF_INET6 and next(calls, False):
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return listen(socket.AF_INET, "127.0.0.1", 0, backlog)

    monkeypatch.setattr(module, "_listen", taken_once)

    assert len(opened(TcpBind("localhost", 0))) == 2


def test_ports_that_are_never_free_in_both_families_are_a_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listen = module._listen

    def taken_always(
        family: socket.AddressFamily, host: str, port: int, backlog: int
    ) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return listen(family, host, port, backlog)

    monkeypatch.setattr(module, "_listen", taken_always)

    with pytest.raises(BindError, match="no port is free in both IPv4 and IPv6"):
        open_listeners([TcpBind("localhost", 0)], backlog=8)


def test_a_taken_port_is_named_with_its_reason(taken: int) -> None:
    with pytest.raises(BindError) as refusal:
        open_listeners([TcpBind("127.0.0.1", taken)], backlog=8, origin="--port")

    assert refusal.value.exit_status is ExitStatus.BIND
    assert f"cannot listen on 127.0.0.1:{taken} (from --port): address already in use" in str(
        refusal.value
    )


@needs_linux
def test_a_taken_port_is_named_with_its_owner(taken: int) -> None:
    with pytest.raises(BindError, match=f"by pid {os.getpid()} "):
        open_listeners([TcpBind("127.0.0.1", taken)], backlog=8)


def test_all_binds_are_tried_before_failing(taken: int, tmp_path: Path) -> None:
    fine = tmp_path / "fine.sock"
    binds: list[Bind] = [
        TcpBind("127.0.0.1", taken),
        UnixBind(str(fine)),
        UnixBind(str(tmp_path / "no/dir")),
    ]

    with pytest.raises(BindError) as refusal:
        open_listeners(binds, backlog=8)

    assert str(taken) in str(refusal.value)
    assert "no/dir" in str(refusal.value)
    assert not fine.exists()


def test_an_unknown_host_is_a_bind_error() -> None:
    with pytest.raises(BindError, match=r"cannot listen on \[fe80::1%nowhere\]:80: "):
        open_listeners([TcpBind("fe80::1%nowhere", 80)], backlog=8)


def test_a_host_that_no_resolver_would_take_is_a_bind_error() -> None:
    with pytest.raises(BindError, match=r"cannot listen on a\.\.b:80: not a host name"):
        open_listeners([TcpBind("a..b", 80)], backlog=8)


def test_a_name_resolves_to_each_of_its_addresses_once() -> None:
    assert module._resolve(TcpBind("127.0.0.1", 80)) == [(socket.AF_INET, "127.0.0.1")]


def test_a_link_local_address_keeps_its_zone() -> None:
    assert module._host(("fe80::1", 80, 0, 3)) == "fe80::1%3"
    assert module._host(("::1", 80, 0, 0)) == "::1"


def test_a_unix_path_that_is_too_long_is_a_bind_error(tmp_path: Path) -> None:
    with pytest.raises(BindError, match="AF_UNIX path too long"):
        open_listeners([UnixBind(str(tmp_path / ("x" * 200)))], backlog=8)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use every port")
def test_a_privileged_port_names_the_remedy() -> None:
    with pytest.raises(BindError, match="CAP_NET_BIND_SERVICE"):
        open_listeners([TcpBind("127.0.0.1", 1)], backlog=8)


def test_the_remedy_for_a_privileged_port_is_said() -> None:
    denied = OSError(errno.EACCES, "Permission denied")

    assert "CAP_NET_BIND_SERVICE" in module._explain(TcpBind("127.0.0.1", 80), denied)


@pytest.mark.parametrize("mode", [0o660, 0o600, 0o666])
def test_a_unix_socket_has_its_mode_whatever_the_umask(
    opened: Opener, tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "a.sock"

    (listener,) = opened(UnixBind(str(path)), unix_mode=mode)

    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert listener.address == listener.url() == f"unix:{path}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_unix_socket_has_its_owner_before_anybody_can_connect(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"

    (listener,) = open_listeners([UnixBind(str(path))], backlog=1, unix_owner=(1, 2))
    found = path.stat()
    close_listeners([listener])

    assert (found.st_uid, found.st_gid) == (1, 2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may give a file away")
def test_a_socket_that_cannot_be_given_away_is_not_left_behind(tmp_path: Path) -> None:
    with pytest.raises(BindError, match="peration not permitted"):
        open_listeners([UnixBind(str(tmp_path / "a"))], backlog=1, unix_owner=(0, 0))

    assert list(tmp_path.iterdir()) == []


def test_a_unix_socket_leaves_the_umask_as_it_was(opened: Opener, tmp_path: Path) -> None:
    opened(UnixBind(str(tmp_path / "a.sock")))

    before = os.umask(0o022)
    os.umask(before)
    assert before != 0o117


def test_a_stale_socket_is_replaced(opened: Opener, tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)

    (listener,) = opened(UnixBind(path))

    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        listener.sock.accept()[0].close()


def test_a_socket_that_answers_is_left_alone(opened: Opener, tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    opened(UnixBind(path))

    with pytest.raises(BindError, match="another server answers"):
        open_listeners([UnixBind(path)], backlog=8)

    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def test_a_socket_whose_queue_is_full_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as client:
        busy.bind(path)
        busy.listen(0)
        client.connect(path)

        with pytest.raises(BindError, match="another server answers"):
            open_listeners([UnixBind(path)], backlog=8)


def test_a_file_in_the_way_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")

    with pytest.raises(BindError, match="exists and is not a socket"):
        open_listeners([UnixBind(str(path))], backlog=8)

    assert path.read_text() == "data"


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target.sock", tmp_path / "link.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(target))
    link.symlink_to(target)

    with pytest.raises(BindError, match="is not a socket"):
        open_listeners([UnixBind(str(link))], backlog=8)

    assert link.is_symlink()
    assert target.exists()


def test_closing_removes_our_socket_file(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    listeners = open_listeners([UnixBind(str(path))], backlog=8)

    close_listeners(listeners)

    assert not path.exists()


def test_closing_leaves_the_socket_file_of_a_successor(opened: Opener, tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    ours = open_listeners([UnixBind(str(path))], backlog=8)
    path.unlink()
    opened(UnixBind(str(path)))

    close_listeners(ours)

    assert path.exists()


def test_closing_twice_leaves_the_socket_file_of_a_successor(
    opened: Opener, tmp_path: Path
) -> None:
    path = tmp_path / "a.sock"
    ours = open_listeners([UnixBind(str(path))], backlog=8)
    close_listeners(ours)
    opened(UnixBind(str(path)))  # its inode may well have the number of ours

    close_listeners(ours)

    assert path.exists()


def test_closing_without_a_file_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    listeners = open_listeners([UnixBind(str(path))], backlog=8)
    path.unlink()

    close_listeners(listeners)

    assert listeners[0].sock.fileno() == -1


@needs_linux
def test_an_abstract_name_makes_no_file(opened: Opener, tmp_path: Path) -> None:
    name = f"@serval-test-{os.getpid()}"

    (listener,) = opened(UnixBind(name))

    assert listener.address == f"unix:{name}"
    assert listener.identity is None
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\0" + name[1:])
        listener.sock.accept()[0].close()


@needs_linux
def test_an_inherited_abstract_socket_is_named(opened: Opener) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"\0serval-test-fd-{os.getpid()}")

        (listener,) = opened(FdBind(sock.detach()))

    assert listener.address == f"unix:@serval-test-fd-{os.getpid()}"


def test_an_inherited_socket_keeps_its_family_and_its_queue(opened: Opener) -> None:
    given = socket.create_server(("127.0.0.1", 0))
    address = given.getsockname()
    with socket.create_connection(address):
        (listener,) = opened(FdBind(given.detach()))

        assert listener.sock.family == socket.AF_INET
        assert listener.address == f"127.0.0.1:{address[1]}"
        assert listener.sock.gettimeout() == 0.0
        listener.sock.accept()[0].close()


def test_an_inherited_socket_that_only_was_bound_begins_to_listen(opened: Opener) -> None:
    given = socket.socket()
    given.bind(("127.0.0.1", 0))
    address = given.getsockname()

    (listener,) = opened(FdBind(given.detach()))

    with socket.create_connection(address):
        listener.sock.accept()[0].close()


def test_an_inherited_unix_socket_file_is_not_ours_to_remove(tmp_path: Path) -> None:
    path = tmp_path / "theirs.sock"
    given = socket.socket(socket.AF_UNIX)
    given.bind(str(path))
    listeners = open_listeners([FdBind(given.detach())], backlog=8)

    close_listeners(listeners)

    assert listeners[0].address == f"unix:{path}"
    assert path.exists()


def test_a_descriptor_that_is_not_open_is_a_bind_error() -> None:
    with pytest.raises(BindError, match="cannot listen on fd:9999: bad file descriptor"):
        open_listeners([FdBind(9999)], backlog=8)


def test_a_datagram_socket_is_refused_and_left_open() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as given:
        with pytest.raises(BindError, match=f"cannot listen on fd:{given.fileno()}"):
            open_listeners([FdBind(given.fileno())], backlog=8)

        assert given.getsockname()


def test_a_platform_that_cannot_be_asked_listens_again() -> None:
    class Silent(socket.socket):
        def getsockopt(self, *_: object) -> int:  # type: ignore[override]  # one of three forms
            raise OSError(errno.ENOPROTOOPT, "Protocol not available")

    with Silent() as sock:
        assert not module._is_listening(sock)


def test_activation_hands_over_descriptors_from_3_on() -> None:
    environ = {"LISTEN_PID": "77", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", "HOME": "/"}

    assert activated_binds(environ, pid=77) == [FdBind(3), FdBind(4)]
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_PID": "78", "LISTEN_FDS": "2"},
        {"LISTEN_FDS": "2"},
        {"LISTEN_PID": "77", "LISTEN_FDS": "two"},
        {"LISTEN_PID": "77"},
    ],
)
def test_activation_meant_for_another_process_is_ignored(environ: dict[str, str]) -> None:
    assert activated_binds(dict(environ), pid=77) == []
