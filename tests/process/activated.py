"""Runs a module as a service manager would: `python -m process.activated FD MODULE ARGUMENT...`.

The socket FD becomes descriptor 3, which is where sd_listen_fds(3) looks for it.
"""

import os
import sys

FIRST_FD = 3

given, *command = sys.argv[1:]
os.dup2(int(given), FIRST_FD, inheritable=True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"}
os.execv(sys.executable, [sys.executable, "-m", *command])  # noqa: S606 -- there is no shell in this
