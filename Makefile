# Each target does all its own set-up: a virtual environment in .venv with locked packages, and the database.
# Needs Python 3.11 to 3.13 and make. PYTHON=/path/to/python chooses an interpreter, ARGS=... is passed on.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
COMPILE = .uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate --no-emit-index-url --no-emit-find-links $(UPGRADE)
PROJECT = --no-emit-package settlement-terminal-sdk pyproject.toml requirements/build.in
# Worker processes that take the tests a file at a time (tests/support/spreading.py). Half of a run is waiting for other
# processes, so three keep two cores busy; each has a database server of its own.
WORKERS := 3
SPREAD = -n $(WORKERS) --no-loadscope-reorder
export PYTHON

.PHONY: help
help: ## show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1~\2/p' Makefile | sort | while IFS='~' read -r name text; do \
		printf '%-20s %s\n' "$$name" "$$text"; done

.PHONY: demo
demo: runtime ## settle real bills from virtual cards at virtual terminals, and verify the books
	@$(BIN)/settlement demo $(ARGS)

.PHONY: test
test: dev ## run the tests, side by side; ARGS="tests/e2e -x"; in one process: ARGS="-n0 --pdb"
	@$(BIN)/python -m pytest -q --durations=10 -m "not deep" $(SPREAD) $(ARGS)

.PHONY: test-deep
test-deep: dev ## run the long sweeps
	@$(BIN)/python -m pytest -q --durations=10 -m deep --timeout=3600 $(ARGS)

.PHONY: bench
bench: dev ## measure settlements and what limits them, side by side; ARGS=--quick is short
	@$(BIN)/python -m bench $(ARGS)

.PHONY: loadtest
loadtest: dev ## let patients come to many tills at once for two minutes, and prove the books; ARGS="--shape ramp --rate 30"
	@$(BIN)/python -m loadtest $(ARGS)

.PHONY: chaos
chaos: dev ## kill and cut for five minutes while patients pay, and prove the books; ARGS="--seconds 300 --seed 7 --rate 6"
	@$(BIN)/python -m chaos $(ARGS)

.PHONY: check
check: lint types imports ## lint, format, types and import contract

.PHONY: lint
lint: dev ## ruff: lint and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

.PHONY: types
types: dev ## mypy, strict
	@$(BIN)/mypy

.PHONY: imports
imports: dev ## the import contract: downwards only
	@$(BIN)/lint-imports

.PHONY: ci
ci: ## what the build server runs
	@.ci/run

.PHONY: lock
lock: ## resolve requirements/*.txt anew from pyproject.toml; UPGRADE=--upgrade takes newer releases
	@test -x .uv/bin/uv || { $(or $(PYTHON),python3) -m venv .uv && .uv/bin/python -m pip install --quiet uv; }
	$(COMPILE) --output-file requirements/runtime.txt $(PROJECT)
	$(COMPILE) --extra dev --extra loadtest --constraint requirements/runtime.txt --output-file requirements/dev.txt $(PROJECT)
	$(COMPILE) --output-file requirements/pcsc-build.txt requirements/pcsc-build.in
	$(COMPILE) --constraint requirements/pcsc-build.txt --output-file requirements/pcsc.txt requirements/pcsc.in
	cd tests/interop && npm install --package-lock-only

.PHONY: clean
clean: ## remove the virtual environment and caches; data stay
	rm -rf .venv .uv .bootstrap.lock .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: clean-data
clean-data: runtime ## remove the embedded database and its data
	@$(BIN)/python -m settlement.db.removal

.PHONY: runtime
runtime:
	@scripts/bootstrap runtime

.PHONY: dev
dev:
	@scripts/bootstrap dev
