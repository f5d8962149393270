"""Wattline: `wattline serve`, asked over HTTP on a kept connection, answers as Arrow.

A host or truck is an asset. cpu is a model with a point a metric. A truck is one model with the points of readings and
diagnostics, and what TSBS calls tags (fleet, driver, capacities) are points that it sends once, when it is registered:
they are typed, and `latest.truck` has them beside the newest values. (`assets` has tags too, as JSON text.)
"""

from __future__ import annotations

import http.client
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa

from tsbs.process import Server
from tsbs.questions import Question
from tsbs.rows import DIAGNOSTICS, READINGS, START_US, Workload
from tsbs.statements import MINUTES, Dialect
from tsbs.wire import Connection, body, request

ARROW = "application/vnd.apache.arrow.stream"
ROWS_A_BATCH = 50_000
BATCHES_A_REQUEST = 8
# The peers take what they find; the default of 1 GiB is for a machine that does other things too.
MEMORY = "4GiB"


class Sql(Dialect):
    host = truck = "asset_id"
    readings = diagnostics = "truck"
    trucks = "latest.truck"

    def bucket(self, unit: str, column: str) -> str:
        return f"date_bin(interval '{MINUTES[unit]} minutes', {column})"

    def newest(self, table: str, key: str, columns: list[str], condition: str = "true") -> str:
        return f"SELECT {key}, {', '.join(columns)} FROM latest.{table}"

    def newest_of_fleet(self, q: Question, table: str, columns: list[str], condition: str = "") -> str:
        # One row has it all; the names of the joined tables go.
        shown = condition.replace(" WHERE ", " AND ").replace("r.", "").replace("t.", "")
        return f"SELECT asset_id, driver, {', '.join(columns)} FROM latest.truck WHERE fleet = '{q.fleet}'{shown}"

    def high_load(self, q: Question) -> str:
        columns = ["current_load", "load_capacity"]
        return self.newest_of_fleet(q, self.diagnostics, columns, " WHERE current_load / load_capacity > 0.9")

    def seconds(self, start: str, stop: str) -> str:
        return f"date_part('epoch', {stop}) - date_part('epoch', {start})"


