import io
import json
import logging
import logging.config
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import quiet_logging

from serval import log
from serval.config import ServerConfig
from serval.errors import ConfigError


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    with quiet_logging.restored():
        yield


def configure(config: ServerConfig) -> None:
    quiet_logging.without_pytest()
    log.configure(config)


class Streams:
    """What has been written to standard output and standard error."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self._captured = captured
        self._out = self._err = ""

    @property
    def error_lines(self) -> list[str]:
        self._read()
        return self._err.splitlines()

    @property
    def output(self) -> str:
        self._read()
        return self._out

    def _read(self) -> None:
        out, err = self._captured.readouterr()
        self._out += out
        self._err += err


@pytest.fixture
def streams(capsys: pytest.CaptureFixture[str]) -> Streams:
    return Streams(capsys)


def test_errors_go_to_standard_error_with_time_process_and_level(streams: Streams) -> None:
    configure(ServerConfig())

    log.error_log.warning("cannot %s", "listen")

    [line] = streams.error_lines
    assert line.endswith(f" [{os.getpid()}] WARNING: cannot listen")
    assert streams.output == ""


def test_access_records_go_to_standard_output(streams: Streams) -> None:
    configure(ServerConfig())

    log.access_logger.info('127.0.0.1 "GET / HTTP/1.1" 200')

    assert streams.output.endswith('] 127.0.0.1 "GET / HTTP/1.1" 200\n')
    assert streams.error_lines == []


def test_an_exception_is_logged_with_its_traceback(streams: Streams) -> None:
    configure(ServerConfig())

    log.error_log.error("it broke", exc_info=ValueError("bad \x1b[2J"))

    assert streams.error_lines[0].endswith("ERROR: it broke")
    assert streams.error_lines[-1] == r"ValueError: bad \x1b[2J"


@pytest.mark.parametrize(
    ("level", "shown"),
    [("error", ["ERROR"]), ("info", ["ERROR", "INFO"]), ("debug", ["ERROR", "INFO", "DEBUG"])],
)
def test_the_level_decides_what_is_shown(
    level: Literal["error", "info", "debug"], shown: list[str], streams: Streams
) -> None:
    configure(ServerConfig(log_level=level))

    for one in (logging.ERROR, logging.INFO, logging.DEBUG, log.TRACE):
        log.error_log.log(one, "said")

    assert [line.split()[-2].rstrip(":") for line in streams.error_lines] == shown


def test_the_level_trace_shows_everything(streams: Streams) -> None:
    configure(ServerConfig(log_level="trace"))

    log.error_log.log(log.TRACE, "said")

    assert streams.error_lines[0].endswith("TRACE: said")


def test_configuring_again_replaces_what_was_before(streams: Streams) -> None:
    configure(ServerConfig(log_level="debug"))
    configure(ServerConfig(log_level="warning"))

    log.error_log.info("hidden")
    log.error_log.warning("shown")

    assert len(streams.error_lines) == 1
    assert len(log.own_handlers()) == 1


def test_an_access_format_that_cannot_be_used_is_refused_and_changes_nothing() -> None:
    with pytest.raises(ConfigError):
        configure(ServerConfig(access_log_format="%(nope)s"))

    assert log.own_handlers() == []


# -- out of the application's way --------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after", "between"])
def test_with_basic_config_in_the_application_each_line_comes_exactly_once(
    when: str, streams: Streams
) -> None:
    def application_sets_up_logging() -> None:
        logging.basicConfig(level=logging.INFO, format="app: %(message)s", stream=sys.stderr)

    quiet_logging.without_pytest()
    if when == "before":
        application_sets_up_logging()
    configure(ServerConfig())
    if when == "after":
        application_sets_up_logging()
    log.error_log.info("first")
    if when == "between":
        application_sets_up_logging()
    log.error_log.info("second")

    lines = [line.removeprefix("app: ").rpartition(" ")[2] for line in streams.error_lines]
    assert lines == ["first", "second"]
    assert streams.error_lines[-1] == "app: second"


def test_the_root_logger_is_left_alone() -> None:
    quiet_logging.without_pytest()
    root = logging.getLogger()
    before = (root.level, root.handlers[:])

    configure(ServerConfig(log_level="debug"))

    assert (root.level, root.handlers) == before


@pytest.mark.parametrize("name", ["serval", "serval.error"])
def test_a_handler_on_our_own_loggers_silences_ours(name: str, streams: Streams) -> None:
    configure(ServerConfig())
    theirs = logging.StreamHandler(io.StringIO())
    logging.getLogger(name).addHandler(theirs)

    log.error_log.error("said")

    assert streams.error_lines == []
    assert theirs.stream.getvalue() == "said\n"


def test_a_handler_for_access_lines_leaves_errors_to_us(streams: Streams) -> None:
    configure(ServerConfig())
    log.access_logger.addHandler(logging.StreamHandler(io.StringIO()))

    log.error_log.error("said")

    assert len(streams.error_lines) == 1


def test_a_logger_cut_off_from_root_does_not_count_roots_handlers() -> None:
    logging.getLogger().addHandler(logging.NullHandler())
    log.access_logger.propagate = False

    assert not log.others_listen(log.access_logger)
    assert log.others_listen(log.error_log)


def test_dict_config_cannot_switch_our_loggers_off_by_not_naming_them(streams: Streams) -> None:
    configure(ServerConfig())

    logging.config.dictConfig({"version": 1, "disable_existing_loggers": True})
    log.error_log.error("said")

    assert not log.error_log.disabled
    assert len(streams.error_lines) == 1


def test_a_dict_config_that_handles_the_root_gets_our_lines(streams: Streams) -> None:
    configure(ServerConfig())

    logging.config.dictConfig(
        {
            "version": 1,
            "formatters": {"short": {"format": "app: %(message)s"}},
            "handlers": {"err": {"class": "logging.StreamHandler", "formatter": "short"}},
            "root": {"handlers": ["err"], "level": "INFO"},
        }
    )
    log.error_log.error("said")

    assert streams.error_lines == ["app: said"]


# -- streams that are gone ---------------------------------------------------------------------


def test_no_standard_error_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(ServerConfig())
    monkeypatch.setattr(sys, "stderr", None)

    log.error_log.error("said")


def test_a_closed_standard_error_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(ServerConfig())
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)

    log.error_log.error("said")


# -- colours -----------------------------------------------------------------------------------


@pytest.fixture
def terminal() -> Iterator[int]:
    leader, follower = os.openpty()
    yield follower
    os.close(leader)
    os.close(follower)


@pytest.mark.parametrize(
    ("settings", "environment", "colored"),
    [
        (ServerConfig(), {}, True),
        (ServerConfig(), {"NO_COLOR": "1"}, False),
        (ServerConfig(), {"NO_COLOR": ""}, True),
        (ServerConfig(), {"TERM": "dumb"}, False),
        (ServerConfig(use_colors="off"), {}, False),
        (ServerConfig(use_colors="on"), {"NO_COLOR": "1"}, True),
        (ServerConfig(use_colors="on", log_format="json"), {}, False),
    ],
)
def test_a_terminal_gets_colours_unless_someone_does_not_want_them(
    settings: ServerConfig,
    environment: dict[str, str],
    colored: bool,
    terminal: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert log.colors_wanted(settings, terminal) is colored


def test_what_is_no_terminal_gets_no_colours(tmp_path: os.PathLike[str]) -> None:
    with open(os.path.join(tmp_path, "log"), "w") as file:
        assert not log.colors_wanted(ServerConfig(), file.fileno())


def test_colours_mark_the_level(streams: Streams) -> None:
    configure(ServerConfig(use_colors="on"))

    log.error_log.error("said")

    assert "\x1b[31mERROR:\x1b[0m said" in streams.error_lines[0]


# -- JSON --------------------------------------------------------------------------------------


def test_a_json_record_is_one_object_with_its_extras(streams: Streams) -> None:
    configure(ServerConfig(log_format="json"))

    log.error_log.error("two\nlines %s", "é", extra={"worker": 3, "path": object})

    [line] = streams.error_lines
    said = json.loads(line)
    assert said["message"] == "two\nlines é"
    assert said["level"] == "error"
    assert said["logger"] == "serval.error"
    assert said["pid"] == os.getpid()
    assert said["worker"] == 3
    assert said["path"] == "<class 'object'>"
    assert set(said) == {"time", "level", "logger", "pid", "message", "worker", "path"}


def test_a_json_record_of_an_exception_holds_the_traceback(streams: Streams) -> None:
    configure(ServerConfig(log_format="json"))

    log.error_log.error("it broke", exc_info=ValueError("bad"))

    assert json.loads(streams.error_lines[0])["exception"].endswith("ValueError: bad")


# -- files -------------------------------------------------------------------------------------


def test_each_log_may_have_a_file_of_its_own(tmp_path: Path, streams: Streams) -> None:
    access, errors = tmp_path / "access.log", tmp_path / "error.log"
    configure(ServerConfig(access_log_file=str(access), error_log_file=str(errors)))

    log.error_log.error("an error")
    log.access_logger.info("a request")
    errors.rename(tmp_path / "error.log.1")
    log.reopen_files()
    log.error_log.error("another")
    log.give_files(-1, -1)
    log.follow_files()

    assert "a request" in access.read_text()
    assert (tmp_path / "error.log.1").read_text().endswith("ERROR: an error\n")
    assert errors.read_text().endswith("ERROR: another\n")
    assert streams.output == ""
    assert streams.error_lines == []
    configure(ServerConfig())


def test_a_file_that_cannot_be_opened_changes_nothing(tmp_path: Path, streams: Streams) -> None:
    first = tmp_path / "first.log"
    configure(ServerConfig(error_log_file=str(first)))

    for refused in (
        ServerConfig(error_log_file=str(tmp_path / "none" / "second.log")),
        ServerConfig(error_log_file=str(tmp_path / "third.log"), log_config="none.json"),
    ):
        with pytest.raises(ConfigError):
            configure(refused)
        log.error_log.error("an error")

    assert first.read_text().count("an error") == 2
    configure(ServerConfig())


@pytest.mark.parametrize("stream", ["", "-"])
def test_without_a_file_the_streams_are_written_to(streams: Streams, stream: str) -> None:
    configure(ServerConfig(error_log_file=stream, access_log_file=stream))

    log.error_log.error("an error")

    assert streams.error_lines[0].endswith("ERROR: an error")
    assert log.access_descriptor() == 1


def test_with_hands_off_nothing_of_ours_is_added(streams: Streams) -> None:
    configure(ServerConfig())
    configure(ServerConfig(log_config="none"))

    assert log.own_handlers() == []
