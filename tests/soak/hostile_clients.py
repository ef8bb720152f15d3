"""The clients of `soak.hostile`, honest and hostile: each comes, does its deed and goes."""

import asyncio
import contextlib
import random
import re
import ssl
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from wire.driver import cases

WAIT_SECONDS: Final = 5.0
HELD_UP_SECONDS: Final = 0.5  # half of the server's patience
UPGRADE: Final = (
    b"GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
DEFLATE: Final = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
SPICE: Final = [
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"\r\n\r\n", b"\r\n "),
    *(b"\xff\xfe", b"\x1b[2J", b"2024-01-01 INFO: forged", b"%0d%0a", b"HTTP/1.0"),
    *(b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"ffffffff\r\n"),
    *(b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"Upgrade: websocket\r\n"),
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
]
UNHEARD_OF: Final = "requests unheard of"

Address = tuple[str, int]
Client = Callable[["Soak"], Awaitable[None]]


class Soak:
    """The clients, and what they have seen.

    Args:
        address: Of the server.
        seed: What they do follows from it.
        tls: What they speak TLS with, if they do.

    Attributes:
        counts: How many requests, frames and so on were sent, and what was answered.
        failures: What must not have happened.
    """

    def __init__(self, address: Address, seed: int, tls: ssl.SSLContext | None) -> None:
        self.address = address
        self.tls = tls
        self.luck = random.Random(seed)  # noqa: S311 - a seed must tell the same story again
        self._held_up_at = -WAIT_SECONDS
        self.counts: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.corpus = [case.data for case in cases() if len(case.data) < 20_000]

    @property
    def fuzzed_count(self) -> int:
        """How many fuzzed requests and frames were sent."""
        return self.counts["fuzzed requests"] + self.counts["fuzzed frames"]

    async def run(self, crowd: list[tuple[Client, int]], is_over: Callable[[], bool]) -> None:
        """Let every kind of client come again and again, until it is over."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.watch(is_over))
            for client, count in crowd:
                for _ in range(count):
                    group.create_task(self._repeat(client, is_over))

    async def watch(self, is_over: Callable[[], bool]) -> None:
        """Notice when the clients are held up, on a machine that has other things to do."""
        while not is_over():
            before = time.monotonic()
            await asyncio.sleep(HELD_UP_SECONDS / 10)
            if time.monotonic() - before > HELD_UP_SECONDS:
                self._held_up_at = time.monotonic()

    @property
    def was_held_up(self) -> bool:
        """Whether that was so a moment ago."""
        return time.monotonic() - self._held_up_at < WAIT_SECONDS

    async def _repeat(self, client: Client, is_over: Callable[[], bool]) -> None:
        while not is_over():
            try:
                async with asyncio.timeout(30):
                    await client(self)
            except TimeoutError:
                if not self.was_held_up:
                    self.failures[f"{getattr(client, '__name__', client)} hung"] += 1
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
                # Hostile clients are cut off; honest ones count that themselves.
                self.counts[f"ended by {type(error).__name__}"] += 1

    @contextlib.asynccontextmanager
    async def connected(
        self,
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(
            *self.address, limit=1 << 20, ssl=self.tls, server_hostname=self.tls and "localhost"
        )
        self.counts["connections"] += 1
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def ask(self, path: str) -> bytes:
        """The body of an answer, on a connection of its own."""
        async with self.connected() as (reader, writer):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            return (await reader.read(-1)).partition(b"\r\n\r\n")[2]

    def saw(self, data: bytes) -> None:
        """Count the statuses in what came back, and object to those of a broken server."""
        for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", data):
            status = int(found)
            self.counts[f"status {status}"] += 1
            if status in {500, 502, 503, 504}:
                self.failures[f"status {status}"] += 1

    def changed(self, data: bytes) -> bytes:
        """The bytes with a few of them cut, doubled, replaced or moved."""
        luck = self.luck
        changed = bytearray(data)
        for _ in range(luck.randint(1, 6)):
            at = luck.randrange(len(changed) + 1)
            match luck.randrange(5):
                case 0:
                    del changed[at : at + luck.randint(1, 8)]
                case 1:
                    changed[at:at] = changed[max(0, at - luck.randint(1, 16)) : at]
                case 2:
                    changed[at : at + 1] = bytes([luck.randrange(256)])
                case 3:
                    changed[at:at] = luck.choice(SPICE)
                case _:
                    changed[at:at] = luck.choice(self.corpus)[:200]
        return bytes(changed)


async def honest(soak: Soak) -> None:
    """Asks for this and that on one connection, and checks every answer."""
    async with soak.connected() as (reader, writer):
        for _ in range(50):
            size = soak.luck.choice([0, 0, 1, 500, 70_000])
            path, wanted = soak.luck.choice(
                [(b"/", b"%d" % size), (b"/late", b"late"), (b"/early", b"early")]
            )
            if path != b"/":
                size = 0
            writer.write(
                b"POST %b HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % (path, size)
            )
            writer.write(bytes(size))
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                soak.saw(head)
                body = await reader.readexactly(
                    int(head.lower().split(b"content-length: ")[1].split()[0])
                )
            except (OSError, asyncio.IncompleteReadError):
                if soak.was_held_up:  # so long that the server's patience was over
                    soak.counts["honest clients that were too slow"] += 1
                else:
                    soak.failures["an honest client was cut off"] += 1
                return
            soak.counts["honest requests"] += 1
            if not head.startswith(b"HTTP/1.1 200 ") or body != wanted:
                soak.failures["an honest client got a wrong answer"] += 1


async def fuzzing(soak: Soak) -> None:
    """Sends changed requests of the corpus, several in a row, and reads what comes."""
    async with soak.connected() as (reader, writer):
        data = b"".join(soak.changed(soak.luck.choice(soak.corpus)) for _ in range(4))
        soak.counts["fuzzed requests"] += 4
        cut = soak.luck.randrange(len(data) + 1)
        writer.write(data[:cut])
        if soak.luck.random() < 0.2:
            await asyncio.sleep(0)
        writer.write(data[cut:])
        if soak.luck.random() < 0.9:
            if writer.can_write_eof():
                writer.write_eof()
            soak.saw(await reader.read(1 << 20))


async def pipelining(soak: Soak) -> None:
    """Sends many requests at once and one that is refused at the end."""
    async with soak.connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 64 + b"GET / HTTP/9.9\r\n\r\n" * 3)
        answers = b""
        while data := await reader.read(65_536):
            answers += data
        soak.saw(answers)
        soak.counts["pipelined requests"] += 65
        if (answers.count(b" 200 OK\r\n"), answers.count(b"HTTP/1.1 505 ")) != (64, 1):
            if soak.was_held_up:
                soak.counts["pipelining clients that were too slow"] += 1
            else:
                soak.failures["pipelined requests were answered otherwise than in order"] += 1


async def unheard_of(soak: Soak) -> None:
    """Sends many requests with names, values and paths that nobody has sent before."""
    luck = soak.luck
    async with soak.connected() as (reader, writer):
        for _ in range(10):
            made_up = [luck.randbytes(luck.randint(8, 100)).hex().encode() for _ in range(128)]
            writer.write(
                b"".join(
                    b"GET /%b HTTP/1.1\r\nHost: a\r\nX-%b: %b\r\n\r\n" % (path, name[:60], name)
                    for path, name in zip(made_up[::2], made_up[1::2], strict=True)
                )
            )
            for _ in range(64):
                await reader.readuntil(b"\r\n\r\n0")
                soak.counts[UNHEARD_OF] += 1


async def uploading(soak: Soak) -> None:
    """Sends too much, announced or in chunks, and reads the answer all the same."""
    async with soak.connected() as (reader, writer):
        soak.counts["too large bodies"] += 1
        if soak.luck.random() < 0.5:
            writer.write(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + bytes(300_000)
            )
        else:
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            writer.write(b"8000\r\n%b\r\n" % bytes(0x8000) * 10)
        head = await reader.read(65_536)
        soak.saw(head)
        if not head.startswith(b"HTTP/1.1 413 "):
            soak.failures["a body that is too large was not refused"] += 1


async def dripping(soak: Soak) -> None:
    """Sends a head or a body so slowly that it must be cut off."""
    async with soak.connected() as (reader, writer):
        soak.counts["slow clients"] += 1
        writer.write(
            soak.luck.choice([b"G", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n"])
        )
        began_at = time.monotonic()
        while time.monotonic() - began_at < WAIT_SECONDS:
            writer.write(b"E")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    soak.saw(await reader.read(65_536))
                    return
        if not soak.was_held_up:
            soak.failures["a slow client was never cut off"] += 1


async def deaf(soak: Soak) -> None:
    """Asks for streams and reads none of them."""
    async with soak.connected() as (_, writer):
        soak.counts["clients that do not read"] += 1
        writer.write(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n" * 64)
        await asyncio.sleep(soak.luck.random() * 2)


async def leaving(soak: Soak) -> None:
    """Leaves with an error in the middle of everything."""
    async with soak.connected() as (_, writer):
        soak.counts["clients that left"] += 1
        request = b"POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" + bytes(100)
        writer.write(request[: soak.luck.randrange(len(request) + 1)])
        await asyncio.sleep(soak.luck.choice([0, 0.001, 0.003]))
        sock = writer.get_extra_info("socket")
        if sock is not None:  # it is still open
            sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SOL_SOCKET, SO_LINGER: a reset


async def hand_breaking(soak: Soak) -> None:
    """Sends what is no TLS, or breaks a handshake off."""
    _, writer = await asyncio.open_connection(*soak.address)
    soak.counts["broken handshakes"] += 1
    hello = b"\x16\x03\x01\x00\xf0\x01\x00\x00\xec\x03\x03" + soak.luck.randbytes(32)
    writer.write(soak.luck.choice([hello, hello + soak.luck.randbytes(300), b"\x16", b"GET / "]))
    await asyncio.sleep(soak.luck.random() * 0.2)
    writer.transport.abort()


def frame(luck: random.Random, *, right: bool) -> bytes:
    """A frame, a fragment or a whole message; one that is not allowed, unless it shall be right."""
    size = luck.choice([0, 1, 5, 125, 126, 1000, 60_000]) if luck.random() < 0.1 else 5
    first = luck.choice([0x81, 0x82, 0x89, 0x8A])
    if first & 8:
        size = min(size, 125)
    mask = 0x80
    if not right:
        first = luck.randrange(256)
        size = luck.choice([0, 1, 5, 125, 126, 1000, 65_535, 70_000])
        mask = luck.choice([0x80, 0x80, 0x80, 0])
    if size < 126:
        head = bytes([first, mask | size])
    elif size < 65_536:
        head = struct.pack("!BBH", first, mask | 126, size)
    else:
        head = struct.pack("!BBQ", first, mask | 127, size)
    payload = bytes(size) if right or luck.random() < 0.5 else luck.randbytes(size)
    return head + (b"\0\0\0\0" if mask else b"") + payload


async def framing(soak: Soak) -> None:
    """Opens a WebSocket and sends frames, right ones up to one that is not, until it is closed."""
    luck = soak.luck
    async with soak.connected() as (reader, writer):
        early = frame(luck, right=False) if luck.random() < 0.1 else b""
        writer.write(UPGRADE + (DEFLATE if luck.random() < 0.5 else b"") + b"\r\n" + early)
        head = await reader.readuntil(b"\r\n\r\n")
        soak.saw(head)
        reading = asyncio.ensure_future(reader.read(-1))
        try:
            for _ in range(luck.randint(1, 6)):
                right_count = luck.choice([0, 3, 20])
                frames = [frame(luck, right=True) for _ in range(right_count)]
                wrong = frame(luck, right=False)
                data = bytearray(b"".join([*frames, wrong]))
                if luck.random() < 0.2:
                    data[luck.randrange(len(data))] = luck.randrange(256)
                cut = luck.randrange(len(data))
                writer.write(data[:cut])
                if luck.random() < 0.5:
                    await asyncio.sleep(0)
                writer.write(data[cut:])
                soak.counts["fuzzed frames"] += right_count + 1
                if reading.done():
                    break
        finally:
            if luck.random() < 0.3 or not writer.can_write_eof():
                writer.write(b"\x88\x82\0\0\0\0\x03\xe8")
            if writer.can_write_eof() and not writer.transport.is_closing():
                writer.write_eof()
            await asyncio.wait([reading], timeout=WAIT_SECONDS)
            reading.cancel()


async def chatting(soak: Soak) -> None:
    """An honest WebSocket: every message comes back."""
    async with soak.connected() as (reader, writer):
        writer.write(UPGRADE + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(20):
            writer.write(b"\x81\x85\0\0\0\0hello")
            soak.counts["honest messages"] += 1
            if await reader.readexactly(7) != b"\x81\x05hello":
                soak.failures["a message came back changed"] += 1
                return


HTTP: Final[list[tuple[Client, int]]] = [
    (honest, 4),
    (fuzzing, 12),
    (pipelining, 1),
    (uploading, 2),
    (dripping, 20),
    (deaf, 4),
    (leaving, 4),
]
WEBSOCKETS: Final[list[tuple[Client, int]]] = [(framing, 6), (chatting, 2)]
# Over TLS a client cannot say that nothing more will come, and more of them wait for their end.
TLS: Final[list[tuple[Client, int]]] = [(fuzzing, 30), (framing, 10), (hand_breaking, 4)]
