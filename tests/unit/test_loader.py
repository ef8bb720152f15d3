import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from serval.errors import LoadError
from serval.loader import LoadedApp, load

ASGI_APP = "async def app(scope, receive, send):\n    pass\n"
WSGI_APP = "def app(environ, start_response):\n    return []\n"


@pytest.fixture(autouse=True)
def own_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each test import modules of the same names anew, from a directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]
    importlib.invalidate_caches()


def write(**modules: str) -> None:
    """Modules of the current directory, by their paths in it."""
    for name, code in modules.items():
        path = Path(name + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)


def loaded(
    target: str,
    *,
    factory: bool = False,
    app_dir: str = "",
    interface: Literal["auto", "asgi", "wsgi"] = "auto",
) -> LoadedApp:
    return load(target, factory=factory, app_dir=app_dir, interface=interface)


def refusal(target: str, **settings: Any) -> str:
    with pytest.raises(LoadError) as refused:
        loaded(target, **settings)
    return str(refused.value)


# -- what loads --------------------------------------------------------------------------------


def test_an_asgi_application_is_recognised() -> None:
    write(main=ASGI_APP)

    found = loaded("main:app")

    assert found.interface == "asgi"
    assert found.app is sys.modules["main"].app
    assert found.description == "an ASGI application (main.app)"


def test_a_wsgi_application_is_recognised_and_said_to_be_served_by_threads() -> None:
    write(main=WSGI_APP)

    found = loaded("main:app")

    assert found.interface == "wsgi"
    assert found.description == "a WSGI application (main.app), served by threads"


def test_the_application_may_be_an_attribute_of_an_attribute() -> None:
    write(
        **{
            "shop/main": "class Container:\n    async def app(self, scope, receive, send): pass\n"
            "class Outer:\n    inner = Container()\nouter = Outer()\n"
        }
    )

    assert loaded("shop.main:outer.inner.app").interface == "asgi"


def test_modules_are_looked_for_in_the_app_dir_first() -> None:
    write(**{"src/json_lib": ASGI_APP})

    assert loaded("json_lib:app", app_dir="src").interface == "asgi"
    assert sys.path[0] == os.path.realpath("src")


def test_what_is_installed_is_loaded_though_the_current_directory_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    before = list(sys.path)

    assert load("serval.demo:app", factory=False, app_dir="", interface="auto").interface == "asgi"
    with pytest.raises(LoadError, match="no module named 'nowhere' was found"):
        load("nowhere:app", factory=False, app_dir="", interface="auto")
    assert sys.path == before


def test_loading_twice_puts_the_directory_on_the_path_once() -> None:
    write(main=ASGI_APP)

    loaded("main:app")
    loaded("main:app")

    assert sys.path.count(os.path.realpath(".")) == 1


def test_a_factory_is_called() -> None:
    write(main="class App:\n    async def __call__(self, scope, receive, send): pass\n")

    found = loaded("main:App", factory=True)

    assert found.description == "an ASGI application (main.App)"


def test_a_factory_may_take_what_it_likes_as_long_as_it_has_defaults() -> None:
    write(main=ASGI_APP + "def make(*args, debug=False, **kwargs): return app")

    assert loaded("main:make", factory=True).app is sys.modules["main"].app


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_an_interface_that_is_given_is_believed(interface: Literal["asgi", "wsgi"]) -> None:
    write(main="def app(x): pass")

    assert loaded("main:app", interface=interface).interface == interface


# -- the target --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("", "no application given"),
        ("main", "did you mean main:app"),
        ("main.py", "did you mean main:app"),
        ("src/main.py:api", "did you mean src.main:api"),
        ("main:", "is not of the form MODULE:ATTRIBUTE"),
        (":app", "is not of the form"),
        ("main:app()", "is not of the form"),
        ("a..b:app", "is not of the form"),
    ],
)
def test_a_target_of_another_form_is_refused_with_the_right_one(
    target: str, complaint: str
) -> None:
    assert complaint in refusal(target)


# -- the module is not there -------------------------------------------------------------------


def test_a_missing_module_is_told_with_the_places_that_were_searched(tmp_path: Path) -> None:
    told = refusal("nowhere_to_be_found:app")

    assert "no module named 'nowhere_to_be_found' was found\n" in told
    assert f"looked first in: {tmp_path}" in told
    assert "then in: " in told


