"""What proxies say of a request, and which of it is believed."""

import time
from dataclasses import replace

import pytest

from serval.asgi.proxy import Proxies, ProxyRules
from serval.asgi.scope import http_scope, scope_template, websocket_scope
from serval.asgi.types import Address, Scope
from serval.net.trust import parse_trust
from serval.protocols.events import Headers, RequestReceived

ALL = frozenset(
    (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-prefix")
)
NEAR = ("127.0.0.1", 4000)
FAR = ("203.0.113.9", 4000)
LOCAL = ProxyRules(trust=parse_trust(("127.0.0.1,::1,unix",)), headers=ALL)
INSIDE = replace(LOCAL, trust=parse_trust(("127.0.0.1", "10.0.0.0/8", "fc00::/7")))
ANYBODY = replace(LOCAL, trust=parse_trust(("*",)))
TWO_HOPS = replace(LOCAL, trust=parse_trust(()), hops=2)
STANDARD = replace(INSIDE, headers=frozenset((b"forwarded",)))


def seen(
    rules: ProxyRules, headers: Headers, *, peer: Address | None = NEAR, target: bytes = b"/x"
) -> Scope:
    """The scope that an application would get."""
    proxies = Proxies(rules)
    template = scope_template(
        server=("127.0.0.1", 8000), scheme="http", root_path=proxies.root_path, lane="sync"
    )
    request = RequestReceived(b"GET", target, list(headers), "1.1", True, True)
    scope = http_scope(template, peer, request, {})
    amend = proxies.amend_for(peer)
    if amend is not None:
        amend(scope)
    return scope


def client(scope: Scope) -> str:
    host, port = scope["client"]
    return f"{host} {port}"


# Rules, the fields of X-Forwarded-For, the client.  The peer is 127.0.0.1, port 4000.
FORWARDED_FOR = [
    (LOCAL, [], "127.0.0.1 4000"),
    (LOCAL, ["1.2.3.4"], "1.2.3.4 0"),
    (LOCAL, ["  1.2.3.4  "], "1.2.3.4 0"),
    (LOCAL, ["1.2.3.4:5678"], "1.2.3.4 5678"),
    (LOCAL, ["1.2.3.4:0"], "1.2.3.4 0"),
    (LOCAL, ["1.2.3.4:65535"], "1.2.3.4 65535"),
    (LOCAL, ["1.2.3.4:65536"], "127.0.0.1 4000"),
    (LOCAL, ["1.2.3.4:"], "127.0.0.1 4000"),
    (LOCAL, ["1.2.3.4:http"], "127.0.0.1 4000"),
    (LOCAL, ["1.2.3.4:-1"], "127.0.0.1 4000"),
    (LOCAL, ["1.2.3.4:\u0661"], "127.0.0.1 4000"),
    (LOCAL, ["6.6.6.6, 1.2.3.4"], "1.2.3.4 0"),
    (LOCAL, ["6.6.6.6,1.2.3.4,127.0.0.1"], "1.2.3.4 0"),
    (LOCAL, ["6.6.6.6", "1.2.3.4"], "1.2.3.4 0"),
    (LOCAL, ["6.6.6.6, 1.2.3.4", "127.0.0.1"], "1.2.3.4 0"),
    (LOCAL, ["1.2.3.4", "", " , "], "1.2.3.4 0"),
    (LOCAL, ["1.2.3.4,,"], "1.2.3.4 0"),
    (LOCAL, [""], "127.0.0.1 4000"),
    (LOCAL, [","], "127.0.0.1 4000"),
    (LOCAL, ["127.0.0.1"], "127.0.0.1 0"),
    (LOCAL, ["127.0.0.1, ::1"], "127.0.0.1 0"),
    (LOCAL, ["1.2.3.4, ::1"], "1.2.3.4 0"),
    (LOCAL, ["2001:db8::1"], "2001:db8::1 0"),
    (LOCAL, ["2001:DB8:0:0::1"], "2001:db8::1 0"),
    (LOCAL, ["[2001:db8::1]"], "2001:db8::1 0"),
    (LOCAL, ["[2001:db8::1]:443"], "2001:db8::1 443"),
    (LOCAL, ["1.2.3.4, [::1]:9000"], "1.2.3.4 0"),
    (LOCAL, ["[2001:db8::1"], "127.0.0.1 4000"),
    (LOCAL, ["[2001:db8::1]443"], "127.0.0.1 4000"),
    (LOCAL, ["[1.2.3.4]:80"], "127.0.0.1 4000"),
    (LOCAL, ["fe80::1%eth0"], "fe80::1 0"),
    (LOCAL, ["[fe80::1%25eth0]:80"], "fe80::1 80"),
    (LOCAL, ["1.2.3.4%eth0"], "127.0.0.1 4000"),
    (LOCAL, ["::ffff:1.2.3.4"], "1.2.3.4 0"),
    (LOCAL, ["1.2.3.4, ::ffff:127.0.0.1"], "1.2.3.4 0"),
    (LOCAL, ["unknown"], "127.0.0.1 4000"),
    (LOCAL, ["_hidden"], "127.0.0.1 4000"),
    (LOCAL, ["6.6.6.6, unknown"], "127.0.0.1 4000"),
    (LOCAL, ["6.6.6.6, unknown, 1.2.3.4"], "1.2.3.4 0"),
    (LOCAL, ["1.2.3.4, unix:"], "1.2.3.4 0"),
    (INSIDE, ["1.2.3.4, unix:"], "127.0.0.1 4000"),
    (LOCAL, ["example.org"], "127.0.0.1 4000"),
    (LOCAL, ["010.0.0.1"], "127.0.0.1 4000"),
    (LOCAL, ["1.2.3"], "127.0.0.1 4000"),
    (LOCAL, ["1.2.3.4.5"], "127.0.0.1 4000"),
    (LOCAL, ["0x7f000001"], "127.0.0.1 4000"),
    (LOCAL, ["1.2.3.4<script>"], "127.0.0.1 4000"),
    (LOCAL, ["1" * 5000], "127.0.0.1 4000"),
    (INSIDE, ["6.6.6.6, 1.2.3.4, 10.1.2.3, 10.9.9.9:80"], "1.2.3.4 0"),
    (INSIDE, ["10.1.2.3, 10.9.9.9"], "10.1.2.3 0"),
    (INSIDE, ["_hidden, 10.9.9.9"], "10.9.9.9 0"),
    (INSIDE, ["1.2.3.4, fd00::7"], "1.2.3.4 0"),
    (INSIDE, ["1.2.3.4, 11.0.0.1"], "11.0.0.1 0"),
    (ANYBODY, ["6.6.6.6, 1.2.3.4"], "6.6.6.6 0"),
    (ANYBODY, ["unknown, 1.2.3.4"], "127.0.0.1 4000"),
    (ANYBODY, [], "127.0.0.1 4000"),
    (TWO_HOPS, ["6.6.6.6, 1.2.3.4, 10.0.0.1"], "1.2.3.4 0"),
    (TWO_HOPS, ["1.2.3.4", "10.0.0.1"], "1.2.3.4 0"),
    (TWO_HOPS, ["1.2.3.4"], "127.0.0.1 4000"),
    (TWO_HOPS, ["unknown, 10.0.0.1"], "127.0.0.1 4000"),
    (TWO_HOPS, ["1.2.3.4, unknown"], "1.2.3.4 0"),
]


@pytest.mark.parametrize(("rules", "fields", "expected"), FORWARDED_FOR)
def test_the_client_is_the_first_hop_from_the_right_that_is_not_trusted(
    rules: ProxyRules, fields: list[str], expected: str
) -> None:
    headers = [(b"x-forwarded-for", field.encode()) for field in fields]

    assert client(seen(rules, headers)) == expected


@pytest.mark.parametrize(
    ("rules", "hops", "fields", "expected"),
    [
        (LOCAL, "", ["https"], "https"),
        (LOCAL, "", ["HTTPS"], "https"),
        (LOCAL, "", [" https "], "https"),
        (LOCAL, "", ["http"], "http"),
        (LOCAL, "", ["wss"], "https"),
        (LOCAL, "", ["ws"], "http"),
        (LOCAL, "", ["javascript"], "http"),
        (LOCAL, "", ["https javascript:alert(1)"], "http"),
        (LOCAL, "", [""], "http"),
        (LOCAL, "1.2.3.4", ["https"], "https"),
        # A client's own claim, with what the proxy says behind it.
        (LOCAL, "1.2.3.4", ["https, http"], "http"),
        (LOCAL, "1.2.3.4", ["https", "http"], "http"),
        # TLS ended at the outer proxy, and each of the two has told what it saw.
        (INSIDE, "1.2.3.4, 10.0.0.1", ["https, http"], "https"),
        (INSIDE, "1.2.3.4, 10.0.0.1", ["ftp, https, http"], "https"),
        (INSIDE, "1.2.3.4, 10.0.0.1", ["https"], "https"),
        (TWO_HOPS, "6.6.6.6, 1.2.3.4, 10.0.0.1", ["javascript, https, http"], "https"),
    ],
)
def test_the_scheme_is_what_the_proxy_next_to_the_client_saw(
    rules: ProxyRules, hops: str, fields: list[str], expected: str
) -> None:
    headers = [(b"x-forwarded-proto", field.encode()) for field in fields]

    assert seen(rules, [*headers, (b"x-forwarded-for", hops.encode())])["scheme"] == expected


def test_a_websocket_gets_the_scheme_in_its_own_spelling() -> None:
    assert websocket_scope(seen(LOCAL, [(b"x-forwarded-proto", b"https")]))["scheme"] == "wss"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("example.org", "example.org"),
        ("example.org:8443", "example.org:8443"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443"),
        ("evil.org, example.org", "example.org"),
        ("a b", "inner"),
        ("a/b", "inner"),
        ("a@b", "inner"),
        ("a:port", "inner"),
        ("", "inner"),
    ],
)
def test_a_forwarded_host_takes_the_place_of_the_host(field: str, expected: str) -> None:
    headers = [(b"accept", b"*/*"), (b"host", b"inner"), (b"x-forwarded-host", field.encode())]

    scope = seen(LOCAL, headers)

    assert scope["headers"][:2] == [(b"accept", b"*/*"), (b"host", expected.encode())]
    assert len(scope["headers"]) == 3


