"""Which changes count."""

from itertools import permutations

import pytest

from serval.reload.rules import Rules

PLAIN = Rules()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (".git", "version control"),
        ("deep/down/.hg", "version control"),
        ("__pycache__", "cache"),
        ("front/node_modules", "packages of node"),
        ("lib/site-packages", "installed packages"),
        ("my.egg-info", "package metadata"),
        (".mypy_cache", "hidden"),
        ("app", ""),
        ("app/git", ""),
        ("venv", ""),
    ],
)
def test_some_directories_are_never_looked_into(path: str, reason: str) -> None:
    assert PLAIN.ignores(path) == reason


def test_a_virtual_environment_is_known_by_its_mark_not_by_its_name() -> None:
    assert PLAIN.ignores_what_holds(["bin", "pyvenv.cfg"]) == "virtual environment"
    assert PLAIN.ignores_what_holds(["venv", "app.py"]) == ""


@pytest.mark.parametrize(
    ("rules", "path", "counts"),
    [
        (PLAIN, "app.py", True),
        (PLAIN, "deep/down/app.py", True),
        (PLAIN, "app.pyc", False),
        (PLAIN, "page.html", False),
        (Rules(include=("*.html",)), "templates/page.html", True),
        (Rules(include=("*.html",)), "app.py", True),
        (Rules(include=("conf/*",)), "conf/deep/x", True),
        (Rules(include=("conf/*",)), "other/conf/x", False),
        (Rules(exclude=("test_*.py",)), "tests/test_app.py", False),
        (Rules(exclude=("./tests/*",)), "tests/app.py", False),
        (Rules(include=("*.html",), exclude=("page.*",)), "page.html", False),
    ],
)
def test_a_file_counts_if_it_is_included_and_not_excluded(
    rules: Rules, path: str, counts: bool
) -> None:
    assert rules.counts(path) is counts


@pytest.mark.parametrize("exclude", ["media", "media/", "*dia", "./app/media"])
def test_a_directory_can_be_excluded(exclude: str) -> None:
    assert Rules(exclude=(exclude,)).ignores("app/media") == f"excluded by {exclude}"


def test_the_order_of_patterns_means_nothing() -> None:
    paths = ["a.py", "a.html", "b.html", "b.txt"]
    found = {
        tuple(Rules(include=order, exclude=("b.*",)).counts(path) for path in paths)
        for order in permutations(("*.html", "b.txt", "*.py"))
    }

    assert found == {(True, True, False, False)}
