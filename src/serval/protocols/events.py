"""What a wire core tells its caller: requests, bodies, ends.  Types only.

Headers are pairs of bytes, names in lower case, in the order of arrival.
"""

from typing import NamedTuple, TypeAlias

Headers: TypeAlias = list[tuple[bytes, bytes]]


class RequestReceived(NamedTuple):
    """A request head, and where it came along the whole body.

    Attributes:
        method: As sent, case kept (methods are case-sensitive, RFC 9110 section 9.1).
        target: The request target as sent, undecoded (RFC 9112 section 3.2).
        headers: May be shared with other requests: to be copied before it is given away.
        http_version: "1.0" or "1.1".
        keep_alive: Whether the client lets the connection live on after the response.
        complete: The whole body is in `body`; no further event belongs to this request.
        body: The whole body if `complete`, else empty.
        content_length: The announced length of the body in bytes; 0 without one, None if chunked.
        expect_continue: The client waits for `100 Continue` before it sends the body.
        upgrade: The lower-cased token of a valid offer to upgrade (`Upgrade` with `Connection:
            upgrade` in HTTP/1.1), else empty.
        accepts_trailers: The client said `TE: trailers`.
    """

    method: bytes
    target: bytes
    headers: Headers
    http_version: str = "1.1"
    keep_alive: bool = True
    complete: bool = True
    body: bytes = b""
    content_length: int | None = 0
    expect_continue: bool = False
    upgrade: bytes = b""
    accepts_trailers: bool = False


class BodyReceived(NamedTuple):
    """A piece of a request body, never empty, transfer coding removed."""

    data: bytes


class RequestEnded(NamedTuple):
    """The end of a body that did not come along with its head.

    Attributes:
        trailers: The trailer section of a chunked body; never merged into the headers.
    """

    trailers: Headers


RequestEvent: TypeAlias = RequestReceived | BodyReceived | RequestEnded
