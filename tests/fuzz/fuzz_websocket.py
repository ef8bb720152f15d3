"""Fuzzes WebSocket frames against wsproto and against themselves; campaign.py tells how."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent / "src"), str(HERE.parent)]

import atheris  # type: ignore[import-untyped]  # noqa: E402 - it ships no types

from fuzz import campaign  # noqa: E402

with atheris.instrument_imports(include=["serval.protocols", "wsproto"]):
    from wire.websocket_agreement import check

if __name__ == "__main__":
    campaign.run("websocket", check, options=[f"-dict={HERE / 'websocket.dict'}"])
