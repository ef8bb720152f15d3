from typing import Any

import pytest

from serval.config import ServerConfig
from serval.errors import ConfigError


@pytest.mark.parametrize("path", ["healthz", "*", "/a/*/b", "/\u00e9", ""])
def test_what_is_left_out_must_be_paths_as_clients_send_them(path: str) -> None:
    with pytest.raises(ConfigError, match="access_log_exclude must be paths as clients send them"):
        ServerConfig(access_log_exclude=("/healthz", path))


@pytest.mark.parametrize("name", ["error_log_file", "access_log_file"])
def test_a_file_of_ours_contradicts_leaving_logging_to_the_application(name: str) -> None:
    settings: dict[str, Any] = {name: "/tmp/a.log", "log_config": "none"}  # noqa: S108 - not opened

    with pytest.raises(ConfigError, match=f"{name} contradicts log_config none"):
        ServerConfig(**settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("access_log_file", "a.log"),
        ("access_log_format", "%(s)s"),
        ("access_log_exclude", ("/a",)),
    ],
)
def test_what_says_how_access_lines_are_is_refused_where_there_are_none(
    name: str, value: Any
) -> None:
    settings: dict[str, Any] = {name: value, "access_log": False}

    with pytest.raises(ConfigError, match=f"{name} has no effect without an access log"):
        ServerConfig(**settings)


@pytest.mark.parametrize("name", ["a b", "Host", "content-length", "x:y"])
def test_ids_need_a_header_of_their_own(name: str) -> None:
    with pytest.raises(ConfigError, match="request_id_header must be the name of a header for ids"):
        ServerConfig(request_id_header=name)


def test_no_id_can_be_kept_from_clients_where_there_is_none() -> None:
    with pytest.raises(ConfigError, match="request_id_response is off, and without"):
        ServerConfig(request_id_response=False)
