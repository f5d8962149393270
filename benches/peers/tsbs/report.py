"""Tables in Markdown, and the same as JSON lines."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tsbs.answers import difference
from tsbs.dashboard import CLIENTS
from tsbs.measure import CHECKED, Figures, Plan, Timed


def agreement(plan: Plan, wattline: Figures, peers: list[Figures]) -> tuple[dict[str, str], list[str]]:
    """Who agrees with Wattline on which query; and each difference, told."""
    agreed, told = {}, []
    for query, own in wattline.warm.items():
        names = []
        asked = plan.questions(query)
        for name, timed in wattline.variants.items():
            if name.startswith(f"{query}: ") and timed.answers:
                told += differences(asked, own, timed, wattline, name)
        for peer in peers:
            theirs = peer.warm.get(query)
            if not theirs or not theirs.answers or not own.answers:
                continue
            found = differences(asked, own, theirs, peer, f"{query}, {peer.engine.name}")
            told += found
            names += [] if found else [peer.engine.name]
        agreed[query] = ", ".join(names) or "–"
    return agreed, told


def differences(asked: list[Any], own: Timed, theirs: Timed, peer: Figures, name: str) -> list[str]:
    for i, (a, b) in enumerate(zip(own.answers, theirs.answers, strict=False)):
        comparable = peer.engine.comparable
        found = difference(comparable(a, asked[i]), comparable(b, asked[i]), asked[i], peer.engine.tolerance)
        if found:
            return [f"{name}, question {i + 1}: {found}: {asked[i]}"]
    return []


def milliseconds(seconds: float) -> str:
    if math.isnan(seconds):
        return "–"
    ms = seconds * 1e3
    return f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 100 else f"{ms:.0f}"


def pair(timed: Timed | None, second: Callable[[Timed], float]) -> str:
    if not timed or not timed.seconds:
        return "failed" if timed and timed.error else "–"
    return f"{milliseconds(timed.quantile(0.5))} / {milliseconds(second(timed))}"


def ratio(own: Timed | None, peers: list[Timed | None]) -> tuple[str, float]:
    best = min((peer.quantile(0.5) for peer in peers if peer and peer.seconds and not peer.error), default=math.nan)
    if not own or not own.seconds or own.error or math.isnan(best):
        return "–", math.nan
    value = own.quantile(0.5) / best
    return f"{value:.2f}", value


def tables(plan: Plan, figures: list[Figures], agreed: dict[str, str]) -> str:
    parts = [engines(plan, figures), warm(plan, figures, agreed), restarted(plan, figures), memory(plan, figures)]
    if figures[0].dashboards:
        parts.append(dashboards(figures[0]))
    return "\n".join(parts)


def engines(plan: Plan, figures: list[Figures]) -> str:
    workload = plan.workload
    assets = f"{workload.tags.num_rows:,} {'hosts' if workload.name == 'cpu' else 'trucks'}, {workload.hours} h"
    lines = [
        f"\n### {workload.name}: {assets}, {workload.rows:,} rows, {workload.points:,} points",
        f"\n{os.cpu_count()} cores, all on one machine, one engine at a time; seed {plan.seed}, {plan.runs} asks a query.\n",
        "| engine | loaded and settled, s | MiB on disk | trivial statement, p50 / p99 ms | how |",
        "|---|---|---|---|---|",
    ]
    for f in figures:
        trivial = pair(f.trivial, p99)
        lines.append(f"| {f.engine.name} | {f.load_seconds:.1f} | {f.bytes / 2**20:.0f} | {trivial} | {f.engine.how} |")
    return "\n".join(lines)


def warm(plan: Plan, figures: list[Figures], agreed: dict[str, str]) -> str:
    own, *peers = figures
    lines = ["\nWarm, p50 / p99 ms:\n", *head(figures, "of the best peer", "rows", "answers equal those of")]
    for query in plan.queries:
        cells = [pair(f.warm.get(query), p99) for f in figures]
        share = ratio(own.warm.get(query), [peer.warm.get(query) for peer in peers])[0]
        answers = own.warm[query].answers
        rows = f"{sum(a.num_rows for a in answers) / len(answers):.0f}" if answers else "–"
        lines.append(f"| {query} | {' | '.join(cells)} | {share} | {rows} | {agreed.get(query, '–')} |")
    for name, timed in own.variants.items():
        lines.append(f"| {name} | {pair(timed, p99)} |{' |' * (len(peers) + 3)}")
    return "\n".join(lines)


def restarted(plan: Plan, figures: list[Figures]) -> str:
    own, *peers = figures
    lines = ["\nAfter a restart, files out of memory, p50 / first ms:\n", *head(figures, "of the best peer")]
    for query in plan.queries:
        cells = [pair(f.restarted.get(query), lambda t: t.seconds[0]) for f in figures]
        share = ratio(own.restarted.get(query), [peer.restarted.get(query) for peer in peers])[0]
        lines.append(f"| {query} | {' | '.join(cells)} | {share} |")
    return "\n".join(lines)


def memory(plan: Plan, figures: list[Figures]) -> str:
    what = "Memory at its highest above that of the fresh process, files it maps included, MiB"
    lines = [f"\n{what}:\n", *head(figures)]
    for query in plan.queries:
        of = [f.restarted.get(query) for f in figures]
        cells = [f"{timed.peak / 2**20:.0f}" if timed and not timed.error else "–" for timed in of]
        lines.append(f"| {query} | {' | '.join(cells)} |")
    return "\n".join(lines)


def dashboards(own: Figures) -> str:
    lines = [
        f"\n{CLIENTS} dashboard clients at once, Wattline:\n",
        "| clients | statements/s | p50 ms | p99 ms | refused |",
        "|---|---|---|---|---|",
    ]
    for what, seen in own.dashboards.items():
        p50, slow = (milliseconds(seen.quantile(share)) for share in (0.5, 0.99))
        lines.append(f"| {what} | {seen.rate:.0f} | {p50} | {slow} | {seen.refused} |")
    return "\n".join(lines)


def head(figures: list[Figures], *more: str) -> list[str]:
    names = ["query", *(f.engine.name for f in figures), *more]
    return ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]


def p99(timed: Timed) -> float:
    return timed.quantile(0.99)


def failures(figures: list[Figures]) -> list[str]:
    """Queries that an engine could not answer."""
    told = []
    for f in figures:
        for when, all_of in (("", f.warm), ("", f.variants), (" after a restart", f.restarted)):
            told += [f"{query}, {f.engine.name}{when}: {timed.error}" for query, timed in all_of.items() if timed.error]
    return told


def write_lines(path: Path, plan: Plan, figures: list[Figures], agreed: dict[str, str]) -> None:
    own, *peers = figures
    with open(path, "a", encoding="utf-8") as file:
        for f in figures:
            for phase, all_of in (("warm", f.warm), ("variant", f.variants), ("restarted", f.restarted)):
                for query, timed in all_of.items():
                    line = {
                        "workload": plan.workload.name,
                        "rows": plan.workload.rows,
                        "engine": f.engine.name,
                        "phase": phase,
                        "query": query,
                        "asks": len(timed.seconds),
                        "p50_ms": number(timed.quantile(0.5) * 1e3),
                        "p99_ms": number(timed.quantile(0.99) * 1e3),
                        "first_ms": number(timed.seconds[0] * 1e3) if timed.seconds else None,
                        "peak_bytes": timed.peak,
                        "error": timed.error or None,
                    }
                    if f is own and phase in ("warm", "restarted"):
                        theirs = [getattr(peer, phase).get(query) for peer in peers]
                        line["of_best_peer"] = number(ratio(timed, theirs)[1])
                    if f is own and phase == "warm":
                        line |= {"agrees": agreed.get(query), "answers_compared": min(CHECKED, len(timed.answers))}
                    file.write(json.dumps(line) + "\n")
        for what, seen in own.dashboards.items():
            line = {"workload": plan.workload.name, "phase": "dashboards", "what": what, "rate": number(seen.rate)}
            line |= {"refused": seen.refused, "p50_ms": number(seen.quantile(0.5) * 1e3)}
            line |= {"p99_ms": number(seen.quantile(0.99) * 1e3)}
            file.write(json.dumps(line) + "\n")


def number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
