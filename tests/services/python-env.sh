#!/bin/sh
# Makes ./.venv with the Python clients that tests and benchmarks use. Does nothing where it is up to date.
# Usage: tests/services/python-env.sh [tests|bench]      (bench adds pyarrow)
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
venv="$root/.venv"
here="$root/tests/services"
want="$here/requirements-tests.txt"
stamp="$venv/.done-tests"
if [ "${1:-tests}" = bench ]; then
    want="$here/requirements-bench.txt"
    stamp="$venv/.done-bench"
fi

# Two test runs at once must not build it twice.
exec 9>"$root/.venv.lock"
flock 9

if [ -f "$stamp" ] && cmp -s "$want" "$stamp"; then
    exit 0
fi
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    rm -rf "$venv"
    if ! python3 -m venv "$venv"; then
        echo "python3 with its venv module is needed; \`make deps\` installs it on Debian" >&2
        exit 1
    fi
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$want" >&2
cp "$want" "$stamp"
