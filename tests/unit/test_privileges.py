import json
import os
import pwd
from collections.abc import Callable

import pytest

from serval.errors import ConfigError
from serval.privileges import NOBODY_ELSE, Identity, group_id, identity_of, user_id

ME = pwd.getpwuid(os.getuid())
NOBODY = pwd.getpwnam("nobody")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
needs_no_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may become anybody")
forking = pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")


def in_child(look: Callable[[], object]) -> object:
    """What a function sees in a forked process."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, json.dumps(look()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        text = answers.read()
    os.waitpid(pid, 0)
    return json.loads(text)


def test_where_nobody_is_named_everybody_stays() -> None:
    assert identity_of("", "") is NOBODY_ELSE


def test_a_user_is_known_by_name_and_by_number() -> None:
    assert user_id(ME.pw_name) == user_id(str(ME.pw_uid)) == ME.pw_uid
    assert user_id("") == -1


def test_a_group_is_known_by_name_and_by_number() -> None:
    assert group_id("daemon") == group_id("1") == 1
    assert group_id("") == -1


def test_numbers_need_no_entry() -> None:
    assert (user_id("54321"), group_id("54321")) == (54321, 54321)


@pytest.mark.parametrize("find", [user_id, group_id])
def test_an_unknown_name_is_told(find: Callable[[str], int]) -> None:
    with pytest.raises(ConfigError, match=r"there is no (user|group) 'no-such-name'"):
        find("no-such-name")


def test_a_user_comes_with_group_groups_and_home() -> None:
    found = identity_of(ME.pw_name, "")

    assert (found.uid, found.gid) == (ME.pw_uid, ME.pw_gid)
    assert ME.pw_gid in found.groups
    assert dict(found.environ) == {
        "HOME": ME.pw_dir,
        "USER": ME.pw_name,
        "LOGNAME": ME.pw_name,
    }


@needs_root
def test_a_user_without_an_entry_needs_a_group() -> None:
    with pytest.raises(ConfigError, match="in no database, so that its group must be given"):
        identity_of("54321", "")

    assert identity_of("54321", "54322") == Identity(uid=54321, gid=54322, groups=(54322,))


@needs_no_root
def test_only_root_becomes_somebody_else() -> None:
    with pytest.raises(ConfigError, match="user 'root' cannot be assumed: only root can"):
        identity_of("root", "")


@forking
def test_to_become_oneself_is_always_possible() -> None:
    identity = identity_of(ME.pw_name, "")

    def look() -> object:
        identity.assume()
        return [*os.getresuid(), os.environ["USER"]]

    assert in_child(look) == [ME.pw_uid] * 3 + [ME.pw_name]


@needs_root
@forking
def test_becoming_a_user_is_for_good() -> None:
    identity = identity_of("nobody", "")

    def look() -> object:
        identity.assume()
        try:
            os.setuid(0)
        except PermissionError:
            return [os.getresuid(), os.getresgid(), os.getgroups(), os.environ["HOME"]]
        return "root again"

    assert in_child(look) == [
        [NOBODY.pw_uid] * 3,
        [NOBODY.pw_gid] * 3,
        [NOBODY.pw_gid],
        NOBODY.pw_dir,
    ]


@needs_root
@forking
def test_a_group_alone_leaves_the_user() -> None:
    identity = identity_of("", "daemon")

    def look() -> object:
        identity.assume()
        return [os.getresuid(), os.getresgid(), os.getgroups()]

    assert in_child(look) == [[0, 0, 0], [1, 1, 1], [1]]
