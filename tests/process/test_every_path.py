"""Every option behaves the same on every way that a request can take through the server."""

import json
import logging
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import trustme

from process.lanes import Client, answer, read_body, request
from serval import Server
from serval.asgi.types import Receive, Scope, Send
from serval.config import ServerConfig
from serval.options import options_of

PATIENCE_SECONDS: Final = 20.0


# --- the ways, and what is served on them -----------------------------------------------------


def told(scheme: str, client: str, root: str, path: str, headers: Iterable[str]) -> bytes:
    """What an application was told, as far as settings have a say in it."""
    seen = {
        "scheme": scheme,
        "client": client,
        "root": root,
        "path": path,
        "forwarded": any(name.startswith("x-forwarded") for name in headers),
    }
    return json.dumps(seen).encode()


async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, and say what was told."""
    await read_body(receive)
    names = [name.decode() for name, _ in scope["headers"]]
    client = scope["client"][0] if scope["client"] else ""
    seen = told(scope["scheme"], client, scope["root_path"], scope["path"], names)
    await answer(send, seen, 200, (b"content-type", b"application/json"))


def wsgi(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """The same for WSGI, which tells the path without its root."""
    environ["wsgi.input"].read()
    names = [name[5:].lower().replace("_", "-") for name in environ if name.startswith("HTTP_")]
    root = environ["SCRIPT_NAME"]
    client = environ.get("REMOTE_ADDR", "")
    path = root + environ["PATH_INFO"]
    body = told(environ["wsgi.url_scheme"], client, root, path, names)
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


@dataclass(frozen=True)
class Way:
    """One way through the server.

    Attributes:
        options: What leads there.
        app: What is served.
        is_secure: TLS is spoken.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    app: Callable[..., Any] = asgi
    is_secure: bool = False

    def __str__(self) -> str:
        return self.name


WAYS: Final = [
    Way("asyncio", {"loop": "asyncio"}),
    Way("uvloop", {"loop": "uvloop"}),
    Way("tls", is_secure=True),
    Way("threads", {"threads": 2}),
    Way("threads-tls", {"threads": 2}, is_secure=True),
    Way("wsgi", {"threads": 2}, wsgi),
    Way("wsgi-tls", {"threads": 2}, wsgi, is_secure=True),
]


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


@dataclass(frozen=True)
class Authority:
    """A certificate for this machine, and who trusts it."""

    path: str
    context: ssl.SSLContext


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    ca = trustme.CA()
    path: Path = tmp_path_factory.mktemp("tls") / "both.pem"
    ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return Authority(str(path), context)


class Site:
    """A server on one way, as its clients see it."""

    def __init__(self, server: Server, context: ssl.SSLContext | None) -> None:
        self._server = server
        self._context = context

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._server.addresses[0]
        assert port is not None
        return host, port

    @contextmanager
    def client(self, preamble: bytes = b"") -> Iterator[Client]:
        """A client; the preamble goes ahead of everything, TLS included."""
        with socket.create_connection(self.address, timeout=PATIENCE_SECONDS) as plain:
            plain.sendall(preamble)
            with self.welcomed(plain) as client:
                yield client

    @contextmanager
    def welcomed(self, plain: socket.socket) -> Iterator[Client]:
        """The client on a socket that is connected, once the handshake is over if there is one."""
        sock = plain
        if self._context is not None:
            sock = self._context.wrap_socket(plain, server_hostname=self.address[0])
        with sock:
            yield Client(sock)

    def told(self, path: str = "/", *lines: str, preamble: bytes = b"") -> dict[str, Any]:
        """What the application says that it was told."""
        with self.client(preamble) as client:
            found: dict[str, Any] = json.loads(client.get(path, *lines).body)
        return found

    def status(self, data: bytes) -> int:
        """The status that some bytes are answered with."""
        with self.client() as client:
            client.send(data)
            return client.read().status

    def headers(self, data: bytes = request("GET", "/")) -> dict[bytes, bytes]:
        with self.client() as client:
            client.send(data)
            return client.read().headers


@contextmanager
def served(way: Way, authority: Authority, **options: Any) -> Iterator[Site]:
    tls = {"ssl_certfile": authority.path} if way.is_secure else {}
    options = {"port": 0, "lifespan": "off", **tls, **way.options, **options}
    with Server(way.app, **options).in_thread() as server:
        yield Site(server, authority.context if way.is_secure else None)


# --- the cases: each asserts what its options do ----------------------------------------------


def headers_are_set(site: Site, way: Way) -> None:
    for data in (request("GET", "/"), request("POST", "/", body=bytes(200_000))):
        found = site.headers(data)
        assert found[b"x-powered-by"] == b"serval"
        assert b"server" not in found
        assert b"date" not in found


