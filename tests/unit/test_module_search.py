from pathlib import Path

import pytest

from serval.module_search import module_of_path, similar_modules


def grow(directory: Path, *files: str) -> None:
    for name in files:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_module_of_the_same_name_further_down_is_found(tmp_path: Path) -> None:
    grow(tmp_path, "src/main.py", "other.py")

    assert similar_modules("main", tmp_path) == ["src.main"]


def test_a_misspelt_module_is_found(tmp_path: Path) -> None:
    grow(tmp_path, "application.py", "shop/views.py")

    assert similar_modules("aplication", tmp_path) == ["application"]
    assert similar_modules("shop.vews", tmp_path) == ["shop.views"]


def test_a_package_is_found_by_its_name(tmp_path: Path) -> None:
    grow(tmp_path, "backend/shop/__init__.py")

    assert similar_modules("shop", tmp_path) == ["backend.shop"]


@pytest.mark.parametrize(
    "name", ["node_modules/main.py", ".git/main.py", "a/b/c/d/e/main.py", "venv/main.py"]
)
def test_where_no_code_of_the_application_can_be_nothing_is_looked_for(
    name: str, tmp_path: Path
) -> None:
    grow(tmp_path, name)

    assert similar_modules("main", tmp_path) == []


def test_at_most_the_wanted_number_is_returned(tmp_path: Path) -> None:
    grow(tmp_path, *(f"p{n}/main.py" for n in range(9)))

    assert len(similar_modules("main", tmp_path)) == 3


def test_a_directory_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    assert similar_modules("main", tmp_path / "missing") == []


def test_the_search_ends_in_a_forest_of_directories(tmp_path: Path) -> None:
    grow(tmp_path, *(f"a{n:04}/x.py" for n in range(600)), "zz/main.py")

    assert similar_modules("main", tmp_path) == []


@pytest.mark.parametrize(
    ("path", "module"),
    [("src/main.py", "src.main"), ("./main.py", "main"), ("a\\b.py", "a.b"), ("/x/y", "x.y")],
)
def test_a_path_is_turned_into_the_module_it_means(path: str, module: str) -> None:
    assert module_of_path(path) == module
