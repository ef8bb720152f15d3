"""From what several sources say of the settings to one value for each, with its origin.

Pure: the sources are given as values, the weakest first.  `ServerConfig.load` calls it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from serval.errors import ConfigError
from serval.options import VARIABLE_PREFIX, Kind, Option, near, parse

# The one variable of ours that is no setting: it names the file that the settings come from.
CONFIG_VARIABLE: Final = VARIABLE_PREFIX + "CONFIG"

_ENV_FILE: Final = "env_file"
_TOO_LATE: Final = frozenset({CONFIG_VARIABLE, VARIABLE_PREFIX + _ENV_FILE.upper()})

# What Kubernetes puts into every container beside a service of the name `serval` or `serval-...`.
_SERVICE_LINK: Final = re.compile(r"(\w+_)?(SERVICE_(HOST|PORT\w*)|PORT(_\d+_(TCP|UDP|SCTP)\w*)?)")


class Table(NamedTuple):
    """Keys and values of a file, and its name for messages."""

    name: str
    entries: Mapping[str, object]


class Given(NamedTuple):
    """What one source said of one setting.

    Attributes:
        raw: As it was written: a text, or what the TOML reader made of it.
        origin: Where it was written: a flag, a variable, a file.
    """

    name: str
    raw: object
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """All that was said of the settings.

    Flags win over variables, these over env files (a later one over an earlier), these over the
    file.  The platform's PORT and WEB_CONCURRENCY are the weakest.
    """

    flags: Sequence[Given] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    env_files: Sequence[Table] = ()
    file: Table | None = None


class Rivals(NamedTuple):
    """Two ways to say one thing: in one source they contradict, else the stronger source wins."""

    one: frozenset[str]
    other: frozenset[str]


def from_platform(options: Iterable[Option], environ: Mapping[str, str]) -> list[Given]:
    """The settings that variables of the platform suggest, such as PORT."""
    return [
        Given(one.name, environ[one.fallback_variable], one.fallback_variable)
        for one in options
        if one.fallback_variable and environ.get(one.fallback_variable)
    ]


def from_table(options: Iterable[Option], table: Table) -> list[Given]:
    """The settings in a TOML table.

    Raises:
        ConfigError: A key is none of ours.
    """
    known = {name: one.name for one in options for name in _names(one)}
    settings = set(known.values())
    for key, value in table.entries.items():
        if key in ("serval", "tool") and isinstance(value, dict):
            raise ConfigError(
                f"table [{key}] in {table.name}; settings stand at the top of the file there, "
                "and in [tool.serval] only in a pyproject.toml"
            )
        if key not in settings:
            raise ConfigError(f"unknown setting {key!r} in {table.name}{near(key, known)}")
    return [Given(key, value, table.name) for key, value in table.entries.items()]


def from_environ(
    options: Iterable[Option], environ: Mapping[str, str], *, file_name: str = ""
) -> list[Given]:
    """The settings in `SERVAL_` variables, of the process or of an env file.

    Raises:
        ConfigError: Such a variable is none of ours.
    """
    place = f" in {file_name}" if file_name else ""
    by_variable = {one.variable: one for one in options}
    known = {name.upper(): one.variable for one in options for name in _names(one)}
    known["CONFIG"] = CONFIG_VARIABLE
    found = []
    for variable, text in environ.items():
        if not variable.startswith(VARIABLE_PREFIX) or variable == CONFIG_VARIABLE:
            continue
        if (one := by_variable.get(variable)) is None:
            suffix = variable.removeprefix(VARIABLE_PREFIX)
            hint = _service_hint(variable, text, known=False) or near(suffix, known)
            raise ConfigError(f"unknown variable {variable}{place}{hint}")
        raw = _items(one, text) if one.kind is Kind.LIST else text
        origin = variable + place + _service_hint(variable, text, known=True)
        found.append(Given(one.name, raw, origin))
    return found


def layers_of(options: Sequence[Option], sources: Sources) -> list[Sequence[Given]]:
    """What the sources say, the weakest first.

    Raises:
        ConfigError: One of them names an unknown setting.
    """
    platform: dict[str, str] = {}
    layers = [from_table(options, sources.file)] if sources.file else []
    for name, entries in sources.env_files:
        if late := _TOO_LATE & entries.keys():
            raise ConfigError(f"{min(late)} in {name} comes too late to be followed")
        variables = {key: str(value) for key, value in entries.items()}
        platform |= variables
        layers.append(from_environ(options, variables, file_name=name))
    layers.append(from_environ(options, sources.environ))
    weakest = from_platform(options, platform | dict(sources.environ))
    return [weakest, *layers, sources.flags]


def env_files_named(options: Sequence[Option], sources: Sources) -> tuple[str, ...]:
    """The env files to read, before all settings can be known.

    Raises:
        ConfigError: A source names an unknown setting.
    """
    by_name = {one.name: one for one in options}
    named: tuple[str, ...] = ()
    for layer in layers_of(options, sources):
        said = _said(by_name, [given for given in layer if given.name == _ENV_FILE])
        for value, _ in said.values():
            named = value if isinstance(value, tuple) else ()
    return named


def merged(
    options: Iterable[Option], layers: Sequence[Sequence[Given]], rivals: Sequence[Rivals] = ()
) -> tuple[dict[str, object], dict[str, str]]:
    """The typed value and the origin of every setting that some layer speaks of.

    Args:
        layers: The weakest first.

    Raises:
        ConfigError: A value is not of its setting's kind, or one layer contradicts itself.
    """
    by_name = {one.name: one for one in options}
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        said = _said(by_name, layer)
        for beaten in _beaten(said, rivals):
            values.pop(beaten, None)
            origins.pop(beaten, None)
        values.update({name: value for name, (value, _) in said.items()})
        origins.update({name: origin for name, (_, origin) in said.items()})
    return values, origins


def _said(by_name: Mapping[str, Option], layer: Sequence[Given]) -> dict[str, tuple[object, str]]:
    """One layer's values and origins; the items of a list add up, anything else is said once."""
    said: dict[str, tuple[object, str]] = {}
    for name, raw, origin in layer:
        value = _typed(by_name[name], raw, origin)
        if name not in said:
            said[name] = (value, origin)
            continue
        before, before_origin = said[name]
        if isinstance(before, tuple) and isinstance(value, tuple):
            origins = dict.fromkeys((*before_origin.split(", "), origin))
            said[name] = ((*before, *value), ", ".join(origins))
        elif before != value:
            raise ConfigError(f"{origin} contradicts {before_origin}: both set {name}; give one")
    return said


