"""Writes tests/slt/duckdb.slt: functions for time series, with the answers of DuckDB to the same questions.

Usage: duckdb_series.py > tests/slt/duckdb.slt      (DuckDB has no function of ours; each answer is a formulation of its own)
"""

import hashlib

import duckdb


def number(*what):
    return int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:4], "big")


def rows():
    """Three series over the days on which clocks in Berlin are set back; a counter that resets, a gauge, a state."""
    for key in "abc":
        seconds, counter = 1_792_789_200, 0  # 2026-10-23T21:00:00Z
        for i in range(24):
            seconds += 60 + number("gap", key, i) % 25_000
            step = number("step", key, i) % 40
            counter = step if number("reset", key, i) % 7 == 0 else counter + step
            gauge = (number("gauge", key, i) % 400 - 200) / 4
            yield key, seconds, counter, gauge, ("run", "stop", "fault")[number("state", key, i) % 3]


# Ours, and DuckDB's: `s` has k, t, c, g, st; `n` has beside them the row before.
QUESTIONS = [
    (
        "First, last, and what is between them.",
        "SELECT k, first(c, t), last(g, t), delta(g, t) FROM s GROUP BY k ORDER BY k",
        "SELECT k, arg_min(c, t), arg_max(g, t), arg_max(g, t) - arg_min(g, t) FROM s GROUP BY k ORDER BY k",
    ),
    (
        "What a counter with resets counted, and how fast.",
        "SELECT k, increase(c, t), round(rate(c, t, '1 hour'), 9) FROM s GROUP BY k ORDER BY k",
        """SELECT k, sum(CASE WHEN c < pc THEN c ELSE c - pc END)::DOUBLE AS i, round(i * 3600 / epoch(max(t) - min(t)), 9)
           FROM n GROUP BY k ORDER BY k""",
    ),
    (
        "Energy: slopes up to 20 an hour, each step from the last reading that moved.",
        "SELECT k, counter_energy(c, t, NULL, 20) FROM s GROUP BY k ORDER BY k",
        """WITH moved AS (SELECT * FROM n WHERE pc IS NULL OR c <> pc),
                steps AS (SELECT k, c - lag(c) OVER w AS d, epoch(t - lag(t) OVER w) / 3600 AS h FROM moved WINDOW w AS (PARTITION BY k ORDER BY t))
           SELECT k, sum(CASE WHEN d >= 0 AND d / h <= 20 THEN d ELSE 0 END)::DOUBLE FROM steps GROUP BY k ORDER BY k""",
    ),
    (
        "Areas and averages on straight lines, and in steps.",
        """SELECT k, round(integral(g, t, '1 hour'), 6), round(time_weighted_avg(g, t), 9), round(time_weighted_avg(g, t, 'locf'), 9)
           FROM s GROUP BY k ORDER BY k""",
        """SELECT k, round(sum((g + pg) / 2 * epoch(t - pt)) / 3600, 6), round(sum((g + pg) / 2 * epoch(t - pt)) / epoch(max(t) - min(t)), 9),
                  round(sum(pg * epoch(t - pt)) / epoch(max(t) - min(t)), 9) FROM n GROUP BY k ORDER BY k""",
    ),
    (
        "States.",
        "SELECT k, state_duration(st, t, 'run'), state_changes(st, t), state_at(st, t, '2026-10-25T12:00:00Z') FROM s GROUP BY k ORDER BY k",
        """SELECT k, sum(epoch(t - pt)) FILTER (WHERE pst = 'run'), count(*) FILTER (WHERE st <> pst),
                  arg_max(st, t) FILTER (WHERE t <= '2026-10-25 12:00:00') FROM n GROUP BY k ORDER BY k""",
    ),
    (
        "Days and months of Berlin.",
        """SELECT date_part('epoch', time_bucket('1 day', t, 'Europe/Berlin'))::BIGINT AS day, date_part('epoch', time_bucket('1 month', t, 'Europe/Berlin'))::BIGINT AS month, count(*), sum(g)
           FROM s GROUP BY day, month ORDER BY day""",
        """SELECT epoch(date_trunc('day', t AT TIME ZONE 'UTC'))::BIGINT AS d, epoch(date_trunc('month', t AT TIME ZONE 'UTC'))::BIGINT AS m, count(*), sum(g)
           FROM s GROUP BY d, m ORDER BY d""",
    ),
    (
        "Sessions: pauses of more than two hours.",
        """SELECT k, count(*), max(n) FROM (SELECT k, session, count(*) AS n FROM (
           SELECT k, session(t, '2 hours') OVER (PARTITION BY k ORDER BY t) AS session FROM s) GROUP BY k, session) GROUP BY k ORDER BY k""",
        """SELECT k, count(*), max(n) FROM (SELECT k, number, count(*) AS n FROM (
           SELECT k, count(*) FILTER (WHERE pt IS NULL OR t - pt > INTERVAL '2 hours') OVER (PARTITION BY k ORDER BY t) AS number FROM n)
           GROUP BY k, number) GROUP BY k ORDER BY k""",
    ),
    (
        "As-of join of one series with another.",
        "SELECT sum(a.c), sum(b.g), count(b.g) FROM s a LEFT JOIN (SELECT * FROM s WHERE k = 'b') b ON asof(a.t, b.t)",
        "SELECT sum(a.c), sum(b.g), count(b.g) FROM s a ASOF LEFT JOIN (SELECT * FROM s WHERE k = 'b') b ON a.t >= b.t",
    ),
    (
        "Gaps of six hours in UTC.",
        """SELECT count(*), sum(n), round(sum(carried), 6) FROM (SELECT k, time_bucket_gapfill('6 hours', t, '2026-10-23T00:00:00Z', '2026-10-29T00:00:00Z') AS b,
           count(*) AS n, locf(sum(g)) AS carried FROM s GROUP BY k, b)""",
        """WITH have AS (SELECT k, time_bucket(INTERVAL '6 hours', t) AS b, count(*) AS n, sum(g) AS g FROM s GROUP BY k, b),
                want AS (SELECT DISTINCT k, b FROM (SELECT DISTINCT k FROM s), (SELECT unnest(generate_series(TIMESTAMP '2026-10-23', TIMESTAMP '2026-10-28 18:00:00', INTERVAL '6 hours')) AS b) UNION SELECT k, b FROM have),
                filled AS (SELECT n, last_value(g IGNORE NULLS) OVER (PARTITION BY want.k ORDER BY want.b) AS carried FROM want LEFT JOIN have USING (k, b))
           SELECT count(*), sum(n), round(sum(carried), 6) FROM filled""",
    ),
]