def test_a_forwarded_host_stands_in_front_where_there_was_none() -> None:
    scope = seen(LOCAL, [(b"accept", b"*/*"), (b"x-forwarded-host", b"example.org")])

    assert scope["headers"][0] == (b"host", b"example.org")


@pytest.mark.parametrize(
    ("rules", "fields", "root_path", "path"),
    [
        (LOCAL, [], "", "/x"),
        (LOCAL, ["/api"], "/api", "/api/x"),
        (LOCAL, ["/api/"], "/api", "/api/x"),
        (LOCAL, ["/api/v1"], "/api/v1", "/api/v1/x"),
        (LOCAL, ["/"], "", "/x"),
        (LOCAL, ["/evil, /api"], "/api", "/api/x"),
        (ANYBODY, ["/outer, /inner"], "/inner", "/inner/x"),
        (LOCAL, ["api"], "", "/x"),
        (LOCAL, ["//evil.org"], "", "/x"),
        (LOCAL, ["/../admin"], "", "/x"),
        (LOCAL, ["/a/./b"], "", "/x"),
        (LOCAL, ["/a%2Fb"], "", "/x"),
        (LOCAL, ["https://evil.org/"], "", "/x"),
        (replace(LOCAL, root_path="/app"), ["/api"], "/api", "/api/x"),
        (replace(LOCAL, root_path="/app"), [], "/app", "/app/x"),
        (replace(LOCAL, path_is_whole=True), ["/api"], "/api", "/x"),
    ],
)
def test_a_forwarded_prefix_is_the_root_path(
    rules: ProxyRules, fields: list[str], root_path: str, path: str
) -> None:
    headers = [(b"x-forwarded-prefix", field.encode()) for field in fields]

    scope = seen(rules, headers)

    assert (scope["root_path"], scope["path"], scope["raw_path"]) == (root_path, path, b"/x")


