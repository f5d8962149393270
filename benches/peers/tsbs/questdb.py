"""QuestDB: its server from Maven, run by java, asked over HTTP `/exec` on a kept connection."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

from tsbs.process import Server
from tsbs.questions import Question
from tsbs.rows import Workload
from tsbs.statements import Dialect
from tsbs.wire import Connection, body, request

VERSION = "9.3.4"
UNITS = {"minute": "1m", "ten": "10m", "hour": "1h", "day": "1d"}


class Sql(Dialect):
    def bucket(self, unit: str, column: str) -> str:
        return f"timestamp_floor('{UNITS[unit]}', {column})"

    def newest(self, table: str, key: str, columns: list[str], condition: str = "") -> str:
        where = f" WHERE {condition}" if condition else ""
        return f"SELECT {key}, {', '.join(columns)} FROM {table}{where} LATEST ON time PARTITION BY {key}"

    def flag(self, condition: str) -> str:
        # Its windows take no BOOLEAN.
        return f"CASE WHEN {condition} THEN 1.0 ELSE 0.0 END"

    def on(self, flag: str) -> str:
        return f"({flag} = 1.0)"

    def seconds(self, start: str, stop: str) -> str:
        return f"datediff('s', {start}, {stop})"


class QuestDb:
    name = "QuestDB"
    how = f"{VERSION}, HTTP `/exec`, JSON; keys and tags as SYMBOL, a partition a day"
    tolerance = 0.0
    dialect = Sql()

    def __init__(self, folder: Path, jar: Path) -> None:
        self.folder, self.jar = folder, jar
        self.data = folder / "data"
        self.data.mkdir(parents=True)

    def start(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        settings = {
            "QDB_HTTP_BIND_TO": f"127.0.0.1:{self.port}",
            "QDB_HTTP_MIN_ENABLED": "false",
            "QDB_PG_ENABLED": "false",
            "QDB_LINE_TCP_ENABLED": "false",
            "QDB_TELEMETRY_ENABLED": "false",
        }
        command = ["java", "-p", str(self.jar), "-m", "io.questdb/io.questdb.ServerMain", "-d", str(self.data)]
        self.server = Server(command, self.folder / "server.log", settings)

        def ready() -> bool:
            self.connection = Connection(self.port)
            return "dataset" in self.run("SELECT 1")

        self.server.wait_until(ready)

    def stop(self) -> None:
        self.connection.close()
        self.server.stop()

    def pid(self) -> int:
        return self.server.pid

    def load(self, workload: Workload, files: dict[str, Path]) -> None:
        imports = self.data / "import"
        tags = "tags" if workload.name == "cpu" else "trucks"
        key = workload.key
        for name, path in files.items():
            shutil.copy(path, imports / f"{name}.parquet")
        # A plain file: its reader takes no dictionaries of our making for texts.
        columns = {f.name: "SYMBOL" if pa.types.is_string(f.type) else "DOUBLE" for f in workload.tags.schema}
        parquet.write_table(workload.tags, imports / "tags.parquet", use_dictionary=False, compression="none")
        self.run(f"CREATE TABLE {tags} ({', '.join(f'{name} {kind}' for name, kind in columns.items())})")
        self.copy(tags, columns, "tags.parquet", "")
        for name, table in workload.facts.items():
            columns = {key: "SYMBOL", "time": "TIMESTAMP"} | dict.fromkeys(table.column_names[2:], "DOUBLE")
            declared = ", ".join(f"{column} {kind}" for column, kind in columns.items())
            self.run(f"CREATE TABLE {name} ({declared}) TIMESTAMP(time) PARTITION BY DAY WAL")
            self.copy(name, columns, f"{name}.parquet", " ORDER BY time")
            self.wait_for(name, table.num_rows)
        shutil.rmtree(imports)

    def copy(self, table: str, columns: dict[str, str], file: str, order: str) -> None:
        self.run(f"INSERT INTO {table} SELECT {', '.join(columns)} FROM read_parquet('{file}'){order}")

    def wait_for(self, table: str, rows: int) -> None:
        """A commit is readable once its log has been applied."""
        for _ in range(1200):
            if self.run(f"SELECT count(*) FROM {table}")["dataset"][0][0] == rows:
                return
            time.sleep(0.25)
        raise TimeoutError(f"{table} does not get its {rows} rows")

    def run(self, sql: str) -> dict:
        _, head, raw = self.connection.ask(self.request(sql))
        return json.loads(body(head, raw))

    def request(self, sql: str) -> bytes:
        return request("GET", f"/exec?query={urllib.parse.quote(sql)}&nm=false")

    def trivial(self) -> bytes:
        return self.request(self.dialect.trivial)

    def statement(self, question: Question) -> bytes:
        return self.request(self.dialect.statement(question))

    def variants(self, question: Question) -> dict[str, bytes]:
        return {}

    def ask(self, statement: bytes) -> tuple[float, tuple[bytes, bytes]]:
        seconds, head, raw = self.connection.ask(statement)
        if not head.startswith(b"http/1.1 200"):
            body(head, raw)
        return seconds, (head, raw)

    def answer(self, raw: tuple[bytes, bytes], question: Question) -> pa.Table:
        rows = json.loads(body(*raw))["dataset"]
        columns = list(zip(*rows, strict=True)) or [()] * len(question.columns)
        kinds = {"text": pa.string(), "time": pa.string()}
        arrays = [pa.array(c, kinds.get(k, pa.float64())) for c, k in zip(columns, question.columns, strict=True)]
        return pa.table(dict(zip(map(str, range(len(arrays))), arrays, strict=True)))

    def comparable(self, table: pa.Table, question: Question) -> pa.Table:
        return table


def fetch(cache: Path) -> Path:
    """The server's one jar, by Maven from the registry it is set up for; kept in `cache`."""
    jar = cache / f"questdb-{VERSION}.jar"
    if jar.exists():
        return jar
    for program in ("java", "mvn"):
        if not shutil.which(program):
            raise FileNotFoundError(f"{program} is not installed")
    found = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    release = re.search(r'version "(\d+)', found)
    if not release or int(release[1]) < 17:
        raise OSError(f"java 17 is needed: {found.splitlines()[:1]}")
    copy = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
    artifact = f"-Dartifact=org.questdb:questdb:{VERSION}"
    done = subprocess.run(
        ["mvn", "--quiet", "--batch-mode", copy, artifact, f"-DoutputDirectory={cache}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not jar.exists():
        raise OSError(f"mvn: {done.stdout.strip().splitlines()[:2]}")
    return jar