def test_a_module_further_down_is_suggested_in_both_ways_to_reach_it() -> None:
    write(**{"src/storefront": ASGI_APP})

    told = refusal("storefront:app")

    assert "did you mean src.storefront:app" in told
    assert "--app-dir src" in told


def test_a_misspelt_module_is_suggested() -> None:
    write(storefront=ASGI_APP)

    assert "did you mean storefront:app" in refusal("storfront:app")


def test_a_missing_module_of_a_package_that_is_there_is_named_in_full() -> None:
    write(**{"shop/__init__": "", "shop/views": ASGI_APP})

    told = refusal("shop.view:app")

    assert "no module named 'shop.view' was found" in told
    assert "did you mean shop.views:app" in told


def test_an_attribute_written_as_a_module_is_recognised() -> None:
    write(main=ASGI_APP)

    told = refusal("main.app:app")

    assert "'main' is a module, not a package; did you mean main:app" in told


# -- the import raises -------------------------------------------------------------------------


def test_an_import_that_raises_is_told_with_the_traceback_of_the_user_alone() -> None:
    write(main="def broken():\n    raise RuntimeError('no settings')\nbroken()\n")

    told = refusal("main:app")

    assert told.startswith("importing 'main' raised RuntimeError\nTraceback")
    assert told.endswith("RuntimeError: no settings")
    assert 'main.py", line 2, in broken' in told
    assert "importlib" not in told
    assert "loader.py" not in told


def test_a_dependency_that_is_not_installed_is_told_from_a_missing_application() -> None:
    write(main="import surely_not_installed.core\n")

    told = refusal("main:app")

    assert "'main' was found, but 'surely_not_installed', which it imports, was not" in told
    assert "is the distribution that has 'surely_not_installed' installed for " in told
    assert 'main.py", line 1' in told


def test_a_dependency_that_is_a_module_of_the_application_elsewhere_is_pointed_out() -> None:
    write(**{"main": "import warehouse\n", "lib/warehouse": ""})

    assert "there is a 'lib.warehouse' in " in refusal("main:app")


def test_a_module_that_imports_a_missing_module_of_its_own_name_is_not_taken_for_missing() -> None:
    write(main="import main.settings\n")

    told = refusal("main:app")

    assert "'main' was found, but 'main.settings'" in told


def test_a_circular_import_shows_the_real_error() -> None:
    write(main="import orders\n", orders="from main import app\n")

    told = refusal("main:app")

    assert told.startswith("importing 'main' went in a circle\n")
    assert "cannot import name 'app' from partially initialized module 'main'" in told
    assert 'orders.py", line 1' in told


def test_a_syntax_error_shows_the_line() -> None:
    write(main="def app(:\n")

    told = refusal("main:app")

    assert "importing 'main' raised SyntaxError" in told
    assert "def app(:" in told


def test_an_attribute_error_inside_the_import_is_not_taken_for_a_missing_attribute() -> None:
    write(main="import os\nos.does_not_exist\n")

    told = refusal("main:app")

    assert "importing 'main' raised AttributeError" in told
    assert 'main.py", line 2' in told


def test_a_script_that_exits_is_told_as_such() -> None:
    write(main="import sys\nsys.exit(3)\n")

    assert "importing 'main' called sys.exit(3), as a script does" in refusal("main:app")


def test_the_causes_of_an_error_are_shown() -> None:
    write(main="try:\n    {}['key']\nexcept KeyError as e:\n    raise ValueError('outer') from e\n")

    told = refusal("main:app")

    assert "KeyError: 'key'" in told
    assert "The above exception was the direct cause" in told
    assert "loader.py" not in told


def test_what_is_no_error_comes_through() -> None:
    write(main="raise KeyboardInterrupt\n")

    with pytest.raises(KeyboardInterrupt):
        loaded("main:app")


# -- the attribute is not there ----------------------------------------------------------------


def test_a_missing_attribute_is_told_with_what_looks_like_an_application() -> None:
    write(
        main="import json\nfrom functools import partial\n"
        "class Api:\n    async def __call__(self, scope, receive, send): pass\n"
        "api = Api()\nasync def other(scope, receive, send): pass\nlimit = 3\n"
    )

    told = refusal("main:app")

    assert "module 'main' (" in told
    assert "has no attribute 'app'; what looks like an application there: " in told
    assert told.endswith("main:api, main:other")


