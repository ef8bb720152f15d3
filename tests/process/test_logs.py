"""Log files and access lines of a whole server, as an operator meets them."""

import http.client
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from process.harness import PATIENCE_SECONDS, children_of, needs_procfs, running

APP = "process.service_apps:app"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def get(address: tuple[str, int], path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE_SECONDS)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that no line and no answer tells of."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def lines(path: Path, count: int) -> list[str]:
    """The lines of a file, once there are so many."""
    until(lambda: path.exists() and path.read_text().count("\n") >= count)
    return path.read_text().splitlines()


def files_of(pid: int) -> set[str]:
    """What the descriptors of a process lead to."""
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:  # closed meanwhile
            continue
    return found


@needs_procfs
def test_logs_go_on_in_new_files_once_they_were_renamed_and_usr1_has_come(tmp_path: Path) -> None:
    access, errors = tmp_path / "access.log", tmp_path / "error.log"
    options = ("--access-logfile", str(access), "--error-logfile", str(errors))

    with running("serval", APP, "--port", "0", "--workers", "2", *options) as program:
        until(lambda: errors.exists() and "ready: 2 workers" in errors.read_text())
        found = re.search(r"http://([\d.]+):(\d+)", errors.read_text())
        assert found is not None
        address = (found[1], int(found[2]))
        get(address, "/first")
        assert '"GET /first HTTP/1.1" 200' in lines(access, 1)[0]
        access.rename(tmp_path / "access.log.1")
        errors.rename(tmp_path / "error.log.1")
        program.signal(signal.SIGUSR1)
        pids = [program.pid, *children_of(program.pid)]
        new = {str(access), str(errors)}
        until(lambda: all({f for f in files_of(p) if ".log" in f} == new for p in pids))
        get(address, "/second")
        assert '"GET /second HTTP/1.1" 200' in lines(access, 1)[0]
        assert program.stop() == 0

        assert len(pids) == 3
        assert program.text.replace("app in", "").count("serval") == 0
    assert "/second" not in (tmp_path / "access.log.1").read_text()
    assert "stopping: " in errors.read_text()


def test_a_log_file_that_cannot_be_opened_keeps_the_server_from_starting(tmp_path: Path) -> None:
    path = str(tmp_path / "none" / "error.log")

    with running("serval", APP, "--port", "0", "--error-log-file", path) as program:
        assert program.wait() == 2

        program.expect(f"cannot open the log file {path}: No such file or directory")


def test_successful_probes_are_left_out_of_the_access_log_and_failing_ones_are_not() -> None:
    excluded = ("--access-log-exclude", "/healthz", "--access-log-exclude", "/static/*")

    with running("serval", "process.quiet_app:probed", "--port", "0", *excluded) as program:
        address = program.address()
        for path in ("/healthz", "/static/a.css?v=1", "/static", "/healthz?fail", "/static/fail"):
            get(address, path)

        program.expect(r'"GET /static HTTP/1\.1" 200')
        program.expect(r'"GET /healthz\?fail HTTP/1\.1" 503')
        program.expect(r'"GET /static/fail HTTP/1\.1" 503')
        assert "a.css" not in program.text
        assert '"GET /healthz HTTP' not in program.text


def test_a_log_configuration_of_the_operator_takes_the_place_of_ours(tmp_path: Path) -> None:
    config, out = tmp_path / "log.json", tmp_path / "all.log"
    config.write_text(
        """{
        "formatters": {"own": {"format": "own %(name)s %(message)s"}},
        "handlers": {"file": {"class": "logging.FileHandler", "filename": "PATH",
                              "formatter": "own"}},
        "root": {"handlers": ["file"], "level": "INFO"}}""".replace("PATH", str(out))
    )

    with running("serval", APP, "--port", "0", "--log-config", str(config)) as program:
        until(lambda: out.exists() and "ready: 1 worker" in out.read_text())
        found = re.search(r"http://([\d.]+):(\d+)", out.read_text())
        assert found is not None
        get((found[1], int(found[2])), "/")
        until(lambda: "own serval.access " in out.read_text())
        program.stop()

        assert "serval.access" not in program.text
        assert out.read_text().count('"GET / HTTP/1.1" 200') == 1


