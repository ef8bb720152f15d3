"""What `--print-config`, `--version` and `--check` say.

The command prints it; nothing here decides what happens.
"""

import platform
from importlib import metadata
from typing import Final

from serval.config import ServerConfig
from serval.options import Group, Option, options_of, render
from serval.version import __version__

# What stands for a secret, of whatever length.
SECRET: Final = "********"  # noqa: S105 - no password: what stands in place of one


def settings_table(config: ServerConfig) -> str:
    """A line for each setting, in the order of `--help`: name, value, origin."""
    headings = list(Group)
    settings = sorted(options_of(ServerConfig), key=lambda one: headings.index(one.group))
    rows = [
        (one.name, _shown(one, getattr(config, one.name)), config.origin(one.name))
        for one in settings
    ]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(
        f"{name:{widths[0]}}  {value:{widths[1]}}  {origin}" for name, value, origin in rows
    )


def _shown(one: Option, value: object) -> str:
    """A value as the table has it; not one that is secret."""
    return SECRET if one.secret and value else render(one, value) or '""'


def versions() -> str:
    """Serval, the interpreter, the event loop and the protocol libraries."""
    uvloop = _version("uvloop")
    loop = f"loop uvloop {uvloop}" if uvloop else "loop asyncio"
    return (
        f"serval {__version__} ({platform.python_implementation()} {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {loop}, "
        f"h11 {_version('h11')}, wsproto {_version('wsproto')})"
    )


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
