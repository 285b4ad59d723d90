# Needs make and Python 3.11 or newer; everything else is installed into .venv and .cache on first use.
# Options for a command go through ARGS: make demo ARGS="--help"

.DEFAULT_GOAL := help
.PHONY: help install up demo bench format check test test-all chaos kafka kafka-stop clean
ARGS ?=
BIN := .venv/bin
INSTALLED := .venv/.installed

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

install: $(INSTALLED)  ## Install what the project needs (every other target does this by itself)

up: $(INSTALLED)  ## Run everything on this machine: database, API, workers
	@exec $(BIN)/sentinai up $(ARGS)

demo: $(INSTALLED)  ## Show sample domains at work on a live stream of exceptions
	@exec $(BIN)/sentinai demo $(ARGS)

bench: $(INSTALLED)  ## Measure throughput and latency on this machine
	@exec $(BIN)/python -m bench $(ARGS)

format: $(INSTALLED)  ## Put lines and imports in order
	@$(BIN)/ruff check --quiet --select I --fix . ; $(BIN)/ruff format --quiet .

check: $(INSTALLED)  ## Format, lint, types, imports between rooms
	@failed=0; \
	$(BIN)/ruff format --check --quiet . || failed=1; \
	$(BIN)/ruff check --quiet . || failed=1; \
	$(BIN)/mypy || failed=1; \
	$(BIN)/lint-imports --cache-dir .cache/import-linter || failed=1; \
	exit $$failed

test: $(INSTALLED)  ## Run the tests of what must never break, on two cores
	@$(BIN)/pytest -m "not slow" -n 2 --dist loadfile $(ARGS)

test-all: $(INSTALLED)  ## Run all tests: kills, searches for planted bugs, long Kafka runs and fuzzing too
	@$(BIN)/pytest $(ARGS)

chaos: $(INSTALLED)  ## Kill and freeze processes, database and Kafka at random; SENTINAI_TEST_FAULTS=1000 for long
	@$(BIN)/pytest tests/chaos -s $(ARGS)

kafka: $(INSTALLED)  ## Fetch Apache Kafka, start it and leave it running (needs Java 17 and Maven)
	@$(BIN)/python tests/kafka_server.py

kafka-stop: $(INSTALLED)  ## End the Kafka that `make kafka` started
	@$(BIN)/python tests/kafka_server.py stop

clean:  ## Remove what was installed and cached; the data in .data stays
	@rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis dist

$(INSTALLED): pyproject.toml uv.lock .ci/install
	@sh .ci/install
	@touch $@
