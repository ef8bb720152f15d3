import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from serval.worker.descriptors import ROOM_COUNT, make_room

SHOW = """
from serval.worker.descriptors import make_room
make_room()
print(open("/proc/self/status").read())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="proc(5) tells the size")
def test_the_table_is_as_large_as_it_will_be() -> None:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ROOM_COUNT if limit == resource.RLIM_INFINITY else min(limit, ROOM_COUNT)

    status = subprocess.run(  # a table of its own, in a process without threads
        [sys.executable, "-c", SHOW], capture_output=True, text=True, check=True
    ).stdout

    size = re.search(r"^FDSize:\s+(\d+)$", status, re.MULTILINE)
    assert size is not None
    assert int(size[1]) >= wanted


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="/dev/fd lists them")
def test_no_descriptor_is_left() -> None:
    before = os.listdir("/dev/fd")

    make_room()

    assert os.listdir("/dev/fd") == before


def test_where_there_is_no_room_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, 0))

    make_room()  # beyond the limit, perhaps
