import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serval.access_format import (
    Entry,
    QuickLines,
    Stamp,
    address,
    colored_line,
    compiled,
    fields,
    json_line,
    line_format,
    plain_line,
)
from serval.errors import ConfigError

STAMP = Stamp(
    text="2026-11-22 13:24:05 +0000",
    clf="22/Nov/2026:13:24:05 +0000",
    iso="2026-11-22T13:24:05.000+00:00",
)
APACHE = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'


def a_scope(**changes: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "raw_path": b"/users/42",
        "query_string": b"page=1",
        "http_version": "1.1",
        "client": ("127.0.0.1", 53422),
        "headers": [(b"user-agent", b"curl/8.5"), (b"referer", b"https://example.org/")],
    } | changes


def an_entry(
    *,
    status: int = 200,
    sent_bytes: int = 13,
    seconds: float = 0.00081,
    headers: list[tuple[bytes, bytes]] | None = None,
    cause: str = "",
    **changes: Any,
) -> Entry:
    return Entry(
        a_scope(**changes), status, sent_bytes, 7, seconds, headers or [], cause, STAMP, 4242
    )


# -- the default line --------------------------------------------------------------------------


def test_the_default_line_names_client_request_status_size_and_duration() -> None:
    assert plain_line(an_entry()) == (
        '127.0.0.1:53422 "GET /users/42?page=1 HTTP/1.1" 200 13B 0.81ms'
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.00ms"), (0.000034, "0.03ms"), (0.01234, "12.3ms"), (61.0, "61000.0ms")],
)
def test_a_duration_has_the_digits_that_matter(seconds: float, text: str) -> None:
    assert plain_line(an_entry(seconds=seconds)).endswith(f" 13B {text}")


def test_a_request_that_was_given_up_is_told_with_its_cause() -> None:
    line = plain_line(an_entry(status=499, cause="client left"))

    assert line.endswith('HTTP/1.1" 499 13B 0.81ms (client left)')


def test_a_websocket_is_told_without_a_method() -> None:
    entry = an_entry(status=101)
    del entry.scope["method"]

    assert '"WEBSOCKET /users/42?page=1 HTTP/1.1" 101' in plain_line(entry)


def test_a_long_target_is_cut() -> None:
    line = plain_line(an_entry(raw_path=b"/" + b"a" * 8000))

    assert len(line) < 2200
    assert 'aaa... HTTP/1.1" 200' in line


@pytest.mark.parametrize("status", [200, 404, 500])
def test_the_coloured_line_colours_the_status_alone(status: int) -> None:
    line = colored_line(an_entry(status=status))

    assert f"m{status}\x1b[0m 13B" in line
    assert line.count("\x1b") == 2


targets = st.binary(max_size=40) | st.sampled_from([b"/", b'/"', b"/a\r\nb", b"/\xc3\xa9"])


@given(
    method=st.sampled_from(["GET", "M-SEARCH"]),
    raw_path=targets,
    query=targets,
    client=st.sampled_from([None, ("10.1.2.3", 5), ("::1", 5), ("unknown\n", 0), ["::1", 7]]),
    status=st.sampled_from([200, 404]),
    sent_bytes=st.integers(min_value=0, max_value=10**10),
    seconds=st.floats(min_value=0, max_value=1e5),
)
def test_the_quick_line_gives_way_or_agrees_with_the_plain_one(
    method: str,
    raw_path: bytes,
    query: bytes,
    client: Any,
    status: int,
    sent_bytes: int,
    seconds: float,
) -> None:
    entry = an_entry(
        status=status,
        sent_bytes=sent_bytes,
        seconds=seconds,
        method=method,
        raw_path=raw_path,
        query_string=query,
        client=tuple(client) if isinstance(client, list) else client,
    )

    quick = QuickLines()
    quick.begin("now ")
    plain = plain_line(entry)

    for _ in range(2):  # the second time from what it has kept
        assert quick.line(entry.scope, status, sent_bytes, seconds) in {None, f"now {plain}\n"}
    assert plain.isascii()
    assert plain.isprintable()


