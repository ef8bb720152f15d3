"""A procfs made of plain files: what the kernel shows is text, whoever writes it."""

import os
from pathlib import Path

from serval.net.port_owner import owner_of_port

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  inode"
ROW = " 0: 0100007F:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 0 0 0 {inode} 1"


def make_proc(root: Path, *rows: tuple[int, str, int], table: str = "tcp") -> Path:
    (root / "net").mkdir()
    lines = [HEAD, *(ROW.format(port=p, state=s, inode=i) for p, s, i in rows)]
    (root / "net" / table).write_text("\n".join(lines) + "\n")
    return root


def add_process(root: Path, pid: int, *links: str, name: str | None = "nginx") -> None:
    fds = root / str(pid) / "fd"
    fds.mkdir(parents=True)
    for fd, link in enumerate(links):
        os.symlink(link, fds / str(fd))
    if name is not None:
        (root / str(pid) / "comm").write_text(name + "\n")


def test_the_listening_process_is_named(tmp_path: Path) -> None:
    proc = make_proc(tmp_path, (8000, "0A", 55))
    add_process(proc, 11, "socket:[1]", "pipe:[55]", name="other")
    add_process(proc, 12, "/dev/null", "socket:[55]")

    assert owner_of_port(8000, proc) == "pid 12 (nginx)"


def test_an_ipv6_listener_counts_too(tmp_path: Path) -> None:
    proc = make_proc(tmp_path, (8000, "0A", 55), table="tcp6")
    add_process(proc, 12, "socket:[55]")

    assert owner_of_port(8000, proc) == "pid 12 (nginx)"


def test_connections_and_other_ports_do_not_count(tmp_path: Path) -> None:
    proc = make_proc(tmp_path, (8000, "01", 55), (8001, "0A", 56))
    add_process(proc, 12, "socket:[55]", "socket:[56]")

    assert owner_of_port(8000, proc) == ""


def test_an_owner_that_we_may_not_see_stays_unnamed(tmp_path: Path) -> None:
    proc = make_proc(tmp_path, (8000, "0A", 55))
    (proc / "13").mkdir()
    (proc / "14" / "fd").mkdir(parents=True)
    (proc / "14" / "fd" / "0").write_text("no link, as if closed meanwhile")

    assert owner_of_port(8000, proc) == ""


def test_an_owner_that_ends_meanwhile_is_gone(tmp_path: Path) -> None:
    proc = make_proc(tmp_path, (8000, "0A", 55))
    add_process(proc, 12, "socket:[55]", name=None)

    assert owner_of_port(8000, proc) == "pid 12 (gone)"


def test_without_a_procfs_nothing_is_known(tmp_path: Path) -> None:
    assert owner_of_port(8000, tmp_path / "missing") == ""
