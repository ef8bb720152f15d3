"""Headers as an operator writes them, `Name: value`, for every response.

Pure; the configuration parses and judges with it.
"""

import re
from typing import Final

from serval.errors import ConfigError
from serval.tokens import is_token

_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# These belong to the framing of one message or to one connection, never to every response.
_FRAMING: Final = frozenset(
    {b"connection", b"content-length", b"keep-alive", b"trailer", b"transfer-encoding", b"upgrade"}
)


def parse_header(line: str) -> tuple[bytes, bytes]:
    """The name, in lower case, and the value.

    Raises:
        ConfigError: It is no header, or one that only the server can set.
    """
    name, colon, value = line.partition(":")
    value = value.strip(" \t")
    if not colon:
        raise ConfigError(f"header {line!r} has no colon; legal: 'Name: value'")
    if not is_token(name):
        raise ConfigError(f"header {line!r} has {name!r} for its name, which is no token")
    if not value.isascii() or _CONTROL.search(value):
        raise ConfigError(f"header {line!r} has a value beyond visible ASCII")
    if (found := name.lower().encode()) in _FRAMING:
        raise ConfigError(f"header {line!r} would break the framing, which the server sets itself")
    return found, value.encode()
