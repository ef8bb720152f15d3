"""The lines of an env file: `KEY=value`, quotes, comments and `export `.

Pure: text in, variables out.  Nothing is expanded, no `$OTHER` and no command.
"""

import re
from collections.abc import Iterator
from typing import Final

from serval.errors import ConfigError

_LINE: Final = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_DOUBLE_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?', re.DOTALL)
_SINGLE_QUOTED: Final = re.compile(r"'([^']*)'\s*(?:#.*)?", re.DOTALL)
_COMMENT: Final = re.compile(r"(?:^|\s)#.*", re.DOTALL)


def parse_env(text: str, name: str) -> dict[str, str]:
    r"""The variables of an env file; of a name given twice the last value counts.

    A value in single quotes stands as it is, one in double quotes knows `\n`, `\t`, `\r`, `\"`,
    `\$` and `\\`, and both may go over several lines.  Without quotes, blanks around the value
    and a `#` behind a blank end it.

    Args:
        name: The file, for messages.

    Raises:
        ConfigError: A line is no assignment, or a quote stays open; the text names file and line.
    """
    variables: dict[str, str] = {}
    for number, line in _logical_lines(text):
        found = _LINE.fullmatch(line)
        if found is None:
            raise ConfigError(f"{name}:{number}: {line!r} is not KEY=value")
        if "\0" in line:
            raise ConfigError(f"{name}:{number}: a value holds a NUL byte")
        variables[found[1]] = _value(found[2], f"{name}:{number}")
    return variables


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Each assignment with the number of its first line; a quoted value may hold line ends."""
    lines = iter(enumerate(text.removeprefix("\ufeff").splitlines(), start=1))
    for number, line in lines:
        whole = line.strip()
        if not whole or whole.startswith("#"):
            continue
        while _is_open(whole) and (more := next(lines, None)) is not None:
            whole = f"{whole}\n{more[1]}"
        yield number, whole


def _is_open(line: str) -> bool:
    """Whether its value begins with a quote that has no end yet."""
    found = _LINE.fullmatch(line)
    value = found[2] if found else ""
    if value.startswith("'"):
        return "'" not in value[1:]
    return value.startswith('"') and '"' not in _ESCAPE.sub("", value[1:])


def _value(raw: str, place: str) -> str:
    if raw.startswith("'"):
        if (found := _SINGLE_QUOTED.fullmatch(raw)) is None:
            raise ConfigError(f"{place}: a single quote has no end, or text follows it")
        return found[1]
    if raw.startswith('"'):
        if (found := _DOUBLE_QUOTED.fullmatch(raw)) is None:
            raise ConfigError(f"{place}: a double quote has no end, or text follows it")
        return _ESCAPE.sub(lambda one: _ESCAPES.get(one[1], one[0]), found[1])
    return _COMMENT.sub("", raw).strip()