def test_the_parts_that_several_proxies_removed_are_joined() -> None:
    hops = (b"x-forwarded-for", b"1.2.3.4, 10.0.0.1")

    scope = seen(INSIDE, [hops, (b"x-forwarded-prefix", b"/evil, /outer, /inner")])

    assert scope["root_path"] == "/outer/inner"


@pytest.mark.parametrize("peer", [NEAR, FAR])
@pytest.mark.parametrize("strip", [True, False])
def test_a_path_that_kept_its_root_is_not_given_a_second(peer: Address, strip: bool) -> None:
    rules = replace(LOCAL, root_path="/app", path_is_whole=True, strip=strip)

    scope = seen(rules, [], peer=peer, target=b"/app/x?y")

    assert (scope["root_path"], scope["path"]) == ("/app", "/app/x")


# The standard header: its fields, the client, the scheme, the host.
FORWARDED = [
    (["for=1.2.3.4"], "1.2.3.4 0", "http", "inner"),
    (["For=1.2.3.4;Proto=https;Host=example.org"], "1.2.3.4 0", "https", "example.org"),
    (['for="[2001:db8::1]:443";proto=https'], "2001:db8::1 443", "https", "inner"),
    (['for="1.2.3.4:80", for=10.0.0.1'], "1.2.3.4 80", "http", "inner"),
    (["for=6.6.6.6;proto=https, for=1.2.3.4"], "1.2.3.4 0", "http", "inner"),
    (["for=1.2.3.4;proto=https", "for=10.0.0.1;proto=http"], "1.2.3.4 0", "https", "inner"),
    (["for=_hidden;proto=https, for=10.0.0.1"], "10.0.0.1 0", "https", "inner"),
    (['for="1.2.3.4:_obfuscated"'], "1.2.3.4 0", "http", "inner"),
    (["for=unknown"], "127.0.0.1 4000", "http", "inner"),
    (["proto=https"], "127.0.0.1 4000", "https", "inner"),
    (["proto=javascript;host=a/b"], "127.0.0.1 4000", "http", "inner"),
    (['for=6.6.6.6;x=", for=1.2.3.4'], "127.0.0.1 4000", "http", "inner"),
    (['for=6.6.6.6;x="', "for=10.0.0.1;proto=https"], "10.0.0.1 0", "http", "inner"),
    ([""], "127.0.0.1 4000", "http", "inner"),
]


