"""Trust lists."""

import pytest

from serval.asgi.types import Address
from serval.errors import ConfigError
from serval.net.trust import parse_address, parse_trust


@pytest.mark.parametrize(
    ("items", "peer", "expected"),
    [
        ((), ("127.0.0.1", 1), False),
        (("",), ("127.0.0.1", 1), False),
        (("127.0.0.1",), ("127.0.0.1", 1), True),
        ((" 127.0.0.1 , ::1 ",), ("::1", 1), True),
        (("127.0.0.1",), ("127.0.0.2", 1), False),
        (("10.0.0.0/8",), ("10.255.255.255", 1), True),
        (("10.0.0.0/8",), ("11.0.0.0", 1), False),
        (("10.0.0.0/255.0.0.0",), ("10.1.1.1", 1), True),
        (("0.0.0.0/0",), ("8.8.8.8", 1), True),
        (("0.0.0.0/0",), ("2001:db8::1", 1), False),
        (("::/0",), ("8.8.8.8", 1), False),
        (("2001:db8::/32",), ("2001:db8:ffff::1", 1), True),
        (("10.0.0.0/8", "10.0.0.0/24", "192.0.2.1"), ("192.0.2.1", 1), True),
        (("127.0.0.1",), ("::ffff:127.0.0.1", 1), True),
        (("::ffff:127.0.0.1",), ("127.0.0.1", 1), True),
        (("::ffff:10.0.0.0/104",), ("10.1.1.1", 1), True),
        (("fe80::/10",), ("fe80::1%eth0", 1), True),
        (("unix",), None, True),
        (("unix",), ("/run/x.sock", None), True),
        (("unix",), ("127.0.0.1", 1), False),
        (("127.0.0.1",), None, False),
        (("*",), None, True),
        (("*",), ("2001:db8::1", 1), True),
        (("127.0.0.1",), ("testclient", 1), False),
    ],
)
def test_a_peer_is_trusted_if_the_list_has_it(
    items: tuple[str, ...], peer: Address | None, expected: bool
) -> None:
    assert parse_trust(items).has_peer(peer) is expected


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("localhost", "'localhost' is no peer: it must be an address such as 10.0.0.1, a network"),
        ("10.0.0.5/8", "bits are set behind the prefix; write 10.0.0.0/8 or 10.0.0.5"),
        ("10.0.0.0/33", "it must be an address"),
        ("/run/x.sock", "write unix for all of them"),
        ("unix:/run/x.sock", "write unix for all of them"),
        ("10.0.0.*", "it must be an address"),
    ],
)
def test_what_is_no_peer_is_refused_with_what_would_be(item: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_trust((item,))

    assert message in str(refusal.value)


def test_a_text_beyond_any_address_is_none() -> None:
    assert parse_address("1" * 65) is None


def test_everyone_has_every_address() -> None:
    address = parse_address("192.0.2.1")

    assert address is not None
    assert parse_trust(("*",)).has(address)
