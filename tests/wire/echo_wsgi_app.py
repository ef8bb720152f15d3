"""The same as `echo_app` over WSGI, without the fields, whose names and repetitions it loses."""

import json
from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    seen = {
        "method": environ["REQUEST_METHOD"],
        "version": environ["SERVER_PROTOCOL"].removeprefix("HTTP/"),
        "body": body.decode("latin-1"),
    }
    answer = json.dumps(seen).encode()
    start("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