def bodies_are_limited(site: Site, way: Way) -> None:
    chunked = request("POST", "/", "Transfer-Encoding: chunked") + b"65\r\n" + bytes(101)
    up = request("POST", "/up/load", body=bytes(101))
    assert site.status(request("POST", "/", body=bytes(100))) == 200
    assert site.status(request("POST", "/", body=bytes(101))) == 413
    assert site.status(chunked) == 413
    assert site.status(up) == 200


def heads_are_limited(site: Site, way: Way) -> None:
    assert site.status(request("GET", "/" + "a" * 200)) == 414
    assert site.status(request("GET", "/", "X: " + "a" * 200)) == 431
    assert site.status(request("GET", "/", *[f"X-{n}: {'a' * 50}" for n in range(9)])) == 431
    assert site.status(request("GET", "/", *[f"X{n}: a" for n in range(20)])) == 431
    assert site.status(request("GET", "/", "X: a")) == 200


def heads_and_bodies_come_in_time(site: Site, way: Way) -> None:
    with site.client() as slow, site.client() as stalled:
        slow.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        stalled.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc")
        assert slow.read().status == 408
        assert stalled.read().status == 408


def idle_connections_are_closed(site: Site, way: Way) -> None:
    with site.client() as client:
        assert client.get().status == 200
        assert client.at_end()


FORWARDED: Final = ("X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https")


def proxies_are_believed(site: Site, way: Way) -> None:
    found = site.told("/", *FORWARDED)
    assert (found["client"], found["scheme"]) == ("192.0.2.1", "https")


def hops_are_counted(site: Site, way: Way) -> None:
    found = site.told("/", "X-Forwarded-For: 192.0.2.1, 192.0.2.2, 192.0.2.3")
    assert found["client"] == "192.0.2.2"


def prefixes_are_believed(site: Site, way: Way) -> None:
    found = site.told("/a", "X-Forwarded-Prefix: /shop")
    assert (found["root"], found["path"]) == ("/shop", "/shop/a")


def nobody_is_believed(site: Site, way: Way) -> None:
    found = site.told("/", *FORWARDED)
    assert (found["client"], found["scheme"]) == (
        "127.0.0.1",
        "https" if way.is_secure else "http",
    )


def strangers_are_stripped(site: Site, way: Way) -> None:
    nobody_is_believed(site, way)
    assert not site.told("/", *FORWARDED)["forwarded"]


def the_root_is_put_before_the_path(site: Site, way: Way) -> None:
    found = site.told("/a%20b")
    assert (found["root"], found["path"]) == ("/api", "/api/a b")


def the_root_is_in_the_path(site: Site, way: Way) -> None:
    found = site.told("/api/a")
    assert (found["root"], found["path"]) == ("/api", "/api/a")


def the_preamble_is_believed(site: Site, way: Way) -> None:
    found = site.told("/", preamble=b"PROXY TCP4 192.0.2.9 192.0.2.8 1 2\r\n")
    assert found["client"] == "192.0.2.9"


def connections_are_bounded(site: Site, way: Way) -> None:
    with site.client() as first:
        assert first.get().status == 200
        with site.client() as second:
            assert second.get().status == 200  # the idle one has made way
            assert first.at_end()


def who_waits_comes_in_when_another_rests(site: Site, way: Way) -> None:
    with site.client() as first:
        first.send(b"GET / HTTP/1.1\r\n")
        # No handshake: that would wait for the first one.
        with socket.create_connection(site.address, timeout=PATIENCE_SECONDS) as second:
            first.send(b"Host: x\r\n\r\n")
            assert first.read().status == 200
            assert first.at_end()
            second.close()


def who_waits_comes_in_when_another_ends(site: Site, way: Way) -> None:
    with site.client() as first:
        first.send(b"GET / HTTP/1.1\r\n")
        waiting = socket.create_connection(site.address, timeout=PATIENCE_SECONDS)
    with waiting, site.welcomed(waiting) as second:
        assert second.get().status == 200


@dataclass(frozen=True)
class Case:
    """Options, and what they do."""

    holds: Callable[[Site, Way], None]
    options: dict[str, Any]


