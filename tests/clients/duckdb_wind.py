"""What DuckDB says about the wind file, read straight from the CSV: the independent answer of the real-data test.

Usage: duckdb_wind.py FILE

Prints one JSON object: per month its number, energy, mean wind and rows; each gap as seconds since 1970-01-01 of the
file's local calendar.
"""

import json
import sys

import duckdb

db = duckdb.connect()
# The header is not UTF-8, so it is skipped and the columns are named here; dates are local time without a zone.
db.execute(
    """
    CREATE TABLE wind AS
    SELECT strptime(t, '%d %m %Y %H:%M') AS time, power, speed, theoretical, direction
    FROM read_csv(?, header = false, skip = 1, encoding = 'latin-1', columns = {
        't': 'VARCHAR', 'power': 'DOUBLE', 'speed': 'DOUBLE', 'theoretical': 'DOUBLE', 'direction': 'DOUBLE'})
    """,
    [sys.argv[1]],
)
months = db.execute(
    """SELECT month(time) AS month, sum(power) / 6, avg(speed), count(*)
       FROM wind GROUP BY 1 ORDER BY 1"""
).fetchall()
gaps = db.execute(
    """SELECT epoch(time)::BIGINT, epoch(next)::BIGINT
       FROM (SELECT time, lead(time) OVER (ORDER BY time) AS next FROM wind)
       WHERE next - time > INTERVAL 10 MINUTE ORDER BY time"""
).fetchall()
rows, distinct, speed = db.execute("SELECT count(*), count(DISTINCT time), avg(speed) FROM wind").fetchone()
print(json.dumps({"months": months, "gaps": gaps, "rows": rows, "times": distinct, "mean_wind": speed}))
