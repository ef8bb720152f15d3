"""TLS between an accepted socket and the connection that serves it: handshake, records, the end.

The handshake is an entry of the SyncWorker's selector with a deadline of its own, so that a slow
one holds up nobody.  Thread of the service's loop only.
"""

import socket
import ssl
import time
from http import HTTPStatus
from typing import Any, ClassVar, Final

from serval.asgi.tls import tls_extension
from serval.asgi.types import Address
from serval.errors import PeerError
from serval.net.tls import Certificates, Loaded
from serval.worker.connections.early_socket import EarlySocket
from serval.worker.connections.socket_connection import (
    INPUT,
    JOIN_BYTES,
    RECEIVE_BYTES,
    Adopt,
    Selector,
    SocketConnection,
)
from serval.worker.connections.tls_transport import NOT_READY, say_goodbye
from serval.worker.connections.wire import State
from serval.worker.deadlines import Wait
from serval.worker.poller import READ, WRITE

# The first byte of every TLS connection: a record of type handshake (RFC 8446 section 5.1).
_HANDSHAKE: Final = b"\x16"
_PLAIN_HTTP: Final = "plain-http-sent-to-a-tls-port"


class TlsDesk:
    """Begins a handshake on each socket that it is given.

    Args:
        onward: Serves those whose handshake is done.
    """

    __slots__ = ("_certificates", "_onward", "_selector")

    def __init__(self, selector: Selector, certificates: Certificates, onward: Adopt) -> None:
        self._selector = selector
        self._certificates = certificates
        self._onward = onward

    def admit(
        self,
        sock: socket.socket,
        client: Address | None,
        server: Address | None,
        *,
        scheme: str = "https",
    ) -> None:
        """Take a socket that was just accepted; what a proxy said of the scheme does not count."""
        TlsHandshake(self._selector, self._certificates, self._onward, sock, (client, server))


class TlsHandshake(EarlySocket):
    """A connection that is not yet one: nothing of it is known but its first bytes."""

    __slots__ = ("_certificates", "_is_refused", "_loaded", "_onward")

    _awaited: ClassVar[Wait] = Wait.HANDSHAKE

    def __init__(
        self,
        selector: Selector,
        certificates: Certificates,
        onward: Adopt,
        sock: socket.socket,
        addresses: tuple[Address | None, Address | None],
    ) -> None:
        self._certificates = certificates
        self._loaded: Loaded = certificates.loaded
        self._onward = onward
        self._is_refused = False
        super().__init__(selector, sock, addresses)

    def ready(self, bits: int) -> None:
        """The socket is ready for the next step."""
        sock = self._sock
        if self._is_refused:
            self._discard()
        elif isinstance(sock, ssl.SSLSocket):
            self._shake_hands(sock)
        else:
            self._look(sock)

    def _look(self, sock: socket.socket) -> None:
        """Tell from the first byte what is spoken."""
        try:
            first = sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            first = b""
        if first == _HANDSHAKE:
            self._begin(sock)
        elif first.isalpha():
            self._leave()
            connection = PlainOnTls(self._selector, sock, *self._addresses)
            self._selector.watch(sock, connection)
            self._selector.service.closed(self)
        else:
            self.abort()

    def _begin(self, sock: socket.socket) -> None:
        service = self._selector.service
        self._loaded = self._certificates.current(service.loop.time(), time.time)
        self._selector.forget(sock)
        try:
            wrapped = self._loaded.default.wrap_socket(
                sock, server_side=True, do_handshake_on_connect=False
            )
        except OSError:  # the peer has gone since
            self.abort()
            return
        self._sock = wrapped
        self._selector.watch(wrapped, self)
        self._shake_hands(wrapped)

    def _shake_hands(self, sock: ssl.SSLSocket) -> None:
        poller = self._selector.poller
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            poller.modify(sock.fileno(), INPUT)
        except ssl.SSLWantWriteError:
            poller.modify(sock.fileno(), WRITE)
        except ssl.SSLError as error:
            self._refuse(error)
        except OSError:
            self.abort()
        else:
            self._serve(sock)

    def _serve(self, sock: ssl.SSLSocket) -> None:
        self._leave()
        self._onward(sock, *self._addresses, scheme="https", tls=_told_of(sock, self._loaded))
        self._selector.service.closed(self)

    def _refuse(self, error: ssl.SSLError) -> None:
        """OpenSSL has told the peer; whoever left in the middle is not worth a line."""
        if not isinstance(error, ssl.SSLEOFError):
            detail = (getattr(error, "reason", None) or "error").lower().replace("_", " ")
            if isinstance(error, ssl.SSLCertVerificationError):
                detail += f" ({error.verify_message})"
            self._selector.service.journal.refused(
                self._addresses[0],
                PeerError(HTTPStatus.BAD_REQUEST, "tls-handshake-failed", detail),
            )
        self._linger()

    def _linger(self) -> None:
        """Let the peer read what OpenSSL told it: a close with its bytes unread would be a reset.

        In TLS 1.3 a client may have sent its request before it hears that it is refused.
        """
        try:
            self._sock.shutdown(socket.SHUT_WR)  # what is received from here on is not decrypted
        except OSError:  # ENOTCONN: the peer was quicker
            self.abort()
            return
        sweeper = self._selector.service.sweeper
        sweeper.stop(Wait.HANDSHAKE, self)
        sweeper.start(Wait.LINGER, self)
        self._selector.poller.modify(self._sock.fileno(), INPUT)
        self._is_refused = True

    def _discard(self) -> None:
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.abort()

    def expired(self, wait: Wait, *, late: bool) -> None:
        """The handshake took too long, or the peer's part lies unread: the loop was held up."""
        if late and not self._is_refused:
            self._selector.service.sweeper.start(wait, self)
            self.ready(READ)
            return
        if wait is Wait.HANDSHAKE and isinstance(self._sock, ssl.SSLSocket):
            self._selector.service.journal.refused(
                self._addresses[0], PeerError(HTTPStatus.REQUEST_TIMEOUT, "tls-handshake-timeout")
            )
        self.abort()


