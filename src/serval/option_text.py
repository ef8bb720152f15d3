"""Settings in words: how a flag is written, and what help and manual say of it.

Pure; the command line and the manual share it.
"""

from serval.options import Kind, Option, render


def value_shown(one: Option) -> str:
    """What stands for the value behind a flag; nothing where the flag takes none."""
    if one.is_switch:
        return ""
    return one.placeholder or "|".join(one.choices) or one.kind.value


def usage(one: Option) -> str:
    """The flags of a setting and what stands for its value: `-w, --workers N`, `--[no-]x`."""
    if one.positional:
        return one.placeholder
    flags = [one.short] if one.short else []
    flags.append("--[no-]" + one.flag[2:] if one.negative_flag else one.flag)
    return f"{', '.join(flags)} {value_shown(one)}".rstrip()


def default_shown(one: Option) -> str:
    """The default as a person would write it; empty where there is none to speak of."""
    return "" if one.kind is Kind.TEXT and not one.default else render(one, one.default)


def told(one: Option) -> str:
    """The help text with variables and default in brackets, as `[SERVAL_PORT=8000 or PORT]`."""
    default = default_shown(one)
    facts = one.variable + (f"={default}" if default else "")
    facts += f" or {one.fallback_variable}" if one.fallback_variable else ""
    facts += f"; 0: {one.zero_means}" if one.zero_means else ""
    return f"{one.help} [{facts}]"
