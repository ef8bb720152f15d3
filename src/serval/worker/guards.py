"""What stands between connections and an application, where the configuration asks for it."""

from typing import Final

from serval.asgi.types import ASGIApp
from serval.errors import ConfigError
from serval.worker.admission import Admission
from serval.worker.request_timeout import RequestTimeout
from serval.worker.service import Service

_TIMEOUTS: Final = ("timeout_request", "timeout_response_idle")
_LIMITS: Final = ("limit_concurrency", "limit_websockets")


def guarded(app: ASGIApp, service: Service) -> ASGIApp:
    """The application with what limits it; the application itself where nothing does."""
    app = in_time(app, service)
    if any(getattr(service.config, name) for name in _LIMITS):
        app = Admission(app, service)
    return app


def in_time(app: ASGIApp, service: Service) -> ASGIApp:
    """The application with what limits its time, for one loop of several."""
    if any(getattr(service.config, name) for name in _TIMEOUTS):
        return RequestTimeout(app, service)
    return app


def refuse_guards(service: Service, interface: str) -> None:
    """Where threads run the application, their number is the limit, and a thread can't be stopped.

    Raises:
        ConfigError: What they cannot honour is asked for all the same.
    """
    config = service.config
    if config.limit_concurrency:
        raise ConfigError(
            "limit_concurrency is for applications on the event loop; of threads, threads says how "
            "many requests run at once"
        )
    if interface == "wsgi":
        for name in ("timeout_response_idle", "limit_websockets"):
            if getattr(config, name):
                raise ConfigError(f"{name} is for ASGI applications, and this one speaks WSGI")
