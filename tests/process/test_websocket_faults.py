"""Whatever a WebSocket application does wrong: a status or a code, one report, life goes on."""

from collections.abc import Awaitable, Callable

import pytest

from process.faulty_app import RAISED
from process.lanes import Client, Server, answer
from serval.asgi.types import Message, Receive, Scope, Send

Fault = Callable[[Receive, Send], Awaitable[None]]

UPGRADE = (
    "GET {} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Protocol: chat\r\n\r\n"
)
CLOSE_FROM_CLIENT = b"\x88\x82\0\0\0\0\x03\xe8"
ACCEPT: Message = {"type": "websocket.accept"}

# What is wrong before the handshake is answered.
BAD_ANSWERS: dict[str, Message] = {
    "name with CR LF": {**ACCEPT, "headers": [(b"x\r\ny", b"a")]},
    "value with CR LF": {**ACCEPT, "headers": [(b"x", b"a\r\nset-cookie: b")]},
    "value of str": {**ACCEPT, "headers": [(b"x", "a")]},
    "a number for fields": {**ACCEPT, "headers": 5},
    "a field of ours": {**ACCEPT, "headers": [(b"sec-websocket-accept", b"a")]},
    "subprotocol that nobody offered": {**ACCEPT, "subprotocol": "other"},
    "subprotocol of bytes": {**ACCEPT, "subprotocol": b"chat"},
    "message before accept": {"type": "websocket.send", "text": "early"},
    "of another protocol": {"type": "http.response.start", "status": 200, "headers": []},
    "unknown": {"type": "websocket.begin"},
    "no type": {"text": "a"},
    "denial with a bad status": {"type": "websocket.http.response.start", "status": 1000},
    "denial with a bad field": {
        "type": "websocket.http.response.start",
        "status": 403,
        "headers": [(b"x", b"a\nb")],
    },
    "denial that begins with its body": {"type": "websocket.http.response.body", "body": b"a"},
}
# What is wrong once it is open.
BAD_MESSAGES: dict[str, Message] = {
    "text of int": {"type": "websocket.send", "text": 5},
    "text of bytes": {"type": "websocket.send", "text": b"a"},
    "bytes of str": {"type": "websocket.send", "bytes": "a"},
    "nothing": {"type": "websocket.send"},
    "a lone surrogate": {"type": "websocket.send", "text": "\ud800"},
    "a second accept": ACCEPT,
    "close code 1005": {"type": "websocket.close", "code": 1005},
    "close code 999": {"type": "websocket.close", "code": 999},
    "close code of str": {"type": "websocket.close", "code": "1000"},
    "of another protocol": {"type": "http.response.body", "body": b"a"},
    "unknown": {"type": "websocket.begin"},
}


def raising(error: Callable[[], BaseException]) -> Fault:
    async def raise_it(receive: Receive, send: Send) -> None:
        raise error()

    return raise_it


def sending(message: Message) -> Fault:
    async def send_it(receive: Receive, send: Send) -> None:
        await send(message)

    return send_it


async def recurse(receive: Receive, send: Send) -> None:
    await recurse(receive, send)


FAULTS: dict[str, Fault] = {
    **{f"raised-{name}": raising(error) for name, error in RAISED.items()},
    "recursion": recurse,
}
BEFORE = FAULTS | {name.replace(" ", "-"): sending(bad) for name, bad in BAD_ANSWERS.items()}
AFTER = FAULTS | {name.replace(" ", "-"): sending(bad) for name, bad in BAD_MESSAGES.items()}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await answer(send, b"right")
        return
    _, when, name = scope["path"].split("/")
    await receive()
    if when == "before":
        await BEFORE[name](receive, send)
        return
    await send(ACCEPT)
    await AFTER[name](receive, send)


def only_report(server: Server, caplog: pytest.LogCaptureFixture) -> str:
    server.until(lambda: not server.service.tasks)
    (record,) = [one for one in caplog.records if one.name == "serval.error"]
    return record.getMessage()


@pytest.mark.parametrize("name", BEFORE)
def test_a_fault_before_the_handshake_is_answered_is_a_500(
    server: Server, client: Client, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    client.send(UPGRADE.format(f"/before/{name}").encode())

    assert client.read().status == 500
    assert client.at_end()
    assert f"/before/{name}" in only_report(server, caplog)
    assert server.lives()


@pytest.mark.parametrize("name", AFTER)
def test_a_fault_in_an_open_session_closes_it_with_1011(
    server: Server, client: Client, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    client.send(UPGRADE.format(f"/after/{name}").encode())

    assert client.read_head()[0] == 101
    first, size = client.read_exactly(2)
    assert first == 0x88
    assert client.read_exactly(size)[:2] == (1011).to_bytes(2, "big")
    client.send(CLOSE_FROM_CLIENT)
    assert client.at_end()
    assert f"/after/{name}" in only_report(server, caplog)
    assert server.lives()
