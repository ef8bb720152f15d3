"""Runs an application with the real command, and stops it as an operator would."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from frameworks.ledger import VARIABLE, Ledger

TESTS = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
STOP_SECONDS = 30.0
ADDRESS = re.compile(r"http://([\d.]+):(\d+)")


@dataclass(slots=True)
class Output:
    """What the server wrote, line by line, collected by a thread of its own."""

    lines: list[str] = field(default_factory=list)
    address: tuple[str, int] | None = None
    known: threading.Event = field(default_factory=threading.Event)

    def collect(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line.rstrip("\n"))
            if self.address is None and (found := ADDRESS.search(line)):
                self.address = found[1], int(found[2])
                self.known.set()
        self.known.set()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@dataclass(frozen=True, slots=True)
class Served:
    """A running server as its clients see it."""

    host: str
    port: int
    ledger: Ledger
    output: Output
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://{self.host}:{self.port}"

    def stop(self) -> None:
        """End the server as an operator would; it must drain and exit with status 0."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(STOP_SECONDS)
        assert status == 0, f"exit status {status}:\n{self.output.text}"

    def curl(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """What curl prints; a last argument that begins with a slash is a path of this server."""
        if (curl := shutil.which("curl")) is None:
            pytest.skip("curl is not installed")
        *options, path = arguments
        command = [curl, "--silent", "--show-error", "--max-time", "20", *options, self.url + path]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


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
        clean_log: Whether a traceback in the server's output fails the test.
    """
    with TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger")
        ledger.path.touch()
        command = [sys.executable, "-m", "serval", target, "--workers", str(workers)]
        command += ["--port", "0", "--app-dir", str(TESTS), *options]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # so that nothing it started outlives a failed test
            env={**os.environ, VARIABLE: str(ledger.path), **(environment or {})},
        )
        output = Output()
        reader = threading.Thread(target=output.collect, args=(process,))
        reader.start()
        try:
            output.known.wait(START_SECONDS)
            assert output.address is not None, f"the server said no address:\n{output.text}"
            served = Served(*output.address, ledger, output, process)
            yield served
            if process.poll() is None:
                served.stop()
        finally:
            with suppress(ProcessLookupError):  # the whole group has ended, as it should
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            reader.join(STOP_SECONDS)
            assert process.stdout is not None
            process.stdout.close()
    assert not clean_log or "Traceback" not in output.text, output.text
