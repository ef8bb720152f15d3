"""What a callable speaks, as far as its signature tells: ASGI 3, ASGI 2, WSGI, or a factory.

Nothing is called here.  The loader decides what to do about the answer.
"""

import functools
import inspect
from collections.abc import Callable
from enum import Enum
from inspect import Parameter
from typing import Final

_POSITIONAL: Final = {Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD}
_SCOPE_RECEIVE_SEND: Final = 3
_ENVIRON_START_RESPONSE: Final = 2


class Kind(Enum):
    """What an object is good for."""

    ASGI = "an ASGI application"
    ASGI2 = "an ASGI 2 application"
    WSGI = "a WSGI application"
    FACTORY = "a factory"
    OTHER = "a callable of another kind"
    NOTHING = "not callable"


def kind_of(target: object) -> Kind:
    """What an object speaks.  Where the signature leaves it open, ASGI is assumed."""
    if not callable(target):
        return Kind.NOTHING
    if inspect.isclass(_unwrapped(target)):
        return _kind_of_class(target)
    if is_async(target):
        return Kind.ASGI if _takes(target, _SCOPE_RECEIVE_SEND) is not False else Kind.OTHER
    return _kind_by_parameters(target)


def is_async(target: object) -> bool:
    """Whether a call of it gives a coroutine."""
    return inspect.iscoroutinefunction(_called(target))


def _kind_by_parameters(target: Callable[..., object]) -> Kind:
    """The kind of a callable that is no coroutine function, and so may hide one."""
    names = _required(target)
    if names is None or _takes(target, _SCOPE_RECEIVE_SEND):
        return Kind.ASGI
    if len(names) == _ENVIRON_START_RESPONSE:
        return Kind.WSGI
    if names == ["scope"]:
        return Kind.ASGI2
    return Kind.OTHER if names else Kind.FACTORY


def _kind_of_class(target: Callable[..., object]) -> Kind:
    """The kind of a class, whose call makes an object."""
    cls = _unwrapped(target)
    call = getattr(cls, "__call__", None)  # noqa: B004 -- the instance's, not the metaclass's
    takes_instance_call = isinstance(call, type(_takes)) and len(_required(call) or ()) == 3
    names = _required(target)
    if names and len(names) == 1 and takes_instance_call:
        return Kind.ASGI2
    if _takes(target, _SCOPE_RECEIVE_SEND) and hasattr(cls, "__await__"):
        return Kind.ASGI
    if names and len(names) == _ENVIRON_START_RESPONSE and hasattr(cls, "__iter__"):
        return Kind.WSGI
    return Kind.OTHER if names is None or names else Kind.FACTORY


def _unwrapped(target: object) -> object:
    while isinstance(target, functools.partial):
        target = target.func
    return target


def _called(target: object) -> object:
    """The function that runs when the target is called."""
    target = _unwrapped(target)
    if inspect.isroutine(target):
        return target
    return getattr(type(target), "__call__", target)  # noqa: B004 -- what a call runs


def _required(target: Callable[..., object]) -> list[str] | None:
    """The names of the positional parameters without a default; None where they are unknown."""
    parameters = _parameters(target)
    if parameters is None:
        return None
    return [
        one.name for one in parameters if one.kind in _POSITIONAL and one.default is Parameter.empty
    ]


def _takes(target: Callable[..., object], count: int) -> bool | None:
    """Whether a call with so many positional arguments fits; None where that is unknown."""
    parameters = _parameters(target)
    if parameters is None:
        return None
    positional = [one for one in parameters if one.kind in _POSITIONAL]
    required = [one for one in positional if one.default is Parameter.empty]
    keyword_only = [
        one
        for one in parameters
        if one.kind is Parameter.KEYWORD_ONLY and one.default is Parameter.empty
    ]
    any_number = any(one.kind is Parameter.VAR_POSITIONAL for one in parameters)
    fits = len(required) <= count and (any_number or len(positional) >= count)
    return fits and not keyword_only


def _parameters(target: Callable[..., object]) -> list[Parameter] | None:
    try:
        return list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):  # it is built in, or hides its signature
        return None
