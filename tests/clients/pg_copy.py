"""COPY … FROM STDIN from psycopg and asyncpg, in text, CSV and binary; what it refuses, and what it keeps then.

Usage: pg_copy.py HOST PORT ASSET ASSET
"""

import asyncio
import datetime as dt
import io
import sys
import time

import asyncpg
import psycopg

host, port, one, two = sys.argv[1:5]
BASE = dt.datetime(2025, 1, 1, tzinfo=dt.timezone.utc)


def same(found, expected):
    assert found == expected, f"found {found!r}, expected {expected!r}"


def at(day, minute=0):
    return BASE + dt.timedelta(days=day, minutes=minute)


def refused(connection, statement, data, state, *parts):
    """The COPY fails with the state; message and context have the parts. The connection goes on."""
    try:
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            for piece in data:
                copy.write(piece)
        raise AssertionError(f"no error: {statement}")
    except psycopg.Error as error:
        same(error.sqlstate, state)
        told = f"{error.diag.message_primary} | {error.diag.context}"
        for part in parts:
            assert part in told, told
    same(connection.execute("SELECT 1").fetchone(), (1,))


def count(connection, day, column="*"):
    found = connection.execute(
        f'SELECT count({column}) FROM turbine WHERE "time" >= %s AND "time" < %s', (at(day), at(day + 1))
    )
    return found.fetchone()[0]


def forms(connection):
    with connection.cursor() as cursor:
        with cursor.copy('COPY turbine (asset_id, "time", p0, n, "on", state, note) FROM STDIN') as copy:
            for minute in range(1_000):
                copy.write_row((one, at(0, minute), minute + 0.25, minute, minute % 2 == 0, None, "tab\tline\n\\é"))
        same((cursor.statusmessage, cursor.rowcount), ("COPY 1000", 1_000))
        found = cursor.execute(
            'SELECT count(*), sum(p0), sum(n), count(*) FILTER (WHERE "on"), count(state), max(note) FROM turbine '
            'WHERE "time" >= %s AND "time" < %s',
            (at(0), at(1)),
        )
        same(found.fetchone(), (1_000, 499_750.0, 499_500, 500, 0, "tab\tline\n\\é"))

        types = ["text", "timestamptz", "float8", "int8", "bool", "int4", "text"]
        with cursor.copy('COPY turbine (asset_id, "time", p0, n, "on", state, note) FROM STDIN (FORMAT binary)') as copy:
            copy.set_types(types)
            copy.write_row((two, at(1), -1.5, 2**62, True, -7, "ü"))
            copy.write_row((two, at(1, 1), None, None, None, None, None))
            copy.write_row((two, at(1, 2), 1e300, -1, False, 2**31 - 1, "x"))
        # The second row has no value at all, so it is no sample.
        same(cursor.statusmessage, "COPY 2")
        found = cursor.execute(
            'SELECT p0, n, "on", state, note FROM turbine WHERE "time" >= %s AND "time" < %s ORDER BY "time"',
            (at(1), at(2)),
        )
        same(found.fetchall(), [(-1.5, 2**62, True, -7, "ü"), (1e300, -1, False, 2**31 - 1, "x")])

        csv = f'asset_id;time;note;p1\n{one};2025-01-03 01:00+01;"a ""b""; \nc";\n{one};2025-01-03T00:01;-;2.5\n'
        with cursor.copy(
            "COPY public.turbine (asset_id, time, note, p1) FROM STDIN "
            "WITH (FORMAT csv, DELIMITER ';', HEADER match, NULL '-', ENCODING 'UTF8')"
        ) as copy:
            # NULL is the minus sign, so an empty field is none; a number cannot be that.
            for piece in csv.replace(";\n", ";-\n").encode():
                copy.write(bytes([piece]))
        same(cursor.statusmessage, "COPY 2")
        found = cursor.execute(
            'SELECT note, p1 FROM turbine WHERE "time" >= %s AND "time" < %s ORDER BY "time"', (at(2), at(3))
        )
        same(found.fetchall(), [('a "b"; \nc', None), (None, 2.5)])

        # What goes out comes in again.
        with cursor.copy('COPY (SELECT asset_id, "time", p0, note FROM turbine WHERE n = 7) TO STDOUT') as copy:
            out = b"".join(bytes(piece) for piece in copy)
        with cursor.copy('COPY turbine (asset_id, "time", p0, note) FROM STDIN') as copy:
            copy.write(out)
        same(cursor.statusmessage, "COPY 1")

        cursor.execute("SET TIME ZONE 'Asia/Kolkata'")
        with cursor.copy('COPY turbine (asset_id, "time", p0) FROM STDIN CSV') as copy:
            copy.write(f"{one},2025-01-09 05:30:00,1\n")
        cursor.execute("RESET timezone")
        same(count(connection, 8), 1)


