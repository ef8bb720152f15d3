"""What stands between connections and an application."""

import asyncio
from typing import Any

import pytest

from serval.asgi.types import Receive, Scope, Send
from serval.config import ServerConfig
from serval.errors import ConfigError
from serval.worker.admission import Admission
from serval.worker.guards import guarded, refuse_guards
from serval.worker.request_timeout import RequestTimeout
from serval.worker.service import Service


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Do nothing."""


def service_with(**settings: Any) -> Service:
    async def make() -> Service:
        return Service(app, ServerConfig(**settings), asyncio.get_running_loop())

    return asyncio.run(make())


def test_an_application_without_limits_stays_as_it_is() -> None:
    assert guarded(app, service_with()) is app


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"timeout_request": 1.0}, RequestTimeout),
        ({"timeout_response_idle": 1.0}, RequestTimeout),
        ({"limit_concurrency": 1}, Admission),
        ({"limit_websockets": 1}, Admission),
        ({"limit_concurrency": 1, "timeout_request": 1.0}, Admission),
    ],
)
def test_each_limit_has_its_guard(settings: dict[str, Any], kind: type) -> None:
    assert type(guarded(app, service_with(**settings))) is kind


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_threads_are_the_limit_where_there_are_threads(interface: str) -> None:
    refuse_guards(service_with(timeout_request=1.0), interface)
    with pytest.raises(
        ConfigError, match="limit_concurrency is for applications on the event loop"
    ):
        refuse_guards(service_with(limit_concurrency=1), interface)


@pytest.mark.parametrize("name", ["timeout_response_idle", "limit_websockets"])
def test_what_wsgi_does_not_know_has_no_limit(name: str) -> None:
    refuse_guards(service_with(**{name: 1}), "asgi")
    with pytest.raises(ConfigError, match=f"{name} is for ASGI applications"):
        refuse_guards(service_with(**{name: 1}), "wsgi")