@pytest.mark.parametrize(
    "changes",
    [
        {"raw_path": b"/" * 5000},
        {"query_string": b"a" * 5000},
        {"raw_path": b'/"'},
        {"query_string": b"\xff"},
    ],
)
def test_the_quick_line_gives_way_where_something_is_to_be_cut_or_escaped(
    changes: dict[str, bytes],
) -> None:
    assert QuickLines().line(a_scope(**changes), 200, 0, 0.1) is None


def test_a_time_that_has_passed_is_not_kept_for_a_client() -> None:
    quick = QuickLines()
    quick.begin("then ")

    class Client(tuple[str, int]):
        def __getitem__(self, index: Any) -> Any:
            quick.begin("now ")  # another thread does
            return super().__getitem__(index)

    client = Client(("10.0.0.1", 1))
    lines = [quick.line(a_scope(client=client), 200, 0, 0.001) for _ in range(2)]

    assert [str(line).partition(" ")[0] for line in lines] == ["then", "now"]


def test_the_quick_lines_keep_no_more_than_so_many_clients_and_targets() -> None:
    quick = QuickLines()
    quick.begin("")

    for number in range(5000):
        scope = a_scope(client=("10.0.0.1", number + 1), raw_path=b"/%d" % number)
        assert quick.line(scope, 200, number, 0.001) == (
            f'10.0.0.1:{number + 1} "GET /{number}?page=1 HTTP/1.1" 200 {number}B 1.00ms\n'
        )

    assert len(quick._heads) <= 1024
    assert len(quick._targets) <= 1024


@pytest.mark.parametrize(
    ("client", "text"),
    [
        (("10.0.0.1", 80), "10.0.0.1:80"),
        (("2001:db8::1", 80), "[2001:db8::1]:80"),
        (("10.0.0.1", None), "10.0.0.1"),
        (("10.0.0.1", 0), "10.0.0.1"),
        (None, "-"),
        (("", 0), "-"),
    ],
)
def test_an_address_is_written_as_a_url_would(client: Any, text: str) -> None:
    assert address(client) == text


# -- gunicorn's atoms --------------------------------------------------------------------------


def test_the_combined_log_format_comes_out_as_apache_writes_it() -> None:
    assert compiled(APACHE)(an_entry()) == (
        "127.0.0.1 - - [22/Nov/2026:13:24:05 +0000]"
        ' "GET /users/42?page=1 HTTP/1.1" 200 13 "https://example.org/" "curl/8.5"'
    )


@pytest.mark.parametrize(
    ("atom", "text"),
    [
        ("%(m)s %(U)s %(q)s %(H)s %(S)s", "GET /users/42 page=1 HTTP/1.1 http"),
        ("%(B)s %(b)s %(I)s", "13 13 7"),
        ("%(T)s %(M)s %(D)s %(L)s", "1 1500 1500000 1.500000"),
        ("%(p)s", "<4242>"),
        ("%(s)d%%", "200%"),
        ("%({User-Agent}i)s", "curl/8.5"),
        ("%({X-Missing}i)s", "-"),
        ("%({content-type}o)s", "text/plain"),
        ("%(tls)s %(cause)s", "- -"),
    ],
)
def test_an_atom_gives_its_value(atom: str, text: str) -> None:
    entry = an_entry(seconds=1.5, headers=[(b"Content-Type", b"text/plain")])

    assert compiled(atom)(entry) == text


def test_atoms_without_a_value_are_dashes() -> None:
    entry = an_entry(sent_bytes=0, client=None, headers=[], query_string=b"")
    entry.scope["headers"] = []

    assert compiled("%(h)s %(u)s %(b)s %(f)s %(a)s [%(q)s]")(entry) == "- - - - - []"


def test_the_tls_version_comes_from_the_extension_of_the_scope() -> None:
    entry = an_entry(extensions={"tls": {"tls_version": 0x0304}})

    assert compiled("%(tls)s")(entry) == "TLSv1.3"


