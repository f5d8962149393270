"""Peers that are files: Parquet and Vortex. A read is to Arrow in memory, from the page cache, on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

from fleet import Fleet, Measured, best, differences


def measure_parquet(fleet: Fleet, folder: Path) -> Iterator[Measured]:
    """What people have (the defaults), and the two ways that make it smaller."""
    pa.set_cpu_count(1)
    for name, options in parquet_options(fleet.table).items():
        path = folder / "rows.parquet"
        parquet.write_table(fleet.table, path, **options)

        def read() -> pa.Table:
            return parquet.read_table(path, use_threads=False)

        yield Measured(name, path.stat().st_size, best(read), differences(fleet, read()))


def parquet_options(table: pa.Table) -> dict[str, dict]:
    """Level 9 of zstd, since Wattline's merges too spend time on size; splitting bytes helps floats, deltas integers."""
    split = {"time": "DELTA_BINARY_PACKED", "asset": "DELTA_BINARY_PACKED"}
    for field in table.schema:
        if field.name not in split:
            is_float = pa.types.is_floating(field.type)
            split[field.name] = "BYTE_STREAM_SPLIT" if is_float else "DELTA_BINARY_PACKED"
    zstd = {"compression": "zstd", "compression_level": 9}
    return {
        f"Parquet {pa.__version__}: dictionary + snappy (its defaults)": {},
        "Parquet: dictionary + zstd 9": zstd,
        "Parquet: byte stream split (ints: delta) + zstd 9": zstd | {"use_dictionary": False, "column_encoding": split},
    }


def measure_vortex(fleet: Fleet, folder: Path) -> Iterator[Measured]:
    """Both of its presets."""
    import vortex

    vortex.set_worker_threads(1)
    options = vortex.io.VortexWriteOptions
    for preset, writer in {"default": options.default(), "compact": options.compact()}.items():
        path = folder / f"{preset}.vortex"
        writer.write(vortex.array(fleet.table), str(path))

        def batches() -> pa.RecordBatchReader:
            return vortex.open(str(path), without_segment_cache=True).to_arrow()

        def read() -> None:
            for _ in batches():
                pass

        name = f"Vortex {vortex.__version__}, {preset}"
        yield Measured(name, path.stat().st_size, best(read), differences(fleet, batches().read_all()))
