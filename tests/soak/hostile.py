"""Honest and hostile clients together, for a time; then nothing may have grown, failed or broken.

    PYTHONPATH=src:tests python -m soak.hostile [SECONDS] [--quick] [--seed N]

The server is the command, with one worker, its log in a file.  The last line says how many checks
passed and failed; the status is 0 only if none failed.
"""

import argparse
import asyncio
import contextlib
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import serval
from process.harness import children_of
from process.hostile_app import resident_bytes
from wire.driver import cases

TESTS: Final = Path(__file__).resolve().parent.parent
_PATH: Final = os.pathsep.join([str(TESTS), str(Path(serval.__file__).resolve().parent.parent)])
QUICK_SECONDS: Final = 10.0
WARM_UP_SHARE: Final = 0.35  # of the time: caches fill, the allocator finds its size
WAIT_SECONDS: Final = 5.0
GROWTH_BYTES: Final = 6 << 20  # after the warm-up; a leak of 100 bytes in each request is more
OPTIONS: Final = [
    *("--port", "0", "--workers", "1", "--lifespan", "off", "--max-body-size", "100000"),
    *("--timeout-headers", "1", "--timeout-body-idle", "1", "--timeout-write-idle", "1"),
    *("--timeout-keep-alive", "1", "--ws-max-size", "65536", "--ws-close-timeout", "1"),
]
# Lines of the log: a time and a process before each, or an access line.
LINE: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} \[\d+\] [A-Z]*")
UPGRADE: Final = (
    b"GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
DEFLATE: Final = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"

Address = tuple[str, int]
Client = Callable[["Soak"], Awaitable[None]]


class Soak:
    """The clients, and what they have seen.

    Attributes:
        counts: How many requests, frames and so on were sent, and what was answered.
        failures: What must not have happened.
    """

    def __init__(self, address: Address, seed: int) -> None:
        self.address = address
        self.luck = random.Random(seed)  # noqa: S311 - a seed must tell the same story again
        self.counts: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.corpus = [case.data for case in cases() if len(case.data) < 20_000]

    async def run(self, seconds: float) -> None:
        """Let every kind of client come again and again, until the time is over."""
        end_at = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for client, count in CLIENTS:
                for _ in range(count):
                    group.create_task(self._repeat(client, end_at))

    async def _repeat(self, client: Client, end_at: float) -> None:
        while time.monotonic() < end_at:
            try:
                async with asyncio.timeout(30):
                    await client(self)
            except TimeoutError:
                self.failures[f"{getattr(client, '__name__', client)} hung"] += 1
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
                # Hostile clients are cut off; honest ones count that themselves.
                self.counts[f"ended by {type(error).__name__}"] += 1

    @contextlib.asynccontextmanager
    async def connected(
        self,
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(*self.address, limit=1 << 20)
        self.counts["connections"] += 1
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

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


SPICE: Final = [
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b"\r\n\r\n",
        b"\r\n ",
        b"\xff\xfe",
        b"\x1b[2J",
    ),
    *(b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"ffffffff\r\n"),
    *(b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"Upgrade: websocket\r\n"),
    *(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"2024-01-01 INFO: forged", b"%0d%0a", b"HTTP/1.0"),
]


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
            soak.failures["pipelined requests were answered otherwise than in order"] += 1


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
        sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SOL_SOCKET, SO_LINGER: a reset


def frame(luck: random.Random) -> bytes:
    """A frame, most often one that is not allowed."""
    size = luck.choice([0, 1, 5, 125, 126, 1000, 65_535, 70_000]) if luck.random() < 0.5 else 5
    first = luck.choice([0x81, 0x82, 0x89, 0x8A]) if luck.random() < 0.7 else luck.randrange(256)
    mask = luck.choice([0x80, 0x80, 0x80, 0])
    if size < 126:
        head = bytes([first, mask | size])
    elif size < 65_536:
        head = struct.pack("!BBH", first, mask | 126, size)
    else:
        head = struct.pack("!BBQ", first, mask | 127, size)
    payload = bytes(size) if luck.random() < 0.5 else luck.randbytes(size)
    return head + (b"\0\0\0\0" if mask else b"") + payload


async def framing(soak: Soak) -> None:
    """Opens a WebSocket and sends frames that are rarely right, until it is closed."""
    luck = soak.luck
    async with soak.connected() as (reader, writer):
        early = frame(luck) if luck.random() < 0.2 else b""
        writer.write(UPGRADE + (DEFLATE if luck.random() < 0.5 else b"") + b"\r\n" + early)
        head = await reader.readuntil(b"\r\n\r\n")
        soak.saw(head)
        reading = asyncio.ensure_future(reader.read(-1))
        try:
            for _ in range(luck.randint(1, 20)):
                writer.write(frame(luck))
                soak.counts["frames"] += 1
                await asyncio.sleep(0)
        finally:
            if luck.random() < 0.3:
                writer.write(b"\x88\x82\0\0\0\0\x03\xe8")
            if not writer.transport.is_closing():
                writer.write_eof()
            await asyncio.wait([reading], timeout=WAIT_SECONDS)
            reading.cancel()


async def chatting(soak: Soak) -> None:
    """An honest WebSocket: every message comes back."""
    async with soak.connected() as (reader, writer):
        writer.write(UPGRADE + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(100):
            writer.write(b"\x81\x85\0\0\0\0hello")
            soak.counts["honest messages"] += 1
            if await reader.readexactly(7) != b"\x81\x05hello":
                soak.failures["a message came back changed"] += 1
                return


CLIENTS: Final[list[tuple[Client, int]]] = [
    (honest, 4),
    (fuzzing, 12),
    (pipelining, 1),
    (uploading, 2),
    (dripping, 20),
    (deaf, 4),
    (leaving, 4),
    (framing, 6),
    (chatting, 2),
]


class Worker:
    """The worker process, from outside."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    @property
    def descriptors(self) -> int:
        return len(self.open_files)

    @property
    def open_files(self) -> list[str]:
        """What its descriptors stand for."""
        found = []
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                found.append(f"{entry.name} {entry.readlink()}")
        return found

    @property
    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/task"))

    @property
    def resident_bytes(self) -> int:
        return resident_bytes(self.pid)


@contextlib.contextmanager
def server(log: Path) -> Iterator[tuple[subprocess.Popen[bytes], Address]]:
    """The command, ready, with its whole output in a file."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "serval", "soak.mixed_app:app", *OPTIONS],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=TESTS,
            env={**os.environ, "PYTHONPATH": _PATH},
        )
    try:
        yield process, address_in(log)
    finally:
        process.kill()
        process.wait()


def address_in(log: Path) -> Address:
    for _ in range(200):
        text = log.read_text()
        found = re.search(r"http://([\d.]+):(\d+)", text)
        if found and "ready" in text:
            return found[1], int(found[2])
        time.sleep(0.1)
    raise SystemExit(f"the server does not start:\n{log.read_text()}")


def at_rest(worker: Worker, descriptors: int) -> bool:
    """Whether the worker lets go of everything, soon after its clients have."""
    give_up_at = time.monotonic() + 2 * WAIT_SECONDS
    while time.monotonic() < give_up_at:
        if worker.descriptors <= descriptors:
            return True
        time.sleep(0.1)
    return False


def broken_lines(log: Path) -> list[str]:
    """The lines of the log that do not begin as lines do, or hold what a terminal would obey."""
    with log.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        lines = [line.removesuffix("\n") for line in file]
    return [line for line in lines if not LINE.match(line) or not line.isprintable()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=60.0)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SECONDS:g} seconds")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    seconds = QUICK_SECONDS if given.quick else given.seconds
    print(f"seed {given.seed}, {seconds:g} s")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with server(log) as (process, address):
            checks = soaked(process, address, seconds, given.seed)
            process.terminate()
            checks["the server stops in order"] = "" if process.wait(40) == 0 else "it does not"
        broken = broken_lines(log)
        checks["no line of the log is broken"] = f"{len(broken)}: {broken[:5]}" if broken else ""
        text = log.read_text(errors="replace")
        checks["no traceback"] = (
            text[text.find("Traceback") - 200 :][:3000] if "Traceback" in text else ""
        )
        loud = re.findall(r"(?m)^.*(?:WARNING|ERROR|CRITICAL).*$", text)
        # Nor that the stop had to wait for a task or a connection that nobody ended.
        checks["no error is logged"] = "\n".join(loud[:5])
        print(f"log: {text.count(chr(10))} lines, {text.count(': refused ')} of refusals")
    failed = {name: why for name, why in checks.items() if why}
    for name, why in failed.items():
        print(f"FAILED: {name}: {why}")
    print(f"{len(checks) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def soaked(
    process: subprocess.Popen[bytes], address: Address, seconds: float, seed: int
) -> dict[str, str]:
    """Set the clients upon the server; every check with what is wrong, or nothing."""
    (pid,) = children_of(process.pid)
    worker = Worker(pid)
    # From its first stream on, libuv keeps one more in reserve.
    descriptors, threads = worker.descriptors + 1, worker.threads
    soak = Soak(address, seed)
    asyncio.run(soak.run(seconds * WARM_UP_SHARE))
    warm = at_rest(worker, descriptors)
    before = worker.resident_bytes
    asyncio.run(soak.run(seconds * (1 - WARM_UP_SHARE)))
    cool = at_rest(worker, descriptors)
    growth = worker.resident_bytes - before if children_of(process.pid) == [pid] else 0
    for name, count in sorted(soak.counts.items()):
        print(f"{count:9} {name}")
    print(f"RSS {before >> 10} KiB after the warm-up, {growth >> 10:+} KiB since")
    files = worker.open_files if children_of(process.pid) == [pid] else []
    left = f"{len(files)} instead of {descriptors}: {', '.join(files)}"
    return {
        "the worker lives": "" if children_of(process.pid) == [pid] else "it was replaced",
        "nothing went wrong": ", ".join(f"{n} times {what}" for what, n in soak.failures.items()),
        "memory is flat": "" if growth < GROWTH_BYTES else f"{growth >> 10} KiB more",
        "descriptors are given back": "" if warm and cool else left,
        "threads are as many as before": "" if worker.threads == threads else str(worker.threads),
    }


if __name__ == "__main__":
    sys.exit(main())
