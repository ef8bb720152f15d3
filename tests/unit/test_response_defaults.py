import pytest

from serval.errors import AppError
from serval.protocols.response_defaults import ResponseDefaults, TimelyEnds, plain_response

DATE = b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
MOMENT = 784_111_777.25
SERVER = b"server: serval\r\n"


def test_our_fields_give_way_to_the_applications() -> None:
    defaults = ResponseDefaults(lambda: MOMENT, headers=[(b"x", b"y")])

    assert [defaults.lines(own) for own in range(4)] == [
        DATE + SERVER + b"x: y\r\n",
        SERVER + b"x: y\r\n",
        DATE + b"x: y\r\n",
        b"x: y\r\n",
    ]
    assert defaults.ends == tuple(defaults.lines(own) + b"\r\n" for own in range(4))


def test_our_fields_can_be_switched_off() -> None:
    defaults = ResponseDefaults(lambda: MOMENT, server=False, date=False)

    assert defaults.ends == (b"\r\n",) * 4


def test_a_configured_field_is_checked() -> None:
    with pytest.raises(AppError):
        ResponseDefaults(lambda: MOMENT, headers=[(b"a b", b"y")])


def test_the_date_is_built_once_a_second() -> None:
    moments = iter([MOMENT, MOMENT + 0.5, MOMENT + 0.7, MOMENT + 0.8])
    defaults = ResponseDefaults(lambda: next(moments))
    first = defaults.ends

    assert defaults.lines() == DATE + SERVER
    assert defaults.ends is first
    assert defaults.lines() == DATE + SERVER
    assert b"08:49:38" in defaults.lines()
    assert defaults.ends is not first


def test_timely_ends_are_built_when_they_are_asked_for() -> None:
    moments = iter([MOMENT, MOMENT + 0.5, MOMENT + 0.8])
    defaults = ResponseDefaults(lambda: next(moments))
    ends = TimelyEnds(defaults)

    assert ends.ends[0] == DATE + SERVER + b"\r\n"
    assert b"08:49:38" in ends.ends[0]


def test_a_response_of_our_own_is_whole() -> None:
    defaults = ResponseDefaults(lambda: MOMENT)

    assert plain_response(431, "too much", defaults, b"x: y\r\n") == (
        b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
        b"content-type: text/plain; charset=utf-8\r\ncontent-length: 9\r\nx: y\r\n"
        b"connection: close\r\n" + DATE + SERVER + b"\r\ntoo much\n"
    )
