#!/bin/bash
# Starts the server with its defaults and the simulated wind farm; stops both on Ctrl-C or when either ends.
# Usage: run-demo.sh WATTLINE_BINARY DATA_DIR
set -euo pipefail
wattline=$1
data_dir=$2
log="$data_dir/server.log"
mkdir -p "$data_dir"

"$wattline" serve --data-dir "$data_dir" >"$log" 2>&1 &
server=$!
stop() {
    trap - EXIT INT TERM
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    echo "stopped; the data is in $data_dir"
}
trap stop EXIT
trap 'exit 0' INT TERM

http=""
for _ in $(seq 300); do
    if ! kill -0 "$server" 2>/dev/null; then
        echo "the server did not start:" >&2
        cat "$log" >&2
        exit 1
    fi
    if curl -fsS http://127.0.0.1:8080/readyz >/dev/null 2>&1; then
        http=http://127.0.0.1:8080
        break
    fi
    sleep 0.2
done
if [ -z "$http" ]; then
    echo "the server is not ready after a minute; see $log" >&2
    exit 1
fi

cat <<TEXT
Wattline runs. Try, in another terminal:

  $wattline sql
  curl -s $http/sql -H 'content-type: application/sql' --data 'SELECT * FROM models'
  curl -s $http/metrics

MQTT is on 127.0.0.1:11883; the server's log is $log. Ctrl-C stops everything.

TEXT
"$wattline" demo
