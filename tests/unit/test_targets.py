"""Targets in other forms than the usual one."""

import pytest

from serval.protocols.targets import origin_form


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"http://host/a/b", b"/a/b"),
        (b"https://host:1/", b"/"),
        (b"http://host", b"/"),
        (b"http://host/a://b", b"/a://b"),
        (b"*", b"*"),
    ],
)
def test_the_path_of_a_target(target: bytes, path: bytes) -> None:
    assert origin_form(target) == path
