#!/bin/sh
# Makes ./.node with the Node.js programs that tests start (Azurite). Does nothing where it is up to date.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
here="$root/tests/services"
home="$root/.node"

# Two test runs at once must not build it twice.
exec 9>"$root/.node.lock"
flock 9

if [ -f "$home/.done" ] && cmp -s "$here/node-packages.txt" "$home/.done"; then
    exit 0
fi
mkdir -p "$home"
# shellcheck disable=SC2046
npm install --prefix "$home" --no-audit --no-fund --loglevel=error $(grep -v '^#' "$here/node-packages.txt") >&2
cp "$here/node-packages.txt" "$home/.done"
