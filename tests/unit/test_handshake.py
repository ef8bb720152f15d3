import pytest

from serval.errors import AppError, PeerError
from serval.protocols.events import Headers, RequestReceived
from serval.protocols.handshake import (
    ExtensionOffer,
    Offer,
    accept_response,
    offered_extensions,
    offered_subprotocols,
    read_offer,
    refusal,
)
from serval.protocols.response_defaults import ResponseDefaults

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455 section 1.3
DEFAULTS = ResponseDefaults(lambda: 0.0, date=False)
OFFER = Offer(accept=b"token", subprotocols=["chat", "superchat"], extensions=[])


def request(
    *more: tuple[bytes, bytes],
    without: bytes = b"",
    method: bytes = b"GET",
    http_version: str = "1.1",
    upgrade: bytes = b"websocket",
    content_length: int | None = 0,
) -> RequestReceived:
    headers = [
        (b"host", b"example"),
        (b"sec-websocket-key", KEY),
        (b"sec-websocket-version", b"13"),
    ]
    return RequestReceived(
        method,
        b"/",
        [field for field in headers if field[0] != without] + list(more),
        http_version=http_version,
        upgrade=upgrade,
        content_length=content_length,
    )


def accept(
    subprotocol: str | None = None,
    extension: bytes = b"",
    headers: Headers | None = None,
) -> bytes:
    return accept_response(
        OFFER,
        subprotocol=subprotocol,
        extension=extension,
        headers=headers or [],
        end=DEFAULTS.ends[0],
    )


def test_the_example_of_the_rfc_gives_its_accept_token() -> None:
    offer = read_offer(request())

    assert offer == Offer(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", [], [])


@pytest.mark.parametrize(
    ("bad", "status", "reason"),
    [
        (request(method=b"POST"), 405, "websocket-method"),
        (request(http_version="1.0"), 505, "websocket-http-version"),
        (request(upgrade=b"h2c"), 400, "websocket-upgrade"),
        (request(content_length=3), 400, "websocket-body"),
        (request(content_length=None), 400, "websocket-body"),
        (request(without=b"sec-websocket-version"), 400, "websocket-version-missing"),
        (request((b"sec-websocket-version", b"13")), 400, "websocket-version-repeated"),
        (
            request((b"sec-websocket-version", b"8"), without=b"sec-websocket-version"),
            426,
            "websocket-version",
        ),
        (request(without=b"sec-websocket-key"), 400, "websocket-key-missing"),
        (request((b"sec-websocket-key", KEY)), 400, "websocket-key-repeated"),
        (request((b"sec-websocket-protocol", b"caf\xc3\xa9")), 400, "websocket-protocol-malformed"),
        (request((b"sec-websocket-protocol", b"a b")), 400, "websocket-protocol-malformed"),
        (request((b"sec-websocket-extensions", b"a=\xff")), 400, "websocket-extensions-malformed"),
        (request((b"sec-websocket-extensions", b";a")), 400, "websocket-extensions-malformed"),
    ],
)
def test_a_bad_handshake_is_refused_with_status_and_reason(
    bad: RequestReceived, status: int, reason: str
) -> None:
    with pytest.raises(PeerError) as refused:
        read_offer(bad)

    assert (refused.value.status, refused.value.reason) == (status, reason)


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"c2hvcnQ=",
        b"dGhlIHNhbXBsZSBub25jZSE=",  # 17 bytes
        b"dGhlIHNhbXBsZSBub25jZQ",  # no padding
        b"dGhlIHNhbXBsZSBub25jZQ= ",
        b"dGhlIHNhbXBsZSBub25jZ\xff==",
    ],
)
def test_a_key_that_is_not_sixteen_bytes_of_base64_is_refused(key: bytes) -> None:
    bad = request((b"sec-websocket-key", key), without=b"sec-websocket-key")

    with pytest.raises(PeerError) as refused:
        read_offer(bad)

    assert (refused.value.status, refused.value.reason) == (400, "websocket-key-malformed")


def test_subprotocols_of_repeated_and_comma_separated_fields_keep_their_order() -> None:
    headers = [
        (b"sec-websocket-protocol", b"chat ,superchat,, "),
        (b"cookie", b"x"),
        (b"sec-websocket-protocol", b"\tv12.stomp"),
    ]

    assert offered_subprotocols(headers) == ["chat", "superchat", "v12.stomp"]


def test_extensions_are_read_with_their_parameters() -> None:
    headers = [
        (b"sec-websocket-extensions", b'permessage-deflate; A=1; b ="two" ;c, , other'),
        (b"cookie", b"x"),
        (b"sec-websocket-extensions", b"X-third"),
    ]

    assert offered_extensions(headers) == [
        ExtensionOffer(b"permessage-deflate", [(b"a", b"1"), (b"b", b"two"), (b"c", None)]),
        ExtensionOffer(b"other", []),
        ExtensionOffer(b"x-third", []),
    ]


def test_a_long_field_of_extensions_is_read_in_linear_time() -> None:
    value = b"a;" + b"b" * 16_000 + b' ="' + b"c" * 16_000

    with pytest.raises(PeerError):
        offered_extensions([(b"sec-websocket-extensions", value)])


def test_the_acceptance_carries_what_was_agreed_and_the_applications_headers() -> None:
    response = accept("chat", b"permessage-deflate", [(b"Set-Cookie", b"a=b"), (b"x", b"\xe9")])

    assert response == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"upgrade: websocket\r\n"
        b"connection: Upgrade\r\n"
        b"sec-websocket-accept: token\r\n"
        b"sec-websocket-protocol: chat\r\n"
        b"sec-websocket-extensions: permessage-deflate\r\n"
        b"Set-Cookie: a=b\r\n"
        b"x: \xe9\r\n"
        b"server: serval\r\n"
        b"\r\n"
    )


def test_a_bare_acceptance_has_no_subprotocol_and_no_extension() -> None:
    response = accept()

    assert b"protocol" not in response
    assert b"extensions" not in response


def test_a_subprotocol_that_was_not_offered_is_the_applications_fault() -> None:
    with pytest.raises(AppError, match="'mqtt'; offered by the client: chat, superchat"):
        accept("mqtt")


@pytest.mark.parametrize(
    "field",
    [
        (b"Sec-WebSocket-Protocol", b"chat"),
        (b"sec-websocket-accept", b"x"),
        (b"sec-websocket-extensions", b"x"),
        (b"Connection", b"close"),
        (b"upgrade", b"x"),
        (b"content-length", b"0"),
        (b"transfer-encoding", b"chunked"),
    ],
)
def test_the_application_may_not_send_the_servers_headers(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(AppError, match="is the server's to send"):
        accept(headers=[field])


@pytest.mark.parametrize(
    "field",
    [(b"x", b"a\r\nb: c"), (b"x", b"a\nb"), (b"x", b"\0"), (b"x y", b""), (b"", b""), (b":p", b"")],
)
def test_headers_that_would_inject_lines_are_the_applications_fault(
    field: tuple[bytes, bytes],
) -> None:
    with pytest.raises(AppError):
        accept(headers=[field])


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (400, b"connection: close\r\n"),
        (405, b"allow: GET\r\n"),
        (426, b"sec-websocket-version: 13\r\n"),
    ],
)
def test_a_refusal_says_what_would_be_right(status: int, line: bytes) -> None:
    response = refusal(PeerError(status, "websocket-method", excerpt=b"<secret>"), DEFAULTS)

    assert response.startswith(b"HTTP/1.1 %d " % status)
    assert line in response
    assert b"<secret>" not in response
