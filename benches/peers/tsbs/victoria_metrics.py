"""VictoriaMetrics: one series a host and metric, asked in MetricsQL over HTTP on a kept connection.

Its windows are counted from the range asked for, and a sample at a window's end belongs to it. So it is asked for whole
minutes and hours, a millisecond before their ends, and compared with the others' whole ones. It has no rows: what asks for
rows, for the order of groups or for joins (high-cpu, lastpoint, groupby-orderby-limit, iot) is left out, as in TSBS.
"""

from __future__ import annotations

import json
import urllib.parse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute

import victoria
from tsbs.answers import VICTORIA, column
from tsbs.process import Server
from tsbs.questions import Question
from tsbs.rows import Workload
from tsbs.wire import Connection, body, request

MILLIS = {"single-groupby-1-1-1": 60_000, "single-groupby-5-8-1": 60_000}
HOUR = 3_600_000


class VictoriaMetrics:
    name = "VictoriaMetrics"
    tolerance = VICTORIA

    def __init__(self, folder: Path, program: Path) -> None:
        self.folder, self.program = folder, program
        self.data = folder / "data"
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def how(self) -> str:
        return f"{victoria.version_of(self.program)}, HTTP `query_range`, JSON, its cache of answers off; merged"

    def start(self) -> None:
        self.port = victoria.free_port()
        command = [str(self.program), *victoria.arguments(self.port, self.data)]
        self.server = Server(command, self.folder / "server.log")
        self.server.wait_until(lambda: victoria.request(f"{self.address}/health"))
        self.connection = Connection(self.port)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.connection.close()
        self.server.stop()

    def pid(self) -> int:
        return self.server.pid

    def load(self, workload: Workload, files: dict[str, Path]) -> None:
        if workload.name != "cpu":
            raise NotImplementedError("it has no joins and no rows")
        table = workload.facts["cpu"]
        hosts = workload.tags.num_rows
        times = (table.column("time").cast(pa.int64()).to_numpy()[::hosts] // 1000).tolist()
        values = {name: table.column(name).to_numpy().reshape(-1, hosts) for name in table.column_names[2:]}
        for host, tags in enumerate(workload.tags.to_pylist()):
            lines = []
            for name, of in values.items():
                series = {"metric": tags | {"__name__": f"cpu_{name}"}, "values": of[:, host].tolist()}
                lines.append(json.dumps(series | {"timestamps": times}))
            victoria.request(f"{self.address}/api/v1/import", "\n".join(lines).encode())
        victoria.request(f"{self.address}/internal/force_flush")
        victoria.request(f"{self.address}/internal/force_merge")
        victoria.wait_for_merges(self.address)
        # It closes connections on which nothing is asked for as long as a load takes.
        self.connection.close()
        self.connection = Connection(self.port)

    def trivial(self) -> bytes:
        return request("GET", "/api/v1/query?query=1")

    def statement(self, question: Question) -> bytes | None:
        metrics = f'__name__=~"cpu_({"|".join(question.metrics)})"'
        hosts = f', hostname=~"{"|".join(question.hosts)}"' if question.hosts else ""
        step = MILLIS.get(question.query, HOUR)
        match question.query:
            case "single-groupby-1-1-1" | "single-groupby-5-8-1" | "cpu-max-all-8":
                text = f"max(max_over_time({{{metrics}{hosts}}}[{step}ms])) by (__name__)"
            case "double-groupby-1" | "double-groupby-all":
                text = f"avg(avg_over_time({{{metrics}}}[{step}ms])) by (__name__, hostname)"
            case _:
                return None
        first, end = whole(question)
        if first >= end:
            return None
        parts = {"query": text, "start": (first + step - 1) / 1000, "end": (end - 1) / 1000}
        parts |= {"step": f"{step}ms", "nocache": 1}
        return request("GET", f"/api/v1/query_range?{urllib.parse.urlencode(parts)}")

    def variants(self, question: Question) -> dict[str, bytes]:
        return {}

    def ask(self, statement: bytes) -> tuple[float, tuple[bytes, bytes]]:
        seconds, head, raw = self.connection.ask(statement)
        if not head.startswith(b"http/1.1 200"):
            body(head, raw)
        return seconds, (head, raw)

    def answer(self, raw: tuple[bytes, bytes], question: Question) -> pa.Table:
        """Its series, a row a bucket (and host), a column a metric."""
        step = MILLIS.get(question.query, HOUR)
        by_host = question.query.startswith("double")
        cells: dict[tuple[str, int], dict[str, float]] = {}
        for series in json.loads(body(*raw))["data"]["result"]:
            metric = series["metric"]
            for at, value in series["values"]:
                bucket = (round(at * 1000) + 1 - step) * 1000
                cells.setdefault((metric.get("hostname", ""), bucket), {})[metric["__name__"]] = float(value)
        columns = {"host": pa.array([host for host, _ in cells])} if by_host else {}
        columns["time"] = pa.array([bucket for _, bucket in cells], pa.int64()).cast(pa.timestamp("us"))
        for name in question.metrics:
            columns[name] = pa.array([values.get(f"cpu_{name}", np.nan) for values in cells.values()], pa.float64())
        return pa.table(columns)

    def comparable(self, table: pa.Table, question: Question) -> pa.Table:
        first, end = whole(question)
        at = column(table.column(str(question.columns.index("time"))), "same")
        return table.filter(compute.and_(compute.greater_equal(at, first * 1000), compute.less(at, end * 1000)))


def whole(question: Question) -> tuple[int, int]:
    """The whole buckets within the window, in milliseconds: from the beginning of the first to the end of the last."""
    step = MILLIS.get(question.query, HOUR)
    return -(-question.start_us // 1000 // step) * step, question.end_us // 1000 // step * step
