"""From MODULE:ATTRIBUTE to an application and what it speaks, or an error that says what to mend.

Called by a worker before it serves, by the supervisor under preload, and by `--check`.  The user's
code runs in here, so whatever it raises is told from its own first frame on.
"""

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal, NoReturn, TypeAlias

from serval.errors import LoadError
from serval.interfaces import Kind, is_async, kind_of
from serval.module_search import module_of_path, similar_modules
from serval.options import near
from serval.tracebacks import user_frames, user_traceback

Interface: TypeAlias = Literal["asgi", "wsgi"]

_MOST_CANDIDATES: Final = 5
_SYS_PATH_SHOWN: Final = 4


@dataclass(frozen=True, slots=True)
class LoadedApp:
    """An application, ready to be called.

    Attributes:
        app: The ASGI or WSGI callable.
        interface: What it speaks.
    """

    app: Any
    interface: Interface

    @property
    def description(self) -> str:
        """What was found, for people: `an ASGI application (starlette.applications.Starlette)`."""
        found = self.app if inspect.isroutine(self.app) else type(self.app)
        name = f"{found.__module__}.{found.__qualname__}"
        if self.interface == "wsgi":
            return f"a WSGI application ({name}), served by threads"
        return f"an ASGI application ({name})"


def load(
    target: str, *, factory: bool, app_dir: str | None, interface: Literal["auto", "asgi", "wsgi"]
) -> LoadedApp:
    """Import the module, find the attribute and see what it speaks.

    Puts `app_dir` at the head of `sys.path`.  Whatever is not an error, a KeyboardInterrupt for
    one, comes through.

    Args:
        target: Such as `package.module:app` or `module:container.app`.
        factory: The attribute is to be called, without arguments, and gives the application.
        app_dir: Where modules are looked for first; "" for the current directory, None to leave
            `sys.path` as it is.
        interface: What the application speaks; "auto" to look at it.

    Raises:
        LoadError: The text says which step has failed and how to mend it.
    """
    module_name, attribute = _split(target)
    first = sys.path[0] if app_dir is None and sys.path else app_dir
    try:
        directory = Path(first or os.curdir).resolve()
    except OSError:  # the current directory was removed; what is installed is found all the same
        directory = Path(first or os.curdir)
    else:
        if app_dir is not None and str(directory) not in sys.path[:1]:
            sys.path.insert(0, str(directory))
    importlib.invalidate_caches()
    module = _imported(module_name, target, directory)
    found = _attribute_of(module, attribute, target)
    return recognise(found, target, factory=factory, interface=interface)


def recognise(
    found: object, target: str, *, factory: bool, interface: Literal["auto", "asgi", "wsgi"]
) -> LoadedApp:
    """See what an object speaks, or what it makes.

    Args:
        found: The application, or with `factory` what makes it.
        target: How it was named, for messages.

    Raises:
        LoadError: As of `load`.
    """
    if factory:
        found = _made_by(found, target)
    return LoadedApp(found, _interface_of(found, target, interface, made=factory))


def _split(target: str) -> tuple[str, str]:
    module_name, colon, attribute = target.partition(":")
    if not target:
        raise LoadError("no application given; name one as MODULE:ATTRIBUTE, such as main:app")
    if "/" in module_name or "\\" in module_name or module_name.endswith(".py"):
        raise LoadError(
            f"{target!r} names a file where a module belongs; did you mean"
            f" {module_of_path(module_name)}:{attribute or 'app'}"
        )
    if not colon:
        raise LoadError(
            f"{target!r} does not say which attribute of the module is the application; did you"
            f" mean {target}:app"
        )
    parts = [*module_name.split("."), *attribute.split(".")]
    if not all(part.isidentifier() for part in parts):
        raise LoadError(
            f"{target!r} is not of the form MODULE:ATTRIBUTE, such as main:app or pkg.main:app"
        )
    return module_name, attribute


