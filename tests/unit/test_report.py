"""What the command reports."""

import platform

from serval.config import ServerConfig
from serval.layers import Given, Sources
from serval.report import settings_table, versions
from serval.version import __version__


def test_the_table_has_name_value_and_origin_of_each_setting() -> None:
    flags = [Given("timeout_startup", "120", "--timeout-startup")]
    config = ServerConfig.load(Sources(flags=flags))

    rows = [line.split() for line in settings_table(config).splitlines()]

    assert ["timeout_startup", "2m", "--timeout-startup"] in rows
    assert ["port", "8000", "default"] in rows
    assert ["root_path", '""', "default"] in rows
    assert [rows[0][0], rows[-1][0]] == ["app", "use_colors"]


def test_the_version_names_everything_that_a_report_of_a_fault_needs() -> None:
    line = versions()

    assert line.startswith(f"serval {__version__} (")
    assert platform.python_version() in line
    assert "h11 0." in line
    assert "wsproto 1." in line
    assert "loop uvloop" in line or "loop asyncio" in line
