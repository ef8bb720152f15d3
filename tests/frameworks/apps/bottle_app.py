"""The common routes of the WSGI frameworks, in Bottle."""

# mypy: disable-error-code="import-untyped"
# Bottle ships no types: what is imported from it is Any.

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bottle import Bottle, redirect, request, response, static_file

from frameworks.apps.meeting import meet

app = Bottle()


def hello(name: str) -> dict[str, Any]:
    parts = request.urlparts
    return {"name": name, "q": request.query.getunicode("q"), "scheme": parts.scheme}


def echo() -> str:
    return hashlib.sha256(request.body.read()).hexdigest()


def upload() -> dict[str, Any]:
    content = request.files["file"].file.read()
    return {"name": request.forms["name"], "sha256": hashlib.sha256(content).hexdigest()}


def stream(count: int) -> Iterator[str]:
    response.content_type = "text/plain"
    for number in range(count):
        yield f"line {number}\n"


def file() -> Any:
    path = Path(__file__)
    return static_file(path.name, root=path.parent)


def away() -> None:
    redirect("/hello/there", 302)


def cookies() -> str:
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return "two"


def error() -> str:
    raise ValueError("on purpose")


def meeting() -> str:
    meet()
    return "met"


ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", "/hello/<name>", hello),
    ("POST", "/echo", echo),
    ("POST", "/upload", upload),
    ("GET", "/stream/<count:int>", stream),
    ("GET", "/file", file),
    ("GET", "/redirect", away),
    ("GET", "/cookies", cookies),
    ("GET", "/error", error),
    ("GET", "/meeting", meeting),
]

for method, path, view in ROUTES:
    app.route(path, method, view)