def _typed(one: Option, raw: object, origin: str) -> object:
    try:
        return parse(one, raw)
    except ValueError as exc:
        raise ConfigError(f"{one.name} {exc} (from {origin})") from None


def _beaten(said: Mapping[str, tuple[object, str]], rivals: Iterable[Rivals]) -> list[str]:
    """The settings whose weaker values no longer count."""
    beaten: list[str] = []
    for pair in rivals:
        ones, others = pair.one & said.keys(), pair.other & said.keys()
        if ones and others:
            one, other = min(ones), min(others)
            raise ConfigError(
                f"{one} (from {said[one][1]}) contradicts {other} (from {said[other][1]}); "
                "give the one or the other"
            )
        beaten += pair.other if ones else pair.one if others else ()
    return beaten


def _items(one: Option, text: str) -> list[str]:
    return [item.strip() for item in text.split(one.separator) if item.strip()]


def _names(one: Option) -> list[str]:
    """Its own name and those that other servers have for it, as keys."""
    return [one.name, *(alias.flag.strip("-").replace("-", "_") for alias in one.aliases)]


def _service_hint(variable: str, text: str, *, known: bool) -> str:
    """How a variable came about that no person wrote; empty where a person may have."""
    suffix = variable.removeprefix(VARIABLE_PREFIX)
    if not text.startswith(("tcp://", "udp://")) and (known or not _SERVICE_LINK.fullmatch(suffix)):
        return ""
    return (
        ", as Kubernetes sets it for a service named serval: set enableServiceLinks to false "
        "in the pod, or name the service otherwise"
    )