@pytest.mark.parametrize(("fields", "expected", "scheme", "host"), FORWARDED)
def test_the_standard_header_tells_all_of_a_hop_at_once(
    fields: list[str], expected: str, scheme: str, host: str
) -> None:
    headers = [(b"forwarded", field.encode()) for field in fields]

    scope = seen(STANDARD, [(b"host", b"inner"), *headers])

    assert (client(scope), scope["scheme"]) == (expected, scheme)
    assert scope["headers"][0] == (b"host", host.encode())


def test_more_hops_than_the_standard_header_names_leave_everything_as_it_is() -> None:
    rules = replace(STANDARD, hops=2)

    scope = seen(rules, [(b"forwarded", b"for=1.2.3.4;proto=https")])

    assert (client(scope), scope["scheme"]) == ("127.0.0.1 4000", "http")


CLAIMED: Headers = [
    (b"host", b"inner"),
    (b"x-forwarded-for", b"1.2.3.4"),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-host", b"evil.org"),
    (b"x-forwarded-prefix", b"/evil"),
    (b"forwarded", b"for=1.2.3.4;proto=https"),
    (b"x-real-ip", b"1.2.3.4"),
]


@pytest.mark.parametrize(
    ("rules", "peer"),
    [
        (LOCAL, FAR),
        (INSIDE, FAR),
        (INSIDE, None),
        (STANDARD, FAR),
        (replace(LOCAL, headers=frozenset()), NEAR),
        (replace(LOCAL, trust=parse_trust(())), NEAR),
    ],
)
def test_a_peer_that_is_not_trusted_changes_nothing(
    rules: ProxyRules, peer: Address | None
) -> None:
    scope = seen(rules, CLAIMED, peer=peer)

    assert (scope["client"], scope["scheme"], scope["root_path"]) == (peer, "http", "")
    assert scope["headers"] == CLAIMED
    assert Proxies(rules).amend_for(peer) is None


@pytest.mark.parametrize(
    ("rules", "peer"),
    [
        (LOCAL, None),
        (LOCAL, ("/run/x", None)),
        (LOCAL, ("::ffff:127.0.0.1", 1)),
        (LOCAL, ("::1", 1)),
        (ANYBODY, FAR),
        (ANYBODY, None),
        (TWO_HOPS, FAR),
        (INSIDE, ("10.200.0.1", 1)),
    ],
)
def test_a_peer_that_is_trusted_is_believed(rules: ProxyRules, peer: Address | None) -> None:
    scope = seen(rules, [(b"x-forwarded-for", b"1.2.3.4, 10.0.0.1")], peer=peer)

    assert client(scope) in ("1.2.3.4 0", "10.0.0.1 0")


def test_the_claims_of_a_stranger_are_hidden_on_demand() -> None:
    scope = seen(replace(LOCAL, strip=True), CLAIMED, peer=FAR)

    assert scope["headers"] == [(b"host", b"inner")]


def test_there_may_be_nothing_to_hide() -> None:
    headers = [(b"host", b"inner")]

    assert seen(replace(LOCAL, strip=True), headers, peer=FAR)["headers"] == headers


def test_the_headers_of_a_trusted_peer_stay_for_the_application() -> None:
    scope = seen(replace(LOCAL, strip=True), [(b"x-forwarded-for", b"1.2.3.4")])

    assert scope["headers"] == [(b"x-forwarded-for", b"1.2.3.4")]


@pytest.mark.parametrize("entry", ["127.0.0.1", "1.2.3.4", "unknown", "for=127.0.0.1", ""])
@pytest.mark.parametrize("rules", [LOCAL, ANYBODY, TWO_HOPS, STANDARD])
def test_ten_thousand_hops_take_time_in_proportion(rules: ProxyRules, entry: str) -> None:
    value = ",".join([entry] * 10_000).encode()
    started_at = time.process_time()

    seen(rules, [(b"x-forwarded-for", value), (b"forwarded", value)])

    assert time.process_time() - started_at < 0.5
