import inspect

import pytest
from fake_lane import Call, Waits, World, upload

from serval.asgi.request_side import FAREWELL_COUNT
from serval.errors import AppError

DISCONNECT = {"type": "http.disconnect"}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def piece(body: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_both_callables_are_coroutine_functions() -> None:
    world = World()

    assert inspect.iscoroutinefunction(world.exchange.receive)
    assert inspect.iscoroutinefunction(world.exchange.send)


@pytest.mark.parametrize("body", [b"", b"hello"])
def test_a_whole_request_is_told_once(body: bytes) -> None:
    world = World(b"POST", body=body, content_length=len(body))

    assert world.receive() == piece(body, more=False)
    assert world.exchange.received_bytes == len(body)
    with pytest.raises(Waits):
        world.receive()


def test_a_body_is_told_as_it_comes() -> None:
    world = upload()
    call = Call(world.exchange.receive())
    assert call.waits()

    world.exchange.body_received(b"one")
    assert call.go() == piece(b"one", more=True)
    world.exchange.body_received(b"two")
    world.exchange.body_received(b"three")
    assert world.exchange.buffered_bytes == 8
    assert world.receive() == piece(b"twothree", more=True)
    assert world.exchange.buffered_bytes == 0
    world.exchange.body_received(b"!")
    world.exchange.body_ended()

    assert world.receive() == piece(b"!", more=False)
    assert world.exchange.received_bytes == 12
    with pytest.raises(Waits):
        world.receive()


def test_what_is_read_on_the_way_is_told_without_a_wait() -> None:
    world = upload()

    def read_on() -> bool:
        world.exchange.body_received(b"one")
        return True

    world.lane.when_read_on = read_on

    assert world.receive() == piece(b"one", more=True)
    assert world.lane.wanted_count == 2


def test_a_loss_that_is_found_in_reading_on_is_told_without_a_wait() -> None:
    world = upload()

    def read_on() -> bool:
        world.exchange.peer_lost()
        return True

    world.lane.when_read_on = read_on

    assert world.receive() == DISCONNECT


def test_a_body_that_ends_with_nothing_has_an_empty_last_piece() -> None:
    world = upload()
    world.exchange.body_received(b"all")
    assert world.receive() == piece(b"all", more=True)
    world.exchange.body_ended()

    assert world.receive() == piece(b"", more=False)


def test_the_lane_is_asked_for_more_whenever_the_application_wants_more() -> None:
    world = upload()
    with pytest.raises(Waits):
        world.receive()
    world.exchange.body_received(b"one")
    world.receive()

    assert world.lane.wanted_count == 2


def test_a_wake_up_for_nothing_is_slept_through() -> None:
    world = World()
    world.receive()
    call = Call(world.exchange.receive())

    assert call.waits()
    assert call.waits()
    call.end()


def test_after_the_response_there_is_nothing_but_a_disconnect() -> None:
    world = upload()
    waiting = Call(world.exchange.receive())
    assert waiting.waits()
    world.exchange.body_received(b"late")
    world.start(headers=[(b"content-length", b"0")])
    world.body()

    assert waiting.go() == DISCONNECT
    assert world.receive() == DISCONNECT


def test_a_body_after_the_response_is_not_kept() -> None:
    world = upload()
    world.start()
    world.body(b"done")
    world.exchange.body_received(b"late")

    assert world.exchange.buffered_bytes == 0
    assert world.exchange.received_bytes == 4


# --- 100 Continue -----------------------------------------------------------------------------


def test_continue_is_sent_at_the_first_receive_and_once() -> None:
    world = upload(expect_continue=True)
    assert world.lane.wire == b""
    call = Call(world.exchange.receive())
    assert call.waits()
    assert call.waits()
    call.end()

    assert world.lane.wire == CONTINUE
    assert world.lane.flush_count > 0


def test_a_client_that_sends_without_waiting_is_not_told_to() -> None:
    world = upload(expect_continue=True)
    world.exchange.body_received(b"one")
    world.receive()
    with pytest.raises(Waits):
        world.receive()

    assert world.lane.wire == b""


def test_no_continue_comes_after_the_final_head() -> None:
    world = upload(expect_continue=True)
    world.start()
    world.body(b"so", more=True)
    before = world.lane.wire
    with pytest.raises(Waits):
        world.receive()

    assert world.lane.wire == before


def test_a_loss_that_shows_in_writing_continue_is_told() -> None:
    world = upload(expect_continue=True)
    world.lane.when_flushed = world.exchange.peer_lost

    assert world.receive() == DISCONNECT


# --- the client leaves ------------------------------------------------------------------------


def test_what_has_come_is_told_before_the_end_of_the_client() -> None:
    world = upload()
    world.exchange.body_received(b"one")
    world.exchange.peer_left()

    assert world.receive() == piece(b"one", more=True)
    assert world.receive() == DISCONNECT


def test_nothing_follows_a_disconnect() -> None:
    world = upload()
    world.exchange.peer_left()
    assert world.receive() == DISCONNECT
    world.exchange.body_received(b"late")
    world.exchange.body_ended()

    assert world.receive() == DISCONNECT
    assert world.exchange.buffered_bytes == 0


def test_a_waiting_receive_hears_of_the_end() -> None:
    world = World()
    world.receive()
    call = Call(world.exchange.receive())
    assert call.waits()
    world.exchange.peer_left()

    assert call.go() == DISCONNECT
    assert not world.exchange.lost


def test_a_dismissed_application_hears_the_same() -> None:
    world = World()
    world.exchange.dismiss()

    assert world.receive() == piece(b"", more=False)
    assert world.receive() == DISCONNECT


def test_who_has_left_cannot_be_dismissed() -> None:
    world = World()
    world.exchange.peer_left()
    world.exchange.dismiss()
    world.receive()
    world.receive()

    world.exchange.app_ended(None)

    assert world.lane.broken_count == 1  # not a 503


def test_a_lost_client_is_told_at_once() -> None:
    world = World()
    world.exchange.peer_lost()

    assert world.exchange.lost
    assert world.receive() == DISCONNECT


def test_a_client_lost_after_its_response_is_not_lost() -> None:
    world = World()
    world.start()
    world.body()
    world.exchange.peer_lost()

    assert not world.exchange.lost


def test_who_asks_on_for_ever_is_stopped() -> None:
    world = World()
    world.exchange.peer_lost()
    for _ in range(FAREWELL_COUNT):
        assert world.receive() == DISCONNECT

    with pytest.raises(AppError, match="still calls receive"):
        world.receive()


def test_a_cancelled_receive_loses_nothing() -> None:
    world = upload()
    call = Call(world.exchange.receive())
    assert call.waits()
    call.end()
    world.exchange.body_received(b"kept")

    assert world.receive() == piece(b"kept", more=True)
