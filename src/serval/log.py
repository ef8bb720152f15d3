"""The process's own log: the loggers `serval.error` and `serval.access`, and where they write.

`server.py` calls `configure` once in every process that serves, and again when the configuration
is read anew.  The root logger is never touched, and where the operator or the application has put
handlers of their own, ours are silent.
"""

import json
import logging
import os
import sys
from datetime import datetime
from typing import Final, TextIO

from serval.access_format import line_format
from serval.config import ServerConfig
from serval.errors import ConfigError
from serval.log_files import LogFile
from serval.log_settings import HANDS_OFF, STREAM

error_log = logging.getLogger("serval.error")
access_logger = logging.getLogger("serval.access")
_parent_of_both = logging.getLogger("serval")

STDOUT: Final = 1
STDERR: Final = 2

TRACE: Final = 5
_LEVELS: Final = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
}
_COLORS: Final = {
    logging.CRITICAL: "\x1b[1;31m",
    logging.ERROR: "\x1b[31m",
    logging.WARNING: "\x1b[33m",
    logging.INFO: "\x1b[32m",
}
_FAINT: Final = "\x1b[2m"
_RESET: Final = "\x1b[0m"
DATE_FORMAT: Final = "%Y-%m-%d %H:%M:%S %z"
# A traceback has lines; nothing else that steers a terminal belongs into a log.
_UNPRINTABLE: Final = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"
}
_USUAL_ATTRIBUTES: Final = frozenset(
    {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
)


# The files that we write to in place of the standard streams, by logger; and whose they shall be.
_files: dict[str, LogFile] = {}
_owner: list[tuple[int, int]] = []


def configure(config: ServerConfig) -> None:
    """Set level, format, colours and files.  May be called again; the last call holds.

    Raises:
        ConfigError: The format of the access lines, a file or Python's configuration cannot be
            used.  What was set before holds then.
    """
    line_format(config.access_log_format, config.log_format)
    files = {
        name: LogFile(path)
        for name, path in (
            (access_logger.name, config.access_log_file),
            (error_log.name, config.error_log_file),
        )
        if path not in ("", STREAM)
    }
    try:
        _configure_python(config.log_config)
    except ConfigError:
        for file in files.values():
            file.close()
        raise
    for old in _files.values():
        old.close()
    _files.clear()
    _files.update(files)
    logging.addLevelName(TRACE, "TRACE")
    for logger in (_parent_of_both, error_log, access_logger):
        logger.__class__ = _AlwaysOn
    _parent_of_both.setLevel(_LEVELS[config.log_level])
    for handler in own_handlers():
        _parent_of_both.removeHandler(handler)
    if config.log_config != HANDS_OFF:
        _parent_of_both.addHandler(_OwnHandler(config))


def _configure_python(path: str) -> None:
    """Configure Python's logging from a file, if one is named."""
    if path not in ("", HANDS_OFF):
        from serval.log_config import apply_log_config  # noqa: PLC0415 - most starts need not wait

        apply_log_config(path)


def access_descriptor() -> int:
    """Where access lines are written to."""
    return _files[access_logger.name].fd if access_logger.name in _files else STDOUT


def _error_descriptor() -> int:
    return _files[error_log.name].fd if error_log.name in _files else STDERR


def reopen_files() -> None:
    """Open the files anew, since somebody has renamed them."""
    for file in _files.values():
        file.reopen()
        for uid, gid in _owner:
            file.give(uid, gid)


def follow_files() -> None:
    """Open those files anew that were renamed while nobody could tell this process."""
    for file in _files.values():
        file.follow()


def give_files(uid: int, gid: int) -> None:
    """Let a user open the files anew, and those of the same name; -1 leaves an id as it is."""
    _owner[:] = [(uid, gid)]
    for file in _files.values():
        file.give(uid, gid)


def own_handlers() -> list[logging.Handler]:
    """Our handler, once `configure` has been called and nobody has taken it away."""
    return [handler for handler in _parent_of_both.handlers if isinstance(handler, _OwnHandler)]


def others_listen(logger: logging.Logger | None) -> bool:
    """Whether a handler that is not ours would get the records of a logger."""
    while logger:
        for handler in logger.handlers:
            if type(handler) is not _OwnHandler:
                return True
        logger = logger.parent if logger.propagate else None
    return False


def colors_wanted(config: ServerConfig, descriptor: int) -> bool:
    """Whether lines for a descriptor are to be coloured (see no-color.org for the variable)."""
    if config.log_format == "json" or config.use_colors == "off":
        return False
    if config.use_colors == "on":
        return True
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return os.isatty(descriptor)


def iso_time(at: float) -> str:
    """Wall time as RFC 3339 has it, in the local time zone."""
    return datetime.fromtimestamp(at).astimezone().isoformat(timespec="milliseconds")


class _AlwaysOn(logging.Logger):
    """A logger that `dictConfig`, by default, cannot switch off for not having named it."""

    @property
    def disabled(self) -> bool:
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        """Stay on; a level, a filter or a handler says what is wanted."""


class _OwnHandler(logging.Handler):
    """Writes to the standard streams or our files, but only while nobody else listens.

    It decides anew with each record, so that an application may set up logging at any time, and
    every line comes exactly once.
    """

    def __init__(self, config: ServerConfig) -> None:
        super().__init__()
        self._formatters = {
            name: _JsonFormatter()
            if config.log_format == "json"
            else _TextFormatter(colored=colors_wanted(config, descriptor))
            for name, descriptor in (
                (access_logger.name, access_descriptor()),
                (error_log.name, _error_descriptor()),
            )
        }

    def emit(self, record: logging.LogRecord) -> None:
        if others_listen(logging.getLogger(record.name)):
            return
        # Looked up each time: a test or a daemon may have put another stream there.
        name = access_logger.name if record.name == access_logger.name else error_log.name
        stream: TextIO | LogFile | None = _files.get(name)
        if stream is None:
            stream = sys.stdout if name == access_logger.name else sys.stderr
        text = self._formatters[name].format(record)
        if stream is None:
            return
        try:
            stream.write(text + "\n")
            stream.flush()
        except (OSError, ValueError):
            # The reader of the log has gone; there is nowhere left to say so.
            return


class _TextFormatter(logging.Formatter):
    """`2026-11-22 13:24:05 +0000 [4242] INFO: message`."""

    def __init__(self, *, colored: bool) -> None:
        super().__init__(datefmt=DATE_FORMAT)
        self._colored = colored

    def formatMessage(self, record: logging.LogRecord) -> str:
        when = f"{self.formatTime(record, DATE_FORMAT)} [{record.process}]"
        if record.name == access_logger.name:
            return f"{self._in(_FAINT, when)} {record.message}"
        level = self._in(_COLORS.get(record.levelno, ""), f"{record.levelname}:")
        return f"{self._in(_FAINT, when)} {level} {record.message.translate(_UNPRINTABLE)}"

    def formatException(self, ei: object) -> str:
        return super().formatException(ei).translate(_UNPRINTABLE)  # type: ignore[arg-type]

    def _in(self, color: str, text: str) -> str:
        return f"{color}{text}{_RESET}" if self._colored and color else text


class _JsonFormatter(logging.Formatter):
    """One JSON object per record, with the record's extras as members."""

    def format(self, record: logging.LogRecord) -> str:
        members: dict[str, object] = {
            "time": iso_time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            members["exception"] = self.formatException(record.exc_info)
        extras = {k: v for k, v in vars(record).items() if k not in _USUAL_ATTRIBUTES}
        return json.dumps(members | extras, default=str)
