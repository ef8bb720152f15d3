"""One connection to the admin endpoint: one request in, one response out, then the end.

Pure: bytes in, bytes out.  The parser is the one that the workers use, with tight limits.
"""

from collections.abc import Callable
from typing import Final

from serval.admin.routes import Answer, Ask
from serval.errors import PeerError
from serval.protocols.body_limits import BodyLimits
from serval.protocols.events import RequestReceived
from serval.protocols.http1 import H1Protocol, HeadLimits
from serval.protocols.response import status_line

# Probes and scrapers send a few hundred bytes, and no body.
_LIMITS: Final = HeadLimits(request_line_bytes=1024, field_bytes=4096, block_bytes=8192, count=50)
_BODY_BYTES: Final = 1024


class AdminSession:
    """Reads a request and answers it.

    Args:
        answer: Gives the response; called at most once.
    """

    def __init__(self, answer: Callable[[Ask], Answer]) -> None:
        self._answer = answer
        self._parser = H1Protocol(_LIMITS, body_limits=BodyLimits(_BODY_BYTES))
        self._request: RequestReceived | None = None

    def receive(self, data: bytes) -> bytes:
        """Take what has come; return the whole response once the request is complete, else nothing.

        After a response nothing more must be received.
        """
        try:
            self._parser.receive_data(data)
            for event in iter(self._parser.next_event, None):
                if isinstance(event, RequestReceived):
                    self._request = event
        except PeerError as exc:
            return _response(b"GET", Answer(exc.status, f"{exc}\n"))
        if self._request is None or not self._parser.request_ended:
            return b""
        return _response(self._request.method, self._answer(_ask(self._request)))


def _ask(request: RequestReceived) -> Ask:
    path, _, query = request.target.decode("ascii", "replace").partition("?")
    return Ask(request.method.decode("ascii", "replace"), path, query)


def _response(method: bytes, answer: Answer) -> bytes:
    body = answer.text.encode()
    fields = (
        f"content-type: {answer.media_type}",
        f"content-length: {len(body)}",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        *([f"allow: {answer.allow}"] if answer.allow else []),
        "connection: close",
    )
    head = "".join(f"{field}\r\n" for field in fields).encode()
    return status_line(answer.status) + head + b"\r\n" + (b"" if method == b"HEAD" else body)
