import pytest

from serval.jitter import Jitter, parse_jitter


@pytest.mark.parametrize(
    ("text", "jitter"),
    [
        ("10%", Jitter(share=0.1)),
        ("2.5 %", Jitter(share=0.025)),
        ("0%", Jitter()),
        ("0", Jitter()),
        (" 50 ", Jitter(amount=50.0)),
        ("1.5", Jitter(amount=1.5)),
    ],
)
def test_a_jitter_is_a_share_or_an_amount(text: str, jitter: Jitter) -> None:
    assert parse_jitter(text) == jitter


@pytest.mark.parametrize("text", ["", "%", "-5", "ten", "1_0", "5%%"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a share such as 10% or a number such as 50"):
        parse_jitter(text)


@pytest.mark.parametrize(("luck", "limit"), [(0.0, 100.0), (0.5, 110.0), (1.0, 120.0)])
def test_it_only_ever_adds(luck: float, limit: float) -> None:
    assert Jitter(share=0.1, amount=10.0).spread(100.0, luck) == limit
