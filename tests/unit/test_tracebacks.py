from serval import tracebacks


def test_an_error_without_frames_is_told_by_its_last_line() -> None:
    assert tracebacks.user_traceback(ValueError("bad")) == "ValueError: bad"


def test_the_errors_of_a_group_are_told() -> None:
    told = tracebacks.user_traceback(ExceptionGroup("two", [ValueError("a"), KeyError("b")]))

    assert "ValueError: a" in told
    assert "KeyError: 'b'" in told


def test_an_error_that_is_its_own_cause_is_told_once() -> None:
    error = ValueError("bad")
    error.__cause__ = KeyError("inner")
    error.__cause__.__context__ = error

    assert tracebacks.user_traceback(error).count("ValueError: bad") == 1