def test_each_request_has_an_id_that_client_application_and_logs_agree_on() -> None:
    ids = ("--request-id-header", "X-Request-ID", "--log-format", "json")
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    with running("serval", "process.quiet_app:identified", "--port", "0", *ids) as program:
        address = program.address()
        given = get(address, "/a", **{"X-Request-ID": "abc-1", "traceparent": trace})
        made = get(address, "/b")
        failed = get(address, "/fail", **{"X-Request-ID": "abc-2"})

        assert given.getheader("X-Request-ID") == given.getheader("X-Seen") == "abc-1"
        assert re.fullmatch("[0-9a-f]{32}", made.getheader("X-Request-ID") or "")
        assert made.getheader("X-Seen") == made.getheader("X-Request-ID")
        assert (failed.status, failed.getheader("X-Request-ID")) == (500, "abc-2")
        error = json.loads(program.expect(r'\{.*"exception".*\}')[0])
        assert (error["request_id"], error["method"], error["path"]) == ("abc-2", "GET", "/fail")
        assert "app raised without a response: GET '/fail' [abc-2]" in error["message"]
        program.stop()
        access = [
            json.loads(line) for line in program.text.splitlines() if '"serval.access"' in line
        ]
        assert {one["request_id"] for one in access} >= {"abc-1", "abc-2"}
        assert [one.get("traceparent") for one in access if one["path"] == "/a"] == [trace]


@pytest.mark.parametrize("threads", ["0", "2"])
def test_the_answer_to_a_websocket_handshake_tells_the_id_whatever_it_is(threads: str) -> None:
    options = ("--request-id-header", "X-Request-ID", "--threads", threads)

    with running("serval", "process.quiet_app:identified", "--port", "0", *options) as program:
        address = program.address()

        def told(path: str, version: str = "13", **headers: str) -> tuple[int, list[str]]:
            answer = get(address, path, **{**UPGRADE, "Sec-WebSocket-Version": version}, **headers)
            return answer.status, answer.headers.get_all("X-Request-ID") or []

        given = {"X-Request-ID": "abc-1"}
        assert told("/a", **given) == (101, ["abc-1"])
        assert told("/deny", **given) == (401, ["abc-1"])
        assert told("/close", **given) == (403, ["abc-1"])
        assert told("/fail", **given) == (500, ["abc-1"])
        assert told("/a", version="12", **given) == (426, ["abc-1"])
        assert told("/own", **given) == (101, ["its-own"])
        made = get(address, "/a", **UPGRADE)
        assert re.fullmatch("[0-9a-f]{32}", made.headers["X-Request-ID"])
        assert made.headers["X-Seen"] == made.headers["X-Request-ID"]


def test_the_answer_to_a_websocket_handshake_tells_no_id_where_none_is_to_be_told() -> None:
    options = ("--request-id-header", "X-Request-ID", "--no-request-id-response")

    with running("serval", "process.quiet_app:identified", "--port", "0", *options) as program:
        accepted = get(program.address(), "/a", **UPGRADE)

        assert accepted.status == 101
        assert "X-Seen" in accepted.headers
        assert "X-Request-ID" not in accepted.headers


LARGE = b"POST /up?load HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n"
CHUNKED = b"POST /up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_what_is_refused_is_told_with_method_path_and_reason() -> None:
    options = ("--max-body-size", "100", "--log-level", "info")

    with running("serval", "process.quiet_app:echoing", "--port", "0", *options) as program:
        address = program.address()

        def says(*parts: bytes) -> bytes:
            with socket.create_connection(address, PATIENCE_SECONDS) as sock:
                answer = b""
                for part in parts:
                    sock.sendall(part)
                    answer += sock.recv(65536)
                with suppress(ConnectionError):
                    while more := sock.recv(65536):
                        answer += more
            return answer

        assert says(LARGE).startswith(b"HTTP/1.1 413 ")
        program.expect(r'"POST /up\?load HTTP/1\.1" 413 .*\(body-too-large\)')
        assert says(b"GET /a HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        program.expect(r'"GET /a HTTP/1\.1" 400 .*\(no-colon\)')
        assert b" 200 OK\r\n" in says(CHUNKED + b"1\r\na\r\n", b"nonsense\r\n")
        program.expect(r'"POST /up HTTP/1\.1" 499 .*\(bad-chunk-size\)')
        assert says(b"\x16\x03\x01").startswith(b"HTTP/1.1 400 ")
        program.expect(r'"- - HTTP/1\.1" 400 .*\(tls-handshake\)')
        assert re.search(r"refused \S+: 413 body-too-large at byte 0, POST /up,", program.text)
        assert re.search(r"refused \S+: 400 no-colon at byte 26, GET /a,", program.text)
        assert re.search(r"refused \S+: 400 bad-chunk-size at byte \d+, POST /up,", program.text)
