"""The application of the work over WSGI."""

from collections.abc import Callable
from typing import Any

HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "13")]


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    """Say hello."""
    start_response("200 OK", HEADERS)
    return [b"Hello, World!"]