# -- the module --------------------------------------------------------------------------------


def _imported(name: str, target: str, directory: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        missing = exc.name or ""
        if not user_frames(exc) and (missing == name or name.startswith(f"{missing}.")):
            raise LoadError(_not_found(name, missing, target, directory)) from exc
        raise LoadError(_import_raised(name, exc, directory)) from exc
    except (Exception, SystemExit) as exc:
        raise LoadError(_import_raised(name, exc, directory)) from exc


def _not_found(name: str, missing: str, target: str, directory: Path) -> str:
    attribute = target.partition(":")[2]
    parent = missing.rpartition(".")[0]
    if parent and parent in sys.modules and not hasattr(sys.modules[parent], "__path__"):
        return (
            f"cannot import {name!r}: {parent!r} is a module, not a package; did you mean"
            f" {parent}:{name.removeprefix(parent + '.')}"
        )
    similar = similar_modules(name, directory)
    lines = [f"cannot import {name!r}: no module named {missing!r} was found"]
    if similar:
        lines[0] += "; did you mean " + " or ".join(f"{one}:{attribute}" for one in similar)
        package, _, module = similar[0].rpartition(".")
        if package and module == name:
            lines.append(f"  or, if {package} is no package: --app-dir {package.replace('.', '/')}")
    lines.append(f"  looked first in: {directory}")
    others = [path for path in sys.path[1:] if path != str(directory)][:_SYS_PATH_SHOWN]
    lines.append(f"  then in: {', '.join(others)}, ...")
    return "\n".join(lines)


def _import_raised(name: str, error: BaseException, directory: Path) -> str:
    why = f"importing {name!r} raised {type(error).__name__}"
    if isinstance(error, SystemExit):
        why = f"importing {name!r} called sys.exit({error.code!r}), as a script does"
    elif isinstance(error, ModuleNotFoundError) and error.name:
        root = error.name.partition(".")[0]
        why = f"{name!r} was found, but {error.name!r}, which it imports, was not"
        if similar := similar_modules(error.name, directory, limit_count=1):
            why += f"; there is a {similar[0]!r} in {directory}"
        else:
            why += f"; is the distribution that has {root!r} installed for {sys.executable}?"
    elif isinstance(error, ImportError) and "circular import" in str(error):
        why = f"importing {name!r} went in a circle"
    return f"{why}\n{user_traceback(error)}"


# -- the attribute -----------------------------------------------------------------------------


def _attribute_of(module: ModuleType, attribute: str, target: str) -> object:
    found: object = module
    path = module.__name__
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as exc:
            frames = user_frames(exc)
            # A module or a class may say itself that it has no such attribute (PEP 562).
            if frames and frames[-1].name != "__getattr__":
                raise LoadError(f"reading {target} raised\n{user_traceback(exc)}") from exc
            raise LoadError(_no_attribute(found, part, path, module)) from exc
        except (Exception, SystemExit) as exc:
            raise LoadError(f"reading {target} raised\n{user_traceback(exc)}") from exc
        path = f"{path}.{part}" if path != module.__name__ else f"{path}:{part}"
    return found


def _no_attribute(owner: object, part: str, path: str, module: ModuleType) -> str:
    where = f"module {path!r} ({module.__file__})" if owner is module else path
    message = f"{where} has no attribute {part!r}"
    names = [name for name in vars(module) if not name.startswith("_")]
    if owner is not module:
        return message + near(part, [name for name in dir(owner) if not name.startswith("_")])
    kinds = {name: kind_of(getattr(module, name)) for name in names if _is_own(module, name)}
    serving = [name for name, kind in kinds.items() if kind in {Kind.ASGI, Kind.WSGI}]
    making = [name for name, kind in kinds.items() if kind is Kind.FACTORY and _sounds_made(name)]
    if serving:
        told = ", ".join(f"{path}:{name}" for name in serving[:_MOST_CANDIDATES])
        return f"{message}; what looks like an application there: {told}"
    if making:
        told = " or ".join(f"{path}:{name} --factory" for name in making[:_MOST_CANDIDATES])
        return f"{message}; did you mean {told}"
    return message + (near(part, names) or "; nothing in it looks like an application")


def _is_own(module: ModuleType, name: str) -> bool:
    """Whether a name is of the module's own making, as an application is, and no import."""
    value = vars(module)[name]
    if isinstance(value, ModuleType):
        return False
    if inspect.isclass(value) or inspect.isroutine(value):
        return getattr(value, "__module__", None) == module.__name__
    return callable(value)


def _sounds_made(name: str) -> bool:
    return any(word in name.lower() for word in ("app", "create", "make", "factory", "build"))


# -- the application ---------------------------------------------------------------------------


def _made_by(factory: object, target: str) -> object:
    if not callable(factory):
        raise LoadError(f"{target} is not callable, so it is no factory; it is {_shown(factory)}")
    if is_async(factory):
        if kind_of(factory) is Kind.ASGI:
            raise LoadError(f"{target} is an application already; leave out --factory")
        raise LoadError(
            f"{target} is an async function; a factory is called before any event loop runs and"
            " must be a plain one"
        )
    try:
        return _call(factory)
    except (Exception, SystemExit) as exc:
        if isinstance(exc, TypeError) and not user_frames(exc):
            raise LoadError(
                f"the factory {target} cannot be called without arguments: {exc}"
            ) from exc
        raise LoadError(
            f"the factory {target} raised {type(exc).__name__}\n{user_traceback(exc)}"
        ) from exc


def _call(factory: Callable[[], object]) -> object:
    return factory()


def _interface_of(
    found: object, target: str, wanted: Literal["auto", "asgi", "wsgi"], *, made: bool
) -> Interface:
    kind = kind_of(found)
    what = f"what the factory {target} made" if made else target
    if kind is Kind.NOTHING:
        _refuse_what_is_not_callable(found, what)
    if wanted != "auto":
        return wanted
    match kind:
        case Kind.ASGI:
            return "asgi"
        case Kind.WSGI:
            return "wsgi"
        case Kind.ASGI2:
            raise LoadError(
                f"{what} is an ASGI 2 application (scope first, then receive and send), which we"
                " do not serve; wrap it: from asgiref.compatibility import"
                " guarantee_single_callable; app = guarantee_single_callable(app)"
            )
        case Kind.FACTORY:
            raise LoadError(
                f"{what} takes no arguments, so it looks like a factory; if it makes the"
                " application, add --factory"
            )
        case Kind.OTHER:
            raise LoadError(
                f"{what} is {_shown(found)}, which takes neither (scope, receive, send), as ASGI"
                " has it, nor (environ, start_response), as WSGI has it; if it is an application"
                " all the same, say so with --interface asgi or wsgi"
            )


def _refuse_what_is_not_callable(found: object, what: str) -> NoReturn:
    message = f"{what} is not callable; it is {_shown(found)}"
    if isinstance(found, ModuleType):
        names = [n for n in vars(found) if kind_of(getattr(found, n)) in {Kind.ASGI, Kind.WSGI}]
        own = [name for name in names if _is_own(found, name)]
        if own:
            message += f"; did you mean {found.__name__}:{own[0]}"
    elif inspect.iscoroutine(found):
        found.close()
        message += "; an async factory cannot be used"
    raise LoadError(message)


def _shown(value: object) -> str:
    if isinstance(value, ModuleType):
        return f"the module {value.__name__!r}"
    if inspect.isclass(value):
        return f"the class {value.__qualname__}"
    if inspect.isroutine(value):
        try:
            return f"the function {value.__qualname__}{inspect.signature(value)}"
        except (TypeError, ValueError):
            return f"the function {value.__qualname__}"
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"of type {module}{kind.__qualname__}"