def test_a_missing_attribute_beside_a_factory_suggests_the_factory() -> None:
    write(main="def create_app(): pass\n")

    assert refusal("main:app").endswith("did you mean main:create_app --factory")


def test_a_misspelt_attribute_that_is_no_application_is_suggested_all_the_same() -> None:
    write(main="class Holder: pass\nholder = Holder()\n")

    assert refusal("main:holdr").endswith("did you mean holder or Holder")
    assert refusal("main:holder.app").endswith("main:holder has no attribute 'app'")


def test_a_module_with_nothing_to_serve_is_told_so() -> None:
    write(main="")

    assert refusal("main:app").endswith("nothing in it looks like an application")


def test_a_module_getattr_may_say_that_there_is_no_such_attribute() -> None:
    write(main="def __getattr__(name):\n    raise AttributeError(name)\n" + ASGI_APP)

    assert refusal("main:api").endswith("what looks like an application there: main:app")


@pytest.mark.parametrize("error", ["AttributeError('inner')", "ValueError('inner')"])
def test_an_error_inside_a_property_is_shown_and_not_swallowed(error: str) -> None:
    write(
        main="class Holder:\n    @property\n    def app(self):\n"
        f"        raise {error}\nholder = Holder()\n"
    )

    told = refusal("main:holder.app")

    assert told.startswith("reading main:holder.app raised\nTraceback")
    assert "in app" in told


# -- the attribute is no application -----------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("app = 3", "main:app is not callable; it is of type int"),
        ("import json as app", "main:app is not callable; it is the module 'json'"),
        ("class App: pass\napp = App()", "main:app is not callable; it is of type main.App"),
        ("def app(): pass", "looks like a factory; if it makes the application, add --factory"),
        ("class app: pass", "looks like a factory"),
        ("def app(config): pass", "the function app(config), which takes neither (scope, receive"),
        ("async def app(): pass", "the function app(), which takes neither"),
        ("class app:\n    def __init__(self, config): pass", "the class app, which takes neither"),
    ],
)
def test_what_is_no_application_is_refused_with_what_it_is(code: str, complaint: str) -> None:
    write(main=code)

    assert complaint in refusal("main:app")


def test_a_package_in_place_of_the_application_in_it_is_recognised() -> None:
    write(**{"shop/__init__": "from shop import app\n", "shop/app": ASGI_APP})

    told = refusal("shop:app")

    assert "it is the module 'shop.app'; did you mean shop.app:app" in told


@pytest.mark.parametrize(
    "code",
    [
        "def app(scope):\n    return None\n",
        "class app:\n    def __init__(self, scope): pass\n    async def __call__(self, r, s): pass",
    ],
)
def test_asgi_2_is_refused_with_the_remedy(code: str) -> None:
    write(main=code)

    told = refusal("main:app")

    assert "is an ASGI 2 application" in told
    assert "app = guarantee_single_callable(app)" in told


# -- factories ---------------------------------------------------------------------------------


def test_a_factory_that_raises_is_told_with_its_traceback() -> None:
    write(main="def make():\n    raise TypeError('no database')\n")

    told = refusal("main:make", factory=True)

    assert told.startswith("the factory main:make raised TypeError\nTraceback")
    assert 'main.py", line 2, in make' in told
    assert "loader.py" not in told


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("def make(config): pass", "the factory main:make cannot be called without arguments"),
        ("make = 3", "main:make is not callable, so it is no factory; it is of type int"),
        ("async def make(): pass", "main:make is an async function; a factory is called before"),
        (
            "async def make(scope, receive, send): pass",
            "main:make is an application already; leave out --factory",
        ),
        ("def make(): return None", "what the factory main:make made is not callable"),
        ("def make(): return make", "what the factory main:make made takes no arguments"),
        ("import sys\ndef make(): sys.exit(1)", "the factory main:make raised SystemExit"),
        (
            "async def inner(): pass\ndef make(): return inner()",
            "it is of type coroutine; an async factory cannot be used",
        ),
    ],
)
def test_a_factory_that_is_none_is_refused(code: str, complaint: str) -> None:
    write(main=code)

    assert complaint in refusal("main:make", factory=True)
