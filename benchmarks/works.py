"""The works: what is asked of every server, what it must answer, and the cost we aim at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

HELLO: Final = b"Hello, World!"
JSON_1_KIB: Final = b'{"items": "' + b"x" * (1024 - 13) + b'"}'

BROWSER_HEADERS: Final = {
    "Connection": "keep-alive",
    "sec-ch-ua": '"Chromium";v="138", "Not=A?Brand";v="8"',
    "sec-ch-ua-mobile": "?0",
    "sec-ch-ua-platform": '"Linux"',
    "Upgrade-Insecure-Requests": "1",
    "User-Agent": (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
        " Chrome/138.0.0.0 Safari/537.36"
    ),
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-GB,en;q=0.9",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One thing that is measured.

    Attributes:
        goals: Our cost divided by that peer's that we want at most, by the peer's name.
        unit: What one unit of the cost is, in the singular.
        conversation: The name of a conversation of `benchmarks.client`; empty where wrk or h2load
            makes the load from the attributes below.
        pipelined_count: Requests that wrk sends at once on a connection.
        rate: Requests in a second, by h2load, whatever the answers take; 0: each connection asks
            again once it is answered. What counts then is the 99th percentile of the latency.
        threads: The application is called by so many threads, over WSGI; 0: ASGI, on a loop.
        varied: Every request has a query string and an identifier of its own, so that nothing
            remembered of an earlier one helps.
    """

    name: str
    title: str
    goals: Mapping[str, float]
    unit: str = "request"
    application: str = "plain:app"
    connections: int = 64
    tls: bool = False
    conversation: str = ""
    path: str = "/"
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    answer: bytes = HELLO
    pipelined_count: int = 1
    rate: int = 0
    varied: bool = False
    threads: int = 0

    def request(self, authority: str) -> bytes:
        """The request as it goes over the wire, for the check before a measurement."""
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {authority}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def _goals(uvicorn: float, granian: float) -> Mapping[str, float]:
    return {"uvicorn": uvicorn, "granian": granian}


WORKS: Final = (
    Work(name="hello", title="hello, 64 kept-alive connections", goals=_goals(0.40, 0.70)),
    Work(
        name="steady",
        title="hello, 5,000 requests in a second for every server",
        goals={},
        connections=100,
        rate=5000,
    ),
    Work(
        name="browser",
        title="hello with a browser's 13 headers",
        goals=_goals(0.40, 0.75),
        headers=BROWSER_HEADERS,
    ),
    Work(
        name="varied",
        title="hello with a browser's headers, no two requests alike",
        goals={},
        headers=BROWSER_HEADERS,
        varied=True,
    ),
    Work(
        name="post",
        title="POST of 1 KiB of JSON, echoed",
        goals=_goals(0.45, 0.60),
        path="/echo",
        method="POST",
        headers={"Content-Type": "application/json"},
        body=JSON_1_KIB,
        answer=JSON_1_KIB,
    ),
    Work(
        name="yield",
        title="a handler that awaits asyncio.sleep(0)",
        goals=_goals(0.60, 0.90),
        path="/yielding",
    ),
    Work(
        name="timer",
        title="a handler that awaits a timer of 1 ms",
        goals=_goals(0.60, 0.90),
        path="/timer",
    ),
    Work(
        name="starlette",
        title="a JSON route of Starlette",
        goals=_goals(0.65, 0.90),
        application="starlette_json:app",
        path="/items/42",
        answer=b'{"item":42,"stock":[1,2,3]}',
    ),
    Work(name="pipelined", title="16 pipelined", goals=_goals(0.30, 0.70), pipelined_count=16),
    Work(
        name="connect",
        title="a new connection per request",
        goals=_goals(0.60, 1.0),
        headers={"Connection": "close"},
    ),
    Work(
        name="chunks",
        title="a response of 100 small chunks",
        goals=_goals(0.40, 0.40),
        path="/chunks",
        answer=b"a small chunk\n" * 100,
    ),
    Work(
        name="events",
        title="server-sent events, 100 a second on 500 connections",
        goals=_goals(0.60, 0.70),
        unit="event",
        conversation="events",
        connections=500,
        path="/events",
    ),
    Work(
        name="upload",
        title="upload of 10 MiB with its length",
        goals=_goals(0.80, 1.2),
        unit="upload",
        conversation="upload",
        connections=4,
    ),
    Work(
        name="upload-chunked",
        title="upload of 10 MiB in chunks",
        goals=_goals(0.80, 1.2),
        unit="upload",
        conversation="upload-chunked",
        connections=4,
    ),
    Work(
        name="download",
        title="download of 10 MiB",
        goals=_goals(0.80, 1.2),
        unit="download",
        conversation="download",
        connections=4,
    ),
    Work(
        name="websocket-64",
        title="WebSocket echo of 64 bytes, 32 connections",
        goals=_goals(0.50, 0.45),
        unit="message",
        conversation="websocket-64",
        connections=32,
    ),
    Work(
        name="websocket-4096",
        title="WebSocket echo of 4 KiB, 32 connections",
        goals=_goals(0.75, 0.80),
        unit="message",
        conversation="websocket-4096",
        connections=32,
    ),
    Work(
        name="wsgi",
        title="hello over WSGI, 8 threads",
        goals={"granian": 1.0, "gunicorn": 0.25},
        application="hello_wsgi:app",
        threads=8,
    ),
    Work(name="tls", title="hello over TLS", goals=_goals(0.80, 1.2), tls=True),
)
QUICK: Final = ("hello", "browser", "post", "yield", "starlette", "pipelined", "websocket-64")
