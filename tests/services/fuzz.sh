#!/bin/sh
# Runs every fuzz target for a while: `fuzz.sh SECONDS`, from FUZZ_SEED where that is set. Stable Rust builds them: coverage is a pass of the compiler, and
# no sanitizer is used, as there is hardly any unsafe code to sanitize. What a run finds stays in tests/fuzz/found/.
set -eu
seconds=${1:-10}
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
flags="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags="$flags -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags="$flags -Cllvm-args=-sanitizer-coverage-trace-compares"
# An explicit --target keeps these flags from build scripts and procedural macros.
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="$flags" CARGO_TARGET_DIR="$target" \
    cargo build --quiet --release --locked --target "$host" --manifest-path tests/fuzz/Cargo.toml
mkdir -p tests/fuzz/found
for name in log manifest latest segment enos ndjson mqtt integration expression; do
    corpus=$target/corpus/$name
    mkdir -p "$corpus"
    # Golden files of every version, or seeds of its own.
    seeds=$(find tests/golden/"$name" tests/fuzz/seeds/"$name" -type d 2>/dev/null || true)
    # shellcheck disable=SC2086
    "$target/$host/release/$name" -max_total_time="$seconds" -seed="${FUZZ_SEED:-0}" -rss_limit_mb=2048 -timeout=20 -max_len=65536 \
        -print_final_stats=1 -artifact_prefix="tests/fuzz/found/$name-" "$corpus" $seeds >"$target/$name.log" 2>&1 || {
        tail -n 30 "$target/$name.log"
        echo "fuzz target $name found something: tests/fuzz/found/$name-*" >&2
        exit 1
    }
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$target/$name.log")
    echo "fuzz $name: $runs inputs in $seconds s, nothing found"
done
