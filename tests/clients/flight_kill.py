"""KILL over Flight SQL, and what a killed statement's client is told there.

Usage: flight_kill.py HOST:PORT; prints "ok".
"""

import sys

import adbc_driver_flightsql.dbapi as dbapi
import adbc_driver_manager

address = sys.argv[1]
LONG = "SELECT value AS flown FROM generate_series(1, 100000000000)"


def connect():
    return dbapi.connect(f"grpc://{address}", autocommit=True)


with connect() as one, connect() as other, one.cursor() as reading, other.cursor() as asking:
    reading.execute(LONG)
    assert reading.fetchone() == (1,)
    asking.execute("SELECT id, wire FROM system.queries WHERE state = 'running' AND statement LIKE 'SELECT value AS flown%'")
    [(number, wire)] = asking.fetchall()
    assert wire == "flight", wire
    asking.execute(f"KILL {number}")
    try:
        while reading.fetchmany(100_000):
            pass
        raise AssertionError("a killed statement went on to its end")
    except adbc_driver_manager.Error as error:
        assert error.status_code == adbc_driver_manager.AdbcStatusCode.CANCELLED, error.status_code
        assert "the statement was cancelled by somebody over flight" in str(error), error
    try:
        asking.execute(f"KILL {number}")
        raise AssertionError("it was killed twice")
    except adbc_driver_manager.Error as error:
        assert f"there is no running statement {number}" in str(error), error
print("ok")
