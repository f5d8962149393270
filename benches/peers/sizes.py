"""Bytes a point of the same rows in Wattline's segments and in its peers, and how fast they are read on one thread.

Usage: sizes.py ROWS, the folder that the `fleets` example wrote; `sizes.sh` beside this file does both.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from engines import measure_clickhouse, measure_duckdb
from files import measure_parquet, measure_vortex
from fleet import Fleet, Measured, load
from victoria import measure_victoria

Peer = Callable[[Fleet, Path], Iterator[Measured]]
PEERS: dict[str, Peer] = {
    "Parquet": measure_parquet,
    "Vortex": measure_vortex,
    "DuckDB": measure_duckdb,
    "ClickHouse": measure_clickhouse,
    "VictoriaMetrics": measure_victoria,
}
ORDER = ["cpu_integers", "cpu_decimals", "wind", "wind_scada_10min", "transformer_hourly"]


def main() -> None:
    # As an exception, so that what is running is stopped and what was written is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rows = Path(sys.argv[1])
    for name in ORDER:
        if (rows / name).exists():
            print_fleet(load(rows / name))
        else:
            print(f"\nskipped {name}: its rows were not written\n")


def print_fleet(fleet: Fleet) -> None:
    """A table of one fleet; what a peer could not do is told below it."""
    assets = len(fleet.rows_by_asset)
    print(f"\n**{fleet.name}**: {fleet.points:,} points, {fleet.table.num_rows:,} rows, assets: {assets}\n")
    print("| what | B a point | of Wattline deep | read, M points/s | rows back |")
    print("|---|---|---|---|---|")
    for measured in fleet.wattline:
        print_row(fleet, measured)
    skipped = [reason for name, peer in PEERS.items() if (reason := print_peer(fleet, name, peer))]
    for reason in skipped:
        print(f"\n{reason}", flush=True)


def print_peer(fleet: Fleet, name: str, peer: Peer) -> str:
    """Its rows, each as soon as it is known. Whatever is wrong with one peer is told and leaves the others alone."""
    with tempfile.TemporaryDirectory(prefix="wattline-peers-") as folder:
        try:
            for measured in peer(fleet, Path(folder)):
                print_row(fleet, measured)
        except Exception as error:
            return f"skipped {name}: {type(error).__name__}: {error}"
    return ""


def print_row(fleet: Fleet, measured: Measured) -> None:
    a_point = measured.bytes / fleet.points
    rate = f"{fleet.points / measured.seconds / 1e6:.0f}" if measured.seconds else "–"
    ratio = measured.bytes / fleet.deep.bytes
    print(f"| {measured.name} | {a_point:.3f} | {ratio:.2f} | {rate} | {measured.rows_back} |", flush=True)


if __name__ == "__main__":
    main()
