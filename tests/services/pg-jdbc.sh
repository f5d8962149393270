#!/bin/sh
# Fetches the PostgreSQL JDBC driver from Maven into ./.venv-java and prints its path. Does nothing where it is there.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
version=42.7.8
dir="$root/.venv-java"
jar="$dir/postgresql-$version.jar"

# Two test runs at once must not fetch it twice.
mkdir -p "$dir"
exec 9>"$dir/lock"
flock 9

if [ ! -s "$jar" ]; then
    mvn -q dependency:copy -Dartifact="org.postgresql:postgresql:$version" -DoutputDirectory="$dir" >&2
fi
echo "$jar"
