"""The same accounts over the data service, the PostgreSQL wire, Flight SQL and HTTP: what each may do.

Usage: grants.py HTTP PG FLIGHT ACCOUNTS, addresses as HOST:PORT, ACCOUNTS a JSON object of names to
{"password": …, "key": …, "secret": …}.
Prints a line for each cell: WIRE ACCOUNT ACT OUTCOME.
"""

import base64
import hashlib
import json
import sys
import time
import urllib.error
import urllib.request

import adbc_driver_flightsql.dbapi as dbapi
import psycopg
import pyarrow as pa

http, pg, flight_address, accounts = sys.argv[1:5]
accounts = json.loads(accounts)

# Writes touch p1 of long ago, so that what is read of p0 stays as it is.
STATEMENTS = {
    "read": "SELECT count(p0) FROM machine",
    "buckets": "SELECT count(*) FROM (SELECT asset_id, time_bucket('1 hour', time) AS t, sum(p0) AS s FROM machine "
    "WHERE time > '2020-01-01' GROUP BY asset_id, t) AS b",
    "latest": "SELECT count(p0) FROM latest.machine",
    "assets": "SELECT count(*) FROM assets",
    "insert A": "INSERT INTO machine (asset_id, time, p1) VALUES ('A', '2001-01-01', 1)",
    "insert B": "INSERT INTO machine (asset_id, time, p1) VALUES ('B', '2001-01-01', 1)",
    "insert A B": "INSERT INTO machine (asset_id, time, p1) VALUES ('A', '2001-01-01', 1), ('B', '2001-01-01', 1)",
    "delete A": "DELETE FROM machine WHERE asset_id = 'A' AND time < '2001-01-02'",
    "delete B": "DELETE FROM machine WHERE asset_id = 'B' AND time < '2001-01-02'",
    "delete": "DELETE FROM machine WHERE time < '2001-01-02'",
    "alter": "ALTER TABLE machine ADD COLUMN IF NOT EXISTS p0 DOUBLE",
    "create": "CREATE TABLE IF NOT EXISTS extra (asset_id TEXT, time TIMESTAMP WITH TIME ZONE, v DOUBLE)",
    "store": "SELECT count(*) >= 0 FROM system.segments",
    "audit": "SELECT count(*) >= 0 FROM system.audit",
}


def outcome(error):
    text = str(error)
    for part, word in [
        ("permission denied", "denied"),
        ("there is no table", "missing"),
        ("does not exist", "missing"),
    ]:
        if part in text:
            return word
    return f"failed: {text!r}"


def tell(wire, account, act, run):
    try:
        said = run()
    except Exception as error:  # noqa: BLE001 - each client has its own
        said = outcome(error)
    print(f"{wire}\t{account}\t{act}\t{said}")


def over_pg(name, account):
    host, port = pg.rsplit(":", 1)
    with psycopg.connect(host=host, port=port, user=name, password=account["password"], autocommit=True) as connection:

        def run(sql):
            cursor = connection.execute(sql)
            return cursor.fetchone()[0] if cursor.description else "ok"

        def copy(*assets):
            with connection.cursor() as cursor, cursor.copy("COPY machine (asset_id, time, p1) FROM STDIN") as rows:
                for asset in assets:
                    rows.write_row((asset, "2001-01-01 00:00:00+00", 1.0))
            return "ok"

        for act, sql in STATEMENTS.items():
            tell("pg", name, act, lambda: run(sql))
        tell("pg", name, "bulk A", lambda: copy("A"))
        tell("pg", name, "bulk A B", lambda: copy("A", "B"))
        # Prepared on the server, described before it is run.
        counted = "SELECT count(p0) FROM machine WHERE asset_id = ANY(%s)"
        tell("pg", name, "prepared", lambda: connection.execute(counted, (["A", "B"],), prepare=True).fetchone()[0])


