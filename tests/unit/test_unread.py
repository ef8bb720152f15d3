"""What a peer has not taken yet, as the system tells it."""

import socket

from serval.net.unread import unread_bytes


def test_what_the_peer_has_not_taken_is_counted_until_it_has() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
        with ours, theirs:
            assert unread_bytes(ours.fileno()) == 0

            ours.setblocking(False)
            sent = 0
            try:
                while True:
                    sent += ours.send(bytes(65_536))
            except BlockingIOError:
                full = unread_bytes(ours.fileno())
            assert 0 < full <= sent

            theirs.settimeout(10)
            while sent:
                sent -= len(theirs.recv(65_536))
            assert unread_bytes(ours.fileno()) < full


def test_a_socket_that_is_closed_has_nothing_unread() -> None:
    sock = socket.socket()
    fd = sock.fileno()
    sock.close()

    assert unread_bytes(fd) == 0
    assert unread_bytes(sock.fileno()) == 0
