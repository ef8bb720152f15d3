"""Whether more wait to be served than should."""

from serval.worker.threads.newcomers import NEWCOMERS_COUNT, Newcomers


class Client:
    def __init__(self, *, is_passed_over: bool) -> None:
        self.is_passed_over = is_passed_over


def come(newcomers: Newcomers, count: int, *, is_passed_over: bool) -> list[Client]:
    clients = [Client(is_passed_over=is_passed_over) for _ in range(count)]
    for client in clients:
        newcomers.came(client)
    return clients


def test_a_few_who_wait_are_not_too_many() -> None:
    newcomers = Newcomers()
    come(newcomers, NEWCOMERS_COUNT - 1, is_passed_over=True)

    assert not newcomers.are_too_many()


def test_many_are_until_the_first_of_them_is_served() -> None:
    newcomers = Newcomers()
    clients = come(newcomers, NEWCOMERS_COUNT, is_passed_over=True)

    assert newcomers.are_too_many()
    clients[0].is_passed_over = False
    assert not newcomers.are_too_many()
    come(newcomers, 1, is_passed_over=True)
    assert newcomers.are_too_many()


def test_those_who_are_served_or_silent_do_not_count() -> None:
    newcomers = Newcomers()
    come(newcomers, 10 * NEWCOMERS_COUNT, is_passed_over=False)
    assert not newcomers.are_too_many()

    come(newcomers, NEWCOMERS_COUNT, is_passed_over=True)
    assert newcomers.are_too_many()
