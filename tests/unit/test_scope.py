from collections.abc import Iterator
from typing import Any

import pytest

from serval.asgi import scope as module
from serval.asgi.scope import (
    http_scope,
    scope_template,
    split_target,
    websocket_scope,
    with_host,
)
from serval.asgi.types import Scope
from serval.protocols.events import RequestReceived

CLIENT = ("192.0.2.1", 4711)
SERVER = ("192.0.2.2", 80)


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    module._TARGETS.clear()
    yield
    module._TARGETS.clear()


def template(**changes: Any) -> Scope:
    settings: dict[str, Any] = {
        "server": SERVER,
        "scheme": "http",
        "root_path": "",
        "lane": "sync",
        **changes,
    }
    return scope_template(**settings)


def scope_of(
    target: bytes = b"/",
    *,
    method: bytes = b"GET",
    headers: list[tuple[bytes, bytes]] | None = None,
    http_version: str = "1.1",
    state: dict[str, Any] | None = None,
    **changes: Any,
) -> Scope:
    request = RequestReceived(method, target, headers or [], http_version)
    return http_scope(template(**changes), CLIENT, request, state or {})


# --- HTTP -------------------------------------------------------------------------------------


def test_a_scope_has_every_key_of_the_specification() -> None:
    scope = scope_of(b"/a?b", headers=[(b"host", b"x")])

    assert type(scope) is dict
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/a",
        "raw_path": b"/a",
        "query_string": b"b",
        "root_path": "",
        "headers": [(b"host", b"x")],
        "client": CLIENT,
        "server": SERVER,
        "state": {},
        "extensions": {
            "http.response.trailers": {},
            "http.response.early_hint": {},
            "http.response.pathsend": {},
            "http.response.zerocopysend": {},
            "serval.body_limit": {},
            "serval": {"lane": "sync"},
        },
    }


def test_nothing_that_an_application_adds_is_seen_by_the_next() -> None:
    shared = template()
    headers = [(b"host", b"x")]
    request = RequestReceived(b"GET", b"/", headers)
    state = {"list": [1]}
    first = http_scope(shared, CLIENT, request, state)

    first["extra"] = first["asgi"]["extra"] = first["extensions"]["extra"] = {}
    first["state"]["extra"] = 1
    first["headers"].append((b"x", b"y"))
    first["state"]["list"].append(2)
    second = http_scope(shared, CLIENT, request, state)

    assert "extra" not in {*second, *second["asgi"], *second["extensions"], *second["state"]}
    assert second["headers"] == [(b"host", b"x")]
    assert second["state"] == {"list": [1, 2]}


@pytest.mark.parametrize(
    ("method", "shown"), [(b"GET", "GET"), (b"get", "GET"), (b"Query", "QUERY"), (b"M-X", "M-X")]
)
def test_a_method_is_in_upper_case(method: bytes, shown: str) -> None:
    assert scope_of(method=method)["method"] == shown


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_only_http_1_1_is_offered_what_needs_it(version: str) -> None:
    scope = scope_of(http_version=version)

    assert scope["http_version"] == version
    assert ("http.response.trailers" in scope["extensions"]) is (version == "1.1")
    assert ("http.response.early_hint" in scope["extensions"]) is (version == "1.1")
    assert all(isinstance(value, dict) for value in scope["extensions"].values())


def test_what_a_template_tells_further_is_in_our_own_extension() -> None:
    scope = scope_of(further={"draining": 1}, lane="async")

    assert scope["extensions"]["serval"] == {"lane": "async", "draining": 1}


def test_an_address_may_be_missing_or_a_path() -> None:
    request = RequestReceived(b"GET", b"/", [])
    scope = http_scope(template(server=("/run/x", None)), None, request, {})

    assert scope["client"] is None
    assert scope["server"] == ("/run/x", None)


def test_the_path_includes_the_root_path() -> None:
    scope = scope_of(b"/a%20b", root_path="/mount")

    assert scope["root_path"] == "/mount"
    assert scope["path"] == "/mount/a b"
    assert scope["raw_path"] == b"/a%20b"


# --- targets ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        (b"/", "/", b"/", b""),
        (b"/a/b?c=%20d?e", "/a/b", b"/a/b", b"c=%20d?e"),
        (b"/?", "/", b"/", b""),
        (b"/%2F%2f", "///", b"/%2F%2f", b""),
        (b"/%C3%A9", "/\u00e9", b"/%C3%A9", b""),
        (b"/%FF", "/\ufffd", b"/%FF", b""),
        (b"/%", "/%", b"/%", b""),
        (b"/%zz", "/%zz", b"/%zz", b""),
        (b"//x//y", "//x//y", b"//x//y", b""),
        (b"/a/../b", "/a/../b", b"/a/../b", b""),
        (b"/a://b", "/a://b", b"/a://b", b""),
        (b"http://host/a%20?q", "/a ", b"/a%20", b"q"),
        (b"http://host", "/", b"/", b""),
        (b"http://host?q", "/", b"/", b"q"),
        (b"*", "*", b"*", b""),
        (b"*?x", "*", b"*", b"x"),
    ],
)
def test_a_target_is_split_and_decoded(
    target: bytes, path: str, raw_path: bytes, query: bytes
) -> None:
    for _ in range(2):  # remembered, it is the same
        assert split_target(target) == (path, raw_path, query)
        scope = scope_of(target)
        assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, raw_path, query)


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://other:8080/", b"other:8080"),
        (b"http://user:word@other/", b"other"),
        (b"http://other?x", b"other"),
        (b"http:///", b"given"),
        (b"*", b"given"),
    ],
)
def test_an_absolute_target_names_the_host(target: bytes, host: bytes) -> None:
    scope = scope_of(target, headers=[(b"a", b"1"), (b"host", b"given"), (b"b", b"2")])

    assert scope["headers"] == [(b"a", b"1"), (b"host", host), (b"b", b"2")]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [(b"host", b"x")]),
        ([(b"a", b"1")], [(b"host", b"x"), (b"a", b"1")]),
        ([(b"a", b"1"), (b"host", b"y"), (b"host", b"z")], [(b"a", b"1"), (b"host", b"x")]),
    ],
)
def test_there_is_one_host(
    before: list[tuple[bytes, bytes]], after: list[tuple[bytes, bytes]]
) -> None:
    assert with_host(before, b"x") == after


def test_targets_are_remembered_in_bounds_and_queries_never() -> None:
    split_target(b"/secret?token=1")
    split_target(b"/" + b"x" * 200)
    assert not module._TARGETS

    for number in range(3000):
        split_target(b"/%d" % number)

    assert 0 < len(module._TARGETS) <= 1024


# --- WebSocket --------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "shown"), [("http", "ws"), ("https", "wss")])
def test_an_upgrade_request_becomes_a_websockets_scope(scheme: str, shown: str) -> None:
    http = scope_of(b"/chat", scheme=scheme)

    scope = websocket_scope(http)

    assert scope["type"] == "websocket"
    assert scope["scheme"] == shown
    assert "method" not in scope
    assert scope["extensions"] == {"websocket.http.response": {}, "serval": {"lane": "async"}}
    assert http["type"] == "http"
    assert http["extensions"]["serval"] == {"lane": "sync"}


def test_a_websocket_keeps_what_is_known_of_its_tls() -> None:
    http = scope_of()
    http["extensions"]["tls"] = {"tls_version": 0x0304}

    assert websocket_scope(http)["extensions"]["tls"] == {"tls_version": 0x0304}
