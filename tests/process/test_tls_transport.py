"""TLS on a transport, between real sockets, on every event loop."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import trustme

from serval.worker.connections.tls_transport import HIGH_WATER_BYTES, TlsTransport
from serval.worker.loops import loop_factory

MUCH = bytes(4 * 1024 * 1024)
PATIENCE_SECONDS = 20.0


class Witness(asyncio.Protocol):
    """Notes what it is told."""

    def __init__(self, *, stays: bool = False) -> None:
        self.transport: asyncio.Transport | None = None
        self.received = b""
        self.news: list[str] = []
        self.changed = asyncio.Event()
        self._stays = stays

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.changed.set()

    def eof_received(self) -> bool:
        self._note("end")
        return self._stays

    def connection_lost(self, exc: Exception | None) -> None:
        self._note("lost" if exc is None else "broken")

    def pause_writing(self) -> None:
        self._note("pause")

    def resume_writing(self) -> None:
        self._note("resume")

    def _note(self, news: str) -> None:
        self.news.append(news)
        self.changed.set()

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not is_so():
                self.changed.clear()
                await self.changed.wait()

    async def hears(self, news: str) -> None:
        await self.until(lambda: news in self.news)


class Pair:
    """Both ends of a connection whose handshake is done; the client's blocks."""

    def __init__(self) -> None:
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        contexts = [ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()]
        authority.issue_cert("localhost", key_type=trustme.KeyType.ECDSA).configure_cert(
            contexts[0]
        )
        authority.configure_trust(contexts[1])
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):
            sock.settimeout(PATIENCE_SECONDS)
        with ThreadPoolExecutor(1) as thread:
            waits = thread.submit(contexts[0].wrap_socket, ours, server_side=True)
            self.client = contexts[1].wrap_socket(
                theirs, server_hostname="localhost", suppress_ragged_eofs=False
            )
            self.server = waits.result()
        self.server.setblocking(False)

    def close(self) -> None:
        self.client.close()
        self.server.close()

    def read_to_the_end(self) -> bytes:
        received = b""
        while data := self.client.recv(65536):
            received += data
        return received


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


Scene = Callable[[TlsTransport, Witness], Awaitable[None]]


@pytest.fixture(params=["asyncio", "uvloop"])
def play(request: pytest.FixtureRequest, pair: Pair) -> Callable[..., None]:
    """Runs a scene with a transport on the server's end."""

    def run(scene: Scene, *, stays: bool = False) -> None:
        async def main() -> None:
            witness = Witness(stays=stays)
            transport = TlsTransport(asyncio.get_running_loop(), pair.server, witness)
            try:
                await scene(transport, witness)
            finally:
                transport.abort()
                await asyncio.sleep(0)

        with asyncio.Runner(loop_factory=loop_factory(request.param)) as runner:
            runner.run(main())

    return run


def test_bytes_go_both_ways(pair: Pair, play: Callable[..., None]) -> None:
    async def scene(transport: TlsTransport, witness: Witness) -> None:
        pair.client.sendall(b"question")
        await witness.until(lambda: witness.received == b"question")
        transport.write(b"")
        transport.write(b"answer")
        assert await asyncio.to_thread(lambda: pair.client.recv(100)) == b"answer"
        assert witness.transport is transport
        assert transport.get_protocol() is witness
        assert transport.get_extra_info("ssl_object") is pair.server

    play(scene)


def test_a_slow_reader_pauses_the_protocol_until_it_has_read(
    pair: Pair, play: Callable[..., None]
) -> None:
    async def scene(transport: TlsTransport, witness: Witness) -> None:
        transport.set_write_buffer_limits(high=1000)
        assert transport.get_write_buffer_limits() == (250, 1000)
        transport.write(MUCH)
        assert witness.news == ["pause"]
        assert transport.get_write_buffer_size() > HIGH_WATER_BYTES
        transport.close()
        assert await asyncio.to_thread(pair.read_to_the_end) == MUCH
        await witness.hears("lost")
        assert witness.news == ["pause", "resume", "lost"]

    play(scene)


