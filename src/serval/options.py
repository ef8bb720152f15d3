"""The option machinery: a setting is a dataclass field, and everything about it is written there.

Flag, variable, file key, help and manual entry come from a plain loop over `options_of(cls)`.
Pure: it opens nothing and knows no setting by name.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum, auto
from typing import Final, Literal, NamedTuple, TypedDict, TypeVar, Unpack, get_args, get_origin

from serval.quantities import parse_duration, parse_size, render_duration, render_size

T = TypeVar("T")

VARIABLE_PREFIX: Final = "SERVAL_"
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_TRUTHS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


class Group(Enum):
    """The headings of `--help` and of the manual, in their order there."""

    APPLICATION = "Application"
    LISTENING = "Listening"
    PROCESSES = "Processes and threads"
    WORKERS = "Stopping, replacing and watching workers"
    RELOAD = "Reloading while developing"
    SERVICE = "Running as a service"
    TIMEOUTS = "Timeouts"
    LIMITS = "Limits"
    HTTP = "HTTP"
    PROXIES = "Behind a proxy"
    TLS = "TLS"
    WEBSOCKET = "WebSocket"
    LOGGING = "Logging"


class Unit(Enum):
    """What a number counts; it decides which spellings are understood."""

    NONE = auto()
    SECONDS = auto()
    BYTES = auto()


class Kind(Enum):
    """What a value is; the word is the placeholder in help."""

    SWITCH = ""
    NUMBER = "N"
    DURATION = "TIME"
    SIZE = "SIZE"
    CHOICE = "CHOICE"
    TEXT = "TEXT"
    LIST = "ITEM"


class Alias(NamedTuple):
    """Another flag for the same setting, as another server names it.

    Attributes:
        flag: With its dashes.
        before: Written before the value: `--uds x` is `--bind unix:x`.
        after: Written behind a bare number: `--http1-header-read-timeout 500` counts milliseconds.
    """

    flag: str
    before: str = ""
    after: str = ""

    def spelled(self, raw: str) -> str:
        """The value as the setting's own flag would be given it."""
        return self.before + raw + (self.after if raw.isdigit() else "")


class Bounds(TypedDict, total=False):
    """Which numbers a setting may be; see `Option`."""

    at_least: float
    at_most: float
    zero_means: str


