"""The command: flags in, exit status out."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest
from admin_server import answering
from admin_world import FakeOverseer, two_workers
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from serval.cli import main
from serval.config import ServerConfig
from serval.errors import BindError, ExitStatus, LoadError, StartupError
from serval.net.bind import UnixBind
from serval.options import Kind, Option, options_of

OPTIONS = options_of(ServerConfig)
FLAGS = [one for one in OPTIONS if not one.positional]
SOURCE = Path(__file__).parents[2] / "src"


@dataclass
class FakeServer(ModuleType):
    """Stands for serval.server: remembers what it was to serve, and ends as told."""

    ends: ExitStatus | StartupError = ExitStatus.OK
    served: list[ServerConfig] = field(default_factory=list)
    reload_config: Callable[[], ServerConfig] = ServerConfig

    def __post_init__(self) -> None:
        super().__init__("serval.server")

    def serve(
        self, config: ServerConfig, *, reload_config: Callable[[], ServerConfig]
    ) -> ExitStatus:
        self.served.append(config)
        self.reload_config = reload_config
        if isinstance(self.ends, StartupError):
            raise self.ends
        return self.ends


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    fake = FakeServer()
    monkeypatch.setitem(sys.modules, "serval.server", fake)
    return fake


def run(*arguments: str, **variables: str) -> Result:
    runner = CliRunner()
    return runner.invoke(main, arguments, prog_name="serval", env=variables, catch_exceptions=False)


def served(server: FakeServer, *arguments: str, **variables: str) -> ServerConfig:
    result = run(*arguments, **variables)
    assert result.exit_code == 0, result.output
    return server.served[-1]


def setting(server: FakeServer, name: str, *arguments: str) -> object:
    return getattr(served(server, "myapp:app", *arguments), name)


def test_the_application_alone_is_served_with_the_defaults(server: FakeServer) -> None:
    assert served(server, "myapp:app") == ServerConfig(app="myapp:app")


def test_the_status_of_the_server_is_the_status_of_the_command(server: FakeServer) -> None:
    server.ends = ExitStatus.SHUTDOWN

    assert run("myapp:app").exit_code == 5


@pytest.mark.parametrize(("ends", "status"), [(LoadError("why"), 3), (BindError("why"), 6)])
def test_what_keeps_it_from_starting_is_one_line_and_a_status(
    server: FakeServer, ends: StartupError, status: int
) -> None:
    server.ends = ends

    result = run("myapp:app")

    assert (result.exit_code, result.output) == (status, "error: why\n")


def test_of_two_values_for_one_flag_the_last_counts(server: FakeServer) -> None:
    assert setting(server, "workers", "-w2", "--workers", "3") == 3


EXAMPLES = {
    Kind.SWITCH: "",
    Kind.NUMBER: "2",
    Kind.DURATION: "90",
    Kind.SIZE: "64k",
    Kind.TEXT: "/x",
}


def companions(one: Option) -> list[str]:
    """The flags without which a flag says nothing."""
    if one.name == "proxy_protocol_from":
        return ["--proxy-protocol", "v2"]
    if one.name == "ssl_ca_certs":
        return ["--ssl-certfile", "x", "--ssl-cert-reqs", "required"]
    if one.name.startswith("ssl_") and one.name != "ssl_certfile":
        return ["--ssl-certfile", "x"]
    if one.name == "request_id_response":
        return ["--request-id-header", "x-request-id"]
    return ["--bind", "unix:x"] if one.name.startswith("uds_") else []


SPECIAL = {
    "bind": ":80",
    "env_file": "x.env",
    "header": "a: b",
    "admin_bind": "unix:/x",
    "access_log_exclude": "/x",
    "max_body_size_at": "/x=1MiB",
    "request_id_header": "x-request-id",
    "umask": "027",
    "uds_mode": "600",
    "forwarded_headers": "forwarded",
    "forwarded_allow_ips": "10.0.0.1",
    "proxy_protocol_from": "10.0.0.1",
    "ssl_alpn": "http/1.1",
    "ssl_sni": "a=b",
    "limit_max_requests_jitter": "10%",
    "workers_lifetime_jitter": "10%",
    "workers_max_rss": "64MiB",
}


def example_of(one: Option) -> str:
    """A value that a setting may have."""
    return SPECIAL.get(one.name) or [*one.choices, EXAMPLES.get(one.kind, "x")][0]


@pytest.mark.parametrize("one", FLAGS, ids=lambda one: one.name)
def test_each_flag_is_understood_and_named_as_the_origin(server: FakeServer, one: Option) -> None:
    Path("x.env").touch()
    value = [] if one.is_switch else [example_of(one)]

    config = served(server, "myapp:app", *companions(one), one.flag, *value)

    assert config.origin(one.name) == one.flag


@pytest.mark.parametrize(
    ("one", "flag"),
    [(one, alias.flag) for one in FLAGS for alias in one.aliases],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_each_alias_is_understood_and_named_as_the_origin(
    server: FakeServer, one: Option, flag: str
) -> None:
    special = {"--fd": "3", "--uds-permissions": "600"}
    Path("x.env").touch()
    value = [] if one.is_switch else [special.get(flag) or example_of(one)]

    config = served(server, "myapp:app", *companions(one), flag, *value)

    assert config.origin(one.name) == flag


def test_short_flags_are_understood(server: FakeServer) -> None:
    config = served(server, "myapp:app", "-w4", "-b", ":80", "-b", "unix:x")

    assert (config.workers, config.bind) == (4, (":80", "unix:x"))


def test_switches_go_both_ways(server: FakeServer) -> None:
    assert setting(server, "access_log", "--no-access-log") is False
    assert setting(server, "factory", "--factory") is True
    assert setting(server, "use_colors", "--use-colors") == "on"
    assert setting(server, "use_colors", "--no-use-colors") == "off"


def test_aliases_may_spell_the_value_otherwise(server: FakeServer) -> None:
    assert setting(server, "bind", "--uds", "/x", "--fd", "3") == ("unix:/x", "fd:3")
    assert setting(server, "timeout_headers", "--http1-header-read-timeout", "500") == 0.5


def test_aliases_are_not_in_the_help() -> None:
    assert "--graceful-timeout" not in run("--help").output


@pytest.mark.parametrize("one", OPTIONS, ids=lambda one: one.name)
def test_the_help_shows_each_setting_with_its_variable(one: Option) -> None:
    text = " ".join(run("--help").output.split())

    assert one.variable in text
    assert one.placeholder in text


def test_the_help_has_a_section_for_each_group() -> None:
    lines = run("--help").output.splitlines()

    for one in OPTIONS:
        assert f"{one.group.value}:" in lines


def test_nothing_to_serve_is_a_fault_of_usage() -> None:
    result = run()

    assert result.exit_code == 2
    assert result.output.startswith("error: no application is named")


def test_the_application_may_come_from_a_variable(server: FakeServer) -> None:
    assert served(server, SERVAL_APP="other:app").app == "other:app"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--wokers", "2"], "--workers"),
        (["--workers", "x"], "workers must be a whole number, not 'x' (from --workers)"),
        (["--keep-alive", "x"], "(from --keep-alive)"),
        (["--bind", ":1", "--port", "2"], "bind (from --bind) contradicts port (from --port)"),
        (["--bind", "localhost"], "has no port"),
        (["--threads", "1"], "or 2 and more"),
        (["--config", "no.toml"], "cannot read no.toml"),
        (["--env-file", "no.env"], "cannot read no.env"),
    ],
)
def test_wrong_flags_end_with_status_2_and_a_sentence(arguments: list[str], message: str) -> None:
    result = run("myapp:app", *arguments)

    assert result.exit_code == 2
    assert message in result.output


def test_unknown_variables_end_with_status_2_and_a_suggestion() -> None:
    result = run("myapp:app", SERVAL_WROKERS="2")

    assert result.exit_code == 2
    assert result.output == (
        "error: unknown variable SERVAL_WROKERS; did you mean SERVAL_WORKERS\n"
    )


def test_a_flag_wins_over_a_variable_and_this_over_a_file(server: FakeServer) -> None:
    Path("x.toml").write_text("workers = 2\nport = 2\nbacklog = 2\n")

    config = served(
        server,
        "myapp:app",
        *("--config", "x.toml", "--workers", "4"),
        SERVAL_WORKERS="3",
        SERVAL_PORT="3",
    )

    assert (config.workers, config.port, config.backlog) == (4, 3, 2)


def test_the_file_may_be_named_by_a_variable_or_be_a_project_file(server: FakeServer) -> None:
    Path("x.toml").write_text("workers = 2\n")
    Path("pyproject.toml").write_text("[tool.serval]\nworkers = 3\n")

    assert served(server, "myapp:app", SERVAL_CONFIG="x.toml").workers == 2
    assert served(server, "myapp:app").workers == 3


def test_an_env_file_fills_the_environment_but_changes_nothing_in_it(server: FakeServer) -> None:
    Path("a.env").write_text("TEST_ONLY_A=1\n")
    Path("b.env").write_text("TEST_ONLY_A=2\nTEST_ONLY_B=2\nHOME=/nowhere\nSERVAL_WORKERS=3\n")
    home = os.environ["HOME"]

    config = served(server, "myapp:app", "--env-file", "a.env", "--env-file", "b.env")

    assert (os.environ["TEST_ONLY_A"], os.environ["TEST_ONLY_B"]) == ("2", "2")
    assert os.environ["HOME"] == home
    assert (config.workers, config.origin("workers")) == (3, "SERVAL_WORKERS in b.env")


def test_the_server_may_read_the_configuration_anew(server: FakeServer) -> None:
    Path("x.toml").write_text("workers = 2\nenv_file = 'a.env'\n")
    Path("a.env").write_text("TEST_ONLY_A=1\n")
    served(server, "myapp:app", "--config", "x.toml", "--port", "81")
    Path("x.toml").write_text("workers = 3\nport = 82\nenv_file = 'a.env'\n")
    Path("a.env").write_text("TEST_ONLY_A=2\n")

    config = server.reload_config()

    assert (config.workers, config.port, os.environ["TEST_ONLY_A"]) == (3, 81, "2")


def test_print_config_shows_values_and_origins_and_serves_nothing(server: FakeServer) -> None:
    result = run("--print-config", "--uds", "/x")

    rows = [line.split() for line in result.output.splitlines()]
    assert result.exit_code == 0
    assert ["bind", "unix:/x", "--uds"] in rows
    assert ["workers", "1", "default"] in rows
    assert server.served == []


@pytest.fixture
def _importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    sys.modules.pop("only_here", None)


@pytest.mark.usefixtures("_importable")
def test_check_says_what_was_found_and_serves_nothing(server: FakeServer) -> None:
    Path("only_here.py").write_text("async def app(scope, receive, send): ...\n")

    result = run("only_here:app", "--check")

    assert (result.exit_code, server.served) == (0, [])
    assert result.output.startswith("only_here:app is an ASGI application")


@pytest.mark.usefixtures("_importable")
def test_check_of_an_application_that_is_not_there_ends_with_status_3() -> None:
    Path("only_here.py").write_text("async def app(scope, receive, send): ...\n")

    result = run("only_here:ap", "--check")

    assert result.exit_code == 3
    assert "only_here:app" in result.output


@pytest.mark.usefixtures("_importable")
def test_check_of_a_certificate_that_is_not_there_ends_with_status_3() -> None:
    Path("only_here.py").write_text("async def app(scope, receive, send): ...\n")

    result = run("only_here:app", "--check", "--ssl-certfile", "missing.pem")

    assert result.exit_code == 3
    assert "cannot load missing.pem (ssl_certfile): No such file or directory" in result.output


def test_version_is_one_line() -> None:
    result = run("--version")

    assert result.exit_code == 0
    assert result.output.startswith("serval ")
    assert result.output.count("\n") == 1


def completions(*arguments: str) -> list[str]:
    *before, incomplete = arguments
    shell = ShellComplete(main, {}, "serval", "_SERVAL_COMPLETE")
    return [item.value for item in shell.get_completions(before, incomplete)]


def test_a_shell_completes_flags_and_choices() -> None:
    assert "--workers" in completions("--work")
    assert completions("--worker-p") == []
    assert completions("--loop", "u") == ["uvloop"]
    assert completions("--graceful") == []


def test_a_shell_completes_paths_by_itself() -> None:
    shell = ShellComplete(main, {}, "serval", "_SERVAL_COMPLETE")

    kinds = [
        shell.get_completions([flag], "x")[0].type
        for flag in ("--config", "--app-dir", "--env-file")
    ]

    assert kinds == ["file", "dir", "file"]


def test_a_shell_completes_the_words_in_place_of_an_application() -> None:
    assert completions("st") == ["status"]
    assert completions("re") == ["reload"]
    assert completions("myapp:app", "st") == []


def test_a_shell_completes_the_flags_of_a_word() -> None:
    assert completions("reload", "--no") == ["--no-wait"]


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[tuple[str, FakeOverseer]]:
    bind, overseer = UnixBind(str(tmp_path / "admin")), FakeOverseer()
    with answering(bind, overseer, two_workers()):
        yield str(bind), overseer


def test_a_word_asks_the_server_that_flag_variable_or_file_name(
    admin: tuple[str, FakeOverseer],
) -> None:
    bind, _ = admin
    Path("serval.toml").write_text(f'admin_bind = "{bind}"')

    results = [
        run("status", "--admin-bind", bind),
        run("status", SERVAL_ADMIN_BIND=bind),
        run("status", "-c", "serval.toml"),
    ]

    for result in results:
        assert result.exit_code == 0
        assert result.output.startswith("shop:app  running  generation 3")


def test_the_status_may_be_for_a_program(admin: tuple[str, FakeOverseer]) -> None:
    assert json.loads(run("status", "--json", "--admin-bind", admin[0]).output)["pid"] == 40


def test_a_word_may_act(admin: tuple[str, FakeOverseer]) -> None:
    bind, overseer = admin

    scaled = run("scale", "5", "--admin-bind", bind)
    reloaded = run("reload", "--admin-bind", bind)
    unwaited = run("reload", "--no-wait", "--admin-bind", bind)

    assert overseer.asked == ["scale 5", "reload", "reload"]
    assert scaled.output == "workers wanted: 2\n"
    assert reloaded.output == "reloaded: 2 workers of generation 3\n"
    assert unwaited.output == "reloading: generation 3 replaces the workers\n"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["status"], 2, "error: no admin endpoint is named"),
        (["status", "--admin-bind", "unix:none"], 7, "error: no server answers on unix:none: "),
        (["top", "--interval", "1ms", "--admin-bind", "unix:none"], 2, "error: --interval must"),
        (["top", "--admin-bind", "unix:none"], 7, "error: top needs a terminal"),
        (["scale", "0"], 2, "Usage: serval scale"),
    ],
)
def test_a_word_that_comes_to_nothing_says_why(
    arguments: list[str], status: int, message: str
) -> None:
    result = run(*arguments)

    assert result.exit_code == status
    assert result.output.startswith(message)


@pytest.mark.parametrize("word", ["status", "top", "reload", "scale"])
def test_a_word_has_a_help_of_its_own_and_stands_in_the_other(word: str) -> None:
    assert run(word, "--help").output.startswith(f"Usage: serval {word} ")
    assert f"\n  {word} " in run("--help").output


def test_with_a_colon_a_word_is_an_application(server: FakeServer) -> None:
    assert served(server, "status:app").app == "status:app"


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_imports_no_event_loop_before_it_serves() -> None:
    heavy = "asyncio ssl uvloop h11 wsproto logging importlib.metadata email http.client tempfile"

    done = python(
        "import sys, types\n"
        "package = types.ModuleType('serval')\n"
        f"package.__path__ = [{str(SOURCE / 'serval')!r}]\n"
        "sys.modules['serval'] = package\n"
        "import click, click.shell_completion; before = set(sys.modules)\n"
        "import serval.cli\n"
        f"print(*(set({heavy!r}.split()) & (set(sys.modules) - before)))"
    )

    assert (done.stdout, done.stderr) == ("\n", "")


def test_a_start_waits_for_nothing_that_most_of_them_do_not_need() -> None:
    needless = (
        "click.shell_completion difflib email encodings.idna h11 importlib.metadata tomllib wsproto"
    )

    done = python(
        "import sys, serval.cli, serval.server\n"
        "from serval.net.bind import TcpBind\n"
        "from serval.net.listeners import open_listeners\n"
        "open_listeners([TcpBind('127.0.0.1', 0)], backlog=8)\n"
        f"print(*set({needless!r}.split()) & set(sys.modules))"
    )

    assert (done.stdout, done.stderr) == ("\n", "")


def test_where_there_is_no_fork_one_sentence_says_so() -> None:
    done = python("import os; del os.fork\nfrom serval.cli import main; main(['myapp:app'])")

    assert done.returncode == 2
    assert done.stderr == (
        "error: serval needs fork, which Windows lacks; run it in WSL or a container\n"
    )
