"""Django in one file: sync and async views over a database, uploads, streams, a page with a form.

Run as a program it makes the tables, as `manage.py migrate` would.
"""

# mypy: disable-error-code="import-untyped, misc, untyped-decorator"
# Django ships no types: what is imported from it is Any.

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Iterator

import django
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["TEST_DATABASE"],
            "OPTIONS": {"timeout": 20},
        }
    },
    DATA_UPLOAD_MAX_MEMORY_SIZE=50_000_000,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.sessions"],
    LOGGING={  # a test asks for an unknown host: that is no error here
        "version": 1,
        "handlers": {"nowhere": {"class": "logging.NullHandler"}},
        "loggers": {
            "django.security.DisallowedHost": {"handlers": ["nowhere"], "propagate": False}
        },
    },
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for tests",
    USE_TZ=True,
)
django.setup()

from django.contrib.sessions.models import Session  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.db import connection, models, transaction  # noqa: E402
from django.http import (  # noqa: E402
    FileResponse,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402

from frameworks.ledger import note  # noqa: E402


class Visit(models.Model):
    """One row for each visit."""

    name = models.CharField(max_length=50)

    class Meta:
        app_label = "visits"


def sync_visit(_request: HttpRequest, name: str) -> JsonResponse:
    with transaction.atomic():
        Visit.objects.create(name=name)
    return JsonResponse({"count": Visit.objects.filter(name=name).count(), "pid": os.getpid()})


async def async_visit(_request: HttpRequest, name: str) -> JsonResponse:
    await Visit.objects.acreate(name=name)
    names = [visit.name async for visit in Visit.objects.filter(name=name)]
    return JsonResponse({"count": len(names), "pid": os.getpid()})


def session_counter(request: HttpRequest) -> HttpResponse:
    request.session["count"] = request.session.get("count", 0) + 1
    return HttpResponse(str(request.session["count"]))


@csrf_exempt
def upload(request: HttpRequest) -> JsonResponse:
    digest = hashlib.sha256()
    for part in request.FILES["file"].chunks():
        digest.update(part)
    return JsonResponse({"sha256": digest.hexdigest(), "name": request.POST["name"]})


def guarded(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("reached")


async def async_stream(request: HttpRequest) -> StreamingHttpResponse:
    async def lines() -> AsyncIterator[str]:
        for number in range(int(request.GET["count"])):
            yield f"line {number}\n"
            await asyncio.sleep(0)

    return StreamingHttpResponse(lines(), content_type="text/plain")


async def endless(_request: HttpRequest) -> StreamingHttpResponse:
    async def ticks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"tick\n"
                await asyncio.sleep(0.01)
        finally:
            note("stopped endless")

    return StreamingHttpResponse(ticks())


async def long_wait(request: HttpRequest) -> HttpResponse:
    note("waiting", request.GET["key"])
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        note("cancelled", request.GET["key"])
        raise
    return HttpResponse()


def sync_stream(request: HttpRequest) -> StreamingHttpResponse:
    def lines() -> Iterator[str]:
        yield from (f"line {number}\n" for number in range(int(request.GET["count"])))

    return StreamingHttpResponse(lines(), content_type="text/plain")


def this_file(_request: HttpRequest) -> FileResponse:
    return FileResponse(open(__file__, "rb"))  # the response closes it


def cookies(_request: HttpRequest) -> HttpResponse:
    response = HttpResponse("cookies")
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    return response


urlpatterns = [
    path("sync/<str:name>", sync_visit),
    path("async/<str:name>", async_visit),
    path("session", session_counter),
    path("upload", upload),
    path("guarded", guarded),
    path("stream/async", async_stream),
    path("stream/sync", sync_stream),
    path("stream/endless", endless),
    path("wait", long_wait),
    path("file", this_file),
    path("cookies", cookies),
]

app = get_asgi_application()


def make_tables() -> None:
    """Make the tables of the two models in use."""
    with connection.schema_editor() as editor:
        editor.create_model(Visit)
        editor.create_model(Session)


if __name__ == "__main__":
    make_tables()
    sys.exit(0)
