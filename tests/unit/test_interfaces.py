import functools
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any

import pytest

from serval.interfaces import Kind, kind_of


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def asgi_plain(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
    return asgi(scope, receive, send)


@functools.wraps(asgi)
def asgi_wrapped(*args: Any, **kwargs: Any) -> Awaitable[None]:
    return asgi(*args, **kwargs)


def anything(*args: Any, **kwargs: Any) -> None: ...


async def asgi_with_more(scope: Any, receive: Any, send: Any, prefix: str = "") -> None: ...


class AsgiObject:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def method(self, scope: Any, receive: Any, send: Any) -> None: ...


class AsgiEndpoint:
    def __init__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def __await__(self) -> Generator[None, None, None]:
        yield


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    return []


class WsgiObject:
    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        return []


class WsgiClass:
    def __init__(self, environ: Any, start_response: Any) -> None: ...

    def __iter__(self) -> Iterator[bytes]:
        yield b""


def asgi2(scope: Any) -> Callable[[Any, Any], None]:
    return lambda receive, send: None


class Asgi2Class:
    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


def factory() -> AsgiObject:
    return AsgiObject()


def factory_with_settings(settings: str = "production", *, debug: bool = False) -> AsgiObject:
    return AsgiObject()


def takes_one(settings: Any) -> None: ...


async def async_factory() -> AsgiObject:
    return AsgiObject()


async def needs_a_keyword(scope: Any, receive: Any, send: Any, *, prefix: str) -> None: ...


class NeedsSettings:
    def __init__(self, settings: Any) -> None: ...


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        (asgi, Kind.ASGI),
        (asgi_plain, Kind.ASGI),
        (asgi_wrapped, Kind.ASGI),
        (asgi_with_more, Kind.ASGI),
        (anything, Kind.ASGI),
        (AsgiObject(), Kind.ASGI),
        (AsgiObject().method, Kind.ASGI),
        (AsgiEndpoint, Kind.ASGI),
        (functools.partial(asgi_with_more, prefix="/api"), Kind.ASGI),
        (functools.partial(functools.partial(needs_a_keyword, prefix="/")), Kind.ASGI),
        (dict.fromkeys, Kind.OTHER),
        (wsgi, Kind.WSGI),
        (WsgiObject(), Kind.WSGI),
        (WsgiClass, Kind.WSGI),
        (asgi2, Kind.ASGI2),
        (Asgi2Class, Kind.ASGI2),
        (factory, Kind.FACTORY),
        (factory_with_settings, Kind.FACTORY),
        (AsgiObject, Kind.FACTORY),
        (takes_one, Kind.OTHER),
        (async_factory, Kind.OTHER),
        (needs_a_keyword, Kind.OTHER),
        (NeedsSettings, Kind.OTHER),
        ("main:app", Kind.NOTHING),
        (None, Kind.NOTHING),
    ],
)
def test_the_signature_tells_what_a_callable_speaks(target: object, kind: Kind) -> None:
    assert kind_of(target) is kind


def test_a_callable_that_hides_its_signature_is_taken_for_asgi() -> None:
    class Opaque:
        __signature__ = "none of yours"

        def __call__(self, *args: Any) -> None: ...

    class AsyncOpaque:
        __signature__ = "none of yours"

        async def __call__(self, *args: Any) -> None: ...

    assert kind_of(Opaque()) is Kind.ASGI
    assert kind_of(AsyncOpaque()) is Kind.ASGI


def test_nothing_is_called_for_an_answer() -> None:
    class Trap:
        def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            raise AssertionError("called")

    assert kind_of(Trap()) is Kind.ASGI
