"""The server's side of HTTP/1.x."""

import pytest

from serval.errors import PeerError
from serval.protocols.body_limits import BodyLimits
from serval.protocols.events import BodyReceived, RequestEnded, RequestEvent, RequestReceived
from serval.protocols.http1 import H1Protocol, HeadLimits, Referee

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
HOST = (b"host", b"a")


def events(protocol: H1Protocol, data: bytes = b"") -> list[RequestEvent]:
    if data:
        protocol.receive_data(data)
    found = []
    while (event := protocol.next_event()) is not None:
        found.append(event)
    return found


def refusal_of(protocol: H1Protocol, data: bytes = b"") -> PeerError:
    with pytest.raises(PeerError) as refusal:
        events(protocol, data)
    return refusal.value


def test_a_plain_request_is_one_event() -> None:
    protocol = H1Protocol()

    assert events(protocol, GET) == [RequestReceived(b"GET", b"/", [HOST])]
    assert protocol.request_ended


def test_a_body_that_comes_with_its_head_is_part_of_the_event() -> None:
    protocol = H1Protocol()

    (request,) = events(protocol, POST + b"Content-Length: 5\r\n\r\nhello")

    assert isinstance(request, RequestReceived)
    assert (request.complete, request.body, request.content_length) == (True, b"hello", 5)
    assert protocol.request_ended


def test_a_body_that_comes_later_is_passed_through_without_a_copy() -> None:
    protocol = H1Protocol()
    (request,) = events(protocol, POST + b"Content-Length: 200000\r\n\r\n")
    piece = b"x" * 100_000

    first = events(protocol, piece)
    last = events(protocol, piece)

    assert isinstance(request, RequestReceived)
    assert not request.complete
    assert isinstance(first[0], BodyReceived)
    assert first[0].data is piece
    assert last == [BodyReceived(piece), RequestEnded([])]


def test_a_chunked_body_comes_without_its_framing_and_its_trailers_stay_apart() -> None:
    protocol = H1Protocol()

    found = events(protocol, CHUNKED + b"1\r\na\r\n2;x=y\r\nbc\r\n0\r\nX: z\r\n\r\n")

    assert found == [
        RequestReceived(
            b"POST",
            b"/",
            [HOST, (b"transfer-encoding", b"chunked")],
            complete=False,
            content_length=None,
        ),
        BodyReceived(b"abc"),
        RequestEnded([(b"x", b"z")]),
    ]


def test_a_client_that_expects_100_continue_waits_until_its_body_has_come() -> None:
    head = POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"

    (waiting,) = events(H1Protocol(), head)
    (ready,) = events(H1Protocol(), head + b"hi")

    assert isinstance(waiting, RequestReceived)
    assert isinstance(ready, RequestReceived)
    assert (waiting.expect_continue, ready.expect_continue) == (True, False)


def test_the_next_request_waits_for_the_next_cycle() -> None:
    protocol = H1Protocol()

    first = events(protocol, GET + GET)
    waiting = [(protocol.trailing_data, protocol.head_started)]
    protocol.start_next_cycle()
    waiting.append((protocol.trailing_data, protocol.head_started))
    second = events(protocol)

    assert first == second == [RequestReceived(b"GET", b"/", [HOST])]
    assert waiting == [(GET, False), (GET, True)]
    assert not protocol.has_trailing_data


def test_what_follows_an_upgrade_request_is_left_alone() -> None:
    protocol = H1Protocol()
    head = GET[:-2] + b"Upgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n"

    (request,) = events(protocol, head + b"\x81\x00")

    assert isinstance(request, RequestReceived)
    assert request.upgrade == b"websocket"
    assert protocol.trailing_data == b"\x81\x00"


def test_bytes_of_an_unfinished_head_are_noticed() -> None:
    protocol = H1Protocol()
    started = [protocol.head_started]

    for piece in (GET[:3], GET[3:10], GET[10:]):
        events(protocol, piece)
        started.append(protocol.head_started)

    assert started == [False, True, True, False]


def test_an_empty_line_between_requests_starts_no_head() -> None:
    protocol = H1Protocol()

    assert events(protocol, b"\r") == []
    assert events(protocol, b"\n") == []
    assert not protocol.head_started
    assert not protocol.has_trailing_data
    assert len(events(protocol, GET)) == 1


@pytest.mark.parametrize("data", [b"\r\n\r\n", b"\r\n\r\n" + GET])
def test_a_second_empty_line_is_refused(data: bytes) -> None:
    assert refusal_of(H1Protocol(), data).reason == "empty-lines"


def test_a_plain_head_in_pieces_is_read_like_a_whole_one() -> None:
    protocol = H1Protocol()

    found = [event for byte in GET for event in events(protocol, bytes([byte]))]

    assert found == [RequestReceived(b"GET", b"/", [HOST])]


def test_a_head_longer_than_the_fast_path_takes_is_read_all_the_same() -> None:
    limits = HeadLimits(request_line_bytes=20)
    data = GET[:-2] + b"X: " + b"a" * 100 + b"\r\n\r\n"

    assert len(events(H1Protocol(limits), data)) == 1