class Wattline:
    name = "Wattline"
    tolerance = 0.0
    dialect = Sql()

    def __init__(self, folder: Path, program: str) -> None:
        self.folder, self.program = folder, program
        self.data = folder / "data"
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def how(self) -> str:
        return f"HTTP `POST /sql`, Arrow; memory_budget {MEMORY}; flushed, compacted"

    def start(self) -> None:
        log = self.folder / "server.log"
        log.unlink(missing_ok=True)
        command = [self.program, "serve", "--data-dir", str(self.data), "--memory-budget", MEMORY]
        # A hundred dashboards ask at the same time.
        command += ["--http", "127.0.0.1:0", "--mqtt", "off", "--set", "sql.concurrency_max=128"]
        self.server = Server(command, log)

        def ready() -> re.Match[str] | None:
            return re.search(r"^listening http http://127.0.0.1:(\d+)$.*^ready", log.read_text(), re.M | re.S)

        self.port = int(self.server.wait_until(ready)[1])
        self.connection = Connection(self.port)

    def stop(self) -> None:
        self.connection.close()
        self.server.stop()

    def pid(self) -> int:
        return self.server.pid

    def load(self, workload: Workload, files: dict[str, Path]) -> None:
        if workload.name == "cpu":
            points = {name: "DOUBLE" for name in workload.facts["cpu"].column_names[2:]}
            self.register("cpu", workload, points)
            self.send("cpu", workload.facts["cpu"].rename_columns({"hostname": "asset_id"}))
        else:
            told = {f.name: "STRING" if pa.types.is_string(f.type) else "DOUBLE" for f in list(workload.tags.schema)[1:]}
            self.register("truck", workload, dict.fromkeys([*READINGS, *DIAGNOSTICS], "DOUBLE") | told)
            started = pa.array([START_US] * workload.tags.num_rows).cast(pa.timestamp("us"))
            self.send("truck", workload.tags.rename_columns({"name": "asset_id"}).add_column(1, "time", started))
            for table in workload.facts.values():
                self.send("truck", table.rename_columns({"name": "asset_id"}))
        self.settle()
        # The server closes connections on which nothing is asked for as long as a load takes.
        self.connection.close()
        self.connection = Connection(self.port)

    def register(self, model: str, workload: Workload, points: dict[str, str]) -> None:
        definition = {name: {"dataType": kind} for name, kind in points.items()}
        self.post("/api/v1/models", {"modelId": model, "name": model, "points": definition})
        self.post("/api/v1/products", {"modelId": model, "productKey": model, "productName": model})
        devices = []
        for row in workload.tags.to_pylist():
            asset = row.pop(workload.key)
            tags = {name: str(value) for name, value in row.items() if value is not None}
            devices.append({"productKey": model, "deviceKey": asset, "assetId": asset, "deviceName": asset, "tags": tags})
        self.post("/api/v1/devices", devices)

    def post(self, path: str, document: Any) -> Any:
        return self.call("POST", path, json.dumps(document).encode(), "application/json")

    def call(self, method: str, path: str, content: bytes = b"", kind: str = "text/plain") -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        try:
            connection.request(method, path, content, {"content-type": kind})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 300:
                raise OSError(f"{method} {path}: status {answer.status}: {text[:500].decode(errors='replace')}")
            return json.loads(text)
        finally:
            connection.close()

    def send(self, model: str, table: pa.Table) -> None:
        """Two requests at a time, in the order of arrival."""

        def part(start: int) -> None:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table.slice(start, ROWS_A_BATCH * BATCHES_A_REQUEST).unify_dictionaries(), ROWS_A_BATCH)
            answer = self.call("POST", f"/api/v1/models/{model}/samples", sink.getvalue().to_pybytes(), ARROW)
            if answer["rejected"]:
                raise ValueError(f"{answer['rejected']} rows were refused, first {answer['rejects'][:1]}")

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(part, range(0, table.num_rows, ROWS_A_BATCH * BATCHES_A_REQUEST)))

    def settle(self) -> None:
        """Everything in segments, and nothing left to merge."""
        for kind in ("flush", "compact"):
            operation = self.call("POST", f"/api/v1/operations/{kind}")
            while operation["state"] == "running":
                time.sleep(0.1)
                operation = self.call("GET", f"/api/v1/operations/{operation['id']}")
            if operation["state"] != "finished":
                raise OSError(f"the {kind} {operation['state']}: {operation['error']}")

    def rows(self, sql: str) -> list[list[Any]]:
        return self.call("POST", "/sql", sql.encode(), "application/sql")["rows"]

    def trivial(self) -> bytes:
        return self.request(self.dialect.trivial)

    def request(self, sql: str) -> bytes:
        return request("POST", "/sql", sql.encode(), content_type="application/sql", accept=ARROW)

    def statement(self, question: Question) -> bytes:
        return self.request(self.dialect.statement(question))

    def variants(self, question: Question) -> dict[str, bytes]:
        if question.query != "lastpoint":
            return {}
        columns = ", ".join(["asset_id", "time", *question.metrics])
        values = ", ".join(f"last_value({name} ORDER BY time) AS {name}" for name in question.metrics)
        texts = {
            "DISTINCT ON": f"SELECT DISTINCT ON (asset_id) {columns} FROM cpu ORDER BY asset_id, time DESC",
            "last_value": f"SELECT asset_id, max(time) AS time, {values} FROM cpu GROUP BY asset_id",
        }
        return {name: self.request(text) for name, text in texts.items()}

    def ask(self, statement: bytes) -> tuple[float, tuple[bytes, bytes]]:
        seconds, head, raw = self.connection.ask(statement)
        if not head.startswith(b"http/1.1 200"):
            body(head, raw)
        return seconds, (head, raw)

    def answer(self, raw: tuple[bytes, bytes], question: Question) -> pa.Table:
        return pa.ipc.open_stream(body(*raw)).read_all()

    def comparable(self, table: pa.Table, question: Question) -> pa.Table:
        return table
