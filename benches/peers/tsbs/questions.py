"""What is asked: TSBS' queries by name, each with parameters drawn from the seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tsbs.rows import CPU_METRICS, FLEETS, START_US, Workload

MINUTE = 60_000_000
HOUR = 60 * MINUTE

# What the columns of an answer are: `text`, `time`, or `number` that is copied (`same`) or computed (`near`).
CPU_ROW = ["text", "time"] + ["same"] * 10
COLUMNS: dict[str, list[str]] = {
    "single-groupby-1-1-1": ["time", "same"],
    "single-groupby-5-8-1": ["time"] + ["same"] * 5,
    "cpu-max-all-8": ["time"] + ["same"] * 10,
    "high-cpu-1": CPU_ROW,
    "double-groupby-1": ["text", "time", "near"],
    "double-groupby-all": ["text", "time"] + ["near"] * 10,
    "high-cpu-all": CPU_ROW,
    "lastpoint": CPU_ROW,
    "groupby-orderby-limit": ["time", "same"],
    "last-loc": ["text", "text", "same", "same"],
    "low-fuel": ["text", "text", "same"],
    "high-load": ["text", "text", "same", "same"],
    "stationary-trucks": ["text", "text"],
    "long-driving-sessions": ["text", "text"],
    "long-daily-sessions": ["text", "text"],
    "avg-vs-projected-fuel-consumption": ["text", "near", "near"],
    "avg-daily-driving-duration": ["text", "text", "text", "near"],
    "avg-daily-driving-session": ["text", "time", "near"],
    "avg-load": ["text", "text", "same", "near"],
    "daily-activity": ["text", "text", "time", "near"],
    "breakdown-frequency": ["text", "same"],
}
CPU_QUERIES = list(COLUMNS)[:9]
IOT_QUERIES = list(COLUMNS)[9:]


@dataclass(frozen=True)
class Question:
    """One query with its parameters; an engine makes a statement of it."""

    query: str
    metrics: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    start_us: int = 0
    end_us: int = 0
    fleet: str = ""
    # Ten-minute stretches after which a drive is long.
    stretches: int = 0

    @property
    def columns(self) -> list[str]:
        kinds = COLUMNS[self.query]
        metrics = len(self.metrics)
        # Fewer metrics than TSBS has where the run was asked for fewer.
        return [k for k in kinds if k in ("text", "time")] + kinds[-1:] * metrics if metrics else kinds


def questions(workload: Workload, query: str, count: int, seed: int) -> list[Question]:
    """The first `count` questions of a query: the same for every engine, and the first ones whatever the count."""
    chance = np.random.default_rng([seed, list(COLUMNS).index(query), 3])
    return [question(workload, query, chance) for _ in range(count)]


def question(workload: Workload, query: str, chance: np.random.Generator) -> Question:
    metrics = [name for name in CPU_METRICS if name in workload.facts.get("cpu", workload.tags).column_names]

    def hosts(count: int) -> list[str]:
        names = workload.tags.column("hostname").to_pylist()
        return [names[i] for i in chance.choice(len(names), min(count, len(names)), replace=False)]

    def window(hours: float) -> dict[str, int]:
        """Of that length or, in a shorter workload, all of it; it begins at any second, as TSBS' do."""
        length = int(min(hours, workload.hours) * HOUR)
        start = START_US + int(chance.integers(0, workload.hours * 3600 - length // 1_000_000 + 1)) * 1_000_000
        return {"start_us": start, "end_us": start + length}

    def fleet() -> str:
        return FLEETS[chance.integers(0, len(FLEETS))]

    match query:
        case "single-groupby-1-1-1":
            return Question(query, metrics[:1], hosts(1), **window(1))
        case "single-groupby-5-8-1":
            return Question(query, metrics[:5], hosts(8), **window(1))
        case "cpu-max-all-8":
            return Question(query, metrics, hosts(8), **window(8))
        case "high-cpu-1":
            return Question(query, metrics, hosts(1), **window(12))
        case "double-groupby-1":
            return Question(query, metrics[:1], **window(12))
        case "double-groupby-all" | "high-cpu-all":
            return Question(query, metrics, **window(12))
        case "lastpoint":
            return Question(query, metrics)
        case "groupby-orderby-limit":
            return Question(query, metrics[:1], **window(1))
        case "stationary-trucks":
            return Question(query, fleet=fleet(), **window(1 / 6))
        case "long-driving-sessions":
            return Question(query, fleet=fleet(), stretches=stretches(5, min(4, workload.hours)), **window(4))
        case "long-daily-sessions":
            return Question(query, fleet=fleet(), stretches=stretches(35, min(24, workload.hours)), **window(24))
        case "last-loc" | "low-fuel" | "high-load":
            return Question(query, fleet=fleet())
        case _:
            return Question(query)


def stretches(rest_minutes_an_hour: int, hours: int) -> int:
    """Ten-minute stretches of driving in a window in which a driver rests as often as the law wants it."""
    return hours * (60 - rest_minutes_an_hour) // 10


def describe(question: Question) -> dict[str, Any]:
    return {name: value for name, value in vars(question).items() if value}
