"""SQLAlchemy's reflection and a query through it.

Usage: pg_sqlalchemy.py HOST PORT
"""

import sys

import sqlalchemy as sa

host, port = sys.argv[1:3]
engine = sa.create_engine(f"postgresql+psycopg://ann@{host}:{port}/wattline")


def same(found, expected):
    assert found == expected, f"found {found!r}, expected {expected!r}"


inspector = sa.inspect(engine)
assert {"public", "latest", "system"} <= set(inspector.get_schema_names()), inspector.get_schema_names()
assert {"turbine", "assets", "models"} <= set(inspector.get_table_names()), inspector.get_table_names()
same(inspector.get_table_names(schema="latest"), ["turbine"])
assert inspector.has_table("turbine") and not inspector.has_table("nothing")
columns = {column["name"]: column for column in inspector.get_columns("turbine")}
same(
    {name: str(column["type"]) for name, column in columns.items()},
    {
        "asset_id": "TEXT", "time": "TIMESTAMP", "p0": "DOUBLE PRECISION", "p1": "DOUBLE PRECISION", "n": "BIGINT",
        "on": "BOOLEAN", "state": "INTEGER", "note": "TEXT",
    },
)
same(columns["time"]["type"].timezone, True)
same([columns["time"]["nullable"], columns["p0"]["nullable"]], [False, True])
same(inspector.get_pk_constraint("turbine")["constrained_columns"], [])
same(inspector.get_foreign_keys("turbine"), [])
same(inspector.get_indexes("turbine"), [])
same(inspector.get_view_names(), [])

table = sa.Table("turbine", sa.MetaData(), autoload_with=engine)
with engine.connect() as connection:
    statement = sa.select(sa.func.count(), sa.func.max(table.c.p0)).where(table.c.state >= sa.bindparam("least"))
    same(tuple(connection.execute(statement, {"least": 0}).one()), (10, 9.5))
    same(connection.execute(sa.select(table.c.state).order_by(table.c.time).limit(1)).scalar(), -5)
print("ok")
