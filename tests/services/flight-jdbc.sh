#!/bin/sh
# Fetches the Flight SQL JDBC driver from Maven into ./.venv-java and prints its path. Does nothing where it is there.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
version=18.3.0
dir="$root/.venv-java"
jar="$dir/flight-sql-jdbc-driver-$version.jar"

# Two test runs at once must not fetch it twice.
mkdir -p "$dir"
exec 9>"$dir/lock"
flock 9

if [ ! -s "$jar" ]; then
    mvn -q dependency:copy -Dartifact="org.apache.arrow:flight-sql-jdbc-driver:$version" -DoutputDirectory="$dir" >&2
fi
echo "$jar"