def text(value):
    return "NULL" if value is None else str(value)


db = duckdb.connect()
db.execute("SET TimeZone = 'Europe/Berlin'")
values = list(rows())
db.execute("CREATE TABLE s (k TEXT, t TIMESTAMP, c BIGINT, g DOUBLE, st TEXT)")
db.executemany("INSERT INTO s SELECT ?, make_timestamp(?::BIGINT * 1000000), ?, ?, ?", values)
db.execute(
    """CREATE VIEW n AS SELECT *, lag(t) OVER w AS pt, lag(c) OVER w AS pc, lag(g) OVER w AS pg, lag(st) OVER w AS pst
       FROM s WINDOW w AS (PARTITION BY k ORDER BY t)"""
)
# In an order that is nobody's.
values.sort(key=lambda row: number("order", row[0], row[1]))
data = ", ".join(f"('{k}', {t}, {c}, {g}, '{st}')" for k, t, c, g, st in values)
given = (
    "WITH s AS (SELECT k, arrow_cast(t * 1000000, 'Timestamp(Microsecond, Some(\"UTC\"))') AS t, c, g, st "
    f"FROM (VALUES {data}) AS v(k, t, c, g, st))"
)
print("# Answers of DuckDB", duckdb.__version__, "to the same questions, asked in its own words; made by tests/clients/duckdb_series.py.")
for title, ours, theirs in QUESTIONS:
    answer = db.execute(theirs).fetchall()
    print(f"\n# {title}")
    print("query", "T" * len(answer[0]))
    print(given, " ".join(ours.split()))
    print("----")
    for row in answer:
        print(*map(text, row))
