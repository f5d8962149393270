"""One statement over Flight SQL with TLS and without an account. Usage: flight_unnamed.py HOST:PORT ROOT_CERTIFICATE"""

import sys

import pyarrow.flight as flight

address, root = sys.argv[1:]
client = flight.FlightClient(
    f"grpc+tls://{address}", tls_root_certs=open(root).read(), override_hostname="localhost"
)
name = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"
query = b"\x0a\x08SELECT 1"
command = b"\x0a" + bytes([len(name)]) + name + b"\x12" + bytes([len(query)]) + query
print(client.get_flight_info(flight.FlightDescriptor.for_command(command)))
