import contextlib
import json
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import quiet_logging

from serval import log
from serval.access_format import compiled, json_line
from serval.access_log import AccessLog, LineOutput, SelectiveAccessLog, open_access_log
from serval.config import ServerConfig


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    with quiet_logging.restored():
        log.configure(ServerConfig())
        yield


class Turns:
    """A loop that keeps what it is to call soon."""

    def __init__(self) -> None:
        quiet_logging.without_pytest()
        self.soon: list[Callable[[], None]] = []
        self.written: list[bytes] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def turn(self) -> None:
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


class Records(logging.Handler):
    """A handler of the application's."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.got.append(record)


def a_log(turns: Turns, **settings: Any) -> AccessLog:
    return AccessLog(turns.written.append, turns.call_soon, **settings)


def finish(access_log: AccessLog, path: bytes = b"/", *, cause: str = "", **changes: Any) -> None:
    access_log.record(
        a_scope(path, **changes),
        status=499 if cause else 200,
        sent_bytes=13,
        received_bytes=0,
        seconds=0.00081,
        headers=[],
        cause=cause,
    )


class Done:
    """An exchange that is over."""

    def __init__(self, status: int = 200, *, lost: bool = False) -> None:
        self.status = status
        self.sent_bytes = 13
        self.received_bytes = 0
        self.response_headers: Iterable[tuple[bytes, bytes]] = []
        self.lost = lost


def a_scope(path: bytes = b"/", **changes: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "raw_path": path,
        "query_string": b"",
        "http_version": "1.1",
        "client": ("127.0.0.1", 53422),
        "headers": [(b"user-agent", b"curl/8.5")],
    } | changes


# -- requests that their connection has served ---------------------------------------------------


def test_the_usual_request_takes_the_quick_way_and_looks_the_same() -> None:
    turns = Turns()
    access_log = a_log(turns)

    finish(access_log, b"/a?b")
    access_log.finished(None, Done(), a_scope(b"/a?b"), time.monotonic(), "")
    access_log.flush()

    slow, quick = [line.rpartition(b" ")[0] for line in turns.written[0].splitlines()]
    assert quick == slow


@pytest.mark.parametrize(
    ("exchange", "cause", "end"),
    [
        (Done(200, lost=True), "client left", b" (client left)"),
        (Done(413), "body-too-large", b" (body-too-large)"),
    ],
)
def test_a_request_that_did_not_end_well_says_why(exchange: Done, cause: str, end: bytes) -> None:
    turns = Turns()
    access_log = a_log(turns)

    access_log.finished(None, exchange, a_scope(), time.monotonic(), cause)
    access_log.flush()

    status = 499 if exchange.lost else exchange.status
    assert b'" %d 13B ' % status in turns.written[0]
    assert turns.written[0].endswith(end + b"\n")


@pytest.mark.parametrize("changes", [{"raw_path": b'/"\n'}, {"client": ["::1", 7]}])
def test_what_the_quick_way_cannot_write_is_written_all_the_same(changes: dict[str, Any]) -> None:
    turns = Turns()
    access_log = a_log(turns)

    access_log.finished(None, Done(), a_scope(**changes), time.monotonic(), "")
    access_log.flush()

    assert turns.written[0].count(b"\n") == 1
    assert b'HTTP/1.1" 200 13B' in turns.written[0]


def test_a_handler_of_the_application_gets_a_record_of_a_request_that_was_served() -> None:
    turns = Turns()
    records = Records()
    logging.getLogger().addHandler(records)
    access_log = a_log(turns)

    access_log.finished(None, Done(404), a_scope(), time.monotonic(), "")
    access_log.flush()

    assert [vars(record)["status"] for record in records.got] == [404]
    assert turns.written == []


# -- batches -----------------------------------------------------------------------------------


def test_the_lines_of_one_turn_leave_with_one_write() -> None:
    turns = Turns()
    access_log = a_log(turns)

    for n in range(64):
        finish(access_log, b"/%d" % n)
    assert len(turns.soon) == 1
    assert turns.written == []
    turns.turn()

    [data] = turns.written
    assert data.count(b"\n") == 64
    assert data.endswith(b"\n")


def test_the_next_turn_has_its_own_write() -> None:
    turns = Turns()
    access_log = a_log(turns)

    for _ in range(2):
        finish(access_log)
        turns.turn()
    turns.turn()

    assert len(turns.written) == 2


def test_flush_writes_at_once_and_only_what_there_is() -> None:
    turns = Turns()
    access_log = a_log(turns)

    access_log.flush()
    finish(access_log)
    access_log.flush()
    turns.turn()

    assert len(turns.written) == 1


def test_a_line_begins_with_time_and_process() -> None:
    turns = Turns()
    access_log = a_log(turns)

    finish(access_log)
    turns.turn()

    assert re.fullmatch(
        rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} \[%d\]"
        rb' 127\.0\.0\.1:53422 "GET / HTTP/1\.1" 200 13B 0\.81ms\n' % os.getpid(),
        turns.written[0],
    )


def test_the_time_of_a_line_goes_on_with_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns()
    access_log = a_log(turns, line=compiled("%(t)s"))

    for second in (1_000_000_000.2, 1_000_000_000.9, 1_000_000_001.0):
        monkeypatch.setattr("time.time", lambda second=second: second)
        monkeypatch.setattr("serval.access_log.monotonic", lambda second=second: second)
        finish(access_log)
    turns.turn()

    first, again, later = turns.written[0].splitlines()
    assert first == again
    assert later != first


def test_a_request_that_was_given_up_appears_with_499_and_its_cause() -> None:
    turns = Turns()
    access_log = a_log(turns)

    finish(access_log, cause="client left")
    turns.turn()

    assert turns.written[0].endswith(b'HTTP/1.1" 499 13B 0.81ms (client left)\n')


def test_what_a_client_sends_never_makes_two_lines() -> None:
    turns = Turns()
    access_log = a_log(turns)

    finish(access_log, b'/a\r\n127.0.0.1 "GET /forged HTTP/1.1" 200\x1b[2J\xff')
    turns.turn()

    assert turns.written[0].count(b"\n") == 1
    assert b"/a%0D%0A127.0.0.1 %22GET /forged HTTP/1.1%22 200%1B[2J%FF HTTP/1.1" in turns.written[0]


def test_a_format_of_atoms_is_the_whole_line() -> None:
    turns = Turns()
    access_log = a_log(turns, line=compiled("%(m)s %(U)s"))

    finish(access_log, b"/x")
    turns.turn()

    assert turns.written == [b"GET /x\n"]


def test_a_json_line_is_the_whole_line() -> None:
    turns = Turns()
    access_log = a_log(turns, line=json_line)

    finish(access_log, b"/x")
    turns.turn()

    assert json.loads(turns.written[0])["path"] == "/x"


def test_the_time_recedes_on_a_terminal() -> None:
    turns = Turns()
    access_log = a_log(turns, faint=True)

    finish(access_log)
    turns.turn()

    assert turns.written[0].startswith(b"\x1b[2m")


def test_a_scope_that_the_application_has_emptied_costs_its_line_and_no_more(
    capsys: pytest.CaptureFixture[str],
) -> None:
    turns = Turns()
    access_log = a_log(turns)

    finish(access_log, raw_path=None)
    finish(access_log)
    turns.turn()

    assert turns.written[0].count(b"\n") == 1
    assert "no access line for a scope that the app has changed" in capsys.readouterr().err


def test_a_line_has_its_time_though_another_thread_is_just_looking_it_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = Turns()
    access_log = a_log(turns)
    strftime = time.strftime

    def slow(*arguments: Any) -> str:
        monkeypatch.setattr("time.strftime", strftime)
        other = threading.Thread(target=finish, args=(access_log,))
        other.start()
        other.join()
        return strftime(*arguments)

    monkeypatch.setattr("time.strftime", slow)
    finish(access_log)
    turns.turn()

    lines = turns.written[0].splitlines()
    assert [line[:2] for line in lines] == [b"20", b"20"]


def test_no_line_is_lost_while_other_threads_record() -> None:
    turns = Turns()
    access_log = a_log(turns)

    def work() -> None:
        for _ in range(500):
            finish(access_log)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        turns.turn()
    turns.turn()

    assert sum(data.count(b"\n") for data in turns.written) == 2000


# -- when others listen ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "serval", "serval.access"])
def test_a_handler_of_the_application_gets_records_with_typed_extras(name: str) -> None:
    turns, records = Turns(), Records()
    logging.getLogger(name).addHandler(records)
    access_log = a_log(turns)

    finish(access_log, b"/100%25")
    turns.turn()

    [record] = records.got
    assert record.getMessage() == '127.0.0.1:53422 "GET /100%25 HTTP/1.1" 200 13B 0.81ms'
    assert vars(record)["status"] == 200
    assert vars(record)["duration_ms"] == 0.81
    assert vars(record)["path"] == "/100%25"
    assert turns.written == []


def test_a_handler_that_comes_later_gets_what_follows_and_each_line_comes_once() -> None:
    turns, records = Turns(), Records()
    access_log = a_log(turns)

    finish(access_log, b"/first")
    turns.turn()
    logging.getLogger().addHandler(records)
    finish(access_log, b"/second")
    turns.turn()

    assert [b"/first" in data for data in turns.written] == [True]
    assert ["/second" in record.getMessage() for record in records.got] == [True]


def test_a_filter_on_the_logger_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    turns = Turns()
    access_log = a_log(turns)
    log.access_logger.addFilter(lambda record: vars(record)["path"] != "/health")

    finish(access_log, b"/health")
    finish(access_log, b"/shop")
    turns.turn()

    said = capsys.readouterr().out
    assert "/shop" in said
    assert "/health" not in said


def test_a_level_above_info_silences_the_access_log() -> None:
    turns = Turns()
    access_log = a_log(turns)
    log.access_logger.setLevel(logging.WARNING)

    finish(access_log)

    assert turns.soon == []


def test_without_configured_logging_nothing_is_written() -> None:
    turns = Turns()
    access_log = a_log(turns)
    logging.getLogger("serval").handlers[:] = []

    finish(access_log)

    assert turns.soon == []


# -- the settings ------------------------------------------------------------------------------


def test_no_access_log_is_made_where_none_is_wanted() -> None:
    assert open_access_log(ServerConfig(access_log=False), Turns().call_soon) is None


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (ServerConfig(use_colors="off"), '] 127.0.0.1:53422 "GET / HTTP/1.1" 200 13B 0.81ms\n'),
        (ServerConfig(use_colors="on"), '"GET / HTTP/1.1" \x1b[32m200\x1b[0m 13B 0.81ms\n'),
        (ServerConfig(access_log_format="%(s)s"), "200\n"),
        (ServerConfig(log_format="json"), '"user_agent": "curl/8.5", "referer": ""}\n'),
    ],
)
def test_the_settings_decide_how_a_line_looks_on_standard_output(
    settings: ServerConfig, wanted: str, capfd: pytest.CaptureFixture[str]
) -> None:
    turns = Turns()
    access_log = open_access_log(settings, turns.call_soon)
    assert access_log is not None

    finish(access_log)
    turns.turn()

    assert capfd.readouterr().out.endswith(wanted)


# -- the descriptor ----------------------------------------------------------------------------


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(descriptor)


def test_a_pipe_gets_whole_lines_in_pieces_that_no_other_writer_can_cut(
    pipe: tuple[int, int],
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    lines = b"".join(b"%d %s\n" % (n, b"x" * (n % 300)) for n in range(200))

    LineOutput(ours.fileno())(lines)
    ours.close()
    pieces = []
    while piece := theirs.recv(65536):
        pieces.append(piece)
    theirs.close()

    assert b"".join(pieces) == lines
    assert len(pieces) > 1
    assert all(piece.endswith(b"\n") and len(piece) <= 4096 for piece in pieces)


def test_a_line_too_long_for_one_piece_is_written_all_the_same(pipe: tuple[int, int]) -> None:
    reader, writer = pipe

    LineOutput(writer)(b"a" * 5000 + b"\nb\n")

    assert os.read(reader, 65536) == b"a" * 5000 + b"\nb\n"


def test_a_file_gets_one_write(tmp_path: Any) -> None:
    with open(tmp_path / "log", "ab") as file:
        LineOutput(file.fileno())(b"line\n" * 2000)

    assert (tmp_path / "log").read_bytes() == b"line\n" * 2000


def test_a_reader_that_takes_nothing_loses_lines_and_is_named_once(
    pipe: tuple[int, int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quiet_logging.without_pytest()
    monkeypatch.setattr("serval.access_log._PATIENCE_SECONDS", 0.001)
    _, writer = pipe
    os.set_blocking(writer, False)
    output = LineOutput(writer)

    for _ in range(100):
        output(b"x" * 4000 + b"\n")

    assert capsys.readouterr().err.count("access lines are lost") == 1


def test_a_reader_that_comes_back_to_a_full_pipe_gets_the_line(
    pipe: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    quiet_logging.without_pytest()
    reader, writer = pipe
    os.set_blocking(writer, False)
    output = LineOutput(writer)
    try:
        while os.write(writer, b"x" * 4096):
            pass
    except BlockingIOError:
        pass

    drained = threading.Thread(target=os.read, args=(reader, 1 << 20))
    drained.start()
    output(b"late\n")
    drained.join()

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("gone", ["reader", "writer"])
def test_a_descriptor_that_leads_nowhere_is_no_error(
    gone: str, pipe: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    quiet_logging.without_pytest()
    reader, writer = pipe
    os.close(reader if gone == "reader" else writer)

    LineOutput(writer)(b"line\n")

    assert "access lines are lost" in capsys.readouterr().err


# -- what is left out --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "cause", "logged"),
    [
        (b"/healthz", 200, "", False),
        (b"/healthz", 304, "", False),
        (b"/healthz", 503, "", True),
        (b"/healthz", 200, "client left", True),
        (b"/healthz/", 200, "", True),
        (b"/static/a.css", 200, "", False),
        (b"/static/", 200, "", False),
        (b"/static", 200, "", True),
        (b"/static/a.css", 404, "", True),
        ("/healthz", 200, "", True),
    ],
)
def test_only_what_succeeds_is_left_out(path: bytes, status: int, cause: str, logged: bool) -> None:
    turns = Turns()
    excluded = ("/healthz", "/static/*")
    access_log = SelectiveAccessLog(turns.written.append, turns.call_soon, excluded=excluded)

    scope = a_scope(path)
    access_log.finished(None, Done(status), scope, time.monotonic(), cause)
    facts: dict[str, Any] = {"sent_bytes": 0, "received_bytes": 0, "seconds": 0.1, "headers": ()}
    access_log.record(scope, status=status, cause=cause, **facts)
    access_log.flush()

    # A path of another type is none that we have made, and no line can be written of it.
    expected = 2 if logged and isinstance(path, bytes) else 0
    assert b"".join(turns.written).count(b"\n") == expected


def test_a_request_that_was_lost_is_never_left_out() -> None:
    turns = Turns()
    access_log = SelectiveAccessLog(turns.written.append, turns.call_soon, excluded=("/*",))

    access_log.finished(None, Done(200, lost=True), a_scope(), time.monotonic(), "client left")
    access_log.flush()

    assert b'" 499 13B ' in turns.written[0]


def test_what_to_leave_out_is_a_setting() -> None:
    log.configure(ServerConfig())

    found = open_access_log(ServerConfig(access_log_exclude=("/a",)), Turns().call_soon)

    assert isinstance(found, SelectiveAccessLog)
