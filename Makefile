# The commands of the house. `make help` lists them.
# On a fresh Debian machine with root or sudo every target installs what it needs; nothing is installed where it is
# there already, and nothing without saying so.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
# rustup puts cargo here; a fresh shell does not know it yet.
export PATH := $(HOME)/.cargo/bin:$(PATH)
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
export CARGO_TARGET_DIR := $(abspath $(TARGET_DIR))
DATA_DIR ?= ./data
# Benchmarks to run and seconds for each; see benches/README.md.
SCENARIOS ?= all
SECONDS_EACH ?= 20

# How long each fuzz target runs.
FUZZ_SECONDS ?= 10

.PHONY: help run test lint bench fuzz deps build

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

deps: ## install what the other targets need (Debian: apt; elsewhere it says what is missing)
	@tests/services/deps.sh

build: deps ## release build of the server
	$(CARGO) build --release -p wattline -p wattline-benches

run: build ## release build, then the server with its defaults and a simulated wind farm; Ctrl-C stops both
	@tests/services/run-demo.sh "$(CARGO_TARGET_DIR)/release/wattline" "$(DATA_DIR)"

test: deps ## every test: units, SQL scripts, golden files, end to end, crashes, real clients
	tests/services/python-env.sh
	@# One selection of packages everywhere: another would unify features differently and build DataFusion again.
	@# The tests of server/ make cargo build the binary first; without this the harness would build it once more.
	WATTLINE_BIN="$(CARGO_TARGET_DIR)/debug/wattline" $(CARGO) test --workspace

lint: deps ## formatting, clippy, documentation, licences and sources of dependencies (where cargo-deny is installed)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" $(CARGO) doc --workspace --no-deps --document-private-items --quiet
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check --hide-inclusion-graph licenses bans sources; \
	else echo "cargo-deny is not installed: licences and sources were not checked (cargo install --locked cargo-deny)"; fi

fuzz: deps ## every decoder against random input, FUZZ_SECONDS each
	tests/services/fuzz.sh "$(FUZZ_SECONDS)"

bench: deps ## release build, then every benchmark scenario; tables and JSON lines go to benches/out
	tests/services/python-env.sh bench
	$(CARGO) build --release -p wattline -p wattline-benches
	mkdir -p benches/out
	WATTLINE_BIN="$(CARGO_TARGET_DIR)/release/wattline" \
	"$(CARGO_TARGET_DIR)/release/wattline-bench" --scenario $(SCENARIOS) --seconds $(SECONDS_EACH) --out benches/out
