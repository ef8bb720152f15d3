"""What a request costs, here and in the peers.

    python -m benchmarks                     everything, three rounds (about half an hour)
    python -m benchmarks --quick             the main works and peers, within two minutes
    python -m benchmarks --works hello,tls --servers serval,granian --rounds 6
    python -m benchmarks --traits idle,second-worker,access-log

Installs the peers into an environment of its own, runs every work against every server in turn,
round after round, on pinned cores, and prints for each work the CPU time per request.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks import servers, works
from benchmarks.chart import chart
from benchmarks.environment import Machine, certificate, described, prepared, require_tools
from benchmarks.measurement import Bench, Measurement, measure
from benchmarks.processes import cores
from benchmarks.report import OURS, as_json, rows, table
from benchmarks.servers import Server
from benchmarks.traits import OURS_ALONE, TRAITS
from benchmarks.works import Work

WORKS = {work.name: work for work in works.WORKS}
SERVERS = {server.name: server for server in servers.SERVERS}
QUICK_BUDGET_SECONDS = 105.0  # of the two minutes; the rest starts and sums up
Thing = TypeVar("Thing")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="end within two minutes")
    parser.add_argument("--works", help="names with commas between: " + ", ".join(WORKS))
    parser.add_argument("--servers", help="names with commas between: " + ", ".join(SERVERS))
    parser.add_argument("--traits", help="in place of works: " + ", ".join(TRAITS))
    parser.add_argument("--rounds", type=int, help="how often each is measured (3; quick: 2)")
    parser.add_argument("--seconds", type=float, help="length of a measurement (3; quick: 1)")
    parser.add_argument("--python", default=sys.executable, help="what the servers run on")
    parser.add_argument("--output", default="benchmark-results", help="folder for JSON and SVG")
    return parser.parse_args()


def chosen(
    option: str, given: str | None, known: Mapping[str, Thing], otherwise: Sequence[str]
) -> tuple[Thing, ...]:
    """What an option names, or what stands for it."""
    wanted = given.split(",") if given else otherwise
    if unknown := [name for name in wanted if name not in known]:
        sys.exit(f"error: {option}: no {', '.join(unknown)}; known: {', '.join(known)}")
    return tuple(known[name] for name in wanted)


def interleaved(
    bench: Bench,
    chosen_works: Sequence[Work],
    chosen_servers: Sequence[Server],
    rounds: int,
    budget_seconds: float,
) -> Iterator[Measurement]:
    """Measure round by round, work by work, each server in turn, until the budget is spent."""
    end_at = time.monotonic() + budget_seconds
    for number in range(rounds):
        for work in chosen_works:
            for server in chosen_servers:
                if time.monotonic() > end_at:
                    print("the time is up: what follows is left out", file=sys.stderr)
                    return
                found = measure(bench, server, work, number)
                said = found.fault or f"{found.cpu_us:.1f} us per {work.unit}"
                progress = f"round {number + 1}/{rounds} {work.name} {server.name}: {said}"
                print(progress, file=sys.stderr, flush=True)
                yield found


def write_results(
    folder: Path, machine: Machine, of: Sequence[Work], found: Sequence[Measurement]
) -> None:
    """The JSON and the chart."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(as_json(machine, of, found))
    by_work = {work.name: rows(work, found) for work in of}
    caption = f"{machine.processor}, CPython {machine.versions['python']}, {machine.date}"
    (folder / "chart.svg").write_text(chart(of, by_work, caption))
    print(f"written: {folder / 'results.json'}, {folder / 'chart.svg'}")


def tell_traits(bench: Bench, names: Sequence[str], of: Sequence[Server]) -> None:
    """Measure and print what is asked for, server by server."""
    if unknown := [name for name in names if name not in TRAITS]:
        sys.exit(f"error: --traits: no {', '.join(unknown)}; known: {', '.join(TRAITS)}")
    for name in names:
        for server in of:
            if name in OURS_ALONE and server.name != OURS:
                continue
            try:
                print(f"{server.name:10} {TRAITS[name](bench, server).text}", flush=True)
            except (OSError, subprocess.SubprocessError) as exc:
                print(f"{server.name:10} {name}: {exc!r:.300}", flush=True)


def main() -> None:
    """Prepare, measure, report."""
    options = arguments()
    require_tools()
    quick = bool(options.quick)
    of = chosen("--works", options.works, WORKS, works.QUICK if quick else tuple(WORKS))
    against = chosen(
        "--servers", options.servers, SERVERS, servers.QUICK if quick else tuple(SERVERS)
    )
    interpreter = prepared(options.python, servers.SERVERS)
    machine = described(interpreter, servers.SERVERS)
    print(f"{machine.processor}, {machine.cores} cores, Linux {machine.kernel}, {machine.date}")
    print(", ".join(f"{name} {version}" for name, version in machine.versions.items()))
    server_core, load_core = cores()
    if load_core is None:
        print("one core alone: server and load share it, throughput means little")
    with tempfile.TemporaryDirectory(prefix="serval-benchmarks-") as folder:
        bench = Bench(
            interpreter=interpreter,
            seconds=options.seconds or (1.0 if quick else 3.0),
            folder=Path(folder),
            certificate=certificate(Path(folder)),
            server_core=server_core,
            load_core=load_core,
        )
        if options.traits:
            tell_traits(bench, options.traits.split(","), against)
            return
        rounds = options.rounds or (2 if quick else 3)
        budget_seconds = QUICK_BUDGET_SECONDS if quick else float("inf")
        found = list(interleaved(bench, of, against, rounds, budget_seconds))
    for work in of:
        print("\n" + table(work, found))
    print()
    write_results(Path(options.output), machine, of, found)


if __name__ == "__main__":
    main()
