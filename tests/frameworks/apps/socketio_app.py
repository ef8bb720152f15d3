"""python-socketio by itself: events, acknowledgements, rooms, its own session."""

from typing import Any

import socketio  # type: ignore[import-untyped]  # ships no types

from frameworks.ledger import note

# A client that leaves while it polls waits for the next ping, so pings come soon.
server = socketio.AsyncServer(async_mode="asgi", ping_interval=1, ping_timeout=1)
app = socketio.ASGIApp(server)


@server.event  # type: ignore[untyped-decorator]
async def connect(sid: str, _environ: dict[str, Any], auth: dict[str, str] | None) -> bool:
    await server.save_session(sid, {"name": (auth or {}).get("name", "nobody")})
    return (auth or {}).get("name") != "stranger"


@server.event  # type: ignore[untyped-decorator]
async def disconnect(sid: str, _reason: str) -> None:
    session = await server.get_session(sid)
    note("disconnected", session["name"])


@server.event  # type: ignore[untyped-decorator]
async def add(_sid: str, first: int, second: int) -> int:
    return first + second


@server.event  # type: ignore[untyped-decorator]
async def join(sid: str, room: str) -> None:
    await server.enter_room(sid, room)


@server.event  # type: ignore[untyped-decorator]
async def say(sid: str, room: str, words: str) -> None:
    session = await server.get_session(sid)
    await server.emit("said", {"by": session["name"], "words": words}, room=room)


@server.event  # type: ignore[untyped-decorator]
async def reverse(_sid: str, data: bytes) -> bytes:
    return data[::-1]
