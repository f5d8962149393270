"""The rows every engine gets: TSBS' cpu-only and iot workloads, of our own making, the same for the same seed.

A workload is two tables: `tags`, a row a host or truck, and facts in the order in which they arrive. cpu-only arrives in
the order of time and whole. iot does not: rows are missing, trucks lose their line and deliver late, neighbouring rows
change places, some fields are empty, some trucks never told their fleet or driver.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

START = datetime(2026, 1, 1, tzinfo=UTC)
START_US = int(START.timestamp()) * 1_000_000
INTERVAL_US = 10_000_000
TICKS_AN_HOUR = 360

CPU_METRICS = [
    "usage_user",
    "usage_system",
    "usage_idle",
    "usage_nice",
    "usage_iowait",
    "usage_irq",
    "usage_softirq",
    "usage_steal",
    "usage_guest",
    "usage_guest_nice",
]
REGIONS = ["us-east-1", "us-west-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-1", "sa-east-1"]
READINGS = ["latitude", "longitude", "elevation", "velocity", "heading", "grade", "fuel_consumption"]
DIAGNOSTICS = ["fuel_state", "current_load", "status"]
FLEETS = ["East", "West", "North", "South"]
DRIVERS = ["Derek", "Rodney", "Albert", "Andy", "Seth", "Trish"]
# Model, load capacity (kg), fuel capacity (l), nominal consumption (l a 100 km).
TRUCKS = [("F-150", 2000.0, 200.0, 15.0), ("G-2000", 5000.0, 300.0, 19.0), ("H-2", 1500.0, 150.0, 12.0)]


@dataclass(frozen=True)
class Workload:
    """Tables of a workload. Each table of facts begins with its key (`hostname` or `name`) and `time`."""

    name: str
    key: str
    tags: pa.Table
    facts: dict[str, pa.Table]
    hours: int

    @property
    def points(self) -> int:
        return sum(sum(len(c) - c.null_count for c in table.columns[2:]) for table in self.facts.values())

    @property
    def rows(self) -> int:
        return sum(table.num_rows for table in self.facts.values())


def walk(chance: np.random.Generator, ticks: int, count: int, step: float, low: float, high: float) -> np.ndarray:
    """A clamped random walk a column, as TSBS makes its values: each step adds a normal one, the ends hold."""
    values = np.empty((ticks, count))
    state = chance.uniform(low, high, count)
    for tick in range(ticks):
        state = np.clip(state + chance.normal(0, step, count), low, high)
        values[tick] = state
    return values


def dictionary(indices: np.ndarray, names: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(indices.astype(np.int32)), pa.array(names))


def times(microseconds: np.ndarray) -> pa.Array:
    return pa.array(microseconds.astype(np.int64)).cast(pa.timestamp("us"))


def cpu(hosts: int, hours: int, metrics: int, seed: int) -> Workload:
    """Every ten seconds a row of each host; values are whole numbers from 0 to 100 in floating-point columns."""
    chance = np.random.default_rng([seed, 1])
    ticks = hours * TICKS_AN_HOUR
    names = [f"host_{i}" for i in range(hosts)]
    columns: dict[str, pa.Array] = {
        "hostname": dictionary(np.tile(np.arange(hosts), ticks), names),
        "time": times(START_US + np.repeat(np.arange(ticks), hosts) * INTERVAL_US),
    }
    for metric in CPU_METRICS[:metrics]:
        columns[metric] = pa.array(np.floor(walk(chance, ticks, hosts, 1.0, 0.0, 100.0)).reshape(-1))
    return Workload("cpu", "hostname", cpu_tags(chance, names), {"cpu": pa.table(columns)}, hours)


def cpu_tags(chance: np.random.Generator, names: list[str]) -> pa.Table:
    def pick(choices: list[str]) -> list[str]:
        return [choices[i] for i in chance.integers(0, len(choices), len(names))]

    region = pick(REGIONS)
    return pa.table(
        {
            "hostname": names,
            "region": region,
            "datacenter": [name + "abc"[i] for name, i in zip(region, chance.integers(0, 3, len(names)), strict=True)],
            "rack": [str(i) for i in chance.integers(0, 100, len(names))],
            "os": pick(["Ubuntu16.10", "Ubuntu16.04LTS", "Ubuntu15.10"]),
            "arch": pick(["x64", "x86"]),
            "team": pick(["SF", "NYC", "LON", "CHI"]),
            "service": [str(i) for i in chance.integers(0, 20, len(names))],
            "service_version": pick(["0", "1"]),
            "service_environment": pick(["production", "staging", "test"]),
        }
    )


def iot(trucks: int, hours: int, seed: int) -> Workload:
    """Readings and diagnostics every ten seconds, with what lines over land make of them."""
    chance = np.random.default_rng([seed, 2])
    ticks = hours * TICKS_AN_HOUR
    names = [f"truck_{i}" for i in range(trucks)]
    tags = truck_tags(chance, names)
    driving = stretches(chance, ticks, trucks, 90.0, 0.75)
    # A truck that is broken down stands, and says so in its status.
    broken = stretches(chance, ticks, trucks, 60.0, 0.05)
    moving = driving & ~broken
    velocity = np.where(moving, np.round(walk(chance, ticks, trucks, 2.0, 10.0, 100.0)), 0.0)
    readings = {
        "latitude": np.round(walk(chance, ticks, trucks, 0.005, -90.0, 90.0), 5),
        "longitude": np.round(walk(chance, ticks, trucks, 0.005, -180.0, 180.0), 5),
        "elevation": np.round(walk(chance, ticks, trucks, 3.0, 0.0, 5000.0)),
        "velocity": velocity,
        "heading": np.round(walk(chance, ticks, trucks, 4.0, 0.0, 359.0)),
        "grade": np.round(walk(chance, ticks, trucks, 1.0, 0.0, 100.0)),
        "fuel_consumption": np.where(moving, np.round(walk(chance, ticks, trucks, 0.5, 5.0, 50.0), 1), 0.0),
    }
    capacity = tags.column("load_capacity").to_numpy()
    diagnostics = {
        "fuel_state": np.round(walk(chance, ticks, trucks, 0.01, 0.0, 1.0), 2),
        "current_load": np.round(walk(chance, ticks, trucks, 0.002, 0.0, 1.0) * capacity),
        "status": np.where(broken, 0.0, np.floor(walk(chance, ticks, trucks, 0.2, 1.0, 5.99))),
    }
    cut = connected(chance, ticks, trucks)
    facts = {
        "readings": arrival(chance, names, readings, cut, ["elevation", "heading", "grade", "velocity"]),
        "diagnostics": arrival(chance, names, diagnostics, cut, ["status"]),
    }
    return Workload("iot", "name", tags, facts, hours)


def truck_tags(chance: np.random.Generator, names: list[str]) -> pa.Table:
    kinds = [TRUCKS[i] for i in chance.integers(0, len(TRUCKS), len(names))]

    def known(choices: list[str]) -> list[str | None]:
        """One truck in fifty never told."""
        picked = chance.integers(0, len(choices), len(names))
        absent = chance.random(len(names)) < 0.02
        return [None if gone else choices[i] for i, gone in zip(picked, absent, strict=True)]

    columns = {
        "name": names,
        "fleet": known(FLEETS),
        "driver": known(DRIVERS),
        "model": [kind[0] for kind in kinds],
        "device_version": [f"v{i}.0" for i in chance.integers(1, 4, len(names))],
        "load_capacity": [kind[1] for kind in kinds],
        "fuel_capacity": [kind[2] for kind in kinds],
        "nominal_fuel_consumption": [kind[3] for kind in kinds],
    }
    return pa.table(columns)


def stretches(chance: np.random.Generator, ticks: int, trucks: int, mean_minutes: float, share: float) -> np.ndarray:
    """On and off in stretches: on for `mean_minutes` on average, and for `share` of the time."""
    leave_on = 10.0 / (mean_minutes * 60.0)
    leave_off = leave_on * share / (1.0 - share)
    state = chance.random(trucks) < share
    states = np.empty((ticks, trucks), dtype=bool)
    for tick in range(ticks):
        dice = chance.random(trucks)
        state = np.where(state, dice >= leave_on, dice < leave_off)
        states[tick] = state
    return states


def connected(chance: np.random.Generator, ticks: int, trucks: int) -> np.ndarray:
    """The tick at which each row arrives: its own, or the end of a hole in the line (one truck in ten at a time, twenty
    minutes on average), a little shuffled among its neighbours."""
    offline = stretches(chance, ticks, trucks, 20.0, 0.1)
    arrives = np.empty((ticks, trucks))
    back = np.full(trucks, ticks, dtype=float)
    for tick in reversed(range(ticks)):
        back = np.where(offline[tick], back, tick)
        arrives[tick] = back
    return arrives + chance.uniform(0.0, 3.0, (ticks, trucks))


def arrival(
    chance: np.random.Generator, names: list[str], values: dict[str, np.ndarray], arrives: np.ndarray, patchy: list[str]
) -> pa.Table:
    """Rows in the order of their arrival, without the one in a hundred that got lost; one in fifty of the fields that
    may be empty is."""
    ticks, trucks = arrives.shape
    order = np.argsort(arrives.reshape(-1), kind="stable")
    order = order[chance.random(len(order)) >= 0.01]
    columns: dict[str, pa.Array] = {
        "name": dictionary(order % trucks, names),
        "time": times(START_US + (order // trucks) * INTERVAL_US),
    }
    for name, column in values.items():
        empty = chance.random(len(order)) < 0.02 if name in patchy else None
        columns[name] = pa.array(column.reshape(-1)[order], mask=empty)
    return pa.table(columns)
