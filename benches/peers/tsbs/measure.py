"""The clock: an engine is loaded, asked warm, and asked again after a restart; what came back is kept for comparison."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tsbs.answers import canonical
from tsbs.engine import Engine
from tsbs.process import bytes_of, forget_files, peak_since
from tsbs.questions import Question, questions
from tsbs.rows import Workload

WARM_UP = 3
# Answers that are compared, of each query.
CHECKED = 5
# Asks after each restart: what people wait for when they come back, not a new steady state.
AFTER_RESTART = 10
# Fewer asks than this say nothing, however long one takes.
LEAST = 5


@dataclass
class Timed:
    """The same query, asked again and again with other parameters."""

    seconds: list[float] = field(default_factory=list)
    peak: int = 0
    answers: list[pa.Table] = field(default_factory=list)
    error: str = ""

    def quantile(self, share: float) -> float:
        """Of few asks, p99 is about the slowest."""
        return float(np.quantile(self.seconds, share)) if self.seconds else float("nan")


@dataclass
class Figures:
    """All of one engine and workload."""

    engine: Engine
    load_seconds: float = 0.0
    bytes: int = 0
    trivial: Timed = field(default_factory=Timed)
    warm: dict[str, Timed] = field(default_factory=dict)
    variants: dict[str, Timed] = field(default_factory=dict)
    restarted: dict[str, Timed] = field(default_factory=dict)
    dashboards: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """How much is asked."""

    workload: Workload
    queries: list[str]
    runs: int
    seconds_each: float
    seed: int

    def questions(self, query: str) -> list[Question]:
        return questions(self.workload, query, self.runs + WARM_UP, self.seed)


def measure(engine: Engine, plan: Plan, files: dict[str, Path]) -> Figures:
    figures = Figures(engine)
    engine.start()
    try:
        started = time.monotonic()
        engine.load(plan.workload, files)
        figures.load_seconds = time.monotonic() - started
        figures.bytes = bytes_of(engine.data)
        figures.trivial = timed(engine, [engine.trivial()] * (plan.runs + WARM_UP), plan)
        for query in plan.queries:
            warm(engine, plan, query, figures)
    finally:
        engine.stop()
    for query in figures.warm:
        figures.restarted[query] = after_restart(engine, plan, query)
    return figures


def warm(engine: Engine, plan: Plan, query: str, figures: Figures) -> None:
    asked = plan.questions(query)
    statements = [engine.statement(question) for question in asked]
    if statements[0] is None:
        return
    figures.warm[query] = timed(engine, statements, plan, asked)
    for name in engine.variants(asked[0]):
        statements = [engine.variants(question)[name] for question in asked]
        figures.variants[f"{query}: {name}"] = timed(engine, statements, plan, asked)


def timed(engine: Engine, statements: list[Any], plan: Plan, asked: list[Question] | None = None) -> Timed:
    """The last few statements warm up; of the others the first answers are kept. An error ends this query alone."""
    result = Timed()
    try:
        for statement in statements[plan.runs :]:
            engine.ask(statement)
        gc.collect()
        end = time.monotonic() + plan.seconds_each
        for i, statement in enumerate(statements[: plan.runs]):
            seconds, raw = engine.ask(statement)
            result.seconds.append(seconds)
            if asked and i < CHECKED:
                result.answers.append(canonical(engine.answer(raw, asked[i]), asked[i]))
            if time.monotonic() > end and i + 1 >= LEAST:
                break
    except Exception as error:
        result.error = f"{type(error).__name__}: {error}"
    return result


def after_restart(engine: Engine, plan: Plan, query: str) -> Timed:
    """A new process, the engine's files out of memory, then the first asks; the very first is `seconds[0]`."""
    result = Timed()
    statements = [engine.statement(question) for question in plan.questions(query)[: min(AFTER_RESTART, plan.runs)]]
    forget_files(engine.data)
    engine.start()
    try:
        peak = peak_since(engine.pid())
        for statement in statements:
            result.seconds.append(engine.ask(statement)[0])
        result.peak = peak()
    except Exception as error:
        result.error = f"{type(error).__name__}: {error}"
    finally:
        engine.stop()
    return result
