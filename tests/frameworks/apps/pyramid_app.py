"""The common routes of the WSGI frameworks, in Pyramid."""

# mypy: disable-error-code="import-untyped"
# Pyramid ships no types: what is imported from it is Any.

import hashlib
from typing import Any

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPFound
from pyramid.request import Request
from pyramid.response import FileResponse, Response

from frameworks.apps.meeting import meet


def hello(request: Request) -> dict[str, Any]:
    q = request.params.get("q")
    return {"name": request.matchdict["name"], "q": q, "scheme": request.scheme}


def echo(request: Request) -> Response:
    return Response(hashlib.sha256(request.body).hexdigest())


def upload(request: Request) -> dict[str, Any]:
    content = request.POST["file"].file.read()
    return {"name": request.POST["name"], "sha256": hashlib.sha256(content).hexdigest()}


def stream(request: Request) -> Response:
    count = int(request.matchdict["count"])
    lines = (b"line %d\n" % number for number in range(count))
    return Response(app_iter=lines, content_type="text/plain")


def file(request: Request) -> Response:
    return FileResponse(__file__, request=request)


def away(request: Request) -> Response:
    return HTTPFound("/hello/there")


def cookies(request: Request) -> Response:
    response = Response("two")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


def error(request: Request) -> Response:
    raise ValueError("on purpose")


def meeting(request: Request) -> Response:
    meet()
    return Response("met")


VIEWS = {
    "/hello/{name}": (hello, "json"),
    "/echo": (echo, None),
    "/upload": (upload, "json"),
    "/stream/{count}": (stream, None),
    "/file": (file, None),
    "/redirect": (away, None),
    "/cookies": (cookies, None),
    "/error": (error, None),
    "/meeting": (meeting, None),
}


def make_app() -> Any:
    with Configurator() as config:
        for path, (view, renderer) in VIEWS.items():
            config.add_route(path, path)
            config.add_view(view, route_name=path, renderer=renderer)
        return config.make_wsgi_app()


app = make_app()