@pytest.mark.parametrize(
    ("authorization", "user"),
    [
        (b"Basic " + base64.b64encode(b"ada:secret"), "ada"),
        (b"basic " + base64.b64encode(b"a\nb:secret"), r"a\x0ab"),
        (b"Basic " + base64.b64encode(b":secret"), "-"),
        (b"Basic !!!", "-"),
        (b"Bearer token", "-"),
    ],
)
def test_the_user_is_the_one_of_basic_authentication(authorization: bytes, user: str) -> None:
    entry = an_entry(headers=[])
    entry.scope["headers"] = [(b"authorization", authorization)]

    assert compiled("%(u)s")(entry) == user


@given(st.binary(max_size=60))
def test_no_header_can_break_a_formatted_line_in_two_or_end_its_quotes(value: bytes) -> None:
    entry = an_entry()
    entry.scope["headers"] = [(b"user-agent", value), (b"x-b", value)]

    line = compiled('"%(a)s" "%({x-b}i)s"')(entry)

    assert line.isprintable()
    assert line.isascii()
    assert line.count('"') == 4


def test_a_formatted_line_never_grows_beyond_what_a_pipe_takes_at_once() -> None:
    entry = an_entry()
    entry.scope["headers"] = [(b"user-agent", b"\x00" * 16_000)]

    assert len(compiled("%(a)s" * 20)(entry)) <= 4003


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ("%(nope)s", r"unknown atom %\(nope\)s; known are h, l, u"),
        ("%({bad name}i)s", "unknown atom"),
        ("100%", "which is no atom"),
        ("%s", "which is no atom"),
        ("%(h)x", "which is no atom"),
        ("a\nb", "line break"),
    ],
)
def test_a_format_that_cannot_be_used_is_refused_with_what_would_be_legal(
    wrong: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        compiled(wrong)


# -- JSON --------------------------------------------------------------------------------------


def test_a_json_line_is_one_object_with_typed_fields() -> None:
    line = json_line(an_entry(status=499, cause="client left"))

    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2026-11-22T13:24:05.000+00:00",
        "level": "info",
        "logger": "serval.access",
        "pid": 4242,
        "client": "127.0.0.1:53422",
        "method": "GET",
        "path": "/users/42",
        "query": "page=1",
        "http_version": "1.1",
        "status": 499,
        "duration_ms": 0.81,
        "sent_bytes": 13,
        "received_bytes": 7,
        "user_agent": "curl/8.5",
        "referer": "https://example.org/",
        "cause": "client left",
    }


def test_a_request_id_that_the_client_or_proxy_sent_is_a_field() -> None:
    entry = an_entry()
    entry.scope["headers"] = [(b"x-request-id", b"7f\r\n1")]

    assert fields(entry)["request_id"] == r"7f\x0d\x0a1"


def test_a_request_id_from_a_handoff_comes_before_a_clients() -> None:
    entry = an_entry()
    entry.scope["headers"] = [(b"x-request-id", b"theirs")]
    entry.scope["extensions"] = {"serval": {"request_id": "ours"}}

    assert fields(entry)["request_id"] == "ours"


# -- the choice of a format --------------------------------------------------------------------


def test_the_settings_choose_the_format() -> None:
    assert line_format("", "text") is plain_line
    assert line_format("", "json") is json_line
    assert line_format("%(s)s", "text")(an_entry()) == "200"


def test_a_format_for_json_lines_is_a_contradiction() -> None:
    with pytest.raises(ConfigError, match="not both"):
        line_format("%(s)s", "json")


def test_the_proxy_that_speaks_for_a_client_is_told_apart_from_it() -> None:
    proxied = an_entry(client=("203.0.113.7", 0), extensions={"serval": {"peer": ("10.0.0.1", 5)}})
    direct = an_entry(client=("10.0.0.1", 5))

    assert compiled("%(h)s %(peer)s")(proxied) == "203.0.113.7 10.0.0.1:5"
    assert compiled("%(h)s %(peer)s")(direct) == "10.0.0.1 10.0.0.1:5"
    assert (fields(proxied)["client"], fields(proxied)["peer"]) == ("203.0.113.7", "10.0.0.1:5")
    assert "peer" not in fields(direct)
