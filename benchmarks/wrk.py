"""Load by wrk: a Lua script for each work, and what wrk says at its end."""

import json
import subprocess
from pathlib import Path

from benchmarks.client import Load
from benchmarks.works import Work

SLACK_SECONDS = 20.0
SCRIPT = """
wrk.method = {method}
wrk.headers = {headers}
wrk.body = {body}

local batch
init = function(args)
  local one = wrk.format()
  batch = string.rep(one, {pipelined_count})
end

local count = 0
local random = math.random(1, 2 ^ 30)
request = function()
  if not {varied} then
    return batch
  end
  count = count + 1
  wrk.headers["X-Request-Id"] = string.format("%08x-%08x", random, count)
  return wrk.format(nil, wrk.path .. "?page=" .. count)
end

done = function(summary, latency, requests)
  local failed = summary.errors
  io.write(string.format(
    '\\n{{"units": %d, "seconds": %.6f, "p50_us": %.1f, "p99_us": %.1f, "errors": %d}}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    failed.connect + failed.read + failed.write + failed.status + failed.timeout))
end
"""


def quoted(text: str) -> str:
    """A literal of Lua."""
    return "nil" if not text else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def script(work: Work) -> str:
    """The Lua script that asks for this work."""
    headers = ", ".join(f"[{quoted(name)}] = {quoted(v)}" for name, v in work.headers.items())
    return SCRIPT.format(
        method=quoted(work.method),
        headers="{" + headers + "}",
        body=quoted(work.body.decode()),
        pipelined_count=work.pipelined_count,
        varied="true" if work.varied else "false",
    )


def run(work: Work, address: tuple[str, int], seconds: float, folder: Path) -> Load:
    """Run wrk for so long on the core that the caller is pinned to."""
    path = folder / f"{work.name}.lua"
    path.write_text(script(work))
    host, port = address
    scheme = "https" if work.tls else "http"
    command = ["wrk", "-t1", f"-c{work.connections}", f"-d{max(1, round(seconds))}s"]
    command += ["-s", str(path), f"{scheme}://{host}:{port}{work.path}"]
    limit = seconds + SLACK_SECONDS
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    if done.returncode:
        raise ConnectionError(f"wrk failed: {done.stdout}{done.stderr}")
    return Load(**json.loads(done.stdout.strip().splitlines()[-1]))
