"""The rows that every peer gets, as the `fleets` example of the format wrote them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Measured:
    """What a peer takes for the rows of a fleet, and how fast it reads all of them on one thread."""

    name: str
    bytes: int
    seconds: float | None
    rows_back: str


@dataclass(frozen=True)
class Fleet:
    """Rows ordered by asset and time: `asset`, `time`, and the columns `p0`, `p1`, …"""

    name: str
    table: pa.Table
    rows_by_asset: list[int]
    wattline: list[Measured]

    @property
    def points(self) -> int:
        """Values, as Wattline counts them: times and assets are overhead."""
        return self.table.num_rows * len(self.value_columns)

    @property
    def value_columns(self) -> list[str]:
        return self.table.column_names[2:]

    @property
    def deep(self) -> Measured:
        """What the others are compared with."""
        return next(m for m in self.wattline if m.name == "Wattline deep")


def load(folder: Path) -> Fleet:
    """Reads what the example wrote; `storage/format/examples/rows/mod.rs` tells the layout."""
    about = json.loads((folder / "about.json").read_text())
    counts = about["rows_by_asset"]
    columns: dict[str, pa.Array] = {
        "asset": pa.array(np.repeat(np.arange(len(counts), dtype=np.int32), counts)),
        "time": pa.array(np.fromfile(folder / "times", "<i8")).cast(pa.timestamp("us")),
    }
    for i, kind in enumerate(about["types"]):
        columns[f"p{i}"] = pa.array(np.fromfile(folder / str(i), np.dtype(kind).newbyteorder("<")))
    wattline = [of_wattline(figures) for figures in about["wattline"]]
    return Fleet(about["name"], pa.table(columns), counts, wattline)


def of_wattline(figures: dict) -> Measured:
    name = f"Wattline {figures['depth'].lower()}"
    if figures["partitions"] != "one":
        name += f", partitions of {figures['partitions']}"
    # The example itself stops where the checksum of what it read is another than that of what it wrote.
    return Measured(name, figures["bytes"], figures["decode_seconds"], "checksum")


def differences(fleet: Fleet, back: pa.Table) -> str:
    """Says that the rows that came back are the same to the bit, or raises: a size without its rows tells nothing."""
    if back.num_rows != fleet.table.num_rows:
        raise AssertionError(f"{back.num_rows} rows came back of {fleet.table.num_rows}")
    for name in fleet.table.column_names:
        want, got = (bits(table.column(name)) for table in (fleet.table, back))
        if not np.array_equal(want, got):
            raise AssertionError(f"{name}: {np.count_nonzero(want != got)} values differ")
    return "exact"


def bits(column: pa.ChunkedArray) -> np.ndarray:
    """Floats by their bits, so that -0.0 is not taken for 0.0; all others as 64-bit integers."""
    values = column.to_numpy()
    if values.dtype == np.float64:
        return values.view(np.int64)
    if values.dtype.kind == "M":
        return values.astype("datetime64[us]").view(np.int64)
    return values.astype(np.int64)


def best(read: Callable[[], object]) -> float:
    """Seconds on a core, of all threads together, of the fastest of several goes: a busy machine's other users and a
    peer's own helper threads would make a wall clock tell something else than the work of one core."""
    fastest, spent, goes = float("inf"), 0.0, 0
    while goes < 5 or (spent < 0.3 and goes < 50):
        started = time.process_time()
        read()
        took = time.process_time() - started
        fastest, spent, goes = min(fastest, took), spent + took, goes + 1
    return fastest
