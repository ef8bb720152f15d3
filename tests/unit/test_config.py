"""Every setting of the server: defaults, bounds, contradictions."""

import pytest

from serval.config import ServerConfig
from serval.errors import ConfigError
from serval.layers import Given, Sources, Table
from serval.net.bind import FdBind, TcpBind, UnixBind
from serval.options import Group, Option, Unit, fault, options_of

OPTIONS = options_of(ServerConfig)
WAITS = (Group.TIMEOUTS, Group.WEBSOCKET)  # for a client or for the application's start and stop


def refusal_of(**settings: object) -> str:
    with pytest.raises(ConfigError) as refusal:
        ServerConfig(**settings)  # type: ignore[arg-type]  # wrong values are what is tested
    return str(refusal.value)


def test_the_defaults_are_in_order() -> None:
    assert ServerConfig().binds == (TcpBind("127.0.0.1", 8000),)


@pytest.mark.parametrize("one", OPTIONS, ids=lambda one: one.name)
def test_each_setting_has_a_default_within_its_bounds_and_a_help_text(one: Option) -> None:
    assert fault(one, one.default) == ""
    assert one.help.endswith(".")


def test_no_flag_has_two_meanings() -> None:
    flags = [
        flag
        for one in OPTIONS
        for flag in (one.flag, one.negative_flag, one.short, *(alias.flag for alias in one.aliases))
        if flag
    ]

    assert sorted(flags) == sorted(set(flags))


@pytest.mark.parametrize(
    "one",
    [one for one in OPTIONS if one.unit is Unit.SECONDS and one.group in WAITS],
    ids=lambda one: one.name,
)
def test_each_wait_is_bounded_by_default(one: Option) -> None:
    assert isinstance(one.default, float)
    assert one.default > 0


def test_a_setting_of_a_wrong_type_is_refused_by_name() -> None:
    assert refusal_of(workers="2") == "workers must be a whole number, not '2'"
    assert refusal_of(bind=":80") == "bind must be a list of texts, not ':80'"


def test_a_setting_out_of_its_bounds_is_refused_by_name() -> None:
    assert refusal_of(port=65536) == "port must be at most 65535, not 65536"
    assert refusal_of(backlog=2**31).startswith("backlog must be at most ")
    assert refusal_of(timeout_headers=-1) == (
        "timeout_headers must be at least 0, or 0 for no limit, not -1"
    )


def test_a_refusal_names_where_the_value_came_from() -> None:
    sources = Sources(environ={"SERVAL_THREADS": "1"})

    with pytest.raises(ConfigError, match=r"^threads \(from SERVAL_THREADS\) is 1"):
        ServerConfig.load(sources)


def test_one_thread_is_refused_and_none_or_several_are_not() -> None:
    assert "give 0 to serve on the event loop, or 2 and more" in refusal_of(threads=1)
    assert ServerConfig(threads=0).threads == 0
    assert ServerConfig(threads=2).threads == 2


def test_a_lifespan_contradicts_wsgi() -> None:
    assert "which contradicts interface" in refusal_of(interface="wsgi", lifespan="on")


@pytest.mark.parametrize("path", ["api", "/", "/api/"])
def test_a_root_path_begins_with_a_slash_and_ends_without(path: str) -> None:
    assert repr(path) in refusal_of(root_path=path)


def test_a_root_path_may_be_empty_or_deep() -> None:
    assert ServerConfig(root_path="/api/v1").root_path == "/api/v1"


def test_binds_take_the_place_of_host_and_port() -> None:
    config = ServerConfig(bind=("unix:/x", "fd:3", ":80"))

    assert config.binds == (UnixBind("/x"), FdBind(3), TcpBind("", 80))


def test_binds_contradict_host_and_port() -> None:
    assert "contradicts host and port" in refusal_of(bind=(":80",), port=81)


def test_a_bind_that_means_nothing_is_refused_with_its_origin() -> None:
    with pytest.raises(ConfigError, match=r"has no port; .* \(from --bind\)$"):
        ServerConfig.load(Sources(flags=[Given("bind", "localhost", "--bind")]))


def test_the_same_bind_twice_is_refused_unless_the_kernel_chooses_the_port() -> None:
    assert refusal_of(bind=("fd:3", "fd://3")) == "bind names fd:3 twice"
    assert len(ServerConfig(bind=("[::1]:0", "[::1]:0")).binds) == 2


def test_headers_are_given_as_pairs_of_bytes() -> None:
    config = ServerConfig(header=("X-A: b", "X-A: c"))

    assert config.extra_headers == ((b"x-a", b"b"), (b"x-a", b"c"))


def test_a_header_that_is_none_is_refused_with_its_origin() -> None:
    with pytest.raises(ConfigError, match=r"has no colon; .* \(from --header\)$"):
        ServerConfig.load(Sources(flags=[Given("header", "x", "--header")]))


@pytest.mark.parametrize("name", ["server", "date"])
def test_a_header_that_the_server_sends_already_is_refused_until_that_is_off(name: str) -> None:
    line = f"{name.title()}: x"

    assert f"add --no-{name}-header" in refusal_of(header=(line,))
    assert ServerConfig(header=(line,), server_header=False, date_header=False).header == (line,)


def test_a_loaded_setting_remembers_its_origin_and_any_other_is_a_default() -> None:
    config = ServerConfig.load(Sources(file=Table("serval.toml", {"workers": 3})))

    assert config.workers == 3
    assert (config.origin("workers"), config.origin("port")) == ("serval.toml", "default")


def test_where_settings_come_from_makes_them_no_different() -> None:
    loaded = ServerConfig.load(Sources(environ={"WEB_CONCURRENCY": "2", "PORT": "9"}))

    assert loaded == ServerConfig(workers=2, port=9)
