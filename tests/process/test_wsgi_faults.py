"""Whatever a WSGI application does wrong: the right bytes to its client, a report, life goes on."""

import socket
from collections.abc import Iterator

import pytest

from process.faulty_wsgi_app import ANSWERED, CUT_SHORT, HARMLESS, SURVIVED
from process.harness import Program, children_of, needs_procfs, running
from process.lanes import PATIENCE_SECONDS, Client, request
from serval.errors import ExitStatus

pytestmark = needs_procfs

OPTIONS = ["--port", "0", "--threads", "2", "--no-access-log"]


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    with running("serval", "process.faulty_wsgi_app:app", *OPTIONS) as program:
        program.expect("ready")
        before = children_of(program.pid)
        yield program
        assert children_of(program.pid) == before  # the same worker, to the end
        assert program.stop() == ExitStatus.OK


@pytest.fixture
def client(program: Program) -> Iterator[Client]:
    client = connect(program)
    yield client
    client.close()


def connect(program: Program) -> Client:
    found = next(line for line in program.lines if "http://" in line)
    host, _, port = found.partition("http://")[2].split()[0].rpartition(":")
    return Client(socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS))


def lives(program: Program) -> bool:
    other = connect(program)
    try:
        return other.get("/").body == b"right"
    finally:
        other.close()


@pytest.mark.parametrize("path", ANSWERED)
def test_a_fault_before_the_response_is_a_500(program: Program, client: Client, path: str) -> None:
    answer = client.get(path)

    assert (answer.status, answer.body) == (500, b"Internal Server Error")
    assert client.at_end()
    program.expect(f"ERROR: .*GET '{path}'")
    assert lives(program)


@pytest.mark.parametrize("path", CUT_SHORT)
def test_a_fault_in_mid_response_ends_it_so_that_the_client_can_tell(
    program: Program, client: Client, path: str
) -> None:
    client.send(request("GET", path))
    status, headers = client.read_head()
    rest = client.read_to_end()

    assert status == 200
    assert rest == (b"good" if b"content-length" in headers else b"4\r\ngood\r\n")
    program.expect(f"ERROR: .*GET '{path}'")
    assert lives(program)


@pytest.mark.parametrize("path", SURVIVED)
def test_a_fault_that_the_client_need_not_see_is_reported(
    program: Program, client: Client, path: str
) -> None:
    answer = client.get(path)

    assert (answer.status, answer.body) in {(200, b"good"), (200, b"right"), (204, b"")}
    program.expect(f"GET '{path}'")
    assert lives(program)


@pytest.mark.parametrize("path", HARMLESS)
def test_what_does_no_harm_does_none(client: Client, path: str) -> None:
    assert client.get(path).body == b"right"
    assert client.get("/").body == b"right"
