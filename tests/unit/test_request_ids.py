from typing import Any

import pytest

from serval.asgi.proxy import Proxies, ProxyRules
from serval.asgi.request_ids import IdentifiedEnds, RequestIds
from serval.net.trust import parse_trust

PROXY, STRANGER = ("10.0.0.1", 4000), ("192.0.2.9", 4000)


def ids() -> RequestIds:
    made = iter(f"made-{number}" for number in range(10))
    proxies = Proxies(
        ProxyRules(trust=parse_trust(("10.0.0.0/8",)), headers=frozenset((b"x-forwarded-for",)))
    )
    return RequestIds(proxies, b"x-request-id", lambda: next(made))


def a_scope(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {
        "client": PROXY,
        "headers": list(headers),
        "extensions": {"serval": {"lane": "sync"}},
        "root_path": "",
    }


def identified(peer: tuple[str, int], *values: bytes) -> dict[str, Any]:
    scope = a_scope((b"a", b"1"), *((b"x-request-id", value) for value in values))
    ids().amend_for(peer)(scope)
    return scope


def found(scope: dict[str, Any]) -> tuple[list[bytes], str]:
    values = [value for name, value in scope["headers"] if name == b"x-request-id"]
    return values, scope["extensions"]["serval"]["request_id"]


def test_the_id_of_a_trusted_proxy_is_taken() -> None:
    assert found(identified(PROXY, b"abc-1/2=+x;y")) == ([b"abc-1/2=+x;y"], "abc-1/2=+x;y")


def test_a_stranger_s_id_is_replaced() -> None:
    assert found(identified(STRANGER, b"abc")) == ([b"made-0"], "made-0")


@pytest.mark.parametrize(
    "values", [(), (b"",), (b"a b",), (b'a"b',), (b"\xe9",), (b"a" * 129,), (b"a", b"b")]
)
def test_what_is_no_single_plain_id_is_replaced(values: tuple[bytes, ...]) -> None:
    scope = identified(PROXY, *values)

    assert found(scope) == ([b"made-0"], "made-0")
    assert scope["headers"][0] == (b"a", b"1")


def test_scopes_of_one_template_do_not_share_the_id() -> None:
    shared = {"lane": "sync"}
    first, second = a_scope(), a_scope()
    first["extensions"]["serval"] = second["extensions"]["serval"] = shared
    amend = ids().amend_for(PROXY)

    amend(first)
    amend(second)

    assert (found(first)[1], found(second)[1]) == ("made-0", "made-1")
    assert shared == {"lane": "sync"}


def test_what_the_proxy_says_of_the_client_is_believed_as_before() -> None:
    scope = a_scope((b"x-forwarded-for", b"203.0.113.7"))
    given = ids()

    given.amend_for(PROXY)(scope)

    assert scope["client"] == ("203.0.113.7", 0)
    assert given.trusts(PROXY)
    assert not given.trusts(STRANGER)
    assert given.root_path == ""


class Ends:
    ends = (b"date: x\r\n\r\n", b"\r\n")


class Response:
    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.response_headers = headers


def test_the_client_is_told_the_id_once() -> None:
    scope = identified(PROXY, b"abc")
    silent, own = Response((b"a", b"b")), Response((b"X-Request-Id", b"its own"))

    told = ids().head_ends(silent, Ends(), scope)

    assert isinstance(told, IdentifiedEnds)
    assert told.ends == (b"x-request-id: abc\r\ndate: x\r\n\r\n", b"x-request-id: abc\r\n\r\n")
    assert ids().head_ends(own, Ends(), scope).ends == Ends.ends


@pytest.mark.parametrize("extensions", [{}, {"serval": {}}, {"serval": {"request_id": "a\r\nb"}}])
def test_of_a_scope_that_somebody_else_has_made_no_id_is_told(extensions: dict[str, Any]) -> None:
    assert ids().head_ends(Response(), Ends(), {"extensions": extensions}).ends == Ends.ends
