"""The parser against h11 and against itself, on inputs that nobody thought of."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from wire.agreement import check
from wire.driver import cases

FRAGMENTS = [
    b"GET / HTTP/1.1",
    b"POST /a?b HTTP/1.1",
    b"OPTIONS * HTTP/1.0",
    b"Host: a",
    b"Host: [::1]:80",
    b"Content-Length: 5",
    b"Content-Length: 0",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Connection: close",
    b"Connection: keep-alive, Upgrade",
    b"Upgrade: websocket",
    b"Upgrade: h2c",
    b"Expect: 100-continue",
    b"TE: trailers",
    b"Cookie: a=b",
    b"X:",
    b"X",
    b":",
    b" ",
    b"\t",
    b",",
    b";a=b",
    b"0",
    b"5",
    b"hello",
    b"\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"\r",
    b"\n",
    b"\0",
    b"\x0b",
    b"\x85",
    b"\xff",
]
CORPUS = [case.data for case in cases() if len(case.data) < 2000]
GOOD = [
    case.data for case in cases() if not case.refusal and len(case.data) < 2000 and case.requests
]

places = st.lists(st.integers(0, 400), max_size=8)
lines = st.lists(st.sampled_from(FRAGMENTS), max_size=8).map(b"\r\n".join)
pieces = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=3), max_size=20).map(b"".join)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """A head that is nearly always legal, and something after it."""
    start = draw(st.sampled_from([b"GET / HTTP/1.1", b"POST /x HTTP/1.1", b"PUT /%20 HTTP/1.0"]))
    fields = draw(st.lists(st.sampled_from(FRAGMENTS[3:17]), max_size=4, unique=True))
    names = st.from_regex(rb"[!#-'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True)
    values = st.binary(max_size=12).map(lambda value: value.translate(None, b"\0\r\n"))
    others = draw(st.lists(st.tuples(names, values).map(b": ".join), max_size=4))
    head = b"\r\n".join([start, b"Host: a", *draw(st.permutations([*fields, *others]))])
    return head + b"\r\n\r\n" + draw(pieces)


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """A request of the corpus with a few bytes changed, dropped or put in."""
    data = draw(st.sampled_from(CORPUS))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 3)))
        data = data[:start] + draw(st.sampled_from(FRAGMENTS) | st.binary(max_size=2)) + data[end:]
    return data


@settings(max_examples=300, deadline=None)
@given(mutants(), places)
def test_a_changed_request_is_read_like_h11_reads_it(data: bytes, places: list[int]) -> None:
    check(data, places)


@settings(max_examples=300, deadline=None)
@given(heads(), places)
def test_a_made_up_head_is_read_like_h11_reads_it(data: bytes, places: list[int]) -> None:
    check(data, places)


@settings(max_examples=200, deadline=None)
@given(pieces | lines | st.binary(max_size=64), places)
@example(b"\r\n\r\n", [1, 2, 3])
def test_any_bytes_at_all_are_read_like_h11_reads_them(data: bytes, places: list[int]) -> None:
    check(data, places)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(GOOD), min_size=1, max_size=4).map(b"".join), places)
def test_requests_in_a_row_are_read_like_h11_reads_them(data: bytes, places: list[int]) -> None:
    check(data, places)
