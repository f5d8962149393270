"""Random data and random statements, the same to Wattline and to DuckDB: the answers must be equal.

Usage: differential.py PORT SEED STATEMENTS

Rows come in order, late, twice with other values, and with fields missing, over several time partitions. After each step
(a write, a flush, a merge) STATEMENTS random statements are compared, and a few predicates `p` are checked to part
the rows into those where p holds, where it does not, and where it is unknown. Numbers are whole multiples of a power of
two, small enough for every sum to be exact in any order: answers are compared without any tolerance.

A difference prints the seed, both statements and what differs, and ends with 1.
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import duckdb

ASSETS = [f"a{i}" for i in range(8)]
POINTS = {
    "plant": {"d": "DOUBLE", "n": "LONG", "i": "INT", "f": "FLOAT", "b": "BOOL", "s": "STRING", "q": "DOUBLE"},
    "weather": {"wind": "DOUBLE", "code": "INT"},
}
DUCK_TYPES = {"LONG": "BIGINT", "INT": "INTEGER", "FLOAT": "REAL", "BOOL": "BOOLEAN", "STRING": "VARCHAR"}
TEXTS = [" ", "on", "off", "Störung", "it's", "a_b%", "ON"]
START_US = 1_767_225_600_000_000  # 2026-01-01 UTC
MINUTE_US = 60_000_000
DAYS = 24
STEPS = 6
# A merge is looked for this long; without one the test would not test what it says.
MERGE_SECONDS = 60


class Rows:
    """What must be stored: per model, asset and time the values acknowledged last, point by point."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.stored: dict[str, dict[tuple[str, int], dict]] = {model: {} for model in POINTS}

    def batch(self, model: str, step: int) -> list[dict]:
        """The next rows: each step has a time of its own, and reaches back into those before it."""
        chance, rows = self.chance, []
        for asset in chance.sample(ASSETS, 6):
            minute = step * DAYS * 1440 // STEPS + chance.randrange(200)
            for _ in range(chance.choice([3, 40, 400, 1000])):
                # Regular for a while, then a hole; sometimes finer than a minute.
                minute += 1 if chance.random() < 0.95 else chance.randrange(1, 700)
                at = START_US + minute * MINUTE_US + (chance.randrange(60_000) * 1000 if chance.random() < 0.05 else 0)
                rows.append(self.row(model, asset, at))
        old = list(self.stored[model])
        for asset, at in chance.sample(old, min(len(old), 150)):
            again = chance.random() < 0.5
            rows.append(self.row(model, asset, at if again else at - chance.randrange(1, 3 * 1440) * MINUTE_US // 2))
        if chance.random() < 0.5:
            chance.shuffle(rows)
        return [row for row in rows if len(row) > 2]

    def row(self, model: str, asset: str, at: int) -> dict:
        at = max(at, START_US)
        values: dict = {}
        sparse = self.chance.random() < 0.2
        for point, kind in POINTS[model].items():
            if self.chance.random() < (0.8 if sparse else 0.05):
                continue
            values[point] = self.value(kind)
            if point == "q" and self.chance.random() < 0.7:
                values["q_quality"] = self.chance.randrange(10)
        return {"asset_id": asset, "time": at} | values

    def value(self, kind: str) -> object:
        chance = self.chance
        match kind:
            case "DOUBLE":
                return chance.choice([0.0, 1.0, chance.randrange(-80, 80) / 8, chance.randrange(-(2**20), 2**20) / 8])
            case "FLOAT":
                return chance.randrange(-4000, 4000) / 4
            case "LONG":
                return chance.choice([0, chance.randrange(-9, 10), chance.randrange(-(2**32), 2**32)])
            case "INT":
                return chance.choice([0, 1, 2, 3, chance.randrange(-(2**20), 2**20)])
            case "BOOL":
                return chance.random() < 0.4
            case _:
                return chance.choice(TEXTS)

    def keep(self, model: str, rows: list[dict]) -> None:
        for row in rows:
            stored = self.stored[model].setdefault((row["asset_id"], row["time"]), {})
            values = {name: value for name, value in row.items() if name not in ("asset_id", "time")}
            if "q" in values:
                values.setdefault("q_quality", 0)
            stored.update(values)


class Wattline:
    def __init__(self, port: int) -> None:
        self.port = port
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def call(self, method: str, path: str, body: str = "", kind: str = "application/json") -> dict:
        self.connection.request(method, path, body.encode(), {"content-type": kind})
        answer = self.connection.getresponse()
        text = answer.read().decode()
        if answer.status >= 300:
            raise ValueError(f"{method} {path}: {answer.status} {text}")
        return json.loads(text)

    def register(self) -> None:
        for model, points in POINTS.items():
            definition = {name: {"dataType": kind, "hasQuality": name == "q"} for name, kind in points.items()}
            self.call("POST", "/api/v1/models", json.dumps({"modelId": model, "name": model, "points": definition}))
            self.call("POST", "/api/v1/products", json.dumps({"modelId": model, "productKey": model}))
            devices = [{"productKey": model, "deviceKey": a, "assetId": asset_of(model, a)} for a in ASSETS]
            self.call("POST", "/api/v1/devices", json.dumps(devices))

    def write(self, model: str, rows: list[dict]) -> None:
        lines = [row | {"asset_id": asset_of(model, row["asset_id"]), "time": iso(row["time"])} for row in rows]
        body = "\n".join(json.dumps(line) for line in lines)
        answer = self.call("POST", f"/api/v1/models/{model}/samples", body, "application/x-ndjson")
        if answer["rejected"] or answer["rows"] != len(rows):
            raise ValueError(f"not all rows were taken: {json.dumps(answer)[:300]}")

    def flush(self) -> None:
        operation = self.call("POST", "/api/v1/operations/flush")
        while operation["state"] == "running":
            time.sleep(0.02)
            operation = self.call("GET", f"/api/v1/operations/{operation['id']}")
        if operation["state"] != "finished":
            raise ValueError(f"flush: {operation}")

    def wait_for_merge(self) -> None:
        end = time.monotonic() + MERGE_SECONDS
        while self.rows("SELECT count(*) FROM system.segments WHERE level > 0") == [(0,)]:
            if time.monotonic() > end:
                raise TimeoutError("no segments were merged")
            time.sleep(0.1)

    def rows(self, sql: str) -> list[tuple]:
        answer = self.call("POST", "/sql", sql, "application/sql")
        if "error" in answer:
            raise ValueError(answer["error"])
        stamps = [column["type"].startswith(("timestamp", "Timestamp")) for column in answer["columns"]]
        return [tuple(micros(v) if at and v else v for v, at in zip(row, stamps, strict=True)) for row in answer["rows"]]


class Duck:
    def __init__(self) -> None:
        self.db = duckdb.connect()
        self.db.execute("SET TimeZone = 'UTC'")

    def take(self, rows: Rows, folder: Path) -> None:
        """Everything anew: what is stored is decided by `Rows`, not by DuckDB."""
        for model, stored in rows.stored.items():
            path = folder / f"{model}.json"
            lines = [values | {"asset_id": asset_of(model, asset), "us": at} for (asset, at), values in stored.items()]
            path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
            types = {"asset_id": "VARCHAR", "us": "BIGINT"}
            for name, kind in POINTS[model].items():
                types[name] = DUCK_TYPES.get(kind, kind)
                types |= {"q_quality": "UTINYINT"} if name == "q" else {}
            self.db.execute(
                f"CREATE OR REPLACE TABLE {model} AS SELECT asset_id, make_timestamp(us) AS time, * EXCLUDE (asset_id, us)"
                f" FROM read_json('{path}', format = 'newline_delimited', columns = {types})"
            )
            # arg_max passes over NULL, so each is the newest value there is.
            newest = ", ".join(f"arg_max({name}, time) AS {name}" for name in types if name not in ("asset_id", "us"))
            self.db.execute(
                f"CREATE OR REPLACE TABLE latest_{model} AS"
                f" SELECT asset_id, max(time) AS time, {newest} FROM {model} GROUP BY asset_id"
            )

    def rows(self, sql: str) -> list[tuple]:
        return [tuple(plain(value) for value in row) for row in self.db.execute(sql).fetchall()]


class Statements:
    """Random statements. The same seed gives the same statement in both dialects."""

    def __init__(self, seed: str, duck: bool) -> None:
        self.chance = random.Random(seed)
        self.duck = duck

    def statement(self) -> tuple[str, bool]:
        """The text, and whether its rows come in an order."""
        kinds = [self.plain_rows, self.whole, self.whole, self.grouped, self.grouped, self.grouped, self.top]
        return self.chance.choice([*kinds, self.joined, self.joined_buckets, self.newest, self.nested])()

    def plain_rows(self) -> tuple[str, bool]:
        columns = self.chance.sample(["d", "n", "i", "f", "b", "s", "q", "q_quality", "d * 2 - i", "n % 7"], 3)
        text = f"SELECT asset_id, time, {', '.join(columns)} FROM plant WHERE {self.predicate()}"
        if self.chance.random() < 0.5:
            down = self.chance.choice(["", " DESC"])
            return f"{text} ORDER BY asset_id{down}, time{down} LIMIT {self.chance.choice([1, 10, 500])}", True
        return text, False

    def whole(self) -> tuple[str, bool]:
        where = "" if self.chance.random() < 0.2 else f" WHERE {self.predicate()}"
        return f"SELECT {self.aggregates(4)} FROM plant{where}", False

    def grouped(self) -> tuple[str, bool]:
        bucket = self.bucket()
        keys = self.chance.choice([["asset_id"], [bucket], ["asset_id", bucket], [bucket, "b"], ["s"]])
        named = ", ".join(f"{key} AS k{i}" for i, key in enumerate(keys))
        where = self.chance.choice(["", f" WHERE {self.time_range()}", f" WHERE {self.predicate()}"])
        having = self.chance.choice(["", "", " HAVING count(*) > 3", " HAVING max(d) > 1"])
        extra = ""
        if keys[0] == "asset_id" and self.chance.random() < 0.5:
            # Of one asset no two rows have the same time, so first and last are certain.
            first, last = ("first", "last") if self.duck else ("first_value", "last_value")
            extra = self.chance.choice([f", {first}(d ORDER BY time)", f", {last}(n ORDER BY time)"])
            extra += self.chance.choice(["", f", {last}(b ORDER BY time)"])
        groups = ", ".join(keys)
        return f"SELECT {named}, {self.aggregates(3)}{extra} FROM plant{where} GROUP BY {groups}{having}", False

    def top(self) -> tuple[str, bool]:
        bucket, down = self.bucket(), self.chance.choice(["", " DESC"])
        return (
            f"SELECT {bucket} AS k, {self.aggregates(2)} FROM plant WHERE {self.time_range()}"
            f" GROUP BY {bucket} ORDER BY k{down} LIMIT {self.chance.choice([1, 5, 50])}"
        ), True

    def joined(self) -> tuple[str, bool]:
        kind = self.chance.choice(["JOIN", "LEFT JOIN", "FULL JOIN"])
        on = "substr(p.asset_id, 2) = substr(w.asset_id, 2) AND p.time = w.time"
        return (
            f"SELECT count(*), sum(p.n), sum(w.wind), min(w.code), max(p.d), count(p.d), count(w.wind)"
            f" FROM (SELECT * FROM plant WHERE {self.predicate()}) p {kind}"
            f" (SELECT * FROM weather WHERE {self.time_range()}) w ON {on}"
        ), False

    def joined_buckets(self) -> tuple[str, bool]:
        bucket = self.bucket()
        plant = f"SELECT {bucket} AS k, max(d) AS a FROM plant WHERE {self.predicate()} GROUP BY {bucket}"
        weather = f"SELECT {bucket} AS k, avg(wind) AS a FROM weather GROUP BY {bucket}"
        return f"SELECT p.k, p.a, w.a FROM ({plant}) p LEFT JOIN ({weather}) w ON w.k = p.k", False

    def newest(self) -> tuple[str, bool]:
        table = "latest_plant" if self.duck else "latest.plant"
        columns = ", ".join(self.chance.sample(["d", "n", "i", "f", "b", "s", "q"], 3))
        where = self.chance.choice(["", f" WHERE {self.value_test()}"])
        return f"SELECT asset_id, time, {columns} FROM {table}{where}", False

    def nested(self) -> tuple[str, bool]:
        bucket = self.bucket()
        return (
            f"SELECT a, count(*), max(m), sum(c) FROM (SELECT asset_id AS a, {bucket} AS k, max(n) AS m, count(d) AS c"
            f" FROM plant WHERE {self.predicate()} GROUP BY asset_id, {bucket}) x WHERE m IS NOT NULL GROUP BY a"
        ), False

    def aggregates(self, count: int) -> str:
        numbers = ["d", "n", "i", "f", "q"]
        choices = ["count(*)", "count(DISTINCT i)", "min(time)", "max(time)", "min(s)", "max(s)", "count(s)", "count(b)"]
        choices += [f"{name}({point})" for name in ("count", "min", "max", "sum", "avg") for point in numbers]
        choices += ["sum(d + n)", "max(q_quality)", "sum(CASE WHEN b THEN 1 ELSE 0 END)"]
        choices += [f"count(d) FILTER (WHERE {self.value_test()})"]
        return ", ".join(self.chance.sample(choices, count))

    def bucket(self) -> str:
        minutes = self.chance.choice([1, 5, 15, 60, 7 * 60, 1440, "minute", "hour", "day"])
        if isinstance(minutes, str):
            return f"date_trunc('{minutes}', time)"
        if self.duck:
            return f"time_bucket(INTERVAL '{minutes} minutes', time, TIMESTAMP '1970-01-01')"
        return f"date_bin(interval '{minutes} minutes', time)"

    def instant(self) -> str:
        """Round ones too, since those meet the bounds of buckets and partitions."""
        minute = self.chance.randrange(-60, DAYS * 1440)
        step = self.chance.choice([1, 60, 1440])
        at = START_US + minute // step * step * MINUTE_US
        return f"'{datetime.fromtimestamp(at / 1e6, UTC):%Y-%m-%dT%H:%M:%S}'"

    def time_range(self) -> str:
        a, b = sorted([self.instant(), self.instant()])
        forms = [f"time >= {a} AND time < {b}", f"time > {a} AND time <= {b}", f"time BETWEEN {a} AND {b}"]
        return self.chance.choice([*forms, f"time >= {a}", f"time < {b}", f"NOT (time < {a} OR time >= {b})"])

    def value_test(self) -> str:
        chance = self.chance
        number = chance.choice(["d", "n", "i", "f", "q"])
        bound = chance.choice(["0", "1", str(chance.randrange(-9, 10)), str(chance.randrange(-(2**17), 2**17))])
        tests = [f"{number} {chance.choice(['<', '<=', '>', '>=', '=', '<>'])} {bound}"] * 4
        tests += [f"{number} BETWEEN -2 AND {bound}", f"{number} IN (0, 1, {bound})", f"{number} IS NULL"]
        tests += [f"{number} IS NOT NULL", "b", "NOT b", "b IS NULL", "s = 'off'", "s <> ' '", "s LIKE 'o%'", "s IS NULL"]
        return chance.choice([*tests, "s IN ('on', 'it''s')", "i % 3 = 0", "d > i", "q_quality >= 5", "coalesce(n, i) > 0"])

    def asset_test(self) -> str:
        names = ", ".join(f"'plant_{a}'" for a in self.chance.sample([*ASSETS, "nobody"], 3))
        one = f"'plant_{self.chance.choice(ASSETS)}'"
        forms = [f"asset_id = {one}", f"asset_id IN ({names})", f"asset_id <> {one}", f"asset_id NOT IN ({names})"]
        return self.chance.choice([*forms, f"asset_id > {one}", "asset_id LIKE 'plant_a%'"])

    def predicate(self, depth: int = 0) -> str:
        roll = self.chance.random()
        if depth < 3 and roll < 0.5:
            parts = [self.predicate(depth + 1) for _ in range(self.chance.choice([2, 2, 3]))]
            return "(" + self.chance.choice([" AND ", " AND ", " OR "]).join(parts) + ")"
        if depth < 3 and roll < 0.6:
            return f"NOT ({self.predicate(depth + 1)})"
        return self.chance.choice([self.time_range, self.asset_test, self.value_test, self.value_test])()


def asset_of(model: str, asset: str) -> str:
    """Asset ids are of one model; the names sort alike."""
    return f"{model}_{asset}"


def iso(at: int) -> str:
    return datetime.fromtimestamp(at // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at % 1_000_000:06}Z"


def micros(text: str) -> int:
    at = datetime.fromisoformat(text)
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1e6)


def plain(value: object) -> object:
    if isinstance(value, datetime):
        return micros(value.isoformat())
    return value


def canonical(rows: list[tuple], ordered: bool) -> list[tuple]:
    # None has no order of its own; a column is of one type.
    return rows if ordered else sorted(rows, key=lambda row: [(v is None, 0 if v is None else v) for v in row])


def compare(wattline: Wattline, duck: Duck, seed: str) -> None:
    ours, ordered = Statements(seed, duck=False).statement()
    theirs, _ = Statements(seed, duck=True).statement()
    got, want = canonical(wattline.rows(ours), ordered), canonical(duck.rows(theirs), ordered)
    if got != want:
        fail(seed, f"{ours}\n\nDuckDB: {theirs}", want, got)


def check_partition(wattline: Wattline, seed: str) -> None:
    """p, not p, and p unknown part the rows, whatever p is; and their aggregates add up."""
    generator = Statements(seed, duck=False)
    p = generator.predicate()
    parts = [p, f"NOT ({p})", f"({p}) IS NULL"]
    rows = "SELECT asset_id, time, d, s FROM plant"
    whole = Counter(wattline.rows(rows))
    united = sum((Counter(wattline.rows(f"{rows} WHERE {part}")) for part in parts), Counter())
    if whole != united:
        fail(seed, f"{rows} WHERE {p}", sorted(map(repr, whole - united)), sorted(map(repr, united - whole)))
    numbers = "SELECT count(*), count(d), sum(n), sum(d), min(d), max(n), min(time) FROM plant"
    folds = [total, total, total, total, least, most, least]
    whole_numbers = wattline.rows(numbers)[0]
    by_part = [wattline.rows(f"{numbers} WHERE {part}")[0] for part in parts]
    added = tuple(fold([row[i] for row in by_part if row[i] is not None]) for i, fold in enumerate(folds))
    if added != whole_numbers:
        fail(seed, f"{numbers} WHERE {p}", whole_numbers, added)


def total(values: list) -> object:
    return sum(values) if values else None


def least(values: list) -> object:
    return min(values, default=None)


def most(values: list) -> object:
    return max(values, default=None)


def fail(seed: str, statement: str, want: object, got: object) -> None:
    want_text, got_text = (repr(v) if len(repr(v)) < 2000 else repr(v)[:2000] + " …" for v in (want, got))
    print(f"seed {seed}\n\n{statement}\n\nwanted {want_text}\n\ngot    {got_text}", file=sys.stderr)
    sys.exit(1)


def main() -> None:
    port, seed, statements = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    wattline, duck, rows = Wattline(port), Duck(), Rows(random.Random(f"{seed} rows"))
    wattline.register()
    done = 0
    with tempfile.TemporaryDirectory() as folder:

        def check(state: str) -> None:
            nonlocal done
            for i in range(statements):
                one = f"{seed} {state} {i}"
                try:
                    compare(wattline, duck, one)
                    if i % 5 == 0:
                        check_partition(wattline, one)
                except (ValueError, duckdb.Error) as error:
                    texts = [Statements(one, duck=d).statement()[0] for d in (False, True)]
                    fail(one, "\n\nDuckDB: ".join(texts), "an answer of both", error)
                done += 1

        for step in range(STEPS):
            for model in POINTS:
                batch = rows.batch(model, step)
                wattline.write(model, batch)
                rows.keep(model, batch)
            duck.take(rows, Path(folder))
            check(f"written {step}")
            wattline.flush()
            check(f"flushed {step}")
        wattline.wait_for_merge()
        check("merged")
    print(json.dumps({"statements": done, "rows": {model: len(stored) for model, stored in rows.stored.items()}}))


main()
