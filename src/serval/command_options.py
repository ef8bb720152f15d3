"""The flags of the command that are no settings of the server: which file, and what else to do.

Records only; the command line and the manual are made from them.
"""

from typing import Final, NamedTuple

from serval.layers import CONFIG_VARIABLE
from serval.options import Option, Unit

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
        help="Load the certificates and the application, say what was found, and exit.",
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
        name="reload_explain",
        default=False,
        help="Print which files --reload watches, what it leaves out and why, and exit.",
        negatable=False,
    ),
    Option(
        name="version",
        default=False,
        help="Print the versions of serval and of what it runs on, and exit.",
        negatable=False,
    ),
)


class Subcommand(NamedTuple):
    """A word in place of the application: something else to do than to serve.

    Attributes:
        argument: What must be given to it, in help; empty where it takes nothing.
        options: What only it understands, beside where the server and the file are.
    """

    name: str
    help: str
    argument: str = ""
    options: tuple[Option, ...] = ()


INTERVAL: Final = Option(
    name="interval",
    default=1.0,
    help="Time between two looks.",
    unit=Unit.SECONDS,
    at_least=0.1,
)

SUBCOMMANDS: Final = (
    Subcommand(
        "status",
        "Say how a running server does: its workers, requests, times, memory.",
        options=(
            Option(
                name="json",
                default=False,
                help="As a program reads it.",
                negatable=False,
            ),
        ),
    ),
    Subcommand("top", "Show the same anew every second, until q is typed.", options=(INTERVAL,)),
    Subcommand(
        "reload",
        "Make a running server replace its workers, as SIGHUP does, and wait for the outcome.",
        options=(
            Option(name="wait", default=True, help="Wait until the last worker is replaced."),
        ),
    ),
    Subcommand("scale", "Make a running server have N workers, until it is restarted.", "N"),
)
