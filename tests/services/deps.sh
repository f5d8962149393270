#!/bin/sh
# Installs what the Makefile needs and is not there yet. Debian and its relatives: with apt. Anything else: says what
# is missing. The Rust toolchain comes from rustup, in the version of rust-toolchain.toml.
set -eu

missing=""
need() { # command, Debian package
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need curl curl
need cc build-essential
need pkg-config pkg-config
need git git
need python3 python3
need node nodejs
need npm npm
need mosquitto_pub mosquitto-clients
need setpriv util-linux
need openssl openssl
need psql postgresql-client
# ensurepip is what Debian leaves out of python3.
if command -v python3 >/dev/null 2>&1; then
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
else
    missing="$missing python3-venv"
fi
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"

if [ -n "$missing" ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "please install:$missing" >&2
        exit 1
    fi
    sudo=""
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null 2>&1; then
            echo "please install as root: apt-get install$missing" >&2
            exit 1
        fi
        sudo=sudo
    fi
    echo "installing:$missing"
    $sudo apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

if ! command -v cargo >/dev/null 2>&1 && [ ! -x "$HOME/.cargo/bin/cargo" ]; then
    echo "installing the Rust toolchain with rustup"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y -q --profile minimal --default-toolchain none
fi
# The toolchain of rust-toolchain.toml, with clippy and rustfmt, is fetched on the first use of cargo.
