"""Arrow Flight SQL with the clients that others wrote: ADBC's driver and pyarrow.flight.

Usage: flight_sql.py HOST:PORT

The server has a model `flight` (p0 DOUBLE and more) with the assets named by the devices `dk-0`, `dk-1`, whose ids are
the next two arguments. Every expected value is worked out by hand. Prints "ok".
"""

import datetime
import sys

import adbc_driver_flightsql.dbapi as dbapi
import adbc_driver_manager
import pyarrow as pa
import pyarrow.flight as flight

address, one, two = sys.argv[1:]
UTC = datetime.timezone.utc
BEGIN = datetime.datetime(2026, 1, 1, tzinfo=UTC)


def fails(words, act):
    try:
        act()
    except Exception as error:  # noqa: BLE001 - each client has its own
        assert words in str(error), f"{words!r} is not in {error}"
        return
    raise AssertionError(f"nothing failed; expected {words!r}")


with dbapi.connect(f"grpc://{address}", autocommit=True) as connection:
    with connection.cursor() as cursor:
        # Statements that change something say so when they are done.
        cursor.execute(
            "CREATE TABLE meter (asset_id TEXT, time TIMESTAMP WITH TIME ZONE, energy DOUBLE, note TEXT, n BIGINT)"
        )
        cursor.execute("SELECT count(*) FROM meter")
        assert cursor.fetchone() == (0,)
        fails("is taken", lambda: cursor.execute("CREATE TABLE meter (asset_id TEXT, time TIMESTAMPTZ)"))

        # Bound one by one, written as one statement.
        rows = [(one, BEGIN + datetime.timedelta(seconds=i), i * 0.5) for i in range(2500)]
        cursor.executemany("INSERT INTO flight (asset_id, time, p0) VALUES (?, ?, ?)", rows)
        cursor.execute("SELECT count(*), sum(p0), min(time) FROM flight")
        # 0.5 * (0 + … + 2499)
        assert cursor.fetchone() == (2500, 0.5 * 2499 * 2500 / 2, BEGIN)

        # Parameters of a query, in both forms.
        cursor.execute("SELECT p0 FROM flight WHERE asset_id = ? AND p0 >= ? ORDER BY time LIMIT 2", (one, 600.0))
        assert cursor.fetchall() == [(600.0,), (600.5,)]
        cursor.execute("SELECT p0 FROM flight WHERE p0 = $1", (7.5,))
        assert cursor.fetchall() == [(7.5,)]
        cursor.execute("SELECT asset_id, time, p0 FROM flight WHERE p0 = 1")
        assert cursor.fetchall() == [(one, BEGIN + datetime.timedelta(seconds=2), 1.0)]

        # Errors say what, and where.
        fails("did you mean p0", lambda: cursor.execute("SELECT pO FROM flight WHERE p00 = 1"))
        fails("line 1", lambda: cursor.execute("SELECT * FRM flight"))
        fails(
            'asset "nobody" does not exist',
            lambda: cursor.execute("INSERT INTO flight (asset_id, time, p0) VALUES ('nobody', '2026-01-01', 1)"),
        )

        # Bulk: batch by batch through the one door.
        count = 200_000
        times = pa.array([1_767_225_600_000_000 + i * 1_000_000 for i in range(count)], pa.timestamp("us", "UTC"))
        table = pa.table({"asset_id": pa.array([two] * count), "time": times, "p0": pa.array(range(count), pa.float64())})
        reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=10_000))
        assert cursor.adbc_ingest("flight", reader, mode="append") == count
        cursor.execute("SELECT count(*), sum(p0) FROM flight WHERE asset_id = ?", (two,))
        assert cursor.fetchone() == (count, (count - 1) * count / 2)
        fails("append", lambda: cursor.adbc_ingest("flight", table.slice(0, 1), mode="create"))
        fails("no table nothing", lambda: cursor.adbc_ingest("nothing", table.slice(0, 1), mode="append"))
        wrong = pa.table({"asset_id": [two, "nobody"], "time": times.slice(0, 2), "p0": [1.0, 2.0]})
        fails('row 2: asset_id: asset "nobody"', lambda: cursor.adbc_ingest("flight", wrong, mode="append"))
        wrong = pa.table({"asset_id": [two], "time": times.slice(0, 1), "p00": [1.0]})
        fails("p00", lambda: cursor.adbc_ingest("flight", wrong, mode="append"))

        # All of it out again, as Arrow.
        cursor.execute("SELECT asset_id, time, p0 FROM flight")
        all_rows = cursor.fetch_arrow_table()
        assert all_rows.num_rows == count + 2500
        assert all_rows.schema.field("asset_id").type == pa.string()
        assert all_rows.schema.field("time").type == pa.timestamp("us", "UTC")

        # A deletion is in force when the statement returns.
        cursor.execute("DELETE FROM flight WHERE asset_id = ? AND time >= ?", (two, BEGIN))
        cursor.execute("SELECT count(*) FROM flight")
        assert cursor.fetchone() == (2500,)

    # What there is.
    info = connection.adbc_get_info()
    assert info["vendor_name"] == "Wattline", info
    objects = connection.adbc_get_objects(depth="all").read_all().to_pylist()
    assert [catalog["catalog_name"] for catalog in objects] == ["wattline"]
    schemas = {schema["db_schema_name"]: schema["db_schema_tables"] for schema in objects[0]["catalog_db_schemas"]}
    assert set(schemas) >= {"public", "latest", "system"}, schemas
    public = {table["table_name"]: table for table in schemas["public"]}
    assert public["flight"]["table_type"] == "TABLE"
    columns = [column["column_name"] for column in public["meter"]["table_columns"]]
    assert columns == ["asset_id", "time", "energy", "note", "n"], columns
    assert sorted(connection.adbc_get_table_types()) == ["SYSTEM TABLE", "TABLE", "VIEW"]
    schema = connection.adbc_get_table_schema("meter")
    assert schema.field("n").type == pa.int64(), schema

