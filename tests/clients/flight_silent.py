"""A bulk write whose rows stop coming. Usage: flight_silent.py HOST:PORT ASSET; prints what it is told."""

import datetime
import sys
import time

import adbc_driver_flightsql.dbapi as dbapi
import pyarrow as pa

address, asset = sys.argv[1:]
begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
batch = pa.record_batch({"asset_id": [asset], "time": [begin], "p0": [1.0]})


def rows():
    yield batch
    time.sleep(4)
    yield batch


reader = pa.RecordBatchReader.from_batches(batch.schema, rows())
with dbapi.connect(f"grpc://{address}", autocommit=True) as connection, connection.cursor() as cursor:
    try:
        cursor.adbc_ingest("flight", reader, mode="append")
        print("nothing was refused")
    except Exception as error:  # noqa: BLE001 - the driver has several
        print(error)
