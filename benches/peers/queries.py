"""TSBS' queries on Wattline and its peers: are the answers the same, and how long do they take.

`queries.sh` beside this file sets everything up; settings come by environment, see `Settings`. Exit code 1 where answers
differ or Wattline failed, 0 where a peer could not be had or could not answer: that is told below the tables.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as parquet

import victoria
from tsbs import questdb
from tsbs.dashboard import dashboards
from tsbs.engine import Engine
from tsbs.inside import ClickHouse, Duck
from tsbs.measure import Figures, Plan, measure
from tsbs.questions import CPU_QUERIES, IOT_QUERIES
from tsbs.report import agreement, failures, tables, write_lines
from tsbs.rows import Workload, cpu, iot
from tsbs.victoria_metrics import VictoriaMetrics
from tsbs.wattline import Wattline


class Settings:
    """By environment; QUICK=1 is a look that takes two minutes."""

    def __init__(self) -> None:
        quick = os.environ.get("QUICK", "") not in ("", "0")
        self.hosts = number("HOSTS", 100 if quick else 1000)
        self.hours = number("HOURS", 2 if quick else 24)
        self.metrics = number("METRICS", 10)
        self.trucks = number("TRUCKS", self.hosts)
        self.runs = number("RUNS", 20 if quick else 100)
        self.seconds_each = float(number("SECONDS_EACH", 2 if quick else 10))
        self.seed = number("SEED", 1)
        self.queries = chosen("QUERIES", CPU_QUERIES + IOT_QUERIES)
        self.peers = chosen("PEERS", list(PEERS))
        self.out = Path(os.environ["OUT"])
        self.program = os.environ["WATTLINE_BIN"]


def number(name: str, default: int) -> int:
    value = int(os.environ.get(name) or default)
    if value < 1:
        raise SystemExit(f"{name} must be at least 1")
    return value


def chosen(name: str, known: list[str]) -> list[str]:
    """Names separated by commas or blanks; nothing means all, `none` none."""
    names = os.environ.get(name, "").replace(",", " ").split()
    unknown = [n for n in names if n not in known and n != "none"]
    if unknown:
        raise SystemExit(f"{name}: there is no {unknown[0]}; there are {', '.join(known)}")
    return [n for n in known if n in names] if names else known


def victoria_metrics(folder: Path, cache: Path) -> Engine:
    return VictoriaMetrics(folder, victoria.find(cache))


PEERS: dict[str, Callable[[Path, Path], Engine]] = {
    "DuckDB": lambda folder, cache: Duck(folder),
    "ClickHouse": lambda folder, cache: ClickHouse(folder),
    "VictoriaMetrics": victoria_metrics,
    "QuestDB": lambda folder, cache: questdb.QuestDb(folder, questdb.fetch(cache)),
}


def main() -> None:
    # As an exception, so that what is running is stopped and what was written is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    settings = Settings()
    settings.out.mkdir(parents=True, exist_ok=True)
    document, lines = settings.out / "queries.md", settings.out / "queries.jsonl"
    for old in (document, lines):
        old.unlink(missing_ok=True)
    wrong: list[str] = []
    for queries, make in ((CPU_QUERIES, make_cpu), (IOT_QUERIES, make_iot)):
        asked = [query for query in queries if query in settings.queries]
        if asked:
            plan = Plan(make(settings), asked, settings.runs, settings.seconds_each, settings.seed)
            text, found = run(settings, plan, lines)
            wrong += found
            print(text, flush=True)
            with open(document, "a", encoding="utf-8") as file:
                file.write(text + "\n")
    if wrong:
        sys.exit(f"{len(wrong)} wrong, see above")


def make_cpu(settings: Settings) -> Workload:
    return cpu(settings.hosts, settings.hours, settings.metrics, settings.seed)


def make_iot(settings: Settings) -> Workload:
    return iot(settings.trucks, settings.hours, settings.seed)


def run(settings: Settings, plan: Plan, lines: Path) -> tuple[str, list[str]]:
    """The tables of one workload, and what is wrong with it. One engine after the other, so that each has the machine."""
    cache = settings.out / "cache"
    cache.mkdir(exist_ok=True)
    left_out: list[str] = []
    with tempfile.TemporaryDirectory(prefix="wattline-queries-") as name:
        folder = Path(name)
        files = {table: folder / f"{table}.parquet" for table in ["tags", *plan.workload.facts]}
        for table, path in files.items():
            parquet.write_table(plan.workload.facts.get(table, plan.workload.tags), path)
        own = Wattline(folder / "Wattline", settings.program)
        say(f"{plan.workload.name}: Wattline")
        figures = [measure(own, plan, files)]
        if plan.workload.name == "cpu":
            figures[0].dashboards = look(own, plan, settings)
        shutil.rmtree(own.folder)
        for peer in settings.peers:
            say(f"{plan.workload.name}: {peer}")
            try:
                figures.append(measure(PEERS[peer](folder / peer, cache), plan, files))
            except NotImplementedError as error:
                say(f"not asked: {peer}: {error}")
            except Exception as error:
                left_out.append(f"left out {peer}: {type(error).__name__}: {error}")
            shutil.rmtree(folder / peer, ignore_errors=True)
    agreed, differing = agreement(plan, figures[0], figures[1:])
    write_lines(lines, plan, figures, agreed)
    failed = failures(figures)
    notes = "".join(f"\n{line}\n" for line in [*left_out, *failed, *(f"DIFFERENT: {line}" for line in differing)])
    own_failures = [line for line in failed if f", {own.name}" in line]
    return tables(plan, figures, agreed) + "\n" + notes, differing + own_failures


def look(own: Wattline, plan: Plan, settings: Settings) -> dict:
    own.start()
    try:
        return {seen.what: seen for seen in dashboards(own, plan.workload, settings.seed, settings.seconds_each * 2)}
    finally:
        own.stop()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
