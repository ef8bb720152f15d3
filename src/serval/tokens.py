"""What a token is: the name of a method, of a header field or of a parameter.  Pure.

Read by whatever judges names, those of clients, of applications and of operators alike.
"""

import re
from typing import Final

# RFC 9110 section 5.6.2: for patterns over text and over bytes, and for `bytes.translate`.
TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - no secret
TOKEN_IN_BYTES: Final = TOKEN.encode()
TOKEN_BYTES: Final = (
    b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

is_token: Final = re.compile(TOKEN).fullmatch
