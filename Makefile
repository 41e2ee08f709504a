# The two commands a newcomer needs are `make demo` and `make test`; `make help` lists the rest.
SHELL := /bin/sh
VENV ?= .venv
# Tests of one machine run side by side on its cores; PYTEST_ARGS=-x stops at the first failure.
PYTEST_ARGS ?= -n auto
BIN := $(VENV)/bin

.PHONY: help setup demo rehearsal test pictures sim faults faults-readers crash check format lock bench bench-readers wheel clean

help: ## what can be made here
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /|/' | column -t -s '|'

setup: ## virtual environment, locked dependencies, system libraries
	@scripts/setup.sh

demo: setup ## a gateway, two tills and simulated shoppers, live (DEMO_ONCE=1: one checked scenario)
	@$(BIN)/tapscan-sim demo $(if $(DEMO_ONCE),--once)

rehearsal: setup ## every answer of the till API, by name: docs/test-values.md (TILL_PORT=8460)
	@$(BIN)/tapscan-sim rehearsal $(if $(TILL_PORT),--till-port $(TILL_PORT))

test: ## the full test suite
	@scripts/setup.sh tests
	@$(BIN)/pytest $(PYTEST_ARGS)

sim: setup ## whole systems under virtual time, 10,000 seeds with faults (SEEDS=n, SEED=k shows one, FIRST, FAULTS)
	@SEEDS="$(SEEDS)" SEED="$(SEED)" FIRST="$(FIRST)" FAULTS="$(FAULTS)" $(BIN)/python -m tests.simulation

faults: setup ## the worst with real processes: offline drain, gateway killed, pcscd restarted (SEED, FAULTS_KILLS)
	@SEED="$(SEED)" FAULTS_ORDERS="$(FAULTS_ORDERS)" FAULTS_KILLS="$(FAULTS_KILLS)" \
		$(BIN)/python -m tests.acceptance.faults

faults-readers: setup ## sales while readers and scanners fail in every way, 1,000 faults (N=n, SEED=k)
	@SEED="$(SEED)" N="$(N)" $(BIN)/python -m tests.acceptance.faults.readers

pictures: ## the pictures of the till's pages in docs/ (needs Chromium)
	@scripts/setup.sh tests
	@$(BIN)/python -m tests.acceptance.browser.pictures docs

crash: setup ## kill gateways and databases under load, 50 times each (CRASH_CYCLES, CRASH_SEED)
	@$(BIN)/python -m tests.acceptance.crash

check: setup ## format, lint, types, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## rewrite the code in the house format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: ## write the lock files anew (needs uv)
	@scripts/lock.sh

bench: setup ## payments a second, next to what limits them (BENCH_QUICK=1: a minute)
	@$(BIN)/python -m tests.benchmarks.ledger

bench-readers: setup ## figures of every reader path, as a table
	@$(BIN)/python -m tests.benchmarks.readers

wheel: setup ## build the wheel into dist/
	@$(BIN)/python -m build --wheel --no-isolation

clean: ## forget the virtual environment and everything generated
	rm -rf $(VENV) build dist var *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
