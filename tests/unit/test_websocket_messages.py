from itertools import product
from typing import Any

import pytest

from serval.asgi.websocket_messages import (
    NEXT,
    Phase,
    Sent,
    after,
    close_of,
    data_of,
    header_pairs,
    sent_of,
    subprotocol_of,
)
from serval.errors import AppError


@pytest.mark.parametrize(("phase", "sent"), sorted(NEXT, key=str))
def test_a_message_in_turn_leads_on(phase: Phase, sent: Sent) -> None:
    assert after(phase, sent) is NEXT[phase, sent]


@pytest.mark.parametrize(("phase", "sent"), sorted({*product(Phase, Sent)} - {*NEXT}, key=str))
def test_a_message_out_of_turn_is_refused_by_name(phase: Phase, sent: Sent) -> None:
    with pytest.raises(AppError) as refusal:
        after(phase, sent)

    assert f"sent {sent.value} in phase {phase.name}; legal: " in str(refusal.value)


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        ({"type": "websocket.accept", "extra": 1}, Sent.ACCEPT),
        ({"type": "websocket.send"}, Sent.SEND),
        ({"type": "websocket.close"}, Sent.CLOSE),
        ({"type": "websocket.http.response.start"}, Sent.DENY),
        ({"type": "websocket.http.response.body", "more_body": True}, Sent.PART),
        ({"type": "websocket.http.response.body"}, Sent.LAST),
    ],
)
def test_messages_are_known_by_their_type(message: dict[str, Any], sent: Sent) -> None:
    assert sent_of(message) is sent


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ({"type": "http.response.start"}, "'http.response.start'"),
        ({"type": ["x"]}, r"\['x'\]"),
        ({}, "a message without type"),
        (None, "a NoneType where a dict belongs"),
    ],
)
def test_other_messages_are_refused_with_what_was_legal(message: Any, named: str) -> None:
    with pytest.raises(AppError, match=f"app sent {named}.*legal.*websocket.accept, "):
        sent_of(message)


@pytest.mark.parametrize(
    ("message", "data"),
    [
        ({"text": ""}, ""),
        ({"text": "a", "bytes": None}, "a"),
        ({"bytes": b""}, b""),
        ({"bytes": bytearray(b"a"), "text": None}, b"a"),
        ({"bytes": memoryview(b"a")}, b"a"),
    ],
)
def test_data_is_text_or_bytes_even_when_empty(message: dict[str, Any], data: object) -> None:
    assert data_of(message) == data


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ({}, "neither bytes nor text"),
        ({"text": None, "bytes": None}, "neither bytes nor text"),
        ({"text": "a", "bytes": b"a"}, "both bytes and text"),
        ({"text": b"a"}, "text of websocket.send is of type bytes"),
        ({"bytes": "a"}, "bytes of websocket.send is of type str"),
    ],
)
def test_data_that_is_not_exactly_one_of_both_is_refused(
    message: dict[str, Any], fault: str
) -> None:
    with pytest.raises(AppError, match=fault):
        data_of(message)


@pytest.mark.parametrize("headers", [[(b"a", b"b")], [[b"a", b"b"]], iter([(b"a", b"b")])])
def test_headers_are_any_iterable_of_pairs(headers: object) -> None:
    assert header_pairs({"headers": headers}) == [(b"a", b"b")]


@pytest.mark.parametrize("message", [{}, {"headers": None}, {"headers": []}])
def test_headers_may_be_missing(message: dict[str, Any]) -> None:
    assert header_pairs(message) == []


@pytest.mark.parametrize("headers", [5, [b"a"], [(b"a", b"b", b"c")]])
def test_headers_that_are_not_pairs_are_refused(headers: object) -> None:
    with pytest.raises(AppError, match="headers must be pairs"):
        header_pairs({"headers": headers})


def test_a_subprotocol_is_text_or_none() -> None:
    assert subprotocol_of({"subprotocol": "chat"}) == "chat"
    assert subprotocol_of({"subprotocol": None}) is None
    with pytest.raises(AppError, match="must be a str"):
        subprotocol_of({"subprotocol": b"chat"})


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({}, (1000, "")),
        ({"code": None, "reason": None}, (1000, "")),
        ({"code": 4000, "reason": "bye"}, (4000, "bye")),
    ],
)
def test_a_close_has_defaults(message: dict[str, Any], said: tuple[int, str]) -> None:
    assert close_of(message) == said


@pytest.mark.parametrize(
    "message", [{"code": 1005}, {"code": 1006}, {"code": "x"}, {"reason": b"x"}]
)
def test_a_close_that_cannot_be_sent_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(AppError):
        close_of(message)
