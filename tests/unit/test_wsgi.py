import io
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from serval.errors import AppError
from serval.wsgi import (
    JOIN_BYTES,
    BodyReader,
    Environ,
    FileWrapper,
    Given,
    call,
    head_of,
)
from serval.wsgi_environ import environ_of, environ_template

SERVER = ("127.0.0.1", 8000)
PLAIN = [("Content-Type", "text/plain")]


class Recorder:
    """An answer that remembers what it was told."""

    def __init__(self, *, takes_files: bool = False, has_begun: bool = False) -> None:
        self.has_begun = has_begun
        self.takes_files = takes_files
        self.told: list[object] = []

    def start(self, given: Given) -> None:
        if given[:3] not in self.told:
            self.told.append(given[:3])

    def write(self, data: bytes) -> None:
        self.has_begun = True
        self.told.append(data)

    def write_file(self, file: Any) -> bool:
        if self.takes_files:
            self.told.append(file)
        return self.takes_files

    def finish(self, data: bytes = b"") -> None:
        self.told.append(("end", data))

    @property
    def body(self) -> list[object]:
        return self.told[1:]


class Closing:
    """An iterable that counts how often it is closed."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self.blocks = blocks
        self.closed_count = 0

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.blocks)

    def close(self) -> None:
        self.closed_count += 1


def scope_with(**fields: object) -> dict[str, Any]:
    return {
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "headers": [],
        "client": ("10.0.0.1", 4711),
        **fields,
    }


def environ_with(**fields: object) -> Environ:
    template = environ_template(SERVER, "http", errors=None, multithread=True, multiprocess=False)
    return environ_of(template, scope_with(**fields), io.BytesIO(), 0)


def answer_of(app: Any, answer: Recorder | None = None) -> Recorder:
    answer = answer or Recorder()
    call(app, {}, answer)
    return answer


def returning(result: Any, status: str = "200 OK") -> Any:
    def app(environ: Environ, start_response: Any) -> Any:
        start_response(status, PLAIN)
        return result

    return app


# --- the environ ------------------------------------------------------------------------------


def test_the_request_line_becomes_variables() -> None:
    environ = environ_with(
        method="POST",
        path="/a b",
        raw_path=b"/a%20b",
        query_string=b"x=1&y=%20",
        http_version="1.0",
    )

    assert environ["REQUEST_METHOD"] == "POST"
    assert environ["PATH_INFO"] == "/a b"
    assert environ["QUERY_STRING"] == "x=1&y=%20"
    assert environ["REQUEST_URI"] == "/a%20b?x=1&y=%20"
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.0"


def test_the_path_below_the_root_path_is_the_path_info() -> None:
    environ = environ_with(path="/api/items", raw_path=b"/items", root_path="/api")

    assert environ["SCRIPT_NAME"] == "/api"
    assert environ["PATH_INFO"] == "/items"


@pytest.mark.parametrize(
    ("path", "raw_path", "root_path", "path_info"),
    [
        ("/ü", b"/%C3%BC", "", "/Ã¼"),
        ("/ü/x", b"/%C3%BC/x", "", "/Ã¼/x"),
        ("/api/ü", b"/%C3%BC", "/api", "/Ã¼"),
        ("/\ufffd", b"/%FF", "", "/\xff"),
        ("/api/\ufffd", b"/%FF", "/api", "/\xff"),
        ("/api/\ufffd", b"/api/%FF", "/api", "/\xff"),
    ],
)
def test_a_path_info_holds_bytes_as_characters(
    path: str, raw_path: bytes, root_path: str, path_info: str
) -> None:
    environ = environ_with(path=path, raw_path=raw_path, root_path=root_path)

    assert environ["PATH_INFO"] == path_info


def test_fields_become_variables_and_repeated_ones_are_joined() -> None:
    environ = environ_with(
        headers=[
            (b"host", b"example.org"),
            (b"content-type", b"text/css"),
            (b"content-length", b"3"),
            (b"x-tag", b"a"),
            (b"x-tag", b"\xfc"),
            (b"cookie", b"a=1"),
            (b"cookie", b"b=2"),
        ]
    )

    assert environ["HTTP_HOST"] == "example.org"
    assert environ["CONTENT_TYPE"] == "text/css"
    assert environ["CONTENT_LENGTH"] == "3"
    assert environ["HTTP_X_TAG"] == "a,\xfc"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"
    assert "HTTP_CONTENT_TYPE" not in environ


def test_a_name_with_an_underscore_cannot_pass_for_one_with_a_hyphen() -> None:
    environ = environ_with(headers=[(b"x_real_ip", b"1.2.3.4"), (b"x_real_ip", b"again")])

    assert "HTTP_X_REAL_IP" not in environ
    assert "" not in environ


def test_many_names_do_not_fill_the_memory() -> None:
    for number in range(3000):
        environ = environ_with(
            headers=[(b"x-%d" % number, b"1"), (b"content-type", b"a/b"), (b"y" * 300, b"2")]
        )

    assert environ["HTTP_X_2999"] == "1"
    assert environ["CONTENT_TYPE"] == "a/b"
    assert environ["HTTP_" + "Y" * 300] == "2"


def test_a_request_that_is_read_as_the_table_of_names_is_begun_anew_has_its_content_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environs = []

    class Table(dict[bytes, str]):
        def clear(self) -> None:
            super().clear()
            environs.append(environ_with(headers=[(b"content-type", b"a/b")]))  # another thread

    full = {b"x-%d" % number: "" for number in range(1024)}
    monkeypatch.setattr("serval.wsgi_environ._KEYS", Table(full))

    environs += [environ_with(headers=[(b"x", b"1")]) for _ in range(2)]
    environs.append(environ_with(headers=[(b"content-type", b"a/b")]))

    assert [environ.get("CONTENT_TYPE") for environ in environs] == ["a/b", None, None, "a/b"]


def test_a_chunked_body_that_is_all_here_has_a_length() -> None:
    environ = environ_of(
        environ_template(SERVER, "http", errors=None, multithread=True, multiprocess=False),
        scope_with(headers=[(b"transfer-encoding", b"chunked")]),
        io.BytesIO(b"abc"),
        3,
    )

    assert environ["CONTENT_LENGTH"] == "3"
    assert "HTTP_TRANSFER_ENCODING" not in environ


@pytest.mark.parametrize(
    ("server", "scheme", "name", "port"),
    [
        (("10.0.0.2", 81), "http", "10.0.0.2", "81"),
        (("/run/x.sock", None), "http", "localhost", "80"),
        (("/run/x.sock", None), "https", "localhost", "443"),
        (None, "http", "localhost", "80"),
    ],
)
def test_the_server_has_a_name_and_a_port(server: Any, scheme: str, name: str, port: str) -> None:
    template = environ_template(server, scheme, errors=None, multithread=False, multiprocess=True)
    environ = environ_of(template, scope_with(scheme=scheme, client=None), io.BytesIO(), 0)

    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (name, port)
    assert environ["wsgi.url_scheme"] == scheme
    assert environ["REMOTE_ADDR"] == ""
    assert environ["wsgi.multiprocess"]
    assert not environ["wsgi.multithread"]


# --- the input --------------------------------------------------------------------------------


def test_a_body_on_its_way_reads_like_a_file() -> None:
    pieces = iter([b"first li", b"ne\nsecond\nth", b"ird", b""])
    stream = io.BufferedReader(BodyReader(lambda: next(pieces)))

    assert stream.readable()
    assert stream.readline() == b"first line\n"
    assert stream.read(3) == b"sec"
    assert stream.readlines() == [b"ond\n", b"third"]


def test_a_body_is_read_on_behind_its_end_in_vain() -> None:
    pieces = iter([b"abc", b"", b""])
    stream = io.BufferedReader(BodyReader(lambda: next(pieces)))

    assert stream.read() == b"abc"
    assert stream.read(1) == b""


# --- what the application returns ---------------------------------------------------------------


def test_a_list_of_one_block_is_sent_at_once() -> None:
    assert answer_of(returning([b"hello"])).told == [
        (200, b"OK", ((b"Content-Type", b"text/plain"),)),
        ("end", b"hello"),
    ]


def test_a_list_of_several_blocks_is_joined() -> None:
    assert answer_of(returning((b"a", b"", b"b"))).body == [("end", b"ab")]


def test_a_list_of_many_bytes_is_sent_block_by_block() -> None:
    block = b"x" * JOIN_BYTES

    assert answer_of(returning([block, b"", b"y"])).body == [block, b"y", ("end", b"")]


def test_a_generator_is_sent_as_it_comes() -> None:
    assert answer_of(returning(iter([b"a", b"", b"b"]))).body == [b"a", b"b", ("end", b"")]


def test_an_empty_body_has_an_end() -> None:
    assert answer_of(returning([])).body == [("end", b"")]
    assert answer_of(returning(iter([]))).body == [("end", b"")]


def test_a_generator_may_call_start_response_before_its_first_block() -> None:
    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        yield b""
        start_response("200 OK", [])
        yield b"late"

    assert answer_of(app).body == [b"late", ("end", b"")]


@pytest.mark.parametrize("result", [[b"x"], (), iter([b"x"]), iter([]), FileWrapper(io.BytesIO())])
def test_a_body_without_start_response_is_refused(result: Any) -> None:
    with pytest.raises(AppError, match="without having called start_response"):
        answer_of(lambda environ, start_response: result)


@pytest.mark.parametrize("result", [["text"], ("x",), iter(["text"]), [b"", 5]])
def test_a_body_that_is_not_bytes_is_refused(result: Any) -> None:
    with pytest.raises(AppError, match=r"body must be bytes, not (str|int)"):
        answer_of(returning(result))


def test_what_write_is_given_goes_before_what_is_returned() -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"a")
        write(b"")
        write(b"b")
        return [b"c"]

    assert answer_of(app).body == [b"a", b"b", ("end", b"c")]


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_returned_is_closed_once(fails: bool) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"a"
        if fails:
            raise KeyError("gone")

    result = Closing(blocks())
    if fails:
        with pytest.raises(KeyError):
            answer_of(returning(result))
    else:
        answer_of(returning(result))

    assert result.closed_count == 1


# --- files --------------------------------------------------------------------------------------


def test_a_file_is_given_to_whoever_can_send_it() -> None:
    file = io.BytesIO(b"x")

    assert answer_of(returning(FileWrapper(file)), Recorder(takes_files=True)).body == [file]
    assert file.closed


def test_a_file_that_nobody_can_send_is_read() -> None:
    wrapper = FileWrapper(io.BytesIO(b"abcde"), 2)

    assert answer_of(returning(wrapper)).body == [b"ab", b"cd", b"e", ("end", b"")]


def test_a_file_without_close_is_no_trouble() -> None:
    class Endless:
        def __init__(self) -> None:
            self.left = [b"a", b""]

        def read(self, size: int) -> bytes:
            return self.left.pop(0)

    assert answer_of(returning(FileWrapper(Endless()))).body == [b"a", ("end", b"")]


# --- start_response -------------------------------------------------------------------------------


def test_start_response_may_be_called_anew_for_an_error() -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", PLAIN)
        error = ValueError("bad")
        start_response("500 Oops", [], (ValueError, error, None))
        return [b"failed"]

    assert answer_of(app).told == [(500, b"Oops", ()), ("end", b"failed")]


def test_an_error_behind_the_head_comes_out_again() -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", PLAIN)
        write(b"half")
        start_response("500 Oops", [], (ValueError, ValueError("bad"), None))
        raise AssertionError("not reached")

    with pytest.raises(ValueError, match="bad"):
        answer_of(app)


def test_start_response_twice_is_refused() -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        start_response("200 OK", [])
        return []

    with pytest.raises(AppError, match="twice"):
        answer_of(app)


@pytest.mark.parametrize(
    "status", ["OK", "20 OK", "2000 OK", "abc OK", "100 Continue", "²00 OK", 200, b"200 OK"]
)
def test_a_status_that_is_none_is_refused(status: Any) -> None:
    with pytest.raises(AppError, match="status must be"):
        head_of(status, [])


@pytest.mark.parametrize("status", ["200 O\rK", "200 \x00", "200 ü"])
def test_a_reason_that_would_break_the_line_is_refused(status: str) -> None:
    with pytest.raises(AppError, match="printable ASCII"):
        head_of(status, [])


@pytest.mark.parametrize(
    "headers", [[("a",)], [("a", 1)], [(b"a", b"b")], ["ab:"], [("a", "\u20ac")], [None], ["abc"]]
)
def test_a_header_that_is_none_is_refused(headers: Any) -> None:
    with pytest.raises(AppError, match="a header must be a tuple"):
        head_of("200 OK", headers)


@pytest.mark.parametrize("headers", [None, 5, [["a", "b"]]])
def test_headers_that_are_no_list_of_tuples_are_refused(headers: Any) -> None:
    with pytest.raises(AppError, match="headers must be a list of tuples"):
        head_of("200 OK", headers)


def test_many_different_heads_do_not_fill_the_memory() -> None:
    for number in range(600):
        assert head_of("200 OK", [("x-number", str(number))])[2] == ((b"x-number", b"%d" % number),)
    many = [(f"x-{number}", "1") for number in range(50)]

    assert len(head_of("200 OK", many)[2]) == 50


def test_a_reason_may_be_left_out() -> None:
    assert head_of("204", [])[:3] == (204, b"", ())
