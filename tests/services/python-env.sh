#!/bin/sh
# Makes ./.venv with the Python clients that tests and benchmarks use. Does nothing where it is up to date.
# Usage: tests/services/python-env.sh [tests|bench|peers]      (bench adds pyarrow; peers adds others to compare with, of
# which those that cannot be had are named and left out)
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
venv="$root/.venv"
here="$root/tests/services"
want="$here/requirements-tests.txt"
stamp="$venv/.done-tests"
if [ "${1:-tests}" = bench ]; then
    want="$here/requirements-bench.txt"
    stamp="$venv/.done-bench"
elif [ "${1:-tests}" = peers ]; then
    "$0" bench
    want="$here/requirements-peers.txt"
    stamp="$venv/.done-peers"
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
pip() {
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >&2
}
if [ "${1:-tests}" = peers ]; then
    # One at a time, and none of them needed: a machine that cannot have one compares with the others.
    all=true
    for package in $(grep -v '^#' "$want"); do
        pip "$package" || { echo "left out: $package" >&2; all=false; }
    done
    $all || exit 0
else
    pip -r "$want"
fi
cp "$want" "$stamp"
