"""The fast path for plain heads."""

import pytest

from serval.asgi.scope import http_scope, scope_template
from serval.protocols import head
from serval.protocols.events import RequestReceived
from serval.protocols.framing import Framing
from serval.protocols.head import completed, request_of

END = b"\r\n\r\n"


def plain_head(lines: bytes) -> RequestReceived | None:
    return head.plain_head(lines + END)


def plain_request(data: bytes) -> RequestReceived | None:
    return head.plain_request(data, 8192, 1000)


@pytest.fixture(autouse=True)
def _cold_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    for cache in ("_blocks", "_framings", "_heads"):
        monkeypatch.setattr(head, cache, {})
    monkeypatch.setattr(head, "_seen", set())
    monkeypatch.setattr(head, "_known", head._KnownLines())


def test_a_plain_head_is_read_without_h11() -> None:
    request = plain_head(b"GET /a?b HTTP/1.1\r\nHost: x\r\nAccept:  */*\t\r\nEmpty:")

    assert request == RequestReceived(
        b"GET", b"/a?b", [(b"host", b"x"), (b"accept", b"*/*"), (b"empty", b"")]
    )
    assert type(request) is RequestReceived


def test_a_head_of_http_1_0_may_have_no_fields() -> None:
    request = plain_head(b"GET / HTTP/1.0")

    assert request == RequestReceived(b"GET", b"/", [], "1.0", keep_alive=False)


