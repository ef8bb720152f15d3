"""The `Forwarded` header of RFC 7239: from its field lines to one record per hop.  Pure.

Linear in the input.  A line that is malformed anywhere yields one hop of which nothing is known:
a client may have sent its beginning and a proxy appended the rest, so that no part can be told
from another.
"""

import re
from collections.abc import Iterable
from typing import Final

from serval.tokens import TOKEN

_PAIR: Final = re.compile(rf'({TOKEN})=(?:({TOKEN})|"((?:[^"\\]|\\.)*)")')
_BLANKS: Final = frozenset(" \t")
_ESCAPED: Final = re.compile(r"\\(.)")

UNKNOWN: Final[dict[str, str]] = {}


def forwarded_hops(values: Iterable[bytes]) -> list[dict[str, str]]:
    """The parameters of each hop, their names in lower case; the nearest hop is the last."""
    hops: list[dict[str, str]] = []
    for value in values:
        line = _hops_of(value.decode("latin-1"))
        hops += [UNKNOWN] if line is None else line
    return hops


def _hops_of(text: str) -> list[dict[str, str]] | None:
    """The hops in one field line, or None where it is malformed."""
    hops: list[dict[str, str]] = []
    hop: dict[str, str] = {}
    at = _skip_blanks(text, 0)
    while at < len(text):
        if text[at] not in ",;":
            pair = _PAIR.match(text, at)
            if pair is None or (name := pair[1].lower()) in hop:
                return None
            hop[name] = pair[2] if pair[3] is None else _ESCAPED.sub(r"\1", pair[3])
            at = _skip_blanks(text, pair.end())
            if at < len(text) and text[at] not in ",;":
                return None
        if text[at : at + 1] == "," and hop:  # an empty element is none (RFC 9110 5.6.1)
            hops.append(hop)
            hop = {}
        at = _skip_blanks(text, at + 1)
    if hop:
        hops.append(hop)
    return hops


def _skip_blanks(text: str, at: int) -> int:
    while text[at : at + 1] in _BLANKS:
        at += 1
    return at
