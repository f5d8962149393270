#!/bin/sh
# Bytes a point of the same rows in Wattline's segments, Parquet, Vortex, DuckDB, ClickHouse and VictoriaMetrics; one table
# a fleet goes to standard output. Nothing stays behind but the Python packages in .venv.
# Usage: benches/peers/sizes.sh [DIR]      DIR has wind_scada_10min.csv and transformer_hourly.csv; ASSETS=100 a fleet
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
data=$(cd "${1:-$root/../shared/data}" 2>/dev/null && pwd || echo "${1:-}")
rows=$(mktemp -d)
running=
trap 'rm -rf "$rows"' EXIT
# Asked to stop, the script stops what it started; so do the tables, with their server.
trap '[ -z "$running" ] || { kill "$running"; wait "$running"; } 2>/dev/null || true; exit 143' INT TERM

"$root/tests/services/python-env.sh" peers
cd "$root"
cargo run --quiet --release -p wattline-format --example fleets -- "${ASSETS:-100}" --rows "$rows" --data "$data" >&2
"$root/.venv/bin/python" "$root/benches/peers/sizes.py" "$rows" &
running=$!
wait "$running"
