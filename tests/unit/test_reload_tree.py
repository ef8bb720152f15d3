"""What there is to watch."""

import os
from pathlib import Path

import pytest

from serval.reload.rules import Rules
from serval.reload.tree import explained, survey


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in (
        "app.py",
        "page.html",
        "app/views.py",
        "app/__pycache__/views.pyc",
        ".git/config.py",
        "env/pyvenv.cfg",
        "env/lib/x.py",
        "node_modules/x/setup.py",
        "media/x.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return tmp_path


def test_what_counts_is_found_and_the_rest_left_out(project: Path) -> None:
    found = survey([str(project)], Rules(exclude=("media",)))

    assert [os.path.relpath(path, project) for path in sorted(found.files)] == [
        "app.py",
        "app/views.py",
    ]
    assert sorted(one.relative for one in found.directories) == ["", "app"]
    assert {os.path.relpath(path, project): why for path, why in found.ignored} == {
        ".git": "version control",
        "app/__pycache__": "cache",
        "env": "virtual environment",
        "media": "excluded by media",
        "node_modules": "packages of node",
    }


def test_a_directory_that_is_named_is_looked_into_whatever_it_is(project: Path) -> None:
    found = survey([str(project / "node_modules"), str(project / "node_modules")], Rules())

    assert [os.path.basename(path) for path in found.files] == ["setup.py"]


def test_links_are_not_followed(project: Path) -> None:
    (project / "app" / "loop").symlink_to(project)

    found = survey([str(project)], Rules())

    assert [one.relative for one in found.directories] == ["", "app", "media"]


def test_a_directory_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert survey([str(tmp_path / "gone")], Rules()).files == []


def test_it_can_be_explained(project: Path) -> None:
    rules = Rules(include=("*.html",), exclude=("media",))

    lines = list(explained(survey([str(project)], rules), rules))

    assert lines[0] == "watched: 3 files like *.py, *.html in 2 directories"
    assert lines[1] == f"  {project} and 1 directories in it"
    assert "not watched: files like media" in lines
    assert f"  {project}/env: virtual environment" in lines
