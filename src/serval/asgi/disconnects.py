"""Whether an exception that left the application only says that its client is gone.  Pure."""

from serval.errors import ClientDisconnected


def only_disconnects(error: BaseException) -> bool:
    """Whether `error` is nothing but our own `ClientDisconnected`, maybe wrapped by the app.

    A framework may raise its own exception while it handles ours, and a task group wraps both.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        if isinstance(current, ClientDisconnected):
            return True
        if isinstance(current, BaseExceptionGroup):
            return all(only_disconnects(inner) for inner in current.exceptions)
        seen.add(id(current))
        current = current.__cause__ or current.__context__
    return False