def test_limits_have_defaults(play: Callable[..., None]) -> None:
    async def scene(transport: TlsTransport, witness: Witness) -> None:
        transport.set_write_buffer_limits()
        assert transport.get_write_buffer_limits() == (HIGH_WATER_BYTES // 4, HIGH_WATER_BYTES)

    play(scene)


def test_a_close_says_goodbye_and_writes_nothing_after(
    pair: Pair, play: Callable[..., None]
) -> None:
    async def scene(transport: TlsTransport, witness: Witness) -> None:
        transport.write(b"last")
        transport.close()
        transport.close()
        transport.write(b"too late")
        assert transport.is_closing()
        assert not transport.is_reading()
        assert await asyncio.to_thread(pair.read_to_the_end) == b"last"
        await witness.hears("lost")

    play(scene)


def test_an_abort_loses_what_is_unsent(pair: Pair, play: Callable[..., None]) -> None:
    async def scene(transport: TlsTransport, witness: Witness) -> None:
        transport.write(MUCH)
        transport.abort()
        transport.abort()
        await witness.hears("lost")
        with pytest.raises(OSError):  # noqa: PT011 - by version, OpenSSL's own or a broken pipe
            await asyncio.to_thread(pair.read_to_the_end)
        assert witness.news.count("lost") == 1

    play(scene)


def test_one_direction_can_be_shut(pair: Pair, play: Callable[..., None]) -> None:
    async def scene(transport: TlsTransport, witness: Witness) -> None:
        transport.write(MUCH)
        transport.write_eof()
        transport.write(b"too late")
        assert transport.can_write_eof()
        assert await asyncio.to_thread(pair.read_to_the_end) == MUCH
        pair.client.close()
        await witness.hears("lost")
        assert witness.news[-2:] == ["end", "lost"]

    play(scene)


def test_after_the_peer_s_end_we_may_go_on(pair: Pair, play: Callable[..., None]) -> None:
    async def scene(transport: TlsTransport, witness: Witness) -> None:
        pair.client.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            pair.client.unwrap()
        await witness.hears("end")
        transport.resume_reading()
        assert not transport.is_reading()
        transport.write(b"answer")
        transport.write_eof()
        transport.close()
        await witness.hears("lost")

    play(scene, stays=True)


def test_the_end_of_the_peer_is_the_end_for_most(pair: Pair, play: Callable[..., None]) -> None:
    async def scene(transport: TlsTransport, witness: Witness) -> None:
        socket.socket.shutdown(pair.client, socket.SHUT_WR)
        await witness.hears("lost")
        assert witness.news == ["end", "lost"]

    play(scene)


def test_a_broken_connection_is_told(pair: Pair, play: Callable[..., None]) -> None:
    async def scene(transport: TlsTransport, witness: Witness) -> None:
        transport.pause_reading()
        pair.client.close()
        transport.write(b"into the void")
        await witness.hears("broken")

    play(scene)


def test_what_is_no_tls_breaks_the_connection(pair: Pair, play: Callable[..., None]) -> None:
    async def scene(transport: TlsTransport, witness: Witness) -> None:
        socket.socket.send(pair.client, b"plain text, which is no record of TLS")
        await witness.hears("broken")

    play(scene)


def test_reading_can_rest(pair: Pair, play: Callable[..., None]) -> None:
    async def scene(transport: TlsTransport, witness: Witness) -> None:
        transport.pause_reading()
        transport.pause_reading()
        pair.client.sendall(b"wait")
        await asyncio.sleep(0)
        assert not transport.is_reading()
        assert witness.received == b""
        transport.resume_reading()
        transport.resume_reading()
        await witness.until(lambda: witness.received == b"wait")

    play(scene)


def test_another_protocol_can_take_over(pair: Pair, play: Callable[..., None]) -> None:
    async def scene(transport: TlsTransport, witness: Witness) -> None:
        other = Witness()
        transport.set_protocol(other)
        pair.client.sendall(b"hello")
        await other.until(lambda: other.received == b"hello")
        assert witness.received == b""

    play(scene)
