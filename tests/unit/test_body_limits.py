"""Limits of bodies by path: as they are written, and as they are looked up."""

import pytest

from serval.body_limit_items import parse_body_limits
from serval.config import ServerConfig
from serval.errors import ConfigError, PeerError
from serval.protocols.body_limits import BodyLimits
from serval.protocols.events import RequestReceived
from serval.protocols.http1 import H1Protocol

LIMITS = BodyLimits(100, {b"/up": 1000, b"/up/small": 10, b"/free": 0, b"/caf\xc3\xa9": 5})


@pytest.mark.parametrize(
    ("target", "limit"),
    [
        (b"/", 100),
        (b"/other", 100),
        (b"/up", 1000),
        (b"/up/", 1000),
        (b"/up/load?x=/up/small", 1000),
        (b"/upper", 100),
        (b"/up/small", 10),
        (b"/up/small/er", 10),
        (b"/up/sm%61ll", 10),
        (b"/caf%C3%A9", 5),
        (b"http://host:1/up/x", 1000),
        (b"http://host", 100),
        (b"/free/x", 0),
        (b"*", 100),
    ],
)
def test_the_longest_path_that_holds_a_target_decides(target: bytes, limit: int) -> None:
    assert LIMITS.of(target) == limit


def test_the_root_holds_everything() -> None:
    assert BodyLimits(1, {b"/": 2}).of(b"/x/y") == 2


def test_what_is_below_every_limit_needs_no_look() -> None:
    assert LIMITS.least_bytes == 5
    assert BodyLimits(0, {b"/x": 7}).least_bytes == 7
    assert BodyLimits().least_bytes == 0


def test_limits_are_parsed() -> None:
    assert parse_body_limits(["/up/=1k", " /a=b = 0 ", "/=2"]) == {
        b"/up": 1024,
        b"/a=b": 0,
        b"/": 2,
    }


@pytest.mark.parametrize(
    ("items", "why"),
    [
        (("up=1",), "'up=1' gives no path a limit; legal: /path=10MiB"),
        (("/up",), "gives no path a limit"),
        (("/up=much",), "'much' is not a size"),
        (("/up=1", "/up/=2"), "/up is given twice"),
    ],
)
def test_what_is_no_limit_is_refused(items: tuple[str, ...], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        ServerConfig(max_body_size_at=items)


def post(target: str, size: int, *, chunked: bool) -> bytes:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, bytes(size)) if chunked else bytes(size)
    return f"POST {target} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode() + body


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("short_way", [False, True])
@pytest.mark.parametrize(
    ("target", "size", "is_taken"),
    [("/", 100, True), ("/", 101, False), ("/up", 101, True), ("/up/small", 11, False)],
)
def test_the_parser_holds_a_body_to_the_limit_of_its_path(
    target: str, size: int, is_taken: bool, chunked: bool, short_way: bool
) -> None:
    protocol = H1Protocol(body_limits=LIMITS)

    def read() -> None:
        data = post(target, size, chunked=chunked)
        if short_way:
            if protocol.take_request(data) is not None:
                return
        else:
            protocol.receive_data(data)
        assert isinstance(protocol.next_event(), RequestReceived)
        while protocol.next_event() is not None:
            pass

    if is_taken:
        read()
        assert protocol.request_ended
    else:
        with pytest.raises(PeerError) as refusal:
            read()
        assert refusal.value.status == 413
