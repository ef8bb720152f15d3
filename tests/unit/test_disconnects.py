import pytest

from serval.asgi.disconnects import only_disconnects
from serval.errors import ClientDisconnected


def raised_while_handling() -> Exception:
    try:
        try:
            raise ClientDisconnected
        except OSError:
            raise RuntimeError("the framework's own")  # noqa: B904 - as frameworks do
    except RuntimeError as error:
        return error


def in_a_circle() -> BaseException:
    error = ValueError()
    other = KeyError()
    error.__context__, other.__context__ = other, error
    return error


@pytest.mark.parametrize(
    "error",
    [
        ClientDisconnected(),
        raised_while_handling(),
        ExceptionGroup("tasks", [ClientDisconnected(), raised_while_handling()]),
    ],
)
def test_our_own_exception_is_seen_through_wrappings(error: BaseException) -> None:
    assert only_disconnects(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        OSError(),
        in_a_circle(),
        ExceptionGroup("tasks", [ClientDisconnected(), ValueError()]),
    ],
)
def test_the_applications_own_exceptions_are_not_taken_for_ours(error: BaseException) -> None:
    assert not only_disconnects(error)
