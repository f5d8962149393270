#!/bin/sh
# Fetches a JDBC driver from Maven into ./.venv-java and prints its path. Does nothing where it is there.
# Usage: tests/services/jdbc.sh flight|postgresql
set -eu
case "${1:-}" in
flight) group=org.apache.arrow name=flight-sql-jdbc-driver version=18.3.0 ;;
postgresql) group=org.postgresql name=postgresql version=42.7.8 ;;
*) echo "which driver: flight or postgresql?" >&2 && exit 1 ;;
esac
root=$(cd "$(dirname "$0")/../.." && pwd)
dir="$root/.venv-java"
jar="$dir/$name-$version.jar"

# Two test runs at once must not fetch it twice.
mkdir -p "$dir"
exec 9>"$dir/lock"
flock 9

if [ ! -s "$jar" ]; then
    mvn -q dependency:copy -Dartifact="$group:$name:$version" -DoutputDirectory="$dir" >&2
fi
echo "$jar"
