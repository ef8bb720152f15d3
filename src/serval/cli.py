"""The command `serval`, also installed as `server`: flags in, exit status out.

The flags are made by a plain loop over the settings; this module knows hardly one by name.
What serves, loads or reports is imported where it is called: `--help` and a shell that completes
shall not wait for an event loop, and where there is no fork there is nothing to import.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

import click

from serval.command_options import COMMAND_OPTIONS, CONFIG, INTERVAL, SUBCOMMANDS, Subcommand
from serval.config import ServerConfig
from serval.config_file import ConfigReader
from serval.errors import ConfigError, ExitStatus, StartupError
from serval.layers import Given
from serval.option_text import told, usage, value_shown
from serval.options import Alias, Group, Kind, Option, options_of, parse

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_SETTINGS: Final = options_of(ServerConfig)
_ADMIN_BIND: Final = next(one for one in _SETTINGS if one.name == "admin_bind")
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
    ) -> list["CompletionItem"]:
        """The choices that begin so, or what the shell itself knows of files and folders."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 -- see the top

        if self.option.completes:
            return [CompletionItem(incomplete, type=self.option.completes)]
        known = self.option.choices
        if self.option.positional and not ctx.args:
            known = tuple(one.name for one in SUBCOMMANDS)
        return [CompletionItem(one) for one in known if one.startswith(incomplete.lower())]


class ServingCommand(click.Command):
    """Serves, unless its first argument is one of the words that mean something else.

    Its help has a section for each group of settings.
    """

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:
        """Read the arguments, as what the first of them says."""
        if args and (found := _SUBCOMMANDS.get(args[0])) is not None:
            return found.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        """Do it."""
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections, each in the order in which its settings are defined."""
        for group in Group:
            members = [one for one in _SETTINGS if one.group is group]
            with formatter.section(group.value):
                formatter.write_dl([(usage(one), told(one)) for one in members])
        with formatter.section("This command"):
            rows = [(usage(one), one.help) for one in COMMAND_OPTIONS]
            formatter.write_dl([*rows, ("--help", "Print this text and exit.")])
        with formatter.section("In place of MODULE:ATTRIBUTE"):
            formatter.write_dl(
                [(f"{one.name} {one.argument}".rstrip(), one.help) for one in SUBCOMMANDS]
            )


def _parameters() -> Iterator[click.Parameter]:
    for one in (*_SETTINGS, *COMMAND_OPTIONS):
        if one.positional:
            yield click.Argument(
                [one.name], required=False, metavar=one.placeholder, type=RawValue(one)
            )
            continue
        yield _parameter(one, _declared(one))
        for alias in one.aliases:
            yield _parameter(one, [_parameter_name(one, alias), alias.flag], hidden=True)


def _declared(one: Option) -> list[str]:
    spellings = f"{one.flag}/{one.negative_flag}" if one.negative_flag else one.flag
    return [one.name, spellings, *filter(None, [one.short])]


def _parameter(one: Option, declared: list[str], *, hidden: bool = False) -> click.Option:
    if one.is_switch:
        return click.Option(declared, is_flag=True, default=None, hidden=hidden, help=one.help)
    return click.Option(
        declared,
        type=RawValue(one),
        multiple=one.kind is Kind.LIST,
        default=None,
        hidden=hidden,
        metavar=value_shown(one),
        help=one.help,
    )


def _parameter_name(one: Option, alias: Alias) -> str:
    return f"{one.name}__{alias.flag.strip('-').replace('-', '__')}"


def _given(
    parameters: Mapping[str, object], settings: Iterable[Option] = _SETTINGS
) -> Iterator[Given]:
    """What the command line says of the settings, in the order of their definition."""
    for one in settings:
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
    if parameters["reload_explain"]:
        return _explain_reload(config)
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


def _explain_reload(config: ServerConfig) -> int:
    from serval.reload.tree import explained, survey  # noqa: PLC0415 -- see the top
    from serval.reload.watcher import roots_of, rules_of  # noqa: PLC0415

    rules = rules_of(config)
    for line in explained(survey(roots_of(config), rules), rules):
        click.echo(line)
    return ExitStatus.OK


def _check(config: ServerConfig) -> int:
    from serval import loader  # noqa: PLC0415 -- see the top
    from serval.net.tls import load_certificates  # noqa: PLC0415

    load_certificates(config)
    loaded = loader.load(
        config.app,
        factory=config.factory,
        app_dir=config.app_dir,
        interface=config.interface,
    )
    click.echo(f"{config.app} is {loaded.description}")
    return ExitStatus.OK


def _ask(word: str, parameters: Mapping[str, object]) -> int:
    """Ask a running server what a word means."""
    from serval.admin import commands, top  # noqa: PLC0415 -- see the top
    from serval.admin.client import AdminClient  # noqa: PLC0415

    path = str(parameters[CONFIG.name] or "")
    config = ConfigReader(tuple(_given(parameters, [_ADMIN_BIND])), path)()
    if config.admin is None:
        raise ConfigError(
            "no admin endpoint is named; legal: --admin-bind unix:PATH, SERVAL_ADMIN_BIND, "
            "or admin_bind in a file, as for the server"
        )
    client = AdminClient(config.admin)
    match word:
        case "status":
            click.echo(commands.status(client, as_json=parameters["json"] is True))
        case "top":
            top.watch(client, interval_seconds=_interval(parameters[INTERVAL.name]))
        case "reload":
            click.echo(commands.reload(client, wait=parameters["wait"] is not False))
        case "scale":
            click.echo(commands.scale(client, int(str(parameters["workers"]))))
    return ExitStatus.OK


def _interval(raw: object) -> float:
    try:
        return float(str(parse(INTERVAL, INTERVAL.default if raw is None else raw)))
    except ValueError as exc:
        raise ConfigError(f"{INTERVAL.flag} {exc}") from None


def _run(**parameters: object) -> None:
    """Serve the ASGI or WSGI application ATTRIBUTE of the module MODULE, as in myapp:app."""
    _exit(partial(_act, parameters))


def _exit(act: Callable[[], int]) -> NoReturn:
    """Do it, and end with its status."""
    try:
        sys.exit(act())
    except StartupError as exc:
        click.echo(f"error: {exc}", err=True)
        sys.exit(exc.exit_status)


def _subcommand(one: Subcommand) -> click.Command:
    options = (_ADMIN_BIND, CONFIG, *one.options)
    params: list[click.Parameter] = [_parameter(option, _declared(option)) for option in options]
    if one.argument:
        params.append(click.Argument(["workers"], type=click.IntRange(1), metavar=one.argument))
    return click.Command(
        one.name,
        callback=lambda **parameters: _exit(partial(_ask, one.name, parameters)),
        params=params,
        help=one.help,
        context_settings={"max_content_width": _HELP_WIDTH},
    )


_SUBCOMMANDS: Final = {one.name: _subcommand(one) for one in SUBCOMMANDS}

main: Final = ServingCommand(
    "serval",
    callback=_run,
    params=list(_parameters()),
    help=_run.__doc__,
    epilog=_EPILOG,
    context_settings={"max_content_width": _HELP_WIDTH},
)
