"""Serves an application with the real command and several workers, for clients of every kind."""

import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from frameworks.ledger import VARIABLE, Ledger
from process.harness import Program, running

START_SECONDS = 60.0
LONGEST_SECONDS = 600.0
NEVER = r"(?!)"
FAULT = re.compile(r"Traceback| (ERROR|CRITICAL)\b")


@dataclass(frozen=True, slots=True)
class Served:
    """A running server as its clients see it."""

    host: str
    port: int
    ledger: Ledger
    program: Program

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://{self.host}:{self.port}"

    def stop(self) -> None:
        """End the server as an operator would; it must drain and exit with status 0."""
        assert self.program.stop() == 0, "\n".join(self.program.lines)

    def curl(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """What curl prints; the last argument is a path of this server."""
        if (curl := shutil.which("curl")) is None:
            pytest.skip("curl is not installed")
        *options, path = arguments
        command = [curl, "--silent", "--show-error", "--max-time", "20", *options, self.url + path]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


def read_to_the_end(program: Program) -> None:
    """Read what the program writes, lest it waits for a full pipe; ends with the program."""
    with suppress(pytest.fail.Exception):
        program.expect(NEVER, LONGEST_SECONDS)


@contextmanager
def serve(
    target: str,
    *options: str,
    workers: int = 2,
    environment: Mapping[str, str] | None = None,
    clean_log: bool = True,
) -> Iterator[Served]:
    """Serve `target` for the length of the block; afterwards it must stop cleanly.

    Args:
        clean_log: Whether an error in the server's log fails the test: a client that leaves is
            none, nor is an application that then ends.
    """
    command = ["serval", target, "--workers", str(workers), "--port", "0", *options]
    with TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger")
        ledger.path.touch()
        environ = {VARIABLE: str(ledger.path), **(environment or {})}
        with running(*command, environ=environ) as program:
            host, port = program.address()
            program.expect("ready", START_SECONDS)
            reader = threading.Thread(target=read_to_the_end, args=(program,), daemon=True)
            reader.start()
            served = Served(host, port, ledger, program)
            try:
                yield served
                if program.process.poll() is None:
                    served.stop()
            finally:
                program.signal(signal.SIGKILL)  # nothing, where it has stopped as it should
                reader.join(LONGEST_SECONDS)
            assert not clean_log or FAULT.search(program.text) is None, program.text
