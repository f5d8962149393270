"""Peers that are databases within this process: DuckDB and ClickHouse (as chDB)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as parquet

from fleet import Fleet, Measured, best, differences

# What may follow a column's name in ClickHouse; which is smallest is tried on a few assets, column by column.
CODECS = ["ZSTD(6)", "Delta, ZSTD(6)", "DoubleDelta, ZSTD(6)", "GCD, Delta, ZSTD(6)", "T64, ZSTD(6)"]
FLOAT_CODECS = ["ZSTD(6)", "Gorilla, ZSTD(6)", "FPC, ZSTD(6)", "ALP, ZSTD(6)", "DoubleDelta, ZSTD(6)"]
SETTINGS = {"enable_alp_codec": 1, "allow_suspicious_codecs": 1, "max_threads": 1, "session_timezone": "'UTC'"}


def measure_duckdb(fleet: Fleet, folder: Path) -> Iterator[Measured]:
    """Its own file after a checkpoint, read batch by batch as Arrow; it chooses the compression of a column itself."""
    path = folder / "rows.duckdb"
    with duckdb.connect(path) as db:
        db.execute("SET threads = 1")
        rows = fleet.table
        db.execute("CREATE TABLE t AS SELECT * FROM rows")
        db.execute("CHECKPOINT")
    with duckdb.connect(path, read_only=True) as db:
        db.execute("SET threads = 1")

        def read() -> None:
            for _ in db.sql("SELECT * FROM t").to_arrow_reader(100_000):
                pass

        back = db.sql("SELECT * FROM t ORDER BY asset, time").to_arrow_table()
        seconds = best(read)
        yield Measured(f"DuckDB {duckdb.__version__}", path.stat().st_size, seconds, differences(fleet, back))


def measure_clickhouse(fleet: Fleet, folder: Path) -> Iterator[Measured]:
    """A MergeTree of one part: as it comes, and with the codec of each column that is smallest."""
    from chdb.session import Session

    source = folder / "source.parquet"
    parquet.write_table(fleet.table, source)
    session = Session(str(folder / "clickhouse"))
    try:
        for setting, value in SETTINGS.items():
            session.query(f"SET {setting} = {value}")
        version = text(session, "SELECT version()")
        plain = dict.fromkeys(fleet.table.column_names, "Default")
        yield merge_tree(session, fleet, source, f"ClickHouse {version}, LZ4 (its default)", plain)
        chosen = smallest_codecs(session, fleet, source)
        yield merge_tree(session, fleet, source, "ClickHouse, smallest codec of each column", chosen)
    finally:
        session.close()


def merge_tree(session: Any, fleet: Fleet, source: Path, name: str, codecs: dict[str, str]) -> Measured:
    """Size, speed and rows of the fleet in a table with these codecs."""
    create(session, fleet.table.schema, "t", [(column, column, codec) for column, codec in codecs.items()])
    session.query(f"INSERT INTO t SELECT * FROM file('{source}', Parquet)")
    session.query("OPTIMIZE TABLE t FINAL")
    size = int(text(session, "SELECT sum(bytes_on_disk) FROM system.parts WHERE table = 't' AND active"))
    seconds = best(lambda: session.query("SELECT * FROM t FORMAT Null"))
    back = session.query("SELECT * FROM t ORDER BY asset, time", "ArrowStream").bytes()
    session.query("DROP TABLE t SYNC")
    return Measured(name, size, seconds, differences(fleet, pa.ipc.open_stream(back).read_all()))


def smallest_codecs(session: Any, fleet: Fleet, source: Path) -> dict[str, str]:
    """For each column the codec that makes it smallest in the first tenth of the assets."""
    columns = []
    for field in fleet.table.schema:
        codecs = FLOAT_CODECS if pa.types.is_floating(field.type) else CODECS
        columns += [(f"{field.name}_{i}", field.name, codec) for i, codec in enumerate(codecs)]
    create(session, fleet.table.schema, "trial", columns)
    wanted = ", ".join(column for _, column, _ in columns)
    assets = max(1, len(fleet.rows_by_asset) // 10)
    session.query(f"INSERT INTO trial SELECT {wanted} FROM file('{source}', Parquet) WHERE asset < {assets}")
    session.query("OPTIMIZE TABLE trial FINAL")
    query = "SELECT name, data_compressed_bytes FROM system.columns WHERE table = 'trial'"
    sizes = dict(line.split("\t") for line in text(session, query).splitlines())
    session.query("DROP TABLE trial SYNC")
    chosen = {}
    for name in fleet.table.column_names:
        tried = [column for column in columns if column[1] == name]
        chosen[name] = min(tried, key=lambda column: int(sizes[column[0]]))[2]
    return chosen


def create(session: Any, schema: pa.Schema, table: str, columns: list[tuple[str, str, str]]) -> None:
    """A table of (name, column of the schema it holds, codec), ordered by asset and time, a file a column."""
    key = [next(name for name, of, _ in columns if of == key) for key in ("asset", "time")]
    lines = ", ".join(f"{name} {clickhouse_type(schema.field(of))} CODEC({codec})" for name, of, codec in columns)
    session.query(
        f"CREATE TABLE {table} ({lines}) ENGINE = MergeTree ORDER BY ({', '.join(key)}) SETTINGS min_bytes_for_wide_part = 0"
    )


def clickhouse_type(field: pa.Field) -> str:
    if field.name == "time":
        return "DateTime64(6, 'UTC')"
    return {"int32": "Int32", "int64": "Int64", "double": "Float64"}[str(field.type)]


def text(session: Any, query: str) -> str:
    return session.query(query, "TSV").bytes().decode().strip()
