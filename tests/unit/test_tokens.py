"""The three forms of a token say the same."""

import re

from serval.tokens import TOKEN_BYTES, TOKEN_IN_BYTES, is_token


def test_each_form_holds_the_characters_of_the_others() -> None:
    every = [bytes((byte,)) for byte in range(256)]

    by_bytes = {one for one in every if re.fullmatch(TOKEN_IN_BYTES, one)}
    by_text = {one for one in every if is_token(one.decode("latin-1"))}

    assert by_bytes == by_text == {bytes((byte,)) for byte in TOKEN_BYTES}


def test_nothing_is_no_token() -> None:
    assert not is_token("")
    assert not re.fullmatch(TOKEN_IN_BYTES, b"")


def test_a_name_with_a_line_end_is_no_token() -> None:
    assert not is_token("name\n")
