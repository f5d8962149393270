#!/bin/sh
# TSBS' cpu-only and iot queries on Wattline, DuckDB, ClickHouse, VictoriaMetrics and QuestDB: answers compared, p50 and p99,
# warm and after a restart. Tables go to standard output and benches/out/queries.md, figures to benches/out/queries.jsonl.
# Usage: benches/peers/queries.sh      QUICK=1 for a look; HOSTS=1000 HOURS=24 METRICS=10 TRUCKS=HOSTS RUNS=100
#        SECONDS_EACH=10 SEED=1 QUERIES=all PEERS=all OUT=benches/out WATTLINE_BIN=a release build that is there already
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
running=
# Asked to stop, the script stops what it started; so does the measurement, with its servers.
trap '[ -z "$running" ] || { kill "$running"; wait "$running"; } 2>/dev/null || true; exit 143' INT TERM

"$root/tests/services/python-env.sh" peers
if [ -z "${WATTLINE_BIN:-}" ]; then
    (cd "$root" && cargo build --quiet --release -p wattline -p wattline-benches)
    WATTLINE_BIN="${CARGO_TARGET_DIR:-$root/target}/release/wattline"
fi
export WATTLINE_BIN OUT="${OUT:-$root/benches/out}"
"$root/.venv/bin/python" "$root/benches/peers/queries.py" &
running=$!
wait "$running"
