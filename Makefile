# The front door. `make` alone says what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

TARGET := $(or $(CARGO_TARGET_DIR),target)
DATA ?= data
SCALE ?= 0.1
# Suites that cross crates: every tests/<suite>/run.
SUITES := $(patsubst tests/%/run,test-%,$(wildcard tests/*/run))

.PHONY: help
help:
	@echo 'make up      build, start with the demo (DATA=$(DATA) SCALE=$(SCALE)), print what to do next'
	@echo 'make demo    five minutes: two agents, a mask, a refusal and why, the journal proven'
	@echo 'make test    every test, installing what is needed where it can: test-rust $(SUITES)'
	@echo 'make bench   side by side with what one would use instead'
	@echo 'make lint    format, clippy, documentation'
	@echo 'make build   the program, optimised'

.PHONY: build
build:
	cargo build --workspace --release --locked

.PHONY: up
up: build
	exec '$(TARGET)/release/weir' up --demo --data '$(DATA)' --scale '$(SCALE)'

.PHONY: demo
demo: build
	exec tests/demo-walk '$(TARGET)/release/weir'

.PHONY: test
test: test-rust $(SUITES)

.PHONY: test-prepare
test-prepare:
	tests/prepare

# One optimised build serves the tests in Rust and every suite: debug builds are too slow for their data.
.PHONY: test-build
test-build:
	cargo test --workspace --release --locked --no-run

.PHONY: test-rust
test-rust: test-prepare test-build
	cargo test --workspace --release --locked

.PHONY: $(SUITES)
$(SUITES): test-%: test-prepare test-build
	source "$$(tests/prepare --environment)"
	TEST_WEIR='$(abspath $(TARGET))/release/weir' tests/$*/run

.PHONY: bench
bench: build test-prepare
	cargo build -p weir-facts --release --locked --example socket_figures
	source "$$(tests/prepare --environment)"
	TEST_WEIR='$(abspath $(TARGET))/release/weir' BENCH_FACTS='$(abspath $(TARGET))/release/examples/socket_figures' bench/run

.PHONY: lint
lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --document-private-items
	tests/rows