def over_flight(name, account):
    login = {"username": name, "password": account["password"]}
    with dbapi.connect(f"grpc://{flight_address}", db_kwargs=login, autocommit=True) as connection:

        def run(sql):
            with connection.cursor() as cursor:
                cursor.execute(sql)
                rows = cursor.fetchall() if cursor.description else []
                return rows[0][0] if rows else "ok"

        def ingest(*assets):
            at = pa.array([978_307_200_000_000] * len(assets), pa.timestamp("us", tz="UTC"))
            rows = pa.table({"asset_id": list(assets), "time": at, "p1": [1.0] * len(assets)})
            with connection.cursor() as cursor:
                cursor.adbc_ingest("machine", rows, mode="append")
            return "ok"

        for act, sql in STATEMENTS.items():
            tell("flight", name, act, lambda: run(sql))
        tell("flight", name, "bulk A", lambda: ingest("A"))
        tell("flight", name, "bulk A B", lambda: ingest("A", "B"))
        listed = connection.adbc_get_objects(depth="tables").read_all().to_pylist()
        tables = [t["table_name"] for c in listed for s in c["catalog_db_schemas"] for t in s["db_schema_tables"]]
        tell("flight", name, "listed", lambda: tables.count("machine"))


def ask(path, body, headers):
    request = urllib.request.Request(f"http://{http}{path}", data=body.encode(), headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{error.code} {error.read().decode()}") from None


def over_http(name, account):
    basic = base64.b64encode(f"{name}:{account['password']}".encode()).decode()
    headers = {"authorization": f"Basic {basic}", "content-type": "application/sql", "accept": "application/json"}

    def run(sql):
        answer = ask("/sql", sql, headers)
        return next(iter(answer["rows"][0])) if "rows" in answer else "ok"

    for act, sql in STATEMENTS.items():
        tell("http", name, act, lambda: run(sql))


def over_rest(name, account):
    now = str(int(time.time() * 1000))
    encryption = hashlib.sha256((account["key"] + now + account["secret"]).encode()).hexdigest()
    body = json.dumps({"appKey": account["key"], "timestamp": int(now), "encryption": encryption})
    token = ask("/apim-token-service/v2.0/token/get", body, {"content-type": "application/json"})
    headers = {
        "authorization": f"Bearer {token['data']['accessToken']}",
        "content-type": "application/json;charset=UTF-8",
    }

    def call(operation, **body):
        join = "&" if "?" in operation else "?"
        return ask(f"/tsdb-service/v2.1/{operation}{join}orgId=default", json.dumps(body), headers)

    def told(answer):
        if answer["code"] == 80401:
            return "denied"
        if answer["code"] != 0:
            return f"failed: {answer}"
        items = (answer["data"] or {}).get("items", [])
        found = "".join(sorted({item["assetId"] for item in items}))
        refused = (answer["submsg"] or "").removeprefix("no permission for the following assets: ")
        return f"{found} without {refused}" if refused else found or "ok"

    span = {"startTime": "2024-01-01T00:00:00Z", "endTime": "2024-01-03T00:00:00Z"}
    old = {"startTime": 978_307_200_000, "endTime": 978_393_600_000, "modelId": "machine"}
    both = {"assetIds": "A,B", "pointIds": "p0"}
    for act, answer in {
        "latest": lambda: call("latest", **both),
        "raw": lambda: call("raw", **both, **span),
        "raw B": lambda: call("raw", assetIds="B", pointIds="p0", **span),
        "delete latest A": lambda: call("latest?action=delete", assetIds="A", pointIds="note"),
        "delete latest B": lambda: call("latest?action=delete", assetIds="B", pointIds="note"),
    }.items():
        tell("rest", name, act, lambda: told(answer()))

    def delete(asset):
        answer = call("data/tsdb-delete", assetIds=asset, pointId="p1", **old)
        return "ok" if answer["code"] == 0 and isinstance(answer["data"], int) else told(answer)

    tell("rest", name, "delete A", lambda: delete("A"))
    tell("rest", name, "delete B", lambda: delete("B"))


for name, account in accounts.items():
    over_rest(name, account)
    over_pg(name, account)
    over_flight(name, account)
    over_http(name, account)
