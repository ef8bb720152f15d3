"""The common routes of the WSGI frameworks, in Django."""

# mypy: disable-error-code="import-untyped"
# Django ships no types: what is imported from it is Any.

import hashlib
from collections.abc import Iterator

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path

from frameworks.apps.meeting import meet

settings.configure(
    SECRET_KEY="for tests only",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    DATA_UPLOAD_MAX_MEMORY_SIZE=20_000_000,
    LOGGING_CONFIG=None,
)
django.setup()


def hello(request: HttpRequest, name: str) -> HttpResponse:
    return JsonResponse({"name": name, "q": request.GET.get("q"), "scheme": request.scheme})


def echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(hashlib.sha256(request.body).hexdigest())


def upload(request: HttpRequest) -> HttpResponse:
    content = request.FILES["file"].read()
    found = {"name": request.POST["name"], "sha256": hashlib.sha256(content).hexdigest()}
    return JsonResponse(found)


def stream(request: HttpRequest, count: int) -> StreamingHttpResponse:
    def lines() -> Iterator[bytes]:
        for number in range(count):
            yield b"line %d\n" % number

    return StreamingHttpResponse(lines(), content_type="text/plain")


def file(request: HttpRequest) -> FileResponse:
    return FileResponse(open(__file__, "rb"))


def away(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect("/hello/there")


def cookies(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("two")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


def error(request: HttpRequest) -> HttpResponse:
    raise ValueError("on purpose")


def meeting(request: HttpRequest) -> HttpResponse:
    meet()
    return HttpResponse("met")


urlpatterns = [
    path("hello/<name>", hello),
    path("echo", echo),
    path("upload", upload),
    path("stream/<int:count>", stream),
    path("file", file),
    path("redirect", away),
    path("cookies", cookies),
    path("error", error),
    path("meeting", meeting),
]

app = get_wsgi_application()
