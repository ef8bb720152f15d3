"""The command `serval`, also installed as `server`: flags in, exit status out.

The flags are made by a plain loop over the settings; this module knows hardly one by name.
What serves, loads or reports is imported where it is called: `--help` and a shell that completes
shall not wait for an event loop, and where there is no fork there is nothing to import.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Final

import click
from click.shell_completion import CompletionItem

from serval.command_options import COMMAND_OPTIONS, CONFIG
from serval.config import ServerConfig
from serval.config_file import ConfigReader
from serval.errors import ConfigError, ExitStatus, StartupError
from serval.layers import Given
from serval.option_text import told, usage, value_shown
from serval.options import Alias, Group, Kind, Option, options_of

_SETTINGS: Final = options_of(ServerConfig)
_HELP_WIDTH: Final = 100  # click's own 80 would break most lines of help in two

_EPILOG: Final = (
    "TIME is 90, 500ms, 6m or 1h30m; SIZE is 65536, 64k, 16MiB or 100MB. Every option is also the "
    "variable in its brackets, and a key of the TOML file: timeout_headers for --timeout-headers. "
    "Flags win over variables, these over the file. More is in serval(1)."
)


class RawValue(click.types.StringParamType):
    """A text that the configuration will parse; here it is only completed."""

    name = "value"

    def __init__(self, option: Option) -> None:
        self.option = option

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The choices that begin so, or what the shell itself knows of files and folders."""
        if self.option.completes:
            return [CompletionItem(incomplete, type=self.option.completes)]
        known = [one for one in self.option.choices if one.startswith(incomplete.lower())]
        return [CompletionItem(one) for one in known]


class GroupedCommand(click.Command):
    """A command whose help has a section for each group of settings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections, each in the order in which its settings are defined."""
        for group in Group:
            members = [one for one in _SETTINGS if one.group is group]
            with formatter.section(group.value):
                formatter.write_dl([(usage(one), told(one)) for one in members])
        with formatter.section("This command"):
            rows = [(usage(one), one.help) for one in COMMAND_OPTIONS]
            formatter.write_dl([*rows, ("--help", "Print this text and exit.")])


def _parameters() -> Iterator[click.Parameter]:
    for one in (*_SETTINGS, *COMMAND_OPTIONS):
        if one.positional:
            yield click.Argument(
                [one.name], required=False, metavar=one.placeholder, type=RawValue(one)
            )
            continue
        spellings = f"{one.flag}/{one.negative_flag}" if one.negative_flag else one.flag
        yield _parameter(one, [one.name, spellings, *filter(None, [one.short])])
        for alias in one.aliases:
            yield _parameter(one, [_parameter_name(one, alias), alias.flag], hidden=True)


def _parameter(one: Option, declared: list[str], *, hidden: bool = False) -> click.Option:
    if one.is_switch:
        return click.Option(declared, is_flag=True, default=None, hidden=hidden)
    return click.Option(
        declared,
        type=RawValue(one),
        multiple=one.kind is Kind.LIST,
        default=None,
        hidden=hidden,
        metavar=value_shown(one),
    )


def _parameter_name(one: Option, alias: Alias) -> str:
    return f"{one.name}__{alias.flag.strip('-').replace('-', '__')}"


def _given(parameters: Mapping[str, object]) -> Iterator[Given]:
    """What the command line says of the settings, in the order of their definition."""
    for one in _SETTINGS:
        flag = "argument" if one.positional else one.flag
        yield from _values(one, parameters[one.name], flag)
        for alias in one.aliases:
            for given in _values(one, parameters[_parameter_name(one, alias)], alias.flag):
                yield given._replace(raw=alias.spelled(str(given.raw)))


def _values(one: Option, found: object, flag: str) -> Iterator[Given]:
    if isinstance(found, bool):
        name = flag if found else one.negative_flag
        yield Given(one.name, "on" if found else "off", name)
    elif isinstance(found, tuple):
        yield from (Given(one.name, item, flag) for item in found)
    elif found is not None:
        yield Given(one.name, found, flag)


def _act(parameters: Mapping[str, object]) -> int:
    """Do what the flags ask for and return the exit status."""
    if parameters["version"]:
        return _report_versions()
    read = ConfigReader(tuple(_given(parameters)), str(parameters[CONFIG.name] or ""))
    config = read()
    if parameters["print_config"]:
        return _print_config(config)
    if not config.app:
        raise ConfigError(
            "no application is named; legal: serval MODULE:ATTRIBUTE, SERVAL_APP, or app in a file"
        )
    if parameters["check"]:
        return _check(config)
    if not hasattr(os, "fork"):
        raise ConfigError("serval needs fork, which Windows lacks; run it in WSL or a container")
    from serval.server import serve  # noqa: PLC0415 -- see the top

    return serve(config, reload_config=read)


def _report_versions() -> int:
    from serval.report import versions  # noqa: PLC0415 -- see the top

    click.echo(versions())
    return ExitStatus.OK


def _print_config(config: ServerConfig) -> int:
    from serval.report import settings_table  # noqa: PLC0415 -- see the top

    click.echo(settings_table(config))
    return ExitStatus.OK


def _check(config: ServerConfig) -> int:
    from serval import loader  # noqa: PLC0415 -- see the top

    loaded = loader.load(
        config.app,
        factory=config.factory,
        app_dir=config.app_dir,
        interface=config.interface,
    )
    click.echo(f"{config.app} is {loaded.description}")
    return ExitStatus.OK


def _run(**parameters: object) -> None:
    """Serve the ASGI or WSGI application ATTRIBUTE of the module MODULE, as in myapp:app."""
    try:
        sys.exit(_act(parameters))
    except StartupError as exc:
        click.echo(f"error: {exc}", err=True)
        sys.exit(exc.exit_status)


main: Final = GroupedCommand(
    "serval",
    callback=_run,
    params=list(_parameters()),
    help=_run.__doc__,
    epilog=_EPILOG,
    context_settings={"max_content_width": _HELP_WIDTH},
)
