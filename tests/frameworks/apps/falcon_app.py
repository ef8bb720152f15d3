"""The common routes of the WSGI frameworks, in Falcon."""

import hashlib
from pathlib import Path
from typing import Any

import falcon
from falcon import Request, Response

from frameworks.apps.meeting import meet

PATH = Path(__file__)


class Hello:
    def on_get(self, req: Request, resp: Response, name: str) -> None:
        resp.media = {"name": name, "q": req.get_param("q"), "scheme": req.scheme}


class Echo:
    def on_post(self, req: Request, resp: Response) -> None:
        resp.text = hashlib.sha256(req.bounded_stream.read()).hexdigest()


class Upload:
    def on_post(self, req: Request, resp: Response) -> None:
        found: dict[str, Any] = {}
        for part in req.get_media():
            if part.name == "file":
                found["sha256"] = hashlib.sha256(part.stream.read()).hexdigest()
            else:
                found["name"] = part.text
        resp.media = found


class Stream:
    def on_get(self, req: Request, resp: Response, count: int) -> None:
        resp.content_type = "text/plain"
        resp.stream = (b"line %d\n" % number for number in range(count))


class File:
    def on_get(self, req: Request, resp: Response) -> None:
        resp.set_stream(PATH.open("rb"), PATH.stat().st_size)


class Redirect:
    def on_get(self, req: Request, resp: Response) -> None:
        raise falcon.HTTPFound("/hello/there")


class Cookies:
    def on_get(self, req: Request, resp: Response) -> None:
        resp.set_cookie("a", "1", secure=False)
        resp.set_cookie("b", "2", secure=False)
        resp.text = "two"


class Error:
    def on_get(self, req: Request, resp: Response) -> None:
        raise ValueError("on purpose")


class Meeting:
    def on_get(self, req: Request, resp: Response) -> None:
        meet()
        resp.text = "met"


app = falcon.App()
app.add_route("/hello/{name}", Hello())
app.add_route("/echo", Echo())
app.add_route("/upload", Upload())
app.add_route("/stream/{count:int}", Stream())
app.add_route("/file", File())
app.add_route("/redirect", Redirect())
app.add_route("/cookies", Cookies())
app.add_route("/error", Error())
app.add_route("/meeting", Meeting())