# The protocol itself.
client = flight.connect(f"grpc://{address}")
names = [action.type for action in client.list_actions()]
assert "CancelFlightInfo" in names and "CreatePreparedStatement" in names, names
fails("user name or password is wrong", lambda: client.authenticate_basic_token("ann", "secret"))
for command in [b"", b"\x00", b"\xff" * 100, b"\x0a\x05hello"]:
    try:
        client.get_flight_info(flight.FlightDescriptor.for_command(command))
        raise AssertionError("garbage was taken for a command")
    except (flight.FlightError, pa.ArrowException):
        pass
    try:
        client.do_get(flight.Ticket(command)).read_all()
        raise AssertionError("garbage was taken for a ticket")
    except (flight.FlightError, pa.ArrowException):
        pass


def field(number, payload):
    """A length-delimited field of a Protocol Buffers message."""
    length = len(payload)
    size = b""
    while True:
        size += bytes([length & 127 | (128 if length > 127 else 0)])
        length >>= 7
        if not length:
            return bytes([number << 3 | 2]) + size + payload


query = b"SELECT a.value FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b"
url = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"
descriptor = flight.FlightDescriptor.for_command(field(1, url) + field(2, field(1, query)))
token = flight.FlightCallOptions(headers=[(b"authorization", b"Bearer x")])
fails("sign in again", lambda: client.get_flight_info(descriptor, token))
info = client.get_flight_info(descriptor)
reader = client.do_get(info.endpoints[0].ticket)
assert reader.read_chunk().data.num_rows > 0
# CancelFlightInfoRequest { info = 1 } is answered with status 1: cancelled.
(answer,) = client.do_action(flight.Action("CancelFlightInfo", field(1, info.serialize())))
assert answer.body.to_pybytes() == b"\x08\x01", answer.body.to_pybytes()


def drain():
    while True:
        reader.read_chunk()


fails("cancel", drain)
# Read a little and go away: the server must end the statement by itself, which the caller of this script checks.
gone = client.do_get(client.get_flight_info(descriptor).endpoints[0].ticket)
gone.read_chunk()
gone.cancel()
client.close()
assert adbc_driver_manager.__version__
print("ok")
