"""Several sources, one value for each setting."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from serval.errors import ConfigError
from serval.layers import Given, Rivals, Sources, Table, env_files_named, layers_of, merged
from serval.options import option, options_of, seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    port: int = option(8000, "A port.", fallback_variable="PORT")
    bind: tuple[str, ...] = option((), "Binds.")
    header: tuple[str, ...] = option((), "Headers.", separator="\n")
    pause: float = seconds(1.0, "A pause.", aliases=("--keep-alive",))
    env_file: tuple[str, ...] = option((), "Env files.")


OPTIONS = options_of(Settings)
RIVALS = (Rivals(frozenset({"bind"}), frozenset({"port"})),)


def load(sources: Sources) -> tuple[dict[str, object], dict[str, str]]:
    return merged(OPTIONS, layers_of(OPTIONS, sources), RIVALS)


def test_what_nobody_speaks_of_has_no_value() -> None:
    assert load(Sources()) == ({}, {})


def test_the_stronger_source_wins_and_is_named() -> None:
    flags = [Given("port", "1", "--port")]
    environ = {"SERVAL_PORT": "2", "PORT": "5"}
    env_files = [Table("a.env", {"SERVAL_PORT": "3"})]
    file = Table("serval.toml", {"port": 4})

    of_all = load(Sources(flags=flags, environ=environ, env_files=env_files, file=file))
    of_variables = load(Sources(environ=environ, env_files=env_files, file=file))
    of_files = load(Sources(env_files=env_files, file=file, environ={"PORT": "5"}))
    of_file = load(Sources(file=file, environ={"PORT": "5"}))
    of_platform = load(Sources(environ={"PORT": "5"}))

    assert of_all == ({"port": 1}, {"port": "--port"})
    assert of_variables == ({"port": 2}, {"port": "SERVAL_PORT"})
    assert of_files == ({"port": 3}, {"port": "SERVAL_PORT in a.env"})
    assert of_file == ({"port": 4}, {"port": "serval.toml"})
    assert of_platform == ({"port": 5}, {"port": "PORT"})


def test_of_two_env_files_the_later_wins() -> None:
    first, second = (Table(name, {"SERVAL_PORT": name[0]}) for name in ("1.env", "2.env"))

    values, _ = load(Sources(env_files=[first, second]))

    assert values == {"port": 2}


def test_a_variable_of_the_platform_may_stand_in_an_env_file() -> None:
    assert load(Sources(env_files=[Table("a.env", {"PORT": "7"})]))[0] == {"port": 7}


def test_an_empty_variable_of_the_platform_says_nothing() -> None:
    assert load(Sources(environ={"PORT": ""})) == ({}, {})


def test_variables_of_others_are_left_alone() -> None:
    assert load(Sources(environ={"HOME": "/", "SERVALX": "1", "SERVAL_CONFIG": "x"})) == ({}, {})


def test_a_list_in_a_variable_is_parted_at_its_separator() -> None:
    values, _ = load(Sources(environ={"SERVAL_BIND": ":80, :81,", "SERVAL_HEADER": "a: b,c\nd: e"}))

    assert values == {"bind": (":80", ":81"), "header": ("a: b,c", "d: e")}


def test_items_of_a_list_add_up_within_a_source_and_replace_those_of_a_weaker_one() -> None:
    given = [("--bind", ":80"), ("--uds", "unix:x"), ("--bind", ":81")]
    flags = [Given("bind", value, flag) for flag, value in given]
    file = Table("serval.toml", {"bind": [":1"]})

    assert load(Sources(flags=flags, file=file)) == (
        {"bind": (":80", "unix:x", ":81")},
        {"bind": "--bind, --uds"},
    )


def test_two_spellings_of_one_setting_may_agree() -> None:
    flags = [Given("pause", "60", "--pause"), Given("pause", "1m", "--keep-alive")]

    assert load(Sources(flags=flags))[0] == {"pause": 60.0}


def test_two_spellings_of_one_setting_may_not_differ() -> None:
    flags = [Given("pause", "60", "--pause"), Given("pause", "2m", "--keep-alive")]

    with pytest.raises(ConfigError, match="--keep-alive contradicts --pause: both set pause"):
        load(Sources(flags=flags))


def test_rivals_in_one_source_contradict() -> None:
    flags = [Given("bind", ":80", "--bind"), Given("port", "1", "--port")]

    with pytest.raises(
        ConfigError, match=r"^bind \(from --bind\) contradicts port \(from --port\)"
    ):
        load(Sources(flags=flags))


def test_of_rivals_in_two_sources_the_stronger_counts_alone() -> None:
    flags = [Given("port", "1", "--port")]
    file = Table("serval.toml", {"bind": [":80"]})

    assert load(Sources(flags=flags, file=file)) == ({"port": 1}, {"port": "--port"})
    assert load(Sources(file=file, environ={"PORT": "5"}))[0] == {"bind": (":80",)}


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (
            Sources(environ={"SERVAL_PROT": "1"}),
            "unknown variable SERVAL_PROT; did you mean SERVAL_PORT",
        ),
        (
            Sources(environ={"SERVAL_KEEP_ALIVE": "1"}),
            "unknown variable SERVAL_KEEP_ALIVE; did you mean SERVAL_PAUSE",
        ),
        (Sources(environ={"SERVAL_XYZZY": "1"}), "unknown variable SERVAL_XYZZY"),
        (
            Sources(env_files=[Table("a.env", {"SERVAL_CONFG": "1"})]),
            "unknown variable SERVAL_CONFG in a.env; did you mean SERVAL_CONFIG",
        ),
        (
            Sources(file=Table("serval.toml", {"keepalive": 1})),
            "unknown setting 'keepalive' in serval.toml; did you mean pause",
        ),
        (
            Sources(file=Table("serval.toml", {"serval": {"port": 1}})),
            "table [serval] in serval.toml; settings stand at the top of the file there, "
            "and in [tool.serval] only in a pyproject.toml",
        ),
        (
            Sources(environ={"SERVAL_PORT": "x"}),
            "port must be a whole number, not 'x' (from SERVAL_PORT)",
        ),
        (
            Sources(env_files=[Table("a.env", {"SERVAL_ENV_FILE": "b.env"})]),
            "SERVAL_ENV_FILE in a.env comes too late to be followed",
        ),
    ],
)
def test_a_fault_says_what_is_wrong_where_and_what_would_be_right(
    sources: Sources, message: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        load(sources)

    assert str(refusal.value) == message


@pytest.mark.parametrize(
    "environ",
    [
        {"SERVAL_SERVICE_HOST": "10.0.0.1"},
        {"SERVAL_API_SERVICE_PORT_HTTP": "80"},
        {"SERVAL_PORT_80_TCP_ADDR": "10.0.0.1"},
        {"SERVAL_API_PORT": "tcp://10.0.0.1:80"},
        {"SERVAL_PORT": "tcp://10.0.0.1:80"},
    ],
)
def test_variables_that_kubernetes_made_are_named_as_such(environ: Mapping[str, str]) -> None:
    with pytest.raises(ConfigError, match="enableServiceLinks"):
        load(Sources(environ=environ))


def test_env_files_are_known_before_the_rest_and_the_strongest_source_names_them() -> None:
    file = Table("serval.toml", {"env_file": "c.env", "port": 7})
    environ = {"SERVAL_ENV_FILE": "a.env,b.env"}
    flags = [Given("env_file", "d.env", "--env-file")]

    assert env_files_named(OPTIONS, Sources()) == ()
    assert env_files_named(OPTIONS, Sources(file=file)) == ("c.env",)
    assert env_files_named(OPTIONS, Sources(file=file, environ=environ)) == ("a.env", "b.env")
    assert env_files_named(OPTIONS, Sources(environ=environ, flags=flags)) == ("d.env",)
