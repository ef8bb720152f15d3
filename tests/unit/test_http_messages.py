from typing import Any

import pytest

from serval.asgi.http_messages import NOT_BEGUN, WHEN_OVER, Phase, as_bytes, out_of_turn, unknown
from serval.errors import AppError


@pytest.mark.parametrize("phase", Phase)
def test_a_message_out_of_turn_is_told_what_would_have_been_legal(phase: Phase) -> None:
    said = str(out_of_turn({"type": "http.response.start"}, phase))

    assert said.startswith(f"app sent 'http.response.start' in phase {phase.name}; legal: ")
    assert said.endswith("legal: nothing") is (phase in WHEN_OVER)


def test_a_message_of_unknown_type_is_told_the_known_ones() -> None:
    assert str(unknown({"type": "x"}, ["a", "b"])) == (
        "app sent 'x'; legal in an HTTP response: a, b"
    )


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ({}, "'a message without type'"),
        (b"x", "a bytes where a dict belongs"),
        (None, "a NoneType where a dict belongs"),
    ],
)
def test_what_is_no_message_is_named(message: object, named: str) -> None:
    assert f"app sent {named};" in str(unknown(message, []))


@pytest.mark.parametrize("body", [bytearray(b"x"), memoryview(b"x"), b"x"])
def test_whatever_holds_bytes_is_a_body(body: Any) -> None:
    assert as_bytes(body) == b"x"


@pytest.mark.parametrize("body", ["x", None, 1, [1]])
def test_nothing_else_is_a_body(body: Any) -> None:
    with pytest.raises(AppError, match="body must be bytes, not"):
        as_bytes(body)


def test_no_phase_is_both_over_and_not_begun() -> None:
    assert not NOT_BEGUN & WHEN_OVER.keys()
