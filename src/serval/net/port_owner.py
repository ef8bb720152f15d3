"""Which process holds a TCP port, read from /proc for a better error message.

Called by the listeners once a bind has failed; where there is no /proc, or it is closed to us, the
answer is "unknown".
"""

import os
from pathlib import Path
from typing import Final

_LISTENING: Final = "0A"  # TCP_LISTEN in include/net/tcp_states.h


def owner_of_port(port: int, proc: Path = Path("/proc")) -> str:
    """The process that listens on a port, as `pid 123 (nginx)`, or an empty text.

    Args:
        proc: Where procfs is mounted.
    """
    inodes = {inode for table in ("tcp", "tcp6") for inode in _inodes(proc / "net" / table, port)}
    links = {f"socket:[{inode}]" for inode in inodes}
    if not links:
        return ""
    for process in proc.iterdir():
        if process.name.isdecimal() and _holds(process / "fd", links):
            return f"pid {process.name} ({_command(process)})"
    return ""


def _inodes(table: Path, port: int) -> list[str]:
    """The socket inodes that listen on the port, from one of /proc/net/tcp and tcp6."""
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return []
    suffix = f":{port:04X}"
    return [
        columns[9]
        for columns in map(str.split, lines)
        if columns[1].endswith(suffix) and columns[3] == _LISTENING
    ]


def _holds(fd_dir: Path, links: set[str]) -> bool:
    try:
        names = os.listdir(fd_dir)
    except OSError:  # another user's process, or one that has just ended
        return False
    for name in names:
        try:
            if os.readlink(fd_dir / name) in links:
                return True
        except OSError:  # closed meanwhile
            continue
    return False


def _command(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "gone"
