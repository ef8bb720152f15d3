"""Makes the manual page from the settings: `python -m serval.manual > man/serval.1`.

Nothing at run time calls it; a test fails where the committed page is stale.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from typing import Final

from serval import manual_text as text
from serval.command_options import COMMAND_OPTIONS, SUBCOMMANDS, Subcommand
from serval.config import ServerConfig
from serval.option_text import default_shown, value_shown
from serval.options import Alias, Group, Kind, Option, options_of, render
from serval.version import __version__

_NAME: Final = re.compile(r"\S*[-_/]\S*")  # a flag, variable or path: never to be hyphenated


def page() -> str:
    """The whole page, in man(7) macros."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield from _head()
    yield from _section("DESCRIPTION", text.DESCRIPTION)
    yield from _section("OPTIONS", text.OPTIONS)
    yield from _options()
    yield from _section("COMMANDS", text.COMMANDS)
    for word in SUBCOMMANDS:
        yield from _command(word)
    yield from _section("ADMIN ENDPOINT", text.ADMIN_ENDPOINT)
    yield from _tagged(text.ADMIN_PATHS)
    yield from _section("RUNNING AS A SERVICE", text.SERVICE)
    yield from _section("BEHIND A PROXY", text.PROXIES)
    yield from _tagged((_escaped(header), told) for header, told in text.PROXY_HEADERS)
    yield from _section("TLS", text.TLS)
    yield from _section("CONFIGURATION FILE", text.CONFIGURATION_FILE)
    yield from _example(text.CONFIGURATION_EXAMPLE)
    yield from _section("ENVIRONMENT", text.ENVIRONMENT)
    yield from _tagged(text.VARIABLES)
    yield from _paragraphs(text.ENV_FILES)
    yield from _section("SIGNALS", text.SIGNALS_NOTE)
    yield from _tagged(text.SIGNALS)
    yield from _section("WORKER STATES", text.WORKER_STATES_NOTE)
    yield from _tagged((state.name.lower(), meaning) for state, meaning in text.WORKER_STATES)
    yield from _section("STOPPING, AS THE APPLICATION SEES IT", text.APPLICATION)
    yield ".SH EXIT STATUS"
    yield from _tagged((str(int(status)), meaning) for status, meaning in text.EXIT_STATUSES)
    yield ".SH EXAMPLES"
    for title, command in text.EXAMPLES:
        yield from (".PP", _escaped(title))
        yield from _example(command)
    yield from _section("SHELL COMPLETION", text.COMPLETION)
    for file, line in text.COMPLETION_LINES:
        yield from (".PP", f"In {_escaped(file)}:")
        yield from _example(line)


def _head() -> Iterator[str]:
    yield r".\" Made by `python -m serval.manual`; change the settings or manual_text.py instead."
    yield f'.TH SERVAL 1 "" "serval {__version__}" "User Commands"'
    yield ".ad l"
    yield from (".SH NAME", rf"serval \- {_escaped(text.SUMMARY)}", ".SH SYNOPSIS")
    yield from (".B serval", r".I MODULE:ATTRIBUTE", r".RI [ options ]")
    words = "|".join(rf"\fB{one.name}\fR" for one in SUBCOMMANDS)
    yield from (".br", ".B serval", f"{words} [\\fIoptions\\fR]")


def _options() -> Iterator[str]:
    for group in Group:
        yield f'.SS "{_escaped(group.value)}"'
        for one in options_of(ServerConfig):
            if one.group is group:
                yield from _entry(one, _facts(one))
    yield '.SS "This command"'
    for one in COMMAND_OPTIONS:
        yield from _entry(one, "")
    yield from _tagged([(r"\-\-help", "Print a summary of the options and exit.")])


def _entry(one: Option, facts: str) -> Iterator[str]:
    """One setting: its flags, what it does, and its facts."""
    yield ".TP"
    value = rf" \fI{_escaped(value_shown(one))}\fR" if value_shown(one) else ""
    flags = [one.placeholder] if one.positional else [one.short, one.flag, one.negative_flag]
    yield ", ".join(rf"\fB{_escaped(flag)}\fR" for flag in flags if flag) + (
        "" if one.positional else value
    )
    yield _escaped(one.help)
    if facts:
        yield from (".br", _escaped(facts))


def _command(one: Subcommand) -> Iterator[str]:
    """A word in place of the application, and what it understands."""
    yield ".TP"
    argument = rf" \fI{_escaped(one.argument)}\fR" if one.argument else ""
    yield rf"\fBserval {one.name}\fR{argument}"
    yield _escaped(one.help)
    if one.options:
        yield ".RS"
        for option in one.options:
            yield from _entry(option, "")
        yield ".RE"


def _facts(one: Option) -> str:
    """Default, bounds, variable, key and aliases, as short sentences."""
    facts = []
    if default := default_shown(one):
        facts.append(f"Default {default}.")
    facts.append(_bounds(one))
    fallback = f" or {one.fallback_variable}" if one.fallback_variable else ""
    facts.append(f"Variable {one.variable}{fallback}; key {one.name} ({_type(one)}).")
    if one.aliases:
        facts.append(f"Also {', '.join(_alias(one, alias) for alias in one.aliases)}.")
    return " ".join(filter(None, facts))


def _type(one: Option) -> str:
    """What the value of its key is in a file."""
    match one.kind:
        case Kind.SWITCH:
            return "boolean"
        case Kind.NUMBER:
            return "number"
        case Kind.DURATION:
            return "duration"
        case Kind.SIZE:
            return "size"
        case Kind.LIST:
            return "list"
        case Kind.CHOICE | Kind.TEXT:
            return "text"


def _bounds(one: Option) -> str:
    ends = []
    if one.at_least:
        ends.append(f"at least {render(one, one.at_least)}")
    if one.at_most is not None:
        ends.append(f"at most {render(one, one.at_most)}")
    if one.zero_means:
        ends.append(f"0 for {one.zero_means}")
    return f"{', '.join(ends)}.".capitalize() if ends else ""


def _alias(one: Option, alias: Alias) -> str:
    """An alias, and what it stands for where its value is another."""
    if alias.before:
        return f"{alias.flag} VALUE for {one.flag} {alias.before}VALUE"
    return f"{alias.flag} (counts in {alias.after})" if alias.after else alias.flag


def _section(title: str, paragraphs: Iterable[str]) -> Iterator[str]:
    yield f".SH {title}"
    yield from _paragraphs(paragraphs)


def _paragraphs(paragraphs: Iterable[str]) -> Iterator[str]:
    for paragraph in paragraphs:
        yield from (".PP", _escaped(paragraph))


def _tagged(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    for tag, meaning in rows:
        yield from (".TP", rf"\fB{tag}\fR", _escaped(meaning))


def _example(lines: str) -> Iterator[str]:
    yield from (".PP", ".RS 4", ".EX")
    yield from (_escaped(line) for line in lines.splitlines())
    yield from (".EE", ".RE")


def _escaped(plain: str) -> str:
    """Text that the formatter prints as it is: no escapes, no requests, hyphens to paste."""
    roff = (
        _NAME.sub(r"\\%\g<0>", plain.replace("\\", r"\e")).replace("-", r"\-").replace("'", r"\(aq")
    )
    roff = roff.replace("^", r"\(ha").replace("~", r"\(ti").replace("`", r"\(ga")
    return rf"\&{roff}" if roff.startswith(".") else roff


if __name__ == "__main__":
    sys.stdout.write(page())
