"""Rows a second in and out over Arrow Flight SQL and PostgreSQL's wire, three columns, on this machine.

Usage: .venv/bin/python benches/scripts/wire_scan.py PATH_OF_WATTLINE [MILLIONS_OF_ROWS]

Starts the server on a folder of its own, writes the rows by bulk ingest (1,000 assets, a sample a second each), brings
them into segments, and reads all of them: five times through pyarrow.flight (rows as they arrive, nothing kept), once
through ADBC, and through psycopg by COPY … TO in text and in binary (bytes as they arrive). A tenth of the rows is written
by COPY … FROM in text and in binary. Prints one line of JSON. Needs `tests/services/python-env.sh`.
"""

import io
import json
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

import adbc_driver_flightsql.dbapi as dbapi
import psycopg
import pyarrow as pa
import pyarrow.flight as flight

ASSETS = 1_000
BEGIN_MICROS = 1_767_225_600_000_000

binary = sys.argv[1]
rows = int(float(sys.argv[2] if len(sys.argv) > 2 else 10) * 1_000_000) // ASSETS * ASSETS


def post(url, path, body):
    request = urllib.request.Request(url + path, json.dumps(body).encode(), {"content-type": "application/json"})
    return json.load(urllib.request.urlopen(request))


def varint(value):
    out = b""
    while True:
        out += bytes([value & 127 | (128 if value > 127 else 0)])
        value >>= 7
        if not value:
            return out


def field(number, payload):
    return bytes([number << 3 | 2]) + varint(len(payload)) + payload


def command(sql):
    url = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"
    return flight.FlightDescriptor.for_command(field(1, url) + field(2, field(1, sql.encode())))


def batches(ids):
    seconds = 100
    for start in range(0, rows // ASSETS, seconds):
        count = min(seconds, rows // ASSETS - start)
        assets = pa.array([asset for asset in ids for _ in range(count)])
        times = pa.array([BEGIN_MICROS + (start + i) * 1_000_000 for i in range(count)] * ASSETS, pa.timestamp("us", "UTC"))
        values = pa.array([float((start + i) % 977) / 4 for i in range(count)] * ASSETS)
        yield pa.record_batch([assets, times, values], ["asset_id", "time", "power"])


def copied(connection, form):
    """Rows a second of COPY … TO."""
    begin = time.perf_counter()
    with connection.cursor() as cursor, cursor.copy(f"COPY (SELECT asset_id, time, power FROM scan) TO STDOUT ({form})") as copy:
        while copy.read():
            pass
        assert cursor.rowcount == rows, cursor.rowcount
    return rows / (time.perf_counter() - begin)


def copies(ids, form, after):
    """The bytes of a tenth of the rows as COPY … FROM takes them, `after` the others."""
    out = io.BytesIO()
    count = max(rows // 10 // ASSETS, 1)
    begin = BEGIN_MICROS + after * 1_000_000
    if form == "FORMAT binary":
        out.write(b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0))
        for asset in ids:
            name = asset.encode()
            head = struct.pack("!hi", 3, len(name)) + name
            for i in range(count):
                # PostgreSQL counts from 2000.
                micros = begin + i * 1_000_000 - 946_684_800_000_000
                out.write(head + struct.pack("!iqid", 8, micros, 8, i % 977 / 4))
        out.write(struct.pack("!h", -1))
    else:
        for i in range(count):
            at = time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime(begin // 1_000_000 + i))
            out.write("".join(f"{asset}\t{at}\t{i % 977 / 4}\n" for asset in ids).encode())
    return count * ASSETS, out.getvalue()


def copied_in(connection, ids, form, after):
    """Rows a second of COPY … FROM."""
    count, data = copies(ids, form, after)
    begin = time.perf_counter()
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY scan (asset_id, time, power) FROM STDIN ({form})") as copy:
            for at in range(0, len(data), 1 << 18):
                copy.write(data[at : at + (1 << 18)])
        assert cursor.rowcount == count, cursor.rowcount
    return count / (time.perf_counter() - begin)


with tempfile.TemporaryDirectory() as folder:
    server = subprocess.Popen(
        [binary, "serve", "--data-dir", folder, "--http", "127.0.0.1:0", "--flight", "127.0.0.1:0", "--pg=127.0.0.1:0", "--mqtt", "off"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        where = {}
        for line in server.stdout:
            if line.startswith("ready"):
                break
            _, protocol, url = line.split()
            where[protocol] = url
        http, grpc = where["http"], where["flight"]
        post(http, "/api/v1/models", {"modelId": "scan", "points": {"power": {"dataType": "DOUBLE"}}})
        post(http, "/api/v1/products", {"productKey": "pk", "modelId": "scan"})
        ids = [f"asset-{i:04}" for i in range(ASSETS)]
        post(http, "/api/v1/devices", [{"productKey": "pk", "deviceKey": a, "assetId": a} for a in ids])

        sql = "SELECT asset_id, time, power FROM scan"
        with dbapi.connect(grpc, autocommit=True) as connection, connection.cursor() as cursor:
            source = batches(ids)
            first = next(source)
            begin = time.perf_counter()
            reader = pa.RecordBatchReader.from_batches(first.schema, (b for part in ([first], source) for b in part))
            assert cursor.adbc_ingest("scan", reader, mode="append") == rows
            ingest = rows / (time.perf_counter() - begin)
            post(http, "/api/v1/operations/flush", {})
            while json.load(urllib.request.urlopen(http + "/api/v1/operations"))[0]["state"] == "running":
                time.sleep(0.1)
            begin = time.perf_counter()
            cursor.execute(sql)
            assert cursor.fetch_arrow_table().num_rows == rows
            adbc = rows / (time.perf_counter() - begin)

        client = flight.connect(grpc)
        rates = []
        for _ in range(5):
            begin = time.perf_counter()
            info = client.get_flight_info(command(sql))
            found = 0
            for chunk in client.do_get(info.endpoints[0].ticket):
                found += chunk.data.num_rows
            rates.append(rows / (time.perf_counter() - begin))
            assert found == rows, found
        rates.sort()
        with psycopg.connect(where["postgresql"], autocommit=True) as connection:
            out_text, out_binary = copied(connection, "FORMAT text"), copied(connection, "FORMAT binary")
            in_text = copied_in(connection, ids, "FORMAT text", 2 * rows // ASSETS)
            in_binary = copied_in(connection, ids, "FORMAT binary", 4 * rows // ASSETS)
        print(
            json.dumps(
                {
                    "scenario": "wire_scan",
                    "rows": rows,
                    "columns": 3,
                    "ingest_rows_per_second": round(ingest),
                    "adbc_rows_per_second": round(adbc),
                    "flight_rows_per_second_median": round(rates[2]),
                    "flight_rows_per_second_best": round(rates[-1]),
                    "copy_to_text_rows_per_second": round(out_text),
                    "copy_to_binary_rows_per_second": round(out_binary),
                    "copy_from_text_rows_per_second": round(in_text),
                    "copy_from_binary_rows_per_second": round(in_binary),
                }
            )
        )
    finally:
        server.terminate()
        server.wait()
