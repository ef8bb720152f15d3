"""Whether clients that upload read the whole of an answer that comes before they are done.

    PYTHONPATH=src:tests python -m soak.uploads [COUNT]

COUNT times each, httpx and curl send 3 MiB that are refused as too large (413), or that the
application answers without reading.  Every answer must come, whole.  The last line says how many
checks passed and failed; the status is 0 only if none failed.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

from process.test_hostile import UPLOAD, hardened

COUNT = 1_000
ANSWER_BYTES = 6_000  # of the application
# By path: the limit of the server, and the status to come.
KINDS = {"/": ("1000", 413), "/early": ("0", 200)}
LANES: dict[str, list[str]] = {"inline": [], "threads": ["--threads", "4"]}


def by_httpx(count: int, url: str) -> list[tuple[int, int]]:
    """Status and size of every answer, on connections that are used again where they can be."""
    body = bytes(UPLOAD)
    seen = []
    with httpx.Client(trust_env=False, timeout=20) as client:
        for _ in range(count):
            try:
                answer = client.post(url, content=body)
                seen.append((answer.status_code, len(answer.content)))
            except httpx.HTTPError as error:
                print(f"httpx: {error!r}")
                seen.append((0, 0))
    return seen


def by_curl(count: int, url: str) -> list[tuple[int, int]]:
    """The same by curl, each on a connection of its own; it does not wait to be asked."""
    with tempfile.TemporaryDirectory() as folder:
        upload = Path(folder) / "upload"
        upload.write_bytes(bytes(UPLOAD))
        command = ["curl", "--silent", "--output", "/dev/null", "--header", "Expect:"]
        command += ["--write-out", "%{http_code} %{size_download} %{exitcode}"]
        command += ["--data-binary", f"@{upload}", url]
        seen = []
        for _ in range(count):
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
            status, size, failure = done.stdout.split()
            seen.append((int(status), int(size)) if failure == "0" else (0, 0))
    return seen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=COUNT)
    count = parser.parse_args().count
    passed = failed = 0
    for lane, options in LANES.items():
        for path, (limit, status) in KINDS.items():
            with hardened("--max-body-size", limit, "--no-access-log", *options) as (_, address):
                url = f"http://{address[0]}:{address[1]}{path}"
                for ask in (by_httpx, by_curl):
                    right = [
                        (code, size)
                        for code, size in ask(count, url)
                        if code == status and size >= (ANSWER_BYTES if status == 200 else 20)
                    ]
                    whole = len(right) == count
                    passed, failed = passed + whole, failed + (not whole)
                    print(
                        f"{'' if whole else 'FAILED: '}{lane}, {ask.__name__}: "
                        f"{len(right)} of {count} answers of {status} came whole"
                    )
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
