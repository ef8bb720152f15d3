"""The flags of the command that are no settings of the server: which file, and what else to do.

Records only; the command line and the manual are made from them.
"""

from typing import Final

from serval.layers import CONFIG_VARIABLE
from serval.options import Option

CONFIG: Final = Option(
    name="config",
    default="",
    help=(
        "A TOML file of settings. Without it, [tool.serval] in ./pyproject.toml is read. "
        f"[{CONFIG_VARIABLE}]"
    ),
    short="-c",
    placeholder="FILE",
    completes="file",
)

COMMAND_OPTIONS: Final = (
    CONFIG,
    Option(
        name="check",
        default=False,
        help="Load the application, say what was found, and exit.",
        negatable=False,
        aliases=(),
    ),
    Option(
        name="print_config",
        default=False,
        help="Print each setting with its value and its origin, and exit.",
        negatable=False,
    ),
    Option(
        name="version",
        default=False,
        help="Print the versions of serval and of what it runs on, and exit.",
        negatable=False,
    ),
)