CASES: Final = [
    Case(
        headers_are_set,
        {
            "server_header": False,
            "date_header": False,
            "header": ["X-Powered-By: serval"],
            "max_body_size": 100_000,
        },
    ),
    Case(bodies_are_limited, {"max_body_size": 100, "max_body_size_at": ["/up=200"]}),
    Case(
        heads_are_limited,
        {
            "limit_request_line": 100,
            "limit_header_field": 100,
            "limit_header_block": 300,
            "limit_header_count": 10,
        },
    ),
    Case(heads_and_bodies_come_in_time, {"timeout_headers": 0.3, "timeout_body_idle": 0.3}),
    Case(idle_connections_are_closed, {"timeout_keep_alive": 0.2}),
    Case(proxies_are_believed, {"forwarded_allow_ips": ["127.0.0.0/8"]}),
    Case(hops_are_counted, {"proxy_hops": 2}),
    Case(prefixes_are_believed, {"forwarded_headers": ["x-forwarded-prefix"]}),
    Case(nobody_is_believed, {"proxy_headers": False}),
    Case(strangers_are_stripped, {"forwarded_strip": True, "forwarded_allow_ips": ["192.0.2.7"]}),
    Case(the_root_is_put_before_the_path, {"root_path": "/api"}),
    Case(the_root_is_in_the_path, {"root_path": "/api", "root_path_mode": "keep"}),
    Case(
        the_preamble_is_believed,
        {"proxy_protocol": "v1", "proxy_protocol_from": ["127.0.0.1"]},
    ),
    Case(connections_are_bounded, {"limit_connections": 1}),
    Case(who_waits_comes_in_when_another_rests, {"limit_connections": 1}),
    Case(who_waits_comes_in_when_another_ends, {"limit_connections": 1}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.holds.__name__)
def test_an_option_does_the_same_on_every_way(way: Way, authority: Authority, case: Case) -> None:
    with served(way, authority, **case.options) as site:
        case.holds(site, way)


@pytest.mark.parametrize("is_on", [True, False])
def test_the_access_log_is_the_same_on_every_way(
    way: Way, authority: Authority, is_on: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "serval.access")
    settings = {"access_log": is_on, "access_log_format": "%(m)s %(U)s %(s)s %(S)s"}
    with served(way, authority, **(settings if is_on else {"access_log": False})) as site:
        assert site.status(request("GET", "/x")) == 200

    lines = [one.getMessage() for one in caplog.records if one.name == "serval.access"]
    scheme = "https" if way.is_secure else "http"
    assert lines == [f"GET /x 200 {scheme}"] * is_on


# --- none is forgotten ------------------------------------------------------------------------

# Options that are no matter of a request's way, or of one way alone, with the tests that hold them.
ELSEWHERE: Final = {
    "test_serving.py, test_supervisor.py, test_recycling.py: the processes": (
        *("workers", "preload", "replace_mode", "crash_limit", "timeout_worker_healthcheck"),
        *("limit_max_requests", "limit_max_requests_jitter", "workers_max_rss"),
        *("workers_lifetime", "workers_lifetime_jitter"),
    ),
    "test_stopping.py, test_lane_ends.py: the end, on every lane": (
        *("drain_delay", "shutdown_stream_grace", "timeout_graceful_shutdown"),
        *("timeout_lifespan_shutdown", "timeout_startup"),
    ),
    "test_reload.py": (
        *("reload", "reload_dir", "reload_include", "reload_exclude", "reload_engine"),
    ),
    "test_identity.py, test_admin.py: the service": (
        *("admin_bind", "pid_file", "user", "group", "umask", "uds_mode", "uds_owner"),
        "uds_group",
    ),
    "test_tls.py: TLS itself": (
        *("ssl_certfile", "ssl_keyfile", "ssl_keyfile_password", "ssl_ca_certs"),
        *("ssl_cert_reqs", "ssl_minimum_version", "ssl_ciphers", "ssl_alpn", "ssl_sni"),
        "timeout_tls_handshake",
    ),
    "test_loader.py, test_lifespan.py, test_cli.py: the application": (
        *("app", "factory", "app_dir", "env_file", "interface", "lifespan"),
    ),
    "test_listeners.py: the sockets": ("host", "port", "bind", "backlog"),
    "the ways themselves": ("threads", "loop"),
    "test_anyio_pool.py": ("anyio_tokens",),
    "test_lane_clients.py, test_lane_files.py: clients that leave or do not read, on every lane": (
        *("half_close", "cancel_after_disconnect", "timeout_write_idle"),
    ),
    "test_limits.py, test_guards.py: the event loop's alone, and refused for threads": (
        *("timeout_request", "timeout_response_idle", "limit_concurrency", "limit_queue"),
        *("timeout_queue", "limit_websockets"),
    ),
    "test_websocket.py, test_websocket_connection.py: WebSockets, which have one way": (
        *("ws_max_size", "ws_max_fragments", "ws_max_queue", "ws_ping_interval"),
        *("ws_ping_timeout", "ws_close_timeout", "ws_shutdown_code", "ws_per_message_deflate"),
    ),
    "test_blocking.py": ("watchdog_lag",),
    "test_log.py and its like: the logs, which all ways share": (
        *("log_level", "log_format", "use_colors", "log_config", "error_log_file"),
        *("access_log_file", "access_log_exclude", "request_id_header", "request_id_response"),
    ),
    "above": ("access_log", "access_log_format"),
}


def test_no_option_is_forgotten() -> None:
    here = {name for case in CASES for name in case.options}
    elsewhere = {name for names in ELSEWHERE.values() for name in names}

    assert here | elsewhere == {one.name for one in options_of(ServerConfig)}
    assert here & elsewhere == set()
