"""SQLAlchemy and pandas: reflection of tables, typed parameters, frames.

Usage: pg_sqlalchemy.py HOST PORT
"""

import datetime as dt
import sys

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION, TIMESTAMP

host, port = sys.argv[1:3]


def same(found, expected):
    assert found == expected, f"found {found!r}, expected {expected!r}"


def reflects(engine):
    inspector = sa.inspect(engine)
    same(inspector.default_schema_name, "public")
    same({"public", "latest", "system"} <= set(inspector.get_schema_names()), True)
    same({"turbine", "assets"} <= set(inspector.get_table_names()), True)
    same("turbine" in inspector.get_table_names("latest"), True)
    same(inspector.has_table("turbine"), True)
    same(inspector.has_table("nothing"), False)
    same(inspector.get_view_names(), [])
    columns = {c["name"]: c for c in inspector.get_columns("turbine")}
    same(list(columns), ["asset_id", "time", "n", "note", "on", "p0", "p1", "state"])
    kinds = {name: type(column["type"]) for name, column in columns.items()}
    same(kinds["time"], TIMESTAMP)
    same(columns["time"]["type"].timezone, True)
    same(kinds["p0"], DOUBLE_PRECISION)
    same([kinds[c] for c in ("n", "on", "state", "note")], [sa.BIGINT, sa.BOOLEAN, sa.INTEGER, sa.TEXT])
    same([columns[c]["nullable"] for c in ("asset_id", "time", "p0")], [False, False, True])
    same(inspector.get_pk_constraint("turbine")["constrained_columns"], [])
    same(inspector.get_indexes("turbine"), [])
    same(inspector.get_foreign_keys("turbine"), [])
    same(inspector.get_unique_constraints("turbine"), [])
    same(inspector.get_check_constraints("turbine"), [])
    same(inspector.get_table_comment("turbine"), {"text": "thing model /turbine"})
    metadata = sa.MetaData()
    metadata.reflect(engine, only=["turbine", "assets"])
    same(sorted(metadata.tables), ["assets", "turbine"])
    same(sa.Table("turbine", sa.MetaData(), schema="latest", autoload_with=engine).c.p0_time.type.timezone, True)
    return metadata.tables["turbine"]


def queries(engine, turbine):
    at = dt.datetime(2024, 1, 1, 0, 8, tzinfo=dt.timezone.utc)
    with engine.connect() as connection:
        chosen = sa.select(turbine.c.state, turbine.c.note).where(turbine.c.time >= at).order_by(turbine.c.state)
        same([row.state for row in connection.execute(chosen)], [3, 3, 4, 4])
        some = sa.select(sa.func.count()).where(turbine.c.state.in_([1, 2, 99]))
        same(connection.execute(some).scalar(), 4)
        power = sa.select(sa.func.sum(turbine.c.p0)).where(turbine.c.on.is_(True))
        same(connection.execute(power).scalar(), 45.0)
        limited = sa.select(turbine.c.n).order_by(turbine.c.n.desc()).limit(1).offset(2)
        same(connection.execute(limited).scalar(), 8 * 10**10)


def frames(engine):
    frame = pd.read_sql(
        sa.text('SELECT "time", p0, p1 FROM turbine WHERE p0 < :most ORDER BY asset_id, "time"'),
        engine,
        params={"most": 2.0},
    )
    same(list(frame.columns), ["time", "p0", "p1"])
    same(frame["p0"].tolist(), [0.5, 1.5, 0.5, 1.5])
    same(str(frame["time"].dtype).endswith("UTC]"), True)
    same(len(pd.read_sql_table("turbine", engine, columns=["state"])), 20)


for driver in ("psycopg",):
    engine = sa.create_engine(f"postgresql+{driver}://ann@{host}:{port}/wattline")
    table = reflects(engine)
    queries(engine, table)
    frames(engine)
    engine.dispose()
print("ok")
