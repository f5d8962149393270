"""Accounts over Flight SQL: ADBC and pyarrow.flight sign in with user name and password.

Usage: flight_accounts.py URI USER PASSWORD ROOT_CERTIFICATE [SECONDS]; SECONDS is the life of a token, waited for.
Prints "ok".
"""

import base64
import sys
import time

import adbc_driver_flightsql.dbapi as dbapi
import adbc_driver_flightsql as adbc
import pyarrow.flight as flight

uri, user, password, root = sys.argv[1:5]
life = float(sys.argv[5]) if len(sys.argv) > 5 else None
roots = open(root).read() if root else None


def refused(act):
    try:
        act()
    except Exception as error:  # noqa: BLE001 - each client has its own
        text = str(error)
        assert "nauthenticated" in text or "UNAUTHENTICATED" in text or "password" in text, text
        return text
    raise AssertionError("nothing was refused")


def options(name, word):
    given = {"username": name, "password": word}
    if roots:
        given[adbc.DatabaseOptions.TLS_ROOT_CERTS.value] = roots
    return given


def asked(name, word):
    with dbapi.connect(uri, db_kwargs=options(name, word), autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user AS who")
            first = cursor.fetchone()
            # Prepared, listed and asked again: every kind of call shows the token.
            cursor.execute("SELECT ? + 1 AS n", (41,))
            assert cursor.fetchone() == (42,)
            assert "wattline" in str(connection.adbc_get_objects(depth="catalogs").read_all())
            return first[0]


assert asked(user, password) == user, asked(user, password)
refused(lambda: asked(user, password + "x"))
refused(lambda: asked("nobody", password))

client = flight.FlightClient(uri.replace("grpc://", "grpc+tcp://"), **({"tls_root_certs": roots} if roots else {}))
token = client.authenticate_basic_token(user, password)
assert token[0] == b"authorization" and token[1].startswith(b"Bearer "), token
ask = flight.FlightDescriptor.for_command(b"")
basic = b"Basic " + base64.b64encode(f"{user}:{password}".encode())


def lists(*headers):
    """A call that needs nothing but to be let in."""
    call = flight.FlightCallOptions(headers=list(headers))
    return [action.type for action in client.list_actions(call)]


def runs(*headers):
    call = flight.FlightCallOptions(headers=list(headers))
    # CommandStatementQuery { query: "SELECT 1" } as Any, written out: its two fields are short.
    name = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"
    query = b"\x0a\x08SELECT 1"
    command = b"\x0a" + bytes([len(name)]) + name + b"\x12" + bytes([len(query)]) + query
    info = client.get_flight_info(flight.FlightDescriptor.for_command(command), call)
    return client.do_get(info.endpoints[0].ticket, call).read_all().column(0).to_pylist()


assert runs(token) == [1]
assert runs((b"authorization", basic)) == [1], "user name and password on each call"
refused(lambda: runs((b"authorization", token[1][:-3] + b"AAA")))
refused(lambda: runs((b"authorization", b"Bearer nothing")))
refused(lambda: runs((b"authorization", basic[:-4])))
if life is not None:
    time.sleep(life)
    assert "expired" in refused(lambda: runs(token))
    assert runs(client.authenticate_basic_token(user, password)) == [1]
print("ok")
