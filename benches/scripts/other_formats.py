"""Bytes that other formats need for the rows of a real file. Prints one JSON object.

Usage: other_formats.py FILE
"""

import json
import os
import sys
import tempfile

import duckdb
import pyarrow.parquet as parquet

path = sys.argv[1]
db = duckdb.connect()
if "wind" in os.path.basename(path):
    db.execute(
        """CREATE TABLE t AS SELECT strptime(t, '%d %m %Y %H:%M') AS time, power, speed, theoretical, direction
           FROM read_csv(?, header = false, skip = 1, encoding = 'latin-1', columns = {
               't': 'VARCHAR', 'power': 'DOUBLE', 'speed': 'DOUBLE', 'theoretical': 'DOUBLE', 'direction': 'DOUBLE'})
           ORDER BY 1""",
        [path],
    )
else:
    db.execute(
        """CREATE TABLE t AS SELECT date AS time, HUFL, HULL, MUFL, MULL, LUFL, LULL, OT
           FROM read_csv(?, types = {'date': 'TIMESTAMP'}) ORDER BY 1""",
        [path],
    )
table = db.execute("SELECT * FROM t").to_arrow_table()
with tempfile.TemporaryDirectory() as folder:
    plain = os.path.join(folder, "plain.parquet")
    split = os.path.join(folder, "split.parquet")
    duck = os.path.join(folder, "rows.duckdb")
    parquet.write_table(table, plain, compression="zstd")
    doubles = [name for name in table.column_names if name != "time"]
    encoding = {name: "BYTE_STREAM_SPLIT" for name in doubles} | {"time": "DELTA_BINARY_PACKED"}
    parquet.write_table(table, split, compression="zstd", use_dictionary=False, column_encoding=encoding)
    db.execute(f"ATTACH '{duck}' AS out")
    db.execute("CREATE TABLE out.t AS SELECT * FROM t")
    db.execute("CHECKPOINT out")
    db.execute("DETACH out")
    sizes = {"parquet_zstd": plain, "parquet_bss_zstd": split, "duckdb": duck}
    print(json.dumps({name: os.path.getsize(file) for name, file in sizes.items()}))
