"""TLS through the command itself, with real clients and with bytes of our own."""

import asyncio
import json
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from process.harness import Program, running
from process.scope_app import BIG_BYTES
from serval.errors import ExitStatus

pytestmark = pytest.mark.timeout(90)

LOOPS = ["asyncio", "uvloop"]
REQUEST = b"GET /x HTTP/1.1\r\nhost: inner\r\n%b\r\n"
CLOSE = b"connection: close\r\n"


@dataclass(frozen=True)
class Authority:
    """A certificate authority, and the files that it issues."""

    ca: trustme.CA
    folder: Path

    @property
    def trusted(self) -> str:
        path = self.folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(path))
        return str(path)

    def issue(self, *names: str, file: str = "server.pem") -> str:
        """A certificate with its key, in one file."""
        path = self.folder / file
        fresh = path.with_suffix(".new")
        self.ca.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(str(fresh))
        fresh.replace(path)
        return str(path)

    def pair(self, *names: str, file: str) -> tuple[str, str]:
        """A certificate and its key, in two files."""
        issued = self.ca.issue_cert(*names)
        certificate, key = self.folder / f"{file}.crt", self.folder / f"{file}.key"
        issued.cert_chain_pems[0].write_to_path(str(certificate))
        issued.private_key_pem.write_to_path(str(key))
        return str(certificate), str(key)

    def client(self) -> ssl.SSLContext:
        """What a client trusts."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(trustme.CA(), tmp_path)


@contextmanager
def serving(authority: Authority, *options: str, target: str = "app") -> Iterator[Program]:
    certificate = ["--ssl-certfile", authority.issue("127.0.0.1", "localhost")]
    where = (f"process.scope_app:{target}", "--port", "0")
    with running("serval", *where, *certificate, *options) as program:
        yield program


@contextmanager
def dialled(
    program_address: tuple[str, int], context: ssl.SSLContext, name: str = "127.0.0.1"
) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(program_address, timeout=20) as raw,
        context.wrap_socket(raw, server_hostname=name, suppress_ragged_eofs=False) as sock,
    ):
        yield sock


def answer_on(sock: socket.socket, request: bytes = REQUEST % CLOSE) -> bytes:
    """Everything that comes back until the server closes."""
    sock.sendall(request)
    answer = b""
    while data := sock.recv(65536):
        answer += data
    return answer


def told(answer: bytes) -> dict[str, Any]:
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


def ends(sock: socket.socket) -> bool:
    """Whether the server closes without a word."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_speaks_to_it_and_the_application_is_told_of_tls(
    authority: Authority, loop: str
) -> None:
    with serving(authority, "--loop", loop) as program:
        host, port = program.address()
        done = subprocess.run(
            ["curl", "-sS", "--cacert", authority.trusted, f"https://{host}:{port}/x"],
            capture_output=True,
            check=True,
        )

    found = json.loads(done.stdout)
    tls = found["tls"]
    assert found["scheme"] == "https"
    assert tls["server_cert"] in Path(authority.folder / "server.pem").read_text()
    assert tls["tls_version"] in (0x0303, 0x0304)
    assert 0x1301 <= tls["cipher_suite"] <= 0xFFFF
    assert (tls["client_cert_chain"], tls["client_cert_name"]) == ([], None)
    assert tls["client_cert_error"] is None


@pytest.mark.parametrize("loop", LOOPS)
def test_bodies_of_any_size_go_both_ways_on_one_connection(authority: Authority, loop: str) -> None:
    body = bytes(range(256)) * 12_000

    with serving(authority, "--loop", loop) as program:
        host, port = program.address()
        with httpx.Client(verify=authority.client(), timeout=20) as client:
            first = client.post(f"https://{host}:{port}/echo", content=body)
            second = client.post(f"https://{host}:{port}/echo", content=iter([body, body]))
            third = client.get(f"https://{host}:{port}/big")
            fourth = client.get(f"https://{host}:{port}/x")

    assert first.content == body
    assert second.content == body * 2
    assert third.content == bytes(BIG_BYTES)
    assert fourth.json()["scheme"] == "https"


# Of the clients of `websockets`, the one without threads: where one thread reads the tickets of
# TLS 1.3 while another writes, OpenSSL may lose what is written, and no server hears of it.


