"""The demo in a real browser: headless Chromium, driven over the DevTools protocol."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from websockets.sync.client import ClientConnection, connect

pytestmark = pytest.mark.browser

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
QUIET: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-port=0",
)
# Resolves once every panel is in the wanted state.
PANELS_ARE: Final = """
new Promise(resolve => {
  const look = () => {
    const panels = [...document.querySelectorAll(".panel")];
    if (panels.length === 3 && panels.every(p => p.dataset.state === "%s"))
      resolve(Object.fromEntries(panels.map(p => [p.id, Object.fromEntries(
        ["ms", "lane", "worker", "count"].map(c => [c, p.querySelector("." + c).textContent]))])));
    else setTimeout(look, 50);
  };
  look();
})
"""


@pytest.fixture
def server() -> Iterator[str]:
    """The real command on a port of its own; the address it says it serves on."""
    process = subprocess.Popen(
        [sys.executable, "-m", "serval", "serval.demo:app", "--port", "0", "--workers", "2"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if "ready" in line:
            break
    found = re.search(r"http://[0-9.]+:\d+", said)
    assert found, said
    yield found[0] + "/"
    process.send_signal(signal.SIGTERM)
    # A browser that is gone leaves nothing to wait for.
    rest = process.communicate(timeout=20)[1]
    assert process.returncode == 0, rest


class Page:
    """One tab, spoken to over DevTools."""

    def __init__(self, devtools: ClientConnection) -> None:
        self._devtools = devtools
        self._last_id = 0
        self._session: dict[str, str] = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}

    def call(self, method: str, **params: Any) -> Any:
        self._last_id += 1
        request = {"id": self._last_id, "method": method, "params": params, **self._session}
        self._devtools.send(json.dumps(request))
        while (reply := json.loads(self._devtools.recv(timeout=30))).get("id") != self._last_id:
            pass  # an event; nothing here asks for any
        assert "error" not in reply, reply
        return reply["result"]

    def evaluate(self, expression: str) -> Any:
        result = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    found = [path for name in BROWSERS if (path := shutil.which(name))]
    if not found:
        pytest.fail("no Chromium was found; on Debian the package chromium has it")
    process = subprocess.Popen(
        [found[0], *QUIET, f"--user-data-dir={tmp_path / 'profile'}", "about:blank"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    said = ""
    address = None
    for line in process.stderr:
        said += line
        if address := re.search(r"listening on (ws://\S+)", line):
            break
    assert address, said
    try:
        with connect(address[1], max_size=None, proxy=None) as devtools:
            yield Page(devtools)
            devtools.send(json.dumps({"id": 0, "method": "Browser.close"}))
        process.communicate(timeout=20)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def test_request_stream_and_websocket_answer_in_a_browser(server: str, page: Page) -> None:
    page.call("Page.navigate", url=server)
    shown = page.evaluate(PANELS_ARE % "live")

    assert set(shown) == {"plain", "stream", "echo"}
    for panel in shown.values():
        assert float(panel["ms"]) >= 0
        assert panel["lane"] in {"sync", "async"}
        assert int(panel["worker"]) > 0
        assert int(panel["count"]) >= 1

    # What can be paused can be resumed, and nothing has lost the server meanwhile.
    page.evaluate("document.getElementById('pause').click()")
    assert page.evaluate(PANELS_ARE % "paused")
    page.evaluate("document.getElementById('pause').click()")
    assert page.evaluate(PANELS_ARE % "live")
    assert page.evaluate("document.getElementById('status').textContent") == ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_in_both_colour_schemes(server: str, page: Page, scheme: str) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=2,
              mobile=True)  # fmt: skip
    page.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    page.call("Page.navigate", url=server)
    page.evaluate(PANELS_ARE % "live")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    width = page.evaluate("document.documentElement.scrollWidth")

    assert width == 390
    assert background == {"light": "rgb(248, 245, 239)", "dark": "rgb(20, 17, 13)"}[scheme]
