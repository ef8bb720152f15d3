"""Whatever an application does wrong: the right bytes to its client, one report, life goes on."""

import logging
import socket

import pytest

from process.faulty_app import FAULTS, app
from process.harness import PATIENCE_SECONDS, children_of, needs_procfs, running
from process.lanes import KINDS, Client, Kind, Server, request, serving
from serval.access_log import AccessLog, Finished
from serval.asgi.request_side import FAREWELL_COUNT
from serval.asgi.types import Scope
from serval.errors import ExitStatus

NOT_EVEN_A_COROUTINE = ["/nothing_to_await", "/raises_before_there_is_a_coroutine"]
# Nothing has been sent yet: the client gets a proper answer.
ANSWERED = [
    *(path for path in FAULTS if path.split("/")[1] in {"start", "message"}),
    *(path for path in FAULTS if path.split("/")[1] in {"raised", "raised-later"}),
    "/recurses",
    "/returns_without_an_answer",
    "/returns_after_start",
    "/fails_in_a_task_group",
    *NOT_EVEN_A_COROUTINE,
]
# The head is out: the client must see that the rest is missing.
CUT_SHORT = [
    *(path for path in FAULTS if path.split("/")[1] == "body"),
    *(path for path in FAULTS if path.split("/")[1] in {"raised-amidst", "raised-late-amidst"}),
    "/returns_amidst",
    "/body_too_short",
    "/body_too_short_in_parts",
]
# The client has what it was promised.
SURVIVED = {
    "/body_too_long": (200, b"good", "3 bytes cut off"),
    "/body_too_long_in_parts": (200, b"good", "3 bytes cut off"),
    "/raises_after_the_end": (200, b"right", "after its response"),
    "/raises_after_the_end_and_a_pause": (200, b"right", "after its response"),
    "/no_content_with_a_body": (204, b"", "a 204 response has no body: 3 bytes dropped"),
    "/reads_for_ever_after_its_answer": (200, b"right", f"{FAREWELL_COUNT} times"),
}
HARMLESS = ["/sends_after_the_end", "/swallows_its_own_faults", "/asks_too_much"]


def reports(server: Server, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says once nothing runs any more, each record with its traceback."""
    server.until(lambda: not server.service.tasks)
    handler = logging.Formatter()
    return [handler.format(r) for r in caplog.records if r.name == "serval.error"]


@pytest.mark.parametrize("path", ANSWERED)
def test_a_fault_before_the_response_is_a_500(
    server: Server, client: Client, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.get(path)

    assert (answer.status, answer.body) == (500, b"Internal Server Error")
    assert client.at_end()
    (report,) = reports(server, caplog)
    assert f"GET '{path}'" in report.splitlines()[0]
    assert server.lives()


@pytest.mark.parametrize("path", CUT_SHORT)
def test_a_fault_in_mid_response_ends_it_so_that_the_client_can_tell(
    server: Server, client: Client, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    client.send(request("GET", path))
    status, headers = client.read_head()
    rest = client.read_to_end()

    assert status == 200
    if b"content-length" in headers:
        assert rest == b"good"  # of 100
    else:
        assert rest == b"4\r\ngood\r\n"  # and no last chunk
    (report,) = reports(server, caplog)
    assert f"GET '{path}'" in report.splitlines()[0]
    assert server.lives()


def test_a_client_of_http_1_0_sees_the_missing_rest_as_an_error(
    server: Server, client: Client
) -> None:
    client.send(request("GET", "/returns_amidst", version="1.0"))

    with pytest.raises(ConnectionResetError):
        client.read()  # its body would end with the connection


@pytest.mark.parametrize("path", SURVIVED)
def test_a_fault_that_the_client_need_not_see_is_reported_and_the_connection_lives_on(
    server: Server, client: Client, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    status, body, said = SURVIVED[path]

    answer = client.get(path)

    assert (answer.status, answer.body) == (status, body)
    assert client.get("/").body == b"right"
    (report,) = reports(server, caplog)
    assert f"GET '{path}'" in report.splitlines()[0]
    assert said in report


@pytest.mark.parametrize("path", HARMLESS)
def test_what_does_no_harm_does_none(
    server: Server, client: Client, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert client.get(path).body == b"right"
    assert client.get("/").body == b"right"
    assert reports(server, caplog) == []


def test_an_application_that_reads_for_ever_is_ended_once_its_client_has_left(
    server: Server, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "serval.error")
    client.send(request("GET", "/reads_for_ever"))
    server.until(lambda: len(server.service.tasks) == 1)
    client.close()

    (report,) = reports(server, caplog)
    assert f"told http.disconnect {FAREWELL_COUNT} times" in report
    assert server.lives()


class BrokenLog(AccessLog):
    """Stands for any defect of the server's own."""

    def __init__(self) -> None:
        super().__init__(lambda _: None, lambda _: None)

    def finished(
        self, source: object, exchange: Finished, scope: Scope, started_at: float, cause: str
    ) -> None:
        if scope["path"] == "/raises_after_the_end":
            raise RuntimeError("a defect")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.lane == "sync"], ids=str)
def test_a_defect_of_our_own_ends_one_connection_and_no_other(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(kind, app, access_log=BrokenLog()) as server:
        client = server.connect()
        client.send(request("GET", "/raises_after_the_end"))

        assert client.at_end()
        assert server.lives()
        assert "a defect" in "".join(reports(server, caplog))


@needs_procfs
def test_a_worker_outlives_every_fault() -> None:
    never = "/never_answers", "/never_answers_and_cannot_be_cancelled"
    paths = [*ANSWERED, *CUT_SHORT, *SURVIVED, *HARMLESS, "/reads_for_ever", *never]
    options = ["--port", "0", "--lifespan", "off", "--timeout-graceful-shutdown", "1"]
    with running("serval", "process.faulty_app:app", *options, "--no-access-log") as program:
        host, port = program.address()
        program.expect("ready")
        before = children_of(program.pid)
        for path in paths:
            with socket.create_connection((host, port), timeout=PATIENCE_SECONDS) as sock:
                sock.sendall(request("GET", path))
                if not path.startswith(("/never", "/reads_for_ever")):
                    assert sock.recv(65_536)
            assert program.text  # the pipe of the log must not fill
        with socket.create_connection((host, port), timeout=PATIENCE_SECONDS) as sock:
            answer = Client(sock).get("/")

        assert answer.body == b"right"
        assert children_of(program.pid) == before
        # What neither ends nor can be cancelled does not hold the stop up.
        assert program.stop() == ExitStatus.OK
        program.expect("1 tasks ignore their cancellation")