@pytest.mark.parametrize("loop", LOOPS)
def test_websockets_speak_tls(authority: Authority, loop: str) -> None:
    large = bytes(500_000)

    async def talk(program: Program) -> tuple[dict[str, Any], list[str | bytes], int | None]:
        host, port = program.address()
        uri = f"wss://{host}:{port}/x"
        async with connect(uri, ssl=authority.client(), proxy=None) as client:
            found = json.loads(await client.recv())
            for message in ("hello", large, b"x", large):
                await client.send(message)
            echoes = [await client.recv() for _ in range(4)]
        return found, echoes, client.close_code

    with serving(authority, "--loop", loop) as program:
        found, echoes, code = asyncio.run(talk(program))

    assert found["scheme"] == "wss"
    assert found["tls"]["tls_version"] == 0x0304
    assert echoes == ["hello", large, b"x", large]
    assert code == 1000


def test_a_wsgi_application_is_served_by_threads(authority: Authority) -> None:
    body = bytes(range(256)) * 12_000

    with serving(authority, "--threads", "2", target="wsgi") as program:
        host, port = program.address()
        with httpx.Client(verify=authority.client(), timeout=20) as client:
            first = client.post(f"https://{host}:{port}/echo", content=body)
            second = client.post(f"https://{host}:{port}/echo", content=iter([body, body]))
            third = client.get(f"https://{host}:{port}/big")
            fourth = client.get(f"https://{host}:{port}/x")
            assert program.stop() == ExitStatus.OK  # with the connection still open

    assert first.content == body
    assert second.content == body * 2
    assert third.content == bytes(BIG_BYTES)
    assert fourth.json()["scheme"] == "https"


def test_pipelined_requests_are_answered_in_order(authority: Authority) -> None:
    with serving(authority) as program, dialled(program.address(), authority.client()) as sock:
        answer = answer_on(sock, REQUEST % b"" * 3 + REQUEST % CLOSE)

    assert answer.count(b"HTTP/1.1 200 OK") == 4


def test_a_connection_ends_with_a_word_of_tls_not_only_of_tcp(authority: Authority) -> None:
    with serving(authority) as program, dialled(program.address(), authority.client()) as sock:
        answer_on(sock)  # raises SSLEOFError where close_notify is missing


def test_a_refused_body_is_read_past_so_that_the_answer_arrives(authority: Authority) -> None:
    head = b"POST /echo HTTP/1.1\r\nhost: inner\r\ncontent-length: 1000000\r\n\r\n"

    with (
        serving(authority, "--max-body-size", "1000") as program,
        dialled(program.address(), authority.client()) as sock,
    ):
        answer = answer_on(sock, head + bytes(1_000_000))

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_slow_reader_gets_all_of_a_large_response(authority: Authority) -> None:
    with serving(authority) as program, dialled(program.address(), authority.client()) as sock:
        sock.sendall(b"GET /big HTTP/1.1\r\nhost: inner\r\nconnection: close\r\n\r\n")
        received_bytes = 0
        while data := sock.recv(3000):
            received_bytes += len(data)

    assert received_bytes > BIG_BYTES


# Who speaks, and to whom.


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_s_certificate_is_demanded_and_told(authority: Authority, loop: str) -> None:
    options = ("--ssl-cert-reqs", "required", "--ssl-ca-certs", authority.trusted)
    known = authority.client()
    authority.ca.issue_cert("client@example.org", common_name="A, B").configure_cert(known)

    with serving(authority, "--loop", loop, *options) as program:
        address = program.address()
        with dialled(address, known) as sock:
            tls = told(answer_on(sock))["tls"]
        with pytest.raises(ssl.SSLError), dialled(address, authority.client()) as sock:
            answer_on(sock)
        program.expect("refused 127.0.0.1:[0-9]+: 400 tls-handshake-failed")

    assert tls["client_cert_chain"][0].startswith("-----BEGIN CERTIFICATE-----")
    assert tls["client_cert_name"].startswith("CN=A\\, B,OU=Testing cert")


