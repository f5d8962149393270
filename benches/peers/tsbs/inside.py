"""Engines that live inside their client: DuckDB, and ClickHouse as chDB. Each has a process of its own (`Worker`)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from tsbs.process import Worker
from tsbs.questions import Question
from tsbs.rows import Workload
from tsbs.statements import Dialect


class Inside:
    """The part of such an engine that is on this side of the pipe."""

    tolerance = 0.0
    dialect: Dialect
    kind: str

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        self.worker: Worker

    def start(self) -> None:
        self.worker = Worker(__name__, self.kind, self.data)

    def stop(self) -> None:
        self.worker.stop()

    def pid(self) -> int:
        return self.worker.pid

    def load(self, workload: Workload, files: dict[str, Path]) -> None:
        metrics = {name: table.column_names[2:] for name, table in workload.facts.items()}
        self.worker.call("load", workload.name, metrics, {name: str(path) for name, path in files.items()})

    def trivial(self) -> str:
        return self.dialect.trivial

    def statement(self, question: Question) -> str:
        return self.dialect.statement(question)

    def variants(self, question: Question) -> dict[str, Any]:
        return {}

    def ask(self, statement: str) -> tuple[float, bytes]:
        return self.worker.call("ask", statement)

    def answer(self, raw: bytes, question: Question) -> pa.Table:
        return pa.ipc.open_stream(raw).read_all()

    def comparable(self, table: pa.Table, question: Question) -> pa.Table:
        return table


class DuckSql(Dialect):
    def bucket(self, unit: str, column: str) -> str:
        return f"time_bucket(INTERVAL '10 minutes', {column})" if unit == "ten" else f"date_trunc('{unit}', {column})"

    def instant(self, microseconds: int) -> str:
        return "TIMESTAMP " + super().instant(microseconds)

    def newest(self, table: str, key: str, columns: list[str], condition: str = "true") -> str:
        # Half the time of arg_max of each column, a tenth of DISTINCT ON.
        newest = f"SELECT {key}, max(time) FROM {table} WHERE {condition} GROUP BY {key}"
        return f"SELECT {key}, {', '.join(columns)} FROM {table} WHERE ({key}, time) IN ({newest})"

    def seconds(self, start: str, stop: str) -> str:
        return f"epoch({stop}) - epoch({start})"


class DuckInside:
    """The connection, in its own process. Keys are an ENUM; rows lie by key and time, so row groups are skipped by key."""

    def __init__(self, folder: Path) -> None:
        import duckdb

        self.db = duckdb.connect(folder / "tsbs.duckdb")

    def load(self, workload: str, metrics: dict[str, list[str]], files: dict[str, str]) -> None:
        key, tags = ("hostname", "tags") if workload == "cpu" else ("name", "trucks")
        self.db.execute(f"CREATE TYPE {key}_key AS ENUM (SELECT {key} FROM '{files['tags']}' ORDER BY {key})")
        self.db.execute(f"CREATE TABLE {tags} AS SELECT * REPLACE ({key}::{key}_key AS {key}) FROM '{files['tags']}'")
        for name in metrics:
            rows = f"SELECT * REPLACE ({key}::{key}_key AS {key}) FROM '{files[name]}'"
            self.db.execute(f"CREATE TABLE {name} AS {rows} ORDER BY {key}, time")
        self.db.execute("CHECKPOINT")

    def ask(self, statement: str) -> tuple[float, bytes]:
        started = time.perf_counter()
        table = self.db.sql(statement).to_arrow_table()
        return time.perf_counter() - started, serialised(table)

    def close(self) -> None:
        self.db.close()


class Duck(Inside):
    name = "DuckDB"
    dialect = DuckSql()
    kind = "DuckInside"

    @property
    def how(self) -> str:
        import duckdb

        return f"{duckdb.__version__}, in process, to Arrow; key as ENUM, rows ordered by key and time"


class ClickHouseSql(Dialect):
    def bucket(self, unit: str, column: str) -> str:
        names = {"minute": "toStartOfMinute", "ten": "toStartOfTenMinutes", "hour": "toStartOfHour"}
        # toStartOfDay keeps the type of the others; toDate would be a date.
        return f"{names.get(unit, 'toStartOfDay')}({column})"

    def newest(self, table: str, key: str, columns: list[str], condition: str = "true") -> str:
        # Read in the order of the table, backwards: faster than argMax of each column.
        newest = f"ORDER BY {key} DESC, time DESC LIMIT 1 BY {key}"
        return f"SELECT {key}, {', '.join(columns)} FROM {table} WHERE {condition} {newest}"

    def seconds(self, start: str, stop: str) -> str:
        return f"{stop} - {start}"

    def nullable(self, value: str) -> str:
        return f"toNullable({value})"


class ClickHouseInside:
    """The session, in its own process: MergeTree by key and time, DateTime as TSBS takes it, one part after the load."""

    # Of ZSTD, LZ4, Gorilla and ALP before LZ4 the one with the fastest answers, and the smallest.
    VALUE = "CODEC(ALP, LZ4)"

    def __init__(self, folder: Path) -> None:
        from chdb.session import Session

        self.session = Session(str(folder))
        # NULL where a join or a window finds nothing, as in the other engines.
        for setting in ("join_use_nulls = 1", "session_timezone = 'UTC'", "enable_alp_codec = 1"):
            self.session.query(f"SET {setting}")

    def load(self, workload: str, metrics: dict[str, list[str]], files: dict[str, str]) -> None:
        key, tags = ("hostname", "tags") if workload == "cpu" else ("name", "trucks")
        self.session.query(
            f"CREATE TABLE {tags} ENGINE = MergeTree ORDER BY {key} AS SELECT * REPLACE (assumeNotNull({key}) AS {key})"
            f" FROM file('{files['tags']}', Parquet)"
        )
        for name, columns in metrics.items():
            kind = "Float64" if workload == "cpu" else "Nullable(Float64)"
            values = ", ".join(f"{column} {kind} {self.VALUE}" for column in columns)
            self.session.query(
                f"CREATE TABLE {name} ({key} LowCardinality(String),"
                f" time DateTime('UTC') CODEC(DoubleDelta, LZ4), {values})"
                f" ENGINE = MergeTree PARTITION BY toDate(time) ORDER BY ({key}, time)"
            )
            self.session.query(f"INSERT INTO {name} SELECT * FROM file('{files[name]}', Parquet)")
            self.session.query(f"OPTIMIZE TABLE {name} FINAL")

    def ask(self, statement: str) -> tuple[float, bytes]:
        started = time.perf_counter()
        answer = self.session.query(statement, "ArrowStream").bytes()
        return time.perf_counter() - started, answer

    def close(self) -> None:
        self.session.close()


class ClickHouse(Inside):
    name = "ClickHouse"
    dialect = ClickHouseSql()
    kind = "ClickHouseInside"

    @property
    def how(self) -> str:
        from importlib.metadata import version

        schema = "MergeTree by day, ordered by key and time, DoubleDelta and ALP"
        return f"chDB {version('chdb')}, in process, to Arrow; {schema}"


def serialised(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()