def refusals(connection):
    into = 'COPY turbine (asset_id, "time", p0, state) FROM STDIN'
    good = f"{one}\t{at(20).isoformat()}\t1\t2\n".encode()
    refused(connection, into, [good, good.replace(b"\t1\t", b"\tmuch\t")], "22P02", "much", "line 2, column p0")
    refused(connection, into, [good, b"nobody" + good[len(one):]], "22P04", "line 2, column asset_id")
    refused(connection, into, [good.replace(b"\t2\n", b"\t2\t3\n")], "22P04", "extra data", "line 1")
    refused(connection, into, [good[:-3]], "22P04", "missing data for column \"state\"", "line 1")
    refused(connection, into, [good.replace(b"2025", b"2999")], "22P04", "line 1, column time")
    refused(connection, into + " (FORMAT binary)", [b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x01"], "22P04", "EOF", "row 1")
    refused(connection, into + " CSV", [b'"', good], "22P04", "unterminated")
    refused(connection, "COPY nothing FROM STDIN", [], "42P01", "nothing")
    refused(connection, "COPY turbine (asset_id, time, p9) FROM STDIN", [], "42703", "p9")
    refused(connection, "COPY turbine (asset_id, p0) FROM STDIN", [], "42000", "time is missing")
    refused(connection, "COPY latest.turbine FROM STDIN", [], "42000", "")
    # Of what fits into one piece nothing is written where a row is refused.
    same(count(connection, 20), 0)

    # Of more, whole pieces from the beginning are, and the error says how many rows.
    lines = b"".join(f"{one}\t{at(21 + i // 86_400).isoformat()}\t{i}\t0\n".encode() for i in range(3))
    rows = 200_000
    step = dt.timedelta(milliseconds=200)
    pieces = (
        "".join(f"{one}\t{(at(21) + (first + i) * step).isoformat()}\t{first + i}\t0\n" for i in range(10_000)).encode()
        for first in range(0, rows, 10_000)
    )

    def and_a_bad_one():
        yield from pieces
        yield lines.replace(b"\t0\n", b"\tx\n")

    try:
        with connection.cursor() as cursor, cursor.copy(into) as copy:
            for piece in and_a_bad_one():
                copy.write(piece)
        raise AssertionError("no error")
    except psycopg.Error as error:
        told = error.diag.message_primary
        assert f"line {rows + 1}, column state" in error.diag.context, error.diag.context
        stay = int(told.split("; ")[1].split(" rows before it were written and stay")[0])
        assert 0 < stay < rows, told
    same(count(connection, 21), stay)

    # A client that gives up.
    try:
        with connection.cursor() as cursor, cursor.copy(into) as copy:
            copy.write(good)
            raise RuntimeError("enough")
    except RuntimeError:
        pass
    same(connection.execute("SELECT 1").fetchone(), (1,))
    same(count(connection, 20), 0)


def ends(connection):
    """A COPY that waits for its client is cancelled, and runs into `statement_timeout`."""
    into = 'COPY turbine (asset_id, "time", p0) FROM STDIN'
    good = f"{one}\t{at(30).isoformat()}\t1\n"
    for how in ("cancel", "timeout"):
        if how == "timeout":
            connection.execute("SET statement_timeout = '300ms'")
        try:
            with connection.cursor() as cursor, cursor.copy(into) as copy:
                copy.write(good)
                copy.write("")
                if how == "cancel":
                    connection.cancel()
                for _ in range(100):
                    time.sleep(0.05)
                    copy.write(good)
            raise AssertionError(f"no error: {how}")
        except psycopg.errors.QueryCanceled:
            pass
        connection.execute("RESET statement_timeout")
    same(count(connection, 30), 0)


async def with_asyncpg():
    connection = await asyncpg.connect(host=host, port=int(port), user="ann", database="wattline")
    columns = ["asset_id", "time", "p0", "n", "on", "state", "note"]
    records = [(two, at(40, minute), float(minute), minute, True, minute, str(minute)) for minute in range(500)]
    same(await connection.copy_records_to_table("turbine", records=records, columns=columns), "COPY 500")
    row = await connection.fetchrow(
        'SELECT count(*), sum(p0), max(note) FROM turbine WHERE "time" >= $1 AND "time" < $2', at(40), at(41)
    )
    same(tuple(row), (500, 124_750.0, "99"))
    source = io.BytesIO(f"asset_id,time,p0\n{two},2025-02-11T00:00:00Z,4\n".encode())
    same(
        await connection.copy_to_table("turbine", source=source, columns=columns[:3], format="csv", header=True), "COPY 1"
    )
    try:
        await connection.copy_records_to_table("turbine", records=[("nobody", at(41), 1.0)], columns=columns[:3])
        raise AssertionError("no error")
    except asyncpg.PostgresError as error:
        same(error.sqlstate, "22P04")
    same(await connection.fetchval("SELECT 1"), 1)

    # Types of parameters, told by casts and by lists that columns are looked for in.
    sums = "SELECT count(*) FROM turbine WHERE "
    when = ' AND "time" >= $2::timestamptz AND "time" < CAST($3 AS timestamptz)'
    same(await connection.fetchval(sums + "state = ANY($1)" + when, [1, 2, 3], at(40), at(41)), 3)
    same(await connection.fetchval(sums + "note = ANY($1)" + when, ["7", "8", "x"], at(40), at(41)), 2)
    same(await connection.fetchval(sums + "p0 < $1::double precision" + when, 10.0, at(40), at(41)), 10)
    same(await connection.fetchval(sums + "n < $1::bigint + 1" + when, 10, at(40), at(41)), 11)
    same(await connection.fetchval("SELECT $1::int + 1", 41), 42)
    same(await connection.fetchval("SELECT p0 * $1 FROM turbine WHERE note = '7' LIMIT $2", 2.0, 1), 14.0)
    same(await connection.fetchval("SELECT $1::text || 'b'", "a"), "ab")
    same(await connection.fetchval("SELECT $1::timestamptz", at(0)), at(0))
    same(await connection.fetchval("SELECT coalesce($1::float8, 2)", None), 2.0)
    await connection.close()


with psycopg.connect(f"host={host} port={port} user=ann dbname=wattline", autocommit=True) as connection:
    forms(connection)
    refusals(connection)
    ends(connection)
asyncio.run(with_asyncpg())
print("ok")