def test_a_client_s_certificate_may_be_optional(authority: Authority) -> None:
    options = ("--ssl-cert-reqs", "optional", "--ssl-ca-certs", authority.trusted)
    stranger = authority.client()
    trustme.CA().issue_cert("client@example.org").configure_cert(stranger)

    with serving(authority, *options) as program:
        address = program.address()
        with dialled(address, authority.client()) as sock:
            tls = told(answer_on(sock))["tls"]
        with pytest.raises(ssl.SSLError), dialled(address, stranger) as sock:
            answer_on(sock)

    assert tls["client_cert_name"] is None


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("one.example.org", "one.example.org"),
        ("ONE.example.org", "one.example.org"),
        ("any.wild.org", "*.wild.org"),
        ("localhost", "localhost"),
    ],
)
def test_clients_get_the_certificate_of_the_name_they_ask_for(
    authority: Authority, asked: str, shown: str
) -> None:
    one = ",".join(authority.pair("one.example.org", file="one"))
    wild = authority.issue("*.wild.org", file="wild.pem")
    options = ("--ssl-sni", f"one.example.org={one}", "--ssl-sni", f"*.wild.org={wild}")

    with (
        serving(authority, *options) as program,
        dialled(program.address(), authority.client(), asked) as sock,
    ):
        certificate = sock.getpeercert()
        tls = told(answer_on(sock))["tls"]
        own = sock.getpeercert(binary_form=True)

    assert certificate is not None
    assert own is not None
    assert ("DNS", shown) in certificate["subjectAltName"]
    assert ssl.PEM_cert_to_DER_cert(tls["server_cert"]) == own


def test_an_old_version_is_refused(authority: Authority) -> None:
    old = authority.client()
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    with serving(authority, "--ssl-minimum-version", "1.3") as program:
        with pytest.raises(ssl.SSLError), dialled(program.address(), old):
            pass
        program.expect("tls-handshake-failed, unsupported protocol")


def test_tls_1_2_is_told_with_its_cipher(authority: Authority) -> None:
    old = authority.client()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    options = ("--ssl-ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256")

    with (
        serving(authority, *options) as program,
        dialled(program.address(), old) as sock,
    ):
        tls = told(answer_on(sock))["tls"]

    assert (tls["tls_version"], tls["cipher_suite"]) == (0x0303, 0xC02B)


def test_http_1_1_is_agreed_on_by_alpn(authority: Authority) -> None:
    client = authority.client()
    client.set_alpn_protocols(["h2", "http/1.1"])

    with serving(authority) as program, dialled(program.address(), client) as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"


def test_the_proxy_protocol_comes_before_tls(authority: Authority) -> None:
    line = b"PROXY TCP4 1.2.3.4 10.0.0.1 5678 443\r\n"

    with serving(authority, "--proxy-protocol", "v1") as program:
        address = program.address()
        for pieces in ([line], [line[:20], line[20:]]):
            with socket.create_connection(address, timeout=20) as raw:
                for piece in pieces:
                    raw.sendall(piece)
                with authority.client().wrap_socket(raw, server_hostname="localhost") as sock:
                    found = told(answer_on(sock))
            assert (found["client"], found["scheme"]) == (["1.2.3.4", 5678], "https")


def test_unix_sockets_speak_tls_as_well(authority: Authority) -> None:
    path = authority.folder / "x.sock"
    files = ("--ssl-certfile", authority.issue("localhost"))

    with (
        running("serval", "process.scope_app:app", "--bind", f"unix:{path}", *files) as program,
        socket.socket(socket.AF_UNIX) as raw,
    ):
        program.expect("ready: 1 worker")
        raw.settimeout(20)
        raw.connect(str(path))
        with authority.client().wrap_socket(raw, server_hostname="localhost") as sock:
            found = told(answer_on(sock))

    assert (found["client"], found["scheme"]) == (None, "https")


# What is no TLS, or comes slowly.


@pytest.mark.parametrize("request_line", [REQUEST % b"", b"PRI * HTTP/2.0\r\n\r\n", b"G"])
def test_plain_http_is_told_that_this_port_speaks_tls(
    authority: Authority, request_line: bytes
) -> None:
    with serving(authority) as program:
        with socket.create_connection(program.address(), timeout=20) as sock:
            answer = answer_on(sock, request_line)
        program.expect("refused 127.0.0.1:[0-9]+: 400 plain-http-sent-to-a-tls-port")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"400 Bad Request: plain-http-sent-to-a-tls-port\n")


