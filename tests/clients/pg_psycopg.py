"""psycopg 3 against the model `turbine` that postgres.rs fills: every expected value is worked out by hand here.

Usage: pg_psycopg.py HOST PORT
"""

import datetime as dt
import decimal
import sys
import threading
import time

import psycopg

host, port = sys.argv[1:3]
UTC = dt.timezone.utc
BASE = dt.datetime(2024, 1, 1, tzinfo=UTC)


def connect(**more):
    return psycopg.connect(host=host, port=port, user="ann", dbname="wattline", autocommit=True, **more)


def same(found, expected):
    assert found == expected, f"found {found!r}, expected {expected!r}"


# Ten rows an asset, one a minute: p0 = minute + 0.5, p1 NULL where the minute is odd, n = minute * 10^10, on = even,
# state = minute - 5, note = "m<minute>" with a tab and a quote.
with connect() as connection:
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        cursor.execute('SELECT "time", p0, p1, n, "on", state, note FROM turbine ORDER BY asset_id, "time" LIMIT 2')
        rows = cursor.fetchall()
        same(rows[0], (BASE, 0.5, 100.0, 0, True, -5, 'm0\t"'))
        same(rows[1], (BASE + dt.timedelta(minutes=1), 1.5, None, 10**10, False, -4, 'm1\t"'))
        types = [column.type_code for column in cursor.description]
        same(types, [1184, 701, 701, 20, 16, 23, 25])

    # Values of every type there and back, in both directions and both forms.
    values = [
        (True, "boolean"), (-7, "int"), (2**40, "bigint"), (1.25, "double precision"), ("süß", "text"),
        (dt.date(2024, 2, 29), "date"), (dt.time(23, 59, 59, 5), "time"),
        (dt.datetime(2024, 2, 29, 12, 30), "timestamp"), (BASE, "timestamptz"), (b"\x00\xff", "bytea"),
        (None, "text"),
    ]
    for value, name in values:
        for place in ("%s", "%b", "%t"):
            for binary in (False, True):
                got = connection.execute(f"SELECT {place}::{name}", [value], binary=binary).fetchone()[0]
                same(got, value)
    same(connection.execute("SELECT %s::interval", [dt.timedelta(days=1, seconds=90)]).fetchone()[0],
         dt.timedelta(days=1, seconds=90))
    same(connection.execute("SELECT arrow_cast(12.50, 'Decimal128(10, 2)')").fetchone()[0], decimal.Decimal("12.50"))
    same(connection.execute("SELECT 18446744073709551615").fetchone()[0], decimal.Decimal(2**64 - 1))
    for binary in (False, True):
        same(connection.execute("SELECT make_array(1, NULL, 3), make_array('a b', '\"')", binary=binary).fetchone(),
             ([1, None, 3], ["a b", '"']))
    same(connection.execute("SELECT count(*) FROM turbine WHERE state = ANY(%s)", [[-5, 4, 99]]).fetchone()[0], 4)

    # Floats come back as they are, special ones too.
    for value in (0.1, 1e300, 5e-324, -0.0, float("inf"), 123456789012345.6):
        for binary in (False, True):
            same(connection.execute("SELECT %s::double precision", [value], binary=binary).fetchone()[0], value)

    # A prepared statement, many times.
    for minute in range(10):
        row = connection.execute("SELECT sum(n) FROM turbine WHERE p0 = %s", [minute + 0.5], prepare=True).fetchone()
        same(row[0], 2 * minute * 10**10)

    # The session's time zone: 2024-03-31 01:00 UTC is 03:00 in Berlin, an hour after 01:59:59.
    connection.execute("SET TIME ZONE 'Europe/Berlin'")
    same(connection.info.parameter_status("TimeZone"), "Europe/Berlin")
    shown = connection.pgconn.exec_(b"SELECT '2024-03-31T01:00:00Z'::timestamptz").get_value(0, 0)
    same(shown, b"2024-03-31 03:00:00+02")
    same(connection.execute("SHOW timezone").fetchone()[0], "Europe/Berlin")
    connection.execute("RESET timezone")

    # Errors: SQLSTATE, the character, a hint; and the connection goes on.
    try:
        connection.execute("SELECT p0 FROM turbin")
        raise AssertionError("no error")
    except psycopg.errors.UndefinedTable as error:
        same(error.diag.message_hint, "did you mean turbine?")
    try:
        connection.execute("SELECT 1 +\n  * 2 FROM")
        raise AssertionError("no error")
    except psycopg.errors.SyntaxError as error:
        assert error.diag.statement_position is not None
    try:
        connection.execute("SELECT p00 FROM turbine")
        raise AssertionError("no error")
    except psycopg.errors.UndefinedColumn:
        pass
    same(connection.execute("SELECT 1").fetchone(), (1,))

    # COPY, three forms.
    query = 'SELECT asset_id, n, p1, note FROM turbine WHERE state < -3 ORDER BY asset_id, "time"'
    with connection.cursor().copy(f"COPY ({query}) TO STDOUT") as copy:
        lines = b"".join(copy).decode().splitlines()
    assets = [row[0] for row in connection.execute("SELECT DISTINCT asset_id FROM turbine ORDER BY 1")]
    same(lines[:2], [f'{assets[0]}\t0\t100\tm0\\t"', f'{assets[0]}\t10000000000\t\\N\tm1\\t"'])
    same(len(lines), 4)
    with connection.cursor().copy(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER)") as copy:
        lines = b"".join(copy).decode().splitlines()
    same(lines[0], "asset_id,n,p1,note")
    same(lines[1], f'{assets[0]},0,100,"m0\t"""')
    with connection.cursor().copy(f"COPY ({query}) TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(["text", "int8", "float8", "text"])
        rows = list(copy.rows())
    same(rows, connection.execute(query).fetchall())

    # A large answer, streamed: the sum of 0..200000.
    total = rows = 0
    for (value,) in connection.cursor().stream("SELECT value FROM generate_series(0, 199999) AS t(value)"):
        total, rows = total + value, rows + 1
    same((rows, total), (200_000, 199_999 * 100_000))

    # Cancelled from another thread, and the connection goes on.
    endless = "SELECT count(*) FROM generate_series(1, 3000000) a, generate_series(1, 3000000) b"
    threading.Timer(0.5, connection.cancel).start()
    begin = time.monotonic()
    try:
        connection.execute(endless)
        raise AssertionError("not cancelled")
    except psycopg.errors.QueryCanceled as error:
        assert "user request" in str(error)
    assert time.monotonic() - begin < 20, "cancelled late"
    connection.execute("SET statement_timeout = '300ms'")
    try:
        connection.execute(endless)
        raise AssertionError("no timeout")
    except psycopg.errors.QueryCanceled as error:
        assert "statement timeout" in str(error)
    connection.execute("SET statement_timeout = 0")
    same(connection.execute("SELECT 1").fetchone(), (1,))

    # A pipeline, with an error in its middle: what follows it up to the next sync is skipped.
    with connection.pipeline() as pipeline:
        first = connection.execute("SELECT 1")
        pipeline.sync()
        wrong = connection.execute("SELECT nothing")
        skipped = connection.execute("SELECT 2")
        try:
            pipeline.sync()
        except psycopg.Error:
            pass
        same(first.fetchone(), (1,))
    same(connection.execute("SELECT 3").fetchone(), (3,))

# Transactions, and cursors on the server.
with psycopg.connect(host=host, port=port, user="ann", dbname="wattline") as connection:
    with connection.cursor(name="some rows") as cursor:
        cursor.itersize = 7
        cursor.execute("SELECT value FROM generate_series(1, 20) AS t(value)")
        same([row[0] for row in cursor], list(range(1, 21)))
    same(connection.info.transaction_status, psycopg.pq.TransactionStatus.INTRANS)
    try:
        connection.execute("SELECT nothing")
    except psycopg.errors.UndefinedColumn:
        pass
    try:
        connection.execute("SELECT 1")
        raise AssertionError("no error")
    except psycopg.errors.InFailedSqlTransaction:
        pass
    connection.rollback()
    same(connection.execute("SELECT 1").fetchone(), (1,))

# Several statements at once; the second fails, the third is not reached.
with connect() as connection:
    result = connection.pgconn.exec_(b"SELECT 1; SELECT nothing; SELECT 3")
    same(result.status, psycopg.pq.ExecStatus.FATAL_ERROR)
    same(result.error_field(psycopg.pq.DiagnosticField.SQLSTATE), b"42703")

print("ok")