class PlainOnTls(SocketConnection):
    """A client that speaks plain HTTP where TLS is spoken: it is told so, in plain HTTP."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """Whatever it is: refuse it."""
        if self.state is State.OPEN:
            self._refuse(PeerError(HTTPStatus.BAD_REQUEST, _PLAIN_HTTP))


class TlsConnection(SocketConnection):
    """An HTTP connection on a socket that speaks TLS."""

    __slots__ = ()

    _kernel_sends: ClassVar[bool] = False
    _not_ready: ClassVar[tuple[type[BaseException], ...]] = NOT_READY
    _sock: ssl.SSLSocket

    def flush(self) -> None:
        """Send what is queued; OpenSSL takes a record's worth at a time."""
        out = self._out
        while out and not self._interest & WRITE:
            if len(out) > 1 and self._out_bytes <= JOIN_BYTES:
                out[:] = [b"".join(out)]
            try:
                sent = self._sock.send(out[0])
            except self._not_ready:
                self._keep_rest(0)
            except OSError:
                self.peer_lost()
                return
            else:
                self._drop_sent(sent)

    def _drop_sent(self, sent: int) -> None:
        self._out_bytes -= sent
        if sent == len(self._out[0]):
            del self._out[0]
        else:
            self._out[0] = memoryview(self._out[0])[sent:]

    def _shut_output(self) -> None:
        say_goodbye(self._sock)
        super()._shut_output()

    def _close_wire(self, *, reset: bool) -> None:
        if not reset:
            say_goodbye(self._sock)
        super()._close_wire(reset=reset)


def _told_of(sock: ssl.SSLSocket, loaded: Loaded) -> dict[str, Any]:
    """What applications are told of a handshake that is done."""
    cipher = sock.cipher()
    subject = (sock.getpeercert() or {}).get("subject")
    return tls_extension(
        server_cert=loaded.certificates.get(sock.context),
        client_certs=[ssl.DER_cert_to_PEM_cert(one) for one in _client_chain(sock)],
        client_name=subject,  # type: ignore[arg-type]  # typeshed gives all fields one type
        version=sock.version(),
        cipher_suite=loaded.ciphers.get(cipher[0]) if cipher else None,
    )


def _client_chain(sock: ssl.SSLSocket) -> list[bytes]:
    """What the client has sent of its certificates; before Python 3.13, its own only."""
    own = sock.getpeercert(binary_form=True)
    if own is None:
        return []
    whole = getattr(sock, "get_unverified_chain", None)
    return list(whole()) if whole is not None else [own]