@pytest.mark.parametrize("first_bytes", [b"\0\0\0", b"\x80\x2e\x01", b"\r\n\r\n", b""])
def test_what_is_neither_is_cut_off(authority: Authority, first_bytes: bytes) -> None:
    with (
        serving(authority) as program,
        socket.create_connection(program.address(), timeout=20) as sock,
    ):
        sock.sendall(first_bytes)
        if not first_bytes:
            sock.shutdown(socket.SHUT_WR)

        assert ends(sock)


def test_a_record_that_is_no_handshake_is_refused_with_one_line(authority: Authority) -> None:
    with serving(authority) as program:
        with socket.create_connection(program.address(), timeout=20) as sock:
            sock.sendall(b"\x16\x03\x01\x00\x05hello")
            sock.recv(65536)
        program.expect("tls-handshake-failed")
        assert program.stop() == ExitStatus.OK

        assert program.text.count("tls-handshake-failed") == 1


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("first_bytes", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_handshake_has_a_deadline(authority: Authority, loop: str, first_bytes: bytes) -> None:
    options = ("--loop", loop, "--timeout-tls-handshake", "0.5")

    with (
        serving(authority, *options) as program,
        socket.create_connection(program.address(), timeout=20) as sock,
    ):
        sock.sendall(first_bytes)
        started_at = time.monotonic()
        assert ends(sock)

        assert time.monotonic() - started_at < 5.0
        if first_bytes:
            program.expect("408 tls-handshake-timeout")


def test_slow_handshakes_hold_up_nobody(authority: Authority) -> None:
    with serving(authority) as program:
        address = program.address()
        slow = [socket.create_connection(address, timeout=20) for _ in range(50)]
        for sock in slow:
            sock.sendall(b"\x16\x03\x01\x02\x00")
        with dialled(address, authority.client()) as sock:
            assert told(answer_on(sock))["scheme"] == "https"
        for sock in slow:
            sock.close()


# Certificates that cannot be used, and those that change.


def refusal(*options: str) -> str:
    """What a start is refused with."""
    with running("serval", "process.scope_app:app", "--port", "0", *options) as program:
        assert program.wait() == ExitStatus.BOOT
        assert "starts up" not in program.text
        return program.text


def test_a_start_is_refused_with_the_file_and_the_reason(authority: Authority) -> None:
    certificate, key = authority.pair("localhost", file="one")
    _, other_key = authority.pair("localhost", file="other")
    missing, empty = str(authority.folder / "missing"), authority.folder / "empty"
    empty.touch()

    assert f"cannot load {missing} (ssl_certfile): No such file" in refusal(
        "--ssl-certfile", missing
    )
    assert f"cannot load {missing} (the key of ssl_certfile): No such file" in refusal(
        "--ssl-certfile", certificate, "--ssl-keyfile", missing
    )
    text = refusal("--ssl-certfile", certificate, "--ssl-keyfile", other_key)
    assert f"{certificate} (ssl_certfile) with key {other_key}: the key is not the cert" in text
    assert f"there is no certificate in {empty}" in refusal("--ssl-certfile", str(empty))
    assert f"there is no private key in {certificate}" in refusal("--ssl-certfile", certificate)
    text = refusal(
        "--ssl-certfile", certificate, "--ssl-keyfile", key, "--ssl-sni", f"a.org={missing}"
    )
    assert f"cannot load {missing} (ssl_sni for a.org): No such file" in text


def test_a_key_may_have_a_password(authority: Authority) -> None:
    certificate, key = authority.pair("127.0.0.1", file="one")
    locked = str(authority.folder / "locked.key")
    subprocess.run(
        ["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:sesame", "-out", locked],
        check=True,
        capture_output=True,
    )
    files = ("--ssl-certfile", certificate, "--ssl-keyfile", locked)

    assert "the key is encrypted; give ssl_keyfile_password" in refusal(*files)
    assert "the password is wrong" in refusal(*files, "--ssl-keyfile-password", "x")
    with running(
        *("serval", "process.scope_app:app", "--port", "0", *files),
        environ={"SERVAL_SSL_KEYFILE_PASSWORD": "sesame"},
    ) as program:
        with dialled(program.address(), authority.client()) as sock:
            assert told(answer_on(sock))["scheme"] == "https"
        assert "sesame" not in program.text


def serial(program_address: tuple[str, int], context: ssl.SSLContext) -> str:
    """The number of the certificate that a new connection gets."""
    with dialled(program_address, context) as sock:
        certificate = sock.getpeercert()
        assert certificate is not None
        return str(certificate["serialNumber"])


def shown_anew(address: tuple[str, int], context: ssl.SSLContext, old: str) -> str:
    """The number of the next certificate, once there is one."""
    deadline = time.monotonic() + 20
    while (found := serial(address, context)) == old:
        assert time.monotonic() < deadline, "the certificate does not change"
        time.sleep(0.1)
    return found


@pytest.mark.parametrize("loop", LOOPS)
def test_a_certificate_that_changes_is_taken_up_by_itself(authority: Authority, loop: str) -> None:
    with serving(authority, "--loop", loop) as program:
        address = program.address()
        old = serial(address, authority.client())
        with dialled(address, authority.client()) as open_before:
            authority.issue("127.0.0.1")
            shown_anew(address, authority.client(), old)
            program.expect("the certificates have changed, and are loaded anew")

            assert told(answer_on(open_before))["scheme"] == "https"


def test_a_bad_pair_keeps_the_old_one_until_a_good_one_comes(authority: Authority) -> None:
    with serving(authority) as program:
        address = program.address()
        old = serial(address, authority.client())
        (authority.folder / "server.pem").write_text("nonsense")
        deadline = time.monotonic() + 20
        while "have changed and cannot be used" not in program.text:
            assert serial(address, authority.client()) == old
            assert time.monotonic() < deadline
            time.sleep(0.1)
        authority.issue("127.0.0.1")

        assert shown_anew(address, authority.client(), old) != old
        assert program.text.count("cannot be used") == 1


def test_a_reload_takes_up_the_certificate_at_once(authority: Authority) -> None:
    with serving(authority) as program:
        address = program.address()
        program.expect("ready: 1 worker")
        old = serial(address, authority.client())
        authority.issue("127.0.0.1")
        program.signal(signal.SIGHUP)
        program.expect("shuts down")

        assert serial(address, authority.client()) != old


def test_a_reload_with_a_bad_certificate_leaves_the_old_workers_serving(
    authority: Authority,
) -> None:
    with serving(authority) as program:
        address = program.address()
        program.expect("ready: 1 worker")
        old = serial(address, authority.client())
        (authority.folder / "server.pem").write_text("nonsense")
        program.signal(signal.SIGHUP)
        program.expect("there is no certificate in .*server.pem")

        assert serial(address, authority.client()) == old


# The stop.


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_stop_ends_idle_connections_and_handshakes(
    authority: Authority, loop: str, workers: str
) -> None:
    with (
        serving(authority, "--loop", loop, "--workers", workers) as program,
        dialled(address := program.address(), authority.client()) as idle,
        socket.create_connection(address, timeout=20) as silent,
        socket.create_connection(address, timeout=20) as halfway,
    ):
        halfway.sendall(b"\x16\x03\x01\x02\x00")
        idle.sendall(REQUEST % b"")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
        started_at = time.monotonic()

        assert program.stop(15.0) == ExitStatus.OK
        assert time.monotonic() - started_at < 6.0
        assert idle.recv(1) == b""
        assert ends(silent)
        assert ends(halfway)


def test_a_stop_lets_a_running_request_and_its_answer_finish(authority: Authority) -> None:
    head = b"POST /echo HTTP/1.1\r\nhost: inner\r\ncontent-length: 10\r\n\r\n12345"

    with serving(authority) as program, dialled(program.address(), authority.client()) as sock:
        program.expect("ready: 1 worker")
        sock.sendall(head)
        program.signal(signal.SIGTERM)
        program.expect("stopping")
        answer = answer_on(sock, b"67890")

        assert answer.endswith(b"\r\n\r\n1234567890")
        assert program.wait() == ExitStatus.OK


def test_a_stop_closes_websockets_with_its_code(authority: Authority) -> None:
    async def talk(program: Program) -> None:
        host, port = program.address()
        uri = f"wss://{host}:{port}/"
        async with connect(uri, ssl=authority.client(), proxy=None) as client:
            await client.recv()
            program.signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed, match="1012"):
                await client.recv()

    with serving(authority) as program:
        asyncio.run(talk(program))

        assert program.wait() == ExitStatus.OK
