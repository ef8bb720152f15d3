"""From the results that are kept here to what the README shows of them: its table and the chart.

python -m benchmarks --output benchmarks      measures anew what is kept
python -m benchmarks.comparison               brings README.md and chart.svg up to date
"""

import json
from typing import Any, Final

from benchmarks.chart import chart
from benchmarks.report import Row
from benchmarks.servers import ROOT
from benchmarks.works import WORKS, Work

RESULTS: Final = ROOT / "benchmarks" / "results.json"
CHART: Final = ROOT / "benchmarks" / "chart.svg"
README: Final = ROOT / "README.md"
BEGIN: Final = "<!-- comparison:begin -->\n"
END: Final = "<!-- comparison:end -->\n"

# Plain requests, those that wait or carry more, and where we are not first.
SHOWN: Final = (
    "hello",
    "varied",
    "post",
    "starlette",
    "connect",
    "tls",
    "websocket-64",
    "events",
    "upload-chunked",
    "download",
)
SERVERS: Final = {"serval": "Serval", "uvicorn": "uvicorn", "granian": "granian"}

TEXT: Final = """\
CPU time of the whole server for each request, in microseconds, with one worker; less is better:

{table}

![The same as bars]({chart})

Requests that come again word for word, from clients that poll, probe or keep a connection, are
known and cost least; the second line shows what is left of that where nothing repeats. The least
of three interleaved rounds, server and load on a core each; CPython {python}, Serval
{serval}, uvicorn {uvicorn} with uvloop {uvloop} and httptools {httptools}, granian {granian}, on
{cores} cores of a virtual machine that others shared ({processor}), {date}. Figures move with the
machine, ratios less: `python -m benchmarks` repeats them, with more works and more servers.
[benchmarks/](benchmarks/README.md) says where Serval is not first, and why.
"""


def shown_works() -> list[Work]:
    """The works that the README shows, in its order."""
    by_name = {work.name: work for work in WORKS}
    return [by_name[name] for name in SHOWN]


def rows_of(results: dict[str, Any], work: Work) -> list[Row]:
    """What was measured of a work, server by server."""
    return [Row(**results["works"][work.name]["servers"][name]) for name in SERVERS]


def figure(us: float) -> str:
    """A cost as the table shows it."""
    return f"{us:,.0f}" if us >= 1000 else f"{us:,.1f}"


def table_line(work: Work, rows: list[Row]) -> str:
    """One work; its least cost is in bold type."""
    least = min(row.least_us for row in rows)
    costs = [
        f"**{figure(row.least_us)}**" if row.least_us == least else figure(row.least_us)
        for row in rows
    ]
    unit = "" if work.unit in ("request", "upload", "download") else f", each {work.unit}"
    return " | ".join([f"| {work.title}{unit}", *costs]) + " |"


def comparison(results: dict[str, Any]) -> str:
    """What stands in the README between the marks."""
    heading = " | ".join(["| work", *SERVERS.values()]) + " |"
    rule = "|---" + "|---:" * len(SERVERS) + "|"
    lines = [table_line(work, rows_of(results, work)) for work in shown_works()]
    machine = results["machine"]
    processor = machine["processor"].replace("(R)", "").replace(" Processor", "")
    return TEXT.format(
        table="\n".join([heading, rule, *lines]),
        chart=CHART.relative_to(ROOT).as_posix(),
        processor=processor,
        cores=machine["cores"],
        date=machine["date"],
        **machine["versions"],
    )


def drawn(results: dict[str, Any]) -> str:
    """The chart of the same works."""
    works = shown_works()
    machine = results["machine"]
    caption = f"{machine['processor']}, CPython {machine['versions']['python']}, {machine['date']}"
    return chart(works, {work.name: rows_of(results, work) for work in works}, caption)


def with_comparison(readme: str, results: dict[str, Any]) -> str:
    """The README with these results."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + comparison(results) + END + after


def main() -> None:
    """Bring both up to date."""
    results = json.loads(RESULTS.read_text())
    README.write_text(with_comparison(README.read_text(), results))
    CHART.write_text(drawn(results))


if __name__ == "__main__":
    main()
