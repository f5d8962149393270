"""asyncpg: binary both ways, prepared statements, cursors, COPY.

Usage: pg_asyncpg.py HOST PORT
"""

import asyncio
import datetime as dt
import io
import sys

import asyncpg

host, port = sys.argv[1:3]


def same(found, expected):
    assert found == expected, f"found {found!r}, expected {expected!r}"


async def main():
    connection = await asyncpg.connect(host=host, port=int(port), user="ann", database="wattline")
    row = await connection.fetchrow('SELECT "time", p0, n, "on", state, note FROM turbine WHERE state = $1 LIMIT 1', 4)
    same(tuple(row), (dt.datetime(2024, 1, 1, 0, 9, tzinfo=dt.timezone.utc), 9.5, 9 * 10**10, False, 4, 'm9\t"'))
    statement = await connection.prepare("SELECT count(*) FROM turbine WHERE p0 < $1")
    same([await statement.fetchval(float(n)) for n in (0, 1, 10)], [0, 2, 20])
    async with connection.transaction():
        rows = [r[0] async for r in connection.cursor("SELECT value FROM generate_series(1, 120) AS t(value)")]
        same(rows, list(range(1, 121)))
    out = io.BytesIO()
    tag = await connection.copy_from_query("SELECT state FROM turbine WHERE state > 2 ORDER BY 1", output=out, format="csv")
    same((tag, out.getvalue()), ("COPY 4", b"3\n3\n4\n4\n"))
    try:
        await connection.fetch("SELECT nothing")
        raise AssertionError("no error")
    except asyncpg.UndefinedColumnError:
        pass
    await connection.close()


asyncio.run(main())
print("ok")
