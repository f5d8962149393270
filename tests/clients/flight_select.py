"""One statement over Flight SQL. Usage: flight_select.py HOST:PORT; prints its rows."""

import sys

import adbc_driver_flightsql.dbapi as dbapi

with dbapi.connect(f"grpc://{sys.argv[1]}", autocommit=True) as connection, connection.cursor() as cursor:
    cursor.execute("SELECT 1 AS one")
    print(cursor.fetch_arrow_table().to_pylist())
