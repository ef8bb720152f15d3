"""Files as responses on every lane: pathsend and zerocopysend."""

import asyncio
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trustme
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route

from process.lanes import (
    Kind,
    Notes,
    answer,
    errors_of,
    last,
    part,
    request,
    serving,
    start,
)
from serval import Server
from serval.asgi.types import Receive, Scope, Send
from serval.errors import AppError, ClientDisconnected
from serval.worker.connections import files

LARGE = bytes(range(256)) * 32_768  # 8 MiB: far more than any socket buffer
SMALL = b"small" * 100


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("files")
    (made / "large").write_bytes(LARGE)
    (made / "small").write_bytes(SMALL)
    (made / "empty").touch()
    return made


@pytest.fixture(params=[True, False], ids=["cached", "unknown"])
def cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the system tells what is in its cache."""
    if not request.param:
        monkeypatch.setattr(files, "_NO_WAIT", 0)


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


async def send_path(send: Send, path: Path) -> None:
    await send({"type": "http.response.pathsend", "path": str(path)})


class Sender:
    """An application that sends the file that the path names."""

    def __init__(self, folder: Path, *headers: tuple[bytes, bytes]) -> None:
        self.folder = folder
        self.headers = headers
        self.notes = Notes()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert "http.response.pathsend" in scope["extensions"]
        if scope["path"] == "/plain":
            await answer(send, b"plain")
            return
        await start(send, 200, *self.headers)
        try:
            await send_path(send, self.folder / scope["path"][1:])
        except (AppError, ClientDisconnected) as error:
            self.notes.put(error)
            raise


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(("name", "data"), [("large", LARGE), ("small", SMALL), ("empty", b"")])
def test_a_file_arrives_and_the_connection_goes_on(
    kind: Kind, folder: Path, name: str, data: bytes
) -> None:
    with serving(kind, Sender(folder)) as server:
        client = server.connect()
        for _ in range(2):
            got = client.get(f"/{name}")
            assert got.body == data
            assert got.headers[b"content-length"] == b"%d" % len(data)
        assert client.get("/plain").body == b"plain"
        client.close()
        server.at_rest()


def test_requests_that_were_sent_together_are_answered_in_order(kind: Kind, folder: Path) -> None:
    with serving(kind, Sender(folder)) as server:
        client = server.connect()
        client.send(b"".join(request("GET", path) for path in ("/large", "/plain", "/small") * 2))

        bodies = [client.read().body for _ in range(6)]

    assert bodies == [LARGE, b"plain", SMALL] * 2


@pytest.mark.usefixtures("cache")
def test_parts_of_files_and_other_bodies_make_one_response(kind: Kind, folder: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        zero_copy = {"type": "http.response.zerocopysend", "more_body": True}
        with (folder / "large").open("rb") as file:
            await start(send)
            await part(send, b"<")
            await send({**zero_copy, "file": file, "count": 300_000})
            await send({**zero_copy, "file": file, "count": 10})
            await send({**zero_copy, "file": file.fileno(), "offset": 5, "count": 70_000})
            await send({**zero_copy, "file": file, "offset": len(LARGE)})
            await last(send, b">")

    with serving(kind, app) as server:
        client = server.connect()
        for _ in range(2):
            got = client.get()
            assert got.headers[b"transfer-encoding"] == b"chunked"
            assert got.body == b"<" + LARGE[:300_010] + LARGE[5:70_005] + b">"


@pytest.mark.parametrize("name", ["large", "small"])
def test_an_older_client_gets_the_file_with_its_length(kind: Kind, folder: Path, name: str) -> None:
    with serving(kind, Sender(folder)) as server:
        client = server.connect()
        client.send(request("GET", f"/{name}", version="1.0"))
        got = client.read()

        assert got.body == (folder / name).read_bytes()
        assert got.closes
        assert client.at_end()


def test_a_request_for_the_head_gets_no_file(kind: Kind, folder: Path) -> None:
    length = (b"content-length", b"%d" % len(LARGE))
    with serving(kind, Sender(folder, length)) as server:
        client = server.connect()
        client.send(request("HEAD", "/large"))
        got = client.read("HEAD")

        assert got.headers[b"content-length"] == length[1]
        assert client.get("/plain").body == b"plain"


def test_no_more_is_sent_than_the_length_says(kind: Kind, folder: Path) -> None:
    with serving(kind, Sender(folder, (b"content-length", b"100000"))) as server:
        client = server.connect()

        assert client.get("/large").body == LARGE[:100_000]
        assert client.get("/plain").body == b"plain"


@pytest.mark.parametrize(
    ("name", "why"), [("missing", "No such file"), ("small", "shorter than its content-length")]
)
def test_a_file_that_cannot_be_sent_is_the_application_s_fault(
    kind: Kind, folder: Path, caplog: pytest.LogCaptureFixture, name: str, why: str
) -> None:
    app = Sender(folder, (b"content-length", b"100000"))
    with serving(kind, app) as server:
        client = server.connect()

        assert client.get(f"/{name}").status == 500
        assert why in str(app.notes.next())

    assert errors_of(caplog.records) == [f"app raised without a response: GET '/{name}'"]


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_client_that_leaves_is_told_and_nothing_stays_open(
    kind: Kind, folder: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    app = Sender(folder)
    with serving(kind, app) as server:
        before = descriptors()
        client = server.connect()
        client.send(request("GET", "/large"))
        client.read_until(b"\r\n\r\n")
        if how == "end":
            client.close()
        else:
            client.reset()

        assert isinstance(app.notes.next(), ClientDisconnected)
        server.at_rest()
        assert descriptors() == before

    assert errors_of(caplog.records) == []


def test_a_client_that_does_not_read_is_dropped_in_time(kind: Kind, folder: Path) -> None:
    app = Sender(folder)
    with serving(kind, app, timeout_write_idle=0.3) as server:
        client = server.connect(receive_buffer_bytes=4096)
        client.send(request("GET", "/large"))
        client.read_until(b"\r\n\r\n")

        assert isinstance(app.notes.next(), ClientDisconnected)
        server.at_rest()


def test_a_file_that_shrinks_on_its_way_cuts_the_response_short(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / "shrinking"
    path.write_bytes(LARGE)
    app = Sender(tmp_path)
    with serving(kind, app) as server:
        client = server.connect(receive_buffer_bytes=4096)
        client.send(request("GET", "/shrinking"))
        client.read_until(b"\r\n\r\n")
        server.until(lambda: bool(server.service.tasks))
        os.truncate(path, 100)

        with pytest.raises((EOFError, ConnectionResetError)):
            client.read_exactly(len(LARGE))
        assert "became shorter" in str(app.notes.next())


def test_others_are_served_while_a_file_leaves(kind: Kind, folder: Path) -> None:
    with serving(kind, Sender(folder)) as server:
        slow = server.connect(receive_buffer_bytes=4096)
        slow.send(request("GET", "/large"))
        slow.read_until(b"\r\n\r\n")

        assert server.connect().get("/plain").body == b"plain"
        assert slow.read_exactly(len(LARGE)) == LARGE


def test_a_file_may_take_longer_than_an_application_may_be_silent(kind: Kind, folder: Path) -> None:
    with serving(kind, Sender(folder), timeout_response_idle=0.2) as server:
        client = server.connect(receive_buffer_bytes=4096)
        client.send(request("GET", "/large"))
        client.read_until(b"\r\n\r\n")
        server.run(lambda: asyncio.sleep(0.6))

        assert client.read_exactly(len(LARGE)) == LARGE


# --- with real clients and applications -------------------------------------------------------


@pytest.fixture(params=[{}, {"loop": "asyncio"}, {"threads": 2}], ids=str)
def url(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Iterator[str]:
    """Starlette over TLS."""
    authority = trustme.CA()
    path = tmp_path / "both.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    async def file(request: Request) -> FileResponse:
        assert "http.response.pathsend" in request.scope["extensions"]
        return FileResponse(folder / request.path_params["name"])

    app = Starlette(routes=[Route("/{name}", file)])
    with Server(app, port=0, ssl_certfile=str(path), **request.param).in_thread() as server:
        yield server.url


def test_starlette_sends_files_over_tls(url: str, tmp_path: Path) -> None:
    context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    with httpx.Client(base_url=url, verify=context, timeout=20) as client:
        for name, data in (("large", LARGE), ("small", SMALL), ("empty", b"")):
            assert client.get(f"/{name}").content == data
        assert client.head("/large").headers["content-length"] == str(len(LARGE))
        partly = client.get("/large", headers={"range": "bytes=10-19"})
        assert (partly.status_code, partly.content) == (206, LARGE[10:20])


def test_a_file_leaves_over_a_unix_socket(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    app = Sender(folder)
    with Server(app, bind=[f"unix:{path}"], lifespan="off").in_thread():
        transport = httpx.HTTPTransport(uds=str(path))
        with httpx.Client(transport=transport) as client:
            assert client.get("http://x/large").content == LARGE
            assert client.get("http://x/small").content == SMALL
