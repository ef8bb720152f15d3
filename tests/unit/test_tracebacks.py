from serval import tracebacks


def test_an_error_without_frames_is_told_by_its_last_line() -> None:
    assert tracebacks.user_traceback(ValueError("bad")) == "ValueError: bad"


def test_the_errors_of_a_group_are_told() -> None:
    told = tracebacks.user_traceback(ExceptionGroup("two", [ValueError("a"), KeyError("b")]))

    assert "ValueError: a" in told
    assert "KeyError: 'b'" in told