@pytest.mark.parametrize(
    "pieces",
    [
        [GET],
        [GET[:9], GET[9:]],
        [b"\r", b"\n", GET],
        [GET + GET],
        [POST + b"Content-Length: 2\r\n\r\n", b"hi"],
        [CHUNKED, b"2\r\nhi\r\n", b"0\r\n\r\n"],
        [GET[:-2] + b"X: a\r\n" * 5 + b"\r\n"],
    ],
)
def test_taking_a_request_is_receiving_and_asking_for_one_event(pieces: list[bytes]) -> None:
    short, long = H1Protocol(), H1Protocol()

    for piece in pieces:
        long.receive_data(piece)

        assert (short.take_request(piece) or short.next_event()) == long.next_event()

    assert (short.trailing_data, short.request_ended) == (long.trailing_data, long.request_ended)


def test_a_request_is_taken_only_from_bytes_that_are_just_one_that_is_known() -> None:
    post = POST + b"Content-Length: 1\r\n\r\n"
    for data in (GET, post):
        events(H1Protocol(), data)

    assert H1Protocol().take_request(GET) == RequestReceived(b"GET", b"/", [HOST])
    assert H1Protocol().take_request(GET + b"G") is None
    assert H1Protocol().take_request(GET[:-1]) is None
    assert H1Protocol().take_request(post) is None
    assert H1Protocol(HeadLimits(count=0)).take_request(GET) is None
    assert H1Protocol(HeadLimits(block_bytes=len(GET) - 1)).take_request(GET) is None


def test_a_request_that_another_parser_has_read_is_skipped() -> None:
    protocol = H1Protocol()

    protocol.skip_request()

    assert protocol.request_ended
    with pytest.raises(AssertionError):
        protocol.skip_request()


@pytest.mark.parametrize("held", [b"\r", b"GET / HTTP/1.1\r\nX: ", GET])
def test_no_request_is_taken_past_bytes_that_are_held(held: bytes) -> None:
    events(H1Protocol(), GET)
    protocol = H1Protocol()
    protocol.receive_data(held)

    assert protocol.take_request(GET) is None
    assert protocol.trailing_data == held + GET


def test_no_request_is_taken_after_a_refusal() -> None:
    events(H1Protocol(), GET)
    protocol = H1Protocol()
    refusal_of(protocol, b"\0")

    with pytest.raises(AssertionError):
        protocol.take_request(GET)


def test_the_offset_of_a_refusal_counts_what_was_taken() -> None:
    events(H1Protocol(), GET)
    protocol = H1Protocol()
    assert protocol.take_request(GET) is not None
    protocol.start_next_cycle()

    assert refusal_of(protocol, b"\0").offset == len(GET)


def test_more_data_may_come_before_the_events_are_taken() -> None:
    protocol = H1Protocol()
    protocol.receive_data(GET + GET[:5])
    protocol.receive_data(GET[5:] + GET)

    for _ in range(3):
        assert len(events(protocol)) == 1
        protocol.start_next_cycle()

    assert not protocol.has_trailing_data


def test_data_that_arrives_behind_a_request_is_kept() -> None:
    protocol = H1Protocol()
    events(protocol, GET + GET[:5])

    protocol.receive_data(GET[5:])

    assert protocol.trailing_data == GET
    protocol.start_next_cycle()
    assert len(events(protocol)) == 1


def test_the_number_of_fields_is_limited_on_the_fast_path_too() -> None:
    refusal = refusal_of(H1Protocol(HeadLimits(count=1)), GET[:-2] + b"X: a\r\n\r\n")

    assert (refusal.status, refusal.reason) == (431, "too-many-fields")


def test_the_end_of_input_between_requests_is_no_error() -> None:
    protocol = H1Protocol()
    events(protocol, GET)
    protocol.start_next_cycle()

    before = protocol.at_eof
    protocol.receive_eof()

    assert protocol.next_event() is None
    assert (before, protocol.at_eof) == (False, True)


def test_the_end_of_input_does_not_hide_a_request_that_came_before_it() -> None:
    protocol = H1Protocol()
    protocol.receive_data(GET)
    protocol.receive_eof()

    before = protocol.at_eof
    found = events(protocol)

    assert len(found) == 1
    assert (before, protocol.at_eof) == (False, True)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"G", "incomplete-head"),
        (b"\r", "incomplete-head"),
        (GET[:-1], "incomplete-head"),
        (POST + b"Content-Length: 2\r\n\r\nx", "incomplete-body"),
        (CHUNKED + b"2\r\nx", "incomplete-body"),
        (CHUNKED + b"0\r\n", "incomplete-body"),
    ],
)
def test_the_end_of_input_within_a_request_is_refused(data: bytes, reason: str) -> None:
    protocol = H1Protocol()
    events(protocol, data)
    protocol.receive_eof()

    refusal = refusal_of(protocol)

    assert (refusal.status, refusal.reason) == (400, reason)


