"""Answers of POST /sql, compressed as asked for, are the same as plain ones.

Usage: http_compressed.py HOST:PORT; prints one JSON object: bytes on the line for each encoding.
"""

import gzip
import http.client
import json
import sys

import pyarrow as pa

SQL = "SELECT value, value % 10 AS digit, 'the same text in every row' AS note FROM generate_series(1, 100000) ORDER BY value"


def ask(encoding, accept="text/csv"):
    connection = http.client.HTTPConnection(sys.argv[1])
    headers = {"accept": accept, "content-type": "application/sql"}
    if encoding:
        headers["accept-encoding"] = encoding
    connection.request("POST", "/sql", SQL, headers)
    answer = connection.getresponse()
    assert answer.status == 200
    # In pieces, as it is found: no length is known before.
    assert answer.getheader("transfer-encoding") == "chunked"
    return answer.getheader("content-encoding"), answer.read()


encoding, plain = ask(None)
assert encoding is None and plain.count(b"\n") == 100_001
encoding, zipped = ask("gzip")
assert encoding == "gzip" and gzip.decompress(zipped) == plain
encoding, packed = ask("zstd")
assert encoding == "zstd" and pa.input_stream(pa.py_buffer(packed), compression="zstd").read() == plain
encoding, other = ask("br")
assert encoding is None and other == plain, "what is not known is not used"
encoding, arrow = ask("gzip", "application/vnd.apache.arrow.stream")
assert encoding == "gzip" and pa.ipc.open_stream(gzip.decompress(arrow)).read_all().num_rows == 100_000
print(json.dumps({"plain": len(plain), "gzip": len(zipped), "zstd": len(packed)}))