def test_a_body_that_is_announced_is_left_to_come() -> None:
    request = plain_head(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 010")

    assert request is not None
    assert (request.complete, request.content_length, request.body) == (False, 10, b"")


def test_what_te_and_connection_say_is_heard() -> None:
    request = plain_head(b"GET / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: TE, close")

    assert request is not None
    assert (request.accepts_trailers, request.keep_alive) == (True, False)


@pytest.mark.parametrize(
    "lines",
    [
        b"GET /",
        b"GET / a HTTP/1.1\r\nHost: x",
        b"get / HTTP/1.1\r\nHost: x",
        b"PURGE / HTTP/1.1\r\nHost: x",
        b"GET * HTTP/1.1\r\nHost: x",
        b"GET http://x/ HTTP/1.1\r\nHost: x",
        b"GET /#a HTTP/1.1\r\nHost: x",
        b"GET /\xe9 HTTP/1.1\r\nHost: x",
        b"GET / HTTP/1.2\r\nHost: x",
        b"GET / HTTP/1.1",
        b"GET / HTTP/1.1\r\nHost: a/b",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: x",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked",
        b"GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded",
        b"GET / HTTP/1.1\r\nHost: x\r\nX : a",
        b"GET / HTTP/1.1\r\nHost: x\r\n: a",
        b"GET / HTTP/1.1\r\nHost: x\r\nX",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: \0",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\rb",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\nb",
        b"GET / HTTP/1.1\nHost: x",
        b"\r\nGET / HTTP/1.1\r\nHost: x",
        b"",
    ],
)
def test_the_fast_path_gives_way_to_whatever_is_not_plain(lines: bytes) -> None:
    assert plain_head(lines) is None


def test_equal_heads_give_scopes_with_headers_of_their_own() -> None:
    lines = b"GET / HTTP/1.1\r\nHost: x"
    template = scope_template(server=None, scheme="http", root_path="", lane="sync")

    for _ in range(4):
        request = plain_head(lines)
        assert request is not None
        headers = http_scope(template, None, request, {})["headers"]
        assert headers == [(b"host", b"x")]
        headers.append((b"added", b"by an application"))


def test_a_remembered_line_counts_in_another_head() -> None:
    assert plain_head(b"GET / HTTP/1.1\r\nHost: x\r\nX: a") is not None

    request = plain_head(b"GET / HTTP/1.1\r\nHost: y\r\nX: a")

    assert request == RequestReceived(b"GET", b"/", [(b"host", b"y"), (b"x", b"a")])


def test_credentials_are_not_remembered() -> None:
    for name in 2 * (b"Cookie", b"Authorization", b"Proxy-Authorization"):
        assert plain_head(b"GET / HTTP/1.1\r\nHost: x\r\n" + name + b": secret") is not None

    remembered = [*head._known, *head._known.on_framing, *head._blocks, *head._framings]

    assert not any(b"secret" in key for key in remembered)


def test_the_caches_are_emptied_when_they_are_full() -> None:
    for number in range(6000):
        lines = b"GET / HTTP/1.1\r\nHost: x%d\r\nX%d: a" % (number, number)
        assert plain_head(lines) is not None
        assert plain_head(lines) is not None

    assert 0 < len(head._known) <= 1024
    assert 0 < len(head._known.on_framing) <= 1024
    assert 0 < len(head._framings) <= 256
    assert 0 < len(head._blocks) <= 128
    assert 0 < len(head._seen) <= 4096


def test_what_is_long_is_not_remembered() -> None:
    long = b"a" * 2000

    for _ in range(2):
        assert plain_head(b"GET / HTTP/1.1\r\nHost: x\r\nX" + long + b": " + long) is not None

    assert set(head._known) == head._known.on_framing == {b"Host: x"}
    assert not head._blocks


def test_a_long_line_that_bears_on_framing_is_left_to_the_strict_path() -> None:
    for field in (b"Content-Length: %0300d", b"Connection: %300d, close", b"Host: %0300d"):
        assert plain_head(b"GET / HTTP/1.1\r\nHost: x\r\n" + field % 1) is None


def test_a_remembered_name_without_its_colon_is_not_plain() -> None:
    assert plain_head(b"GET / HTTP/1.1\r\nHost: x\r\nAccept: a") is not None

    assert plain_head(b"GET / HTTP/1.1\r\nHost: x\r\nAccept") is None


def test_the_event_for_a_head_is_complete_if_it_announces_no_body() -> None:
    framing = Framing(0, True, True, b"h2c", True)

    request = request_of(b"GET", b"/", b"HTTP/1.1", [], framing)

    assert request == RequestReceived(b"GET", b"/", [], upgrade=b"h2c", accepts_trailers=True)


def test_a_request_with_its_whole_body_waits_for_nothing() -> None:
    framing = Framing(2, True, True, b"h2c", True)
    request = request_of(b"POST", b"/", b"HTTP/1.1", [], framing)
    assert request.expect_continue

    whole = completed(request, b"hi")

    assert whole == request._replace(complete=True, body=b"hi", expect_continue=False)


def test_a_request_that_comes_again_and_again_is_known() -> None:
    data = b"GET / HTTP/1.1\r\nHost: x" + END

    requests = [plain_request(data) for _ in range(4)]

    assert requests[0] is not requests[1]
    assert requests[2] is requests[3]
    assert requests[0] == requests[3]
    assert plain_request(data.replace(b"GET", b"PUT")) != requests[3]


@pytest.mark.parametrize(
    "lines",
    [
        b"GET /?token=secret HTTP/1.1\r\nHost: x",
        b"GET / HTTP/1.1\r\nHost: x\r\nCookie: secret",
    ],
)
def test_a_request_that_is_private_is_not_kept(lines: bytes) -> None:
    for _ in range(4):
        assert plain_request(lines + END) is not None

    assert not head._heads


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: y" + END,
        b"HEAD / HTTP/1.1\r\nHost: x" + END,
        b"GET / HTTP/1.0\r\nHost: x" + END,
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close" + END,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3" + END,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3" + END + b"ab",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3" + END + b"abcd",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001" + END + 1001 * b"a",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + 8192 * b"a" + END,
        b"GET / HTTP/1.1\r\nHost: x" + END + END,
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"\r\n",
    ],
)
def test_what_is_more_or_less_than_a_plain_request_is_left_to_others(data: bytes) -> None:
    for _ in range(4):
        assert plain_request(data) is None


def test_a_body_that_came_along_is_part_of_its_request() -> None:
    data = b"POST /?a HTTP/1.1\r\nHost: x\r\nContent-Length: 3" + END + b"abc"

    for _ in range(4):
        request = plain_request(data)

        assert request is not None
        assert (request.complete, request.content_length, request.body) == (True, 3, b"abc")
    assert not head._heads


def test_the_memory_of_whole_requests_is_bounded() -> None:
    for number in range(3 * head._HEAD_COUNT):
        for _ in range(3):
            assert plain_request(b"GET /%d HTTP/1.1\r\nHost: x" % number + END) is not None

    assert 0 < len(head._heads) <= head._HEAD_COUNT