class OptionFacts(Bounds, total=False):
    """What may be said of a setting beside its default and its help text; see `Option`."""

    group: Group
    unit: Unit
    short: str
    positional: bool
    negatable: bool
    fallback_variable: str
    placeholder: str
    completes: Literal["", "file", "dir"]
    as_switch: bool
    separator: str
    secret: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One setting: its name, its default, and all that is said of it.

    Attributes:
        choices: The values allowed, read off the field's Literal type.
        at_least: The least value allowed; `zero_means` lets 0 through beside it.
        short: A one-letter flag, with its dash.
        positional: On the command line it is the argument, not a flag.
        negatable: As a switch it also has a flag `--no-x`.
        fallback_variable: A variable of the platform, read where no setting of ours speaks.
        zero_means: What 0 stands for, where it is no number: `no limit`.
        placeholder: The value's name in help, where the kind's own says too little.
        completes: What a shell completes after the flag.
        as_switch: A choice of auto, on and off whose flag is `--x` and `--no-x`.
        separator: What stands between the items of a list in a variable.
        secret: Its value is never shown.
    """

    help: str
    name: str = ""
    default: object = None
    group: Group = Group.APPLICATION
    unit: Unit = Unit.NONE
    at_least: float | None = None
    at_most: float | None = None
    choices: tuple[str, ...] = ()
    short: str = ""
    aliases: tuple[Alias, ...] = ()
    positional: bool = False
    negatable: bool = True
    fallback_variable: str = ""
    zero_means: str = ""
    placeholder: str = ""
    completes: Literal["", "file", "dir"] = ""
    as_switch: bool = False
    separator: str = ","
    secret: bool = False

    @property
    def flag(self) -> str:
        """The long flag."""
        return "--" + self.name.replace("_", "-")

    @property
    def negative_flag(self) -> str:
        """The flag that turns it off, or nothing."""
        return "--no-" + self.flag[2:] if self.is_switch and self.negatable else ""

    @property
    def is_switch(self) -> bool:
        """Whether its flag takes no value."""
        return self.as_switch or self.kind is Kind.SWITCH

    @property
    def variable(self) -> str:
        """The environment variable."""
        return VARIABLE_PREFIX + self.name.upper()

    @property
    def kind(self) -> Kind:
        """What its value is, as its default shows."""
        match self.default:
            case bool():
                return Kind.SWITCH
            case tuple():
                return Kind.LIST
            case int() | float() if self.unit is Unit.SECONDS:
                return Kind.DURATION
            case int() if self.unit is Unit.BYTES:
                return Kind.SIZE
            case int() | float():
                return Kind.NUMBER
            case _:
                return Kind.CHOICE if self.choices else Kind.TEXT


def option(
    default: T, help: str, *, aliases: Sequence[str | Alias] = (), **facts: Unpack[OptionFacts]
) -> T:
    """A dataclass field that is a setting.

    Args:
        aliases: Other flags for it; a plain text is one that takes the same values.
    """
    others = tuple(Alias(one) if isinstance(one, str) else one for one in aliases)
    made: T = field(
        default=default, metadata={"option": Option(help=help, aliases=others, **facts)}
    )
    return made


def seconds(
    default: float,
    help: str,
    *,
    group: Group = Group.TIMEOUTS,
    aliases: Sequence[str | Alias] = (),
    **facts: Unpack[Bounds],
) -> float:
    """A setting that is a duration."""
    return option(default, help, group=group, unit=Unit.SECONDS, aliases=aliases, **facts)


def size(
    default: int,
    help: str,
    *,
    group: Group = Group.LIMITS,
    aliases: Sequence[str | Alias] = (),
    **facts: Unpack[Bounds],
) -> int:
    """A setting that counts bytes."""
    return option(default, help, group=group, unit=Unit.BYTES, aliases=aliases, **facts)


def options_of(cls: type) -> tuple[Option, ...]:
    """The settings of a dataclass, in the order of its fields."""
    found = _OPTIONS_OF.get(cls)
    if found is None:  # a start asks several times, and takes 3 ms for each answer
        found = _OPTIONS_OF[cls] = _options_of(cls)
    return found


_OPTIONS_OF: Final[dict[type, tuple[Option, ...]]] = {}


def _options_of(cls: type) -> tuple[Option, ...]:
    return tuple(
        replace(
            one.metadata["option"],
            name=one.name,
            default=one.default,
            choices=get_args(one.type) if get_origin(one.type) is Literal else (),
        )
        for one in fields(cls)
        if "option" in one.metadata
    )


def parse(option: Option, raw: object) -> object:
    """The typed value of what a flag, a variable or a file gave.

    Raises:
        ValueError: It is not of the option's kind; the text says what would be.
    """
    wanted = f"must be {_WANTED[option.kind]}"
    try:
        value = (
            _parse_text(option, raw.strip()) if isinstance(raw, str) else _converted(option, raw)
        )
    except ValueError:
        if not isinstance(raw, str) or raw.strip():
            raise ValueError(f"{wanted}, not {raw!r}") from None
        raise ValueError(f"is empty; it {wanted}") from None
    if found := fault(option, value):
        raise ValueError(found)
    return value


def _parse_text(option: Option, text: str) -> object:
    match option.kind:
        case Kind.SWITCH:
            if (truth := _TRUTHS.get(text.lower())) is None:
                raise ValueError
            return truth
        case Kind.DURATION:
            return parse_duration(text)
        case Kind.SIZE:
            return parse_size(text)
        case Kind.NUMBER:
            if not _INTEGER.fullmatch(text):  # int() would take 1_000 and digits of any script
                raise ValueError
            return int(text)
        case Kind.CHOICE:
            return text.lower()
        case Kind.LIST:
            return (text,)
        case _:
            return text


def _converted(option: Option, raw: object) -> object:
    """What the TOML reader made of a value, as its field has it."""
    if isinstance(raw, bool) and {"on", "off"} <= {*option.choices}:
        return "on" if raw else "off"
    if option.kind is Kind.LIST and isinstance(raw, list):
        return tuple(raw)
    if option.kind is Kind.DURATION and isinstance(raw, int) and not isinstance(raw, bool):
        return float(raw)
    return raw


def fault(option: Option, value: object) -> str:
    """What is wrong with a typed value, as the end of a sentence; empty where nothing is."""
    if not _is_of_kind(option, value):
        return f"must be {_WANTED[option.kind]}, not {value!r}"
    if option.kind is Kind.CHOICE and value not in option.choices:
        return f"must be one of {', '.join(option.choices)}, not {value!r}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _fault_of_size(option, value)
    return ""


_WANTED: Final = {
    Kind.SWITCH: "true or false",
    Kind.NUMBER: "a whole number",
    Kind.DURATION: "a duration such as 90, 500ms, 6m or 1h30m",
    Kind.SIZE: "a size such as 65536, 64k, 16MiB or 100MB",
    Kind.CHOICE: "a text",
    Kind.TEXT: "a text",
    Kind.LIST: "a list of texts",
}


def _is_of_kind(option: Option, value: object) -> bool:
    match option.kind:
        case Kind.SWITCH:
            return isinstance(value, bool)
        case Kind.NUMBER | Kind.SIZE:
            return isinstance(value, int) and not isinstance(value, bool)
        case Kind.DURATION:
            return isinstance(value, int | float) and not isinstance(value, bool)
        case Kind.LIST:
            return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
        case _:
            return isinstance(value, str)


def _fault_of_size(option: Option, value: float) -> str:
    if value == 0 and option.zero_means:
        return ""
    least = 0 if option.at_least is None else option.at_least
    spared = f", or 0 for {option.zero_means}" if option.zero_means else ""
    if not value >= least:
        return f"must be at least {render(option, least)}{spared}, not {render(option, value)}"
    if option.at_most is not None and not value <= option.at_most:
        return f"must be at most {render(option, option.at_most)}, not {render(option, value)}"
    return ""


def render(option: Option, value: object) -> str:
    """A typed value as a person would write it."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float() if option.unit is Unit.SECONDS and value > 0:
            return render_duration(value)
        case int() if option.unit is Unit.BYTES and value > 0:
            return render_size(value)
        case int() | float():
            return f"{value:g}" if isinstance(value, float) else str(value)
        case tuple():
            return ", ".join(str(item) for item in value)
        case _:
            return str(value)


def near(name: str, known: Iterable[str]) -> str:
    """`; did you mean X or Y`, or nothing where nothing known looks like it.

    Args:
        known: Every name that may be meant; a mapping has what to suggest for each.
    """
    import difflib  # noqa: PLC0415 - only what is wrong needs it

    matches = difflib.get_close_matches(name, list(known), n=2, cutoff=0.6)
    if isinstance(known, Mapping):
        matches = [str(known[match]) for match in matches]
    return f"; did you mean {' or '.join(dict.fromkeys(matches))}" if matches else ""
