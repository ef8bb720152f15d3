from serval.asgi.inbox import Inbox


def test_messages_come_out_in_their_order() -> None:
    inbox = Inbox(10, 100)
    for message in ("a", b"b", ""):
        inbox.put(message)

    taken = [inbox.take() for _ in range(4)]

    assert taken == ["a", b"b", "", None]
    assert not inbox


def test_a_number_of_messages_fills_it() -> None:
    inbox = Inbox(2, 100)

    fullness = []
    for _ in range(2):
        inbox.put("")
        fullness.append(inbox.full)
    inbox.take()

    assert fullness == [False, True]
    assert not inbox.full


def test_a_number_of_bytes_fills_it() -> None:
    inbox = Inbox(10, 5)
    for message in ("abc", b"def", "ghijk"):
        inbox.put(message)

    fullness = []
    while inbox:
        inbox.take()
        fullness.append(inbox.full)

    assert fullness == [True, True, False]
