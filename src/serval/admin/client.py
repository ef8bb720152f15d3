"""Asks a running server's admin endpoint; for the commands beside the serving one."""

import http.client
import socket
from typing import Final

from serval.admin.status import StatusReport, parse_status
from serval.errors import AdminError
from serval.net.bind import TcpBind, UnixBind

ANSWER_SECONDS: Final = 5.0
# Where a server that listens on every interface is reached from its own machine.
_EVERYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- a key


class AdminClient:
    """One endpoint; each question is a connection of its own."""

    def __init__(self, bind: TcpBind | UnixBind) -> None:
        self._bind = bind

    def status(self) -> StatusReport:
        """How the server does.

        Raises:
            AdminError: Nobody answers, or not as a serval would.
        """
        return self._ask("GET", "/status")

    def reload(self) -> StatusReport:
        """Begin what SIGHUP begins; the report is of the moment after.

        Raises:
            AdminError: Likewise, or the server refuses.
        """
        return self._ask("POST", "/reload")

    def scale(self, workers: int) -> StatusReport:
        """Want so many workers; the report is of the moment after.

        Raises:
            AdminError: Likewise, or the server refuses.
        """
        return self._ask("POST", f"/scale?workers={workers}")

    def _ask(self, method: str, path: str) -> StatusReport:
        connection = _connection(self._bind)
        try:
            connection.request(method, path, headers={"Connection": "close"})
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
        except OSError as exc:
            reason = exc.strerror or str(exc) or "no answer"
            raise AdminError(f"no server answers on {self._bind}: {reason}") from exc
        except http.client.HTTPException as exc:
            raise AdminError(f"what answers on {self._bind} does not speak HTTP") from exc
        finally:
            connection.close()
        if response.status >= 400:
            raise AdminError(f"the server on {self._bind} refuses: {text.strip()}")
        try:
            return parse_status(text)
        except ValueError as exc:
            raise AdminError(f"what answers on {self._bind} is no serval of this version") from exc


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket file."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect(self._path)


def _connection(bind: TcpBind | UnixBind) -> http.client.HTTPConnection:
    if isinstance(bind, UnixBind):
        return _UnixConnection(bind.path)
    host = _EVERYWHERE.get(bind.host, bind.host)
    return http.client.HTTPConnection(host, bind.port, timeout=ANSWER_SECONDS)
