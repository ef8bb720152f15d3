"""The throwaway virtual environment with every server in it, kept between runs; tools it needs."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import ROOT, Certificate, Server, cache_folder, environment

INSTALL_SECONDS = 600
TOOLS = {"wrk": "wrk", "h2load": "nghttp2-client"}
VERSIONS = """
import importlib.metadata as m, json, platform, sys
from serval.version import __version__
found = {"python": platform.python_version(), "serval": __version__}
for name in sys.argv[1:]:
    try:
        found[name] = m.version(name)
    except m.PackageNotFoundError:
        found[name] = "missing"
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and with what the figures were taken."""

    processor: str
    cores: int
    kernel: str
    date: str
    versions: dict[str, str]


def own_requirements() -> list[str]:
    """What this tree needs; it is run from its source, so that every change is measured."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return list(tomllib.load(file)["project"]["dependencies"])


def prepared(python: str, servers: tuple[Server, ...]) -> Path:
    """The interpreter of an environment with these servers; made where it is not there yet.

    Args:
        python: The interpreter that the servers shall run on: a path or a name on PATH.
    """
    base = shutil.which(python)
    if base is None:
        sys.exit(f"error: no interpreter {python!r}, given by --python")
    requirements = sorted({"starlette", "uvloop", *own_requirements()})
    requirements += [server.requirement for server in servers if server.requirement]
    wanted = json.dumps([base, requirements])
    folder = cache_folder() / hashlib.sha256(wanted.encode()).hexdigest()[:16]
    interpreter = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"installing into {folder}: {', '.join(requirements)}", flush=True)
        pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        try:
            subprocess.run([base, "-m", "venv", "--clear", str(folder)], check=True)
            subprocess.run([*pip, *requirements], check=True, timeout=INSTALL_SECONDS)
        except subprocess.CalledProcessError as exc:
            sys.exit(f"error: status {exc.returncode} of {' '.join(map(str, exc.cmd))}")
        (folder / "complete").touch()
    return interpreter


def described(interpreter: Path, servers: tuple[Server, ...]) -> Machine:
    """The machine, and the versions of what runs on it."""
    names = [server.name for server in servers if server.requirement]
    command = [str(interpreter), "-c", VERSIONS, *names, "uvloop", "httptools", "starlette"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    return Machine(
        processor(),
        os.cpu_count() or 1,
        platform.release(),
        time.strftime("%Y-%m-%d"),
        json.loads(done.stdout),
    )


def processor() -> str:
    """What the kernel calls the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def require_tools() -> None:
    """End with a sentence where a program that the run needs is missing."""
    if not sys.platform.startswith("linux"):
        sys.exit("error: the benchmarks read /proc and pin cores: they run on Linux alone")
    for program, package in TOOLS.items():
        if shutil.which(program) is None:
            sys.exit(f"error: no {program} (Debian, Ubuntu: apt-get install {package})")


def certificate(folder: Path) -> Certificate | None:
    """A certificate for localhost, or None where there is no openssl to make it."""
    if (openssl := shutil.which("openssl")) is None:
        return None
    files = Certificate(folder / "chain.pem", folder / "key.pem")
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-keyout", str(files.key), "-out", str(files.chain)]
    subprocess.run(command, check=True, capture_output=True)
    return files