def test_after_a_refusal_nothing_more_is_parsed() -> None:
    protocol = H1Protocol()
    refusal_of(protocol, b"\0" + GET)

    with pytest.raises(AssertionError):
        protocol.next_event()
    with pytest.raises(AssertionError):
        protocol.receive_data(GET)
    with pytest.raises(AssertionError):
        protocol.start_next_cycle()
    with pytest.raises(AssertionError):
        protocol.limit_body(1)


def test_the_next_cycle_waits_for_the_end_of_the_request() -> None:
    protocol = H1Protocol()
    events(protocol, POST + b"Content-Length: 2\r\n\r\nx")

    with pytest.raises(AssertionError, match="COUNTED_BODY"):
        protocol.start_next_cycle()


def test_the_offset_of_a_refusal_counts_from_the_first_byte_of_the_connection() -> None:
    protocol = H1Protocol()
    for _ in range(2):
        events(protocol, GET)
        protocol.start_next_cycle()

    refusal = refusal_of(protocol, b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n")

    assert refusal.offset == 2 * len(GET) + len(GET) - 2
    assert refusal.excerpt == b"X : b"


def test_what_comes_in_the_middle_of_a_chunk_is_passed_through_not_copied() -> None:
    protocol = H1Protocol()
    events(protocol, CHUNKED + b"20\r\nabc")
    data = bytes(16)

    protocol.receive_data(data)
    event = protocol.next_event()

    assert isinstance(event, BodyReceived)
    assert event.data is data


def test_what_stands_before_a_bad_chunk_is_delivered_first() -> None:
    protocol = H1Protocol()
    protocol.receive_data(CHUNKED + b"5\r\nhello\r\nzz\r\n")

    assert isinstance(protocol.next_event(), RequestReceived)
    assert protocol.next_event() == BodyReceived(b"hello")
    assert refusal_of(protocol).reason == "bad-chunk-size"


@pytest.mark.parametrize("length", [10, 11])
def test_an_announced_body_over_the_limit_is_refused_with_its_head(length: int) -> None:
    protocol = H1Protocol(body_limits=BodyLimits(10))
    head = POST + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % length

    if length == 10:
        assert len(events(protocol, head)) == 1
    else:
        refusal = refusal_of(protocol, head)
        assert (refusal.status, refusal.reason) == (413, "body-too-large")


def test_a_chunked_body_is_cut_at_the_first_byte_over_the_limit() -> None:
    protocol = H1Protocol(body_limits=BodyLimits(3))

    found = events(protocol, CHUNKED + b"5\r\nabc")

    assert found[1:] == [BodyReceived(b"abc")]
    assert refusal_of(protocol, b"d").status == 413


def test_a_request_may_have_a_limit_of_its_own() -> None:
    protocol = H1Protocol(body_limits=BodyLimits(10))
    events(protocol, CHUNKED)

    protocol.limit_body(2)

    assert events(protocol, b"5\r\nab") == [BodyReceived(b"ab")]
    assert refusal_of(protocol, b"c").status == 413


def test_the_limit_of_one_request_is_not_that_of_the_next() -> None:
    protocol = H1Protocol()
    events(protocol, CHUNKED)
    protocol.limit_body(2)
    events(protocol, b"0\r\n\r\n")
    protocol.start_next_cycle()

    assert events(protocol, CHUNKED + b"5\r\nhello\r\n")[1:] == [BodyReceived(b"hello")]


def test_a_limit_below_what_is_announced_is_refused_at_once() -> None:
    protocol = H1Protocol()
    events(protocol, POST + b"Content-Length: 5\r\n\r\nhel")

    with pytest.raises(PeerError) as refusal:
        protocol.limit_body(4)

    assert refusal.value.status == 413
    with pytest.raises(AssertionError):
        protocol.next_event()


def test_a_limit_below_what_has_come_of_a_chunked_body_is_refused_at_once() -> None:
    protocol = H1Protocol()
    events(protocol, CHUNKED + b"5\r\nhello\r\n")

    with pytest.raises(PeerError):
        protocol.limit_body(4)


def test_a_limit_that_is_not_passed_changes_nothing() -> None:
    protocol = H1Protocol()
    events(protocol, POST + b"Content-Length: 5\r\n\r\nhel")

    protocol.limit_body(5)
    protocol.limit_body(0)

    assert events(protocol, b"lo") == [BodyReceived(b"lo"), RequestEnded([])]


def test_h11_has_the_last_word_on_a_head() -> None:
    with pytest.raises(PeerError) as refusal:
        Referee().read_head(b"GET / HTTP/1.1\r\n\r\n", 12)

    assert (refusal.value.reason, refusal.value.offset) == ("refused-by-h11", 12)


def test_h11_has_to_be_given_a_whole_head() -> None:
    with pytest.raises(PeerError) as refusal:
        Referee().read_head(GET[:-2], 0)

    assert refusal.value.reason == "refused-by-h11"
